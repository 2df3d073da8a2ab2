"""The outcome of one item: a result or a fault."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["Fault", "Outcome"]


@dataclass(frozen=True, slots=True)
class Fault:
    """Why an item is bad."""

    kind: str
    """'manifest' (an invalid line), 'missing', 'unreadable', 'too_large', 'emissions', 'model', 'text', 'time',
    'infinite', 'worker' (the process died on it), 'exists' (a file of its name exists that no run wrote for it),
    'failed', or a kind of `ctckit.Problem`."""
    message: str
    """The reason in words, and what to do."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of an item: a result or a fault."""

    id: str
    """The id of the item."""
    line: int
    """The line of the item in the manifest, from 1."""
    result: dict[str, Any] | None = None
    """The result of the task; None if there is a fault."""
    fault: Fault | None = None
    """Why there is no result."""
    files: tuple[tuple[str, str], ...] = ()
    """Names and contents of the files to write for it."""
    warnings: tuple[str, ...] = ()
    """Warnings about an item that was done."""
    notes: tuple[str, ...] = ()
    """Warnings about the task, the same for all items: of words that a vocabulary does not spell, say."""
    inputs: str = field(default="", compare=False)
    """A digest of the inputs of the result, see `Task.inputs`."""
