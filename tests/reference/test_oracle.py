"""The oracle against hand counts and closed formulas; and its comparisons, against wrong answers."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest

from tests.tools import oracle

ONES = {(frames, classes): [[1] * classes] * frames for frames in range(6) for classes in range(1, 4)}


@pytest.mark.parametrize(
    ("path", "target", "states"),
    [
        ((), (), []),
        ((0, 0), (), [0, 0]),
        ((1, 1, 0, 1, 2, 2), (1, 1, 2), [1, 1, 2, 3, 5, 5]),
        ((0, 2, 0, 0, 1, 0), (2, 1), [0, 1, 2, 2, 3, 4]),
    ],
)
def test_collapse(path: tuple[int, ...], target: tuple[int, ...], states: list[int]) -> None:
    assert oracle.collapse(path, 0) == target
    assert oracle.states_of(path, 0) == states


def test_paths_written_down_by_hand() -> None:
    # a in three frames: a--, -a-, --a, aa-, -aa, aaa.
    one = oracle.answer(ONES[3, 2], 2, (1,), 0)
    assert one.likelihood == one.paths == 6
    # Frame by frame, with a: a--, aa-, aaa; -a-, aa-, -aa, aaa; --a, -aa, aaa.
    assert one.classes.tolist() == [[3, 3], [2, 4], [3, 3]]
    assert one.states.tolist() == [[3, 3, 0], [1, 4, 1], [0, 3, 3]]
    # ab in three frames: aab, abb, ab-, a-b, -ab. aa in three: a-a. abc in two: none.
    assert oracle.answer(ONES[3, 3], 3, (1, 2), 0).paths == 5
    assert oracle.answer(ONES[3, 3], 3, (1, 1), 0).best_paths == ((1, 0, 1),)
    assert oracle.answer(ONES[2, 3], 3, (1, 2, 1), 0).paths == 0
    # The same with blank 1.
    assert oracle.answer(ONES[3, 3], 3, (2, 2), 1).best_paths == ((2, 1, 2),)


def test_probabilities_worked_out_by_hand() -> None:
    third = Fraction(1, 3)
    probs = [[Fraction(1, 2), Fraction(1, 2)], [third, 1 - third]]
    # a in two frames: a- 1/6, -a 1/3, aa 1/3.
    one = oracle.answer(probs, 2, (1,), 0)
    assert one.likelihood == Fraction(5, 6)
    assert one.loss == pytest.approx(-math.log(5 / 6), rel=1e-15)
    assert one.classes.tolist() == [[third, Fraction(1, 2)], [Fraction(1, 6), Fraction(2, 3)]]
    assert one.class_occupancy == pytest.approx(np.array([[0.4, 0.6], [0.2, 0.8]]), rel=1e-15)
    assert (one.best, set(one.best_paths)) == (third, {(0, 1), (1, 1)})
    nothing = oracle.answer(probs, 2, (), 0)
    assert (nothing.likelihood, nothing.best_paths) == (Fraction(1, 6), ((0, 0),))


@pytest.mark.parametrize(("frames", "classes"), ONES)
def test_counts_follow_the_formula(frames: int, classes: int) -> None:
    """A target of S labels with R equal neighbours has binomial(T + S - R, 2S) paths; and every path spells one."""
    answers = oracle.solve(ONES[frames, classes], classes, 0)
    assert sum(one.paths for one in answers.values()) == classes**frames
    for target in oracle.targets(classes, 0, frames + 1):
        repeats = sum(a == b for a, b in itertools.pairwise(target))
        expected = math.comb(max(0, frames + len(target) - repeats), 2 * len(target))
        one = answers.get(target, oracle.impossible(frames, classes, target))
        assert one.paths == one.likelihood == expected
        assert one.classes.sum() == one.states.sum() == frames * expected
        assert one.states.shape == (frames, 2 * len(target) + 1)


def test_no_frames() -> None:
    assert oracle.answer([], 2, (), 0).loss == 0
    assert oracle.answer([], 2, (1,), 0).loss == math.inf


def test_weights() -> None:
    assert float(oracle.weights([[0.0, -math.inf, 1.0]])[0][2]) == pytest.approx(math.e, rel=1e-15)
    assert oracle.weights([[-math.inf]]) == [[0]]
    assert [float(x) for x in oracle.softmax([[1e4, 1e4, -math.inf]])[0]] == [0.5, 0.5, 0.0]
    assert oracle.softmax([[-math.inf, -math.inf]]) == [[0, 0]]
    # Beyond the range of float64, in which the library must work all the same.
    assert oracle.answer(oracle.weights([[-1e4, 0.0]] * 2), 2, (), 0).loss == 2e4


def test_hessian_is_the_derivative_of_the_occupancy() -> None:
    x = np.linspace(-1.0, 1.0, 9).reshape(3, 3)
    step = 1e-6
    exact = oracle.hessian(oracle.weights(x.tolist()), 3, (1, 2), 0)
    for t, c in np.ndindex(x.shape):
        sides = []
        for sign in (1, -1):
            moved = x.copy()
            moved[t, c] += sign * step
            sides.append(oracle.answer(oracle.weights(moved.tolist()), 3, (1, 2), 0).class_occupancy)
        assert exact[t, c] == pytest.approx(-(sides[0] - sides[1]) / (2 * step), abs=1e-8)


class TestComparisonsCanFail:
    one = oracle.answer(oracle.weights([[-1.0, -2.0], [-0.5, -1.5]]), 2, (1,), 0)
    none = oracle.impossible(2, 2, (1, 1))

    def test_loss(self) -> None:
        oracle.assert_loss(self.one.loss * (1 + 1e-9), self.one, tolerance=1e-8)
        oracle.assert_loss(math.inf, self.none, tolerance=1e-8)
        for wrong in (self.one.loss * (1 + 1e-7), math.inf, -math.inf, math.nan):
            with pytest.raises(AssertionError):
                oracle.assert_loss(wrong, self.one, tolerance=1e-8)
        for wrong in (0.0, 1e308, -math.inf, math.nan):
            with pytest.raises(AssertionError):
                oracle.assert_loss(wrong, self.none, tolerance=1e-8)

    def test_table(self) -> None:
        right = self.one.class_occupancy
        oracle.assert_table(right + 1e-9, right, tolerance=1e-8)
        for wrong in (1e-7, math.nan, math.inf):
            spoiled = right.copy()
            spoiled[1, 0] += wrong
            with pytest.raises(AssertionError, match=r"occupancy\[1, 0\].* 1 wrong"):
                oracle.assert_table(spoiled, right, tolerance=1e-8)
        for other in (right[:1], right.T[:, :, None], right[:, :1]):
            with pytest.raises(AssertionError, match="shape"):
                oracle.assert_table(other, right, tolerance=1e-8)

    def test_best_path(self) -> None:
        # a- e^-2.5, -a e^-2.5, aa e^-3.5
        oracle.assert_best_path([1, 0], -2.5, self.one, tolerance=1e-8)
        oracle.assert_best_path([0, 1], -2.5, self.one, tolerance=1e-8)
        for path, score in (([1, 1], -2.5), ([1, 0], -2.5001), ([1, 0], math.nan), ([0, 0], -2.5)):
            with pytest.raises(AssertionError):
                oracle.assert_best_path(path, score, self.one, tolerance=1e-8)
