"""The errors for arguments of public functions, and warnings about them.

Each is also a RuntimeError, as torch's CTC loss raises: ``except RuntimeError`` around a loss keeps working when ctckit
replaces torch.
"""

from __future__ import annotations

import inspect
import warnings

__all__ = ["ArgumentTypeError", "ArgumentValueError", "warn_user"]


class ArgumentValueError(ValueError, RuntimeError):
    """An argument has a wrong value, shape, size or device.

    The message names the argument, its value, the item of the batch if one item is wrong, and the remedy.

    >>> import torch, ctckit
    >>> log_probs, targets = torch.zeros(4, 1, 3), torch.tensor([[1, 2]])
    >>> try:
    ...     ctckit.ctc_loss(log_probs, targets, input_lengths=[5], target_lengths=[2])
    ... except ctckit.ArgumentValueError as error:
    ...     print(error)
    input_lengths[0] is 5, but the input has 4 frames: a length must be from 0 to 4
    """


class ArgumentTypeError(TypeError, RuntimeError):
    """An argument has a wrong type, or a tensor a wrong dtype or layout.

    The message names the argument, its type, and the remedy.

    >>> import torch, ctckit
    >>> try:
    ...     ctckit.ctc_loss(torch.zeros(4, 1, 3), torch.tensor([[1.0, 2.0]]), [4], [2])
    ... except ctckit.ArgumentTypeError as error:
    ...     print(error)
    targets has dtype torch.float32, but labels are class indices and must be integers: use targets.long()
    """


def warn_user(message: str) -> None:
    """Issue a warning about the line that has called the package."""
    level, frame = 1, inspect.currentframe()
    while frame is not None and str(frame.f_globals.get("__name__")).split(".")[0] == "ctckit":
        level, frame = level + 1, frame.f_back
    warnings.warn(message, UserWarning, stacklevel=level)
