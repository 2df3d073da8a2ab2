"""Processes that may hang: each is ended, with all that it has started, and what it had done so far is known."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.device_items import ROOT, Item, Result, Settings


def environment(settings: Settings, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the variables of a child: it finds the package in the checkout, and no backend is forced."""
    kept = {name: value for name, value in os.environ.items() if name not in ("TRITON_INTERPRET", "CTCKIT_BACKEND")}
    paths = [str(ROOT / "src"), str(ROOT), *filter(None, [kept.get("PYTHONPATH")])]
    kept |= {"PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    if settings.dry:
        kept |= {"TRITON_INTERPRET": "1", "CTCKIT_BACKEND": "triton"}
    return {**kept, **(more or {})}


def worker_command(settings: Settings, task: str) -> list[str]:
    """Return the command of a process that does `device_worker`'s task."""
    dry = ["--dry"] if settings.dry else []
    return [sys.executable, "-m", "benchmarks.device_worker", task, "--out", str(settings.out), *dry]


def run_program(
    settings: Settings, command: Sequence[str], seconds: float, more: Mapping[str, str] | None = None
) -> tuple[int | str, str]:
    """Run a program for at most so many seconds: exit status, or that it was ended; and what it printed."""
    process = subprocess.Popen(  # noqa: S603 - ourselves, or a tool of the machine's
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env=environment(settings, more),
    )
    try:
        text, _ = process.communicate(timeout=max(1.0, seconds))
    except subprocess.TimeoutExpired:
        end(process)
        text, _ = process.communicate()
        return f"ended after {seconds:.0f} s", text or ""
    return process.returncode, text


def end(process: subprocess.Popen[Any]) -> None:
    """End a process and all of its own group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):  # a process within a driver's call may not end
        process.wait(10)


class Worker:
    """A process that runs items by their names, one after the other, and says how far it is."""

    def __init__(self, settings: Settings) -> None:
        self.process = subprocess.Popen(  # noqa: S603 - ourselves
            worker_command(settings, "items"),
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            env=environment(settings),
        )
        assert self.process.stdin
        assert self.process.stdout
        self.stdin, self.stdout = self.process.stdin, self.process.stdout
        os.set_blocking(self.stdout.fileno(), False)
        self.waiting = selectors.DefaultSelector()
        self.waiting.register(self.stdout, selectors.EVENT_READ)
        self.rest = b""
        self.is_new = True  # it has still to import torch
        self.is_broken = False

    def end(self) -> None:
        """End it. It cannot be used again."""
        end(self.process)
        self.waiting.close()
        for pipe in (self.stdin, self.stdout):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()

    def run(self, item: Item, limit: float, end_of_run: float) -> Result:
        """Run an item. After a result that says why it `failed`, the process may be broken, or gone.

        Args:
            item: what to run.
            limit: seconds that may pass without a word.
            end_of_run: when it must be done in any case, in seconds of `time.monotonic`.
        """
        said: Result = {}
        steps: list[Any] = []

        def failed(reason: str) -> Result:
            self.is_broken = True
            return {**said, "steps": steps, "failed": reason}

        try:
            self.stdin.write(f"{item.name}\n".encode())
            self.stdin.flush()
        except BrokenPipeError:
            return failed("its process is gone")
        while True:
            left = end_of_run - time.monotonic()
            line = self._line(min(limit + 30 * self.is_new, left)) if left > 0 else None
            if line is None:
                end(self.process)
                out_of_time = time.monotonic() >= end_of_run
                return failed("no time is left" if out_of_time else f"hangs: no word within {limit:.0f} s")
            if not line:
                return failed(f"its process ended with {self.process.wait()}")
            if not line.startswith("@"):
                print("   ", line.rstrip(), flush=True)
                continue
            self.is_new = False
            word = json.loads(line[1:])
            if "step" in word:
                steps.append(word)
            elif "partial" in word:
                said = word["partial"]
            else:
                self.is_broken = word["broken"]
                seconds = {step["step"]: step["done"] for step in steps if step.get("done", 0) >= 0.001}
                return {**word["result"], **({"seconds of steps": seconds} if seconds else {})}

    def _line(self, seconds: float) -> str | None:
        """Return the next line with its end; None if there is none within so many seconds; '' after the last."""
        until = time.monotonic() + seconds
        while b"\n" not in self.rest:
            if not self.waiting.select(max(0.0, until - time.monotonic())):
                return None
            more = os.read(self.stdout.fileno(), 65536)
            if not more:
                return ""
            self.rest += more
        line, _, self.rest = self.rest.partition(b"\n")
        return line.decode(errors="replace") + "\n"
