"""Paths through patterns: equal results of both backends, rounding, dtypes and large graphs."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

import ctckit
from ctckit import WILDCARD, Alternatives, backends
from ctckit.lattice.pattern import Graph


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
