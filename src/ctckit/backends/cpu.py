"""The C++ core as a backend: what torch knows of a tensor becomes pointers and strides.

Items are spread over `torch.get_num_threads` threads; the result does not depend on how many. ``CTCKIT_SIMD`` names the
instruction set to use (see ``python -m ctckit``) instead of the best that the processor has.
"""

from __future__ import annotations

from typing import Final, NoReturn

import torch
from torch import Tensor

from ctckit import _core
from ctckit.backends.cpu_graph import best_graph_paths, graph_posteriors, sample_graph_paths
from ctckit.lattice import Lattice, tighten, validate
from ctckit.lattice.tensor_kinds import in_memory
from ctckit.reference import BestPath

__all__ = [
    "best_graph_paths",
    "best_path",
    "empty_like",
    "graph_posteriors",
    "loss",
    "posteriors",
    "release_memory",
    "sample_graph_paths",
    "scale_",
    "simd_levels",
]

_DTYPES: Final = {torch.float16: 0, torch.bfloat16: 1, torch.float32: 2, torch.float64: 3}
_REDUCTIONS: Final = {"none": 0, "mean": 1, "sum": 2}
_NUMBERS: Final = [torch.empty((), dtype=dtype, device="cpu") for dtype in (torch.float32, torch.float64)]
_NOTHING, _GRADIENT, _OCCUPANCY = 0, 1, 2
_NO_MEMORY = 2  # what a call to the core came to, if an argument must be looked at; 0: a result; 1: a bad value
_CHECKPOINT_BYTES: Final = 256 << 20  # what a level of checkpoints of a best path may take
_LARGE: Final = 1 << 22  # bytes from which fresh memory costs more than memory that is kept

simd_levels = _core.simd_levels
release_memory = _core.release_memory
"""Give the memory kept for the next call, of a large gradient and of scratch, back to the system."""


def loss(
    emissions: Tensor,
    lattice: Lattice,
    *,
    logits: bool,
    reduction: str,
    zero_infinity: bool,
    gradient: Tensor | None,
) -> Tensor:
    """See `ctckit.backends.Backend.loss`."""
    dtype = emissions.dtype
    wide = dtype == torch.float64
    result = torch.empty_like(_NUMBERS[wide])
    if reduction == "none":
        result = result.new_empty(emissions.shape[1])
    _run(
        emissions,
        lattice,
        logits=logits,
        result=result,
        wide=wide,
        reduction=reduction,
        zero_infinity=zero_infinity,
        mean_weights=reduction == "mean" and dtype != torch.float16,
        output=_NOTHING if gradient is None else _GRADIENT,
        out=gradient,
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
    _run(
        emissions,
        lattice,
        logits=logits,
        output=_NOTHING if per_state else _OCCUPANCY,
        out=None if per_state else out,
        states=out if per_state else None,
    )
    return out


def path_occupancy(emissions: Tensor, lattice: Lattice, states: Tensor, *, logits: bool) -> Tensor:
    """See `ctckit.backends.Backend.path_occupancy`."""
    states = in_memory(states.long().resolve_neg().contiguous(), "states")
    out = torch.empty(states.shape, dtype=emissions.dtype, device="cpu")
    _run(emissions, lattice, logits=logits, path=(states, out))
    return out


def best_path(log_probs: Tensor, lattice: Lattice) -> BestPath:
    """See `ctckit.backends.Backend.best_path`."""
    log_probs, lattice = log_probs.resolve_neg(), lattice.contiguous()
    frames, items, _ = log_probs.shape
    classes = torch.empty(items, frames, dtype=torch.int64, device="cpu")
    states = torch.empty_like(classes)
    scores = torch.empty(items, frames, dtype=log_probs.dtype, device="cpu")
    nll = torch.empty(items, dtype=torch.float64, device="cpu")

    trusted = False
    while True:
        outcome = _core.best_path(
            _DTYPES[log_probs.dtype],
            log_probs.data_ptr(),
            log_probs.shape,
            log_probs.stride(),
            _targets(lattice),
            classes.data_ptr(),
            states.data_ptr(),
            scores.data_ptr(),
            nll.data_ptr(),
            _CHECKPOINT_BYTES,
            torch.get_num_threads(),
            trusted,
        )
        if not outcome:
            return BestPath(classes, states, scores, -nll)
        if outcome != _NO_MEMORY or trusted:
            _complain(lattice, log_probs)
        log_probs, lattice, trusted = in_memory(log_probs, "log_probs"), lattice.in_memory(), True


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


def _run(
    emissions: Tensor,
    lattice: Lattice,
    *,
    logits: bool,
    result: Tensor | None = None,
    wide: bool = False,
    reduction: str = "none",
    zero_infinity: bool = False,
    mean_weights: bool = False,
    output: int = _NOTHING,
    out: Tensor | None = None,
    states: Tensor | None = None,
    path: tuple[Tensor, Tensor] | None = None,
) -> None:
    if emissions.is_neg():  # memory holds minus what the tensor says (a view of a conjugate's imaginary part)
        emissions = emissions.resolve_neg()
    lattice = lattice.contiguous()
    trusted = False
    while True:
        outcome = _core.loss(
            _DTYPES[emissions.dtype],
            emissions.data_ptr(),
            emissions.shape,
            emissions.stride(),
            _targets(lattice),
            logits,
            _REDUCTIONS[reduction],
            zero_infinity,
            mean_weights,
            0 if result is None else result.data_ptr(),
            wide,
            output,
            0 if out is None else out.data_ptr(),
            (0, 0, 0) if out is None else out.stride(),
            0 if states is None else states.data_ptr(),
            0 if states is None else states.shape[2],
            0 if path is None else path[0].data_ptr(),
            0 if path is None else path[1].data_ptr(),
            torch.get_num_threads(),
            trusted,
        )
        if not outcome:
            return
        if outcome != _NO_MEMORY or trusted:
            _complain(lattice, emissions)
        emissions, lattice, trusted = in_memory(emissions, "the input"), lattice.in_memory(), True


def _complain(lattice: Lattice, emissions: Tensor) -> NoReturn:
    """Raise the error for what the core has rejected."""
    validate(lattice, emissions.shape[0], emissions.shape[2])
    raise AssertionError("the core rejected a lattice in which Python finds no fault")


def _targets(lattice: Lattice) -> tuple[int, int, int, bool, int, int, int]:
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
