"""What a GPU tells about the kernels, most valuable first, within so many seconds: ``bash benchmarks/device.sh 400``.

A worker process runs one item after the other. If it says nothing for longer than an item's limit, it is ended, the
item is noted as one that hangs, and a new worker goes on with the next. Items that need one that has failed are left
out. Every result is printed, appended to device.jsonl and put into device.json at once.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.device_items import Item, Result, Settings, items
from benchmarks.device_process import Worker
from benchmarks.device_programs import Build, own_tests

LEAST = 15
"""Seconds that must be left for an item to begin."""


class Run:
    """A run: its results so far, and the worker that makes them."""

    def __init__(self, settings: Settings, build: Build | None = None) -> None:
        self.settings, self.build = settings, build
        self.start = time.monotonic()
        self.worker: Worker | None = None
        self.results: dict[str, Result] = {}

    def do(self, item: Item) -> None:
        """Run an item, or say why not; note and print what came of it."""
        began = time.monotonic()
        if self.settings.left < LEAST:
            result: Result = {"left out": "no time is left"}
        elif item.needs is not None and not self.results.get(item.needs, {}).get("ok", False):
            result = {"left out": f"{item.needs!r} has not succeeded"}
        elif item.outside:
            self.end_worker()  # so that the device, and its memory, are the other program's
            result = self._outside(item)
        else:
            result = self._inside(item)
        if "failed" in result:
            result["ok"] = False
        result["seconds"] = round(time.monotonic() - began, 1)
        self.results[item.name] = result
        print(f"{time.monotonic() - self.start:6.1f} s  {item.name}: {json.dumps(result)}"[:1500], flush=True)
        with (self.settings.out / "device.jsonl").open("a") as log:
            log.write(json.dumps({"item": item.name, **result}) + "\n")
        (self.settings.out / "device.json").write_text(json.dumps(self.results, indent=1) + "\n")

    def _outside(self, item: Item) -> Result:
        try:
            if item.function.endswith(":own_tests"):
                return own_tests(self.settings, self.build)
            module, _, name = item.function.partition(":")
            function: Callable[..., Result] = getattr(importlib.import_module(f"benchmarks.{module}"), name)
            return function(self.settings, *item.arguments)
        except Exception as error:  # noqa: BLE001 - whatever goes wrong is a result
            return {"failed": f"{type(error).__name__}: {error}"[:600]}

    def _inside(self, item: Item) -> Result:
        """Run an item in the worker. Smoke items get a second, longer try: a compiler may have been slow."""
        result: Result = {}
        for attempt in (1, 2):
            self.worker = self.worker or Worker(self.settings)
            result = self.worker.run(item, attempt * item.patience(self.settings), self.settings.end)
            if self.worker.is_broken:
                self.end_worker()
            if result.get("failed") == "no time is left":
                result["left out"] = result.pop("failed")
                break
            hangs = "hangs" in str(result.get("failed", ""))
            if not (hangs and item.name.startswith("smoke") and attempt == 1):
                break
            print(f"        {item.name}, first try: {json.dumps(result)}"[:1500], flush=True)
        return result

    def end_worker(self) -> None:
        """End the worker, if there is one."""
        if self.worker is not None:
            self.worker.end()
        self.worker = None

    def summary(self) -> list[str]:
        """One line per item: its verdict; of rows, the times."""
        lines = []
        for name, result in self.results.items():
            verdict = {True: "ok", False: "FAILED"}.get(
                result.get("ok", "-"), "left out" if "left out" in result else "done"
            )
            line = f"  {name}: {verdict}"
            if "torch / eager" in result:
                ours, torchs = result["eager"]["p50"], result["torch"]["p50"]
                line += f" ctckit {ours:.3f} ms, torch {torchs:.3f} ms = {result['torch / eager']} x"
                line += f", kernels (us) {result['kernels us']}"
            lines.append(line + (f" {result['failed']}"[:120] if "failed" in result else ""))
        return lines


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < 1e6:
        raise argparse.ArgumentTypeError(f"{text} is no number of seconds from 1 to 999999")
    return seconds


def main(arguments: list[str] | None = None) -> int:
    """Run all items that there is time for; return 1 if one has failed, else 0."""
    parser = argparse.ArgumentParser(prog="benchmarks/device.sh", description=__doc__)
    parser.add_argument("seconds", type=_seconds, nargs="?", default=500.0, help="how long it may take (500)")
    parser.add_argument("--dry", action="store_true", help="without a GPU: in Triton's interpreter, on tiny inputs")
    parser.add_argument("--only", metavar="TEXT", help="only the items whose name holds this text, whatever they need")
    options = parser.parse_args(arguments)
    chosen = items(dry=options.dry)
    if options.only is not None:
        chosen = [item._replace(needs=None) for item in chosen if options.only in item.name]
        if not chosen:
            names = ", ".join(item.name for item in items(dry=options.dry))
            parser.error(f"no item's name holds {options.only!r}; there are {names}")
    out = Path(os.environ.get("OUT") or tempfile.mkdtemp(prefix="ctckit-device-")).resolve()
    out.mkdir(parents=True, exist_ok=True)
    print(f"results go to {out}", flush=True)
    settings = Settings(out, options.dry, time.monotonic() + options.seconds)
    wants_core = not options.dry and any(item.function.endswith(":own_tests") for item in chosen)
    run = Run(settings, Build(settings) if wants_core else None)
    try:
        for item in chosen:
            run.do(item)
    finally:
        run.end_worker()
        if run.build is not None:
            run.build.end()
    print("\nin short", *run.summary(), f"results are in {out}", sep="\n", flush=True)
    return int(any(result.get("ok") is False for result in run.results.values()))


if __name__ == "__main__":
    sys.exit(main())
