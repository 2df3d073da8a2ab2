"""The GPU backend: kernels in Triton, compiled on first use, for NVIDIA and AMD.

A call launches these kernels of `rows`, `forward_backward` and `occupancy`, in this order::

    prepare        per item      checks lengths and labels on the device and copies them: no access is out of bounds
    sum_rows       per frame     largest class, sum of the others' exponentials (log-probabilities: `top_of_rows`)
    walk_chunks    per item      forward-backward, both directions at once; keeps the states of every 8th frame
    finish         per item      the loss
    occupy         per 8 frames  forward times backward, summed per class as integers
    write_rows     per frame     the gradient

The host never syncs with the device: grids and memory follow from shapes alone. So a CUDA graph can capture the calls
and replay them with other lengths and targets. All sums are added in a fixed order or as integers: results are the same
bits in every run and in every batch.

CPU tensors are accepted only in Triton's interpreter (``TRITON_INTERPRET=1`` before the first import), for tests.
"""

from __future__ import annotations

import contextlib
from functools import cache
from typing import Any, Final

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.runtime.interpreter import InterpretedFunction

from ctckit import reference
from ctckit.backends import LossOptions
from ctckit.backends.triton import forward_backward as forward_backward_kernels
from ctckit.backends.triton import occupancy as occupancy_kernels
from ctckit.backends.triton import rows as row_kernels
from ctckit.backends.triton.scratch import Sizes, allocate
from ctckit.lattice import Lattice
from ctckit.reference import reduce

if tuple(map(int, triton.__version__.split(".")[:2])) < (3, 4):
    raise ImportError(f"the GPU kernels need Triton 3.4 (torch 2.8) or later; this is {triton.__version__}")

empty_like = torch.empty_like

FRAMES_PER_BLOCK: Final = 8  # states are kept once per block
LABELS_PER_STEP: Final = 256  # of a loop over an item's labels
FRAMES_PER_STEP: Final = 256  # of a loop over an item's frames
ELEMENTS_PER_TILE: Final = 4096  # of a tile of frames × classes
INTERPRETED: Final = isinstance(row_kernels.prepare, InterpretedFunction)  # on the CPU, for tests
BYTES_PER_SEGMENT: Final = 256 << 20  # of class occupancy at a time: longer inputs take several rounds


def loss(emissions: Tensor, lattice: Lattice, options: LossOptions, gradient: Tensor | None) -> Tensor:
    """See `ctckit.backends.Backend.loss`."""
    with _on(emissions), torch.no_grad():
        losses = emissions.new_empty(0, dtype=torch.float64)
        if emissions.shape[1]:
            run = _Run(emissions, lattice, options.logits, both=gradient is not None)
            losses = run.scratch.losses
            lattice = lattice._replace(target_lengths=run.target_lengths)
            if gradient is not None:
                mode = row_kernels.GRADIENT_OF_LOGITS if options.logits else row_kernels.GRADIENT_OF_LOG_PROBS
                run.write(gradient, mode, mean=options.mean_gradient)
        result = reduce(losses, lattice, options.reduction, options.zero_infinity)
        return result.to(torch.float64 if emissions.dtype == torch.float64 else torch.float32)


def posteriors(emissions: Tensor, lattice: Lattice, *, logits: bool, per_state: bool) -> Tensor:
    """See `ctckit.backends.Backend.posteriors`."""
    frames, items, classes = emissions.shape
    with _on(emissions), torch.no_grad():
        if not per_state:
            out = torch.empty(frames, items, classes, dtype=emissions.dtype, device=emissions.device)
            if items:
                _Run(emissions, lattice, logits, both=True).write(out, row_kernels.OCCUPANCY, mean=False)
            return out
        run = _Run(emissions, lattice, logits, both=True) if items else None
        real = _real(emissions.dtype)
        states = torch.zeros(frames, items, 2 * lattice.max_target + 1, dtype=real, device=emissions.device)
        if run is not None:
            totals = run.occupy(states).t().unsqueeze(2)
            states = torch.where(totals > 0, states / totals.clamp(min=1).to(real), 0.0)
            statuses = run.scratch.statuses.unsqueeze(1)
            unknown = (statuses == row_kernels.NAN.value) | (statuses == row_kernels.INVALID.value)
            within = torch.arange(frames, device=emissions.device).view(-1, 1, 1) < run.input_lengths.unsqueeze(1)
            states = torch.where(unknown & within, torch.nan, states)
        return states.to(emissions.dtype)


def path_occupancy(emissions: Tensor, lattice: Lattice, states: Tensor, *, logits: bool) -> Tensor:
    """See `ctckit.backends.Backend.path_occupancy`. Computes the whole table of states first."""
    return reference.at_states(posteriors(emissions, lattice, logits=logits, per_state=True), states)


def scale_(gradient: Tensor, scale: Tensor) -> Tensor:
    """See `ctckit.backends.Backend.scale_`. The kernel compares the scale with 1, so there is no device sync."""
    frames, items, classes = gradient.shape
    scale = scale.resolve_neg()
    if gradient.numel():
        columns = min(triton.next_power_of_2(classes), 1024)
        grid = (triton.cdiv(frames, ELEMENTS_PER_TILE // columns) * items * triton.cdiv(classes, columns),)
        with _on(gradient):
            row_kernels.scale_rows[grid](
                gradient,
                *gradient.stride(),
                scale,
                scale.stride(0) if scale.ndim else 0,
                items,
                frames,
                classes,
                ROWS=ELEMENTS_PER_TILE // columns,
                COLUMNS=columns,
                **_launch(8),
            )
    return gradient


class _Run:
    """One call: the constructor runs forward-backward; `write` and `occupy` then write results."""

    def __init__(self, emissions: Tensor, lattice: Lattice, logits: bool, *, both: bool) -> None:
        self.x = emissions.resolve_neg()  # the kernels read memory and ignore torch's negative bit
        self.T, self.N, self.C = emissions.shape
        self.M = lattice.labels.numel()
        self.lattice = lattice.contiguous()
        self.real = tl.float64 if emissions.dtype == torch.float64 else tl.float32
        self.chunk = _chunk()
        self.chained = lattice.max_target >= self.chunk
        sizes = Sizes(
            self.T,
            self.N,
            self.C,
            self.M,
            self.chunk,
            FRAMES_PER_BLOCK,
            self.chained,
            both,
            real=_real(emissions.dtype),
        )
        self.by_class, self.slots = sizes.by_class, sizes.slots
        self.scratch = allocate(sizes, emissions.device)
        self._recurse(logits, 2 if both else 1)

    @property
    def input_lengths(self) -> Tensor:
        """(N,) int64: the frames of each item, from the kernels' copy."""
        return self.scratch.items.select(1, 0)

    @property
    def target_lengths(self) -> Tensor:
        """(N,) int64: the labels of each item, from the kernels' copy; 0 for an invalid item."""
        return self.scratch.items.select(1, 1)

    def _recurse(self, logits: bool, directions: int) -> None:
        T, N, C, M, to = self.T, self.N, self.C, self.M, self.scratch
        labels, input_lengths, target_lengths, max_target, blank = self.lattice
        concatenated = self.lattice.concatenated
        row_kernels.prepare[(N,)](
            labels,
            input_lengths,
            target_lengths.cumsum(0) if concatenated else target_lengths,
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
            BY_CLASS=self.by_class,
            CHUNK=self.chunk,
            LABELS_PER_STEP=LABELS_PER_STEP,
            **_launch(2),
        )
        if T and logits:
            rows, columns = _tile(C, self.x.dtype)
            row_kernels.sum_rows[(triton.cdiv(T, rows) * N,)](
                self.x,
                *self.x.stride(),
                to.statuses,
                to.items,
                to.fields,
                to.top_classes,
                N,
                T,
                C,
                blank * self.x.stride(2),  # multiplied in Python, where integers are not limited to 32 bits
                REAL=self.real,
                ROWS=rows,
                COLUMNS=columns,
                **_launch(8),
            )
        elif T:
            row_kernels.top_of_rows[(triton.cdiv(T, 16) * N,)](
                self.x,
                *self.x.stride(),
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
                **_launch(4),
            )
        forward_backward_kernels.walk_chunks[((M // self.chunk + N) * directions,)](
            self.x,
            *self.x.stride(),
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
            DIRECTIONS=directions,
            CHAINED=self.chained,
            POLLS=_polls(),
            **_launch(1),
        )
        forward_backward_kernels.finish[(N,)](
            to.statuses,
            to.items,
            to.fields,
            to.end_m,
            to.end_e,
            to.losses,
            T,
            LOGITS=logits,
            FRAMES_PER_STEP=FRAMES_PER_STEP,
            **_launch(2),
        )

    def write(self, out: Tensor, mode: tl.constexpr, *, mean: bool) -> None:
        """Write the gradient or the class occupancy, a segment of frames at a time."""
        T, N, C, M, scratch, device = self.T, self.N, self.C, self.M, self.scratch, self.x.device
        if T == 0:
            return
        segment = min(triton.cdiv(T, FRAMES_PER_BLOCK) * FRAMES_PER_BLOCK, self._frames_per_segment())
        occupancy = torch.zeros(segment, self.slots, dtype=torch.int64, device=device)
        totals = torch.empty(N, T, dtype=torch.int64, device=device)
        rows, columns = _tile(C, self.x.dtype)
        for begin in range(0, T, segment):
            if begin:
                occupancy.zero_()
            end = min(begin + segment, T)
            self._occupy(begin, end, occupancy, totals, None)
            row_kernels.write_rows[(triton.cdiv(end - begin, rows) * N * triton.cdiv(C, columns),)](
                self.x,
                *self.x.stride(),
                out,
                *out.stride(),
                scratch.statuses,
                scratch.items,
                scratch.fields,
                scratch.top_classes,
                scratch.slot_of_class,
                occupancy,
                totals,
                begin,
                end,
                N,
                T,
                C,
                M,
                self.lattice.blank,
                MODE=mode,
                MEAN=mean,
                BY_CLASS=self.by_class,
                REAL=self.real,
                ROWS=rows,
                COLUMNS=columns,
                **_launch(8),
            )

    def occupy(self, states: Tensor) -> Tensor:
        """Write the occupancy of states to `states`, not normalised; return the sums, (N, T), 0 without a path."""
        # The kernel also adds up sums per class; they are discarded here.
        totals = torch.zeros(self.N, self.T, dtype=torch.int64, device=self.x.device)
        segment = self._frames_per_segment()
        for begin in range(0, self.T, segment):
            end = min(begin + segment, self.T)
            occupancy = torch.zeros(
                triton.cdiv(end - begin, FRAMES_PER_BLOCK) * FRAMES_PER_BLOCK,
                self.slots,
                dtype=torch.int64,
                device=self.x.device,
            )
            self._occupy(begin, end, occupancy, totals, states)
        return totals

    def _frames_per_segment(self) -> int:
        """Frames per round: limited by `BYTES_PER_SEGMENT` and by the grid's second dimension (65,535 blocks)."""
        return FRAMES_PER_BLOCK * max(1, min(BYTES_PER_SEGMENT // (8 * self.slots * FRAMES_PER_BLOCK), 65_535))

    def _occupy(self, begin: int, end: int, occupancy: Tensor, totals: Tensor, states: Tensor | None) -> None:
        lattice, scratch = self.lattice, self.scratch
        occupancy_kernels.occupy[(self.N, triton.cdiv(end - begin, FRAMES_PER_BLOCK))](
            self.x,
            *self.x.stride(),
            scratch.labels,
            scratch.statuses,
            scratch.items,
            scratch.fields,
            scratch.kept_m,
            scratch.kept_e,
            scratch.end_m,
            scratch.end_e,
            scratch.slot_of_class,
            occupancy,
            totals,
            totals if states is None else states,
            begin // FRAMES_PER_BLOCK,
            self.T,
            self.C,
            self.M,
            self.N,
            lattice.blank,
            0 if states is None else states.shape[2],
            REAL=self.real,
            CHUNK=self.chunk,
            FRAMES_PER_BLOCK=FRAMES_PER_BLOCK,
            BY_CLASS=self.by_class,
            STATES=states is not None,
            **_launch(1),
        )


def _real(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def _launch(warps: int) -> dict[str, Any]:
    """Options of a launch. Fused multiply-add is set explicitly, because Triton's default changes in 3.10."""
    return {"num_warps": warps, "enable_fp_fusion": True}


def _tile(classes: int, dtype: torch.dtype) -> tuple[int, int]:
    """Rows and columns of a tile of frames × classes."""
    # A float64 tile of full size would spill registers.
    elements = ELEMENTS_PER_TILE // 2 if dtype == torch.float64 else ELEMENTS_PER_TILE
    columns = max(16, min(triton.next_power_of_2(classes), 1024))
    return min(elements // columns, 64), columns


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
    """Make the tensor's device current for the launches."""
    if tensor.device.type == "cuda":
        return torch.cuda.device(tensor.device)
    if not INTERPRETED:
        raise ValueError(
            f"the backend 'triton' is forced, but the tensors are on {tensor.device}, where only Triton's interpreter "
            f"runs: set TRITON_INTERPRET=1 before Python starts, or move the tensors to a GPU"
        )
    return contextlib.nullcontext()
