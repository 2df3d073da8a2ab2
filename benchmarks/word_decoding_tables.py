"""The results of decoding with knowledge, and of n-gram models, as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import goals
from benchmarks.tables import Table, goal_cell, ms_cell, times_cell

if TYPE_CHECKING:
    from benchmarks.settings import Row

    Rows = list[Row]


def word_decoding(rows: Rows) -> Table:
    """The beam search with a language model, beside every other decoder."""

    def cells(row: Row) -> dict[str, str]:
        goal = goals.WORD_DECODING.get((row["case"], row["beam_width"])) if row.get("counts") else None
        named = {**_names(row), "peer": row["peer"]}
        if "problem" in row:
            blank = dict.fromkeys(("ctckit ms", "faster", "must", "aim", "its J", "ctckit J", "goal"), "")
            return named | {"its ms": "> 60 s" if "no answer within" in row["problem"] else "fails"} | blank
        return named | {
            "its ms": ms_cell(row["first_ms"]["p50"]),
            "ctckit ms": ms_cell(row["second_ms"]["p50"]),
            "faster": times_cell(row["ratio"]["p50"]),
            "must": times_cell(goal and goal.must),
            "aim": times_cell(goal.aim) if goal else "",
            "its J": f"{-row['loss']:.3f}",
            "ctckit J": f"{-row['our_loss']:.3f}",
            "goal": goal_cell(goals.word_decoding, row),
        }

    note = (
        "Milliseconds for one utterance on one thread, float32; ctckit takes all items in one call, the others one "
        "after another. All search with the width alone, and with the same objective J: the log-probability, 0.5 times "
        "that of a 2-gram model of 97 words, and 1.5 nats for each word; ctckit, pyctcdecode and ctc-beam-decoder take "
        "10 nats for a word that the model does not have, and flashlight knows the model's words alone. J: the mean of "
        "the best hypotheses, by the exact CTC loss in float64; more is better. A peer counts for the goal if its J is "
        "as large as ctckit's, or if that of all is smaller."
    )
    return Table("Beam search with a language model", [cells(row) for row in rows if "peer" in row], note)


def word_decoding_knowledge(rows: Rows) -> Table:
    """What each kind of knowledge takes."""

    def cells(row: Row) -> dict[str, str]:
        return {
            **_names(row),
            "what": row["who"],
            "with ms": ms_cell(row["first_ms"]["p50"]),
            "without ms": ms_cell(row["second_ms"]["p50"]),
            "times": f"{row['ratio']['p50']:.2f}",
            "goal": goal_cell(goals.word_decoding, row),
        }

    note = (
        "Milliseconds for one utterance. A lexicon: the model's words alone. Hotwords: 1,000 phrases of one to three "
        "words, 5 nats each, few of whose words are in the text."
    )
    return Table("What knowledge takes", [cells(row) for row in rows if "who" in row and "ratio" in row], note)


def ngrams(rows: Rows) -> Table:
    """N-gram models beside kenlm."""

    def cells(row: Row) -> dict[str, str]:
        shown = {"model": row["model"], "order": str(row["order"]), "n-grams": f"{row['ngrams']:,}"}
        theirs = "their_load_ms" in row
        return shown | {
            "bytes each": f"{row['bytes_each']:.1f}",
            "load ms": ms_cell(row["load_ms"]["p50"]),
            "kenlm load ms": ms_cell(row["their_load_ms"]["p50"]) if theirs else "",
            "open ms": ms_cell(row["open_ms"]["p50"]),
            "query ns": f"{row['query_ns']['p50']:.0f}",
            "kenlm query ns": f"{row['their_query_ns']['p50']:.0f}" if theirs else "",
            "difference": f"{row['difference']:.0e}" if theirs else "",
            "goal": goal_cell(goals.ngrams, row),
        }

    note = (
        "Made models. load: of the ARPA file. open: of the file that NGram.save writes, which is mapped. query: of a "
        "word, by score(text) of sentences of 25 words, most of which are rare; kenlm by its Python module. "
        "difference: of the sum of all scores, relative. Goals: at most 20 bytes an n-gram, no slower to load than "
        "kenlm, 20 ms to open, and queries in half of kenlm's time."
    )
    return Table("N-gram models", [cells(row) for row in rows if "problem" not in row], note)


def _names(row: Row) -> dict[str, str]:
    return {"case": row["case"], "T, N, C, S": row["T, N, C, S"], "width": str(row["beam_width"])}
