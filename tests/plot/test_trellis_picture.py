"""The picture of a trellis: its artists are compared with the definition."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

pytest.importorskip("matplotlib")

from matplotlib.collections import LineCollection

from ctckit import plot
from tests.plot.artists import occupancy

if TYPE_CHECKING:
    from matplotlib.axes import Axes


Arc = tuple[tuple[int, int], tuple[int, int]]


def arcs_of(ax: Axes) -> dict[str, set[Arc]]:
    """Read back the arcs (frame, state) -> (frame, state) of a trellis, by kind."""
    return {
        str(lines.get_label()): {tuple(tuple(int(z) for z in end) for end in arc) for arc in lines.get_segments()}  # type: ignore[misc]
        for lines in ax.collections
        if isinstance(lines, LineCollection)
    }


def arcs_by_enumeration(target: str, frames: int) -> set[Arc]:
    """List the arcs of every path that spells the target, by trying all monotonic paths."""
    states = "-" + "".join(f"{label}-" for label in target)
    arcs = set()
    for path in itertools.combinations_with_replacement(range(len(states)), frames):
        spelt = "".join(label for label, _ in itertools.groupby(states[s] for s in path) if label != "-")
        if spelt == target:
            arcs |= {((t, path[t]), (t + 1, path[t + 1])) for t in range(frames - 1)}
    return arcs


@pytest.mark.parametrize(
    ("target", "frames"), [("CAT", 3), ("CAT", 6), ("BEE", 5), ("AAA", 6), ("ABAB", 7), ("A", 1), ("A", 4), ("", 3)]
)
def test_trellis_draws_the_arcs_of_all_paths_that_spell_the_target(target: str, frames: int) -> None:
    arcs = arcs_of(plot.trellis(target, frames))

    assert set().union(*arcs.values()) == arcs_by_enumeration(target, frames)
    for kind, advance in {"stay": 0, "step": 1, "skip": 2}.items():
        assert all(end - start == advance for (_, start), (_, end) in arcs[kind])


def test_trellis_of_an_infeasible_target_has_no_arcs() -> None:
    assert not any(arcs_of(plot.trellis("BEE", 3)).values())  # it needs four


def test_trellis_names_states_and_frames() -> None:
    ax = plot.trellis([7, 12], blank="-")

    assert [text.get_text() for text in ax.get_yticklabels()] == ["-", "7", "-", "12", "-"]
    assert ax.get_yticks().tolist() == [0, 1, 2, 3, 4]
    assert ax.get_xticks().tolist() == [0, 1, 2, 3, 4]  # the two frames it needs, and three more
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # the first state on top


def test_trellis_takes_frames_from_occupancy_and_path() -> None:
    assert len(plot.trellis("ab", occupancy=occupancy([1, 2], 9, per_state=True)).get_xticks()) == 9
    ax = plot.trellis("ab", path=torch.tensor([1, 2, 3, 3]))
    assert len(ax.get_xticks()) == 4
    assert np.asarray(ax.lines[0].get_xydata()).tolist() == [[0, 1], [1, 2], [2, 3], [3, 3]]


def test_trellis_fills_states_by_occupancy() -> None:
    gamma = np.zeros((2, 3))
    gamma[:, 1] = 1

    circles = plot.trellis("a", occupancy=gamma).collections[-2]

    darkness = 3 - np.asarray(circles.get_facecolor())[:, :3].sum(1)
    where = [tuple(offset) for offset in np.asarray(circles.get_offsets()).astype(int).tolist()]
    assert {place for place, dark in zip(where, darkness, strict=True) if dark > 0.5} == {(0, 1), (1, 1)}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"path": [0, 1, 3]}, "3 states.* each of the 4 frames"),
        ({"path": [0, 1, 3, 5]}, "states 0 to 4"),
        ({"path": [2, 2, 3, 4]}, "from state 2 to 4.* start in 0 or 1 and end in 3 or 4"),
        ({"path": [0, 1, 1, 2]}, "from state 0 to 2"),
        ({"path": [1, 2, 4, 4]}, "from state 2 to 4 in frame 2"),
        ({"path": [1, 3, 2, 3]}, "from state 3 to 2 in frame 2"),
        ({"occupancy": np.zeros((4, 4))}, r"\(4, 4\), but must be \(4, 5\) for 2 labels in 4 frames"),
        ({"occupancy": np.zeros(5)}, r"occupancy has shape \(5,\), but must have 2 dimensions"),
    ],
)
def test_trellis_refuses(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plot.trellis("ab", 4, **options)


def test_trellis_refuses_to_skip_between_equal_labels() -> None:
    plot.trellis("ab", path=[1, 3])
    with pytest.raises(ValueError, match="from state 1 to 3 in frame 1, but no arc does"):
        plot.trellis("aa", path=[1, 3, 3])
