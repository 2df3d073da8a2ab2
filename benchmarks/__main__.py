"""Measures ctckit against torch and other CTC losses; prints tables, writes JSON, draws plots."""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import accuracy, growth, machine, memory, peers, plots, report, speed
from benchmarks.cases import CASES, Case
from benchmarks.contenders import DTYPES
from benchmarks.timing import Effort

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

RESULTS = machine.ROOT / "benchmarks" / "results"
SCHEMA = 1


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    add = parser.add_argument
    add("--quick", action="store_true", help="few repetitions: a look, not a measurement")
    add(
        "--cases",
        nargs="+",
        choices=CASES,
        default=list(CASES),
        metavar="CASE",
        help=f"of: {', '.join(CASES)}",
    )
    add("--threads", nargs="+", type=int, default=[1, 2], help="the first is the main one")
    add("--dtypes", nargs="+", choices=DTYPES, default=list(DTYPES))
    add(
        "--peers",
        nargs="+",
        default=["auto"],
        metavar="PEER",
        help="'auto' (those installed here), 'none', or names, e.g. optax k2=/path/to/python",
    )
    add("--peer-threads", nargs="+", type=int, default=[1])
    add(
        "--only",
        nargs="+",
        choices=SECTIONS,
        default=list(SECTIONS),
        metavar="SECTION",
        help=f"of: {', '.join(SECTIONS)}",
    )
    add(
        "--out",
        type=Path,
        help="the JSON file; plots go beside it (default: results/cpu.json "
        "for everything, results/partial.json for less)",
    )
    options = parser.parse_args(arguments)
    if options.out is None:
        less = options.quick or set(options.cases) != set(CASES) or set(options.only) != set(SECTIONS)
        options.out = RESULTS / ("partial.json" if less else "cpu.json")
    return options


SECTIONS: dict[str, Callable[[argparse.Namespace], Iterable[dict[str, Any]]]] = {
    "speed": lambda o: speed.measure(_cases(o), o.dtypes, o.threads, _effort(o, 2.0, 3)),
    "scaling": lambda o: speed.scaling(_cases(o), o.threads, _effort(o, 0.5, 7)),
    "accuracy": lambda o: accuracy.measure(_cases(o), o.dtypes),
    "memory": lambda o: memory.measure(_cases(o), o.threads),
    "growth": lambda o: growth.measure(_effort(o, 0.3, 2), largest=3 if o.quick else None),
    "peers": lambda o: peers.measure(_cases(o), peers.parse(o.peers), o.peer_threads, _effort(o, 1.0, 2)),
}


def _cases(options: argparse.Namespace) -> list[Case]:
    return [CASES[name] for name in options.cases]


def _effort(options: argparse.Namespace, seconds: float, least: int) -> Effort:
    return Effort(0.0, 1) if options.quick else Effort(seconds, least)


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, write, draw."""
    options = parse(arguments)
    start = time.perf_counter()
    results: report.Results = {
        "schema": SCHEMA,
        "machine": machine.describe(),
        # Of a peer the name, not where its Python is: results are for others to read.
        "settings": {name: value for name, value in vars(options).items() if name != "out"}
        | {"peers": [peer.split("=")[0] for peer in options.peers]},
        "cases": {name: asdict(CASES[name]) for name in options.cases},
        **{name: [] for name in SECTIONS},
        "failures": [],
        "minutes": {},  # by the end of each section
    }
    load = results["machine"]["load_before"]
    if load is not None and load > 0.5:
        print(f"The machine is busy (load {load:.1f}): take the numbers with care.\n", file=sys.stderr)
    for name in options.only:
        try:
            for row in SECTIONS[name](options):
                results[name].append(_plain(row))
                _progress(name, row, time.perf_counter() - start)
        except Exception:  # noqa: BLE001 - what fails must not lose what was measured
            traceback.print_exc()
            results["failures"].append(f"{name}: {traceback.format_exc().splitlines()[-1]}")
        results["minutes"][name] = round((time.perf_counter() - start) / 60, 2)
        _write(results, options.out)
    _progress("", {}, 0)

    print(report.machine_sentence(results), "\n")
    for table in report.tables(results).values():
        print(table.text())
    print(report.summary(results))
    print(f"\nWrote {options.out}", *_plots(results, options.out.with_suffix("")), sep="\n      ")
    for failure in results["failures"]:
        print("FAILED", failure)
    return 1 if results["failures"] else 0


def _write(results: report.Results, path: Path) -> None:
    """Write what there is so far."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1, allow_nan=False) + "\n")


def _plain(value: Any) -> Any:
    """The same with None for infinities and NaN, which JSON does not have."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _plots(results: report.Results, stem: Path) -> list[Path | str]:
    try:
        return list(plots.draw(results, stem))
    except ImportError:
        return ["(no plots: matplotlib is not installed)"]


def _progress(section: str, row: dict[str, Any], seconds: float) -> None:
    """One line on a terminal that says what was just measured."""
    if not sys.stderr.isatty():
        return
    keys = ("case", "axis", "peer", "who", "mode", "dtype", "threads")
    words = " ".join(str(row[key]) for key in keys if key in row)
    print(
        f"\r\033[K{seconds:5.0f} s  {section}: {words}" if section else "\r\033[K",
        end="",
        file=sys.stderr,
        flush=True,
    )


if __name__ == "__main__":
    raise SystemExit(main())
