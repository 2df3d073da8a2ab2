r"""The topology of CTC, and the gate through which every argument passes.

The page to read first: what the library sums over, and how a caller's arguments become one description of it.

**The problem.** A network reads T frames and gives, for each frame t and class c, an emission ``x[t, c]``: the log of
the probability of class c. A target is a row of S labels, ``l[1] .. l[S]``, none of them the blank. An *alignment* is
a path of T classes that spells the target once runs of equal classes are merged and blanks are dropped, in that order:
``a a - a b b`` spells ``a a b``. The likelihood of the target is the sum over its alignments of the product of their
probabilities; the CTC loss is minus its logarithm (Graves et al., 2006).

**The lattice.** The sum runs over paths through frames × states, where the K = 2S + 1 states of a target are its labels
with a blank before, between and after them::

    state      0      1      2      3      4     ...    2S - 1    2S
    class    blank   l[1]  blank   l[2]  blank   ...     l[S]    blank

A path starts in state 0 or 1, ends in state 2S - 1 or 2S, and takes one arc per frame, of one of three kinds:

1. *stay*, s <- s: a label or a blank lasts one frame more;
2. *step*, s <- s - 1: from a blank to the label after it, or from a label to the blank after it;
3. *skip*, s <- s - 2: from a label straight to the next, without a blank, allowed only if the two differ (were they
   equal, the run would be merged into one label). `may_skip` says where.

::

    state 0  blank   o--->o--->o--->o            horizontal: stay
                      \    \    \               one down:   step
    state 1  l[1]    o--->o--->o--->o            two down:   skip (label to label, if they differ)
                      \    \    \
    state 2  blank   o--->o--->o--->o
                      \    \    \
    state 3  l[2]    o--->o--->o--->o

So a target takes at least S frames, and one more for each pair of equal neighbours (`frames_needed`); given fewer it is
*infeasible*: no path exists, the likelihood is 0 and the loss is infinite.

**The gate.** Targets come padded, concatenated or unbatched; lengths as tensors, sequences, numbers or not at all.
`gate` turns whatever was passed into one `Lattice` and raises every error that types and shapes can show, reading no
value: it works in the same way under ``torch.compile``, ``torch.export`` and ``torch.func``. `validate` raises what
only values can show. Where nobody may look at values (another device, a traced graph), `is_invalid` marks the items in
question, and their loss is NaN. Nothing else in the library interprets a caller's formats.

References:
    A. Graves, S. Fernández, F. Gomez, J. Schmidhuber. Connectionist temporal classification: labelling unsegmented
    sequence data with recurrent neural networks. ICML 2006.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ctckit.errors import ArgumentTypeError, ArgumentValueError
from ctckit.lattice.checks import FAULT_KINDS, PADDING, Fault, bad_label, bad_length, describe_fault, faults, validate
from ctckit.lattice.lengths import INTEGER_DTYPES, Lengths, as_int, lengths_of, not_dense
from ctckit.lattice.tensor_kinds import in_memory, like, nested, plain, present, require_numbers

__all__ = [
    "FAULT_KINDS",
    "PADDING",
    "Fault",
    "Lattice",
    "Lengths",
    "as_int",
    "describe_fault",
    "faults",
    "frames_needed",
    "gate",
    "is_invalid",
    "may_skip",
    "padded_labels",
    "state_labels",
    "tighten",
    "validate",
]

_EMISSION_DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


class Lattice(NamedTuple):
    """A batch of N targets, in the one form that all backends read.

    Label s (from 0) of item n is ``labels[n, s]`` if the targets are padded, ``labels[offsets[n] + s]`` if they are
    concatenated, for s < ``target_lengths[n]``. What lies between the items (padding) may hold anything and is never
    read.
    """

    labels: Tensor
    """int64, any strides: (N, max_target), padded, or (M,), concatenated."""
    input_lengths: Tensor
    """(N,) int64, on the device of the emissions."""
    target_lengths: Tensor
    """(N,) int64, on the device of the emissions."""
    max_target: int
    """No target is longer; known without reading a tensor (the width if padded; at most the total if concatenated)."""
    blank: int
    """The class of the blank."""

    @property
    def concatenated(self) -> bool:
        """Whether `labels` must hold the items' labels and nothing else: M must be the sum of `target_lengths`."""
        return self.labels.ndim == 1

    @property
    def offsets(self) -> Tensor:
        """(N,) int64: where each item's labels start in the flattened `labels`."""
        if self.concatenated:
            return self.target_lengths.cumsum(0) - self.target_lengths
        return torch.arange(self.labels.shape[0], device=self.labels.device) * self.max_target

    def contiguous(self) -> Lattice:
        """Bring the numbers of each tensor side by side in memory; itself where they are."""
        labels, input_lengths, target_lengths, max_target, blank = self
        negative = labels.is_neg() or input_lengths.is_neg() or target_lengths.is_neg()
        if labels.is_contiguous() and input_lengths.is_contiguous() and target_lengths.is_contiguous() and not negative:
            return self
        labels, input_lengths, target_lengths = (t.resolve_neg().contiguous() for t in self[:3])
        return Lattice(labels, input_lengths, target_lengths, max_target, blank)

    def in_memory(self) -> Lattice:
        """Bring the tensors to where they can be read by their address: copies of those that are not aligned."""
        labels, input_lengths, target_lengths, max_target, blank = self
        return Lattice(
            in_memory(labels, "targets"),
            in_memory(input_lengths, "input_lengths"),
            in_memory(target_lengths, "target_lengths"),
            max_target,
            blank,
        )

    def cpu(self) -> Lattice:
        """Bring the tensors to the CPU. Waits for a GPU."""
        labels, input_lengths, target_lengths, max_target, blank = self
        return Lattice(labels.cpu(), input_lengths.cpu(), target_lengths.cpu(), max_target, blank)


# ---------------------------------------------------------------------------------------------------------- topology


def state_labels(labels: Tensor, blank: int) -> Tensor:
    """(..., S) labels -> (..., 2S + 1) classes of the states: blank, l[1], blank, l[2], ..., blank."""
    blanks = torch.full_like(labels, blank)
    pairs = torch.stack((blanks, labels), dim=-1).flatten(-2)
    return torch.nn.functional.pad(pairs, (0, 1), value=blank)


def may_skip(labels: Tensor, blank: int) -> Tensor:
    """(..., K) classes of states -> (..., K) bool: whether state s may be entered from s - 2.

    Only a label may be, and only from a different one. (Two blanks are equal, so no blank may be entered so.)
    """
    two_before = torch.nn.functional.pad(labels, (2, 0), value=blank)[..., : labels.shape[-1]]
    differs = (labels != blank) & (labels != two_before)
    # States 0 and 1 have no state two before them.
    return differs & (torch.arange(labels.shape[-1], device=labels.device) >= 2)


def padded_labels(lattice: Lattice) -> Tensor:
    """Give the labels as a table (N, max_target) int64, with the blank beyond each item's length."""
    column = torch.arange(lattice.max_target, device=lattice.labels.device)
    table = lattice.labels
    if lattice.concatenated:
        # Clamped, because lengths that nobody has validated may point anywhere.
        table = table[(lattice.offsets[:, None] + column).clamp(0, table.shape[0] - 1)]
    return torch.where(column < lattice.target_lengths[:, None], table, lattice.blank)


def frames_needed(lattice: Lattice) -> Tensor:
    """(N,) int64: the fewest frames in which each target can be spelt, labels + pairs of equal neighbours."""
    labels = padded_labels(lattice)
    # Beyond the length the table holds only blanks, which are no label of a valid target.
    repeats = (labels[:, 1:] == labels[:, :-1]) & (labels[:, 1:] != lattice.blank)
    return lattice.target_lengths + repeats.sum(1)


def tighten(lattice: Lattice) -> Lattice:
    """Make `max_target` the longest target of the batch. Reads the lengths: waits for a GPU."""
    if lattice.target_lengths.shape[0] == 0 or not lattice.concatenated:
        return lattice
    return lattice._replace(max_target=int(lattice.target_lengths.max().clamp(0, lattice.labels.shape[0])))


def is_invalid(lattice: Lattice, frames: int, classes: int) -> Tensor:
    """(N,) bool: which items `validate` would reject. Reads no value: for devices and traces where nobody may."""
    total = lattice.labels.shape[0]  # if concatenated
    inside = torch.arange(lattice.max_target, device=lattice.labels.device) < lattice.target_lengths[:, None]
    bad: Tensor = (bad_label(padded_labels(lattice), classes, lattice.blank) & inside).any(1)
    bad = bad | bad_length(lattice.input_lengths, frames)
    bad = bad | bad_length(lattice.target_lengths, total if lattice.concatenated else lattice.max_target)
    if lattice.concatenated:
        # Which item's length is the wrong one cannot be told.
        bad = bad | (lattice.target_lengths.sum() != total)
    return bad


# -------------------------------------------------------------------------------------------------------------- gate


def gate(
    emissions: Tensor,
    targets: Tensor,
    input_lengths: Lengths,
    target_lengths: Lengths,
    blank: int,
    *,
    batch_first: bool = False,
    name: str = "log_probs",
    needs_numbers: bool = False,
) -> tuple[Tensor, Lattice, bool]:
    """Check types and shapes, and bring the arguments of any public function to one form.

    Args:
        emissions: (T, N, C), or (N, T, C) if `batch_first`, or (T, C) unbatched; floating-point, any strides.
        targets: integers on the device of the emissions: padded (N, S), concatenated (sum of lengths,), unbatched (S,).
        input_lengths: frames per item: integer tensor (N,) on any device, sequence of ints, int (one item), or None
            for all T.
        target_lengths: labels per item, likewise; None with padded targets: up to the first -100.
        blank: class of the blank.
        batch_first: whether the batch is the first dimension of `emissions`.
        name: what the caller's signature calls `emissions`, for messages.
        needs_numbers: whether the caller reads memory by its address. If not, it does nothing with the tensors but
            operations of torch, and can take ones whose numbers are elsewhere, or not there yet.

    Returns:
        The emissions as a (T, N, C) view, the lattice, and whether the input had a batch dimension.

    Raises:
        ArgumentTypeError: for a wrong type or dtype.
        ArgumentValueError: for a wrong dimension, size, device, or blank.
    """
    if type(emissions) is not Tensor:
        emissions = plain(emissions, name, "convert it with torch.as_tensor", needs_numbers=needs_numbers)
    if emissions.dtype not in _EMISSION_DTYPES:
        remedy = ".dequantize()" if emissions.is_quantized else ".real" if emissions.is_complex() else ".float()"
        raise ArgumentTypeError(
            f"{name} has dtype {emissions.dtype}, but must be float16, bfloat16, float32 or float64: "
            f"convert it, for example with {name}{remedy}"
        )
    if emissions.layout is not torch.strided:
        raise not_dense(emissions, name)
    try:
        shape = emissions.shape
    except RuntimeError:  # a nested tensor of strided layout has none
        raise nested(name) from None
    batched = len(shape) == 3
    if batched:
        emissions = emissions.transpose(0, 1) if batch_first else emissions
    elif len(shape) == 2:
        emissions = emissions.unsqueeze(1)
    else:
        batch = "(N, T, C)" if batch_first else "(T, N, C)"
        raise ArgumentValueError(
            f"{name} has shape {tuple(shape)}, but must be {batch}, or (T, C) for one item without a batch"
        )
    frames, items, classes = shape if batched and not batch_first else emissions.shape
    if classes == 0:
        raise ArgumentValueError(
            f"{name} has shape {tuple(shape)}, that is 0 classes, but there must be at least one, the blank"
        )
    if type(blank) is not int or not 0 <= blank < classes:
        blank = _blank(blank, classes, name)

    device = emissions.device
    if type(targets) is not Tensor:
        targets = plain(targets, "targets", "use torch.tensor(targets)", needs_numbers=needs_numbers, beside=emissions)
    width = _check_targets(targets, target_lengths, items, batched, device, name)
    if needs_numbers or target_lengths is None or targets.dtype != torch.int64:
        targets = present(targets, "targets")
        if targets.dtype != torch.int64:
            targets = targets.long()
    if target_lengths is None and targets.ndim == 1:
        targets = targets.unsqueeze(0)

    if input_lengths is None:
        inputs = torch.full((items,), frames, dtype=torch.int64, device=device)
    else:
        inputs, _ = lengths_of(input_lengths, "input_lengths", items, device, emissions, needs_numbers)
    if target_lengths is None:
        # All labels are counted, not only those before the first -100: where a label follows a -100, that -100 then
        # lies within the length and is found as the invalid label it is, on every device.
        lengths, longest = (targets != PADDING).sum(1), None
    else:
        lengths, longest = lengths_of(target_lengths, "target_lengths", items, device, emissions, needs_numbers)

    max_target = width
    if longest is not None and targets.ndim == 1:
        max_target = max(0, min(longest, width))
    if type(emissions) is not Tensor:
        targets, inputs, lengths = (like(tensor, emissions) for tensor in (targets, inputs, lengths))
    if needs_numbers:
        require_numbers((emissions, targets, inputs, lengths), name)
        emissions = present(emissions, name)
    return emissions, Lattice(targets, inputs, lengths, max_target, blank), batched


def _check_targets(
    targets: Tensor, target_lengths: Lengths, items: int, batched: bool, device: torch.device, name: str
) -> int:
    """Return how many labels a row has."""
    if targets.dtype not in INTEGER_DTYPES:
        remedy = "targets.dequantize().long()" if targets.is_quantized else "targets.long()"
        raise ArgumentTypeError(
            f"targets has dtype {targets.dtype}, but labels are class indices and must be integers: use {remedy}"
        )
    if targets.device != device:
        raise ArgumentValueError(
            f"targets is on {targets.device}, but {name} is on {device}: move it with targets.to({name}.device)"
        )
    if targets.layout is not torch.strided:
        raise not_dense(targets, "targets")
    try:
        shape = targets.shape
    except RuntimeError:
        raise nested("targets") from None
    if len(shape) == 2:
        if shape[0] != items:
            have = f"a batch of {items}" if batched else "one item without a batch"
            raise ArgumentValueError(
                f"targets has shape {tuple(shape)}, that is {shape[0]} rows, but {name} is {have}: pass one row of "
                f"labels per item, or all labels concatenated in one dimension"
            )
    elif len(shape) != 1:
        raise ArgumentValueError(
            f"targets has shape {tuple(shape)}, but must be (N, S), padded, or one row of labels: concatenated, with "
            f"target_lengths, or the (S,) labels of one item without a batch"
        )
    elif target_lengths is None and batched:
        raise ArgumentValueError(
            f"target_lengths is None, but targets of shape {tuple(shape)} are concatenated and cannot be told apart "
            f"without: pass target_lengths, or targets of shape (N, S) padded with {PADDING}"
        )
    return shape[-1]


def _blank(blank: int, classes: int, name: str) -> int:
    blank = as_int(blank, "blank")
    if not 0 <= blank < classes:
        remedy = f"; for the last class pass blank={classes - 1}" if blank in (-1, classes) else ""
        raise ArgumentValueError(f"blank is {blank}, but {name} has classes 0 to {classes - 1}{remedy}")
    return blank
