"""The GPU kernels: on a GPU if there is one, else through Triton's interpreter."""

from __future__ import annotations

import os
from typing import Any

import pytest
import torch
from torch import Tensor

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
if DEVICE == "cpu":
    os.environ["TRITON_INTERPRET"] = "1"  # before the kernels are imported
triton = pytest.importorskip("triton", reason="Triton is not installed")

import cases  # noqa: E402
import ctckit  # noqa: E402
import oracle  # noqa: E402
from ctckit.backends import reference, use  # noqa: E402
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
        offsets=lattice.offsets.cpu(),
        input_lengths=lattice.input_lengths.cpu(),
        target_lengths=lattice.target_lengths.cpu(),
    )


def run(x: Tensor, lattice: Lattice, *, logits: bool = True, reduction: str = "none") -> tuple[Tensor, Tensor]:
    gradient = torch.full_like(x, 77.0)
    loss = gpu.loss(x, lattice, logits=logits, reduction=reduction, zero_infinity=False, gradient=gradient)
    alone = gpu.loss(x, lattice, logits=logits, reduction=reduction, zero_infinity=False, gradient=None)
    torch.testing.assert_close(alone, loss, rtol=0, atol=0, equal_nan=True)
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


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_targets_longer_than_a_chunk(dtype: torch.dtype) -> None:
    check(LONG, LONG.logits(dtype), logits=True)


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


@pytest.mark.parametrize("form", cases.FORMS)
def test_every_form_of_a_call_gives_the_same_bits(form: str) -> None:
    x = FEW.logits(torch.float32)
    right = run(*problem(FEW.padded(x)))
    actual = run(*problem(cases.FORMS[form](FEW.padded(x), FEW)))
    assert torch.equal(actual[0], right[0])
    assert torch.equal(actual[1], right[1])


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
