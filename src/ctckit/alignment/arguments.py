"""Checks of single arguments of `ctckit.align`: choices, seconds, priors, numbers."""

from __future__ import annotations

import math
from typing import Any, Final, Literal, TypeAlias, get_args

from torch import Tensor

from ctckit.errors import ArgumentTypeError, ArgumentValueError
from ctckit.lattice.tensor_kinds import require_memory

__all__ = ["Infeasible", "Method", "check_options", "checked_number", "checked_priors"]

Method: TypeAlias = Literal["viterbi", "posterior"]
Infeasible: TypeAlias = Literal["raise", "none"]

_METHODS: Final = get_args(Method)
_INFEASIBLE: Final = get_args(Infeasible)


def check_options(method: str, infeasible: str, frame_duration: Any, offset: Any) -> None:
    """Check choices and seconds.

    Raises:
        ArgumentTypeError: for seconds that are not a number.
        ArgumentValueError: for an unknown choice; for seconds out of bounds.
    """
    for name, value, allowed in (("method", method, _METHODS), ("infeasible", infeasible, _INFEASIBLE)):
        if value not in allowed:
            raise ArgumentValueError(f"{name} is {value!r}, but must be {' or '.join(map(repr, allowed))}")
    for name, value in (("frame_duration", frame_duration), ("offset", offset)):
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            if name == "frame_duration" and value is None:
                continue
            raise ArgumentTypeError(f"{name} is {value!r}, a {type(value).__name__}, but must be a number, of seconds")
        if not math.isfinite(value) or (name == "frame_duration" and value <= 0):
            raise ArgumentValueError(
                f"{name} is {value}, but must be a {'positive, ' * (name != 'offset')}finite number of seconds"
            )


def checked_priors(log_priors: Any, classes: int) -> Tensor:
    """Check log-priors, and return them on the CPU.

    Raises:
        ArgumentTypeError: if they are not a floating-point tensor.
        ArgumentValueError: for a shape other than (C,); for values that are not logs of probabilities.
    """
    if not isinstance(log_priors, Tensor) or not log_priors.is_floating_point():
        raise ArgumentTypeError(
            "log_priors must be a floating-point tensor (C,): pass the result of ctckit.label_priors"
        )
    require_memory(log_priors, "log_priors")
    if tuple(log_priors.shape) != (classes,):
        raise ArgumentValueError(
            f"log_priors has shape {tuple(log_priors.shape)}, but must be {(classes,)}, one per class"
        )
    if bool((log_priors.isnan() | (log_priors > 0)).any()):
        raise ArgumentValueError("log_priors holds NaN or values above 0, but must be logs of probabilities")
    return log_priors.detach().cpu()


def checked_number(value: Any, name: str) -> float:
    """Check a number, and return it as a float.

    Raises:
        ArgumentTypeError: if it is not a number.
        ArgumentValueError: if it is not finite.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ArgumentTypeError(f"{name} is {value!r}, a {type(value).__name__}, but must be a number")
    if not math.isfinite(value):
        raise ArgumentValueError(f"{name} is {value}, but must be finite")
    return float(value)
