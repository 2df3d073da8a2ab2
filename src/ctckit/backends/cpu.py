"""The C++ core as a backend: what torch knows of a tensor becomes pointers and strides.

Items are spread over `torch.get_num_threads` threads; the result does not depend on how many. ``CTCKIT_SIMD`` names the
instruction set to use (see ``python -m ctckit``) instead of the best that the processor has.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NoReturn, TypeAlias

import torch
from torch import Tensor

from ctckit import _core
from ctckit.backends import LossOptions
from ctckit.backends.searches import (
    Certificate,
    Found,
    GreedyResult,
    Scorers,
    SearchOptions,
    SearchResult,
    Status,
)
from ctckit.lattice import Lattice, tighten, validate
from ctckit.lattice.pattern import Graph
from ctckit.lattice.tensor_kinds import in_memory
from ctckit.reference import BestPath

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import TypeVarTuple, Unpack

    _Own = TypeVarTuple("_Own")

__all__ = [
    "beam_search",
    "best_graph_paths",
    "best_path",
    "empty_like",
    "graph_posteriors",
    "greedy_decode",
    "loss",
    "path_occupancy",
    "posteriors",
    "release_memory",
    "sample_graph_paths",
    "scale_",
    "search_stream",
    "simd_levels",
]

_DTYPES: Final = {torch.float16: 0, torch.bfloat16: 1, torch.float32: 2, torch.float64: 3}
_REDUCTIONS: Final = {"none": 0, "mean": 1, "sum": 2}
_NUMBERS: Final = [torch.empty((), dtype=dtype, device="cpu") for dtype in (torch.float32, torch.float64)]
_NO_MEMORY: Final = 2  # the outcome of a call whose arguments seem to have no memory; 0: done; 1: a bad value
_CHECKPOINT_BYTES: Final = 256 << 20  # the most memory of a level of checkpoints of a best path
_PRUNING: Final = 1  # of a best path: 0 never, 1 where it pays, 2 always
_LARGE: Final = 1 << 22  # bytes from which fresh memory costs more than memory that is kept

_Triple: TypeAlias = tuple[int, ...]
_Targets: TypeAlias = tuple[int, int, int, bool, int, int, int]

simd_levels = _core.simd_levels
release_memory = _core.release_memory
"""Free the memory that is kept for the next call: a large gradient and scratch."""


def loss(emissions: Tensor, lattice: Lattice, options: LossOptions, gradient: Tensor | None) -> Tensor:
    """See `ctckit.backends.Backend.loss`."""
    result = torch.empty_like(_NUMBERS[emissions.dtype == torch.float64])
    if options.reduction == "none":
        result = result.new_empty(emissions.shape[1])
    _run(
        _core.loss,
        emissions,
        "the input",
        lattice,
        _core_options[options],
        result.data_ptr(),
        0 if gradient is None else gradient.data_ptr(),
        (0, 0, 0) if gradient is None else gradient.stride(),
    )
    return result


def scale_(gradient: Tensor, scale: Tensor) -> Tensor:
    """See `ctckit.backends.Backend.scale_`."""
    if scale.ndim == 0 and not scale.is_neg():  # Tensor.item takes longer than all else that a backward does here
        one = _core.is_one(scale.data_ptr(), scale.dtype == torch.float64)
    else:
        one = bool((scale == 1).all())
    return gradient if one else gradient.mul_(scale)


def posteriors(emissions: Tensor, lattice: Lattice, *, logits: bool, per_state: bool) -> Tensor:
    """See `ctckit.backends.Backend.posteriors`."""
    lattice = tighten(lattice)
    frames, items, classes = emissions.shape
    width = 2 * lattice.max_target + 1 if per_state else classes
    out = torch.empty(frames, items, width, dtype=emissions.dtype, device="cpu")
    if per_state:
        _run(_core.state_occupancy, emissions, "the input", lattice, logits, width, out.data_ptr())
    else:
        _run(_core.class_occupancy, emissions, "the input", lattice, logits, out.data_ptr())
    return out


def path_occupancy(emissions: Tensor, lattice: Lattice, states: Tensor, *, logits: bool) -> Tensor:
    """See `ctckit.backends.Backend.path_occupancy`."""
    states = in_memory(states.long().resolve_neg().contiguous(), "states")
    out = torch.empty(states.shape, dtype=emissions.dtype, device="cpu")
    _run(_core.path_occupancy, emissions, "the input", lattice, logits, states.data_ptr(), out.data_ptr())
    return out


def best_path(log_probs: Tensor, lattice: Lattice) -> BestPath:
    """See `ctckit.backends.Backend.best_path`."""
    frames, items, _ = log_probs.shape
    classes = torch.empty(items, frames, dtype=torch.int64, device="cpu")
    states = torch.empty_like(classes)
    scores = torch.empty(items, frames, dtype=log_probs.dtype, device="cpu")
    nll = torch.empty(items, dtype=torch.float64, device="cpu")
    results = classes.data_ptr(), states.data_ptr(), scores.data_ptr(), nll.data_ptr()
    _run(_core.best_path, log_probs, "log_probs", lattice, *results, _CHECKPOINT_BYTES, _PRUNING)
    return BestPath(classes, states, scores, -nll)


def best_graph_paths(emissions: Tensor, graph: Graph, k: int) -> tuple[Tensor, Tensor]:
    """See `ctckit.backends.Backend.best_graph_paths`."""
    frames, columns = emissions.shape
    if frames == 0:
        count = int(graph.matches_nothing)
        nothing = torch.empty(count, 0, dtype=torch.int64, device="cpu")
        return nothing, torch.zeros(count, dtype=torch.float64, device="cpu")
    emissions = emissions.contiguous()
    paths = torch.empty(k, frames, dtype=torch.int64, device="cpu")
    totals = torch.empty(k, dtype=torch.float64, device="cpu")
    found = _graph(graph).best_paths(emissions.data_ptr(), frames, columns, k, paths.data_ptr(), totals.data_ptr())
    return paths[:found], totals[:found]


def sample_graph_paths(emissions: Tensor, graph: Graph, uniforms: Tensor) -> tuple[Tensor, float]:
    """See `ctckit.backends.Backend.sample_graph_paths`."""
    frames, columns = emissions.shape
    paths = torch.full(uniforms.shape, -1, device="cpu")
    if frames == 0:
        return paths, 0.0 if graph.matches_nothing else -torch.inf
    emissions, uniforms = emissions.contiguous(), uniforms.contiguous()
    log_likelihood = _graph(graph).sample_paths(
        emissions.data_ptr(), frames, columns, paths.shape[0], uniforms.data_ptr(), paths.data_ptr()
    )
    return paths, log_likelihood


def graph_posteriors(emissions: Tensor, graph: Graph) -> tuple[Tensor, float]:
    """See `ctckit.backends.Backend.graph_posteriors`."""
    frames, columns = emissions.shape
    occupancy = torch.empty(frames, graph.classes.shape[0], dtype=torch.float64, device="cpu")
    if frames == 0:
        return occupancy, 0.0 if graph.matches_nothing else -torch.inf
    emissions = emissions.contiguous()
    log_likelihood = _graph(graph).posteriors(emissions.data_ptr(), frames, columns, occupancy.data_ptr())
    return occupancy, log_likelihood


# ----------------------------------------------------------------------------------------------------------- decoding

_STATUS: Final[tuple[Status, ...]] = ("done", "not_finite", "no_mass")  # by the core's numbers


def greedy_decode(
    emissions: Tensor, input_lengths: Tensor, blank: int, *, logits: bool, rescore: bool
) -> list[GreedyResult]:
    """See `ctckit.backends.Backend.greedy_decode`."""
    x, lengths = _readable(emissions, input_lengths)
    found = _core.greedy_decode(
        _DTYPES[x.dtype], x.data_ptr(), x.shape, x.stride(), lengths.data_ptr(), blank, logits, rescore,
        torch.get_num_threads(),
    )  # fmt: skip
    return [
        GreedyResult(_STATUS[status], frame, tokens, path_score, exact if rescore else None)
        for tokens, path_score, exact, status, frame in found
    ]


def beam_search(
    emissions: Tensor, input_lengths: Tensor, options: SearchOptions, scorers: Scorers
) -> list[SearchResult]:
    """See `ctckit.backends.Backend.beam_search`."""
    x, lengths = _readable(emissions, input_lengths)
    found = _core.beam_search(
        _DTYPES[x.dtype], x.data_ptr(), x.shape, x.stride(), lengths.data_ptr(), _search_options(options, x.shape[2]),
        options.hypotheses, options.rescore, _core_scorers(scorers), torch.get_num_threads(),
    )  # fmt: skip
    results = []
    for item, (beam, rows) in enumerate(found):
        certify = None if scorers else _Certify(beam, x, item, options)
        results.append(_search_result(beam, rows, certify))
    return results


class _Certify:
    """`SearchResult.certify`. It holds the emissions of the batch."""

    def __init__(self, beam: _core.FinalBeam, emissions: Tensor, item: int, options: SearchOptions) -> None:
        self._beam, self._emissions, self._item, self._options = beam, emissions, item, options

    def __call__(self, exact: Sequence[float], tolerance: float) -> Certificate:
        x = self._emissions[:, self._item]
        frames = min(self._beam.frames, x.shape[0])
        is_normalised, log_total, lost, is_proved = self._beam.certify(
            _DTYPES[x.dtype], x.data_ptr(), frames, x.shape[1], x.stride(), self._options.blank, self._options.logits,
            exact, tolerance,
        )  # fmt: skip
        return Certificate(is_normalised, lost if math.isfinite(log_total) else None, is_proved)


class _Stream:
    """See `ctckit.backends.searches.SearchStream`."""

    def __init__(self, classes: int, options: SearchOptions, scorers: Scorers) -> None:
        self._stream = _core.Stream(_search_options(options, classes), _core_scorers(scorers))

    def push(self, emissions: Tensor) -> tuple[Status, int]:
        x = in_memory(emissions.resolve_neg(), "chunk")
        self._stream.push(_DTYPES[x.dtype], x.data_ptr(), x.shape[0], x.stride())
        return _STATUS[self._stream.status], self._stream.frames

    def best(self) -> tuple[int, ...]:
        return self._stream.best()

    def stable(self) -> tuple[int, ...]:
        return self._stream.stable()

    def count_stable(self) -> int:
        return self._stream.count_stable()

    def finish(self, hypotheses: int) -> SearchResult:
        return _search_result(*self._stream.finish(hypotheses), None)

    @property
    def memory(self) -> int:
        return self._stream.bytes


def search_stream(classes: int, options: SearchOptions, scorers: Scorers) -> _Stream:
    """See `ctckit.backends.Backend.search_stream`."""
    return _Stream(classes, options, scorers)


def _search_result(beam: _core.FinalBeam, rows: list[_core.FoundRow], certify: _Certify | None) -> SearchResult:
    hypotheses = [Found(tokens, beam_score, score, tuple(gains)) for tokens, beam_score, score, gains in rows]
    return SearchResult(_STATUS[beam.status], beam.frames, hypotheses, beam.log_beam_mass, certify)


@lru_cache
def _search_options(options: SearchOptions, classes: int) -> _core.SearchOptions:
    return _core.SearchOptions(
        classes,
        options.blank,
        options.width,
        options.logits,
        0.0 if options.beam_threshold is None else math.exp(-options.beam_threshold),
        options.token_threshold or 0.0,
        math.inf if options.blank_threshold is None else options.blank_threshold,
    )


def _core_scorers(scorers: Scorers) -> list[object]:
    """Return the scorers for the core: their twins in C++, where they have one."""
    return [getattr(scorer, "core", scorer) for scorer in scorers]


def _readable(emissions: Tensor, input_lengths: Tensor) -> tuple[Tensor, Tensor]:
    x = in_memory(emissions.resolve_neg(), "log_probs")
    return x, in_memory(input_lengths.resolve_neg().contiguous(), "input_lengths")


def empty_like(emissions: Tensor) -> Tensor:
    """See `ctckit.backends.Backend.empty_like`. Large ones come from memory that the last large one has left."""
    size = emissions.nbytes
    if size < _LARGE:
        return torch.empty_like(emissions)
    memory = torch.from_numpy(_core.buffer(size)).view(emissions.dtype)
    if emissions.is_contiguous():
        return memory.view(emissions.shape)
    layout = torch.empty_like(emissions, device="meta")
    return memory.as_strided(layout.shape, layout.stride())


class _CoreOptions(dict[LossOptions, _core.LossOptions]):
    """The core's options of a loss, made once for each of the few there are."""

    def __missing__(self, options: LossOptions) -> _core.LossOptions:
        logits, reduction, zero_infinity, mean_gradient = options
        made = self[options] = _core.LossOptions(logits, _REDUCTIONS[reduction], zero_infinity, mean_gradient)
        return made


_core_options: Final = _CoreOptions()


def _run(
    function: Callable[[int, int, _Triple, _Triple, _Targets, int, bool, Unpack[_Own]], int],
    emissions: Tensor,
    name: str,
    lattice: Lattice,
    *own: Unpack[_Own],
) -> None:
    """Call a function of the core on a problem. `own` are its own arguments; `name` is that of the emissions."""
    if emissions.is_neg():  # memory holds the negated values (a view of a conjugate's imaginary part)
        emissions = emissions.resolve_neg()
    lattice = lattice.contiguous()
    trusted = False
    while True:
        outcome = function(
            _DTYPES[emissions.dtype],
            emissions.data_ptr(),
            emissions.shape,
            emissions.stride(),
            _targets(lattice),
            torch.get_num_threads(),
            trusted,
            *own,
        )
        if not outcome:
            return
        if outcome != _NO_MEMORY or trusted:
            _complain(lattice, emissions)
        emissions, lattice, trusted = in_memory(emissions, name), lattice.in_memory(), True


def _complain(lattice: Lattice, emissions: Tensor) -> NoReturn:
    """Raise the error for what the core has rejected."""
    validate(lattice, emissions.shape[0], emissions.shape[2])
    raise AssertionError("the core rejected a lattice in which Python finds no fault")


def _targets(lattice: Lattice) -> _Targets:
    """Give a contiguous lattice to the core. The caller keeps it while the core reads it."""
    labels, input_lengths, target_lengths, max_target, blank = lattice
    return (
        labels.data_ptr(),
        labels.numel(),
        max_target,
        labels.ndim == 1,
        input_lengths.data_ptr(),
        target_lengths.data_ptr(),
        blank,
    )


def _graph(graph: Graph) -> _core.Graph:
    """Copy a graph to the core."""
    arrays = [a.contiguous() for a in (graph.classes, graph.sources, graph.offsets, graph.initial, graph.final)]
    classes, sources, offsets, initial, finals = (a.data_ptr() for a in arrays)
    return _core.Graph(graph.classes.shape[0], classes, sources, offsets, initial, graph.final.shape[0], finals)
