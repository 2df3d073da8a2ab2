"""How does ctckit compare with other libraries? Each runs in its own process and is called in turn with ctckit."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from benchmarks import accuracy, cases, peer_calls
from benchmarks.calls import Batch, ctckit_loss, step
from benchmarks.process import Process, ProcessError
from benchmarks.timing import Call, Effort, awake, compare, once

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from benchmarks.settings import Row, Settings

Arrays = dict[str, np.ndarray]


def measure(settings: Settings) -> Iterator[Row]:
    """Other CTC losses on one thread, their times and their errors."""
    chosen = [(case, 1) for case in settings.among(cases.LOSSES)]
    peers = {name: python for name, python in settings.peers.items() if name in peer_calls.LOSSES}
    effort = settings.effort(1.0, 2)
    yield from meet(peers, chosen, lambda case: step(ctckit_loss, Batch.make(case)), _errors, effort, seconds=60)


def _errors(case: cases.Case, result: Arrays) -> Row:
    losses, gradient = (torch.from_numpy(result[key]) for key in ("losses", "gradient"))
    gradient = gradient.transpose(0, 1) if case.batch_first else gradient
    return accuracy.errors((losses, gradient), accuracy.truth(case, "float32"))


def meet(
    peers: Mapping[str, str],
    chosen: Iterable[tuple[cases.Case, int]],
    ours: Callable[[cases.Case], Call],
    judge: Callable[[cases.Case, Arrays], Row],
    effort: Effort,
    seconds: float,
) -> Iterator[Row]:
    """Each peer on each case and number of threads; one that fails has a row that says why.

    `judge` adds fields to a row, from what the peer's last call returned. An answer may take `seconds`.
    """
    for case, threads in chosen:
        for name, python in peers.items():
            row: Row = {"peer": name, "case": case.name, "threads": threads}
            serve = "benchmarks.peer_calls:serve", name, threads, asdict(case)
            try:
                with Process(*serve, seconds=seconds, python=python, quiet=True) as peer:
                    yield row | _meet(peer, case, threads, ours(case), effort) | judge(case, _saved(peer))
            except ProcessError as problem:
                yield row | {"problem": str(problem)}


def _meet(peer: Process, case: cases.Case, threads: int, ours: Call, effort: Effort) -> Row:
    loaded = peer.ask()
    if loaded["checksum"] != cases.checksum(cases.make(case)):
        raise ProcessError("its NumPy makes other random numbers: the inputs differ")
    torch.set_num_threads(threads)
    once(ours)
    mine = Call(lambda: awake(ours)[1])
    return {"version": loaded["version"], **compare(Call(peer.ask), mine, effort, warm=True)}  # both have been called


def _saved(peer: Process) -> Arrays:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "result.npz")
        peer.ask(save=str(path))
        with np.load(path) as saved:
            return dict(saved)
