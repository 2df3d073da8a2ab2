"""Runs one aligner in its own process, answering one JSON line for each line of requests.

    python -m benchmarks.alignment_worker torchaudio 1        (peer, threads)

Like ``peer_worker``, it imports only NumPy and the peer, which may need another torch than ours. Requests, and what
they answer:

    {"load": case}   -> {"checksum": ..., "version": ...}   makes the inputs, warms up
    {"run": true}    -> {"seconds": ...}                    one call, from log-probabilities to paths
    {"save": path}   -> {}                                  writes the paths, (N, T); empty if the peer has none

A peer that takes one item at a time is called for each in turn, as its user would.
"""

# ruff: noqa: PLC0415 - only the peer that is measured is imported
# mypy: disable-error-code="import-not-found, import-untyped, no-untyped-call"

from __future__ import annotations

import importlib.util
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from benchmarks import apart, cases
from benchmarks.peer_worker import limit_threads, version

if TYPE_CHECKING:
    from numpy.typing import NDArray

Call = Callable[[], list[Any]]
ToPath = Callable[[Any], Any]


class Inputs(NamedTuple):
    """The arguments of one call: every item has T frames and S labels."""

    log_probs: NDArray[np.float32]  # (N, T, C)
    targets: NDArray[np.int64]  # (N, S)


def make(case: cases.Case) -> Inputs:
    """The inputs of a case, log-probabilities made from its logits."""
    made = cases.make(case)
    logits = made.logits.swapaxes(0, 1).astype(np.float64)
    log_probs = logits - np.log(np.exp(logits).sum(axis=2, keepdims=True))
    return Inputs(np.ascontiguousarray(log_probs, dtype=np.float32), made.targets)


def numpy_viterbi(inputs: Inputs) -> tuple[Call, ToPath]:
    """The best path as one would write it with arrays over the states: a loop over the frames."""
    return lambda: [_viterbi(*item) for item in zip(*inputs, strict=True)], np.asarray


def _viterbi(x: NDArray[np.float32], target: NDArray[np.int64]) -> NDArray[np.int64]:
    states = np.zeros(2 * len(target) + 1, dtype=np.int64)
    states[1::2] = target
    skip = np.zeros(len(states), dtype=np.float32)
    skip[:2] = -np.inf
    skip[2:][(states[2:] == 0) | (states[2:] == states[:-2])] = -np.inf
    alpha = np.full(len(states) + 2, -np.inf, dtype=np.float32)
    alpha[2] = 0
    moves = np.empty((len(x), len(states)), dtype=np.uint8)
    arcs = np.empty((3, len(states)), dtype=np.float32)
    for t, row in enumerate(x):
        arcs[0], arcs[1], arcs[2] = alpha[2:], alpha[1:-1], alpha[:-2] + skip
        moves[t] = arcs.argmax(0)
        alpha[2:] = arcs.max(0) + row[states]
    state = len(states) - 1 - int(len(target) > 0 and alpha[-2] >= alpha[-1])
    path = np.empty(len(x), dtype=np.int64)
    for t in range(len(x) - 1, -1, -1):
        path[t] = states[state]
        state -= int(moves[t, state])
    return path


def torchaudio(inputs: Inputs) -> tuple[Call, ToPath]:
    """torchaudio.functional.forced_align, one item a call: it takes no more."""
    import torch
    from torchaudio.functional import forced_align

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    items = [(torch.from_numpy(x[None]), torch.from_numpy(y[None])) for x, y in zip(*inputs, strict=True)]
    return lambda: [forced_align(x, y) for x, y in items], lambda result: result[0][0].numpy()


def ctc_forced_aligner(inputs: Inputs) -> tuple[Call, ToPath]:
    """The core of ctc-forced-aligner, without the package around it, which wants an audio stack."""
    spec = importlib.util.find_spec("ctc_forced_aligner")
    assert spec is not None
    assert spec.submodule_search_locations
    path = Path(spec.submodule_search_locations[0], "ctc_aligner.py")
    inner = importlib.util.spec_from_file_location("ctc_aligner", path)
    assert inner is not None
    assert inner.loader is not None
    core = importlib.util.module_from_spec(inner)
    inner.loader.exec_module(core)
    items = [(x[None], y[None]) for x, y in zip(*inputs, strict=True)]
    return lambda: [core.align_sequences(x, y, 0) for x, y in items], lambda result: result[0][0]


def ctc_segmentation(inputs: Inputs) -> tuple[Call, ToPath]:
    """ctc_segmentation without its window: the whole input, as all the others. It gives times, no path of classes."""
    import ctc_segmentation as package

    config = package.CtcSegmentationParameters(char_list=[str(c) for c in range(inputs.log_probs.shape[2])], blank=0)
    config.min_window_size = inputs.log_probs.shape[1] + 1
    items = [(x, package.prepare_token_list(config, [y])[0]) for x, y in zip(*inputs, strict=True)]
    return lambda: [package.ctc_segmentation(config, x, truth) for x, truth in items], lambda _: ()


# name: (how to prepare it, the module that it needs)
PEERS = {
    "torchaudio": (torchaudio, "torchaudio"),
    "ctc-forced-aligner": (ctc_forced_aligner, "ctc_forced_aligner"),
    "ctc-segmentation": (ctc_segmentation, "ctc_segmentation"),
    "numpy": (numpy_viterbi, "numpy"),
}


def _version(module: str) -> str:
    if module in sys.modules:
        return version(module)
    import importlib.metadata

    return importlib.metadata.version(module)


def serve(peer: str, answer: Any) -> None:
    """Answer requests until standard input closes."""
    prepare, module = PEERS[peer]
    call: Call = list
    to_path: ToPath = np.asarray
    results: list[Any] = []
    for line in sys.stdin:
        request = json.loads(line)
        reply: dict[str, Any] = {}
        try:
            if "load" in request:
                case = cases.Case(**request["load"])
                reply["checksum"] = cases.checksum(cases.make(case))
                call, to_path = prepare(make(case))
                results = call()
                reply["version"] = f"{module} {_version(module)}"
            elif "run" in request:
                start = time.perf_counter()
                results = call()
                reply["seconds"] = time.perf_counter() - start
            elif "save" in request:
                np.save(request["save"], np.stack([np.asarray(to_path(result)) for result in results]))
        except Exception as error:  # noqa: BLE001 - one shape that a peer cannot do must not end the others
            reply["error"] = apart.describe(error)
        print(json.dumps(reply), file=answer, flush=True)


if __name__ == "__main__":
    # Peers print warnings on both streams: keep standard output for the answers alone.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    limit_threads(int(sys.argv[2]))
    serve(sys.argv[1], answers)
