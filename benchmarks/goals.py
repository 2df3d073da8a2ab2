"""The numbers to reach, by question. Tables mark their rows by these and by nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.settings import Row

Verdict = Literal["aim", "must", "missed"]


class Goal(NamedTuple):
    """A value that must be reached, and one to aim at. `words` stands for an aim that is no number."""

    must: float
    aim: float | None = None
    at_most: bool = False
    words: str = ""

    def verdict(self, value: float | None) -> Verdict:
        """Judge a value, rounded to two digits as tables show it; NaN, and None in its place, is a miss."""
        sign = -1 if self.at_most else 1
        value = float("nan") if value is None else sign * float(f"{value:.2g}")
        if self.aim is not None and value >= sign * self.aim:
            return "aim"
        return "must" if value >= sign * self.must else "missed"


def verdicts(goals: Mapping[str, Goal], row: Row) -> dict[str, Verdict]:
    """Judge a row, by field: a value, or the median of times."""
    values = {field: row[field]["p50"] if isinstance(row[field], dict) else row[field] for field in goals}
    return {field: goal.verdict(values[field]) for field, goal in goals.items()}


MEMORY_BOUND = "memory bandwidth"  # the logits are read twice and the gradient is written once
SPEED = {  # times faster than torch, from logits to their gradient, float32, one thread
    "char": Goal(40, 90),  # this aim and the next are for an AMD Zen 5
    "long": Goal(45, 200),
    "bpe": Goal(13, words=MEMORY_BOUND),
    "vocab": Goal(13, words=MEMORY_BOUND),
    "phone": Goal(18, 35),
    "tutorial": Goal(12, 16),
    "ocr": Goal(12, 18),
    "tiny": Goal(1, 2),
}
SCALING = Goal(1.8)  # 2 threads against 1
SCALING_MS = 1.0  # for calls that take longer than this on one thread
GRADIENT_ERROR = Goal(2e-6, 5e-7, at_most=True)  # relative to the float64 gradient's norm, float32
LOSS_ERROR = Goal(2e-7, at_most=True)
MEMORY_PER_THREAD = 16.0  # MiB above the input and (unless in place) one gradient
CONFIDENCES = Goal(4, at_most=True)  # times the time of the best path
CONFIDENCES_MIB = {"sure lecture": Goal(90, at_most=True)}  # above the input and the path
PEER = Goal(1)  # times faster than any other library
NO_PEER_GOAL = {"tiny"}  # torch's autograd alone takes longer than a peer's call
ROWS_ONCE = "reading the rows once"
DECODING = {  # times faster than the peers that count, one thread, by case and width
    ("peaked letters", 10): Goal(30, 60),
    ("peaked letters", 100): Goal(60, 120),
    ("peaked letters", 500): Goal(50, 150),
    ("flat letters", 100): Goal(45, 90),
    ("long letters", 10): Goal(50, 100),
    ("long letters", 100): Goal(50, 100),
    ("pieces", 10): Goal(5, words=ROWS_ONCE),
    ("pieces", 100): Goal(4, words=ROWS_ONCE),
    ("speech phones", 10): Goal(50, 100),
    ("speech phones", 100): Goal(80, 160),
    ("speech phones, pruned", 10): Goal(10, 20),
    ("speech phones, pruned", 100): Goal(10, 20),
    ("speech phones, pruned", 500): Goal(10, 20),
    ("noisy lines", 10): Goal(15, 30),
    ("noisy lines", 100): Goal(18, 40),
}
WORD_DECODING = {  # the same with a language model
    ("peaked words", 10): Goal(9, 20),
    ("flat words", 10): Goal(8, 20),
    ("flat words", 100): Goal(8, 20),
    ("flat words", 500): Goal(8, 20),
}
LEXICON = Goal(1.0, at_most=True)  # times the time without
HOTWORDS = Goal(1.1, at_most=True)  # of 1,000 phrases, times the time without
NGRAM_BYTES = Goal(20, at_most=True)  # of a file, for each n-gram
NGRAM_OPEN_MS = Goal(20, at_most=True)
NGRAM_LOAD, NGRAM_QUERY = Goal(1), Goal(2)  # times faster than kenlm
NOT_WORSE = Goal(1e-3, at_most=True)  # nats by which our hypotheses are less probable than a peer's, at equal width
GREEDY = Goal(1.2, 1.05, at_most=True)  # times the time of NumPy's argmax
DECODING_THREADS = Goal(1.8, 1.95)  # 2 threads against 1, a batch of 32


def is_main(row: Row) -> bool:
    """Tell whether a row of "speed" is of loss and gradient from logits, float32, one thread."""
    return (row["mode"], row["dtype"], row["threads"]) == ("logits", "float32", 1)


def speed(row: Row) -> dict[str, Goal]:
    """The goals of a row of "speed", by field."""
    return {"ratio": SPEED[row["case"]]} if is_main(row) and row["case"] in SPEED else {}


def scaling(row: Row) -> dict[str, Goal]:
    """The same for "scaling"."""
    return {"ratio": SCALING} if row["threads"] == 2 and row["first_ms"]["p50"] > SCALING_MS else {}


def accuracy(row: Row) -> dict[str, Goal]:
    """The same for "accuracy"."""
    judged = (row["who"], row["dtype"]) == ("ctckit", "float32")
    return {"gradient_error": GRADIENT_ERROR, "loss_error": LOSS_ERROR} if judged else {}


def memory(row: Row) -> dict[str, Goal]:
    """The same for "memory"."""
    if row["who"] == "torch":
        return {}
    gradient = 0.0 if row["who"] == "ctckit, in place" else row["gradient_mib"]
    return {"peak_mib": Goal(MEMORY_PER_THREAD * row["threads"] + gradient, at_most=True)}


def peers(row: Row) -> dict[str, Goal]:
    """The same for "peers" and "alignment"."""
    return {"ratio": PEER} if "ratio" in row and row["case"] not in NO_PEER_GOAL else {}


def confidences(row: Row) -> dict[str, Goal]:
    """The same for "alignment-confidences"."""
    peak = {"peak_mib": CONFIDENCES_MIB[row["case"]]} if row["case"] in CONFIDENCES_MIB and "peak_mib" in row else {}
    return {"ratio": CONFIDENCES, **peak}


def decoding(row: Row) -> dict[str, Goal]:
    """The same for "decoding"."""
    if row.get("who") == "greedy":
        return {"ratio": GREEDY}
    if row.get("who") == "batch":
        return {"ratio": DECODING_THREADS} if row["threads"] == 2 else {}
    if "worse_by" not in row:
        return {}
    if not row["is_comparable"]:  # a pruned search may find better hypotheses by chance
        return {}
    goal = PEER if row["does_less"] else None
    if row["counts"]:
        goal = DECODING.get((row["case"], row["beam_width"]))
    return {"worse_by": NOT_WORSE} if goal is None else {"ratio": goal, "worse_by": NOT_WORSE}


def word_decoding(row: Row) -> dict[str, Goal]:
    """The same for "word-decoding"."""
    who = row.get("who", "")
    if who.startswith("a lexicon"):
        return {"ratio": LEXICON}
    if who.startswith("1,000 hotwords"):
        return {"ratio": HOTWORDS}
    if "worse_by" not in row:
        return {}
    goal = WORD_DECODING.get((row["case"], row["beam_width"])) if row["counts"] else None
    return {"worse_by": NOT_WORSE} if goal is None else {"ratio": goal, "worse_by": NOT_WORSE}


def ngrams(row: Row) -> dict[str, Goal]:
    """The same for "ngrams"."""
    if "problem" in row:
        return {}
    found = {"bytes_each": NGRAM_BYTES, "open_ms": NGRAM_OPEN_MS}
    return found | ({"load_ratio": NGRAM_LOAD, "query_ratio": NGRAM_QUERY} if "load_ratio" in row else {})
