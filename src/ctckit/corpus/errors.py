"""The error that ends a run, the error of one item, and the warning about items."""

from __future__ import annotations

__all__ = ["CorpusError", "ItemError", "ItemWarning"]


class CorpusError(ValueError):
    """A run cannot start or go on. The message says what to do."""


class ItemError(ValueError):
    """One item is bad.

    Args:
        kind: the kind of the reason, see `Fault.kind`.
        message: the reason, and what to do.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class ItemWarning(UserWarning):
    """Items look wrong, or something is wrong with the task; items are done."""
