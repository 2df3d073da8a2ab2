"""Measurements in a process of their own: one that hangs, or breaks its device, takes nothing else along."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable
from multiprocessing.connection import Connection
from typing import Any


def last(results: Callable[..., Iterable[Any]], *arguments: Any, seconds: float) -> tuple[Any, str | None]:
    """Return the last of the results that came, and what kept the others from coming.

    Both the function, which is called in a new process, and its results must be such that pickle takes them. None of
    the results may take more than so many seconds.
    """
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(there, results, *arguments))
    process.start()
    there.close()
    result, failed = None, None
    try:
        while True:
            if not here.poll(seconds):
                failed = f"no result within {seconds:g} s"
                break
            more, sent = here.recv()
            if not more:
                failed = sent
                break
            result = sent
    except EOFError:
        process.join()
        failed = f"its process ended with {process.exitcode}"
    finally:
        process.kill()
        process.join()
        here.close()
    return result, failed


def _send(there: Connection, results: Callable[..., Iterable[Any]], *arguments: Any) -> None:
    try:
        for result in results(*arguments):
            there.send((True, result))
    except Exception as error:  # noqa: BLE001 - whatever goes wrong is a result
        there.send((False, describe(error)))
    else:
        there.send((False, None))


def describe(error: Exception) -> str:
    """Tell the kind of an error and the first line of what it says, if that is not too long."""
    lines = str(error).splitlines()
    return (f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__)[:300]
