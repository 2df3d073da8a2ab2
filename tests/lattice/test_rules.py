"""Rules that exist in several languages agree on all small inputs.

Python has them in `ctckit.lattice`: which states may be skipped to, how many frames a target needs, which labels are
valid. The core and the graphs of patterns repeat them.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable
from functools import cache

import pytest
import torch

import ctckit
from ctckit.lattice import Lattice, bad_label, frames_needed, gate, is_invalid, may_skip, state_labels
from ctckit.lattice.pattern import compile_pattern
from tests.tools import oracle

CLASSES = 3
ROWS = [row for size in range(5) for row in itertools.product((1, 2), repeat=size)]


@cache
def alignments(frames: int) -> dict[tuple[int, ...], set[tuple[int, ...]]]:
    """All paths of the given length, by the labels that they spell."""
    found = defaultdict(set)
    for path in itertools.product(range(CLASSES), repeat=frames):
        found[oracle.collapse(path, 0)].add(path)
    return found


@pytest.mark.parametrize("size", range(5))
def test_skips_of_the_graph(size: int) -> None:
    for row in itertools.product((1, 2), repeat=size):
        graph = compile_pattern(row, CLASSES)
        states = state_labels(torch.tensor([row], dtype=torch.int64).reshape(1, size), 0)[0]
        assert graph.classes.tolist() == states.tolist()
        sources, offsets = graph.sources.tolist(), graph.offsets.tolist()
        skips = [state - 2 in sources[offsets[state] : offsets[state + 1]] for state in range(len(states))]
        assert skips == may_skip(states, 0).tolist()


def test_frames_needed() -> None:
    lattice = Lattice.of_rows(ROWS, torch.zeros(len(ROWS), dtype=torch.int64), 0)
    needed = frames_needed(lattice).tolist()
    assert needed == [compile_pattern(row, CLASSES).frames_needed() for row in ROWS]
    assert needed == [next(T for T in range(9) if row in alignments(T)) for row in ROWS]


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("frames", range(1, 7))
def test_the_number_of_alignments(frames: int) -> None:
    """With all emissions 0 the loss is minus the log of the number of alignments: a wrong skip changes it."""
    x = torch.zeros(frames, len(ROWS), CLASSES, dtype=torch.float64)
    lengths = [len(row) for row in ROWS]
    lattice = Lattice.of_rows(ROWS, torch.full((len(ROWS),), frames), 0)
    loss = ctckit.ctc_loss(x, lattice.labels, None, lengths, reduction="none")
    counts = torch.tensor([len(alignments(frames).get(row, ())) for row in ROWS], dtype=torch.float64)
    torch.testing.assert_close(loss, -counts.log())
    paths, _ = ctckit.forced_align(x.transpose(0, 1), lattice.labels, None, lengths, infeasible="blank")
    for row, path, count in zip(ROWS, paths.tolist(), counts.tolist(), strict=True):
        assert (tuple(path) in alignments(frames).get(row, ())) == (count > 0)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("blank", range(CLASSES))
@pytest.mark.parametrize("label", range(-2, CLASSES + 2))
def test_valid_labels(label: int, blank: int) -> None:
    bad = bad_label(label, CLASSES, blank)
    assert bad == (not 0 <= label < CLASSES or label == blank)
    targets = torch.tensor([[label]])
    x, lattice, _ = gate(torch.zeros(2, 1, CLASSES).log_softmax(2), targets, None, [1], blank)
    assert is_invalid(lattice, 2, CLASSES).tolist() == [bad]
    assert refuses(lambda: ctckit.ctc_loss(x, targets, [2], [1], blank)) == bad
    assert refuses(lambda: compile_pattern([label], CLASSES, blank)) == bad
    assert refuses(lambda: ctckit.align(x[:, 0], [label], blank=blank)) == bad


def refuses(call: Callable[[], object]) -> bool:
    try:
        call()
    except ctckit.ArgumentValueError:
        return True
    return False
