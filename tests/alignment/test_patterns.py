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
from ctckit.lattice.pattern import Graph, compile_pattern
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


def test_samples_of_both_backends_are_the_same() -> None:
    x = torch.randn(40, 5).log_softmax(1)
    pattern: list[Any] = [1, WILDCARD, Alternatives([2, 3], [4], []), 2]
    drawn = []
    for name in ("reference", "cpu"):
        with backends.use(name):
            drawn.append(ctckit.sample_paths(x, pattern, 50, generator=torch.Generator().manual_seed(3)))
    assert [p.states.tolist() for p in drawn[0]] == [p.states.tolist() for p in drawn[1]]


@pytest.mark.parametrize("scale", [1.0, 100.0, 1e4])
def test_long_inputs(scale: float) -> None:
    """Many segments between checkpoints, values far below a double's range: the core agrees with the reference."""
    x = (scale * torch.randn(301, 6, dtype=torch.float64)).log_softmax(1)
    labels = torch.randint(1, 6, (60,)).tolist()
    pattern = [*labels[:20], WILDCARD, Alternatives(labels[20:25], [], labels[25:27]), *labels[27:]]
    results = []
    for name in ("reference", "cpu"):
        with backends.use(name):
            paths = ctckit.best_paths(x, pattern, 4, free_start=True, wildcard_score=-3)
            results.append((paths, ctckit.path_posteriors(x, pattern, free_start=True, wildcard_score=-3)))
    (paths, posteriors), (core_paths, core_posteriors) = results
    assert [p.states.tolist() for p in paths] == [p.states.tolist() for p in core_paths]
    assert [p.total for p in paths] == [p.total for p in core_paths]
    assert core_posteriors.log_likelihood == pytest.approx(posteriors.log_likelihood, rel=1e-13)
    torch.testing.assert_close(core_posteriors.occupancy, posteriors.occupancy, rtol=0, atol=1e-8)


@pytest.mark.usefixtures("core")
@pytest.mark.parametrize("offset", [0, 2.0**20, 2.0**37, 2.0**45])
def test_what_all_log_probabilities_share_makes_no_difference(offset: float) -> None:
    """A constant subtracted from all emissions shifts every path alike, if no digits are lost."""
    x = torch.randint(-40, 1, (12, 4)).double() / 8
    pattern: list[Any] = [1, Alternatives([2], [3, 1], []), 3]
    occupancy, log_likelihood, _ = ctckit.path_posteriors(x - offset, pattern)
    with backends.use("reference"):
        right, likelihood, _ = ctckit.path_posteriors(x, pattern)
    torch.testing.assert_close(occupancy, right, rtol=0, atol=1e-12)
    assert log_likelihood == pytest.approx(likelihood - 12 * offset, rel=2e-15)


@pytest.mark.usefixtures("core")
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3, 1e9])
def test_the_only_path_is_the_sum_of_its_log_probabilities(scale: float) -> None:
    """Accurate to the last digits; rounding errors of a hundred frames would lose them if they had the same sign."""
    x = -scale * torch.rand(100, 4, dtype=torch.float64)
    labels = [1 + t % 3 for t in range(100)]
    _, log_likelihood, _ = ctckit.path_posteriors(x, labels)
    right = math.fsum(x[torch.arange(100), labels].tolist())
    assert log_likelihood == pytest.approx(right, rel=4e-16, abs=1e-14)


@pytest.mark.usefixtures("backend")
def test_a_plain_row_as_posteriors() -> None:
    x = torch.randn(30, 5, dtype=torch.float64).log_softmax(1)
    labels = torch.tensor([1, 2, 2, 4])
    occupancy, log_likelihood, _ = ctckit.path_posteriors(x, labels)
    torch.testing.assert_close(occupancy, ctckit.posteriors(x, labels, per_state=True), rtol=0, atol=1e-12)
    assert -log_likelihood == pytest.approx(ctckit.ctc_loss(x, labels, 30, 4, reduction="sum").item(), rel=1e-13)


@pytest.mark.usefixtures("core")
def test_more_than_a_byte_of_arcs() -> None:
    """Backpointers take two bytes if a state has more than 256 sources."""
    x = torch.randn(4, 400, dtype=torch.float64)
    pattern: list[Any] = [Alternatives(*([label] for label in range(1, 400))), 1]
    with backends.use("reference"):
        expected = ctckit.best_paths(x, pattern, 10)
    found = ctckit.best_paths(x, pattern, 10)
    assert [p.states.tolist() for p in found] == [p.states.tolist() for p in expected]


@pytest.mark.parametrize("k", [2, 3, 4, 5, 6, 8])
@pytest.mark.usefixtures("core")
def test_about_a_byte_of_places_to_come_from(k: int) -> None:
    """The last option's last entry has the largest backpointer."""
    for options in range(256 // k - 4, 256 // k + 3):
        x = torch.randn(8, options + 2, dtype=torch.float64)
        x[:, options] += 6
        pattern: list[Any] = [Alternatives(*([label] for label in range(1, options + 1))), options + 1]
        with backends.use("reference"):
            expected = ctckit.best_paths(x, pattern, k)
        found = ctckit.best_paths(x, pattern, k)
        assert [p.states.tolist() for p in found] == [p.states.tolist() for p in expected], options
        assert [p.total for p in found] == [p.total for p in expected]


def fan(sources: int) -> Graph:
    """One state with the given number of sources, each of its own class."""
    states = sources + 1
    return Graph(
        classes=torch.arange(states),
        tokens=torch.arange(states),
        sources=torch.cat((torch.arange(states), torch.arange(sources))),
        offsets=torch.cat((torch.arange(states), torch.tensor([states + sources]))),
        initial=torch.arange(states) < sources,
        final=torch.tensor([sources]),
        matches_nothing=False,
        token_options=((-1, -1),) * states,
        empty_options=(),
    )


@pytest.mark.parametrize("most", [2**8, 2**16])
@pytest.mark.parametrize("k", [1, 2, 4])
@pytest.mark.usefixtures("core")
def test_about_one_and_two_bytes_of_places_to_come_from(most: int, k: int) -> None:
    """Lists of k entries of several states, near the limits of one and two bytes."""
    core = backends.backend_for(torch.device("cpu"))
    for sources in range(most // k - 3, most // k + 2):
        graph = fan(sources)
        x = torch.full((4, sources + 1), -50.0, dtype=torch.float64)
        x[:, sources - 1] = torch.tensor([-1.0, -2.0, -3.0, -4.0])
        x[:, sources] = torch.tensor([-50.0, -20.0, -10.0, -5.0])
        # All come from the last source, ordered by the frames that they stay there.
        ways = sorted(((x[:n, sources - 1].sum() + x[n:, sources].sum()).item(), n) for n in (1, 2, 3))[::-1]
        states, totals = core.best_graph_paths(x, graph, k)
        assert totals[:3].tolist() == [total for total, _ in ways[:k]]
        assert states[:3].tolist() == [[sources - 1] * n + [sources] * (4 - n) for _, n in ways[:k]]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.usefixtures("backend")
def test_dtypes_and_strides(dtype: torch.dtype) -> None:
    """The result is that of the same numbers in float64, contiguous."""
    x = torch.randn(5, 12).log_softmax(0).to(dtype).T[::2]
    pattern: list[Any] = [1, WILDCARD, 2]
    for k in (1, 2):
        paths = ctckit.best_paths(x, pattern, k, wildcard_score=-1.5)
        expected = ctckit.best_paths(x.double().contiguous(), pattern, k, wildcard_score=-1.5)
        assert [p.states.tolist() for p in paths] == [p.states.tolist() for p in expected]
        assert [p.total for p in paths] == [p.total for p in expected]
        assert paths[0].scores.dtype == dtype
    assert ctckit.path_posteriors(x, pattern).occupancy.dtype == dtype


def test_scores_can_be_differentiated() -> None:
    x = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    penalty = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    path = ctckit.best_paths(x, [1, WILDCARD], wildcard_score=penalty)[0]
    path.scores.sum().backward()
    assert x.grad is not None
    assert penalty.grad is not None
    assert penalty.grad.tolist() == [float(token == 1) for token in path.tokens.tolist()]
    assert (x.grad.sum(1) + penalty.grad).tolist() == [1.0] * 4


@pytest.mark.usefixtures("backend")
def test_too_few_frames() -> None:
    x = torch.zeros(3, 3)
    for call in (ctckit.best_paths, ctckit.posterior_path):
        with pytest.raises(ValueError, match="the item needs 4 frames, but has 3"):
            call(x, [1, 1, Alternatives([2], [1])])
    with pytest.raises(ValueError, match="the item needs 4 frames, but has 3"):
        ctckit.sample_paths(x, [1, 1, 2], 2)
    occupancy, log_likelihood, _ = ctckit.path_posteriors(x, [1, 1, 2])
    assert log_likelihood == -math.inf
    assert not occupancy.any()
    cases: list[tuple[list[Any], tuple[int, ...]]] = [([1, 1, 2], ()), ([1, 1, Alternatives([2])], (-1,))]
    for pattern, options in cases:
        path = ctckit.best_paths(x, pattern, infeasible="blank")[0]
        assert path.options == options
        assert path.total == -math.inf
        assert path.classes.tolist() == [0, 0, 0]
        assert path.states.tolist() == path.tokens.tolist() == [-1, -1, -1]
        assert path.scores.tolist() == [-math.inf] * 3
        assert len(ctckit.sample_paths(x, pattern, 2, infeasible="blank")) == 2
        assert ctckit.posterior_path(x, pattern, infeasible="blank").total == -math.inf


@pytest.mark.usefixtures("backend")
def test_barred_by_minus_infinity() -> None:
    x = torch.zeros(4, 3)
    x[:, 1] = -torch.inf
    patterns: list[list[Any]] = [[1], [Alternatives([1], [1, 2])]]
    for pattern in patterns:
        with pytest.raises(ValueError, match="log-probabilities of -inf bar every path of the item"):
            ctckit.best_paths(x, pattern)
    assert ctckit.best_paths(x, [Alternatives([1], [2])])[0].options == (1,)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.usefixtures("backend")
def test_nan(value: float) -> None:
    """It counts only in classes of the pattern and in the wildcard's scores."""
    x = torch.zeros(3, 4)
    x[1, 2] = value
    patterns: list[list[Any]] = [[2], [Alternatives([1], [2])]]
    for pattern in patterns:
        path = ctckit.best_paths(x, pattern, 2)[0]
        assert math.isnan(path.total)
        assert path.scores.isnan().all()
        assert path.states.tolist() == [-1] * 3
        assert math.isnan(ctckit.posterior_path(x, pattern).total)
        assert math.isnan(ctckit.sample_paths(x, pattern, 1)[0].total)
        occupancy, log_likelihood, _ = ctckit.path_posteriors(x, pattern)
        assert math.isnan(log_likelihood)
        assert occupancy.isnan().all()
    assert ctckit.best_paths(x, [1])[0].total == 0
    scores = torch.tensor([0.0, value, 0.0])
    assert math.isnan(ctckit.best_paths(x, [WILDCARD], wildcard_score=scores)[0].total)
    assert ctckit.best_paths(x, [1], wildcard_score=scores)[0].total == 0


BAD: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "array": ({"log_probs": [[0.0]]}, TypeError, "log_probs is a list"),
    "dtype": ({"log_probs": torch.zeros(3, 3, dtype=torch.int64)}, TypeError, "log_probs has dtype torch.int64"),
    "batch": ({"log_probs": torch.zeros(1, 3, 3)}, ValueError, r"shape \(1, 3, 3\), .*\(T, C\).*loop"),
    "blank": ({"blank": 3}, ValueError, "blank is 3"),
    "pattern": ({"pattern": "a"}, TypeError, "pattern is a str"),
    "label": ({"pattern": [1, 3]}, ValueError, r"pattern\[1\] is 3"),
    "blank label": ({"pattern": [2], "blank": 2}, ValueError, r"pattern\[0\] is 2, which is the blank"),
    "score": ({"wildcard_score": "0"}, TypeError, "wildcard_score is a str"),
    "scores": ({"wildcard_score": torch.zeros(2)}, ValueError, r"wildcard_score has shape \(2,\).*\(3,\)"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_arguments(name: str) -> None:
    changes, error, says = BAD[name]
    arguments: dict[str, Any] = {"log_probs": torch.zeros(3, 3), "pattern": [1]} | changes
    functions: tuple[Any, ...] = (ctckit.best_paths, ctckit.path_posteriors, ctckit.posterior_path)
    for function in functions:
        with pytest.raises(error, match=says):
            function(**arguments)
    with pytest.raises(error, match=says):
        ctckit.sample_paths(n=1, **arguments)


def test_defaults() -> None:
    x = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    assert len(ctckit.best_paths(x, [1, WILDCARD, 2])) == 1
    for call in (ctckit.best_paths, ctckit.posterior_path, ctckit.path_posteriors):
        values, right = call(x, [1, WILDCARD, 2]), call(x, [1, WILDCARD, 2], blank=0, wildcard_score=0.0)
        assert repr(values) == repr(right)
    one = ctckit.sample_paths(x, [WILDCARD, 2], 1, generator=torch.Generator().manual_seed(1))
    right = ctckit.sample_paths(x, [WILDCARD, 2], 1, generator=torch.Generator().manual_seed(1), wildcard_score=0.0)
    assert repr(one) == repr(right)


def test_nan_in_just_enough_frames() -> None:
    """The path is unknown (NaN); with one frame less there is none."""
    x = torch.full((3, 3), torch.nan)
    assert math.isnan(ctckit.best_paths(x, [1, 1])[0].total)
    assert ctckit.best_paths(x[:2], [1, 1], infeasible="blank")[0].total == -math.inf


def test_a_generator_that_is_not_on_the_cpu() -> None:
    class Elsewhere:
        device = torch.device("cuda", 0)

    elsewhere: Any = Elsewhere()
    with pytest.raises(ctckit.ArgumentValueError, match=r"generator is on cuda:0, but must be on the CPU"):
        ctckit.sample_paths(torch.zeros(3, 2), [1], 1, generator=elsewhere)


def test_bad_numbers() -> None:
    x = torch.zeros(3, 3)
    for k in (0, -1):
        with pytest.raises(ValueError, match=rf"k is {k}, but must be at least 1"):
            ctckit.best_paths(x, [1], k)
        with pytest.raises(ValueError, match=f"n is {k}, but must be at least 1"):
            ctckit.sample_paths(x, [1], k)
    with pytest.raises(TypeError, match=r"k is 1\.5"):
        ctckit.best_paths(x, [1], 1.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"infeasible is 'skip'"):
        ctckit.best_paths(x, [1], infeasible="skip")  # type: ignore[arg-type]
