"""What stops a whole run, as against what is wrong with one item."""

from __future__ import annotations

__all__ = ["CorpusError", "ItemError", "ItemWarning"]


class CorpusError(ValueError):
    """A run cannot begin or go on; the message says what to do."""


class ItemError(ValueError):
    """One item cannot be done.

    Args:
        kind: a short name of the reason, for counting.
        message: the reason in words, and what to do.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class ItemWarning(UserWarning):
    """Items look wrong, and are done nonetheless."""
