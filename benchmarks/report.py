"""Results as tables. The same tables are printed and, as Markdown, put into the documentation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Results = dict[str, Any]

WORDS = {"aim": "aim met", "must": "must met", "missed": "MISSED", "": "", None: ""}


@dataclass(frozen=True)
class Table:
    """A title, column heads, rows of text, and a sentence on how to read it."""

    title: str
    heads: list[str]
    rows: list[list[str]]
    note: str = ""

    def text(self) -> str:
        """Aligned columns for a terminal."""
        widths = [max(map(len, column)) for column in zip(self.heads, *self.rows, strict=True)]
        lines = [
            "  ".join(
                cell.ljust(width) if i == 0 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in (self.heads, ["-" * width for width in widths], *self.rows)
        ]
        return "\n".join([self.title, "=" * len(self.title), *lines, self.note]).rstrip() + "\n"

    def markdown(self) -> str:
        """A Markdown table, without the title: the page has its own headings."""
        rule = [":--"] + ["--:"] * (len(self.heads) - 1)
        lines = ["| " + " | ".join(line) + " |" for line in (self.heads, rule, *self.rows)]
        return "\n".join(lines) + (f"\n\n{self.note}" if self.note else "") + "\n"


def tables(results: Results) -> dict[str, Table]:
    """The tables for which there are results, by the names used in the documentation."""
    made = ((name, make(results)) for name, make in TABLES.items())
    return {name: table for name, table in made if table.rows}


def summary(results: Results) -> str:
    """How many of the numbers to reach were reached, and which were not."""
    judged = list(_verdicts(results))
    missed = [what for what, verdict in judged if verdict == "missed"]
    met = len(judged) - len(missed)
    aims = sum(verdict == "aim" for _, verdict in judged)
    line = f"{len(judged)} musts: {met} met, {len(missed)} missed. Aims met: {aims}."
    return "\n".join([line, *(f"- missed: {what}" for what in missed)])


def machine_sentence(results: Results) -> str:
    """On what the numbers were measured, in one sentence."""
    machine = results["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    return (
        f"Measured on {machine['date']} with {machine['cpu']}, {machine['cores']} cores, "
        f"{machine['memory_gib']} GiB, {machine['simd']}, {machine['system']}; "
        f"Python {machine['python']}, {versions}; commit {machine['commit'] or 'unknown'}."
    )


def _verdicts(results: Results) -> Iterable[tuple[str, str]]:
    for section in ("speed", "scaling", "accuracy", "memory", "peers"):
        for row in results[section]:
            parts = (row.get(key) for key in ("peer", "who", "case"))
            what = f"{section}: " + ", ".join(str(part) for part in parts if part)
            if section in ("scaling", "memory"):
                what += f", {row['threads']} threads"
            for key, extra in (("verdict", ""), ("loss_verdict", ", loss")):
                if row.get(key):
                    yield what + extra, row[key]


# --- the tables ---


def _speed(results: Results) -> Table:
    rows = []
    for row in results["speed"]:
        if _way(row) != "logits, float32, 1 thread":
            continue
        must, aim = row["goal"] or (None, None)
        ratio = row["ratio"]
        rows.append(
            [
                row["case"],
                _shape(results, row),
                _ms(row["first_ms"]["p50"]),
                _ms(row["second_ms"]["p50"]),
                _times(ratio["p50"]),
                f"{ratio['p20']:.3g}-{ratio['p80']:.3g}",
                _times(must),
                _times(aim),
                WORDS[row["verdict"]],
            ]
        )
    heads = ["case", "T, N, C, S", "torch ms", "ctckit ms", "faster", "p20-p80", "must", "aim", ""]
    note = (
        "From logits to their gradient, float32, one thread; median of the ratios of calls made "
        "in turn, and their 20th to 80th percentile."
    )
    return Table("Speed against torch", heads, rows, note)


def _ways(results: Results) -> Table:
    """Every other dtype, thread count and mode: one column each, the ratio only."""
    cells = {(row["case"], _way(row)): row["ratio"]["p50"] for row in results["speed"]}
    ways = list(dict.fromkeys(way for _, way in cells if way != "logits, float32, 1 thread"))
    rows = [
        [case, *(_times(cells.get((case, way))) for way in ways)] for case in dict.fromkeys(case for case, _ in cells)
    ]
    note = (
        "Times faster than torch, called in the same way; in bfloat16 torch must convert to "
        "float32 first. log_probs: log_softmax and ctckit.ctc_loss. forward: the loss alone. "
        "in place: the gradient written over the logits. ceiling: torch against an autograd function "
        "that only copies the logits to their gradient: no loss called from Python can be faster. "
        "floor: ctckit against only reading the logits twice and writing a gradient."
    )
    return Table(
        "Other dtypes, threads and ways to call",
        ["case", *map(_short, ways)],
        rows if ways else [],
        note,
    )


def _scaling(results: Results) -> Table:
    rows = [
        [
            row["case"],
            str(results["cases"][row["case"]]["N"]),
            str(row["threads"]),
            _ms(row["first_ms"]["p50"]),
            _ms(row["second_ms"]["p50"]),
            _times(row["ratio"]["p50"]),
            _times(row["goal"][0] if row["goal"] else None),
            WORDS[row["verdict"]],
        ]
        for row in results["scaling"]
    ]
    heads = ["case", "N", "threads", "1 thread ms", "threads ms", "faster", "must", ""]
    return Table("Threads", heads, rows)


def _accuracy(results: Results) -> Table:
    cells = {(row["case"], row["who"], row["dtype"]): row for row in results["accuracy"]}
    rows = []
    for case in dict.fromkeys(row["case"] for row in results["accuracy"]):
        found = {who: cells.get((case, who, "float32")) for who in ("torch", "ctckit", "ctckit, log_probs")}
        ours = found["ctckit"]
        if ours is None:
            continue
        rows.append(
            [
                case,
                f"{ours['loss']:.4g}",
                *(_error(row, "gradient_error") for row in found.values()),
                WORDS[ours["verdict"]],
                *(_error(found[who], "loss_error") for who in ("torch", "ctckit")),
                WORDS[ours["loss_verdict"]],
            ]
        )
    heads = [
        "case",
        "loss",
        "gradient: torch",
        "ctckit",
        "via log_probs",
        "",
        "loss: torch",
        "ctckit",
        "",
    ]
    note = "Float32, from logits: |g - g64| / |g64|, and the worst item's relative error of the loss."
    return Table("Errors against float64", heads, rows, note)


def _accuracy_dtypes(results: Results) -> Table:
    chosen = [row for row in results["accuracy"] if row["dtype"] != "float32"]
    columns = list(dict.fromkeys((row["who"], row["dtype"]) for row in chosen))
    cells = {(row["case"], row["who"], row["dtype"]): row for row in chosen}
    rows = [
        [case, *(_error(cells.get((case, *column)), "gradient_error") for column in columns)]
        for case in dict.fromkeys(row["case"] for row in chosen)
    ]
    note = (
        "Relative error of the gradient. In float64 torch is the judge. In bfloat16 the gradient "
        "itself is rounded to bfloat16, which alone costs about 2e-3."
    )
    return Table(
        "Errors in other dtypes",
        ["case", *(f"{who} {dtype}" for who, dtype in columns)],
        rows,
        note,
    )


def _memory(results: Results) -> Table:
    rows = [
        [
            row["case"],
            row["who"],
            str(row["threads"]),
            f"{row['gradient_mib']:.1f}",
            f"{row['peak_mib']:.1f}",
            "" if row["limit_mib"] is None else f"{row['limit_mib']:.1f}",
            WORDS[row["verdict"]],
        ]
        for row in results["memory"]
    ]
    heads = ["case", "", "threads", "gradient MiB", "peak MiB", "must", ""]
    return Table(
        "Peak memory above the input",
        heads,
        rows,
        "Each in a fresh process, float32, loss and gradient.",
    )


def _peers(results: Results) -> Table:
    def cell(row: Results | None) -> str:
        if row is None:
            return ""
        if "problem" in row:
            return "fails"
        missed = " MISSED" if row["verdict"] == "missed" else ""
        return f"{_ms(row['first_ms']['p50'])} ({_times(row['ratio']['p50'])}){missed}"

    note = "Milliseconds of each peer, one thread, and how many times faster ctckit is, in turn."
    return _by_peer(results, "Other CTC losses: time", cell, note)


def _peer_errors(results: Results) -> Table:
    note = "Relative error of the gradient of the same peers (float32 input)."
    return _by_peer(results, "Other CTC losses: errors", lambda row: _error(row, "gradient_error"), note)


def _by_peer(results: Results, title: str, cell: Callable[[Results | None], str], note: str) -> Table:
    chosen = [row for row in results["peers"] if row["threads"] == 1]
    cells = {(row["case"], row["peer"]): row for row in chosen}
    versions = {row["peer"]: row["version"] for row in chosen if "version" in row}
    peers = list(dict.fromkeys(row["peer"] for row in chosen))
    rows = [
        [case, *(cell(cells.get((case, peer))) for peer in peers)]
        for case in dict.fromkeys(row["case"] for row in chosen)
    ]
    heads = ["case", *(_named(peer, versions.get(peer, "")) for peer in peers)]
    return Table(title, heads, rows, note)


def _named(peer: str, version: str) -> str:
    """`optax 0.2.8`, but `warp-ctc (paddle 3.3.1)`."""
    return version if version.split(" ", 1)[0] == peer else f"{peer} ({version})" if version else peer


def _growth(results: Results) -> Table:
    rows = [
        [
            row["axis"],
            f"{row['sizes'][0]}-{row['sizes'][-1]}",
            *(f"{_ms(row[f'{who}_ms'][0])}-{_ms(row[f'{who}_ms'][-1])}" for who in ("torch", "ctckit")),
            *(_slope(row[f"{who}_slope"]) for who in ("torch", "ctckit")),
        ]
        for row in results["growth"]
    ]
    heads = ["axis", "sizes", "torch ms", "ctckit ms", "torch slope", "ctckit slope"]
    note = "Slope: the exponent p in time ~ size^p, over the larger half of the sizes."
    return Table("Growth of time", heads, rows, note)


TABLES = {
    "speed": _speed,
    "ways": _ways,
    "scaling": _scaling,
    "accuracy": _accuracy,
    "accuracy-dtypes": _accuracy_dtypes,
    "memory": _memory,
    "peers": _peers,
    "peer-errors": _peer_errors,
    "growth": _growth,
}


# --- cells ---


def _way(row: Results) -> str:
    plural = "s" if row["threads"] > 1 else ""
    return f"{row['mode']}, {row['dtype']}, {row['threads']} thread{plural}"


def _short(way: str) -> str:
    """Leave out what is as in the main table."""
    usual = {"logits", "float32", "1 thread"}
    return ", ".join(part for part in way.split(", ") if part not in usual)


def _shape(results: Results, row: Results) -> str:
    case = results["cases"][row["case"]]
    return ", ".join(str(case[key]) for key in "TNCS")


def _ms(value: float) -> str:
    """Three digits, and no more decimals than a large number deserves."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _times(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.0f}x" if value >= 10 else f"{value:.2g}x"


def _error(row: Results | None, key: str) -> str:
    if row is None or key not in row:
        return ""
    return "not finite" if row[key] is None else f"{row[key]:.1e}"


def _slope(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
