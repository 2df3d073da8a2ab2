"""`ctckit.align` for one item or a batch, if the type checker cannot infer which."""

from __future__ import annotations

from typing import Any

import ctckit


def align_one(*arguments: Any, **options: Any) -> ctckit.Alignment:
    """Align one item, without a batch."""
    found = ctckit.align(*arguments, **options)
    assert isinstance(found, ctckit.Alignment)
    return found


def align_batch(*arguments: Any, **options: Any) -> list[Any]:
    """Align a batch: an alignment per item, or None."""
    found = ctckit.align(*arguments, **options)
    assert isinstance(found, list)
    return found
