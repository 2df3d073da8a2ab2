"""Check the plausibility of emissions: that they are log-probabilities, and fit the vocabulary."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import torch
from torch import Tensor

from ctckit.lattice.checks import Problem

__all__ = ["are_probabilities", "implausible"]

# Log-probabilities from -16 to -8 nats have rounding errors up to 2^-8 = 0.004 in float16, and 2^-5 = 0.03 in bfloat16.
# A sum over many such classes may have the same error. Logits passed by mistake are off by whole nats.
_TOLERANCE: Final = {torch.float16: 0.01, torch.bfloat16: 0.05}
_TOLERANCE_OTHERS: Final = 0.01  # float32 and float64 may have been converted from float16
_FRAMES: Final = 256  # checked frames: of a longer input, this many at equal distances


def implausible(
    emissions: Tensor, *, logits: bool, blank: int | None = None, classes_named: int | None = None
) -> list[Problem]:
    """List what is implausible about the emissions of one item.

    Sums are checked in up to 256 frames at equal distances, everything else in all frames. NaN and infinite values are
    ignored (`ctckit.check` finds them). So are the sums of frames with classes masked by -inf.

    Args:
        emissions: (T, C), on any device (a device sync on a GPU).
        logits: whether the caller says that they are logits, whose sums are arbitrary.
        blank: class of the blank, to check whether it is ever the most probable class; None to skip this check.
        classes_named: how many classes the vocabulary has; None without a vocabulary.

    Returns:
        Problems of item 0, with one of these kinds. "positive": log-probabilities are above 0. "unnormalised": the
        probabilities of a frame do not add up to 1. "blank": the blank is the most probable class of no frame, but a
        class without a name is that of some. "classes": there are fewer classes than in the vocabulary, or at least two
        more.

    Example:
        >>> import torch
        >>> problems = implausible(torch.randn(9, 4).softmax(1), logits=False)
        >>> print(problems[0].kind, problems[0].message[:50])
        positive emissions hold probabilities, not their logarithms
    """
    problems: list[Problem] = []
    frames, classes = emissions.shape
    x = emissions.detach()
    if frames and classes:
        problem = _not_logits(x) if logits else _not_log_probs(x)
        problems += [problem] if problem is not None else []
    if classes_named is not None and not classes_named <= classes <= classes_named + 1:
        compared = "fewer than" if classes < classes_named else "more than"
        problems.append(
            _problem(
                "classes",
                f"emissions have {classes} classes, {compared} the {classes_named} of the vocabulary: it is not that "
                f"of the model, or classes are not the last dimension",
            )
        )
    elif blank is not None and classes_named is not None and frames and 0 <= blank < classes:
        winners = x.argmax(1)
        unnamed = int((winners == classes_named).sum())  # at most one class has no name
        if unnamed and not bool((winners == blank).any()):
            problems.append(
                _problem(
                    "blank",
                    f"class {blank}, the blank, is the most probable class of no frame, but class {classes_named}, "
                    f"which has no name, is that of {unnamed} of {frames}: is it the blank (blank={classes_named})?",
                )
            )
    return problems


def _not_log_probs(x: Tensor) -> Problem | None:
    tolerance = _TOLERANCE.get(x.dtype, _TOLERANCE_OTHERS)
    if len(x) <= _FRAMES and _add_up(x, 0.99 * tolerance):
        return None
    largest = float(x.amax())
    if math.isnan(largest) or largest == math.inf:
        finite = x[x.isfinite()]
        largest = float(finite.amax()) if len(finite) else 0.0
    if largest > tolerance:
        if are_probabilities(x):
            return _problem(
                "positive",
                "emissions hold probabilities, not their logarithms: pass log_softmax instead of softmax, or the "
                "logits with logits=True (--logits)",
            )
        return _problem(
            "positive",
            f"emissions hold values up to {largest:.4g}, but a log-probability is at most 0: if these are logits, pass "
            f"logits=True (--logits), or take their log_softmax",
        )
    rows = _rows(x)
    sums = rows.logsumexp(1)
    masked = (rows == -torch.inf).any(1) & (sums < 0)  # after masking classes the others may add up to less than 1
    sums = sums[sums.isfinite() & ~masked]
    off = (sums.abs() > tolerance).nonzero()
    if len(off):
        total = math.exp(float(sums[off[0, 0]]))
        return _problem(
            "unnormalised",
            f"the probabilities of a frame's classes add up to {total:.4g} instead of 1, in {len(off)} of {len(sums)} "
            f"frames looked at: if these are logits, pass logits=True (--logits), or take their log_softmax",
        )
    return None


def _add_up(x: Tensor, tolerance: float) -> bool:
    """Return quickly whether the probabilities of every frame add up to 1, for a few frames; the common case.

    Then none is above 1. (False for NaN, for masked classes and within rounding of the tolerance: the caller decides.)
    """
    rows = _rows(x).cpu().resolve_neg().numpy()
    if not np.maximum.reduce(rows, axis=None) <= tolerance:  # or exp would overflow
        return False
    sums = np.add.reduce(np.exp(rows), axis=1)
    return bool(np.minimum.reduce(sums) >= math.exp(-tolerance) and np.maximum.reduce(sums) <= math.exp(tolerance))


def _not_logits(x: Tensor) -> Problem | None:
    if are_probabilities(x):
        return _problem(
            "positive",
            "emissions hold probabilities, but logits=True (--logits) says logits: pass the network's output before "
            "softmax, or the logarithms of the probabilities without logits=True (--logits)",
        )
    return None


def are_probabilities(x: Tensor) -> bool:
    """Return whether the frames of (T, C) emissions look like probabilities: none is negative, and they add up to 1."""
    rows = _rows(x)
    return rows.shape[1] > 1 and float(rows.amin()) >= 0 and bool(((rows.sum(1) - 1).abs() < 0.01).all())


def _rows(x: Tensor) -> Tensor:
    """Return up to `_FRAMES` frames, in a dtype precise enough for sums."""
    step = -(-len(x) // _FRAMES)
    rows = x if step == 1 else x[::step]
    return rows if x.dtype == torch.float64 else rows.float()


def _problem(kind: str, message: str) -> Problem:
    return Problem(0, kind, message)
