r"""Paths through the graph of a pattern, in plain torch operations: the definition that the core is held against.

Notation as in `ctckit.reference`: alpha(t, s) is the value of all paths that are in state s in frame t, y(t, s) the
emission of its class. The recursion is the same for any graph of `ctckit.lattice.pattern`::

    alpha(0, s) = y(0, s) if s is initial, else nothing
    alpha(t, s) = y(t, s) * (sum of alpha(t-1, r) over the arcs r -> s)

with, in place of *sum*: the k largest terms, for the k best paths (`best_paths`; each state keeps a list); or the sum
of probabilities, for posteriors and samples. Everything is in float64.

Terms are compared before the emission is added, and equal ones are taken in the order of the arcs, and of the list of
the state that they come from. So two paths of one value are ordered by the first place, read from the end, where they
differ; for one path through a plain target this is the rule of `ctckit.reference.best_path`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ctckit.lattice.pattern import Graph

_LOG_0 = -torch.inf


def best_paths(emissions: Tensor, graph: Graph, k: int) -> tuple[Tensor, Tensor]:
    """Find the k best paths: see `ctckit.backends.Backend.best_graph_paths`."""
    frames, states = emissions.shape[0], graph.classes.shape[0]
    if frames == 0:
        count = int(graph.matches_nothing)
        nothing = torch.empty(count, 0, dtype=torch.int64, device="cpu")
        return nothing, torch.zeros(count, dtype=torch.float64, device="cpu")
    sources = _sources(graph)
    y = emissions[:, graph.classes]
    alpha = torch.full((states + 1, k), _LOG_0, dtype=torch.float64, device="cpu")
    alpha[:-1, 0] = torch.where(graph.initial, y[0], _LOG_0)
    came_from = []
    for y_t in y[1:]:
        best, which = _largest(alpha[sources].flatten(1), k)
        alpha[:-1] = best + y_t[:, None]
        came_from.append(which)
    totals, which = _largest(alpha[graph.final].flatten()[None], k)
    found = totals[0] > _LOG_0
    totals, which = totals[0, found], which[0, found]
    state, rank = graph.final[which // k], which % k
    path = torch.empty(totals.shape[0], frames, dtype=torch.int64, device="cpu")
    path[:, -1] = state
    for t in range(frames - 2, -1, -1):
        which = came_from[t][state, rank]
        state, rank = sources[state, which // k], which % k
        path[:, t] = state
    return path, totals


def posteriors(emissions: Tensor, graph: Graph) -> tuple[Tensor, float]:
    """Compute the occupancy of the states: see `ctckit.backends.Backend.graph_posteriors`."""
    frames, states = emissions.shape[0], graph.classes.shape[0]
    alphas, log_likelihood = _forward(emissions, graph)
    if frames == 0 or log_likelihood == _LOG_0:
        return torch.zeros(frames, states, dtype=torch.float64, device="cpu"), log_likelihood
    targets = _targets(graph)
    y = emissions[:, graph.classes]
    beta = torch.full((states + 1,), _LOG_0, dtype=torch.float64, device="cpu")
    beta[graph.final] = 0
    occupancy = torch.empty(frames, states, dtype=torch.float64, device="cpu")
    for t in range(frames - 1, -1, -1):
        # The sum over the states is the likelihood, in each frame the same but for rounding, which so cancels.
        occupancy[t] = (alphas[t, :-1] + beta[:-1]).softmax(0)
        beta[:-1] += y[t]
        beta[:-1] = beta[targets].logsumexp(1)
    return occupancy, log_likelihood


def sample(emissions: Tensor, graph: Graph, uniforms: Tensor) -> tuple[Tensor, float]:
    """Draw paths by their probability: see `ctckit.backends.Backend.sample_graph_paths`."""
    alphas, log_likelihood = _forward(emissions, graph)
    path = torch.full(uniforms.shape, -1, device="cpu")
    if log_likelihood == _LOG_0 or path.shape[1] == 0:
        return path, log_likelihood
    sources = _sources(graph)
    rows = graph.final.expand(path.shape[0], -1)
    for t in range(path.shape[1] - 1, -1, -1):
        path[:, t] = rows.gather(1, _draw(alphas[t][rows], uniforms[:, t])[:, None])[:, 0]
        rows = sources[path[:, t]]
    return path, log_likelihood


def _forward(emissions: Tensor, graph: Graph) -> tuple[Tensor, float]:
    """Give alpha, (T, K + 1) with nothing in the last column, and the log-likelihood."""
    frames, states = emissions.shape[0], graph.classes.shape[0]
    alphas = torch.full((frames, states + 1), _LOG_0, dtype=torch.float64, device="cpu")
    if frames == 0:
        return alphas, 0.0 if graph.matches_nothing else _LOG_0
    sources = _sources(graph)
    y = emissions[:, graph.classes]
    alphas[0, :-1] = torch.where(graph.initial, y[0], _LOG_0)
    for t in range(1, frames):
        alphas[t, :-1] = alphas[t - 1][sources].logsumexp(1) + y[t]
    return alphas, alphas[-1, graph.final].logsumexp(0).item()


def _draw(log_weights: Tensor, uniforms: Tensor) -> Tensor:
    """Per row (n, A): the index that a number from 0 to 1 falls on, where each has room in proportion to its weight."""
    weights = (log_weights - log_weights.amax(1, keepdim=True)).exp()
    sums = weights.cumsum(1)
    drawn = (sums <= uniforms[:, None] * sums[:, -1:]).sum(1)
    last = weights.shape[1] - 1 - (weights.flip(1) > 0).int().argmax(1)  # a product may be rounded up to the whole sum
    return torch.minimum(drawn, last)


def _largest(terms: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Per row: the k largest of at least k terms, in order, and where they were; equal ones in the order they had."""
    values, places = terms.sort(dim=1, descending=True, stable=True)
    return values[:, :k], places[:, :k]


def _sources(graph: Graph) -> Tensor:
    """Give (K, A) the states that each is entered from, filled up with K: no state at all."""
    return _table(graph.sources, graph.offsets)


def _targets(graph: Graph) -> Tensor:
    """Give (K, B) the states that each leads to, filled up with K."""
    states = graph.classes.shape[0]
    into = torch.arange(states, device="cpu").repeat_interleave(graph.offsets.diff())
    order = graph.sources.argsort(stable=True)
    counts = torch.bincount(graph.sources, minlength=states)
    return _table(into[order], torch.nn.functional.pad(counts.cumsum(0), (1, 0)))


def _table(values: Tensor, offsets: Tensor) -> Tensor:
    counts = offsets.diff()
    states = counts.shape[0]
    table = torch.full((states, int(counts.max())), states, device="cpu")
    table[torch.arange(table.shape[1], device="cpu") < counts[:, None]] = values
    return table
