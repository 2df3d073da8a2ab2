"""The results of the GPU kernels: on a GPU if there is one, else in Triton's interpreter."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

import ctckit
from ctckit.backends import LossOptions, reference, use
from ctckit.lattice import gate
from tests.tools import cases, oracle
from tests.tools.triton_setup import (
    DEVICE,
    FEW,
    LONG,
    MARKS,
    TOLERANCE,
    check,
    expected,
    gpu,
    needs_interpreter,
    problem,
    run,
)

pytestmark = MARKS


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
    options = LossOptions.of(x.dtype, logits=True, reduction="none", zero_infinity=False)
    alone = gpu.loss(x, lattice, options, None)
    assert torch.equal(alone, gpu.loss(x, lattice, options, torch.empty_like(x)))


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


@needs_interpreter
@pytest.mark.parametrize("logits", [True, False], ids=["logits", "log_probs"])
def test_no_integer_overflows(monkeypatch: pytest.MonkeyPatch, logits: bool) -> None:
    """Exponents at their limits. (After a NaN or +inf, values are undefined.)"""
    from triton.runtime.interpreter import interpreter_builder as builder

    watchful = dataclasses.replace(builder.options, sanitize_overflow=True, debug=True)
    monkeypatch.setattr(builder, "options", watchful)
    for x in (1e30 * FEW.logits(), cases.masked(FEW.logits())):
        values = (x if logits else x.log_softmax(2).nan_to_num(nan=-torch.inf, neginf=-torch.inf)).float()
        run(*problem(FEW.padded(values)), logits=logits)


def test_every_form_that_reaches_the_kernels_gives_the_same_bits() -> None:
    """The forms that still differ after `gate`, which converts all lengths to one form."""
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
    monkeypatch.setattr(gpu, "BYTES_PER_SEGMENT", 1)
    actual = run(x, lattice)
    assert torch.equal(actual[1], right[1])
    assert torch.equal(gpu.posteriors(x, lattice, logits=True, per_state=True), states)


@pytest.mark.parametrize("logits", [True, False], ids=["logits", "log_probs"])
def test_impossible_classes(logits: bool) -> None:
    x = cases.masked(FEW.logits(torch.float32))
    x[2, 1] = -torch.inf  # a frame with all classes at -inf
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
        x[2, 0, 3] = value  # a class outside of the target
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
        loss = gpu.loss(x, lattice, LossOptions.of(x.dtype, logits=True, reduction="none", zero_infinity=False), x)
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
            right = reference.posteriors(x.cpu(), lattice.cpu(), logits=logits, per_state=per_state)
            actual = gpu.posteriors(x, lattice, logits=logits, per_state=per_state)
            torch.testing.assert_close(actual.cpu(), right, rtol=0, atol=1e-12 if dtype == torch.float64 else 2e-6)


def test_the_occupancy_along_a_path_is_that_of_the_table() -> None:
    x, targets, *lengths, blank = FEW.padded(FEW.logits(torch.float32))
    arguments = targets.to(DEVICE), *lengths, blank
    generator = torch.Generator().manual_seed(0)
    states = torch.randint(-2, 2 * FEW.width + 3, (FEW.items, FEW.frames), generator=generator)
    with use("triton"):
        picked = ctckit.posteriors(x.to(DEVICE), *arguments, logits=True, states=states.to(DEVICE)).cpu()
        table = ctckit.posteriors(x.to(DEVICE), *arguments, logits=True, per_state=True).cpu().transpose(0, 1)
    inside = (states >= 0) & (states < table.shape[2])
    right = table.gather(2, states.clamp(0, table.shape[2] - 1)[:, :, None])[:, :, 0]
    assert torch.equal(picked, torch.where(inside, right, 0.0))
    assert picked.count_nonzero()


@pytest.mark.parametrize("logits", [True, False], ids=["logits", "log_probs"])
def test_nan_is_where_it_is_on_the_cpu(logits: bool) -> None:
    """In all classes and states of the item's frames, also in classes outside of its target."""
    pytest.importorskip("ctckit._core", reason="the core is not built")
    case = cases.Case("three", 5, 6, ((1, 2), (1, 2), (1, 1, 1, 2)), (5, 4, 5))
    x = case.logits(torch.float32)
    x[1, 1, 2] = torch.nan
    targets, *lengths = case.padded(x)[1:4]
    found = []
    for name, device in (("triton", DEVICE), ("cpu", "cpu")):
        y, labels = x.to(device, copy=True).requires_grad_(), targets.to(device)
        with use(name):
            if logits:
                losses = ctckit.ctc_loss_with_logits(y, labels, lengths[0], lengths[1], reduction="none")
            else:
                losses = ctckit.ctc_loss(y, labels, lengths[0], lengths[1], reduction="none")
            tables = [
                ctckit.posteriors(y, labels, lengths[0], lengths[1], logits=logits, per_state=per_state)
                for per_state in (False, True)
            ]
            slope = torch.autograd.grad(losses.sum(), y)[0]
        found.append([part.detach().cpu() for part in (losses, slope, *tables)])
    for actual, right in zip(*found, strict=True):
        torch.testing.assert_close(actual, right, rtol=1e-5, atol=1e-6, equal_nan=True)
    assert found[0][1][:4, 1].isnan().all()


def test_memory_that_holds_minus_what_the_tensor_says() -> None:
    """A view of a conjugate's imaginary part: the kernels must resolve torch's negative bit."""
    x, lattice = problem(FEW.padded(FEW.logits(torch.float32)))
    negative = torch._neg_view(-x)
    right = run(x, lattice)
    actual = run(negative, lattice)
    assert torch.equal(actual[0], right[0])
    assert torch.equal(actual[1], right[1])
    for per_state in (False, True):
        tables = [gpu.posteriors(y, lattice, logits=True, per_state=per_state) for y in (x, negative)]
        assert torch.equal(*tables)
    scale = torch._neg_view(torch.tensor(-2.0, device=DEVICE))
    assert torch.equal(gpu.scale_(right[1].to(DEVICE, copy=True), scale).cpu(), 2 * right[1])


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


def test_targets_and_batches_longer_than_a_step_of_the_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    x, lattice = problem(cases.FORMS["concatenated"](FEW.padded(FEW.logits(torch.float32)), FEW))
    right = run(x, lattice)
    monkeypatch.setattr(gpu, "LABELS_PER_STEP", 2)
    monkeypatch.setattr(gpu, "FRAMES_PER_STEP", 2)
    actual = run(x, lattice)
    torch.testing.assert_close(actual, right)
