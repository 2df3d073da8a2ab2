"""Edge cases of the lattice: no path, no frames, no labels, impossible classes, NaN and infinity."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import ctckit
from tests.tools import oracle
from tests.tools.cases import Case, masked, random_case
from tests.tools.exact_answers import GRADIENT_ERROR, LOSS_ERROR, dtypes, run

pytestmark = pytest.mark.usefixtures("backend")


@dtypes
@pytest.mark.parametrize("logits", [False, True], ids=["log_probs", "logits"])
def test_infeasible(logits: bool, dtype: torch.dtype) -> None:
    """The loss is inf and the gradient exactly 0, only for that item."""
    case = Case("", 20, 4, ((1, 2), (1,) * 11, (1, 2) * 11, (3,)), (20, 20, 20, 0))
    x = case.logits(dtype)
    losses, slope = run(case.padded(x), logits=logits)
    assert losses.tolist()[1:] == [math.inf] * 3
    assert losses[0].isfinite()
    assert not slope[:, 1:].count_nonzero()
    assert slope[:, 0].count_nonzero()
    arguments = case.padded(x.clone().requires_grad_())
    function = ctckit.ctc_loss_with_logits if logits else ctckit.ctc_loss
    assert function(*arguments).item() == function(*arguments, reduction="sum").item() == math.inf
    assert function(*arguments, reduction="none", zero_infinity=True).tolist() == [losses[0].item(), 0, 0, 0]
    # With one more frame, each is feasible.
    case = Case("", 22, 4, (*case.targets[:3], (3,)), (20, 21, 22, 1))
    assert run(case.padded(case.logits(dtype)), logits=logits).losses.isfinite().all()


@dtypes
@pytest.mark.parametrize("logits", [False, True], ids=["log_probs", "logits"])
@pytest.mark.parametrize("garbage", [torch.nan, torch.inf, -torch.inf, 6e4])
def test_frames_beyond_the_length(garbage: float, logits: bool, dtype: torch.dtype) -> None:
    """They are never read, and their gradient is exactly 0."""
    case = random_case(40, 4, 6, 5, seed=7)
    x = case.logits(dtype)
    expected = run(case.padded(x), logits=logits)
    beyond = torch.arange(case.frames)[:, None] >= torch.tensor(case.input_lengths)
    assert beyond.any()
    x[beyond] = garbage
    actual = run(case.padded(x), logits=logits)
    assert torch.equal(actual.losses, expected.losses)
    assert torch.equal(actual.gradient, expected.gradient)
    assert not actual.gradient[beyond].count_nonzero()


@dtypes
@pytest.mark.parametrize("logits", [False, True], ids=["log_probs", "logits"])
def test_masked_classes_are_exact(logits: bool, dtype: torch.dtype) -> None:
    """A class at -inf has probability 0: results are as without it, and its gradient is 0."""
    kept = [0, 1, 3]
    case = Case("", 20, 6, ((1, 3), (3, 3), (), (1, 3, 1, 3)), (20, 20, 9, 17))
    smaller = Case("", 20, 3, ((1, 2), (2, 2), (), (1, 2, 1, 2)), (20, 20, 9, 17))
    x = case.logits(dtype)
    x[:, :, [2, 4, 5]] = -torch.inf
    actual = run(case.padded(x), logits=logits)
    expected = run(smaller.padded(x[:, :, kept]), logits=logits)
    torch.testing.assert_close(actual.losses, expected.losses, rtol=LOSS_ERROR[dtype], atol=0)
    torch.testing.assert_close(actual.gradient[:, :, kept], expected.gradient, rtol=0, atol=GRADIENT_ERROR[dtype])
    assert not actual.gradient[:, :, [2, 4, 5]].count_nonzero()


@pytest.mark.parametrize("logits", [False, True], ids=["log_probs", "logits"])
def test_masked_targets_are_exact(logits: bool) -> None:
    """Random masks, also over labels of the target: the oracle counts the remaining paths."""
    targets = tuple(oracle.targets(3, 0, 4))
    case = Case("", 5, 3, targets, (5,) * len(targets))
    for seed in range(8):
        one = masked(Case("", 5, 3, ((),), (5,)).logits(), share=0.25, seed=seed)
        own = one[:, 0].tolist()
        answers = oracle.solve(oracle.softmax(own) if logits else oracle.weights(own), 3, 0)
        losses, slope = run(case.padded(one.expand(-1, len(targets), -1)), logits=logits)
        share = one[:, 0].softmax(1).nan_to_num(0.0).numpy() if logits else np.zeros((5, 3))
        for item, target in enumerate(targets):
            answer = answers.get(target, oracle.impossible(5, 3, target))
            oracle.assert_loss(losses[item].item(), answer, tolerance=1e-13)
            right = (answer.likelihood > 0) * share - answer.class_occupancy
            oracle.assert_table(slope[:, item], right, tolerance=1e-13, what="gradient")


@dtypes
@pytest.mark.parametrize("logits", [False, True], ids=["log_probs", "logits"])
@pytest.mark.parametrize("frame", [0, 17, 39])
def test_nan_stays_in_its_item(frame: int, logits: bool, dtype: torch.dtype) -> None:
    case = Case("", 40, 5, ((1, 2), (3, 3, 1), (), (2,)), (40, 40, 40, 30))
    x = case.logits(dtype)
    expected = run(case.padded(x), logits=logits)
    x[frame, 1, 3] = torch.nan
    actual = run(case.padded(x), logits=logits)
    others = [0, 2, 3]
    assert actual.losses.isnan().tolist() == [False, True, False, False]
    assert actual.gradient[:, 1].isnan().any(1).all()  # in every frame of the item
    assert torch.equal(actual.losses[others], expected.losses[others])
    assert torch.equal(actual.gradient[:, others], expected.gradient[:, others])
    for reduction in ("sum", "mean"):
        function = ctckit.ctc_loss_with_logits if logits else ctckit.ctc_loss
        assert function(*case.padded(x), reduction=reduction, zero_infinity=True).isnan()


@dtypes
@pytest.mark.parametrize("classes", [2, 7, 200, 1024, 1025, 3000])
@pytest.mark.parametrize("length", [1, 3, 17])
def test_nan_among_impossible_classes(length: int, classes: int, dtype: torch.dtype) -> None:
    """Found in any position, with and without a gradient, also in a frame whose other classes are at -inf."""
    targets = ((1,), (), (1,))
    case = Case("", length, classes, targets, (length,) * 3)
    for c in {0, 1, classes // 2, classes - 1}:
        x = torch.zeros(length, 3, classes, dtype=dtype)
        x[length // 2, :2] = -torch.inf
        x[length // 2, :2, c] = torch.nan
        arguments = case.padded(x)
        losses = ctckit.ctc_loss_with_logits(*arguments, reduction="none")  # without a gradient
        assert losses.isnan().tolist() == [True, True, False], c
        with_gradient = run(arguments, logits=True)
        assert with_gradient.losses.isnan().tolist() == [True, True, False], c
        assert with_gradient.gradient.isnan().flatten(2).any(2).tolist() == [[True, True, False]] * length, c
        assert ctckit.posteriors(*arguments, logits=True)[:, :2].isnan().any(2).all(), c
        # In log-probabilities only the target's classes count.
        named = torch.tensor([c in {0, *target} for target in targets])
        losses = ctckit.ctc_loss(*arguments, reduction="none")
        assert torch.equal(losses.isnan(), named & torch.tensor([True, True, False])), c


@dtypes
@pytest.mark.parametrize("classes", [2, 200, 1025])
def test_a_frame_in_which_nothing_is_possible(classes: int, dtype: torch.dtype) -> None:
    """The loss is inf and the gradient 0, for every frame, with and without a gradient."""
    case = Case("", 18, classes, ((1,), (), (1,)), (18,) * 3)
    for frame in (0, 7, 15, 16, 17):
        x = torch.zeros(18, 3, classes, dtype=dtype)
        x[frame, :2] = -torch.inf
        arguments = case.padded(x)
        for logits in (True, False):
            function = ctckit.ctc_loss_with_logits if logits else ctckit.ctc_loss
            losses = function(*arguments, reduction="none")
            assert losses.isinf().tolist() == [True, True, False]
            actual = run(arguments, logits=logits)
            assert torch.equal(actual.losses, losses)
            assert not actual.gradient[:, :2].count_nonzero()
            assert actual.gradient[:, 2].count_nonzero()


def test_nan_in_a_class_that_the_target_does_not_name() -> None:
    """A softmax needs every class; log-probabilities need only the target's classes and the blank."""
    case = Case("", 20, 5, ((1, 2),), (20,))
    x = case.logits()
    expected = run(case.padded(x), logits=False)
    x[4, 0, 4] = torch.nan
    actual = run(case.padded(x), logits=False)
    assert torch.equal(actual.losses, expected.losses)
    assert torch.equal(actual.gradient, expected.gradient)
    assert run(case.padded(x), logits=True).losses.isnan().all()


@dtypes
@pytest.mark.parametrize("logits", [False, True], ids=["log_probs", "logits"])
def test_no_frames(logits: bool, dtype: torch.dtype) -> None:
    case = Case("", 0, 3, ((), (1,), (1, 1)), (0, 0, 0))
    losses, slope = run(case.padded(case.logits(dtype)), logits=logits)
    assert losses.tolist() == [0, math.inf, math.inf]
    assert slope.shape == (0, 3, 3)
    # Also if other items have frames.
    case = Case("", 20, 3, ((), (1,), (2, 1)), (0, 0, 20))
    losses, slope = run(case.padded(case.logits(dtype)), logits=logits)
    assert losses.tolist()[:2] == [0, math.inf]
    assert losses[2].isfinite()
    assert not slope[:, :2].count_nonzero()


@dtypes
def test_no_labels(dtype: torch.dtype) -> None:
    """Minus the sum of the blank's log-probabilities, whose gradient is -1 for the blank and 0 for the rest."""
    case = Case("", 40, 4, ((), ()), (40, 17), blank=2)
    x = case.logits(dtype)
    for targets in (torch.empty(2, 0, dtype=torch.int64), torch.empty(0, dtype=torch.int64)):
        arguments = case.padded(x)._replace(targets=targets)
        losses, slope = run(arguments, logits=False)
        for item, frames in enumerate(case.input_lengths):
            own = -x[:frames, item, 2].double().sum()
            torch.testing.assert_close(losses[item].double(), own, rtol=1e-6, atol=1e-6)
            right = torch.zeros(40, 4, dtype=dtype)
            right[:frames, 2] = -1
            torch.testing.assert_close(slope[:, item], right, rtol=0, atol=GRADIENT_ERROR[dtype])


def test_only_the_blank() -> None:
    """C = 1: the blank has probability 1, and the gradient is 0."""
    case = Case("", 20, 1, ((), ()), (20, 3))
    x = case.logits(torch.float32)
    losses, slope = run(case.padded(x), logits=True)
    assert losses.tolist() == [0, 0]
    assert not slope.count_nonzero()
    losses, slope = run(case.padded(x), logits=False)
    torch.testing.assert_close(losses, -torch.stack((x[:, 0].sum(), x[:3, 1].sum())))
    assert slope[:, 0].eq(-1).all()


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 15, 16, 17, 31, 33, 48])
@pytest.mark.parametrize("labels", [0, 1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 32, 33])
def test_sizes_about_those_of_blocks_and_vectors(frames: int, labels: int) -> None:
    """The loss of equal emissions counts the paths: C(T + S - R, 2S) of them, with R equal neighbours."""
    target = tuple(1 + (s // 2) % 3 for s in range(labels))  # 1 1 2 2 3 3 1 1 ...
    repeats = labels // 2
    case = Case("", frames, 4, (target,), (frames,))
    paths = math.comb(frames + labels - repeats, 2 * labels) if frames >= labels + repeats else 0
    expected = frames * math.log(4) - math.log(paths) if paths else math.inf
    for dtype, tolerance in ((torch.float32, 1e-6), (torch.float64, 1e-13)):
        losses, _ = run(case.padded(torch.zeros(frames, 1, 4, dtype=dtype)), logits=True)
        assert losses.item() == pytest.approx(expected, rel=tolerance)
