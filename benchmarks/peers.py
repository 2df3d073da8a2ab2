"""How does ctckit compare with the other CTC losses that can be installed?"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tempfile
import threading
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from benchmarks import accuracy, cases, goals, machine
from benchmarks.contenders import Contender, Job, ctckit_loss, step
from benchmarks.peer_worker import PEERS
from benchmarks.timing import Effort, awake, in_turn, once

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

Row = dict[str, Any]

OPT_IN = {"tensorflow-dense"}  # measured only when named: minutes per call on long inputs


class PeerError(Exception):
    """A peer cannot do this shape, or not in time."""


class Peer:
    """A peer in its own process (see `peer_worker` for what is said, and `alignment_worker`)."""

    def __init__(self, name: str, python: str, threads: int, limit: float, worker: str = "peer_worker") -> None:
        self.limit = limit  # seconds that one answer may take
        self.process = subprocess.Popen(  # noqa: S603 - the interpreter that the user named
            [python, "-m", f"benchmarks.{worker}", name, str(threads)],
            cwd=machine.ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def ask(self, **request: object) -> Row:
        """Send a request and wait for its answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        overdue = threading.Timer(self.limit, self.process.kill)
        overdue.start()
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        finally:
            overdue.cancel()
        if not answer:
            raise PeerError(f"no answer within {self.limit:g} s, or the process ended")
        reply: Row = json.loads(answer)
        if "error" in reply:
            raise PeerError(str(reply["error"]))
        return reply

    def close(self) -> None:
        """End the process and wait until it is gone."""
        self.process.kill()
        self.process.communicate()


def installed(peers: Mapping[str, tuple[Any, str]] = PEERS) -> dict[str, str]:
    """The peers that this Python can import, each with this Python."""
    return {
        name: sys.executable
        for name, (_, module) in peers.items()
        if name not in OPT_IN and importlib.util.find_spec(module) is not None
    }


def parse(arguments: Sequence[str], peers: Mapping[str, tuple[Any, str]] = PEERS) -> dict[str, str]:
    """Turn `optax k2=/path/python` into names and interpreters; `auto` and `none` are words."""
    chosen: dict[str, str] = {}
    for argument in arguments:
        name, _, python = argument.partition("=")
        if name == "auto":
            chosen |= installed(peers)
        elif name in peers:
            chosen[name] = python or sys.executable
        elif name != "none":
            raise SystemExit(f"unknown peer {name!r}; known: {', '.join(peers)}, auto, none")
    return chosen


def measure(
    chosen: Sequence[cases.Case],
    peers: Mapping[str, str],
    threads: Sequence[int],
    effort: Effort,
    limit: float = 60.0,
) -> Iterator[Row]:
    """Each peer on each case, call by call in turn with ctckit, and its errors."""
    for name, python in peers.items():
        for number in threads:
            peer: Peer | None = None
            for case in chosen:
                if peer is None:
                    peer = Peer(name, python, number, limit)
                row: Row = {"peer": name, "case": case.name, "threads": number}
                try:
                    yield row | _meet(peer, case, number, effort)
                except PeerError as problem:
                    yield row | {"problem": str(problem)}
                    peer.close()
                    peer = None
            if peer is not None:
                peer.close()


def _meet(peer: Peer, case: cases.Case, threads: int, effort: Effort) -> Row:
    loaded = peer.ask(load=asdict(case))
    if loaded["checksum"] != cases.checksum(cases.make(case)):
        raise PeerError("its NumPy makes other random numbers: the inputs differ")
    ours = step(ctckit_loss, Job.make(case))
    torch.set_num_threads(threads)
    once(ours)
    theirs = Contender(lambda: peer.ask(run=True)["seconds"], lambda: None)
    mine = Contender(lambda: awake(*ours)[1], lambda: None)
    measured = in_turn(theirs, mine, effort, warm=True)  # "load" has run it once
    gradient_error, loss_error = accuracy.errors(_result(peer, case), accuracy.truth(case, "float32"))
    return {
        "version": loaded["version"],
        **measured,
        "verdict": goals.at_least(measured["ratio"]["p50"], goals.PEER_SPEED),
        "gradient_error": gradient_error,
        "loss_error": loss_error,
    }


def _result(peer: Peer, case: cases.Case) -> accuracy.LossAndGradient:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "result.npz")
        peer.ask(save=str(path))
        with np.load(path) as saved:
            losses, gradient = (torch.from_numpy(saved[key]) for key in ("losses", "gradient"))
    return losses, gradient.transpose(0, 1) if case.batch_first else gradient
