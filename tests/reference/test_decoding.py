"""The definition of beam search and of greedy decoding against the enumeration of all paths, and worked by hand."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch

from ctckit.reference.decoding import Entry, beam_search, greedy
from tests.reference.decoding_problems import (
    EVERYTHING,
    TOLERANCE,
    Bigrams,
    bias,
    every_blank,
    logs,
    near,
    problem,
    problems,
    shares,
)
from tests.tools import decode_oracle

# ------------------------------------------------------------------------------------------------- against enumeration


@every_blank
def test_a_wide_beam_is_exact(classes: int, blank: int) -> None:
    for one in problems(classes, blank):
        expected = decode_oracle.acoustic_scores(one.rows, classes, blank)
        found = beam_search(one.x, beam_width=EVERYTHING, blank=blank)
        decode_oracle.assert_scores(found, expected, tolerance=TOLERANCE)


@every_blank
def test_a_wide_beam_is_exact_with_scorers(classes: int, blank: int) -> None:
    first, second = Bigrams(classes, seed=1), Bigrams(classes, seed=2)
    first.table[:, -1] = -math.inf  # a class that no labelling may have
    for one in problems(classes, blank, longest=4):
        scores = decode_oracle.acoustic_scores(one.rows, classes, blank)
        for scorers in ([bias(*range(classes))], [first], [first, second]):

            def gain(tokens: tuple[int, ...], scorers: list[Bigrams] = scorers) -> float:
                return sum(scorer.of(tokens) + scorer.of_end(tokens) for scorer in scorers)

            found = beam_search(one.x, beam_width=EVERYTHING, blank=blank, scorers=scorers)
            decode_oracle.assert_scores(found, decode_oracle.objectives(scores, gain), tolerance=TOLERANCE)


@pytest.mark.parametrize("width", [1, 2, 3, 5, 8])
@every_blank
def test_a_narrow_beam_keeps_the_right_paths(classes: int, blank: int, width: int) -> None:
    for one in problems(classes, blank):
        expected = decode_oracle.beam(one.rows, classes, blank, width)
        decode_oracle.assert_beam(beam_search(one.x, beam_width=width, blank=blank), expected, tolerance=TOLERANCE)


OPTIONS: dict[str, dict[str, float]] = {
    "beam threshold": {"beam_threshold": 1.5},
    "token threshold": {"token_threshold": 0.3},
    "blank threshold": {"blank_threshold": 0.4},
    "all thresholds": {"beam_threshold": 3.0, "token_threshold": 0.2, "blank_threshold": 0.6},
    "scorer": {},
    "scorer and thresholds": {"beam_threshold": 4.0, "token_threshold": 0.1, "blank_threshold": 0.7},
}


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize(("classes", "blank"), [(2, 0), (3, 2), (4, 1)])
def test_options_of_a_narrow_beam(classes: int, blank: int, name: str) -> None:
    options: dict[str, Any] = OPTIONS[name]
    scorers = [Bigrams(classes)] if "scorer" in name else []
    gains: dict[str, Any] = {"of_labelling": scorers[0].of, "of_end": scorers[0].of_end} if scorers else {}
    changed = 0
    for one, width in itertools.product(problems(classes, blank), (2, 4, EVERYTHING)):
        expected = decode_oracle.beam(one.rows, classes, blank, width, **gains, **options)
        found = beam_search(one.x, beam_width=width, blank=blank, scorers=scorers, **options)
        decode_oracle.assert_beam(found, expected, tolerance=TOLERANCE)
        changed += found != beam_search(one.x, beam_width=width, blank=blank)
    assert changed > 10


@every_blank
def test_greedy(classes: int, blank: int) -> None:
    for one in problems(classes, blank):
        for x in (one.x, one.x.round()):  # with ties
            if (x > -math.inf).any(1).all():
                tokens, path_score = greedy(x, blank)
                expected, score = decode_oracle.greedy(x.tolist(), classes, blank)
                assert (tokens, path_score) == (expected, near(score))


# ------------------------------------------------------------------------------------------------------ worked by hand


def test_equal_labels_need_a_blank_between() -> None:
    assert shares(beam_search(logs([0, 1], [1, 0], [0, 1]), beam_width=4)) == {(1, 1): 1.0}
    assert shares(beam_search(logs([0, 1], [0, 1], [0, 1]), beam_width=4)) == {(1,): 1.0}
    # aaa and a-a, with 0.7 and 0.3.
    assert shares(beam_search(logs([0, 1], [0.3, 0.7], [0, 1]), beam_width=4)) == {(1,): 0.7, (1, 1): 0.3}
    assert greedy(logs([0, 1], [0.3, 0.7], [0, 1])) == ((1,), math.log(0.7))
    assert greedy(logs([0, 1], [0.7, 0.3], [0, 1]))[0] == (1, 1)
    assert greedy(logs([0, 1], [0, 1], [1, 0]), blank=1) == ((0,), 0.0)


def test_paths_of_one_labelling_are_added() -> None:
    """The best path spells nothing; a has 1 - 0.36."""
    x = logs([0.6, 0.4], [0.6, 0.4])
    assert greedy(x) == ((), 2 * math.log(0.6))
    assert shares(beam_search(x, beam_width=2)) == {(1,): 0.64, (): 0.36}
    # Of width 1: only nothing is left after the first frame.
    assert shares(beam_search(x, beam_width=1)) == {(): 0.36}


def test_a_prefix_that_comes_back() -> None:
    """(2, 1) is dropped after frame 3 while (2, 1, 2) stays, and comes back in frame 4: one prefix, not two."""
    x = logs(
        [0, 0, 1, 0],
        [0, 0.4, 0.6, 0],  # (2) 0.6, by repetition; (2, 1) 0.4
        [0.25, 0, 0.5, 0.25],  # (2) 0.45; (2, 1, 2) 0.2; (2, 3) 0.15; (2, 1) 0.1
        [0.4, 0.4, 0.2, 0],  # (2, 1) again, 0.45 * 0.4; (2, 1, 2) 0.2 * 0.6
        [0.6, 0, 0.4, 0],  # (2, 1, 2) gets 0.18 * 0.4 from (2, 1) again
    )
    beams = [shares(beam_search(x[:frames], beam_width=3)) for frames in range(6)]
    assert beams[2:] == [
        {(2,): 0.6, (2, 1): 0.4},
        {(2,): 0.45, (2, 1, 2): 0.2, (2, 3): 0.15},
        {(2,): 0.24, (2, 1): 0.18, (2, 1, 2): 0.12},
        {(2,): 0.168, (2, 1, 2): 0.12 * 0.6 + 0.04 * 0.4 + 0.18 * 0.4, (2, 1): 0.108},
    ]


def test_prefixes_come_back_and_none_comes_twice() -> None:
    returned = 0
    for seed in range(60):
        x, classes, blank = problem(7, 3, seed % 3, "sharp", seed)
        beams = [beam_search(x[:frames], beam_width=5, blank=blank) for frames in range(8)]
        expected = decode_oracle.beam(x.tolist(), classes, blank, 5)
        decode_oracle.assert_beam(beams[-1], expected, tolerance=TOLERANCE)
        kept = [{tokens for tokens, _ in beam} for beam in beams]
        assert [len(beam) for beam in beams] == [len(tokens) for tokens in kept]
        for before, away, after in zip(kept, kept[1:], kept[2:], strict=False):
            ancestors = {tokens[:length] for tokens in away for length in range(len(tokens))}
            returned += len((ancestors & before & after) - away)
    assert returned > 10


def test_ties() -> None:
    """Emissions of probability 1: totals count paths. Those that stay come first, then by parent, then by class."""
    x = torch.zeros(3, 3)

    def tokens(frames: int, width: int, blank: int = 0) -> list[tuple[int, ...]]:
        return [entry.tokens for entry in beam_search(x[:frames], beam_width=width, blank=blank)]

    assert tokens(1, 9) == [(), (1,), (2,)]
    assert tokens(1, 9, blank=1) == [(), (0,), (2,)]
    assert tokens(1, 2) == [(), (1,)]
    # (1) and (2) have 3 paths each; the others one.
    assert tokens(2, 9) == [(1,), (2,), (), (1, 2), (2, 1)]
    assert tokens(2, 4) == [(1,), (2,), (), (1, 2)]
    # After frame 1 only () and (1) are left, with one path each. Then (1) has 1 by blank, 1 by repetition, 1 from ().
    assert tokens(2, 2) == [(1,), ()]
    # (1), (2): 3 by blank, 2 by repetition, 1 from (). (1, 2), (2, 1): 1 and 1, and 3 from (1) or (2). The others: one.
    assert tokens(3, 9) == [(1,), (2,), (1, 2), (2, 1), (), (1, 1), (2, 2), (1, 2, 1), (2, 1, 2)]


def test_equal_totals_keep_their_order() -> None:
    """(1) and (2) are equal after frame 2; (2) was the better one before."""
    x = logs([0, 0.4, 0.6], [0.5, 0.6, 0])
    assert beam_search(x[:1], beam_width=2)[0].tokens == (2,)
    # (2): 0.6 * 0.5 = 0.3. (1): 0.4 * (0.5 + 0.6) = 0.44. New: (2, 1) 0.36, (1, 1) none.
    assert [entry.tokens for entry in beam_search(x, beam_width=3)] == [(1,), (2, 1), (2,)]
    even = logs([0, 0.25, 0.5], [0.5, 0.5, 0])
    # (2) 0.25 and (1) 0.25 stay and keep their order; (2, 1) 0.25 is new.
    assert [entry.tokens for entry in beam_search(even, beam_width=3)] == [(2,), (1,), (2, 1)]


def test_scorers_change_the_order_of_equal_ends() -> None:
    """The end is added at last, and equal totals keep their order then, too."""

    class Ends(Bigrams):
        def __init__(self, *ends: float) -> None:
            super().__init__(2, scale=0.0)
            self.ends[:] = ends  # after class 0, class 1, and the start

    x = logs([0.5, 0.25])
    assert [entry.tokens for entry in beam_search(x, beam_width=2)] == [(), (1,)]
    assert shares(beam_search(x, beam_width=2, scorers=[Ends(0, math.log(4), 0)])) == {(1,): 1.0, (): 0.5}
    found = beam_search(x, beam_width=2, scorers=[Ends(0, math.log(4), 0)])
    assert [entry.tokens for entry in found] == [(1,), ()]
    even = beam_search(torch.zeros(1, 2), beam_width=2, scorers=[Ends(0, 1.0, 1.0)])
    assert even == [Entry((), 1.0), Entry((1,), 1.0)]
    # What the end bars leaves.
    assert shares(beam_search(x, beam_width=2, scorers=[Ends(0, 0, -math.inf)])) == {(1,): 0.25}
    assert beam_search(x, beam_width=2, scorers=[Ends(*[-math.inf] * 3)]) == []


def test_blank_threshold_keeps_equal_labels_apart() -> None:
    """A frame that applies only the blank is not a dropped frame: dropped, a-a would be aa, which spells a."""
    x = logs([0.1, 0.9], [0.96, 0.04], [0.1, 0.9])
    found = beam_search(x, beam_width=9, blank_threshold=0.95)
    assert shares(found) == {(1, 1): 0.9 * 0.96 * 0.9, (1,): 2 * 0.9 * 0.96 * 0.1, (): 0.1 * 0.96 * 0.1}
    # At the threshold itself nothing is lost.
    half = logs([0.5, 0.5], [0.5, 0.5])
    assert beam_search(half, beam_width=9, blank_threshold=0.5) == beam_search(half, beam_width=9)
    assert shares(beam_search(half, beam_width=9, blank_threshold=0.49)) == {(): 0.25}


def test_token_threshold_does_not_hinder_the_prefixes_of_the_beam() -> None:
    x = logs([0.5, 0.5], [0.9, 0.1])
    # (1): stays by blank, 0.45, and by repetition, 0.05; and is entered from (), 0.05. Not new: (1, 1).
    assert shares(beam_search(x, beam_width=9, token_threshold=0.2)) == {(1,): 0.55, (): 0.45}
    assert shares(beam_search(x[1:], beam_width=9, token_threshold=0.2)) == {(): 0.9}
    assert len(beam_search(logs([0.5, 0.5]), beam_width=9, token_threshold=0.5)) == 2  # at the threshold itself


def test_beam_threshold() -> None:
    x = torch.tensor([[0.0, -1.0, -2.0, -3.0]])
    for threshold, count in ((0.0, 1), (0.5, 1), (1.5, 2), (2.5, 3), (3.5, 4), (math.inf, 4)):
        assert len(beam_search(x, beam_width=9, beam_threshold=threshold)) == count
    assert len(beam_search(torch.zeros(1, 3), beam_width=9, beam_threshold=0.0)) == 3  # at the threshold itself
