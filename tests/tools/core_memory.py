"""What the core's own memory holds before it is used: the same for all tests, so that what is not written shows."""

import importlib.util


def fill_core_memory(byte: int) -> None:
    """Let the core fill its scratch memory with this byte before each item, and large results before each call."""
    if importlib.util.find_spec("ctckit._core") is not None:
        from ctckit import _core

        _core.fill_memory(byte)
