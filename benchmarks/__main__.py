"""Measures ctckit against torch and other libraries; prints tables, writes JSON, draws plots.

``python -m benchmarks write`` puts the results into the documents.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import documents, machine
from benchmarks.cases import CASES
from benchmarks.questions import QUESTIONS
from benchmarks.settings import Settings, add_options


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    described = "\n".join(f"  {name:22}{question.words}" for name, question in QUESTIONS.items())
    parser = argparse.ArgumentParser("python -m benchmarks", formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.description = f"{__doc__}\nQuestions:\n{described}"
    add_options(parser)
    add = parser.add_argument
    add("--only", nargs="+", choices=QUESTIONS, default=list(QUESTIONS), metavar="QUESTION")
    add("--out", type=Path, help="the JSON file, in which the answers to other questions stay; plots go beside it")
    options = parser.parse_args(arguments)
    if options.out is None:
        less = options.quick or {*options.cases} != {*CASES} or {*options.only} != {*QUESTIONS}
        options.out = documents.RESULTS / ("partial.json" if less else "cpu.json")
    return options


def main(arguments: list[str]) -> int:
    """Measure, print, write, draw."""
    if arguments[:1] == ["write"]:
        return documents.main(arguments[1:])
    options = parse(arguments)
    settings = Settings.of(options)
    described = machine.describe()
    load = described["load_before"]
    if isinstance(load, float) and load > 0.5:
        print(f"The machine is busy (load {load:.1f}): take the numbers with care.\n", file=sys.stderr)
    results: dict[str, Any] = {"schema": 2, "cases": {}, "questions": {}}
    if options.out.exists():
        results = json.loads(options.out.read_text())
    results["cases"] |= {name: asdict(case) for name, case in CASES.items() if name in options.cases}
    # Of a peer the name, not the path of its Python: results are for others to read.
    shown = settings._asdict() | {"peers": list(settings.peers)}
    for name in options.only:
        results["questions"][name] = {"machine": described, "settings": shown, "rows": []}
        _measure(name, settings, results, options.out)
    _show(results, options.only, options.out)
    failures = [name for name in options.only if "failed" in results["questions"][name]]
    for name in failures:
        print("FAILED", name, results["questions"][name]["failed"])
    return 1 if failures else 0


def _measure(name: str, settings: Settings, results: documents.Results, path: Path) -> None:
    """Fill in the answer to one question; the file always has all that is known so far."""
    answer = results["questions"][name]
    start = time.perf_counter()
    try:
        for row in QUESTIONS[name].measure(settings):
            # JSON has no infinity and no NaN: null stands for them.
            answer["rows"].append(json.loads(json.dumps(row), parse_constant=lambda _: None))
            _write(results, path)
            if sys.stderr.isatty():
                print(f"\r\033[K{name}: {row}"[:100], end="\r", file=sys.stderr, flush=True)
    except Exception:  # noqa: BLE001 - a question that fails must not end the others
        traceback.print_exc()
        answer["failed"] = traceback.format_exc().splitlines()[-1]
    answer["minutes"] = round((time.perf_counter() - start) / 60, 2)
    _write(results, path)


def _show(results: documents.Results, names: list[str], path: Path) -> None:
    """Print the tables of these questions, and draw their plots."""
    chosen = results | {"questions": {name: results["questions"][name] for name in names}}
    print(documents.machine_sentence(results["questions"][names[0]]["machine"]), "\n")
    for name, table in documents.tables(chosen).items():
        print(f"{name}: {table.title}\n\n{table.markdown()}")
    print(documents.summary(chosen), f"\n\nWrote {path}")
    documents.draw(results, names, path)


def _write(results: documents.Results, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1, allow_nan=False) + "\n")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
