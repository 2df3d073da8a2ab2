"""How fast is the best path, beside other aligners, how does its time grow, and how much memory do hours take?

    python -m benchmarks.alignment                                          (those peers that this Python can import)
    python -m benchmarks.alignment --peers auto torchaudio=/path/to/python  (one that lives in another environment)
    python -m benchmarks.alignment --quick                                  (does everything run?)

Float32. Each peer runs in its own process (``alignment_worker``) on the same inputs, call by call in turn with ctckit.
The results go to ``results/alignment.json``, with a plot beside it; `--quick` writes to ``results/partial.json``.
``--ten-hours`` also aligns ten hours of audio in one piece, which takes minutes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

import ctckit
from benchmarks import alignment_report, cases, machine, memory, peers
from benchmarks.alignment_worker import PEERS, make
from benchmarks.contenders import Contender
from benchmarks.growth import slope
from benchmarks.timing import Effort, in_turn, once

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from torch import Tensor

Row = dict[str, Any]

CASES = (
    cases.Case("word", T=200, N=1, C=32, S=30),
    cases.Case("utterance", T=1500, N=1, C=32, S=200),
    cases.Case("recording", T=10_000, N=1, C=32, S=1500),
    cases.Case("utterances", T=1500, N=32, C=32, S=200),
    cases.Case("recordings", T=10_000, N=8, C=32, S=1500),
    cases.Case("word pieces", T=1500, N=1, C=1024, S=200),
)
AXES = {
    "T": [cases.Case("growth", T=frames, N=1, C=32, S=200) for frames in (1000, 2000, 4000, 8000, 16_000, 32_000)],
    "S": [cases.Case("growth", T=8000, N=1, C=32, S=labels) for labels in (25, 50, 100, 200, 400, 800, 1600, 3200)],
}
LONG = ((60_000, 9_000), (180_000, 45_000))
TEN_HOURS = (1_800_000, 450_000)
QUICK = 2  # cases, and sizes along an axis


def align(case: cases.Case) -> Contender:
    """The call that is measured."""
    log_probs, targets = (torch.from_numpy(array) for array in make(case))

    def run() -> None:
        ctckit.forced_align(log_probs, targets)

    return Contender(run, lambda: None)


def compare(
    chosen: Sequence[cases.Case], aligners: Mapping[str, str], threads: Sequence[int], effort: Effort, limit: float
) -> Iterator[Row]:
    """Every peer in turn with ctckit; batches on more threads too."""
    for case in chosen:
        for number in threads:
            if number > threads[0] and case.N == 1:
                continue
            for name, python in aligners.items():
                row: Row = {"peer": name, "case": case.name, "threads": number}
                peer = peers.Peer(name, python, number, limit, "alignment_worker")
                try:
                    yield row | _meet(peer, case, number, effort)
                except peers.PeerError as problem:
                    yield row | {"problem": str(problem)}
                finally:
                    peer.close()


def _meet(peer: peers.Peer, case: cases.Case, threads: int, effort: Effort) -> Row:
    loaded = peer.ask(load=asdict(case))
    if loaded["checksum"] != cases.checksum(cases.make(case)):
        raise peers.PeerError("its NumPy makes other random numbers: the inputs differ")
    ours = align(case)
    torch.set_num_threads(threads)
    once(ours)
    theirs = Contender(lambda: peer.ask(run=True)["seconds"], lambda: None)
    measured = in_turn(theirs, ours, effort, warm=True)  # "load" has run it once
    return {"version": loaded["version"], **measured, **_difference(_paths(peer), case)}


def _paths(peer: peers.Peer) -> Tensor:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "paths.npy")
        peer.ask(save=str(path))
        return torch.from_numpy(np.load(path))


def _difference(theirs: Tensor, case: cases.Case) -> Row:
    """How many items have the same path, and how far the worst is below the best path's log-probability, in nats."""
    log_probs, targets = (torch.from_numpy(array) for array in make(case))
    ours, _ = ctckit.forced_align(log_probs, targets)
    if theirs.shape != ours.shape:
        return {"same_paths": None, "below_best": None}
    x = log_probs.double()
    best, score = (x.gather(2, paths[:, :, None].long())[:, :, 0].sum(1) for paths in (ours, theirs))
    return {"same_paths": int((ours == theirs).all(1).sum()), "below_best": float((best - score).max())}


def growth(effort: Effort, sizes: int | None) -> Iterator[Row]:
    """Median milliseconds along each axis on one thread, and the exponent of the growth over its larger half."""
    torch.set_num_threads(1)
    for axis, shapes in AXES.items():
        chosen = shapes[:sizes]
        ours = (align(case) for case in chosen)
        times = [in_turn(call, call, effort)["second_ms"]["p50"] for call in ours]
        along = tuple(getattr(case, axis) for case in chosen)
        yield {"axis": axis, "sizes": list(along), "ms": times, "slope": slope(along, times)}


def long_input(frames: int, labels: int) -> Row:
    """One item, in a fresh process: seconds of one call, and the memory that it takes above its input."""
    command = [sys.executable, "-m", "benchmarks.alignment", "--one", str(frames), str(labels)]
    done = subprocess.run(command, cwd=machine.ROOT, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise RuntimeError(f"{frames} frames and {labels} labels failed:\n{done.stderr}")
    row: Row = json.loads(done.stdout)
    return row


def _one(frames: int, labels: int, classes: int = 32) -> Row:
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, frames, classes, generator=generator)  # no log_softmax, whose memory the call would use again
    targets = torch.randint(1, classes, (1, labels), generator=generator)
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark falls to the present (Linux)
    before = memory.status("VmRSS")
    start = time.perf_counter()
    paths, _ = ctckit.forced_align(x, targets)
    seconds = time.perf_counter() - start
    above = memory.status("VmHWM") - before
    tokens = [span.token for span in ctckit.merge_tokens(paths[0], x[0, :, 0])]
    assert tokens == targets[0].tolist(), "the path spells the target"
    return {"T": frames, "S": labels, "C": classes, "seconds": seconds, "mib_above_input": above}


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.alignment", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--quick", action="store_true", help="few repetitions of few cases: a look, not a measurement")
    add("--peers", nargs="+", default=["auto"], metavar="PEER", help="'auto', 'none', or names; NAME=/path/to/python")
    add("--threads", nargs="+", type=int, default=[1, 2], help="single items are measured on the first number only")
    add("--ten-hours", action="store_true", help="also ten hours in one piece")
    add("--out", type=Path, help="the JSON file; the plot goes beside it")
    add("--one", nargs=2, type=int, metavar=("T", "S"), help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def _write(results: Row, path: Path) -> None:
    """Write what there is so far."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1, allow_nan=False) + "\n")


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, write, draw."""
    options = parse(arguments)
    if options.one:
        print(json.dumps(_one(*options.one)))
        return 0
    aligners = peers.parse(options.peers, PEERS)
    few = QUICK if options.quick else None
    out = options.out or machine.ROOT / "benchmarks" / "results" / ("partial.json" if few else "alignment.json")
    long = LONG[:1] if few else LONG + (TEN_HOURS,) * options.ten_hours
    sections: dict[str, Callable[[], Iterator[Row]]] = {
        "alignment": lambda: compare(
            CASES[:few], aligners, options.threads, Effort(0.0, 1) if few else Effort(3.0, 3), 120.0
        ),
        "growth": lambda: growth(Effort(0.0, 1) if few else Effort(1.0, 5, 50), few),
        "long": lambda: (long_input(*size) for size in long if Path("/proc/self/clear_refs").exists()),
    }
    results: Row = {
        **{name: [] for name in sections},
        "schema": 1,
        "machine": machine.describe(),
        "cases": {case.name: asdict(case) for case in CASES[:few]},
    }
    for name, measure in sections.items():
        for row in measure():
            results[name].append(row)
            _write(results, out)
            if sys.stderr.isatty():
                print(f"\r\033[K{name}: {row.get('case', row.get('axis', ''))}", end="", file=sys.stderr, flush=True)
    for table in alignment_report.tables(results).values():
        print(table.text())
    print(f"Wrote {out}", *alignment_report.draw(results, out.with_suffix(".png")))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
