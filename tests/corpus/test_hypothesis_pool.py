"""Hypotheses that are ranked anew, against loops; the choice of a place in a table of errors."""

from __future__ import annotations

import numpy as np
import pytest

from ctckit.corpus import hypothesis_pool
from ctckit.corpus.hypothesis_pool import Hypotheses, HypothesisPool, choose


def some(r: np.random.Generator, count: int, keys: int = 10**9) -> Hypotheses:
    return Hypotheses(
        r.integers(0, keys, count), r.normal(size=count), -r.exponential(size=count),
        r.integers(0, 4, count).astype(float), r.integers(0, 5, (count, 2)),
    )  # fmt: skip


@pytest.mark.parametrize("block", [1, 7, 1 << 16])
def test_errors_are_those_of_the_best(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hypothesis_pool, "_BLOCK", block)
    r = np.random.default_rng(0)
    pool = HypothesisPool(7)
    lists = [[some(r, int(r.integers(1, 5))) for _ in range(3)] for _ in range(7)]
    for found in zip(*lists, strict=True):
        for item, one in enumerate(found):
            pool.add(item, one)
    weights, bonuses = np.array([0.0, 0.3, 2.0]), np.array([-1.0, 0.5])
    items = [0, 2, 3, 6]
    expected = np.zeros((3, 2, 2), np.int64)
    for a, weight in enumerate(weights):
        for b, bonus in enumerate(bonuses):
            for item in items:
                score = [
                    (one.base[k] + weight * one.log_probs[k] + bonus * one.words[k], tuple(one.errors[k]))
                    for one in lists[item]
                    for k in range(len(one.keys))
                ]
                expected[a, b] += max(score, key=lambda pair: pair[0])[1]
    assert pool.errors(weights, bonuses, items).tolist() == expected.tolist()


def test_a_hypothesis_counts_once_and_the_first_of_equal_ones() -> None:
    pool = HypothesisPool(1)
    one, zero = np.ones(2), np.zeros(2)
    pool.add(0, Hypotheses(np.array([5, 6]), one, zero, zero, np.array([[1, 2], [3, 4]])))
    pool.add(0, Hypotheses(np.array([6, 5]), 9 * one, zero, zero, np.array([[7, 7], [8, 8]])))
    axis = np.array([0.0, 1.0])
    assert pool.errors(axis, axis, [0]).tolist() == [[[1, 2]] * 2] * 2


def test_a_single_low_place_is_chance() -> None:
    table = np.full((6, 7), 9)
    table[0, 0] = 0
    table[2:6, 2:6] = 2
    assert choose(table, (0.0, 0.0)) == (3, 3)
    assert choose(table, (9.0, 9.0)) == (5, 5) if table[5, 6] == 2 else (4, 4)
    assert choose(np.full((3, 3), 1), (1.4, 0.0)) == (1, 0)
