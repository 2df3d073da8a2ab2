"""The C++ core on graphs: `ctckit.reference.graphs`'s functions, for `ctckit.backends.cpu`."""

from __future__ import annotations

import torch
from torch import Tensor

from ctckit import _core
from ctckit.lattice.pattern import Graph


def best_graph_paths(emissions: Tensor, graph: Graph, k: int) -> tuple[Tensor, Tensor]:
    """See `ctckit.backends.Backend.best_graph_paths`."""
    frames, columns = emissions.shape
    if frames == 0:
        count = int(graph.matches_nothing)
        nothing = torch.empty(count, 0, dtype=torch.int64, device="cpu")
        return nothing, torch.zeros(count, dtype=torch.float64, device="cpu")
    arrays = _arrays(graph)
    emissions = emissions.contiguous()
    paths = torch.empty(k, frames, dtype=torch.int64, device="cpu")
    totals = torch.empty(k, dtype=torch.float64, device="cpu")
    found = _core.best_graph_paths(
        emissions.data_ptr(),
        frames,
        columns,
        _addresses(arrays),
        graph.classes.shape[0],
        graph.final.shape[0],
        k,
        paths.data_ptr(),
        totals.data_ptr(),
    )
    return paths[:found], totals[:found]


def sample_graph_paths(emissions: Tensor, graph: Graph, uniforms: Tensor) -> tuple[Tensor, float]:
    """See `ctckit.backends.Backend.sample_graph_paths`."""
    frames, columns = emissions.shape
    paths = torch.full(uniforms.shape, -1, device="cpu")
    if frames == 0:
        return paths, 0.0 if graph.matches_nothing else -torch.inf
    arrays = _arrays(graph)
    emissions, uniforms = emissions.contiguous(), uniforms.contiguous()
    log_likelihood = _core.sample_graph_paths(
        emissions.data_ptr(),
        frames,
        columns,
        _addresses(arrays),
        graph.classes.shape[0],
        graph.final.shape[0],
        uniforms.data_ptr(),
        paths.shape[0],
        paths.data_ptr(),
    )
    return paths, log_likelihood


def graph_posteriors(emissions: Tensor, graph: Graph) -> tuple[Tensor, float]:
    """See `ctckit.backends.Backend.graph_posteriors`."""
    frames, columns = emissions.shape
    occupancy = torch.empty(frames, graph.classes.shape[0], dtype=torch.float64, device="cpu")
    if frames == 0:
        return occupancy, 0.0 if graph.matches_nothing else -torch.inf
    arrays = _arrays(graph)
    emissions = emissions.contiguous()
    log_likelihood = _core.graph_posteriors(
        emissions.data_ptr(),
        frames,
        columns,
        _addresses(arrays),
        graph.classes.shape[0],
        graph.final.shape[0],
        occupancy.data_ptr(),
    )
    return occupancy, log_likelihood


def _arrays(graph: Graph) -> tuple[Tensor, ...]:
    """Give the graph's arrays, without gaps; they must outlive the call."""
    return tuple(a.contiguous() for a in (graph.classes, graph.sources, graph.offsets, graph.initial, graph.final))


def _addresses(arrays: tuple[Tensor, ...]) -> tuple[int, int, int, int, int]:
    classes, sources, offsets, initial, final = arrays
    return classes.data_ptr(), sources.data_ptr(), offsets.data_ptr(), initial.data_ptr(), final.data_ptr()
