"""The process in which `benchmarks.device` runs its items: it alone uses the device.

It reads the names of items from its standard input. Lines that begin with @ are JSON, and a sign of life: a `step` that
begins or is done, a `partial` result, a `result`.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import math
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from benchmarks.device_items import Item, Result, Settings, items
from benchmarks.device_words import say, synchronize


class HostEvent:
    """A moment of the host's clock, in place of an event of the device."""

    def __init__(self, *, enable_timing: bool = False) -> None:
        self.enable_timing, self.seconds = enable_timing, 0.0

    def record(self) -> None:
        """Take the time."""
        self.seconds = time.perf_counter()

    def elapsed_time(self, end: HostEvent) -> float:
        """Milliseconds until another event."""
        return (end.seconds - self.seconds) * 1e3


def play_cuda() -> None:
    """Let the host's clock stand for torch.cuda, so that the code of the items runs without a GPU."""

    def nothing(*_: Any, **__: Any) -> None:
        pass

    for name in ("synchronize", "empty_cache", "reset_peak_memory_stats", "_sleep"):
        setattr(torch.cuda, name, nothing)
    for name, value in (("memory_allocated", 0), ("max_memory_allocated", 1)):
        setattr(torch.cuda, name, lambda *_, value=value: value)
    setattr(torch.cuda, "Event", HostEvent)  # noqa: B010 - mypy takes no assignment to a class
    setattr(torch.cuda, "current_stream", lambda *_: SimpleNamespace(wait_stream=nothing))  # noqa: B010


def run_item(settings: Settings, item: Item) -> Result:
    """Import the function of an item and call it."""
    module, _, name = item.function.partition(":")
    function: Callable[..., Result] = getattr(importlib.import_module(f"benchmarks.{module}"), name)
    return function(settings, *item.arguments)


def run_items(settings: Settings) -> None:
    """Run items as their names come."""
    torch.set_num_threads(max(1, min(8, os.cpu_count() or 1)))
    say(step="torch is imported")
    known = {item.name: item for item in items(dry=settings.dry)}
    for line in sys.stdin:
        broken = False
        try:
            result = run_item(settings, known[line.rstrip("\n")])
            synchronize(settings)
            torch.cuda.empty_cache()
        except Exception as error:  # noqa: BLE001 - whatever goes wrong is a result
            where = traceback.format_exc().splitlines()[-6:]
            result = {"failed": f"{type(error).__name__}: {error}"[:600], "where": where}
            try:
                synchronize(settings)
            except Exception:  # noqa: BLE001 - the device is broken for this process
                broken = True
        say(result=result, broken=broken)


def main(arguments: list[str] | None = None) -> None:
    """Do one task: run items, or what another program looks at."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", choices=("items", "sanitized", "first"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--dry", action="store_true")
    options = parser.parse_args(arguments)
    settings = Settings(options.out, options.dry, math.inf)
    if settings.dry:
        play_cuda()
    if options.task == "items":
        with contextlib.suppress(KeyboardInterrupt):
            run_items(settings)
    else:
        checks = importlib.import_module("benchmarks.device_checks")
        say(result=getattr(checks, options.task)(settings))


if __name__ == "__main__":
    main()
