"""The parts of the reference: semirings, topologies, traversals, and that the two topologies agree."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest
import torch

from ctckit import WILDCARD, Alternatives
from ctckit.lattice import Lattice, may_skip, state_labels
from ctckit.lattice.pattern import compile_pattern
from ctckit.reference.semirings import LOG_0, KBest, LogSum, Semiring
from ctckit.reference.topologies import Arcs, Chain, Topology
from ctckit.reference.traversals import best, forward, marginals, sample
from tests.tools import oracle, pattern_oracle

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

SEMIRINGS: dict[str, Semiring] = {"sum": LogSum(), "best": KBest(1), "3 best": KBest(3)}
CLASSES = 3
ROWS = [row for length in range(4) for row in itertools.product((1, 2), repeat=length)]
PATTERNS: dict[str, list[Any]] = {
    "nothing": [],
    "wildcard": [1, WILDCARD, 1],
    "options": [Alternatives([1], [2, 1]), 2],
    "empty options": [Alternatives([1], []), Alternatives([2], [])],
}


def chain_of(row: tuple[int, ...], frames: int, classes: int = CLASSES) -> Chain:
    one = torch.tensor([frames]), torch.tensor([len(row)])
    return Chain(Lattice(torch.tensor([row], dtype=torch.int64), *one, len(row), 0), classes)


def emissions(frames: int, *, ties: bool) -> tuple[Tensor, Tensor]:
    """Of the classes, of wildcards, and of the impossible class that `Arcs` wants; and that all frames count."""
    generator = torch.Generator().manual_seed(frames)
    x = torch.randn(frames, 1, CLASSES + 1, generator=generator, dtype=torch.float64)
    x = x.round() if ties else x
    return torch.cat((x, torch.full_like(x[..., :1], LOG_0)), 2), torch.ones(frames, 1, 1, dtype=torch.bool)


def small_problems() -> Iterator[tuple[Tensor, Tensor, Chain, Arcs]]:
    """Every plain target of up to 3 labels in up to 5 frames, as both topologies."""
    for frames, row, ties in itertools.product(range(6), ROWS, (False, True)):
        arcs = Arcs(compile_pattern(row, CLASSES), CLASSES + 1)
        yield *emissions(frames, ties=ties), chain_of(row, frames), arcs


# ---------------------------------------------------------------------------------------------------------- semirings


@pytest.mark.parametrize("name", SEMIRINGS)
def test_semiring_laws(name: str) -> None:
    """The sum is associative and commutative, the product distributes over it, zero and one are neutral."""
    ring = SEMIRINGS[name]
    generator = torch.Generator().manual_seed(0)
    log_values = torch.randn(12, 4, 50, generator=generator, dtype=torch.float64)
    log_values[torch.rand(log_values.shape, generator=generator) < 0.2] = LOG_0
    a, b, c = (ring.sum(ring.element(terms)) for terms in log_values.split(4))
    y = torch.randn(4, 50, 1, generator=generator, dtype=torch.float64)
    zero, one = ring.element(torch.full_like(y[..., 0], LOG_0)), ring.element(torch.zeros_like(y[..., 0]))

    def add(*terms: Tensor) -> Tensor:
        return ring.sum(torch.stack(terms))

    def check(left: Tensor, right: Tensor) -> None:
        torch.testing.assert_close(left, right, rtol=0, atol=1e-14)

    check(add(a, b), add(b, a))
    check(add(a, add(b, c)), add(add(a, b), c))
    check(add(a, b, c), add(add(a, b), c))
    check(add(a, b) + y, add(a + y, b + y))
    assert torch.equal(add(a, zero), a)
    assert torch.equal(zero + y, zero)
    assert torch.equal((one + y)[..., :1], y)
    assert not torch.equal(add(a, b), a)


def test_k_best_of_equal_terms_are_the_first() -> None:
    terms = torch.tensor([[1.0, 0.0], [2.0, 1.0], [1.0, 1.0]])[:, None, None]
    values, choices = KBest(2).choose(terms)
    assert (values.tolist(), choices.tolist()) == ([[[2.0, 1.0]]], [[[2, 0]]])
    value, choice = KBest(1).choose(terms[[0, 2], ..., :1])
    assert (value.item(), choice.item()) == (1.0, 0)


def test_gradients() -> None:
    """Of the sum: the occupancy. Of the i-th best path: 1 for each emission on it."""
    x, inside = emissions(5, ties=False)
    chain = chain_of((1, 2), 5)
    x.requires_grad_()
    (slope,) = torch.autograd.grad(forward(x, inside, chain, LogSum()).sum(), x)
    states, _ = marginals(x.detach(), inside, chain)
    by_class = torch.zeros_like(slope).scatter_add(2, chain.classes.expand(states.shape), states)
    torch.testing.assert_close(slope, by_class, rtol=0, atol=1e-14)
    paths, _ = best(x.detach(), inside, chain, 4)
    for path, total in zip(paths[0], forward(x, inside, chain, KBest(4))[0], strict=True):
        (slope,) = torch.autograd.grad(total, x, retain_graph=True)
        assert torch.equal(slope[:, 0], torch.nn.functional.one_hot(chain.classes[0, path], x.shape[2]).double())


# --------------------------------------------------------------------------------------------------------- topologies


def arcs_of(topology: Topology) -> tuple[set[tuple[int, int]], set[tuple[int, int]], set[tuple[int, int]]]:
    """The (source, target) pairs that `entering`, `leaving` and `source` tell of; those of -inf are none."""
    count = topology.classes.shape[1]
    states = torch.arange(count)
    numbers = states.double()[None, :, None]
    entering, leaving = topology.entering(numbers)[:, 0, :, 0], topology.leaving(numbers)[:, 0, :, 0]
    entered = {(int(r), s) for row in entering.tolist() for s, r in enumerate(row) if r != LOG_0}
    left = {(s, int(r)) for row in leaving.tolist() for s, r in enumerate(row) if r != LOG_0}
    named = {
        (int(topology.source(states[s], torch.tensor(arc))), s)
        for arc, row in enumerate(entering.tolist())
        for s, r in enumerate(row)
        if r != LOG_0
    }
    return entered, left, named


def test_arcs_are_the_same_from_both_ends() -> None:
    for row in ROWS:
        entered, left, named = arcs_of(chain_of(row, 1))
        assert entered == left == named
    for pattern in PATTERNS.values():
        graph = compile_pattern(pattern, CLASSES)
        nowhere = graph.classes.shape[0] + 1
        entered, left, named = ({arc for arc in arcs if nowhere not in arc} for arcs in arcs_of(Arcs(graph, 0)))
        assert entered == left == named
        assert len(entered) == len(graph.sources) + int(graph.initial.sum())


def test_one_rule_for_skips() -> None:
    """The chain has the skips of `may_skip` and the arcs of the pattern's graph, for every row of up to 5 labels of 3.

    (tests/lattice/test_rules.py compares `may_skip` with the graph.)
    """
    for length in range(6):
        for row in itertools.product((1, 2, 3), repeat=length):
            arcs, _, _ = arcs_of(chain_of(row, 1, classes=4))
            allowed = may_skip(state_labels(torch.tensor(row, dtype=torch.int64), 0), 0).nonzero()[:, 0].tolist()
            assert sorted(s for r, s in arcs if r == s - 2) == allowed
            graph = compile_pattern(row, classes=4)
            into = torch.arange(2 * length + 1).repeat_interleave(graph.offsets.diff())
            assert arcs == set(zip(graph.sources.tolist(), into.tolist(), strict=True))


# --------------------------------------------------------------------------------------------------------- traversals


def test_chain_and_arcs_agree() -> None:
    """In every traversal, to the bit where only the order of equally good paths could differ."""
    for x, inside, chain, arcs in small_problems():
        count = chain.classes.shape[1]
        totals = forward(x, inside, arcs, LogSum())
        torch.testing.assert_close(forward(x, inside, chain, LogSum()), totals, rtol=0, atol=1e-14)

        (states, total), (of_arcs, _) = marginals(x, inside, chain), marginals(x, inside, arcs)
        assert torch.equal(total, forward(x, inside, chain, LogSum())[:, 0])
        torch.testing.assert_close(states, of_arcs[..., :count], rtol=0, atol=1e-14)
        assert of_arcs[..., count:].count_nonzero() == 0

        (paths, values), (arcs_paths, arcs_values) = best(x, inside, chain, 4), best(x, inside, arcs, 4)
        assert torch.equal(values, arcs_values)
        assert torch.equal(values, forward(x, inside, chain, KBest(4)))
        assert torch.equal(paths[values > LOG_0], arcs_paths[values > LOG_0])
        first, value = best(x, inside, chain, 1)
        assert torch.equal(value, values[:, :1])
        assert torch.equal(first[value > LOG_0], paths[:, :1][value > LOG_0])

        uniforms = torch.rand(5, len(x), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        (drawn, total), (arcs_drawn, _) = sample(x, inside, chain, uniforms), sample(x, inside, arcs, uniforms)
        assert torch.equal(drawn, arcs_drawn)
        assert torch.equal(total, forward(x, inside, chain, LogSum())[0, 0])
        assert (drawn == -1).all() == (total == LOG_0 or len(x) == 0)


def test_counts_of_paths() -> None:
    """With all emissions 1 the sum counts the paths, and so do the k best, which all spell the target."""
    for x, inside, chain, _ in small_problems():
        target = tuple(chain.classes[0, 1::2].tolist())
        count = oracle.answer([[1] * CLASSES] * len(x), CLASSES, target, 0).paths
        ones = torch.zeros_like(x)
        assert round(forward(ones, inside, chain, LogSum()).exp().item()) == count
        paths, values = best(ones, inside, chain, 64)
        found = [tuple(chain.classes[0, path].tolist()) for path in paths[values > LOG_0]]
        assert len(set(found)) == len(found) == count
        assert {oracle.collapse(path, 0) for path in found} <= {target}
        if count and len(x):
            # With the lowest and the highest number a sample is one of these paths, too.
            uniforms = torch.tensor([[0.0], [1.0]], dtype=torch.float64).expand(-1, len(x))
            drawn, _ = sample(ones, inside, chain, uniforms)
            assert {tuple(chain.classes[0, path].tolist()) for path in drawn.clamp(min=0)} <= set(found)


@pytest.mark.parametrize("free", [False, True])
@pytest.mark.parametrize("name", PATTERNS)
def test_counts_of_paths_of_patterns(name: str, free: bool) -> None:
    options = {"free_start": free, "free_end": free}
    graph = compile_pattern(PATTERNS[name], CLASSES, **options)
    for frames in range(5):
        x, inside = emissions(frames, ties=False)
        ones = torch.where(x == LOG_0, LOG_0, 0.0)
        zeros = torch.zeros(frames, CLASSES).tolist()
        count = len(pattern_oracle.ways(zeros, PATTERNS[name], 0, [0.0] * frames, **options))
        arcs = Arcs(graph, CLASSES + 1)
        assert round(forward(ones, inside, arcs, LogSum()).exp().item()) == count
        paths, values = best(ones, inside, arcs, 200)
        found = {tuple(path.tolist()) for path in paths[values > LOG_0]}
        assert len(found) == int((values > LOG_0).sum()) == count < 200
