"""The loss: values and gradients against the oracle, torch's tutorial, and every form of a call."""

from __future__ import annotations

import math
from functools import cache
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import ctc_loss as torch_ctc_loss

import ctckit
from tests.tools import oracle
from tests.tools.cases import EDGE_CASES, FORMS, MIXED, Case, random_case
from tests.tools.exact_answers import GRADIENT_ERROR, LOSS_ERROR, dtypes, exact, run

pytestmark = pytest.mark.usefixtures("backend")


# --------------------------------------------------------------------------------------------------- against the oracle


@cache
def every_target(
    frames: int, classes: int, blank: int, logits: bool
) -> tuple[Tensor, tuple[oracle.Target, ...], list[oracle.Answer]]:
    """Emissions that are exact in all dtypes, every target of up to T + 1 labels, and the answers by enumeration."""
    x = Case("", frames, classes, ((),), (frames,)).logits(seed=blank, scale=2)[:, 0].bfloat16().double()
    own = x.tolist()
    answers = oracle.solve(oracle.softmax(own) if logits else oracle.weights(own), classes, blank)
    targets = tuple(oracle.targets(classes, blank, frames + 1))
    return x, targets, [answers.get(t, oracle.impossible(frames, classes, t)) for t in targets]


@dtypes
@pytest.mark.parametrize("logits", [False, True], ids=["log_probs", "logits"])
@pytest.mark.parametrize(("frames", "classes"), [(t, c) for c in (1, 2, 3) for t in range(6)] + [(3, 5)])
def test_every_small_problem(frames: int, classes: int, logits: bool, dtype: torch.dtype) -> None:
    """Loss and gradient of every target, feasible or not, with every blank; probabilities are not normalised."""
    for blank in range(classes):
        x, targets, answers = every_target(frames, classes, blank, logits)
        case = Case("", frames, classes, targets, (frames,) * len(targets), blank)
        emissions = x.to(dtype)[:, None].expand(-1, len(targets), -1)
        losses, slope = run(case.padded(emissions), logits=logits)
        assert losses.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
        assert slope.dtype == dtype
        share = x.softmax(1).numpy() if logits else np.zeros(x.shape)
        for item, answer in enumerate(answers):
            oracle.assert_loss(losses[item].item(), answer, tolerance=LOSS_ERROR[dtype])
            right = (answer.paths > 0) * share - answer.class_occupancy
            oracle.assert_table(slope[:, item].double(), right, tolerance=GRADIENT_ERROR[dtype], what="gradient")


@pytest.mark.parametrize("logits", [False, True], ids=["log_probs", "logits"])
@pytest.mark.parametrize("classes", [3, 40, 129, 500])
def test_small_problems_in_a_large_vocabulary(classes: int, logits: bool) -> None:
    """The core gathers a few classes of a large vocabulary: other classes at -inf change nothing."""
    small, targets, answers = every_target(5, 3, 0, logits)
    places = torch.tensor([classes - 1, 0, classes // 2])  # the blank and the two labels
    x = torch.full((5, len(targets), classes), -torch.inf, dtype=torch.float64)
    x[:, :, places] = small[:, None]
    moved = tuple(tuple(places[list(target)].tolist()) for target in targets)
    losses, slope = run(Case("", 5, classes, moved, (5,) * len(moved), classes - 1).padded(x), logits=logits)
    share = small.softmax(1).numpy() if logits else np.zeros(small.shape)
    for item, answer in enumerate(answers):
        oracle.assert_loss(losses[item].item(), answer, tolerance=1e-13)
        right = (answer.paths > 0) * share - answer.class_occupancy
        oracle.assert_table(slope[:, item][:, places], right, tolerance=1e-13, what="gradient")
    slope[:, :, places] = 0
    assert not slope.count_nonzero()


@pytest.mark.parametrize("logits", [False, True], ids=["log_probs", "logits"])
@pytest.mark.parametrize(
    "case",
    [
        *EDGE_CASES,
        random_case(40, 5, 30, 9, seed=1),
        random_case(100, 3, 400, 20, seed=2, blank=399),
        random_case(33, 4, 2, 12, seed=3, blank=1),
        random_case(130, 3, 60, 60, seed=4),
    ],
    ids=str,
)
def test_agrees_with_the_reference(case: Case, logits: bool) -> None:
    """Longer than a block of frames, wider than a vector, few classes of many: equal to the reference in float64."""
    arguments = case.padded(case.logits(scale=2))
    expected = exact(arguments, logits=logits)
    actual = run(arguments, logits=logits)
    torch.testing.assert_close(actual.losses, expected.losses, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(actual.gradient, expected.gradient, rtol=0, atol=1e-12)
    assert actual.losses.isfinite().tolist() == case.feasible


# --------------------------------------------------------------------------------------------------------- the tutorial

# As written, except that the fourth says T for its variable len.
TUTORIAL = {
    "module": """
import torch
logits = torch.rand(10, 26)
targets = torch.tensor([1, 2, 3, 4, 5])
loss = torch.nn.CTCLoss()(logits, targets, input_lengths=torch.tensor([5]), target_lengths=torch.tensor([5]))
loss
""",
    "padded": """
import torch
import torch.nn as nn
len = 50
Class = 20
batch = 16
Seq = 30
S_min = 10
input = torch.randn(len, batch, Class).log_softmax(2).detach().requires_grad_()
target = torch.randint(low=1, high=Class, size=(batch, Seq), dtype=torch.long)
input_lengths = torch.full(size=(batch,), fill_value=len, dtype=torch.long)
target_lengths = torch.randint(low=S_min, high=Seq, size=(batch,), dtype=torch.long)
loss = nn.CTCLoss()
result = loss(input, target, input_lengths, target_lengths)
result.backward()
result
""",
    "un-padded": """
import torch
import torch.nn as nn
len = 50
Class = 20
batch = 16
input = torch.randn(len, batch, Class).log_softmax(2).detach().requires_grad_()
input_lengths = torch.full(size=(batch,), fill_value=len, dtype=torch.long)
target_lengths = torch.randint(low=1, high=len, size=(batch,), dtype=torch.long)
target = torch.randint(low=1, high=Class, size=(sum(target_lengths),), dtype=torch.long)
ctc_loss = nn.CTCLoss()
loss = ctc_loss(input, target, input_lengths, target_lengths)
loss
""",
    "un-padded and un-batched": """
import torch
import torch.nn as nn
len = 50
Class = 20
input = torch.randn(len, Class).log_softmax(1).detach().requires_grad_()
input_lengths = torch.tensor(len, dtype=torch.long)
target_lengths = torch.randint(low=1, high=len, size=(), dtype=torch.long)
target = torch.randint(low=1, high=Class, size=(target_lengths,), dtype=torch.long)
loss = nn.CTCLoss()
result = loss(input, target, input_lengths, target_lengths)
result.backward()
result
""",
    "functional": """
import torch
import torch.nn.functional as F
log = torch.randn(50, 16, 20).log_softmax(2).detach().requires_grad_()
targets = torch.randint(1, 20, (16, 30), dtype=torch.long)
input_lengths = torch.full((16,), 50, dtype=torch.long)
target_lengths = torch.randint(10, 30, (16,), dtype=torch.long)
loss = F.ctc_loss(log, targets, input_lengths, target_lengths)
loss.backward()
loss
""",
}


@pytest.mark.parametrize("usage", TUTORIAL)
def test_tutorial(usage: str) -> None:
    """The five examples of the tutorial give torch's loss of the same numbers, and torch's gradient of the logits."""
    with_torch = TUTORIAL[usage]
    with_ctckit = "import ctckit\n" + with_torch
    for name in ("torch.nn.CTCLoss", "nn.CTCLoss", "F.ctc_loss"):
        with_ctckit = with_ctckit.replace(name, "ctckit." + name.split(".")[-1])
    assert with_ctckit.count("ctckit.") == 1
    results: list[Any] = []
    for code in (with_torch, with_ctckit):
        torch.manual_seed(5)
        names: dict[str, Any] = {}
        exec(code, names)  # noqa: S102  # the text above
        results.append(names)
    theirs, ours = ((names["result"] if "result" in names else names["loss"]) for names in results)
    assert ours.shape == ()
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=0)  # float32, torch's in log space

    theirs, ours = (names.get("input", names.get("log")) for names in results)
    if ours is not None and theirs.grad is not None:
        # Torch's is right only after a log_softmax: it includes the derivative of the normaliser.
        labels = results[0]["target_lengths"]
        share = ours.detach().exp() / (labels * (len(labels) if labels.ndim else 1))[..., None]
        torch.testing.assert_close(ours.grad + share, theirs.grad, rtol=0, atol=1e-6)


# -------------------------------------------------------------------------------------------------- the forms of a call


@pytest.mark.parametrize("logits", [False, True], ids=["log_probs", "logits"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", EDGE_CASES, ids=str)
def test_all_forms_give_the_same(case: Case, form: str, logits: bool) -> None:
    plain = case.padded(case.logits(torch.float32))
    expected = run(plain, logits=logits)
    actual = run(FORMS[form](plain, case), logits=logits)
    assert torch.equal(actual.losses, expected.losses)
    assert torch.equal(actual.gradient, expected.gradient)


@pytest.mark.parametrize(
    "dtype", [torch.uint8, torch.int8, torch.int16, torch.int32, torch.uint16, torch.uint32, torch.uint64]
)
def test_any_integers(dtype: torch.dtype) -> None:
    x, targets, frames, lengths, blank = MIXED.padded(MIXED.logits())
    expected = ctckit.ctc_loss(x, targets, frames, lengths, blank)
    assert torch.equal(ctckit.ctc_loss(x, targets.to(dtype), frames.to(dtype), lengths.to(dtype), blank), expected)


@pytest.mark.parametrize("module", [False, True], ids=["function", "module"])
@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
def test_unbatched(reduction: str, module: bool) -> None:
    """(T, C) is a batch of one, and its loss a scalar for every reduction."""
    x = MIXED.logits(torch.float32)[:, 0]
    target = torch.tensor(MIXED.targets[0])

    def loss(x: Tensor, targets: Tensor, frames: Any, labels: Any, *, batch_first: bool = False) -> Tensor:
        if module:
            criterion = ctckit.CTCLoss(reduction=reduction, batch_first=batch_first)
            return cast("Tensor", criterion(x, targets, frames, labels))
        return ctckit.ctc_loss(x, targets, frames, labels, reduction=reduction, batch_first=batch_first)

    batch = loss(x[:, None], target[None], torch.tensor([9]), torch.tensor([3]))
    expected = batch[0] if reduction == "none" else batch
    lengths: tuple[Any, ...] = (
        (9, 3),
        (torch.tensor(9), torch.tensor(3)),
        ((9,), [3]),
        (torch.tensor([9]), torch.tensor([3])),
        (None, None),
    )
    for frames, labels in lengths:
        for targets in (target, target[None]):
            assert torch.equal(loss(x, targets, frames, labels), expected)
            assert torch.equal(loss(x, targets, frames, labels, batch_first=True), expected)


@pytest.mark.parametrize("logits", [False, True], ids=["log_probs", "logits"])
def test_batch_first(logits: bool) -> None:
    x, *others = MIXED.padded(MIXED.logits(torch.float32))
    expected = run(MIXED.padded(x), logits=logits)
    first = x.transpose(0, 1).contiguous()
    losses, slope = run(MIXED.padded(x)._replace(emissions=first), logits=logits, batch_first=True)
    assert torch.equal(losses, expected.losses)
    assert torch.equal(slope, expected.gradient.transpose(0, 1))
    for module in (ctckit.CTCLoss, ctckit.CTCWithLogitsLoss):
        by_module = module(reduction="none", batch_first=True)(first, *others[:-1])
        assert torch.equal(by_module, module(reduction="none")(x, *others[:-1]))


def test_modules_are_the_functions() -> None:
    arguments = MIXED.padded(MIXED.logits())
    for module, function in (
        (ctckit.CTCLoss, ctckit.ctc_loss),
        (ctckit.CTCWithLogitsLoss, ctckit.ctc_loss_with_logits),
    ):
        for reduction in ("none", "mean", "sum"):
            for zero_infinity in (False, True):
                expected = function(*arguments, reduction=reduction, zero_infinity=zero_infinity)
                assert torch.equal(module(0, reduction, zero_infinity)(*arguments[:-1]), expected)


def test_logits_are_log_softmax_first() -> None:
    x = MIXED.logits().requires_grad_()
    arguments = MIXED.padded(x)
    fused = ctckit.ctc_loss_with_logits(*arguments, reduction="sum", zero_infinity=True)
    apart = ctckit.ctc_loss(x.log_softmax(2), *arguments[1:], reduction="sum", zero_infinity=True)
    torch.testing.assert_close(fused, apart, rtol=1e-14, atol=0)
    torch.testing.assert_close(*(torch.autograd.grad(loss, x)[0] for loss in (fused, apart)), rtol=0, atol=1e-14)


# ----------------------------------------------------------------------------------------------------------- reductions


@dtypes
def test_reductions(dtype: torch.dtype) -> None:
    """As torch: 'mean' divides by the target's length (at least 1) first; zero_infinity counts infinite ones as 0."""
    x = MIXED.logits(dtype)
    arguments = MIXED.padded(x)
    losses, slopes = run(arguments, logits=True)
    assert losses.isinf().tolist() == [False, False, False, True, False]
    counted = torch.where(losses.isinf(), 0.0, losses)
    lengths = torch.tensor([3, 2, 1, 6, 1])
    wanted = {
        ("none", False): losses,
        ("none", True): counted,
        ("sum", False): losses.sum(),
        ("sum", True): counted.sum(),
        ("mean", False): (losses / lengths).mean(),
        ("mean", True): (counted / lengths).mean(),
    }
    for (reduction, zero_infinity), expected in wanted.items():
        leaf = x.clone().requires_grad_()
        loss = ctckit.ctc_loss_with_logits(leaf, *arguments[1:], reduction=reduction, zero_infinity=zero_infinity)
        torch.testing.assert_close(loss, expected, rtol=1e-6 if losses.dtype == torch.float32 else 1e-14, atol=0)
        loss.sum().backward()
        assert leaf.grad is not None
        # Infinite losses have the gradient 0, with and without zero_infinity.
        weight = 1 / (5 * lengths.double())[:, None] if reduction == "mean" else torch.ones(())
        right = (slopes.double() * weight).to(dtype)
        # A few more roundings: of the entries, of the softmax and of the occupancy.
        torch.testing.assert_close(leaf.grad, right, rtol=2 * torch.finfo(dtype).eps, atol=GRADIENT_ERROR[dtype] / 10)


@dtypes
@pytest.mark.parametrize("zero_infinity", [False, True])
def test_empty_batch(dtype: torch.dtype, zero_infinity: bool) -> None:
    for targets, form in ((torch.empty(0, 3), "padded"), (torch.empty(0), "concatenated")):
        for reduction in ("none", "sum", "mean"):
            x = torch.empty(4, 0, 3, dtype=dtype, requires_grad=True)
            empty = torch.empty(0, dtype=torch.int64)
            loss = ctckit.ctc_loss(x, targets.long(), empty, empty, 0, reduction, zero_infinity)
            assert loss.dtype == (torch.float64 if dtype == torch.float64 else torch.float32), form
            if reduction == "none":
                assert loss.shape == (0,)
            else:
                assert loss.item() == 0 if reduction == "sum" else math.isnan(loss.item())
            loss.sum().backward()
            assert x.grad is not None
            assert x.grad.shape == x.shape


# -------------------------------------------------------------------------------------------------------- against torch


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("zero_infinity", [False, True])
def test_behind_log_softmax_torch_agrees(reduction: str, zero_infinity: bool) -> None:
    """For feasible items in float64, where torch is right, changing the import changes nothing."""
    case = random_case(60, 6, 12, 14, seed=2)
    assert all(case.feasible)
    x = case.logits().requires_grad_()
    arguments = case.padded(x.log_softmax(2))
    results = []
    for function in (torch_ctc_loss, ctckit.ctc_loss):
        loss = function(*arguments, reduction, zero_infinity)
        results.append((loss, *torch.autograd.grad(loss.sum(), x, retain_graph=True)))
    torch.testing.assert_close(results[1], results[0], rtol=1e-12, atol=1e-12)
