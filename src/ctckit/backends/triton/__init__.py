"""The GPU backend: kernels in Triton, compiled on first use, for NVIDIA and AMD.

What happens in a call, one launch each (`rows`, `recursion`, `occupancy`)::

    prepare        per item      lengths and labels judged and copied, on the device: nothing is read out of bounds
    sum_rows       per frame     largest class, sum of the others' exponentials (log-probabilities: `top_of_rows`)
    walk_chunks    per item      the recursion, both directions at once; every 8th frame's states kept
    finish         per item      the loss
    occupy         per 8 frames  forward times backward, added up per class as integers
    write_rows     per frame     the gradient

The host waits for nothing and reads nothing back: grids and memory follow from shapes alone, so the calls can be
captured in a CUDA graph and replayed with other lengths and targets. No result depends on an order of additions that
can vary: results are the same bits in every run and in every batch.

Tensors on the CPU are computed with if Triton's interpreter is on (``TRITON_INTERPRET=1`` before the first import), for
tests.
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
from ctckit.backends.reference import reduce
from ctckit.backends.triton import occupancy as occupancy_kernels
from ctckit.backends.triton import recursion as recursion_kernels
from ctckit.backends.triton import rows as row_kernels
from ctckit.backends.triton.scratch import Sizes, allocate
from ctckit.lattice import Lattice

if tuple(map(int, triton.__version__.split(".")[:2])) < (3, 4):
    raise ImportError(f"the GPU kernels need Triton 3.4 (torch 2.8) or later; this is {triton.__version__}")

empty_like = torch.empty_like

FRAMES: Final = 8  # per block: states are kept once per block
BLOCK: Final = 256  # labels or frames at a time where one program walks them
TILE: Final = 4096  # elements of a tile of rows
INTERPRETED: Final = isinstance(row_kernels.prepare, InterpretedFunction)  # on the CPU, for tests
SEGMENT: Final = 256 << 20  # bytes of class occupancy at a time: longer inputs take several rounds


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
    with _on(emissions), torch.no_grad():
        losses = emissions.new_empty(0, dtype=torch.float64)
        if emissions.shape[1]:
            run = _Run(emissions, lattice, logits, both=gradient is not None)
            losses = run.scratch.losses
            lattice = lattice._replace(target_lengths=run.target_lengths)
            if gradient is not None:
                mode = row_kernels.GRADIENT_OF_LOGITS if logits else row_kernels.GRADIENT_OF_LOG_PROBS
                run.write(gradient, mode, mean=reduction == "mean" and emissions.dtype != torch.float16)
        result = reduce(losses, lattice, reduction, zero_infinity)
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
            kinds = run.scratch.kinds.unsqueeze(1)
            unknown = (kinds == row_kernels.NAN.value) | (kinds == row_kernels.INVALID.value)
            within = torch.arange(frames, device=emissions.device).view(-1, 1, 1) < run.input_lengths.unsqueeze(1)
            states = torch.where(unknown & within, torch.nan, states)
        return states.to(emissions.dtype)


def path_occupancy(emissions: Tensor, lattice: Lattice, states: Tensor, *, logits: bool) -> Tensor:
    """See `ctckit.backends.Backend.path_occupancy`. The whole table is computed first."""
    return reference.at_states(posteriors(emissions, lattice, logits=logits, per_state=True), states)


def scale_(gradient: Tensor, scale: Tensor) -> Tensor:
    """See `ctckit.backends.Backend.scale_`. It is the device that finds out whether the scale is 1."""
    frames, items, classes = gradient.shape
    scale = scale.resolve_neg()
    if gradient.numel():
        columns = min(triton.next_power_of_2(classes), 1024)
        grid = (triton.cdiv(frames, TILE // columns) * items * triton.cdiv(classes, columns),)
        with _on(gradient):
            row_kernels.scale_rows[grid](
                gradient,
                *gradient.stride(),
                scale,
                scale.stride(0) if scale.ndim else 0,
                items,
                frames,
                classes,
                ROWS=TILE // columns,
                COLUMNS=columns,
                **_launch(8),
            )
    return gradient


class _Run:
    """One call: the recursion is done when the object is made; what is to be written then is asked of it."""

    def __init__(self, emissions: Tensor, lattice: Lattice, logits: bool, *, both: bool) -> None:
        self.x = emissions.resolve_neg()  # the kernels see nothing but the memory
        self.T, self.N, self.C = emissions.shape
        self.M = lattice.labels.numel()
        self.lattice = lattice.contiguous()
        self.real = tl.float64 if emissions.dtype == torch.float64 else tl.float32
        self.chunk = _chunk()
        self.chained = lattice.max_target >= self.chunk
        sizes = Sizes(
            self.T, self.N, self.C, self.M, self.chunk, FRAMES, self.chained, both, real=_real(emissions.dtype)
        )
        self.by_class, self.slots = sizes.by_class, sizes.slots
        self.scratch = allocate(sizes, emissions.device)
        self._recurse(logits, 2 if both else 1)

    @property
    def input_lengths(self) -> Tensor:
        """(N,) int64: the frames of each item, as the kernels have read them."""
        return self.scratch.items.select(1, 0)

    @property
    def target_lengths(self) -> Tensor:
        """(N,) int64: the labels of each item, as the kernels have read them; 0 where the item is invalid."""
        return self.scratch.items.select(1, 1)

    def _recurse(self, logits: bool, directions: int) -> None:
        T, N, C, M, to = self.T, self.N, self.C, self.M, self.scratch
        labels, input_lengths, target_lengths, max_target, blank = self.lattice
        concatenated = self.lattice.concatenated
        row_kernels.prepare[(N,)](
            labels,
            input_lengths,
            target_lengths.cumsum(0) if concatenated else target_lengths,
            to.kinds,
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
            BLOCK=BLOCK,
            **_launch(2),
        )
        if T and logits:
            rows, columns = _tile(C, self.x.dtype)
            row_kernels.sum_rows[(triton.cdiv(T, rows) * N,)](
                self.x,
                *self.x.stride(),
                to.kinds,
                to.items,
                to.fields,
                to.peaks,
                N,
                T,
                C,
                blank * self.x.stride(2),  # in Python, where it is not limited to 32 bits
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
                to.kinds,
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
        recursion_kernels.walk_chunks[((M // self.chunk + N) * directions,)](
            self.x,
            *self.x.stride(),
            to.labels,
            to.items,
            to.fields,
            to.item_of_chunk,
            to.ticket,
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
            FRAMES=FRAMES,
            DIRECTIONS=directions,
            CHAINED=self.chained,
            POLLS=_polls(),
            **_launch(1),
        )
        recursion_kernels.finish[(N,)](
            to.kinds,
            to.items,
            to.fields,
            to.end_m,
            to.end_e,
            to.losses,
            T,
            LOGITS=logits,
            BLOCK=BLOCK,
            **_launch(2),
        )

    def write(self, out: Tensor, mode: tl.constexpr, *, mean: bool) -> None:
        """Write the gradient or the class occupancy, a segment of frames at a time."""
        T, N, C, M, scratch, device = self.T, self.N, self.C, self.M, self.scratch, self.x.device
        if T == 0:
            return
        segment = min(triton.cdiv(T, FRAMES) * FRAMES, self._segment())
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
                scratch.kinds,
                scratch.items,
                scratch.fields,
                scratch.peaks,
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
        """Write the occupancy of states to `states`, not normalised; return the sums, (N, T), 0 where there is none."""
        # What is added up per class is not wanted here: all blocks may add to the same place.
        totals = torch.zeros(self.N, self.T, dtype=torch.int64, device=self.x.device)
        segment = self._segment()
        for begin in range(0, self.T, segment):
            end = min(begin + segment, self.T)
            occupancy = torch.zeros(
                triton.cdiv(end - begin, FRAMES) * FRAMES, self.slots, dtype=torch.int64, device=self.x.device
            )
            self._occupy(begin, end, occupancy, totals, states)
        return totals

    def _segment(self) -> int:
        """Frames per round: as many as the memory for them and the second dimension of a grid have room for."""
        return FRAMES * max(1, min(SEGMENT // (8 * self.slots * FRAMES), 65_535))

    def _occupy(self, begin: int, end: int, occupancy: Tensor, totals: Tensor, states: Tensor | None) -> None:
        lattice, scratch = self.lattice, self.scratch
        occupancy_kernels.occupy[(self.N, triton.cdiv(end - begin, FRAMES))](
            self.x,
            *self.x.stride(),
            scratch.labels,
            scratch.kinds,
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
            begin // FRAMES,
            self.T,
            self.C,
            self.M,
            self.N,
            lattice.blank,
            0 if states is None else states.shape[2],
            REAL=self.real,
            CHUNK=self.chunk,
            FRAMES=FRAMES,
            BY_CLASS=self.by_class,
            STATES=states is not None,
            **_launch(1),
        )


def _real(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def _launch(warps: int) -> dict[str, Any]:
    """Options of a launch. Whether a product and a sum are fused is said, because Triton's default changes in 3.10."""
    return {"num_warps": warps, "enable_fp_fusion": True}


def _tile(classes: int, dtype: torch.dtype) -> tuple[int, int]:
    """Rows and columns of a tile of frames × classes."""
    elements = TILE // 2 if dtype == torch.float64 else TILE  # or the registers of a program would not hold it
    columns = max(16, min(triton.next_power_of_2(classes), 1024))
    return min(elements // columns, 64), columns


def _polls() -> int:
    """How often a program may look for what another sends, in all: on a GPU, for some 15 seconds.

    The interpreter runs one program at a time: what is not there at the first look never comes.
    """
    return 2 if INTERPRETED else 1 << 25


@cache
def _chunk() -> int:
    """Lanes of a warp."""
    if INTERPRETED:
        return 32
    return int(triton.runtime.driver.active.get_current_target().warp_size)


def _on(tensor: Tensor) -> Any:
    """Launch on the tensor's device."""
    if tensor.device.type == "cuda":
        return torch.cuda.device(tensor.device)
    if not INTERPRETED:
        raise ValueError(
            f"the backend 'triton' is forced, but the tensors are on {tensor.device}, where only Triton's interpreter "
            f"runs: set TRITON_INTERPRET=1 before Python starts, or move the tensors to a GPU"
        )
    return contextlib.nullcontext()
