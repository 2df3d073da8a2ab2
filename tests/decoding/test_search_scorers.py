"""The core's search with scorers against its definition, to the bit."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch

import ctckit
from ctckit.decoding.scorers import Scorer, TokenBias, checked_scorers
from tests.decoding.problems import KINDS, core_beam, defined_beam, emissions
from tests.reference.decoding_problems import Bigrams

pytestmark = pytest.mark.usefixtures("core")


class Counter:
    """Gains that depend on how many tokens there were, and a state that is negative."""

    def initial(self) -> int:
        return -(2**31)

    def advance(self, states: Any, tokens: Any) -> tuple[Any, Any]:
        return np.where(states % 2 == 0, 0.7, -0.4) + 0.01 * tokens, states + 1

    def finish(self, states: Any) -> Any:
        return -0.3 * (states % 3)

    def largest_gain(self) -> float:
        return math.inf


def scorer_sets(classes: int) -> dict[str, list[Scorer]]:
    bigrams, barred = Bigrams(classes, seed=1), Bigrams(classes, seed=2)
    barred.table[:, -1] = -math.inf
    barred.ends[0] = -math.inf
    biases = np.linspace(-1, 2, classes)
    return {
        "bias": [TokenBias(biases)],
        "bias for few classes": [TokenBias(biases[: classes // 2])],
        "bias that bars": [TokenBias([-math.inf] * (classes - 1) + [1.0])],
        "bigrams": [bigrams],
        "barred bigrams": [barred],
        "counter": [Counter()],
        "two biases": [TokenBias(biases), TokenBias(-0.7 * biases)],
        "three": [bigrams, TokenBias(biases), Counter()],
        "two with ends": [bigrams, Bigrams(classes, seed=3)],
    }


@pytest.mark.parametrize("name", scorer_sets(2))
@pytest.mark.parametrize("classes", [1, 2, 5, 12, 133])
def test_scorers(classes: int, name: str) -> None:
    given = scorer_sets(classes)[name]
    used = checked_scorers(given)
    changed = 0
    pruned = {"beam_threshold": 2.0, "token_threshold": 0.02, "blank_threshold": 0.6}
    choices: tuple[dict[str, Any], ...] = ({}, pruned)
    for kind, width, options in itertools.product(KINDS, (1, 3, 30), choices):
        if classes > 100 and width > 3:
            continue
        x, blank = emissions(kind, 6, classes), classes // 2
        found = core_beam(x, width, blank, used, **options)
        assert found == defined_beam(x, width, blank, given, **options), (kind, width, options)
        changed += found != core_beam(x, width, blank, **options)
    assert classes == 1 or changed > 5


def test_a_bound_of_the_gain_does_not_change_the_search() -> None:
    for kind, width in itertools.product(KINDS, (2, 10)):
        x = emissions(kind, 8, 9)
        found = []
        for bound in (0.0, 1.0, 40.0, math.inf):
            scorer = Bigrams(9)
            most = scorer.largest_gain()
            scorer.largest_gain = lambda most=most, bound=bound: most + bound  # type: ignore[method-assign, misc]
            found.append(core_beam(x, width, 0, checked_scorers([scorer])))
        assert found[1:] == found[:-1]


def test_gains_at_the_bound_and_the_beam_threshold() -> None:
    """A new prefix whose gain is the largest, and whose mass is at the threshold or at the last place."""
    for k in range(200):
        gain = 0.1 + 0.01 * k
        x = emissions("nearly equal", 5, 5, seed=k)
        choices: tuple[dict[str, Any], ...] = ({"beam_threshold": gain}, {})
        for options in choices:
            scorer = TokenBias([0.0, gain, gain, 0.0, gain])
            assert core_beam(x, 4, 0, [scorer], **options) == defined_beam(x, 4, 0, [scorer], **options)


def test_the_twin_in_python_gains_the_same() -> None:
    """`TokenBias` has the same gains in C++; a subclass may have its own."""

    class Own(TokenBias):
        def advance(self, states: Any, tokens: Any) -> tuple[Any, Any]:
            gains, states = super().advance(states, tokens)
            return 2 * gains, states

    x = emissions("flat", 8, 5)
    biases = [0.0, 1.0, 0.5, -1.0, 0.3]
    twice = [2 * bias for bias in biases]
    own = checked_scorers([Own(biases)])
    own[0].largest_gain = lambda: 2.0  # type: ignore[method-assign]
    assert core_beam(x, 5, 0, own) == core_beam(x, 5, 0, [TokenBias(twice)]) != core_beam(x, 5, 0, [TokenBias(biases)])


def test_a_scorer_is_asked_once_for_each_step() -> None:
    """And never twice within a search, however often a prefix leaves and comes back."""
    asked: list[tuple[int, int]] = []

    class Tree(Bigrams):
        """Every prefix has its own state."""

        children: dict[tuple[int, int], int]

        def initial(self) -> int:
            self.children = {}
            return 0

        def advance(self, states: Any, tokens: Any) -> tuple[Any, Any]:
            pairs = list(zip(states.tolist(), tokens.tolist(), strict=True))
            asked.extend(pairs)
            after = [self.children.setdefault(pair, len(self.children) + 1) for pair in pairs]
            return np.zeros(len(pairs)), after

        def finish(self, states: Any) -> Any:
            return np.zeros(len(states))

    x = emissions("sharp", 30, 5)[None]
    found: Any = ctckit.beam_search(x, beam_width=6, nbest=6, scorers=[Tree(5)], rescore=False)
    counted = sum(len(hypothesis.tokens) for hypothesis in found[0].nbest)  # for the gains of the hypotheses
    searched = asked[:-counted]
    assert len(searched) > 30
    assert len(set(searched)) == len(searched)


def test_gains_of_several_scorers_must_be_small_together() -> None:
    x = torch.zeros(2, 3).log_softmax(1)
    for first, second, end in ((40.0, 40.0, 0.0), (0.0, 0.0, 40.0)):
        scorers: list[Bigrams] = [Bigrams(3), Bigrams(3)]
        for scorer, gain in zip(scorers, (first, second), strict=True):
            scorer.table[:] = gain
            scorer.ends[:] = end
        with pytest.raises(ValueError, match="80"):
            ctckit.beam_search(x, scorers=scorers)
