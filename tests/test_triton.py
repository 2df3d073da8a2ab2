"""The GPU kernels: on a GPU if there is one, else through Triton's interpreter."""

from __future__ import annotations

import contextlib
import os
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
if DEVICE == "cpu":
    os.environ["TRITON_INTERPRET"] = "1"  # before the kernels are imported
triton = pytest.importorskip("triton", reason="Triton is not installed")

import cases  # noqa: E402
import ctckit  # noqa: E402
import oracle  # noqa: E402
from ctckit import ops  # noqa: E402
from ctckit.backends import reference, triton_occupancy, triton_recursion, triton_rows, use  # noqa: E402
from ctckit.backends import triton as gpu  # noqa: E402
from ctckit.lattice import Lattice, gate  # noqa: E402

pytestmark = [
    # The interpreter computes with NumPy, which warns where an infinity is subtracted from an infinity.
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
    pytest.mark.skipif(DEVICE == "cpu" and not gpu._interpreted(), reason="Triton was imported before this file"),
]

TOLERANCE = {torch.float64: 1e-13, torch.float32: 1e-6, torch.float16: 2e-3, torch.bfloat16: 1e-2}
FEW = cases.random_case(11, 3, 5, 4, seed=1)
# Two chunks of positions, labels that occur often.
LONG = cases.Case("two chunks", 43, 4, ((1, 2, 3, 1, 3, 2, 2, 1) + (1, 3) * 13, (2, 2)), (43, 10))


def problem(arguments: cases.Arguments) -> tuple[Tensor, Lattice]:
    input_lengths, target_lengths = (x.to(DEVICE) if isinstance(x, Tensor) else x for x in arguments[2:4])
    emissions, targets = arguments.emissions.to(DEVICE), arguments.targets.to(DEVICE)
    emissions, lattice, _ = gate(emissions, targets, input_lengths, target_lengths, arguments.blank)
    return emissions, lattice


def on_cpu(lattice: Lattice) -> Lattice:
    return lattice._replace(
        labels=lattice.labels.cpu(),
        input_lengths=lattice.input_lengths.cpu(),
        target_lengths=lattice.target_lengths.cpu(),
    )


def run(x: Tensor, lattice: Lattice, *, logits: bool = True, reduction: str = "none") -> tuple[Tensor, Tensor]:
    gradient = torch.full_like(x, 77.0)
    loss = gpu.loss(x, lattice, logits=logits, reduction=reduction, zero_infinity=False, gradient=gradient)
    return loss.cpu(), gradient.cpu()


def expected(x: Tensor, lattice: Lattice, *, logits: bool, reduction: str = "none") -> tuple[Tensor, Tensor]:
    x = x.detach().cpu().double()
    lattice = on_cpu(lattice)
    gradient = torch.empty_like(x)
    loss = reference.loss(x, lattice, logits=logits, reduction=reduction, zero_infinity=False, gradient=gradient)
    return loss, gradient


def check(case: cases.Case, x: Tensor, *, logits: bool) -> None:
    x, lattice = problem(case.padded(x))
    actual, right = run(x, lattice, logits=logits), expected(x, lattice, logits=logits)
    tolerance = TOLERANCE[x.dtype]
    torch.testing.assert_close(actual[0].double(), right[0], rtol=min(tolerance, 1e-6), atol=min(tolerance, 1e-6))
    error = torch.linalg.vector_norm(actual[1].double() - right[1])
    assert error <= tolerance * torch.linalg.vector_norm(right[1])
    beyond = torch.arange(case.frames)[:, None] >= torch.tensor(case.input_lengths)
    assert (actual[1][beyond] == 0).all()


@pytest.mark.parametrize("case", cases.EDGE_CASES, ids=str)
def test_edge_cases_in_float64(case: cases.Case) -> None:
    x = case.logits()
    check(case, x, logits=True)
    check(case, x.log_softmax(2), logits=False)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("logits", [True, False], ids=["logits", "log_probs"])
def test_all_dtypes(dtype: torch.dtype, logits: bool) -> None:
    x = FEW.logits(dtype, scale=2)
    check(FEW, x if logits else x.log_softmax(2), logits=logits)


def test_targets_longer_than_a_chunk() -> None:
    check(LONG, LONG.logits(torch.float32), logits=True)


@pytest.mark.parametrize("case", [LONG, cases.MIXED], ids=str)
def test_the_loss_without_its_gradient_has_the_same_bits(case: cases.Case) -> None:
    x, lattice = problem(case.padded(case.logits(torch.float32)))
    options: dict[str, Any] = {"logits": True, "reduction": "none", "zero_infinity": False}
    alone = gpu.loss(x, lattice, gradient=None, **options)
    assert torch.equal(alone, gpu.loss(x, lattice, gradient=torch.empty_like(x), **options))


def test_more_classes_than_labels() -> None:
    case = cases.random_case(9, 2, 1100, 4, blank=3, seed=5)  # more than one tile of classes, slots by position
    check(case, case.logits(torch.float32), logits=True)
    check(case, case.logits(torch.float32).log_softmax(2), logits=False)


def test_agrees_with_the_enumeration_of_all_paths() -> None:
    case = cases.Case("enumerated", 6, 3, ((1, 1, 2), (2,), ()), (6, 5, 4))
    x, lattice = problem(case.padded(case.logits(torch.float64)))
    loss, gradient = run(x, lattice)
    for item, target in enumerate(case.targets):
        frames = case.input_lengths[item]
        rows = x[:frames, item].tolist()
        answer = oracle.answer(oracle.softmax(rows), 3, target, 0)
        oracle.assert_loss(loss[item].item(), answer, tolerance=1e-14)
        softmax = x[:frames, item].cpu().softmax(1).numpy()
        oracle.assert_table(gradient[:frames, item].numpy(), softmax - answer.class_occupancy, tolerance=1e-14)


@pytest.mark.parametrize("scale", [1.0, 10.0])
def test_float32_keeps_its_digits(scale: float) -> None:
    case = cases.random_case(60, 1, 12, 12, seed=3)
    check(case, case.logits(torch.float32, scale=scale), logits=True)


@pytest.mark.parametrize("margin", [8.0, 14.0])
def test_float32_keeps_its_digits_where_the_model_is_sure(margin: float) -> None:
    case = cases.Case("sure", 60, 12, ((1, 2, 3, 3, 5, 1, 4, 11),), (60,))
    check(case, cases.trained(case, margin, torch.float32), logits=True)


def test_every_form_that_reaches_the_kernels_gives_the_same_bits() -> None:
    """What differs after `gate`, which brings all forms of lengths to one."""
    x = FEW.logits(torch.float32)
    right = run(*problem(FEW.padded(x)))
    for form in ("padded with garbage", "concatenated", "concatenated, sequences", "strided"):
        actual = run(*problem(cases.FORMS[form](FEW.padded(x), FEW)))
        assert torch.equal(actual[0], right[0]), form
        assert torch.equal(actual[1], right[1]), form


def test_items_do_not_depend_on_their_batch_and_runs_repeat() -> None:
    x, lattice = problem(FEW.padded(FEW.logits(torch.float32)))
    loss, gradient = run(x, lattice)
    again = run(x, lattice)
    assert torch.equal(loss, again[0])
    assert torch.equal(gradient, again[1])
    for item in range(FEW.items):
        alone = cases.Case("alone", FEW.frames, FEW.classes, (FEW.targets[item],), (FEW.input_lengths[item],))
        one = run(*problem(alone.padded(x[:, item : item + 1].cpu())))
        assert torch.equal(one[0], loss[item : item + 1])
        assert torch.equal(one[1][:, 0], gradient[:, item])


def test_rounds_over_segments_of_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    x, lattice = problem(FEW.padded(FEW.logits(torch.float32)))
    right = run(x, lattice)
    states = gpu.posteriors(x, lattice, logits=True, per_state=True)
    monkeypatch.setattr(gpu, "SEGMENT", 1)
    actual = run(x, lattice)
    assert torch.equal(actual[1], right[1])
    assert torch.equal(gpu.posteriors(x, lattice, logits=True, per_state=True), states)


@pytest.mark.parametrize("logits", [True, False], ids=["logits", "log_probs"])
def test_impossible_classes(logits: bool) -> None:
    x = cases.masked(FEW.logits(torch.float32))
    x[2, 1] = -torch.inf  # a frame in which nothing is possible
    x, lattice = problem(FEW.padded(x if logits else x.log_softmax(2).nan_to_num(nan=-torch.inf)))
    actual, right = run(x, lattice, logits=logits), expected(x, lattice, logits=logits)
    assert torch.equal(actual[0].isinf(), right[0].isinf())
    torch.testing.assert_close(actual[1].double(), right[1], rtol=0, atol=1e-6)


@pytest.mark.parametrize("logits", [True, False], ids=["logits", "log_probs"])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_nan_stays_in_its_item(logits: bool, value: float) -> None:
    case = cases.Case("three", 5, 4, ((1, 2), (1, 2), (1, 2)), (5, 4, 5))
    x = case.logits(torch.float32)
    right = run(*problem(case.padded(x)), logits=logits)
    x[1, 1, 1] = value
    x[4, 1] = value  # beyond the length
    if not logits:
        x[2, 0, 3] = value  # a class that the target does not name
    loss, gradient = run(*problem(case.padded(x)), logits=logits)
    assert loss.isnan().tolist() == [False, True, False]
    assert gradient[:4, 1].isnan().all()
    assert (gradient[4, 1] == 0).all()
    assert torch.equal(loss[[0, 2]], right[0][[0, 2]])
    assert torch.equal(gradient[:, [0, 2]], right[1][:, [0, 2]])


BAD: dict[str, dict[str, Any]] = {
    "label too large": {"targets": torch.tensor([[1, 4], [1, 2]])},
    "label huge": {"targets": torch.tensor([[1, 2**40], [1, 2]])},
    "label negative": {"targets": torch.tensor([[-5, 2], [1, 2]])},
    "blank among the labels": {"targets": torch.tensor([[1, 0], [1, 2]])},
    "input too long": {"input_lengths": torch.tensor([7, 5])},
    "input negative": {"input_lengths": torch.tensor([-1, 5])},
    "target too long": {"target_lengths": torch.tensor([3, 2])},
    "target negative": {"target_lengths": torch.tensor([-2, 2])},
}


@pytest.mark.parametrize("fault", BAD)
def test_invalid_items_are_nan_with_gradient_0(fault: str) -> None:
    case = cases.Case("two", 6, 4, ((1, 2), (1, 2)), (6, 5))
    arguments = case.padded(case.logits(torch.float32))
    right = run(*problem(arguments))
    x, lattice = problem(arguments._replace(**BAD[fault]))
    loss, gradient = run(x, lattice)
    assert loss[0].isnan()
    assert (gradient[:, 0] == 0).all()
    assert torch.equal(loss[1], right[0][1])
    assert torch.equal(gradient[:, 1], right[1][:, 1])
    occupancy = gpu.posteriors(x, lattice, logits=True, per_state=True)
    assert not occupancy[:, 1].isnan().any()


def test_concatenated_targets_that_do_not_add_up_are_all_invalid() -> None:
    x = torch.randn(6, 2, 4, device=DEVICE)
    for lengths in ([2, 2], [-1, 4], [2**40, 3 - 2**40], [4, -1]):
        emissions, lattice, _ = gate(
            x, torch.tensor([1, 2, 3], device=DEVICE), None, torch.tensor(lengths, device=DEVICE), 0
        )
        loss, gradient = run(emissions, lattice)
        assert loss.isnan().all()
        assert (gradient == 0).all()


def test_gradient_over_the_logits() -> None:
    for layout in (FEW.logits(torch.float32), FEW.logits(torch.float32).transpose(0, 1).contiguous().transpose(0, 1)):
        x, lattice = problem(FEW.padded(layout))
        right = run(x, lattice)
        loss = gpu.loss(x, lattice, logits=True, reduction="none", zero_infinity=False, gradient=x)
        assert torch.equal(loss.cpu(), right[0])
        assert torch.equal(x.cpu(), right[1])


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_reductions(reduction: str) -> None:
    x, lattice = problem(FEW.padded(FEW.logits(torch.float64)))
    actual, right = (f(x, lattice, logits=True, reduction=reduction) for f in (run, expected))
    torch.testing.assert_close(actual, right, rtol=1e-13, atol=1e-14)


def test_posteriors() -> None:
    case = cases.Case("four", 9, 5, ((1, 2, 2), (3,), (), (1, 1, 1, 1, 1, 1)), (9, 6, 3, 9))
    for dtype, logits in ((torch.float64, True), (torch.float32, False)):
        x = case.logits(dtype)
        x, lattice = problem(case.padded(x if logits else x.log_softmax(2)))
        for per_state in (False, True):
            right = reference.posteriors(x.cpu(), on_cpu(lattice), logits=logits, per_state=per_state)
            actual = gpu.posteriors(x, lattice, logits=logits, per_state=per_state)
            torch.testing.assert_close(actual.cpu(), right, rtol=0, atol=1e-12 if dtype == torch.float64 else 2e-6)


def test_scale_in_place() -> None:
    x = torch.randn(5, 3, 7, device=DEVICE)
    for scale in (torch.tensor(1.0), torch.tensor(2.5), torch.tensor(3.0).expand(3)[:, None], torch.rand(3, 1)):
        actual = gpu.scale_(x.clone(), scale.to(DEVICE))
        torch.testing.assert_close(actual, x * scale.to(DEVICE), rtol=0, atol=0)


def test_through_the_public_functions() -> None:
    x = FEW.logits(torch.float32).to(DEVICE).requires_grad_()
    emissions, targets, input_lengths, target_lengths, blank = FEW.padded(x)
    with use("triton"):
        loss = ctckit.ctc_loss_with_logits(emissions, targets.to(DEVICE), input_lengths, target_lengths, blank)
        (2 * loss).backward()
        states = ctckit.posteriors(
            x, targets.to(DEVICE), input_lengths, target_lengths, blank, logits=True, per_state=True
        )
    right = torch.autograd.grad(
        2
        * torch.nn.functional.ctc_loss(x.cpu().double().log_softmax(2), targets, input_lengths, target_lengths, blank),
        x,
    )[0]
    assert states.shape == (FEW.frames, FEW.items, 2 * FEW.width + 1)
    assert x.grad is not None
    torch.testing.assert_close(x.grad, right, rtol=1e-5, atol=1e-7)


@pytest.mark.skipif(DEVICE != "cpu", reason="the interpreter runs small chunks, a warp is one size")
def test_many_chunks_whatever_the_order_in_which_programs_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs start last first here; one that waits for another that has not started would wait for ever."""
    from triton.runtime.interpreter import interpreter_builder

    monkeypatch.setattr(gpu, "_chunk", lambda: 8)
    monkeypatch.setattr(gpu, "FRAMES", 2)
    set_grid_idx = interpreter_builder.set_grid_idx

    def reversed_(x: int, y: int, z: int) -> None:
        set_grid_idx(interpreter_builder.grid_dim[0] - 1 - x, y, z)

    monkeypatch.setattr(interpreter_builder, "set_grid_idx", reversed_)
    case = cases.Case("three chunks", 23, 4, ((1, 2, 3, 1) * 4 + (2, 2), (3,) * 9), (23, 20))
    check(case, case.logits(torch.float64), logits=True)


@pytest.mark.skipif(DEVICE != "cpu", reason="reserves addresses without memory")
@pytest.mark.parametrize("dim", [0, 1, 2], ids=["frames", "items", "classes"])
def test_offsets_beyond_2_to_the_31_elements(dim: int) -> None:
    case = cases.Case("far", 3, 4, ((1, 2), (2,), (1,)), (3, 3, 2), blank=3)
    strides = [16, 4, 1]
    strides[dim] = 2**30 + 8  # so that the stride itself is a 32-bit number

    def far(values: Tensor) -> Tensor:
        import mmap

        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000  # MAP_NORESERVE: pages that nobody touches take nothing
        memory = mmap.mmap(-1, 2 * 2**32, flags=flags)
        view = torch.frombuffer(memory, dtype=torch.float16).as_strided(values.shape, strides)
        return view.copy_(values)

    values = case.logits(torch.float16)
    for logits in (True, False):
        x, lattice = problem(case.padded(far(values if logits else values.log_softmax(2))))
        gradient = far(torch.zeros_like(values))
        loss = gpu.loss(x, lattice, logits=logits, reduction="none", zero_infinity=False, gradient=gradient)
        right = run(x.contiguous(), lattice, logits=logits)
        assert torch.equal(loss, right[0])
        assert torch.equal(gradient.contiguous(), right[1])
        gpu.scale_(gradient, torch.tensor(2.0))
        assert torch.equal(gradient.contiguous(), 2 * right[1])


def test_targets_and_batches_longer_than_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    x, lattice = problem(cases.FORMS["concatenated"](FEW.padded(FEW.logits(torch.float32)), FEW))
    right = run(x, lattice)
    monkeypatch.setattr(gpu, "BLOCK", 2)
    actual = run(x, lattice)
    torch.testing.assert_close(actual, right)


KERNELS = ("prepare", "sum_rows", "top_of_rows", "walk_chunks", "finish", "occupy", "write_rows", "scale_rows")


class Launches:
    """Stands for the kernels: notes how they are launched, and launches nothing."""

    def __init__(self, kept: dict[str, tuple[int, ...]], name: str) -> None:
        self.kept, self.name = kept, name

    def __getitem__(self, grid: tuple[int, ...]) -> Any:
        self.kept[self.name] = grid
        return lambda *_, **__: None


@pytest.fixture
def launches(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[int, ...]]:
    kept: dict[str, tuple[int, ...]] = {}
    for module in (triton_rows, triton_recursion, triton_occupancy):
        for name in KERNELS:
            if hasattr(module, name):
                monkeypatch.setattr(module, name, Launches(kept, name))
    monkeypatch.setattr(gpu, "_chunk", lambda: 32)
    monkeypatch.setattr(gpu, "_on", lambda _: contextlib.nullcontext())
    return kept


class NoWaiting(TorchDispatchMode):
    """Fails where the host would wait for the device: at what reads a value, and at copies that are waited for."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs = func.name(), kwargs or {}
        reads = ("_local_scalar_dense", "nonzero", "equal", "is_nonzero", "masked_select", "unique", "_assert_async")
        assert not any(word in name for word in reads), name
        result = func(*args, **kwargs)
        if "_to_copy" in name or "copy_" in name:
            here, there = args[0].device, result.device
            waits = here != there and not (kwargs.get("non_blocking") or (len(args) > 2 and args[2]))
            assert not waits, f"{name} waits: {args} {kwargs}"
        return result


@pytest.mark.parametrize("lengths", ["device", "host", "tuple", "none"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32], ids=str)
@pytest.mark.parametrize("concatenated", [False, True], ids=["padded", "concatenated"])
def test_nothing_around_the_launches_waits(
    launches: dict[str, tuple[int, ...]], lengths: str, dtype: torch.dtype, concatenated: bool
) -> None:
    """On tensors that claim to be on a GPU and hold nothing: reading one is an error."""
    if concatenated and lengths == "none":
        pytest.skip("concatenated targets need lengths")
    with FakeTensorMode(allow_non_fake_inputs=True), NoWaiting():  # type: ignore[no-untyped-call]
        x = torch.empty(50, 3, 7, dtype=dtype, device="cuda")
        targets = torch.empty((120,) if concatenated else (3, 40), dtype=torch.int64, device="cuda")
        of_inputs: Any = {"tuple": (50, 40, 30), "none": None}.get(lengths)
        of_targets: Any = {"tuple": (40, 40, 40), "none": None}.get(lengths)
        if lengths in ("device", "host"):
            device = "cuda" if lengths == "device" else "cpu"
            of_inputs, of_targets = torch.empty(2, 3, dtype=torch.int32, device=device).unbind()
        emissions, lattice, _ = gate(x, targets, of_inputs, of_targets, 0)
        for reduction in ("mean", "sum", "none"):
            for logits in (True, False):
                gradient = torch.empty_like(x)
                options: dict[str, Any] = {"logits": logits, "reduction": reduction, "zero_infinity": True}
                loss = gpu.loss(emissions, lattice, gradient=gradient, **options)
                scale = ops._scale(torch.ones_like(loss), lattice, reduction, dtype)
                with use("triton"):
                    ops._scaled_in_place(gradient, scale)
        gpu.posteriors(emissions, lattice, logits=True, per_state=True)
        gpu.posteriors(emissions, lattice, logits=False, per_state=False)
    assert set(launches) == set(KERNELS)


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
            options: dict[str, Any] = {"reduction": "none", "zero_infinity": True, "gradient": torch.empty_like(x)}
            gpu.loss(emissions, lattice, logits=logits, **options)
        gpu.scale_(x, torch.empty((), device="cuda"))
    assert set(launches) == set(KERNELS)
    for name, grid in launches.items():
        assert grid[0] < 2**31, name
        assert all(size <= 65_535 for size in grid[1:]), name


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_a_traced_loss_needs_no_values_on_a_gpu(reduction: str) -> None:
    """What torch.compile sees: the operator on tensors that hold nothing. (Autograd needs a device's streams.)"""
    with FakeTensorMode(), NoWaiting():  # type: ignore[no-untyped-call]
        x = torch.empty(9, 2, 5, dtype=torch.bfloat16, device="cuda")
        targets = torch.empty(2, 3, dtype=torch.int64, device="cuda")
        lengths = torch.empty(2, dtype=torch.int64, device="cuda")
        loss = ctckit.ctc_loss_with_logits(x, targets, lengths, lengths, reduction=reduction)
        emissions, lattice, _ = gate(x, targets, lengths, lengths, 0)
        fields = lattice
        again, gradient = torch.ops.ctckit.loss(emissions, *fields, True, reduction, False, True)
    for result in (loss, again):
        assert (result.dtype, result.device.type) == (torch.float32, "cuda")
        assert result.shape == (() if reduction == "mean" else (2,))
    assert (gradient.dtype, gradient.device.type, gradient.shape) == (x.dtype, "cuda", x.shape)


def test_float32_keeps_its_digits_over_many_frames() -> None:
    case = cases.Case("long", 250, 5, ((1, 2, 3),), (250,))
    check(case, cases.trained(case, 14.0, torch.float32), logits=True)


@pytest.mark.skipif(DEVICE == "cpu", reason="needs a GPU")
def test_no_call_waits_and_a_graph_can_be_replayed_with_other_lengths() -> None:
    x = LONG.logits(torch.float32).to(DEVICE)
    _, lattice = problem(LONG.padded(x))
    run(x, lattice)  # compiles
    torch.cuda.set_sync_debug_mode("error")
    gradient = torch.empty_like(x)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = gpu.loss(x, lattice, logits=True, reduction="none", zero_infinity=False, gradient=gradient)
    torch.cuda.set_sync_debug_mode("default")
    other = cases.Case("other", LONG.frames, LONG.classes, ((3, 2), (1, 2) * 8), (43, 30))
    arguments = problem(other.padded(other.logits(torch.float32), fill=0))
    right = run(*arguments)
    x.copy_(arguments[0])
    lattice.labels.zero_()
    lattice.labels.view(2, -1)[:, : other.width] = arguments[1].labels.view(2, -1)
    lattice.input_lengths.copy_(arguments[1].input_lengths)
    lattice.target_lengths.copy_(arguments[1].target_lengths)
    graph.replay()
    torch.cuda.synchronize()
    assert torch.equal(loss.cpu(), right[0])
    assert torch.equal(gradient.cpu(), right[1])


@pytest.mark.skipif(DEVICE == "cpu", reason="needs a GPU")
@pytest.mark.parametrize(("N", "S"), [(1, 10_000), (1000, 100), (3, 1500)])
def test_many_chunks_at_once(N: int, S: int) -> None:
    """More programs than fit on the device at a time: none may wait for one that cannot start."""
    T = 2 * S + 50
    x = torch.randn(T, N, 8, device=DEVICE)
    targets = torch.randint(1, 8, (N, S), device=DEVICE)
    emissions, lattice, _ = gate(x, targets, None, torch.full((N,), S, device=DEVICE), 0)
    first = run(emissions, lattice)
    assert first[0].isfinite().all()
    for _ in range(3):
        again = run(emissions, lattice)
        assert torch.equal(again[0], first[0])
        assert torch.equal(again[1], first[1])
