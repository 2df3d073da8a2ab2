"""What comes of one item: a result, or the fault that says why there is none."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["Fault", "Outcome"]


@dataclass(frozen=True, slots=True)
class Fault:
    """Why an item could not be done."""

    kind: str
    """'manifest' (its line), 'missing', 'unreadable', 'too_large', 'emissions', 'model', 'text', 'time', 'infinite',
    'worker' (the process died over it), 'exists' (a file of that name that no run has made for it), 'failed', or a kind
    of `ctckit.Problem`."""
    message: str
    """The same in words, and what to do."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an item: a result or a fault."""

    id: str
    """Its name."""
    line: int
    """Its line in the manifest."""
    result: dict[str, Any] | None = None
    """What the task found; None if there is a fault."""
    fault: Fault | None = None
    """Why there is no result."""
    files: tuple[tuple[str, str], ...] = ()
    """Names and contents of files to write beside it."""
    warnings: tuple[str, ...] = ()
    """What looks wrong with an item that was done nonetheless."""
    inputs: str = field(default="", compare=False)
    """A digest of what the result was made from, see `Task.inputs`."""
