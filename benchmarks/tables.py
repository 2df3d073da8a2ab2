"""Results as tables in Markdown, which are printed and put into the documentation.

Each function makes one table from the rows of a question, which hold their case's "T, N, C, S", too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks import goals

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benchmarks.goals import Goal
    from benchmarks.settings import Row

    Rows = list[Row]


GOAL_HEADS = ("must", "aim", "goal")


@dataclass(frozen=True)
class Table:
    """A title, rows of text by column head, and a sentence on how to read it."""

    title: str
    rows: list[dict[str, str]]
    note: str

    def markdown(self, *, with_goals: bool = True) -> str:
        """Write the table in Markdown, without its title."""
        heads = [head for head in self.rows[0] if with_goals or head not in GOAL_HEADS]
        lines = [heads, *([row[head] for head in heads] for row in self.rows)]
        widths = [max(3, *map(len, column)) for column in zip(*lines, strict=True)]
        lines.insert(1, [":" + "-" * (widths[0] - 1), *("-" * (width - 1) + ":" for width in widths[1:])])
        aligned = ([cells[0].ljust(widths[0]), *map(str.rjust, cells[1:], widths[1:])] for cells in lines)
        return "\n".join([*("| " + " | ".join(cells) + " |" for cells in aligned), "", self.note, ""])


def speed(rows: Rows) -> Table:
    """Loss and gradient beside torch, float32, one thread."""

    def cells(row: Row) -> dict[str, str]:
        ratio, goal = row["ratio"], goals.speed(row).get("ratio")
        return {
            "case": row["case"],
            "T, N, C, S": row["T, N, C, S"],
            "torch ms": ms_cell(row["first_ms"]["p50"]),
            "ctckit ms": ms_cell(row["second_ms"]["p50"]),
            "faster": times_cell(ratio["p50"]),
            "p20-p80": f"{ratio['p20']:.3g}-{ratio['p80']:.3g}",
            "must": times_cell(goal and goal.must),
            "aim": goal.words or times_cell(goal.aim) if goal else "",
            "goal": goal_cell(goals.speed, row),
        }

    note = (
        "From logits to their gradient, float32, one thread; median of the ratios of calls made in turn, and their "
        "20th to 80th percentile."
    )
    return Table("Speed against torch", [cells(row) for row in rows if goals.is_main(row)], note)


def ways(rows: Rows) -> Table:
    """Every other dtype, thread count and mode: one column each, the ratio only."""

    def way(row: Row) -> str:
        parts = {"mode": "logits", "dtype": "float32"}
        more = [f"{row['threads']} threads"] if row["threads"] > 1 else []
        return ", ".join([row[key] for key, usual in parts.items() if row[key] != usual] + more)

    note = (
        "Times faster than torch, called in the same way; in bfloat16 torch must convert to float32 first. log_probs: "
        "log_softmax and ctckit.ctc_loss. forward: the loss alone. in place: the gradient written over the logits. "
        "ceiling: torch against an autograd function that only copies the logits to their gradient, which no loss "
        "called from Python can beat. floor: ctckit against two sums over the logits and filling a new tensor, by "
        "torch; ctckit is faster because it allocates its gradient in huge pages."
    )
    others = [row for row in rows if way(row)]
    return Table(
        "Other dtypes, threads and calls", _grid(others, way, lambda row: times_cell(row["ratio"]["p50"])), note
    )


def scaling(rows: Rows) -> Table:
    """One thread against more."""

    def cells(row: Row) -> dict[str, str]:
        goal = goals.scaling(row).get("ratio")
        return {
            "case": row["case"],
            "N": row["T, N, C, S"].split(", ")[1],
            "threads": str(row["threads"]),
            "1 thread ms": ms_cell(row["first_ms"]["p50"]),
            "threads ms": ms_cell(row["second_ms"]["p50"]),
            "faster": times_cell(row["ratio"]["p50"]),
            "must": times_cell(goal and goal.must),
            "goal": goal_cell(goals.scaling, row),
        }

    note = "A batch that takes less than a millisecond stays on one thread, and has no goal."
    return Table("Threads", list(map(cells, rows)), note)


def accuracy(rows: Rows) -> Table:
    """Float32: gradient and loss."""
    found = {(row["case"], row["who"]): row for row in rows if row["dtype"] == "float32"}

    def cells(ours: Row) -> dict[str, str]:
        torchs, log_probs = (found[ours["case"], who] for who in ("torch", "ctckit, log_probs"))
        return {
            "case": ours["case"],
            "loss": f"{ours['loss']:.4g}",
            "gradient: torch": _error(torchs["gradient_error"]),
            "ctckit": _error(ours["gradient_error"]),
            "via log_probs": _error(log_probs["gradient_error"]),
            "loss: torch": _error(torchs["loss_error"]),
            "loss: ctckit": _error(ours["loss_error"]),
            "goal": goal_cell(goals.accuracy, ours),
        }

    note = "Float32, from logits: |g - g64| / |g64|, and the worst item's relative error of the loss."
    return Table("Errors against float64", [cells(row) for (_, who), row in found.items() if who == "ctckit"], note)


def accuracy_dtypes(rows: Rows) -> Table:
    """Gradients in the other dtypes, one column for each."""
    others = [row for row in rows if row["dtype"] != "float32"]
    note = (
        "Relative error of the gradient. In float64 torch is the judge. In bfloat16 the gradient itself is rounded to "
        "bfloat16, which alone costs about 2e-3."
    )
    cells = _grid(others, lambda row: f"{row['who']} {row['dtype']}", lambda row: _error(row["gradient_error"]))
    return Table("Errors in other dtypes", cells, note)


def memory(rows: Rows) -> Table:
    """Peaks, one column for each call."""

    def cells(case: str, threads: int) -> dict[str, str]:
        here = {row["who"]: row for row in rows if (row["case"], row["threads"]) == (case, threads)}
        peaks = {who: f"{row['peak_mib']:.1f}" for who, row in here.items()}
        return {
            "case": case,
            "threads": str(threads),
            "gradient": f"{here['ctckit']['gradient_mib']:.1f}",
            **{who: peaks.get(who, "") for who in ("torch", "ctckit", "ctckit, in place")},
            "goal": goal_cell(goals.memory, *here.values()),
        }

    note = "MiB, each in a fresh process; float32, loss and gradient. The peak includes the gradient, unless in place."
    keys = dict.fromkeys((row["case"], row["threads"]) for row in rows)
    return Table("Peak memory above the input", [cells(*key) for key in keys], note)


def growth(rows: Rows) -> Table:
    """Ranges of sizes and times, and slopes; for losses and for best paths."""

    def cells(row: Row) -> dict[str, str]:
        who = [name for name in ("torch", "ctckit") if f"{name}_ms" in row]
        times = {f"{name} ms": row[f"{name}_ms"] for name in who}
        slopes = {f"{name} slope": row[f"{name}_slope"] for name in who}
        return {
            "axis": row["axis"],
            "sizes": f"{row['sizes'][0]}-{row['sizes'][-1]}",
            **{head: f"{ms_cell(along[0])}-{ms_cell(along[-1])}" for head, along in times.items()},
            **{head: "" if slope is None else f"{slope:.2f}" for head, slope in slopes.items()},
        }

    note = "Slope: the exponent p in time ~ size^p, over the larger half of the sizes."
    return Table("Growth of time", list(map(cells, rows)), note)


def peers(rows: Rows) -> Table:
    """Times of other losses, one column for each."""

    def cell(row: Row) -> str:
        return f"{ms_cell(row['first_ms']['p50'])} ({times_cell(row['ratio']['p50'])})" if "ratio" in row else "fails"

    note = "Milliseconds of each peer, one thread, and how many times faster ctckit is, in turn."
    cells = _grid(rows, _versioned(rows), cell)
    for line in cells:
        line["goal"] = goal_cell(goals.peers, *(row for row in rows if row["case"] == line["case"]))
    return Table("Other CTC losses: time", cells, note)


def peer_errors(rows: Rows) -> Table:
    """Errors of other losses, one column for each."""
    note = "Relative error of the gradient of the same peers (float32 input)."
    cells = _grid(rows, _versioned(rows), lambda row: _error(row["gradient_error"]) if "ratio" in row else "")
    return Table("Other CTC losses: errors", cells, note)


def _versioned(rows: Rows) -> Callable[[Row], str]:
    """Return the head of a peer's column: `optax 0.2.8`, or `warp-ctc (paddle 3.3.1)`."""
    heads = {row["peer"]: row["peer"] for row in rows}
    for row in rows:
        if "version" in row:
            peer, version = row["peer"], row["version"]
            heads[peer] = version if version.split(" ", 1)[0] == peer else f"{peer} ({version})"
    return lambda row: heads[row["peer"]]


def alignment(rows: Rows) -> Table:
    """Best paths: every peer, ctckit, and the fastest peer beside ctckit."""
    names = dict.fromkeys(row["peer"] for row in rows)

    def cells(case: str, threads: int) -> dict[str, str]:
        here = {row["peer"]: row for row in rows if (row["case"], row["threads"]) == (case, threads) and "ratio" in row}
        times = {name: f"{row['first_ms']['p50']:.3g}" for name, row in here.items()}
        return {
            "case": case,
            "T, N, C, S": next(row["T, N, C, S"] for row in rows if row["case"] == case),
            "threads": str(threads),
            **{name: times.get(name, "fails") for name in names},
            "ctckit": f"{min(row['second_ms']['p50'] for row in here.values()):.3g}" if here else "",
            "fastest peer / ctckit": f"{min(row['ratio']['p50'] for row in here.values()):.3g}x" if here else "",
            "goal": goal_cell(goals.peers, *here.values()),
        }

    note = (
        "Milliseconds of a call, float32, median of calls made in turn; the last number is the fastest peer's time "
        "over ctckit's, the median over pairs. A peer that takes one item at a time is called for each."
    )
    return Table(
        "Best path", [cells(*key) for key in dict.fromkeys((row["case"], row["threads"]) for row in rows)], note
    )


def confidences(rows: Rows) -> Table:
    """Confidences beside the path alone."""

    def cells(row: Row) -> dict[str, str]:
        return {
            "case": row["case"],
            "T, N, C, S": row["T, N, C, S"],
            "path ms": ms_cell(row["second_ms"]["p50"]),
            "confidences ms": ms_cell(row["first_ms"]["p50"]),
            "confidences / path": f"{row['ratio']['p50']:.2g}",
            "MiB": f"{row['peak_mib']:.1f}" if "peak_mib" in row else "",
            "goal": goal_cell(goals.confidences, row),
        }

    note = (
        "Milliseconds on one thread, float32, of forced_align and of the occupancy along its path, in turn; and the "
        "peak memory of the latter above its input and the path."
    )
    return Table("Confidences", list(map(cells, rows)), note)


def long(rows: Rows) -> Table:
    """Hours of audio."""

    def cells(row: Row) -> dict[str, str]:
        return {
            "T": f"{row['T']:,}",
            "S": f"{row['S']:,}",
            "hours": f"{row['T'] / 50 / 3600:.2g}",
            "seconds": f"{row['seconds']:.3g}",
            "MiB above the input": f"{row['mib_above_input']:.0f}",
        }

    note = "One item in one piece on one thread, C = 32; the path and its scores are part of the memory."
    return Table("Long inputs", list(map(cells, rows)), note)


def _grid(rows: Rows, head: Callable[[Row], str], cell: Callable[[Row], str]) -> list[dict[str, str]]:
    """One row for each case, one column for each head; empty where nothing was measured."""
    found = {(row["case"], head(row)): cell(row) for row in rows}
    heads = dict.fromkeys(map(head, rows))
    cases = dict.fromkeys(row["case"] for row in rows)
    return [{"case": case, **{name: found.get((case, name), "") for name in heads}} for case in cases]


def goal_cell(goals_of: Callable[[Row], Mapping[str, Goal]], *rows: Row) -> str:
    """The worst verdict on these rows."""
    found = {verdict for row in rows for verdict in goals.verdicts(goals_of(row), row).values()}
    words = {"missed": "MISSED", "must": "must met", "aim": "aim met"}
    return next((word for verdict, word in words.items() if verdict in found), "")


def ms_cell(value: float) -> str:
    """Three digits, and no more decimals than a large number deserves."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def times_cell(value: float | None) -> str:
    """How many times, in two digits."""
    return "" if value is None else f"{value:.0f}x" if value >= 10 else f"{value:.2g}x"


def _error(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.1e}"
