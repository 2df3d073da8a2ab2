"""Lengths and labels that change during a call of the GPU kernels.

Another stream may change them, or a copy that runs beside the replay of a captured graph. In every case the call
ends, no access is out of bounds, and each item has the result of the old numbers, the new ones, or some of each.
"""

from __future__ import annotations

import importlib
import itertools
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import torch
from torch import Tensor

from ctckit.backends import LossOptions
from ctckit.lattice import Lattice
from tests.tools.interpreter_memory import watched
from tests.tools.triton_setup import MARKS, gpu, needs_interpreter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# A call that hangs is killed here.
pytestmark = [*MARKS, needs_interpreter, pytest.mark.timeout(120)]

T, N, C = 11, 2, 4
KERNELS = {
    "triton.rows": ("prepare",),
    "triton.sums": ("sum_rows", "top_of_rows"),
    "triton.forward_backward": ("walk_chunks", "finish"),
    "triton.occupancy": ("occupy",),
    "triton.gradient": ("write_rows", "write_by_class"),
}


class Numbers(NamedTuple):
    """The tensors that a caller may change."""

    labels: Tensor
    input_lengths: Tensor
    target_lengths: Tensor

    def copy(self) -> Numbers:
        return Numbers(*(x.clone() for x in self))

    def lattice(self) -> Lattice:
        return Lattice(*self, self.labels.shape[-1], 0)


def numbers(labels: Any, input_lengths: list[int], target_lengths: list[int]) -> Numbers:
    return Numbers(torch.tensor(labels), torch.tensor(input_lengths), torch.tensor(target_lengths))


# The items before and after. With chunks of 8 labels each form has an item that shrinks from two chunks to one,
# and one that grows from one chunk to two. All items are feasible.
FORMS = {
    "padded": (
        numbers([[1, 2, 3, 1, 2, 3, 1, 2, 3], [3, 2, 1, 2, 1, 3, 1, 3, 1]], [11, 9], [9, 2]),
        numbers([[2, 1, 2, 1, 2, 1, 2, 1, 2], [1, 3, 1, 3, 1, 3, 1, 3, 1]], [9, 11], [3, 8]),
    ),
    "concatenated": (
        numbers([1, 2, 3, 1, 2, 3, 1, 2, 3, 2, 1], [11, 9], [9, 2]),
        numbers([3, 1, 2, 3, 1, 3, 1, 3, 1, 3, 1], [9, 11], [3, 8]),
    ),
}
CHANGES: dict[str, Callable[[Numbers], Numbers]] = {
    "other numbers": lambda new: new,
    "huge": lambda new: Numbers(*(torch.full_like(x, 2**40) for x in new)),
    "negative": lambda new: Numbers(*(torch.full_like(x, -5) for x in new)),
}


def loss(x: Tensor, lattice: Lattice, *, logits: bool) -> list[Tensor]:
    gradient = torch.full_like(x, 77.0)
    losses = gpu.loss(
        x, lattice, LossOptions.of(x.dtype, logits=logits, reduction="none", zero_infinity=False), gradient
    )
    return [losses, gradient.transpose(0, 1)]


def posteriors(x: Tensor, lattice: Lattice, *, per_state: bool) -> list[Tensor]:
    return [gpu.posteriors(x, lattice, logits=not per_state, per_state=per_state).transpose(0, 1)]


CALLS: dict[str, Callable[[Tensor, Lattice], list[Tensor]]] = {
    "loss of logits": lambda x, lattice: loss(x, lattice, logits=True),
    "loss of log_probs": lambda x, lattice: loss(x, lattice, logits=False),
    "loss alone": lambda x, lattice: [
        gpu.loss(x, lattice, LossOptions.of(x.dtype, logits=True, reduction="none", zero_infinity=False), None)
    ],
    "posteriors": lambda x, lattice: posteriors(x, lattice, per_state=False),
    "states": lambda x, lattice: posteriors(x, lattice, per_state=True),
}


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "_chunk", lambda: 8)
    monkeypatch.setattr(gpu, "FRAMES_PER_BLOCK", 2)


class Caller:
    """A call, and a change of its numbers at a chosen moment."""

    def __init__(self, form: str, change: str, call: str, classes: int = C) -> None:
        self.old, new = FORMS[form]
        self.new = CHANGES[change](new)
        self.call = CALLS[call]
        self.x = torch.randn(T, N, classes, generator=torch.Generator().manual_seed(0)).log_softmax(2)
        self.now = self.old
        self.known: dict[tuple[int, ...], list[Tensor]] = {}

    def change_now(self) -> None:
        for to, values in zip(self.now, self.new, strict=True):
            to.copy_(values)

    def result(self, before_read: Callable[[], None] | None = None) -> list[Tensor]:
        self.now = self.old.copy()
        lattice = self.now.lattice()
        with watched(self.now, before_read):
            return self.call(self.x, lattice)

    def result_of_change_before_read(self, position: int) -> tuple[list[Tensor], bool]:
        """The result if the numbers change before the given read, and whether there was such a read."""
        reads = 0

        def before_read() -> None:
            nonlocal reads
            reads += 1
            if reads == position + 1:
                self.change_now()

        return self.result(before_read), reads > position

    def possible(self) -> Iterator[list[Tensor]]:
        """The results of all combinations of old and new numbers."""
        for mixture in sorted(itertools.product((0, 1), repeat=3), key=sum):
            if mixture not in self.known:
                numbers = Numbers(*((self.old, self.new)[i][part] for part, i in enumerate(mixture)))
                self.known[mixture] = self.call(self.x, numbers.lattice())
            yield self.known[mixture]

    def check(self, result: list[Tensor]) -> None:
        """Each item has the result of one combination."""
        for n in range(N):
            assert any(
                all(torch.equal(a[n].nan_to_num(55), b[n].nan_to_num(55)) for a, b in zip(result, right, strict=True))
                for right in self.possible()
            ), f"item {n}"


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("form", FORMS)
def test_a_change_before_any_read(form: str, change: str) -> None:
    """Reads by a kernel or by torch, also between two programs of one kernel."""
    caller = Caller(form, change, "loss alone")
    for position in itertools.count():
        result, changed = caller.result_of_change_before_read(position)
        caller.check(result)
        if not changed:
            break
    assert position >= N * 2  # at least the labels and one length of each item


class Hooked:
    """A kernel with a function that is called before each launch."""

    def __init__(self, kernel: Any, before: Callable[[], None]) -> None:
        self.kernel, self.before = kernel, before

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        def launch(*args: Any, **kwargs: Any) -> None:
            self.before()
            self.kernel[grid](*args, **kwargs)

        return launch


@pytest.fixture
def before_launches(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], None]]:
    """Functions that are called before each launch."""
    functions: list[Callable[[], None]] = []

    def call_all() -> None:
        for function in functions:
            function()

    for module, names in KERNELS.items():
        part = importlib.import_module(f"ctckit.backends.{module}")
        for name in names:
            monkeypatch.setattr(part, name, Hooked(getattr(part, name), call_all))
    return functions


@pytest.mark.parametrize(
    ("call", "form", "classes"),
    [
        ("loss of logits", "padded", C),
        ("loss of log_probs", "concatenated", 40),  # enough that occupancy is added up by position
        ("loss alone", "concatenated", C),
        ("posteriors", "concatenated", C),
        ("states", "padded", 40),
    ],
)
def test_a_change_between_two_kernels(
    before_launches: list[Callable[[], None]], call: str, form: str, classes: int
) -> None:
    caller = Caller(form, "other numbers", call, classes)
    launched = 0

    def before_launch() -> None:
        nonlocal launched
        launched += 1
        if launched == position:
            caller.change_now()

    before_launches.append(before_launch)
    position = 0
    old = caller.result()
    kernels = launched
    assert kernels == (4 if call == "loss alone" else 5 if call == "states" else 6)
    for position in (1, 2):  # what changes before the second kernel stays so for those after it
        launched = 0
        result = caller.result()
        caller.check(result)
        if position > 1:  # `prepare` has made the last read
            assert all(torch.equal(a, b) for a, b in zip(result, old, strict=True)), position


def test_the_mean_is_that_of_the_lengths_that_the_kernels_have_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from ctckit.backends.triton import forward_backward as forward_backward_kernels

    caller = Caller("padded", "other numbers", "loss alone")
    caller.call = lambda x, lattice: [
        gpu.loss(x, lattice, LossOptions.of(x.dtype, logits=True, reduction="mean", zero_infinity=False), None)
    ]
    right = caller.result()
    finish = forward_backward_kernels.finish
    monkeypatch.setattr(forward_backward_kernels, "finish", Hooked(finish, caller.change_now))
    assert torch.equal(caller.result()[0], right[0])


def test_a_chunk_that_is_never_sent_is_not_awaited_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """If a chunk is lost, the item's loss and gradient are NaN, and other items keep theirs."""
    from ctckit.backends.triton import forward_backward as forward_backward_kernels

    caller = Caller("padded", "other numbers", "loss of logits")
    right = caller.result()
    walk = forward_backward_kernels.walk_chunks

    class FirstChunkLost:
        def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
            def launch(*args: Any, **kwargs: Any) -> None:
                args[walk.arg_names.index("item_of_chunk")][0] = 0  # no program computes the first chunk of item 0
                walk[grid](*args, **kwargs)

            return launch

    monkeypatch.setattr(forward_backward_kernels, "walk_chunks", FirstChunkLost())
    losses, gradient = caller.result()
    assert losses[0].isnan()
    assert gradient[0].isnan().all()
    assert torch.equal(losses[1], right[0][1])
    assert torch.equal(gradient[1], right[1][1])


@pytest.mark.parametrize("form", FORMS)
def test_a_target_longer_than_the_longest_is_invalid(form: str) -> None:
    """`max_target` is computed before the call, and lengths may grow after that."""
    old, _ = FORMS[form]
    x = torch.randn(T, N, C)
    lattice = old.lattice()
    shorter = lattice._replace(max_target=7)
    if not lattice.concatenated:
        shorter = shorter._replace(labels=lattice.labels[:, :7].contiguous())
    with watched():
        right = CALLS["loss of logits"](x, lattice), CALLS["states"](x, lattice)
        actual = CALLS["loss of logits"](x, shorter), CALLS["states"](x, shorter)
    losses, gradient = actual[0]
    assert losses[0].isnan()
    assert (gradient[0] == 0).all()
    assert torch.equal(losses[1], right[0][0][1])
    assert torch.equal(gradient[1], right[0][1][1])
    assert torch.equal(actual[1][0][1], right[1][0][1, :, : 2 * 7 + 1])


def test_an_access_outside_of_the_tensors_is_found() -> None:
    from ctckit.backends.triton import gradient

    x, scale = torch.randn(T, N, C), torch.tensor(2.0)

    def launch(frames: int) -> None:
        tile = {"ALIGN": 1, "ROWS": 16, "COLUMNS": C, "ITEMS": 16}
        gradient.scale_rows[(N,)](x, *x.stride(), scale, 0, N, frames, C, **tile)

    with watched():
        launch(T)
        with pytest.raises(Exception, match=f"create_masked_load of {C} elements outside"):
            launch(T + 1)


def test_the_tensors_of_the_caller_are_watched() -> None:
    caller = Caller("concatenated", "other numbers", "loss alone")
    reads = 0

    def before_read() -> None:
        nonlocal reads
        reads += 1

    caller.result(before_read)
    # `prepare` reads each item's input length and labels once; torch reads the target lengths once, for their sums.
    assert reads == 2 * N + 1
