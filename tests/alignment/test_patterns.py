"""Paths through patterns, against enumeration (pattern_oracle.py)."""

from __future__ import annotations

import collections
import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import ctckit
from ctckit import WILDCARD, Alternatives, backends
from ctckit.lattice.pattern import compile_pattern
from tests.tools import pattern_oracle as oracle

CASES: dict[str, tuple[int, list[Any], dict[str, Any]]] = {
    "plain": (4, [1, 2], {}),
    "repeat": (5, [1, 1], {}),
    "nothing": (3, [], {}),
    "no frame": (0, [], {}),
    "no frame, free": (0, [], {"free_start": True, "free_end": True}),
    "free, nothing": (3, [], {"free_start": True, "free_end": True}),
    "wildcard": (4, [WILDCARD], {}),
    "wildcard inside": (5, [1, WILDCARD, 1], {}),
    "wildcards": (4, [WILDCARD, WILDCARD, 2], {}),
    "three wildcards": (4, [WILDCARD, WILDCARD, WILDCARD], {}),
    "free start": (4, [1, 2], {"free_start": True}),
    "free end": (4, [1, 1], {"free_end": True}),
    "free": (4, [2, 1], {"free_start": True, "free_end": True}),
    "free beside wildcards": (4, [WILDCARD, 1, WILDCARD], {"free_start": True, "free_end": True}),
    "options": (4, [Alternatives([1], [2, 1]), 2], {}),
    "equal labels across options": (5, [1, Alternatives([1], [2, 1]), 1], {}),
    "empty option": (5, [1, Alternatives([2], []), 1], {}),
    "empty options in a row": (4, [Alternatives([1], []), Alternatives([], [1]), Alternatives([2], [])], {}),
    "empty, free": (4, [Alternatives([1], [])], {"free_start": True, "free_end": True}),
    "empty only": (3, [1, Alternatives([]), 1], {}),
    "equal options": (4, [Alternatives([1], [2], [1]), Alternatives([], [])], {}),
    "wildcard in an option": (4, [Alternatives([1, WILDCARD], [2]), WILDCARD], {}),
    "readings that spell the same": (4, [Alternatives([1], [1, 2]), Alternatives([2], [])], {}),
}


def make(
    name: str, *, ties: bool = False, seed: int = 0
) -> tuple[torch.Tensor, torch.Tensor, list[Any], dict[str, Any]]:
    frames, pattern, options = CASES[name]
    generator = torch.Generator().manual_seed(seed)
    if ties:
        x = torch.randint(-2, 1, (frames, 3), generator=generator).double()
        return x, torch.randint(-2, 1, (frames,), generator=generator).double(), pattern, options
    x = torch.randn(frames, 3, generator=generator, dtype=torch.float64)
    return x, -torch.rand(frames, generator=generator, dtype=torch.float64), pattern, options


def all_ways(x: torch.Tensor, wildcard: torch.Tensor, pattern: list[Any], options: dict[str, Any]) -> list[oracle.Way]:
    return oracle.ways(x.tolist(), pattern, 0, wildcard.tolist(), **options)


def key(path: ctckit.Path) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return tuple(path.tokens.tolist()), path.options


# `test_ties` tests the order of equal paths. Sums of the same numbers may differ in the last digit.


def by_score(way: oracle.Way) -> tuple[float, Any]:
    return -round(way.score, 9), (way.tokens, way.options)


def by_total(path: ctckit.Path) -> tuple[float, Any]:
    return -round(path.total, 9), key(path)


def log_sum(ways: list[oracle.Way]) -> float:
    return math.log(math.fsum(math.exp(way.score) for way in ways))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.usefixtures("backend")
def test_every_path_in_order(name: str) -> None:
    """With k above the number of paths, the result has each path once, best first, with its score and options."""
    x, wildcard, pattern, options = make(name)
    expected = sorted(all_ways(x, wildcard, pattern, options), key=by_score)
    paths = ctckit.best_paths(x, pattern, len(expected) + 3, wildcard_score=wildcard, **options)
    totals = [path.total for path in paths]
    assert totals == sorted(totals, reverse=True)
    paths.sort(key=by_total)
    assert [key(path) for path in paths] == [(way.tokens, way.options) for way in expected]
    for path, way in zip(paths, expected, strict=True):
        assert path.total == pytest.approx(way.score, abs=1e-12)
        assert path.scores.sum().item() == pytest.approx(path.total, abs=1e-12)
    assert len({tuple(path.states.tolist()) for path in paths}) == len(paths)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", CASES)
@pytest.mark.usefixtures("backend")
def test_ties(name: str, seed: int) -> None:
    """k paths are the first k of all, and equal ones are in the documented order."""
    x, wildcard, pattern, options = make(name, ties=True, seed=seed)
    expected = all_ways(x, wildcard, pattern, options)
    everything = ctckit.best_paths(x, pattern, len(expected) + 1, wildcard_score=wildcard, **options)
    assert collections.Counter(map(key, everything)) == collections.Counter((w.tokens, w.options) for w in expected)
    graph = everything and ctckit.path_posteriors(x, pattern, wildcard_score=wildcard, **options).graph
    assert graph
    ranks = [(-path.total, preference(path.states.tolist(), graph)) for path in everything]
    assert ranks == sorted(ranks)
    for k in (1, 2, 3, 5):
        some = ctckit.best_paths(x, pattern, k, wildcard_score=wildcard, **options)
        assert [path.states.tolist() for path in some] == [path.states.tolist() for path in everything[:k]]
        assert [path.tokens.tolist() for path in some] == [path.tokens.tolist() for path in everything[:k]]
        assert [path.classes.tolist() for path in some] == [path.classes.tolist() for path in everything[:k]]
        assert [path.total for path in some] == [path.total for path in everything[:k]]


def preference(states: list[int], graph: Any) -> list[int]:
    """The rule of ties: per frame from the end, the rank of the choice in the order of preference."""
    if not states:
        return []
    ranks = [graph.final.tolist().index(states[-1])]
    for state, before in zip(reversed(states), states[-2::-1], strict=False):
        ranks.append(graph.sources[graph.offsets[state] : graph.offsets[state + 1]].tolist().index(before))
    return ranks


@given(st.lists(st.integers(1, 3), max_size=5), st.integers(0, 9), st.integers(0, 10**6))
def test_a_plain_row_as_forced_align(labels: list[int], frames: int, seed: int) -> None:
    """The same path, including ties; also from the general engine, which k = 2 uses."""
    x = torch.randint(-2, 1, (frames, 4), generator=torch.Generator().manual_seed(seed)).float()
    classes, scores = ctckit.forced_align(x, torch.tensor(labels, dtype=torch.int64), infeasible="blank")
    for k in (1, 2):
        path = ctckit.best_paths(x, labels, k, infeasible="blank")[0]
        assert path.classes.equal(classes)
        assert path.scores.equal(scores)
        assert path.scores.dtype == torch.float32


tokens = st.one_of(st.integers(1, 2), st.just(WILDCARD))


elements = st.one_of(
    tokens, st.lists(st.lists(tokens, max_size=2), min_size=1, max_size=3).map(lambda o: Alternatives(*o))
)


@settings(max_examples=60)
@given(st.lists(elements, max_size=3), st.integers(0, 4), st.booleans(), st.booleans(), st.integers(0, 10**6))
def test_any_pattern(pattern: list[Any], frames: int, free_start: bool, free_end: bool, seed: int) -> None:
    """Paths, likelihood and occupancy against enumeration, on both backends, with random -inf."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(frames, 3, generator=generator, dtype=torch.float64)
    x[torch.rand(x.shape, generator=generator) < 0.1] = -torch.inf
    options = {"free_start": free_start, "free_end": free_end}
    expected = oracle.ways(x.tolist(), pattern, 0, [-0.5] * frames, **options)
    expected.sort(key=by_score)
    for name in ("reference", "cpu"):
        with backends.use(name):
            found = ctckit.best_paths(x, pattern, len(expected) + 1, wildcard_score=-0.5, infeasible="blank", **options)
            occupancy, log_likelihood, graph = ctckit.path_posteriors(x, pattern, wildcard_score=-0.5, **options)
        if not expected:
            assert found[0].total == log_likelihood == -math.inf
            assert not occupancy.any()
            continue
        found.sort(key=by_total)
        assert [key(path) for path in found] == [(way.tokens, way.options) for way in expected]
        assert log_likelihood == pytest.approx(log_sum(expected), abs=1e-12)
        assert found[0].total <= log_likelihood + 1e-12
        weights = [math.exp(way.score - log_likelihood) for way in expected]
        by_state = torch.zeros_like(occupancy)
        for path, weight in zip(found, weights, strict=True):
            by_state[torch.arange(frames), path.states] += weight
        torch.testing.assert_close(occupancy, by_state, rtol=0, atol=1e-12)
        assert graph.classes.shape[0] == occupancy.shape[1]


@pytest.mark.parametrize("name", [name for name in CASES if CASES[name][0] > 0])
@pytest.mark.usefixtures("backend")
def test_posterior_path(name: str) -> None:
    """No path has more frames right in expectation."""
    x, wildcard, pattern, options = make(name)
    occupancy, log_likelihood, _ = ctckit.path_posteriors(x, pattern, wildcard_score=wildcard, **options)
    torch.testing.assert_close(occupancy.sum(1), torch.ones(len(x), dtype=torch.float64), rtol=0, atol=1e-12)
    everything = ctckit.best_paths(x, pattern, 10_000, wildcard_score=wildcard, **options)

    def right(path: ctckit.Path) -> float:
        return occupancy.gather(1, path.states[:, None]).sum().item()

    path = ctckit.posterior_path(x, pattern, wildcard_score=wildcard, **options)
    assert right(path) == pytest.approx(max(map(right, everything)), abs=1e-12)
    same = next(other for other in everything if other.states.equal(path.states))
    assert path.total == pytest.approx(same.total, abs=1e-12)
    assert key(path) == key(same)
    assert log_likelihood >= path.total


def test_a_posterior_path_has_a_probability() -> None:
    """Paths of probability 0 are excluded. Here one of them would have most frames right."""
    never = -math.inf
    x = [
        [-2.9, never, -4.2, 1.5], [2.6, never, 0.6, 3.1], [-0.6, -0.8, -5.6, 1.0], [0.2, never, -0.9, 2.4],
        [0.5, 0.5, never, -0.2], [never, -1.0, -1.3, -0.3], [1.2, -1.8, -1.0, never], [1.9, -1.6, never, 2.4],
        [0.5, never, -4.8, -0.3], [-3.2, never, -0.5, -0.5], [-1.4, never, never, 0.4],
    ]  # fmt: skip
    path = ctckit.posterior_path(torch.tensor(x, dtype=torch.float64), [WILDCARD, 1, 2, 3, WILDCARD, 2])
    assert path.total == pytest.approx(3.1)


@pytest.mark.parametrize("name", ["plain", "wildcard inside", "free", "empty options in a row", "equal options"])
@pytest.mark.usefixtures("backend")
def test_samples_have_their_probabilities(name: str) -> None:
    """Pearson's chi-square of 4000 samples is within six standard deviations of its mean; a seed repeats them."""
    x, wildcard, pattern, options = make(name)
    ways = all_ways(x, wildcard, pattern, options)
    total, count = log_sum(ways), 4000

    def draw() -> list[ctckit.Path]:
        generator = torch.Generator().manual_seed(1)
        return ctckit.sample_paths(x, pattern, count, generator=generator, wildcard_score=wildcard, **options)

    paths = draw()
    seen = collections.Counter(map(key, paths))
    expected = {(way.tokens, way.options): count * math.exp(way.score - total) for way in ways}
    assert set(seen) <= set(expected)
    statistic = sum((seen[way] - mean) ** 2 / mean for way, mean in expected.items())
    degrees = len(expected) - 1
    rare = sum(1 / mean for mean in expected.values()) / count  # the part of rare paths in the variance
    assert abs(statistic - degrees) < 6 * math.sqrt(2 * degrees + rare * count) + 1
    assert [path.states.tolist() for path in draw()] == [path.states.tolist() for path in paths]
    for path in paths[:20]:
        way = next(way for way in ways if key(path) == (way.tokens, way.options))
        assert path.total == pytest.approx(way.score, abs=1e-12)


@pytest.mark.usefixtures("backend")
def test_which_state_a_number_draws() -> None:
    """Each state has an interval of [0, 1), in the order of the states; a boundary belongs to the later one."""
    graph = compile_pattern([Alternatives([1], [2], [3])], 4, 0, free_start=False, free_end=False)
    x = torch.tensor([[0.5, 0.25, 0, 0.25]], dtype=torch.float64).log()  # 2 is impossible
    border = torch.tensor(0.5, dtype=torch.float64)
    numbers = torch.stack((torch.zeros_like(border), border.nextafter(border - 1), border, 2 * border))
    states, _ = backends.host_backend().sample_graph_paths(x, graph, numbers[:, None])
    assert graph.classes[states[:, 0]].tolist() == [1, 1, 3, 3]


@pytest.mark.usefixtures("backend")
def test_a_plain_row_as_posteriors() -> None:
    x = torch.randn(30, 5, dtype=torch.float64).log_softmax(1)
    labels = torch.tensor([1, 2, 2, 4])
    occupancy, log_likelihood, _ = ctckit.path_posteriors(x, labels)
    torch.testing.assert_close(occupancy, ctckit.posteriors(x, labels, per_state=True), rtol=0, atol=1e-12)
    assert -log_likelihood == pytest.approx(ctckit.ctc_loss(x, labels, 30, 4, reduction="sum").item(), rel=1e-13)
