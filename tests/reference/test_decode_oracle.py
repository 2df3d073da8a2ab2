"""The oracle of decoding against hand counts; and its comparisons, against wrong answers."""

from __future__ import annotations

import math

import pytest

from ctckit.reference.decoding import Entry, beam_search
from tests.tools import decode_oracle


def test_against_hand_counts() -> None:
    ones = [[0.0] * 3] * 3
    counts = {target: round(math.exp(score)) for target, score in decode_oracle.acoustic_scores(ones, 3, 0).items()}
    # a: a--, -a-, --a, aa-, -aa, aaa. ab: ab-, a-b, -ab, aab, abb. aa: a-a. aba: aba.
    assert counts == {
        (): 1, (1,): 6, (2,): 6, (1, 2): 5, (2, 1): 5, (1, 1): 1, (2, 2): 1, (1, 2, 1): 1, (2, 1, 2): 1,
    }  # fmt: skip
    assert decode_oracle.greedy(ones, 3, 1) == ((0,), 0.0)
    x = [[math.log(0.6), math.log(0.4)]] * 2
    assert [target for target, _ in decode_oracle.beam(x, 2, 0, 2)] == [(1,), ()]
    assert [target for target, _ in decode_oracle.beam(x, 2, 0, 1)] == [()]


class TestComparisonsCanFail:
    right = decode_oracle.acoustic_scores([[-0.2, -1.7], [-0.5, -0.9]], 2, 0)
    found = beam_search([[-0.2, -1.7], [-0.5, -0.9]], beam_width=9)

    def test_right(self) -> None:
        decode_oracle.assert_scores(self.found, self.right, tolerance=1e-12)
        decode_oracle.assert_beam(self.found, self.found, tolerance=0.0)

    @pytest.mark.parametrize("error", [1e-9, -1e-9, math.inf, -math.inf, math.nan])
    def test_a_wrong_score(self, error: float) -> None:
        wrong = [self.found[0]._replace(score=self.found[0].score + error), *self.found[1:]]
        with pytest.raises(AssertionError):
            decode_oracle.assert_scores(wrong, self.right, tolerance=1e-10)
        with pytest.raises(AssertionError):
            decode_oracle.assert_beam(wrong, self.found, tolerance=1e-10)

    def test_a_wrong_list(self) -> None:
        invented = Entry((1, 1), -math.inf)
        for wrong in (self.found[1:], [*self.found, self.found[-1]], [*self.found, invented], self.found[::-1], []):
            with pytest.raises(AssertionError):
                decode_oracle.assert_scores(wrong, self.right, tolerance=1e-10)
            with pytest.raises(AssertionError):
                decode_oracle.assert_beam(wrong, self.found, tolerance=1e-10)

    def test_a_beam_that_forgets_a_contribution(self) -> None:
        """Without the paths that enter a prefix of the beam from another one."""
        x = [[math.log(0.6), math.log(0.4)]] * 2
        without = [Entry((1,), math.log(0.4)), Entry((), math.log(0.36))]
        with pytest.raises(AssertionError, match="expected"):
            decode_oracle.assert_beam(without, decode_oracle.beam(x, 2, 0, 9), tolerance=1e-9)
