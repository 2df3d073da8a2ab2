"""Writes measured tables into documents, so that no number is typed by hand.

    python -m benchmarks.markdown benchmarks/results/*.json --into docs/benchmarks.md README.md
    python -m benchmarks.markdown benchmarks/results/*.json               (prints all tables)

A document says where a table belongs by a pair of comments, which may stand anywhere:

    <!-- measured: speed -->
    <!-- /measured -->

What stands between them is replaced. `machine`, `summary` and `alignment-machine` are sentences; the tables are those
of `report.TABLES` and of `alignment_report.tables`, from the results of the two commands. With --check nothing is
written, and the command fails if a document differs from the results (a test runs this on every committed document).
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path

from benchmarks import alignment_report, report

BLOCK = re.compile(r"(<!-- measured: ([\w-]+) -->\n).*?(<!-- /measured -->)", re.DOTALL)


def blocks(results: report.Results) -> dict[str, str]:
    """What may be asked for, by name."""
    if "alignment" in results:
        return alignment_report.blocks(results)
    found = {name: table.markdown() for name, table in report.tables(results).items()}
    found["machine"] = report.machine_sentence(results) + "\n"
    found["summary"] = report.summary(results) + "\n"
    return found


def fill(document: str, *results: report.Results) -> str:
    """The document with every block replaced by what was measured."""
    known = {name: block for result in results for name, block in blocks(result).items()}

    def replace(match: re.Match[str]) -> str:
        name = match[2]
        if name not in known:
            raise SystemExit(f"no results for the block {name!r}; there are: {', '.join(known)}")
        return f"{match[1]}\n{known[name]}\n{match[3]}"  # blank lines: both are blocks of their own

    return BLOCK.sub(replace, document)


def main(arguments: list[str] | None = None) -> int:
    """Fill or check documents; without any, print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.markdown",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("results", type=Path, nargs="+")
    parser.add_argument("--into", type=Path, nargs="+", default=[], metavar="DOCUMENT")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if out of date")
    options = parser.parse_args(arguments)
    results = [json.loads(path.read_text()) for path in options.results]
    if not options.into:
        for result in results:
            for name, block in blocks(result).items():
                print(f"## {name}\n\n{block}")
    stale = 0
    for path in options.into:
        old = path.read_text()
        new = fill(old, *results)
        if new == old:
            continue
        stale += 1
        if options.check:
            print(f"{path} does not say what {', '.join(map(str, options.results))} say", file=sys.stderr)
        else:
            path.write_text(new)
            print(f"wrote {path}")
    return 1 if options.check and stale else 0


if __name__ == "__main__":
    raise SystemExit(main())
