"""Runs a function in its own process, with a limit on the time of each answer.

The function is named as "module:name". Arguments, messages and answers are JSON, one line each. A generator answers
one request after another, and gets the message of the next request as the value of its `yield`. A process that hangs is
killed.

Only the standard library is imported: a peer may need Python 3.9 and have no torch.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent


class ProcessError(Exception):
    """The function failed, its process ended, or an answer took too long."""


class Process:
    """A function in a process that ends with the `with` block; no answer may take more than `seconds`."""

    def __init__(
        self,
        function: str,
        *arguments: object,
        seconds: float,
        python: str = sys.executable,
        environment: Mapping[str, str] = {},
        quiet: bool = False,
    ) -> None:
        self.seconds = seconds
        self.process = subprocess.Popen(  # noqa: S603 - ourselves, by the interpreter that the user named
            [python, "-m", "benchmarks.process", function, json.dumps(arguments)],
            cwd=ROOT,
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if quiet else None,
            text=True,
        )

    def __enter__(self) -> Process:  # noqa: PYI034 - Python 3.9 has no Self
        """Return the process, which is already running."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the process and wait until it is gone."""
        self.process.kill()
        self.process.communicate()

    def ask(self, **message: object) -> Any:
        """Return the next answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        start = time.monotonic()
        timer = threading.Timer(self.seconds, self.process.kill)
        timer.start()
        try:
            self.process.stdin.write(json.dumps(message) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            timer.cancel()
        if not line.endswith("\n"):
            if time.monotonic() - start >= self.seconds:
                raise ProcessError(f"no answer within {self.seconds:g} s")
            raise ProcessError(f"its process ended with {self.process.wait()}")
        reply = json.loads(line)
        if "error" in reply:
            raise ProcessError(reply["error"])
        return reply["answer"]


def describe(error: Exception) -> str:
    """Return the type of an error and the first line of its message, at most 300 characters."""
    lines = str(error).splitlines()
    return (f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__)[:300]


def _answers(function: str, arguments: list[Any]) -> Generator[Any, Any, None]:
    module, _, name = function.partition(":")
    result = getattr(importlib.import_module(module), name)(*arguments)
    if isinstance(result, Generator):
        yield from result
    else:
        yield result


def _serve(function: str, arguments: list[Any]) -> None:
    # Libraries print on both streams: standard output is kept for the answers alone.
    stdout = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    answers = _answers(function, arguments)
    for line in sys.stdin:
        try:
            reply = {"answer": answers.send(json.loads(line) or None)}
        except Exception as error:  # noqa: BLE001 - every failure is an answer
            reply = {"error": describe(error)}
        print(json.dumps(reply), file=stdout, flush=True)


if __name__ == "__main__":
    _serve(sys.argv[1], json.loads(sys.argv[2]))
