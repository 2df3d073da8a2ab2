"""Calls of the GPU kernels: grids, memory, no device sync; torch.compile, autocast and CUDA graphs."""

from __future__ import annotations

import contextlib
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

import ctckit
from ctckit.backends import LossOptions, use
from ctckit.lattice import Lattice, gate
from ctckit.loss import autograd
from tests.tools import cases
from tests.tools.no_device_sync import NoDeviceSync
from tests.tools.triton_setup import DEVICE, FEW, LONG, MARKS, gpu, needs_gpu, needs_interpreter, problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [
    *MARKS,
    # on a GPU, at the first call
    pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype:UserWarning"),
    # on a GPU, if a matrix product is the first operation of an autograd thread
    pytest.mark.filterwarnings("ignore:Attempting to run cuBLAS:UserWarning"),
]

SMALL = cases.Case("small", 5, 4, ((1, 2), (), (3, 3, 3)), (5, 4, 3))
KERNELS = ("prepare", "sum_rows", "top_of_rows", "walk_chunks", "finish", "add_losses", "occupy", "scale_rows")
WRITERS = ("write_rows", "write_by_class")


def on_device(case: cases.Case, dtype: torch.dtype, *, seed: int = 0, width: int | None = None) -> list[Tensor]:
    """Emissions, targets and lengths."""
    emissions, targets, *lengths, _ = case.padded(case.logits(dtype, seed=seed))
    targets = torch.nn.functional.pad(targets, (0, (width or case.width) - case.width))
    return [emissions.to(DEVICE), targets.to(DEVICE), *(x.to(DEVICE) for x in lengths)]


class Launches:
    """Replaces the kernels: records the launches, and launches nothing."""

    def __init__(self, kept: dict[str, tuple[int, ...]], name: str) -> None:
        self.kept, self.name = kept, name

    def __getitem__(self, grid: tuple[int, ...]) -> Any:
        self.kept[self.name] = grid
        return lambda *_, **__: None


@pytest.fixture
def launches(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[int, ...]]:
    from ctckit.backends.triton import forward_backward, gradient, launch, occupancy, rows, sums

    kept: dict[str, tuple[int, ...]] = {}
    for module in (rows, sums, forward_backward, occupancy, gradient):
        for name in (*KERNELS, *WRITERS):
            if name in vars(module):
                monkeypatch.setattr(module, name, Launches(kept, name))
    monkeypatch.setattr(gpu, "_chunk", lambda: 32)
    monkeypatch.setattr(gpu, "_on", lambda _: contextlib.nullcontext())
    monkeypatch.setattr(launch, "DIRECT", False)  # fake tensors have no addresses
    return kept


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32], ids=str)
@pytest.mark.parametrize(
    ("lengths", "concatenated"),
    [(lengths, concatenated) for lengths in ("device", "host", "pinned", "tuple") for concatenated in (False, True)]
    + [("none", False)],
)
def test_nothing_around_the_launches_waits(
    launches: dict[str, tuple[int, ...]],
    monkeypatch: pytest.MonkeyPatch,
    lengths: str,
    dtype: torch.dtype,
    concatenated: bool,
) -> None:
    """On fake tensors on a GPU: reading a value is an error."""
    if lengths == "pinned":
        monkeypatch.setattr(Tensor, "is_pinned", lambda x: x.device.type == "cpu")
    with FakeTensorMode(allow_non_fake_inputs=True), NoDeviceSync():  # type: ignore[no-untyped-call]
        x = torch.empty(50, 3, 7, dtype=dtype, device="cuda")
        targets = torch.empty((120,) if concatenated else (3, 40), dtype=torch.int64, device="cuda")
        of_inputs: Any = {"tuple": (50, 40, 30), "none": None}.get(lengths)
        of_targets: Any = {"tuple": (40, 40, 40), "none": None}.get(lengths)
        if lengths in ("device", "host", "pinned"):
            device = "cuda" if lengths == "device" else "cpu"
            of_inputs, of_targets = torch.empty(2, 3, dtype=torch.int32, device=device).unbind()
        emissions, lattice, _ = gate(x, targets, of_inputs, of_targets, 0)
        for reduction in ("mean", "sum", "none"):
            for logits in (True, False):
                gradient = torch.empty_like(x)
                options = LossOptions.of(dtype, logits=logits, reduction=reduction, zero_infinity=True)
                loss = gpu.loss(emissions, lattice, options, gradient)
                gpu.scale_(gradient, autograd._scale(torch.ones_like(loss), autograd._counts(lattice, options)))
        gpu.posteriors(emissions, lattice, logits=True, per_state=True)
        gpu.posteriors(emissions, lattice, logits=False, per_state=False)
    assert set(launches) == {*KERNELS, "write_by_class"}  # 123 positions, 21 items and classes


@pytest.mark.parametrize(
    ("T", "N", "C", "S"),
    [(20, 100_000, 30, 5), (2_000_000, 1, 32, 300), (1500, 16, 128_000, 100), (50, 99, 2**20, 9)],
)
def test_grids_fit_the_hardware(launches: dict[str, tuple[int, ...]], T: int, N: int, C: int, S: int) -> None:
    with FakeTensorMode(allow_non_fake_inputs=True):
        x = torch.empty(T, N, C, device="cuda", dtype=torch.bfloat16)
        targets = torch.empty(N, S, dtype=torch.int64, device="cuda")
        emissions, lattice, _ = gate(x, targets, None, None, 0)
        for logits in (True, False):
            options = LossOptions.of(x.dtype, logits=logits, reduction="mean", zero_infinity=True)
            gpu.loss(emissions, lattice, options, torch.empty_like(x))
        gpu.scale_(x, torch.empty((), device="cuda"))
    assert set(launches) == {*KERNELS, "write_rows" if C > S + 1 else "write_by_class"}
    for name, grid in launches.items():
        assert grid[0] < 2**31, name
        assert all(size <= 65_535 for size in grid[1:]), name


class Allocations(TorchDispatchMode):
    """Counts the allocated bytes."""

    total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func.name() in ("aten::empty.memory_format", "aten::new_empty", "aten::zeros"):
            self.total += result.nbytes
        return result


def rows_of_scratch() -> list[list[str]]:
    """The rows of docs/gpu.md with the size of scratch: T, N, C, S | logits | scratch."""
    page = (Path(__file__).parents[3] / "docs" / "gpu.md").read_text()
    table = page.split("| T, N, C, S | logits")[1].split("\n\n")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


@pytest.mark.parametrize("row", rows_of_scratch(), ids=lambda row: row[0])
def test_scratch_is_as_large_as_the_page_says(launches: dict[str, tuple[int, ...]], row: list[str]) -> None:
    T, N, C, S = map(int, row[0].split(","))
    with FakeTensorMode(allow_non_fake_inputs=True):
        x = torch.empty(T, N, C, device="cuda")
        emissions, lattice, _ = gate(x, torch.empty(N, S, dtype=torch.int64, device="cuda"), None, None, 0)
        gradient = torch.empty_like(x)
        with Allocations() as allocations:  # type: ignore[no-untyped-call]
            gpu.loss(
                emissions,
                lattice,
                LossOptions.of(emissions.dtype, logits=True, reduction="sum", zero_infinity=False),
                gradient,
            )
    assert launches.keys() & set(WRITERS)
    assert f"{allocations.total / 1e6:.0f} MB" == row[2]


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_a_traced_loss_needs_no_values_on_a_gpu(reduction: str) -> None:
    """The operator on fake tensors, as in torch.compile. (Autograd needs a device's streams.)"""
    with FakeTensorMode(), NoDeviceSync():  # type: ignore[no-untyped-call]
        x = torch.empty(9, 2, 5, dtype=torch.bfloat16, device="cuda")
        targets = torch.empty(2, 3, dtype=torch.int64, device="cuda")
        lengths = torch.empty(2, dtype=torch.int64, device="cuda")
        loss = ctckit.ctc_loss_with_logits(x, targets, lengths, lengths, reduction=reduction)
        emissions, lattice, _ = gate(x, targets, lengths, lengths, 0)
        again, gradient = torch.ops.ctckit.loss(emissions, *lattice, True, reduction, False, True)
    for result in (loss, again):
        assert (result.dtype, result.device.type) == (torch.float32, "cuda")
        assert result.shape == (() if reduction == "mean" else (2,))
    assert (gradient.dtype, gradient.device.type, gradient.shape) == (x.dtype, "cuda", x.shape)


@pytest.mark.parametrize(
    "call",
    [
        lambda x, lattice: gpu.loss(
            x, lattice, LossOptions.of(x.dtype, logits=True, reduction="none", zero_infinity=True), None
        ),
        partial(gpu.posteriors, logits=True, per_state=False),
        partial(gpu.posteriors, logits=True, per_state=True),
    ],
    ids=["loss", "by class", "by state"],
)
def test_too_many_labels_are_an_error_before_anything_runs(
    launches: dict[str, tuple[int, ...]], call: Callable[..., Tensor]
) -> None:
    with FakeTensorMode(allow_non_fake_inputs=True), NoDeviceSync():  # type: ignore[no-untyped-call]

        def arguments(items: int) -> tuple[Tensor, Lattice]:
            targets = torch.empty(items, 2**20 - 1, dtype=torch.int64, device="cuda")
            return gate(torch.empty(5, items, 4, device="cuda"), targets, None, None, 0)[:2]

        with pytest.raises(ValueError, match=r"1073740800 labels.* of 1024 items.* split the batch"):
            call(*arguments(1024))
        assert not launches
        call(*arguments(1023))
    assert launches


@needs_interpreter
@pytest.mark.usefixtures("launches")
@pytest.mark.parametrize("items", range(1, 6))
@pytest.mark.parametrize("classes", [4, 5, 50, 51])
def test_scratch_starts_at_multiples_of_16_bytes(items: int, classes: int) -> None:
    """Otherwise Triton would compile a second variant for some numbers of items, labels or classes."""
    x, lattice = problem(cases.random_case(9, items, classes, 40).padded(torch.zeros(9, items, classes)))
    scratch = gpu._Run(x, lattice, logits=True, both=True).scratch
    assert {name for name, part in scratch.parts._asdict().items() if part.data_ptr() % 16} == set()


# torch's own check reads the gradient of a non-leaf tensor, and torch 2.14 warns of that.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
def test_the_operator_keeps_torch_s_rules() -> None:
    """Schema, registration to autograd, fake tensors and compiled use, by torch's own check of operators."""
    for logits, reduction, dtype in ((True, "mean", torch.bfloat16), (False, "none", torch.float32)):
        emissions, lattice = problem(SMALL.padded(SMALL.logits(dtype)))
        arguments = emissions.requires_grad_(), *lattice, logits, reduction, True, False
        with use("triton"):
            torch.library.opcheck(torch.ops.ctckit.loss.default, arguments)


@pytest.mark.parametrize("logits", [True, False], ids=["logits", "log_probs"])
def test_compiled_and_under_autocast(logits: bool) -> None:
    """A layer and the public function in one graph without a break; the same results as in eager mode."""
    torch._dynamo.reset()
    layer = torch.nn.Linear(SMALL.classes, SMALL.classes, device=DEVICE)
    x, targets, *lengths = on_device(SMALL, torch.float32)

    def step(x: Tensor) -> Tensor:
        with torch.autocast(DEVICE, dtype=torch.bfloat16):
            emissions = layer(x)
            assert emissions.dtype == torch.bfloat16
            function = ctckit.ctc_loss_with_logits if logits else ctckit.ctc_loss
            return function(emissions, targets, lengths[0], lengths[1], zero_infinity=True)

    with use("triton"):
        results = []
        for call in (step, torch.compile(step, fullgraph=True, backend="aot_eager")):
            loss = call(x)
            results.append((loss, torch.autograd.grad(loss, layer.weight)[0]))
    (eager, slope), (compiled, compiled_slope) = results
    assert eager.dtype == torch.float32
    assert torch.equal(compiled, eager)
    torch.testing.assert_close(compiled_slope, slope, rtol=1e-2, atol=1e-4)  # sums in bfloat16
    assert slope.count_nonzero()


# ------------------------------------------------------------------------------------------------------- on a GPU only


@contextlib.contextmanager
def waiting_is_an_error() -> Iterator[None]:
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@needs_gpu
@pytest.mark.parametrize("form", [form for form in cases.FORMS if form != "strided"])
@pytest.mark.parametrize("function", [ctckit.ctc_loss, ctckit.ctc_loss_with_logits])
def test_no_public_call_waits(function: Callable[..., Tensor], form: str) -> None:
    """Forward and backward, with any arguments on the host."""
    arguments = cases.FORMS[form](FEW.padded(FEW.logits(torch.float32)), FEW)
    x, targets = arguments.emissions.to(DEVICE).requires_grad_(), arguments.targets.to(DEVICE)
    function(x, targets, *arguments[2:]).backward()  # compiles
    torch.cuda.synchronize()
    with waiting_is_an_error():
        for reduction in ("mean", "none"):
            loss = function(x, targets, *arguments[2:], reduction, True)
            loss.sum().backward()
        ctckit.posteriors(x, targets, *arguments[2:], logits=True)


@needs_gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize("function", [ctckit.ctc_loss, ctckit.ctc_loss_with_logits])
def test_a_captured_step_can_be_replayed_with_other_numbers(
    function: Callable[..., Tensor], dtype: torch.dtype
) -> None:
    """Forward and backward in one CUDA graph, which cannot capture a sync; then other lengths and targets."""
    x, targets, *lengths = on_device(LONG, dtype)
    x.requires_grad_()
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):  # torch requires warm-up calls on a side stream
        function(x.detach().clone().requires_grad_(), targets, *lengths).backward()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph), waiting_is_an_error():
        loss = function(x, targets, *lengths)
        loss.backward()
    captured = x.grad
    assert captured is not None

    other = cases.Case("other", LONG.frames, LONG.classes, ((3, 2), (1, 2) * 8), (43, 30))
    with torch.no_grad():
        for to, values in zip((x, targets, *lengths), on_device(other, dtype, seed=1, width=LONG.width), strict=True):
            to.copy_(values)
    graph.replay()
    torch.cuda.synchronize()
    # A leaf of its own: the node that accumulates the gradient of `x` belongs to the stream of the capture.
    eager = x.detach().requires_grad_()
    right = function(eager, targets, *lengths)
    (slope,) = torch.autograd.grad(right, eager)
    assert torch.equal(loss, right)
    assert torch.equal(captured, slope)
