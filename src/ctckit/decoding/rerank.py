"""Reranking: what a function of finished hypotheses adds to their scores."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor

from ctckit.errors import ArgumentTypeError, ArgumentValueError

__all__ = ["new_confidences", "new_gains"]

_SHOWN = 60  # characters of a wrong value


class _Hypothesis(Protocol):
    @property
    def tokens(self) -> tuple[int, ...]: ...
    @property
    def text(self) -> str | None: ...
    @property
    def score(self) -> float | None: ...


def new_gains(hypotheses: Sequence[_Hypothesis], function: Callable[[Any], Any], weight: Any) -> list[float]:
    """Return what each hypothesis gains by a function of all of them, in nats.

    Raises:
        ArgumentTypeError: if the function cannot be called, or returns no numbers; if the weight is no number.
        ArgumentValueError: for a weight that is negative, infinite or NaN; for hypotheses without scores; if the
            function does not return one number each, or returns NaN or +inf.
    """
    if not callable(function):
        raise ArgumentTypeError(f"function is a {type(function).__name__}, but must be a function of hypotheses")
    if isinstance(weight, bool) or not isinstance(weight, (int, float, np.floating, np.integer)):
        raise ArgumentTypeError(f"weight is {weight!r}, a {type(weight).__name__}, but must be a number")
    if not 0 <= weight < math.inf:
        raise ArgumentValueError(f"weight is {weight}, but must be a finite number from 0")
    if not hypotheses:
        return []
    if any(hypothesis.score is None for hypothesis in hypotheses):
        raise ArgumentValueError("the hypotheses have no scores to add to: decode with rescore=True")
    values = _numbers(function(list(hypotheses)))
    if values.shape != (len(hypotheses),):
        raise ArgumentValueError(
            f"function returned values of shape {values.shape} for {len(hypotheses)} hypotheses: return one number each"
        )
    with np.errstate(over="ignore"):
        gains = float(weight) * values if weight else np.zeros(len(values))  # 0 * -inf is NaN
    wrong = np.flatnonzero(~((values < math.inf) & (gains < math.inf)))
    if len(wrong):
        at = int(wrong[0])
        shown = hypotheses[at].text if hypotheses[at].text is not None else list(hypotheses[at].tokens)
        raise ArgumentValueError(
            f"function returned {values[at]} for hypothesis {at}, {_cut(shown)}, but must return a number, in nats, "
            f"or -inf"
        )
    found: list[float] = gains.tolist()
    return found


def new_confidences(confidences: Sequence[float | None], gains: Sequence[float]) -> list[float | None]:
    """Multiply each confidence by e to its gain, and scale them so that their sum stays.

    So they are shared out anew within the list: what other labellings would gain is not known.
    """
    known = [confidence for confidence in confidences if confidence is not None]
    if len(known) < len(confidences):
        return [None] * len(confidences)
    largest = max(gains, default=0.0)
    if largest == -math.inf:
        return [0.0] * len(known)
    shares = [confidence * math.exp(gain - largest) for confidence, gain in zip(known, gains, strict=True)]
    scale = math.fsum(known) / total if (total := math.fsum(shares)) > 0 else 0.0
    return [min(1.0, share * scale) for share in shares]


def _numbers(values: Any) -> npt.NDArray[np.float64]:
    if isinstance(values, Tensor):
        values = values.detach().cpu()
        values = values.double().numpy() if values.is_floating_point() else values.numpy()
    try:
        found = np.asarray(values)
    except (TypeError, ValueError, RuntimeError):  # rows of several lengths; tensors that cannot become numbers
        found = np.asarray(None)
    if found.dtype.kind not in "fiu":
        raise ArgumentTypeError(
            f"function returned {_cut(values)}, a {type(values).__name__}, but must return one number for each "
            f"hypothesis: a list, an array or a tensor"
        )
    return found.astype(np.float64)


def _cut(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= _SHOWN else shown[: _SHOWN - 1] + "\N{HORIZONTAL ELLIPSIS}"
