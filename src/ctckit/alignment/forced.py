"""Forced alignment: the best path of a target, and the spans of its tokens.

The functions and their results are those of ``torchaudio.functional``, for batches, any lengths, dtypes and strides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ctckit.backends import host_backend
from ctckit.errors import ArgumentValueError
from ctckit.lattice import Lattice, Lengths, frames_needed, gate, no_path
from ctckit.lattice.tensor_kinds import as_node, require_memory

__all__ = ["TokenSpan", "forced_align", "merge_tokens"]


@as_node
def forced_align(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Lengths = None,
    target_lengths: Lengths = None,
    blank: int = 0,
    *,
    infeasible: Literal["raise", "blank"] = "raise",
) -> tuple[Tensor, Tensor]:
    r"""Find the most probable path that spells each target: the class of every frame.

    .. math:: \hat\pi = \arg\max_{\pi:\ \text{collapse}(\pi) = \text{target}} \sum_t x(t, \pi_t)

    with x the log-probabilities. This is the Viterbi algorithm on the lattice of `ctckit.lattice`. The function
    replaces ``torchaudio.functional.forced_align``, and returns the same wherever that returns a best path.

    Args:
        log_probs: (N, T, C), or (T, C) for one item without a batch; float16, bfloat16, float32 or float64, any
            strides. The batch comes first, unlike in `ctckit.ctc_loss`. They need not be normalised.
        targets: (N, S), padded, or (sum of target_lengths,), concatenated, or (S,) without a batch; integers, without
            the blank.
        input_lengths: frames of each item: integer tensor (N,), sequence of ints, or None for all T.
        target_lengths: labels of each item, likewise; None with padded targets: the labels before the first -100.
        blank: class of the blank.
        infeasible: what to do with an item that no path spells: "raise"; or "blank", which returns the path of blanks
            and scores of -inf for that item. Such an item has fewer frames than labels + pairs of equal neighbours, or
            log_probs of -inf bar every path.

    Returns:
        paths: (N, T), or (T,) without a batch: the class of each frame, int32 if the targets are int32, else int64.
            Frames beyond an item's length are blank.
        scores: likewise, in the dtype of `log_probs`: the log-probability of that class in that frame, 0 beyond the
            length. Their sum is the log-probability of the path. They can be differentiated by `log_probs`; the path
            is a constant.

        An item has no best path if a NaN or +inf is among the log-probabilities of the blank and its labels, in any of
        its frames. Then its path is blank and its scores are NaN. Other items are not affected.

    Raises:
        ArgumentTypeError: as `ctckit.ctc_loss`.
        ArgumentValueError: as `ctckit.ctc_loss`; and for an infeasible item, with its frames, labels and repeats.

    Notes:
        *Ties.* Equally good paths are compared from their ends. A path that ends in the last label is preferred to one
        that ends in the blank after it. At every frame, staying in a state is preferred to stepping from the state
        before, and stepping is preferred to skipping a blank. So labels begin as early and end as late as possible.
        The rule is the same on all backends.

        *Numerics.* Sums are computed in float64, whatever the dtype, with one rounding per frame. The path's
        log-probability is the largest to within T · 2⁻⁵³ of its size. Ties are recognised if the sums are exact in
        float64.

        *Cost.* Time is proportional to T · S, less the unreachable states. Of a long target (from about 1300 labels;
        more where classes are many), those states are left out from which the score of a path that is already known
        cannot be reached. This changes no bit of the result. It saves most of the time where the model is sure, and
        costs at most a twentieth where it is not. Items are distributed over `torch.get_num_threads` threads. There is
        no table of backpointers. Besides the input, memory holds a few checkpoints of 16 bytes per label that is not
        left out: at most about 0.3 GB per item, for hours of audio in one piece.
        The computation runs on the CPU; tensors on another device are copied there and the results back.

    Example:
        >>> import torch, ctckit
        >>> log_probs = torch.tensor([[[1.0, 7, 2], [0, 6, 2], [5, 1, 2], [4, 0, 3], [1, 0, 9]]]).log_softmax(2)
        >>> paths, scores = ctckit.forced_align(log_probs, torch.tensor([[1, 2]]))
        >>> paths
        tensor([[1, 1, 0, 0, 2]])
        >>> [(span.token, span.start, span.end) for span in ctckit.merge_tokens(paths[0], scores[0])]
        [(1, 0, 2), (2, 4, 5)]
    """
    if infeasible not in ("raise", "blank"):
        raise ArgumentValueError(f"infeasible is {infeasible!r}, but must be 'raise' or 'blank'")
    emissions, lattice, batched = gate(
        log_probs, targets, input_lengths, target_lengths, blank, batch_first=True, needs_numbers=True
    )
    require_memory(emissions, "log_probs")
    device = log_probs.device
    x = emissions.detach()
    if device.type != "cpu":
        x, lattice = x.cpu(), lattice.cpu()
    path = host_backend().best_path(x, lattice)
    totals = path.totals.tolist()
    if infeasible == "raise" and -torch.inf in totals:
        raise no_path_error(totals, lattice, "infeasible='blank'", batched=batched)

    classes, scores = path.classes, path.scores
    if device.type != "cpu":
        classes, scores = classes.to(device), scores.to(device)
    if torch.is_grad_enabled() and log_probs.requires_grad:
        gathered = emissions.transpose(0, 1).gather(2, classes[:, :, None])[:, :, 0]
        scores = torch.where((path.states >= 0).to(device), gathered, scores)
    if targets.dtype == torch.int32:
        classes = classes.to(torch.int32)
    return (classes, scores) if batched else (classes[0], scores[0])


def no_path_error(
    totals: list[float], lattice: Lattice, remedy: str, *, batched: bool, numbers: list[int] | None = None
) -> ArgumentValueError:
    """Make the error for the first item whose best path has the log-probability -inf.

    Args:
        totals: the best paths' log-probabilities.
        lattice: the targets, on the CPU.
        remedy: the option that accepts such items, for the message.
        batched: whether the message numbers the item.
        numbers: the caller's number of each item; None for their positions.
    """
    row, *others = [row for row, total in enumerate(totals) if total == -torch.inf]
    why = no_path(
        row if numbers is None else numbers[row],
        int(lattice.input_lengths[row]),
        int(frames_needed(lattice)[row]),
        labels=int(lattice.target_lengths[row]),
        batched=batched,
    )
    more = f" (and {len(others)} more item{'s' if len(others) > 1 else ''})" if others else ""
    return ArgumentValueError(f"no path spells the target: {why.message}{more}; or pass {remedy}")


@dataclass(slots=True)
class TokenSpan:
    """A token of a target, with its frames and its mean score.

    >>> len(TokenSpan(token=7, start=3, end=5, score=-0.1))
    2
    """

    token: int
    """The class."""
    start: int
    """The first frame."""
    end: int
    """The frame after the last."""
    score: float
    """The mean of the frames' log-probabilities, in nats."""

    def __len__(self) -> int:
        """Return the duration in frames."""
        return self.end - self.start


def merge_tokens(tokens: Tensor, scores: Tensor, blank: int = 0) -> list[TokenSpan]:
    """Merge the runs of equal classes of a path, and drop the blanks: the tokens of a target, each with its frames.

    Args:
        tokens: (T,) path of one item, from `forced_align`; integers.
        scores: (T,) scores of its frames.
        blank: class of the blank.

    Returns:
        A list of `TokenSpan`, in the order of the frames, one per label of the target. The blanks beyond an item's
        length are dropped with all others.

    Raises:
        ArgumentValueError: if `tokens` and `scores` do not have the same shape (T,).

    Example:
        >>> import torch, ctckit
        >>> path, scores = torch.tensor([0, 4, 4, 0, 4]), torch.tensor([-0.1, -0.2, -0.4, -0.1, -0.5])
        >>> for span in ctckit.merge_tokens(path, scores):
        ...     print(span.token, span.start, span.end, round(span.score, 3))
        4 1 3 -0.3
        4 4 5 -0.5
    """
    if tokens.ndim != 1 or tokens.shape != scores.shape:
        raise ArgumentValueError(
            f"tokens has shape {tuple(tokens.shape)} and scores {tuple(scores.shape)}, but both must be (T,), of one "
            f"item: pass paths[i] and scores[i]"
        )
    require_memory(tokens, "tokens")
    require_memory(scores, "scores")
    row = tokens.detach().cpu().numpy()
    if len(row) == 0:
        return []
    starts = np.concatenate(([0], np.flatnonzero(row[1:] != row[:-1]) + 1))
    ends = np.append(starts[1:], len(row))
    means = np.add.reduceat(scores.detach().cpu().double().numpy(), starts) / (ends - starts)
    rows = zip(row[starts].tolist(), starts.tolist(), ends.tolist(), means.tolist(), strict=True)
    return [TokenSpan(token, start, end, score) for token, start, end, score in rows if token != blank]
