"""The results of decoding as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import goals
from benchmarks.tables import Table, goal_cell, ms_cell, times_cell

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.settings import Row

    Rows = list[Row]


def decoding(rows: Rows) -> Table:
    """The beam search beside the fastest peer that counts."""

    def cells(alone: Row, here: dict[str, Row]) -> dict[str, str]:
        goal = goals.DECODING.get((alone["case"], alone["beam_width"]))
        counted = [row for row in here.values() if row.get("counts")]
        fastest = min(counted, key=lambda row: row["ratio"]["p50"], default=None)
        return {
            **_names(alone),
            "ctckit ms": ms_cell(alone["second_ms"]["p50"]),
            "one by one": ms_cell(alone["call_ms"]["p50"]),
            "with exact score": ms_cell(alone["first_ms"]["p50"]),
            "fastest peer": fastest["peer"] if fastest else "",
            "its ms": ms_cell(fastest["first_ms"]["p50"]) if fastest else "",
            "faster": times_cell(fastest["ratio"]["p50"]) if fastest else "",
            "must": times_cell(goal and goal.must),
            "aim": goal.words or times_cell(goal.aim) if goal else "",
            "goal": goal_cell(_only("ratio"), *counted),
        }

    note = (
        "Milliseconds for one utterance on one thread, float32, no language model; the median of the ratios of calls "
        "made in turn. Where classes are few, a peer counts if its hypotheses are as probable as ctckit's, and if it "
        "is not pruned where ctckit is not. Where they are thousands, all count. In the pruned case, those count that "
        "leave out prefixes, too. ctckit ms: one call for all items, with rescore=False, the work that peers do; they "
        "take one item after another. one by one: ctckit called so, too. with exact score: the default, which no peer "
        "offers, again in one call."
    )
    return Table("Beam search", _per_width(rows, cells), note)


def decoding_peers(rows: Rows) -> Table:
    """Times of all other decoders, a column for each."""

    def cell(row: Row) -> str:
        if "problem" in row:
            return "> 40 s" if "no answer within" in row["problem"] else "fails"
        return f"{ms_cell(row['first_ms']['p50'])} ({times_cell(row['ratio']['p50'])})"

    def cells(alone: Row, here: dict[str, Row]) -> dict[str, str]:
        times = {name: cell(here[name]) if name in here else "" for name in _peers(rows)}
        return {"case": alone["case"], "width": str(alone["beam_width"]), **times}

    note = "Milliseconds for one utterance; in brackets how many times faster ctckit is."
    return Table("Beam searches of other libraries", _per_width(rows, cells), note)


def decoding_probability(rows: Rows) -> Table:
    """How probable the best hypotheses are."""

    def cell(row: Row) -> str:
        return "" if "problem" in row else f"{row['loss'] - row['our_loss']:+.3f}" if row["loss"] is not None else "inf"

    def cells(alone: Row, here: dict[str, Row]) -> dict[str, str]:
        return {
            **_names(alone),
            "ctckit": f"{alone['loss']:.3f}",
            "errors": f"{alone['error_rate']:.2%}",
            "goal": goal_cell(_only("worse_by"), *here.values()),
            **{name: cell(here[name]) if name in here else "" for name in _peers(rows)},
        }

    note = (
        "ctckit: the mean of -log P of the best hypothesis, in nats, by the exact CTC loss in float64; less is better. "
        "Peers: how much more. errors: edits per label, against what the item says. The goal is that no peer finds "
        "hypotheses that are more probable by 0.001 nats. It does not count for peers that are pruned where ctckit is "
        "not: they search among fewer prefixes, and what they find may be more probable by chance."
    )
    return Table("Probability of what is found", _per_width(rows, cells), note)


def decoding_left_out(rows: Rows) -> Table:
    """Which peers have no time, and why."""
    failed = [row for row in rows if "problem" in row]
    note = (
        "A peer has 40 seconds for all items of a case, and 8 GiB. One that fails does not get a wider beam. "
        "fast-ctc-decode and its fork end with -6 when they ask for more memory."
    )
    cells = [{**_names(row), "peer": row["peer"], "reason": row["problem"].replace("|", " ")} for row in failed]
    return Table("Peers that were left out", cells, note)


def decoding_greedy(rows: Rows) -> Table:
    """Greedy decoding."""

    def cells(row: Row) -> dict[str, str]:
        return {
            "case": row["case"],
            "frames, C": f"{row['frames']}, {row['T, N, C, S'].split(', ')[2]}",
            "argmax ms": ms_cell(row["second_ms"]["p50"]),
            "ctckit ms": ms_cell(row["first_ms"]["p50"]),
            "times": f"{row['ratio']['p50']:.2f}",
            "one item": f"{ms_cell(row['call_ms']['p50'])} for {row['call_frames']} frames",
            "errors": f"{row['error_rate']:.2%}",
            "goal": goal_cell(goals.decoding, row),
        }

    note = (
        "Milliseconds for all items of the case as one signal (repeated, where it is short): greedy_decode, and argmax "
        "of NumPy for every frame, which gives no labels. one item: a call with a single utterance, most of which is "
        "the call's own time."
    )
    return Table("Greedy decoding", [cells(row) for row in rows if row.get("who") == "greedy"], note)


def decoding_threads(rows: Rows) -> Table:
    """A batch on more threads."""

    def cells(row: Row) -> dict[str, str]:
        return {
            **_names(row),
            "threads": str(row["threads"]),
            "1 thread ms": ms_cell(row["first_ms"]["p50"]),
            "threads ms": ms_cell(row["second_ms"]["p50"]),
            "faster": f"{row['ratio']['p50']:.2f}x",
            "goal": goal_cell(goals.decoding, row),
        }

    note = "One call for a batch of 32."
    return Table("Batches on threads", [cells(row) for row in rows if row.get("who") == "batch"], note)


def widths(rows: Rows) -> Table:
    """What a wider beam brings."""

    def cells(row: Row) -> dict[str, str]:
        certified = row["certified"]
        return {
            "case": row["case"],
            "width": str(row["beam_width"]),
            "ms": ms_cell(row["ms"]["p50"]),
            "-log P": f"{row['loss']:.4f}",
            "errors": f"{row['error_rate']:.2%}",
            "certified": "" if certified is None else f"{certified:.0%}",
        }

    note = (
        "Real emissions, one thread. ms: for one utterance. -log P: of the best hypothesis, the mean in nats. errors: "
        "edits per label. certified: the share of items whose hypothesis is proved to be the most probable of all."
    )
    return Table("Wider beams", [cells(row) for row in rows if row["who"] == "ctckit"], note)


def _per_width(rows: Rows, cells: Callable[[Row, dict[str, Row]], dict[str, str]]) -> list[dict[str, str]]:
    """A row for each case and width, from ctckit's own row and those of the peers by name."""
    found = []
    for alone in rows:
        if alone.get("who") == "without the exact score":
            key = alone["case"], alone["beam_width"]
            here = {row["peer"]: row for row in rows if "peer" in row and (row["case"], row["beam_width"]) == key}
            found.append(cells(alone, here))
    return found


def _names(row: Row) -> dict[str, str]:
    return {"case": row["case"], "T, N, C, S": row["T, N, C, S"], "width": str(row["beam_width"])}


def _peers(rows: Rows) -> list[str]:
    return list(dict.fromkeys(row["peer"] for row in rows if "peer" in row))


def _only(field: str) -> Callable[[Row], dict[str, goals.Goal]]:
    return lambda row: {name: goal for name, goal in goals.decoding(row).items() if name == field}
