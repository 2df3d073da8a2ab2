"""A pattern without alternatives as a plain target: the same paths, scores and occupancy as its graph."""

from __future__ import annotations

import itertools

import pytest
import torch

from ctckit.backends import reference
from ctckit.lattice.chain import chain_of
from ctckit.lattice.pattern import WILDCARD, Token, compile_pattern

TOKENS: tuple[Token, ...] = (1, 2, WILDCARD)
PATTERNS = [list(row) for size in range(1, 4) for row in itertools.product(TOKENS, repeat=size)]


@pytest.mark.parametrize("ends", list(itertools.product((False, True), repeat=2)), ids=str)
@pytest.mark.parametrize("frames", [1, 2, 4, 7])
def test_the_graph_has_the_same_paths(frames: int, ends: tuple[bool, bool]) -> None:
    x = torch.randn(frames, 3, dtype=torch.float64)
    score = torch.randn(frames, dtype=torch.float64)
    for pattern in PATTERNS:
        start, end = ends
        chain = chain_of(pattern, x, score, 0, free_start=start, free_end=end)
        graph = compile_pattern(pattern, 3, free_start=start, free_end=end)
        states, totals = reference.best_graph_paths(torch.cat((x, score[:, None]), 1), graph, 1)
        found = reference.best_path(chain.emissions, chain.lattice)
        if not len(totals):
            assert found.totals.item() == -torch.inf
            continue
        assert found.totals.item() == pytest.approx(totals.item())
        tokens = [chain.tokens[state] for state in found.states[0, chain.frames].tolist()]
        assert tokens == graph.tokens[states[0]].tolist()


def test_a_plain_row_gets_no_column() -> None:
    x = torch.randn(4, 3)
    chain = chain_of([1, 2], x, torch.zeros(4), 0, free_start=False, free_end=False)
    assert chain.emissions.shape == (4, 1, 3)
    assert chain.lattice.labels.tolist() == [[1, 2]]
    assert chain_of([], x, torch.zeros(4), 0, free_start=False, free_end=False).lattice.max_target == 0


def test_neighbouring_wildcards_differ() -> None:
    """Wildcards alternate: equal labels would need a blank between them, wildcards need none."""
    chain = chain_of([WILDCARD] * 3, torch.randn(3, 2), torch.zeros(3), 0, free_start=True, free_end=True)
    assert chain.lattice.labels.tolist() == [[2, 3, 2, 3, 2]]
    assert chain.frames == slice(1, 4)
    assert (chain.emissions[0, 0, :2] == -torch.inf).all()
