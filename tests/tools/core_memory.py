"""Fill the core's memory before use, so that tests detect reads of memory that was not written."""

import importlib.util


def fill_core_memory(byte: int) -> None:
    """Make the core fill its scratch memory with this byte before each item, and large results before each call."""
    if importlib.util.find_spec("ctckit._core") is not None:
        from ctckit import _core

        _core.fill_memory(byte)
