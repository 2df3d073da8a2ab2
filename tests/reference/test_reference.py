"""The reference against the oracle, and properties of CTC."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.reference.functions import EXACT, gradient, loss_of, posteriors_of
from tests.tools import oracle
from tests.tools.cases import EDGE_CASES, FORMS, Case, cases, masked


def judge(case: Case, x: Tensor, *, logits: bool, tolerance: float = EXACT) -> None:
    """Loss, gradient and both kinds of occupancy of every item of a batch, against the enumeration of all paths."""
    losses, slope = gradient(loss_of(case, logits=logits), x)
    by_class, by_state = posteriors_of(case, x, logits=logits)
    for item, (target, frames) in enumerate(zip(case.targets, case.input_lengths, strict=True)):
        own = x[:frames, item].tolist()
        probs = oracle.softmax(own) if logits else oracle.weights(own)
        right = oracle.answer(probs, case.classes, target, case.blank)
        oracle.assert_loss(losses[item].item(), right, tolerance=tolerance)

        occupancy = right.class_occupancy
        oracle.assert_table(by_class[:frames, item], occupancy, tolerance=tolerance, what="class occupancy")
        own_states = by_state[:frames, item, : 2 * len(target) + 1]
        oracle.assert_table(own_states, right.state_occupancy, tolerance=tolerance, what="state occupancy")
        # Exactly zero where there is nothing to occupy.
        assert by_class[frames:, item].count_nonzero() == by_state[frames:, item].count_nonzero() == 0
        assert by_state[:, item, 2 * len(target) + 1 :].count_nonzero() == 0

        expected = -occupancy
        if logits and not math.isinf(right.loss):
            expected = np.array(probs, dtype=np.float64).reshape(occupancy.shape) - occupancy
        oracle.assert_table(slope[:frames, item], expected, tolerance=tolerance, what="gradient")
        assert slope[frames:, item].count_nonzero() == 0
        if math.isinf(right.loss):
            assert slope[:, item].count_nonzero() == 0


@pytest.mark.parametrize("logits", [False, True])
@pytest.mark.parametrize("classes", [1, 2, 3])
@pytest.mark.parametrize("frames", range(5))
def test_every_small_problem(frames: int, classes: int, logits: bool) -> None:
    """Every target of up to T + 1 labels, every blank; the probabilities of a frame add up to anything."""
    for blank in range(classes):
        targets = tuple(oracle.targets(classes, blank, frames + 1))
        case = Case("all", frames, classes, targets, (frames,) * len(targets), blank)
        one = Case("", frames, classes, ((),), (frames,)).logits(seed=blank, scale=2)
        x = one.expand(-1, len(targets), -1)
        own = x[:, 0].tolist()
        right = oracle.solve(oracle.softmax(own) if logits else oracle.weights(own), classes, blank)
        losses, slope = gradient(loss_of(case, logits=logits), x)
        by_class, by_state = posteriors_of(case, x, logits=logits)
        share = x.softmax(2) if logits else torch.zeros_like(x)
        for item, target in enumerate(targets):
            answer = right.get(target, oracle.impossible(frames, classes, target))
            oracle.assert_loss(losses[item].item(), answer, tolerance=EXACT)
            oracle.assert_table(by_class[:, item], answer.class_occupancy, tolerance=EXACT)
            oracle.assert_table(by_state[:, item, : 2 * len(target) + 1], answer.state_occupancy, tolerance=EXACT)
            feasible = float(answer.paths > 0)
            expected = feasible * share[:, item].numpy() - answer.class_occupancy
            oracle.assert_table(slope[:, item], expected, tolerance=EXACT, what="gradient")


@pytest.mark.parametrize("logits", [False, True])
@pytest.mark.parametrize("case", EDGE_CASES, ids=str)
def test_edge_cases(case: Case, logits: bool) -> None:
    if case.classes**case.frames < 10**5:
        judge(case, case.logits(), logits=logits)
    losses, slope = gradient(loss_of(case, logits=logits), case.logits())
    assert losses.isfinite().tolist() == case.feasible
    assert slope.isfinite().all()


@given(cases(max_frames=6, max_classes=3, max_items=3), st.booleans(), st.booleans(), st.sampled_from([1.0, 30.0]))
def test_drawn_problems(case: Case, logits: bool, with_zeros: bool, scale: float) -> None:
    x = case.logits(scale=scale)
    judge(case, masked(x) if with_zeros else x, logits=logits, tolerance=scale * EXACT)


@given(cases())
def test_forms_do_not_matter(case: Case) -> None:
    x = case.logits()
    expected = loss_of(case, logits=True)(x)
    for form in FORMS:
        seen = FORMS[form](case.padded(x), case).emissions  # a strided view, for one
        assert torch.equal(loss_of(case, logits=True, form=form)(seen), expected)


def test_impossible_classes_are_exact() -> None:
    """A class at -inf counts as the smaller problem without it would, in value and in gradient."""
    case = Case("three of five classes", 6, 5, ((1, 3), (3, 3), ()), (6, 6, 6))
    smaller = Case("three classes", 6, 3, ((1, 2), (2, 2), ()), (6, 6, 6))
    kept = [0, 1, 3]
    x = case.logits()
    x[:, :, [2, 4]] = -torch.inf
    for logits in (False, True):
        losses, slope = gradient(loss_of(case, logits=logits), x)
        expected, expected_slope = gradient(loss_of(smaller, logits=logits), x[:, :, kept])
        assert torch.equal(losses, expected)
        assert torch.equal(slope[:, :, kept], expected_slope)
        assert slope[:, :, [2, 4]].count_nonzero() == 0


@pytest.mark.parametrize("logits", [False, True])
def test_frame_without_a_possible_class(logits: bool) -> None:
    case = Case("", 4, 3, ((1,), (1,), ()), (4, 4, 4))
    x = case.logits()
    x[2, 1] = -torch.inf
    losses, slope = gradient(loss_of(case, logits=logits), x)
    assert losses.isinf().tolist() == [False, True, False]
    assert slope[:, 1].count_nonzero() == 0
    assert slope.isfinite().all()
    by_class, by_state = posteriors_of(case, x, logits=logits)
    assert by_class[:, 1].count_nonzero() == by_state[:, 1].count_nonzero() == 0


@given(cases(max_frames=8), st.floats(-1e4, 1e4))
def test_properties(case: Case, shift: float) -> None:
    """What holds of CTC itself: time can run backwards, and logits have no zero."""
    x = case.logits()
    expected = loss_of(case, logits=True)(x)

    def close(actual: Any, tolerance: float) -> None:
        torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)

    mirrored = Case("", case.frames, case.classes, tuple(t[::-1] for t in case.targets), case.input_lengths, case.blank)
    y = torch.zeros_like(x)
    for item, frames in enumerate(case.input_lengths):
        y[:frames, item] = x[:frames, item].flip(0)
    close(loss_of(mirrored, logits=True)(y), EXACT)
    close(loss_of(case, logits=True)(x + shift), 1e-10)
    close(loss_of(case, logits=False)(x.log_softmax(2)), EXACT)
    # Nor does the company of an item matter.
    for item, (target, frames) in enumerate(zip(case.targets, case.input_lengths, strict=True)):
        alone = Case("", case.frames, case.classes, (target,), (frames,), case.blank)
        assert torch.equal(loss_of(alone, logits=True)(x[:, item : item + 1]), expected[item : item + 1])
