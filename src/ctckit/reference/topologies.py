"""The two topologies of the reference: which states a path may take, one after the other.

A topology has K states and, for each, the arcs that enter it. It knows nothing of sums and products: it moves the
values of states along arcs, and a semiring (`ctckit.reference.semirings`) adds what arrives.

Before the first frame a path is in a start state, from which arcs lead to where it may be in the first frame.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import pad

from ctckit.lattice import Lattice, may_skip, padded_labels, state_labels
from ctckit.lattice.pattern import Graph
from ctckit.reference.semirings import LOG_0


class Topology(Protocol):
    """States and arcs of N items. Values of states have the shape (N, K, k), as a semiring's elements."""

    classes: Tensor
    """(N, K) int64: the class of each state."""
    start: Tensor
    """(N, K) bool: the state before the first frame."""
    finals: Tensor
    """(N, F) int64: the states in which a path may end, in order of preference; -1 for none."""

    def entering(self, values: Tensor) -> Tensor:
        """(N, K, k) values -> (A, N, K, k): for each state, the values at the sources of the arcs that enter it."""

    def leaving(self, values: Tensor) -> Tensor:
        """(N, K, k) values -> (B, N, K, k): for each state, the values at the targets of the arcs that leave it."""

    def source(self, state: Tensor, arc: Tensor) -> Tensor:
        """States and numbers of entering arcs, 0 to A - 1, of one shape -> the states where the arcs begin."""


class Chain:
    """The states of plain targets: l[1] .. l[S] with a blank before, between and after them.

    Entering arcs in order of preference: 0 *stay*, 1 *step*, 2 *skip*. So an arc's number is how far it leads, and
    values move along arcs by shifting. State 0 is also the start: a path stays there or steps to state 1.
    """

    def __init__(self, lattice: Lattice, classes: int) -> None:
        """Read the targets. Invalid labels and lengths are clamped, so that no index is out of range."""
        self.classes = state_labels(padded_labels(lattice).clamp(0, classes - 1), lattice.blank)
        skip = may_skip(self.classes, lattice.blank)[..., None]
        self._skip_into, self._skip_from = skip, pad(skip, (0, 0, 0, 2))[:, 2:]
        states = torch.arange(self.classes.shape[1], device=self.classes.device)
        self.start = (states == 0).expand(self.classes.shape)
        last = 2 * lattice.target_lengths.clamp(0, lattice.max_target)
        self.finals = torch.stack((last - 1, last), 1)

    def entering(self, values: Tensor) -> Tensor:
        """See `Topology.entering`."""
        before = pad(values, (0, 0, 2, 0), value=LOG_0)
        return torch.stack((values, before[:, 1:-1], torch.where(self._skip_into, before[:, :-2], LOG_0)))

    def leaving(self, values: Tensor) -> Tensor:
        """See `Topology.leaving`."""
        after = pad(values, (0, 0, 0, 2), value=LOG_0)
        return torch.stack((values, after[:, 1:-1], torch.where(self._skip_from, after[:, 2:], LOG_0)))

    def source(self, state: Tensor, arc: Tensor) -> Tensor:
        """See `Topology.source`."""
        return state - arc


class Arcs:
    """The states of one pattern's `Graph`, with any arcs: values move along them by gathering.

    Two states follow the graph's own. *Start* is where a path is before the first frame; its arcs lead to the initial
    states. *Nowhere* fills up the tables of arcs. Their class has to be given the emission -inf in every frame.
    """

    def __init__(self, graph: Graph, impossible: int) -> None:
        """Read the graph; `impossible` is the class of start and nowhere."""
        states = graph.classes.shape[0]
        start, nowhere = states, states + 1
        self.classes = pad(graph.classes, (0, 2), value=impossible)[None]
        self.start = torch.arange(states + 2, device="cpu")[None] == start
        self.finals = pad(graph.final, (0, int(graph.matches_nothing)), value=start)[None]
        initial = graph.initial.nonzero()[:, 0]
        sources = torch.cat((graph.sources, torch.full_like(initial, start)))
        inner = torch.arange(states, device="cpu").repeat_interleave(graph.offsets.diff())
        targets = torch.cat((inner, initial))
        self._sources = _table(targets, sources, nowhere)
        self._targets = _table(sources, targets, nowhere)

    def entering(self, values: Tensor) -> Tensor:
        """See `Topology.entering`."""
        return values[:, self._sources].permute(2, 0, 1, 3)

    def leaving(self, values: Tensor) -> Tensor:
        """See `Topology.leaving`."""
        return values[:, self._targets].permute(2, 0, 1, 3)

    def source(self, state: Tensor, arc: Tensor) -> Tensor:
        """See `Topology.source`."""
        return self._sources[state, arc]


def _table(states: Tensor, neighbours: Tensor, nowhere: int) -> Tensor:
    """(M,) states, each with a neighbour -> (K, A): the neighbours of each state in order, then `nowhere`."""
    counts = torch.bincount(states, minlength=nowhere + 1)
    table = torch.full((nowhere + 1, int(counts.max())), nowhere, device="cpu")
    table[torch.arange(table.shape[1], device="cpu") < counts[:, None]] = neighbours[states.argsort(stable=True)]
    return table
