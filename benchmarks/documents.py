"""Puts measured tables into documents, so that no number is typed by hand, and draws the plots.

    python -m benchmarks write                    (benchmarks/results/*.json into README.md and docs)
    python -m benchmarks write --check            (writes nothing; fails if a document is out of date: a test runs this)

A document marks the place of a table by a pair of comments. The text between them is replaced:

    <!-- measured: speed -->
    <!-- /measured -->

Every table of `questions.QUESTIONS` has a name; "speed goals" is the same table with the goals and their verdicts.
"machine speed" is a sentence on the machine that measured that question, and "summary" counts the goals. The tables of
a question without results say "Not measured yet." Results of a GPU, device-NAME.json, have the tables "device-NAME
speed", "device-NAME kernels" and "device-NAME errors".
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from benchmarks import device_tables, goals, plots
from benchmarks.process import ROOT
from benchmarks.questions import QUESTIONS
from benchmarks.tables import Table

Results = dict[str, Any]

RESULTS = ROOT / "benchmarks" / "results"
WORDS = {"loss_error": "loss", "worse_by": "probability"}  # fields that a miss names
BLOCK = re.compile(r"(<!-- measured: ([\w -]+) -->\n).*?(<!-- /measured -->)", re.DOTALL)


def tables(results: Results) -> dict[str, Table]:
    """The tables for which there are results, by name."""
    shapes = {name: ", ".join(str(case[key]) for key in "TNCS") for name, case in results["cases"].items()}
    found: dict[str, Table] = {}
    for question, answer in results["questions"].items():
        rows = [row | {"T, N, C, S": shapes[row["case"]]} if "case" in row else row for row in answer["rows"]]
        found |= {name: make(rows) for name, make in _makers(question).items()}
    return {name: table for name, table in found.items() if table.rows}


def _makers(question: str) -> dict[str, Callable[[list[dict[str, Any]]], Table]]:
    """What makes each table of a question, by name; the first is named after the question."""
    first, *others = QUESTIONS[question].tables
    return {question: first, **{make.__name__.replace("_", "-"): make for make in others}}


def blocks(results: Results) -> dict[str, str]:
    """Every text that a document may ask for, by name."""
    new = [question for question in QUESTIONS if question not in results["questions"]]
    names = [name for question in new for name in (*_makers(question), f"machine {question}")]
    found = {name + more: "Not measured yet.\n" for name in names for more in ("", " goals")}
    for path in sorted(RESULTS.glob("device-*.json")):
        found |= device_tables.blocks(path)
    found["summary"] = summary(results) + "\n"
    for name, table in tables(results).items():
        found |= {name: table.markdown(with_goals=False), f"{name} goals": table.markdown()}
    answers = results["questions"].items()
    return found | {f"machine {name}": machine_sentence(answer["machine"]) + "\n" for name, answer in answers}


def summary(results: Results) -> str:
    """How many goals were reached, and which were not."""
    judged = list(_verdicts(results))
    missed = [what for what, verdict in judged if verdict == "missed"]
    aims = sum(verdict == "aim" for _, verdict in judged)
    line = f"{len(judged)} musts: {len(judged) - len(missed)} met, {len(missed)} missed. Aims met: {aims}."
    return "\n".join([line, *(f"- missed: {what}" for what in missed)])


def _verdicts(results: Results) -> Iterator[tuple[str, str]]:
    for question, answer in results["questions"].items():
        goals_of = QUESTIONS[question].goals or (lambda _: {})
        for row in answer["rows"]:
            for field, verdict in goals.verdicts(goals_of(row), row).items():
                parts = [str(row[key]) for key in ("peer", "who", "model", "case") if key in row]
                if "beam_width" in row:
                    parts.append(f"width {row['beam_width']}")
                if row.get("threads", 1) > 1:
                    parts.append(f"{row['threads']} threads")
                if field in WORDS:
                    parts.append(WORDS[field])
                yield f"{question}: {', '.join(parts)}", verdict


def machine_sentence(machine: dict[str, Any]) -> str:
    """The machine and the versions, in one sentence."""
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    return (
        f"Measured on {machine['date']} with {machine['cpu']}, {machine['cores']} cores, "
        f"{machine['memory_gib']} GiB, {machine['simd']}, {machine['system']}; "
        f"Python {machine['python']}, {versions}; commit {machine['commit'] or 'unknown'}."
    )


def draw(results: Results, questions: Iterable[str], path: Path) -> None:
    """Draw the plots of these questions beside the file of the results, if matplotlib is installed."""
    for name in questions:
        plot = QUESTIONS[name].plot
        if plot is not None and results["questions"][name]["rows"]:
            picture = path.with_name(f"{path.stem}-{name}.png")
            print(f"wrote {picture}" if plots.draw(plot, name, results, picture) else "matplotlib is not installed")


def fill(document: str, known: dict[str, str]) -> str:
    """The document with every block replaced."""

    def replace(match: re.Match[str]) -> str:
        name = match[2]
        if name not in known:
            raise SystemExit(f"no results for the block {name!r}; there are: {', '.join(known)}")
        return f"{match[1]}\n{known[name]}\n{match[3]}"  # blank lines: comments and tables are blocks of their own

    return BLOCK.sub(replace, document)


def main(arguments: list[str]) -> int:
    """Fill or check documents."""
    parser = argparse.ArgumentParser("python -m benchmarks write", formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.description = __doc__
    parser.add_argument("--results", type=Path, default=RESULTS / "cpu.json", metavar="JSON")
    documents = [ROOT / "README.md", ROOT / "docs" / "benchmarks.md", ROOT / "docs" / "gpu.md"]
    parser.add_argument("--into", type=Path, nargs="+", default=documents, metavar="DOCUMENT")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a document is out of date")
    options = parser.parse_args(arguments)
    results = json.loads(options.results.read_text())
    known = blocks(results)
    if not options.check:
        draw(results, results["questions"], options.results)
    filled = {path: fill(path.read_text(), known) for path in options.into}
    stale = {path: text for path, text in filled.items() if text != path.read_text()}
    for path, text in stale.items():
        if not options.check:
            path.write_text(text)
        print(f"{path} {'differs from' if options.check else 'is written from'} {options.results}")
    return 1 if options.check and stale else 0
