"""The GPU backend: kernels in Triton, compiled on first use, for NVIDIA and AMD.

A call launches these kernels of `rows`, `sums`, `forward_backward`, `occupancy` and `gradient`, in this order::

    prepare        per item      checks lengths and labels on the device and copies them: no access is out of bounds
    sum_rows       per frame     largest class, sum of the others' exponentials (log-probabilities: `top_of_rows`)
    walk_chunks    per item      forward-backward, both directions at once; keeps the states of every 8th frame
    finish         per item      the loss
    add_losses     once          their sum, or their mean
    occupy         per 8 frames  forward times backward, summed per class as integers
    write_rows     per frame     the gradient (few classes: `write_by_class`)

`launch` keeps the host's part of a launch short. The host never syncs with the device: grids and memory follow from
shapes alone. So a CUDA graph can capture the calls and replay them with other lengths and targets. All sums are added
in a fixed order or as integers: results are the same bits in every run and in every batch.

CPU tensors are accepted only in Triton's interpreter (``TRITON_INTERPRET=1`` before the first import), for tests.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import cache
from typing import Any, Final

import torch
import triton
import triton.language as tl
from torch import Tensor

from ctckit import reference
from ctckit.backends import LossOptions
from ctckit.backends.triton import forward_backward as forward_backward_kernels
from ctckit.backends.triton import gradient as gradient_kernels
from ctckit.backends.triton import occupancy as occupancy_kernels
from ctckit.backends.triton import rows as row_kernels
from ctckit.backends.triton import sums as sum_kernels
from ctckit.backends.triton import tiles
from ctckit.backends.triton.launch import INTERPRETED, Address, Launches, cdiv, multiprocessors, pointer, traits
from ctckit.backends.triton.scratch import Scratch, Sizes
from ctckit.lattice import Lattice
from ctckit.reference import reduce

if tuple(map(int, triton.__version__.split(".")[:2])) < (3, 4):
    raise ImportError(f"the GPU kernels need Triton 3.4 (torch 2.8) or later; this is {triton.__version__}")

empty_like = torch.empty_like

FRAMES_PER_BLOCK: Final = 8  # states are kept once per block
LABELS_PER_STEP: Final = 256  # of a loop over an item's labels
FRAMES_PER_STEP: Final = 256  # of a loop over an item's frames
LOSSES_PER_STEP: Final = 1024  # of a loop over the items' losses
FACTORS_PER_STEP: Final = 256  # of a loop over the items' factors
PROGRAMS_PER_MULTIPROCESSOR: Final = 4  # of `scale_rows`
BYTES_PER_SEGMENT: Final = 256 << 20  # of class occupancy at a time: longer inputs take several rounds


def loss(emissions: Tensor, lattice: Lattice, options: LossOptions, gradient: Tensor | None) -> Tensor:
    """See `ctckit.backends.Backend.loss`."""
    items, dtype = emissions.shape[1], _real(emissions.dtype)
    with _on(emissions):
        if items == 0:
            return reduce(emissions.new_empty(0, dtype=dtype), lattice, options.reduction, options.zero_infinity)
        result = torch.empty(items if options.reduction == "none" else (), dtype=dtype, device=emissions.device)
        run = _Run(emissions, lattice, options.logits, both=gradient is not None)
        run.finish(result, options.reduction, zero_infinity=options.zero_infinity)
        if gradient is not None:
            mode = row_kernels.GRADIENT_OF_LOGITS if options.logits else row_kernels.GRADIENT_OF_LOG_PROBS
            run.write(gradient, mode, mean=options.mean_gradient)
        return result


def posteriors(emissions: Tensor, lattice: Lattice, *, logits: bool, per_state: bool) -> Tensor:
    """See `ctckit.backends.Backend.posteriors`."""
    frames, items, classes = emissions.shape
    real = _real(emissions.dtype)
    shape = (frames, items, 2 * lattice.max_target + 1) if per_state else (frames, items, classes)
    make = torch.zeros if per_state else torch.empty
    out = make(shape, dtype=real if per_state else emissions.dtype, device=emissions.device)
    if items == 0:
        return out.to(emissions.dtype)
    with _on(emissions):
        run = _Run(emissions, lattice, logits, both=True)
        run.finish(None, "none", zero_infinity=False)
        if not per_state:
            run.write(out, row_kernels.OCCUPANCY, mean=False)
            return out
        run.occupy(out)
        totals = run.scratch.tensor("totals").view(items, frames).t().unsqueeze(2)
        states = torch.where(totals > 0, out / totals.clamp(min=1).to(real), 0.0)
        statuses = run.scratch.tensor("statuses").unsqueeze(1)
        unknown = (statuses == row_kernels.NAN.value) | (statuses == row_kernels.INVALID.value)
        input_lengths = run.scratch.tensor("items").view(items, -1).narrow(1, 0, 1)
        within = torch.arange(frames, device=emissions.device).view(-1, 1, 1) < input_lengths
        return torch.where(unknown & within, torch.nan, states).to(emissions.dtype)


def path_occupancy(emissions: Tensor, lattice: Lattice, states: Tensor, *, logits: bool) -> Tensor:
    """See `ctckit.backends.Backend.path_occupancy`. Computes the whole table of states first."""
    return reference.at_states(posteriors(emissions, lattice, logits=logits, per_state=True), states)


def scale_(gradient: Tensor, scale: Tensor) -> Tensor:
    """See `ctckit.backends.Backend.scale_`. The kernel compares the scale with 1, so there is no device sync."""
    frames, items, classes = gradient.shape
    scale = scale.resolve_neg()
    if gradient.numel():
        align, stride = tiles.alignment(gradient), scale.stride(0) if scale.ndim else 0
        with _on(gradient):
            tile = tiles.of_scale(classes, gradient.element_size(), _chunk())
            programs = cdiv(frames, tile.rows) * items * cdiv(classes, tile.columns)
            x, factor = pointer(gradient), pointer(scale)
            launch = Launches((traits(x, *gradient.stride()), traits(factor)), max(frames, items, classes, stride))
            launch(
                gradient_kernels.scale_rows,
                (min(programs, PROGRAMS_PER_MULTIPROCESSOR * multiprocessors()), 1, 1),
                x,
                *tiles.strides(gradient, align),
                factor,
                stride,
                items,
                frames,
                classes // align,
                **tile.constants(align),
                ITEMS=FACTORS_PER_STEP,
                warps=tile.warps,
            )
    return gradient


class _Run:
    """One call: the constructor runs forward-backward; `finish`, `write` and `occupy` then write results."""

    def __init__(self, emissions: Tensor, lattice: Lattice, logits: bool, *, both: bool) -> None:
        self.T, self.N, self.C = emissions.shape
        self.M = lattice.labels.numel()
        self.lattice = lattice.contiguous()
        self.logits = logits
        self.directions = 2 if both else 1
        self.real = tl.float64 if emissions.dtype == torch.float64 else tl.float32
        self.chunk = _chunk()
        self.chained = lattice.max_target >= self.chunk
        real, block = _real(emissions.dtype), FRAMES_PER_BLOCK
        sizes = Sizes(self.T, self.N, self.C, self.M, self.chunk, block, self.chained, both, real)
        self.scratch = Scratch(sizes, BYTES_PER_SEGMENT, emissions.device)
        # The kernels read memory, and ignore torch's negative bit. (The tensor is kept for as long as its address.)
        self.emissions = emissions.resolve_neg()
        self.strides = self.emissions.stride()
        at = pointer(self.emissions)
        self.x = at, *self.strides
        labels, input_lengths, target_lengths = self.lattice[:3]
        self.lengths = target_lengths.cumsum(0) if self.lattice.concatenated else target_lengths
        callers = [pointer(tensor) for tensor in (labels, input_lengths, self.lengths)]
        largest = max(self.T, self.N, self.C, self.M, self.lattice.blank * self.strides[2])
        self.launch = Launches((traits(at, *self.strides), *map(traits, callers)), largest)
        self._recurse(callers)

    def _recurse(self, callers: list[Address | Tensor]) -> None:
        T, N, C, M, to = self.T, self.N, self.C, self.M, self.scratch.parts
        labels, input_lengths, target_lengths = callers
        max_target, blank, concatenated = self.lattice.max_target, self.lattice.blank, self.lattice.concatenated
        self.launch(
            row_kernels.prepare,
            (N, 1, 1),
            labels,
            input_lengths,
            target_lengths,
            to.statuses,
            to.items,
            to.labels,
            to.slot_of_class,
            to.item_of_chunk,
            N,
            T,
            C,
            M,
            min(M, max_target) if concatenated else max_target,
            blank,
            CONCATENATED=concatenated,
            BY_CLASS=self.scratch.by_class,
            CHUNK=self.chunk,
            LABELS_PER_STEP=LABELS_PER_STEP,
            warps=2,
        )
        if T and self.logits:
            tile = tiles.of_sums(C, self.emissions.element_size(), self.chunk)
            align = tiles.alignment(self.emissions)
            self.launch(
                sum_kernels.sum_rows,
                (cdiv(T, tile.rows) * N, 1, 1),
                self.x[0],
                *tiles.strides(self.emissions, align),
                to.statuses,
                to.items,
                to.fields,
                to.top_classes,
                N,
                T,
                C // align,
                blank * self.strides[2],  # multiplied in Python, where integers are not limited to 32 bits
                REAL=self.real,
                **tile.constants(align),
                TILES=tile.tiles,
                warps=tile.warps,
            )
        elif T:
            self.launch(
                sum_kernels.top_of_rows,
                (cdiv(T, 16) * N, 1, 1),
                *self.x,
                to.labels,
                to.statuses,
                to.items,
                to.fields,
                N,
                T,
                blank,
                REAL=self.real,
                ROWS=16,
                COLUMNS=32,
                warps=4,
            )
        self.launch(
            forward_backward_kernels.walk_chunks,
            ((M // self.chunk + N) * self.directions, 1, 1),
            *self.x,
            to.labels,
            to.items,
            to.fields,
            to.item_of_chunk,
            to.task_counter,
            to.words,
            to.kept_m,
            to.kept_e,
            to.end_m,
            to.end_e,
            T,
            M,
            N,
            REAL=self.real,
            CHUNK=self.chunk,
            FRAMES_PER_BLOCK=FRAMES_PER_BLOCK,
            DIRECTIONS=self.directions,
            CHAINED=self.chained,
            POLLS=_polls(),
            warps=1,
        )

    def finish(self, result: Tensor | None, reduction: str, *, zero_infinity: bool) -> None:
        """Complete each item's status, and write the losses, reduced, to `result`."""
        N, to, mean = self.N, self.scratch.parts, reduction == "mean"
        target = None if result is None else pointer(result)
        each = target is not None and reduction == "none"
        self.launch(
            forward_backward_kernels.finish,
            (N, 1, 1),
            to.statuses,
            to.items,
            to.fields,
            to.end_m,
            to.end_e,
            target if each else to.losses,
            self.T,
            int(mean),
            int(zero_infinity),
            LOGITS=self.logits,
            FRAMES_PER_STEP=FRAMES_PER_STEP,
            warps=2,
            beside=each,
        )
        if target is not None and not each:
            self.launch(
                forward_backward_kernels.add_losses,
                (1, 1, 1),
                to.losses,
                target,
                N,
                N if mean else 1,
                LOSSES_PER_STEP=LOSSES_PER_STEP,
                warps=4,
            )

    def write(self, out: Tensor, mode: tl.constexpr, *, mean: bool) -> None:
        """Write the gradient or the class occupancy, a segment of frames at a time."""
        T, N, C, M, scratch = self.T, self.N, self.C, self.M, self.scratch.parts
        by_class, align = self.scratch.by_class, tiles.alignment(self.emissions, out)
        tile = (tiles.of_classes if by_class else tiles.of_rows)(C, out.element_size(), self.chunk)
        to = pointer(out)
        targets = () if by_class else (scratch.labels, scratch.slot_of_class, M, self.lattice.blank)
        steps = {} if by_class else {"TILES": tile.tiles, "LABELS": tiles.labels_per_step(tile, self.chunk)}
        for begin, end in self._segments():
            self._occupy(begin, end, None)
            self.launch(
                gradient_kernels.write_by_class if by_class else gradient_kernels.write_rows,
                (cdiv(end - begin, tile.rows) * N * (cdiv(C, tile.columns) if by_class else 1), 1, 1),
                self.x[0],
                *tiles.strides(self.emissions, align),
                to,
                *tiles.strides(out, align),
                scratch.statuses,
                scratch.items,
                scratch.fields,
                scratch.top_classes,
                scratch.occupancy,
                scratch.totals,
                begin,
                end,
                N,
                T,
                C // align,
                *targets,
                MODE=mode.value,
                MEAN=mean,
                REAL=self.real,
                **tile.constants(align),
                **steps,
                warps=tile.warps,
                beside=traits(to, *out.stride()),
            )

    def occupy(self, states: Tensor) -> None:
        """Write the occupancy of states to `states`, not normalised; the sums are `totals`, 0 without a path."""
        # The kernel also adds up sums per class; they are not read.
        for begin, end in self._segments():
            self._occupy(begin, end, states)

    def _segments(self) -> Iterator[tuple[int, int]]:
        """Yield the frames of each round, whose class occupancy is zeros."""
        for begin in range(0, self.T, max(1, self.scratch.segment)):
            if begin:
                self.scratch.tensor("occupancy").zero_()
            yield begin, min(begin + self.scratch.segment, self.T)

    def _occupy(self, begin: int, end: int, states: Tensor | None) -> None:
        scratch = self.scratch.parts
        self.launch(
            occupancy_kernels.occupy,
            (self.N, cdiv(end - begin, FRAMES_PER_BLOCK), 1),
            *self.x,
            scratch.labels,
            scratch.statuses,
            scratch.items,
            scratch.fields,
            scratch.kept_m,
            scratch.kept_e,
            scratch.end_m,
            scratch.end_e,
            scratch.slot_of_class,
            scratch.occupancy,
            scratch.totals,
            scratch.totals if states is None else pointer(states),
            begin // FRAMES_PER_BLOCK,
            self.T,
            self.C,
            self.M,
            self.N,
            self.lattice.blank,
            0 if states is None else states.shape[2],
            REAL=self.real,
            CHUNK=self.chunk,
            FRAMES_PER_BLOCK=FRAMES_PER_BLOCK,
            BY_CLASS=self.scratch.by_class,
            STATES=states is not None,
            warps=1,
        )


def _real(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def _polls() -> int:
    """How often a program polls for messages, in all: on a GPU, for about 15 seconds.

    The interpreter runs one program at a time: a message that is missing at the first poll never comes.
    """
    return 2 if INTERPRETED else 1 << 25


@cache
def _chunk() -> int:
    """Lanes of a warp."""
    if INTERPRETED:
        return 32
    return int(triton.runtime.driver.active.get_current_target().warp_size)


def _on(tensor: Tensor) -> Any:
    """Make the tensor's device current. In the interpreter, which computes with torch, turn autograd off."""
    if tensor.is_cuda:
        is_current = tensor.device.index == torch.cuda.current_device()
        return contextlib.nullcontext() if is_current else torch.cuda.device(tensor.device)
    if not INTERPRETED:
        raise ValueError(
            f"the backend 'triton' is forced, but the tensors are on {tensor.device}, where only Triton's interpreter "
            f"runs: set TRITON_INTERPRET=1 before Python starts, or move the tensors to a GPU"
        )
    return torch.no_grad()
