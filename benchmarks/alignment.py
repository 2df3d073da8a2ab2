"""How fast is the best path, beside other aligners, and how does its time grow?

``python -m benchmarks.alignment [--quick] [--long]``: one thread, float32. Peers are measured if they can be imported:
torchaudio, ctc-forced-aligner (its core), ctc-segmentation, and a Viterbi in NumPy that is always there. Each is
given what it takes natively, outside the timed part. ``--long`` aligns ten hours in one piece, which takes minutes.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import importlib.util
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

import ctckit
from benchmarks import machine
from benchmarks.contenders import Contender
from benchmarks.growth import slope
from benchmarks.timing import Effort, in_turn

if TYPE_CHECKING:
    from numpy.typing import NDArray

Row = dict[str, Any]

MUST, AIM = 3.0, 10.0
"""Times faster than the fastest peer."""


class Shape(NamedTuple):
    """One item: frames, labels, classes."""

    T: int
    S: int
    C: int = 32


SHAPES = (Shape(200, 30), Shape(1500, 200), Shape(10_000, 1_500), Shape(1500, 200, 1024))
AXES = {
    "T": [Shape(frames, 200) for frames in (1000, 2000, 4000, 8000, 16_000, 32_000)],
    "S": [Shape(8000, labels) for labels in (25, 50, 100, 200, 400, 800, 1600)],
}


def make(shape: Shape) -> tuple[Tensor, Tensor]:
    """Log-probabilities (1, T, C) and targets (1, S), the same for a shape every time."""
    generator = torch.Generator().manual_seed(sum(shape))
    x = torch.randn(1, shape.T, shape.C, generator=generator).log_softmax(2)
    return x, torch.randint(1, shape.C, (1, shape.S), generator=generator)


# ---------------------------------------------------------------------------------------------------------------- peers


def numpy_viterbi(x: NDArray[np.float32], target: NDArray[np.int64]) -> NDArray[np.int64]:
    """The classes of the best path, as one would write it with arrays over the states: a loop over the frames."""
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


class Peer(NamedTuple):
    """A call, and how to read the path off its result (None: it has no path of classes)."""

    run: Callable[[], Any]
    path_of: Callable[[Any], Tensor | None]


def peers(x: Tensor, targets: Tensor) -> dict[str, Peer]:
    """Those that are there."""
    row, target = x[0].numpy(), targets[0].numpy()
    found: dict[str, Peer] = {"numpy": Peer(lambda: numpy_viterbi(row, target), torch.from_numpy)}
    torchaudio = _imported("torchaudio.functional")
    if torchaudio is not None:
        forced_align = torchaudio.forced_align
        found["torchaudio"] = Peer(lambda: forced_align(x, targets), lambda result: result[0][0])

    core = _module_of("ctc_forced_aligner", "ctc_aligner")
    if core is not None:
        call = core.align_sequences
        found["ctc-forced-aligner"] = Peer(
            lambda: call(x.numpy(), targets.numpy(), 0),
            lambda result: torch.from_numpy(np.asarray(result[0]).reshape(-1)),
        )
    ctc_segmentation = _imported("ctc_segmentation")
    if ctc_segmentation is not None:
        config = ctc_segmentation.CtcSegmentationParameters(char_list=[str(c) for c in range(x.shape[2])], blank=0)
        config.min_window_size = len(row) + 1  # no window: the whole input, as all the others
        truth, _ = ctc_segmentation.prepare_token_list(config, [target])
        found["ctc-segmentation"] = Peer(
            lambda: ctc_segmentation.ctc_segmentation(config, row, truth),
            lambda _: None,
        )
    return found


def _imported(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except (ImportError, OSError):  # OSError: built for another torch
        return None


def _module_of(package: str, name: str) -> Any:
    """Import one file of a package without the package itself, which wants an audio stack."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(spec.submodule_search_locations[0], f"{name}.py")
    if not path.exists():
        return None
    inner = importlib.util.spec_from_file_location(f"_{package}_{name}", path)
    assert inner is not None
    assert inner.loader is not None
    module = importlib.util.module_from_spec(inner)
    inner.loader.exec_module(module)
    return module


# --------------------------------------------------------------------------------------------------------- measurements


def compare(shape: Shape, effort: Effort) -> list[Row]:
    """Every peer in turn with ctckit."""
    x, targets = make(shape)
    ours, _ = ctckit.forced_align(x, targets)
    rows = []
    for name, (run, path_of) in peers(x, targets).items():
        path = path_of(run())
        score = None if path is None else float(x[0].double().gather(1, path.long()[:, None]).sum())
        measured = in_turn(_contender(run), _contender(lambda: ctckit.forced_align(x, targets)), effort)
        best = float(x[0].double().gather(1, ours[0][:, None]).sum())
        rows.append(
            {
                "peer": name,
                **shape._asdict(),
                **measured,
                "same_path": None if path is None else bool((path == ours[0]).all()),
                "score_below_best": None if score is None else best - score,
            }
        )
    return rows


def _contender(run: Any) -> Contender:
    def ignore_result() -> None:  # a float would be taken for a time
        run()

    return Contender(ignore_result, lambda: None)


def growth(effort: Effort) -> list[Row]:
    """Median milliseconds along each axis, and the exponent of the growth over its larger half."""
    rows: list[Row] = []
    for axis, shapes in AXES.items():
        times = []
        for shape in shapes:
            x, targets = make(shape)
            ours = _contender(functools.partial(ctckit.forced_align, x, targets))
            times.append(in_turn(ours, ours, effort)["second_ms"]["p50"])
        sizes = tuple(getattr(shape, axis) for shape in shapes)
        rows.append({"axis": axis, "sizes": sizes, "ms": times, "slope": slope(sizes, times)})
    return rows


def long_input(shape: Shape) -> Row:
    """Time of one call, and the memory that it takes above its input (Linux and macOS)."""
    import resource  # noqa: PLC0415

    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, shape.T, shape.C, generator=generator)  # not normalised: no memory but the input's was ever used
    targets = torch.randint(1, shape.C, (1, shape.S), generator=generator)
    unit = 1 if sys.platform == "darwin" else 1024
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    paths, _ = ctckit.forced_align(x, targets)
    seconds = time.perf_counter() - start
    above = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit
    spelt = torch.unique_consecutive(paths[0])
    repeats = int((targets[0, 1:] == targets[0, :-1]).sum())
    assert int((spelt != 0).sum()) == shape.S, "every label once"
    return {**shape._asdict(), "seconds": seconds, "mib_above_input": above / 2**20, "repeats": repeats}


def main() -> None:
    """Measure, print, and write JSON if told where."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a look at whether everything runs")
    parser.add_argument("--long", action="store_true", help="also ten hours in one piece (minutes)")
    parser.add_argument("--json", type=Path, help="file to write the results to")
    options = parser.parse_args()
    torch.set_num_threads(1)
    effort = Effort(0.2, 2, 3) if options.quick else Effort(5.0, 5)

    # Memory first: a high-water mark does not go down.
    report: Row = {"machine": machine.describe(), "long": [long_input(Shape(60_000, 9_000))]}
    if options.long:
        report["long"].append(long_input(Shape(1_800_000, 450_000)))
    for row in report["long"]:
        print(f"T={row['T']} S={row['S']}: {row['seconds']:.2f} s, {row['mib_above_input']:.0f} MiB above the input")

    report["peers"] = []
    print("\n| T, S, C | peer | its ms | ctckit ms | ratio | same path | score below the best |\n" + "|---" * 7 + "|")
    for shape in SHAPES:
        rows = compare(shape, effort)
        report["peers"] += rows
        for row in rows:
            same, below = row["same_path"], row["score_below_best"]
            print(
                f"| {row['T']}, {row['S']}, {row['C']} | {row['peer']} | {row['first_ms']['p50']:.2f} | "
                f"{row['second_ms']['p50']:.3f} | {row['ratio']['p50']:.1f} | {'' if same is None else same} | "
                f"{'' if below is None else format(below, '.1e')} |"
            )
        ratio = min(row["ratio"]["p50"] for row in rows)
        verdict = "aim met" if ratio >= AIM else "must met" if ratio >= MUST else "MISSED"
        print(f"| {shape.T}, {shape.S}, {shape.C} | fastest | | | {ratio:.1f} | {verdict} | |")

    report["growth"] = growth(Effort(effort.seconds / 5, 2, 20))
    for row in report["growth"]:
        times = ", ".join(f"{size}: {ms:.2f}" for size, ms in zip(row["sizes"], row["ms"], strict=True))
        print(f"\ngrowth with {row['axis']} (ms): {times}; exponent {row['slope']:.2f}")
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
