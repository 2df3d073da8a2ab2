"""Results of a GPU (`benchmarks/device.sh`) as tables, for docs/gpu.md."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from benchmarks.tables import Table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.device_items import Result

KERNELS = {
    "sum_rows": ("sum_rows",),
    "walk_chunks": ("walk_chunks",),
    "occupy": ("occupy",),
    "gradient": ("write_rows", "write_by_class"),
}
"""Columns, and the kernels in them: those that take most of the time. The gradient is written by one of two."""


def blocks(path: Path) -> dict[str, str]:
    """Every text of a file of results that a document may ask for, by the file's name and its own."""
    results: dict[str, Result] = json.loads(path.read_text())
    found = {f"machine {path.stem}": machine_sentence(results["machine"]) + "\n"}
    tables = {"speed": speed(results), "kernels": kernels(results), "errors": errors(results)}
    return found | {f"{path.stem} {name}": table.markdown() for name, table in tables.items() if table.rows}


def machine_sentence(machine: Result) -> str:
    """The card and the versions, in one sentence."""
    return (
        f"Measured with {machine['name']}, {machine['multiprocessors']} multiprocessors, {machine['GiB']} GiB, "
        f"which copies {machine['copy GB/s']:.0f} GB/s (reads and writes); "
        f"torch {machine['torch']}, Triton {machine['triton']}, Python {machine['python']}."
    )


def speed(results: dict[str, Result]) -> Table:
    """A training step beside torch's and cuDNN's."""

    def cells(row: Result) -> dict[str, str]:
        ours, torchs = row["eager"]["p50"], row["torch"]["p50"]
        return {
            "ctckit ms": _ms(ours),
            "torch ms": _ms(torchs),
            "faster": f"{torchs / ours:.2g}x",
            "cuDNN ms": _ms(row.get("cudnn", {}).get("p50")),
            "kernels ms": _ms(row["kernels us"]["all"] / 1e3),
            "graph ms": _ms(row.get("graph", {}).get("ms")),
            "MiB": _mib(row["peak bytes"]),
            "torch MiB": _mib(row.get("torch peak bytes")),
        }

    note = (
        "From logits to their gradient, medians. kernels: on the device, from the first kernel to the last. graph: the "
        "replay of a captured step. MiB: the peak above the input, the gradient included. cuDNN and torch's "
        "MiB: float32 only; cuDNN refused the shapes without a number."
    )
    return Table("Speed", [head | cells(row) for head, row in _of(results, "row")], note)


def kernels(results: dict[str, Result]) -> Table:
    """The time of each kernel on the device."""

    def cells(times: dict[str, float]) -> dict[str, str]:
        columns = {name: sum(times.get(kernel, 0.0) for kernel in kernels) for name, kernels in KERNELS.items()}
        columns["others, gaps"] = times["all"] - sum(columns.values())
        return {name: f"{microseconds:.0f}" for name, microseconds in columns.items()}

    rows = [head | cells(row["kernels us"]) for head, row in _of(results, "row")]
    return Table("Kernels", rows, "Microseconds on the device.")


def errors(results: dict[str, Result]) -> Table:
    """Errors of the gradient, of ctckit and torch."""
    rows = [
        head | {who: f"{row[f'gradient error of {who}']:.1e}" for who in ("ctckit", "torch")}
        for head, row in _of(results, "peers")
        if "gradient error of ctckit" in row
    ]
    return Table("Errors", rows, "Relative error of the gradient, in the norm, against float64 on the same logits.")


def _of(results: dict[str, Result], kind: str) -> Iterator[tuple[dict[str, str], Result]]:
    """The results of the shapes, each with the first cells of its row."""
    for name, row in results.items():
        label, _, rest = name.partition(": ")
        if label == kind and "failed" not in row and "left out" not in row:
            shape, _, dtype = rest.rpartition(" ")
            yield {"T, N, C, S": shape.strip("()"), "dtype": dtype}, row


def _ms(value: Any) -> str:
    return "" if value is None else f"{value:.3g}"


def _mib(value: Any) -> str:
    return "" if value is None else f"{value / 2**20:.0f}"
