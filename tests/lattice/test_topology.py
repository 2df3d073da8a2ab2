"""The states of a target: labels, skips, and the fewest frames."""

from __future__ import annotations

import pytest
import torch

from ctckit.lattice import PADDING, Lattice, frames_needed, gate, may_skip, state_labels
from tests.tools import oracle


def test_states() -> None:
    states = state_labels(torch.tensor([[1, 1, 2], [2, 1, 2]]), 0)
    assert states.tolist() == [[0, 1, 0, 1, 0, 2, 0], [0, 2, 0, 1, 0, 2, 0]]
    assert may_skip(states, 0).int().tolist() == [[0, 0, 0, 0, 0, 1, 0], [0, 0, 0, 1, 0, 1, 0]]
    assert state_labels(torch.empty(2, 0, dtype=torch.int64), 4).tolist() == [[4], [4]]
    assert may_skip(torch.tensor([4]), 4).tolist() == [False]


@pytest.mark.parametrize("blank", [0, 1, 2])
def test_frames_needed_is_the_fewest_with_a_path(blank: int) -> None:
    for target in oracle.targets(3, blank, 4):
        table = torch.tensor([target], dtype=torch.int64).reshape(1, -1)
        _, lattice, _ = gate(torch.zeros(8, 1, 3), table, None, None, blank)
        (needed,) = frames_needed(lattice).tolist()
        ones = [[1] * 3] * needed
        assert oracle.answer(ones, 3, target, blank).paths > 0
        assert needed == 0 or oracle.answer(ones[1:], 3, target, blank).paths == 0


@pytest.mark.parametrize("rows", [[], [[]], [[1, 2], [3]], [[], [4, 4, 4]]], ids=str)
def test_of_rows(rows: list[list[int]]) -> None:
    frames = torch.arange(len(rows)) + 5
    lattice = Lattice.of_rows(rows, frames, 0)
    width = max(map(len, rows), default=0)
    assert lattice.labels.tolist() == [row + [PADDING] * (width - len(row)) for row in rows]
    assert lattice.labels.shape == (len(rows), width)
    assert lattice.target_lengths.tolist() == list(map(len, rows))
    assert lattice.input_lengths is frames
    assert (lattice.max_target, lattice.blank, lattice.concatenated) == (width, 0, False)
    assert {lattice.labels.dtype, lattice.target_lengths.dtype} == {torch.int64}
