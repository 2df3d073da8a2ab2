"""How long do n-gram models take to load and to ask, and how large are they, beside kenlm?"""

from __future__ import annotations

import functools
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import ctckit
from benchmarks.process import Process, ProcessError
from benchmarks.timing import Call, awake, in_turn, percentiles

if TYPE_CHECKING:
    from benchmarks.settings import Row, Settings

ORDERS = {"2-grams": (2, 60_000, 2_000_000), "4-grams": (4, 60_000, 900_000), "10 million": (3, 200_000, 4_900_000)}
"""Of each model: the order, the words, and the n-grams of each order from 2."""
SENTENCES, SENTENCE = 400, 25
SECONDS = 300


def measure(settings: Settings) -> Iterator[Row]:
    """Every model."""
    for name, (order, words, count) in ORDERS.items():
        share = 100 if settings.quick else 1
        with tempfile.TemporaryDirectory() as folder:
            arpa = Path(folder) / "model.arpa"
            sentences = write_arpa(arpa, order, words // share, count // share)
            yield _model(name, arpa, sentences, settings)


def write_arpa(path: Path, order: int, words: int, count: int) -> list[str]:
    """Write a model whose n-grams are those of a made text, so that each has its prefix; return sentences of it."""
    random = np.random.default_rng(order)
    size = 3 * count
    text = np.minimum(random.zipf(1.25, size), words) - 1
    text[1::2] = random.integers(0, words, len(text[1::2]))  # half of it is rare: few n-grams come twice
    names = np.array([f"w{k:x}" for k in range(words)])
    grams = [np.arange(words)[:, None]]
    for n in range(2, order + 1):
        rows = np.lib.stride_tricks.sliding_window_view(text, n)[: count + count // 4]
        grams.append(np.unique(rows, axis=0)[:count] if n == 2 else _with_prefix(rows, grams[-1], count))
    with path.open("w") as file:
        file.write("\\data\\\n" + f"ngram 1={words + 3}\n")
        file.writelines(f"ngram {n}={len(rows)}\n" for n, rows in enumerate(grams[1:], 2))
        file.write("\n\\1-grams:\n-2.5\t<unk>\t0\n-99\t<s>\t-0.3\n-1.2\t</s>\t0\n")
        for n, rows in enumerate(grams, 1):
            if n > 1:
                file.write(f"\n\\{n}-grams:\n")
            scores = np.round(-random.exponential(1.0, len(rows)), 4)
            spelt = names[rows[:, 0]]
            for k in range(1, n):
                spelt = np.char.add(np.char.add(spelt, " "), names[rows[:, k]])
            begins = _begin_others(rows, grams[n]) if n < order else np.zeros(len(rows), dtype=bool)
            ends = np.where(begins, "\t-0.25\n", "\n")  # as in files of SRILM; KenLM writes weights of 0
            file.writelines(f"{score}\t{gram}{end}" for score, gram, end in zip(scores, spelt, ends, strict=True))
        file.write("\n\\end\\\n")
    starts = random.integers(0, count, SENTENCES)
    return [" ".join(names[text[k : k + SENTENCE]]) for k in starts]


def _begin_others(rows: np.ndarray, longer: np.ndarray) -> np.ndarray:
    """Which n-grams others begin with."""
    digits = (int(longer.max()) + 1) ** np.arange(rows.shape[1])
    return np.isin(rows @ digits, longer[:, :-1] @ digits)


def _with_prefix(rows: np.ndarray, shorter: np.ndarray, count: int) -> np.ndarray:
    """The n-grams whose prefixes and suffixes are n-grams, too."""
    digits = (int(rows.max()) + 1) ** np.arange(rows.shape[1] - 1)
    rows, listed = np.unique(rows, axis=0), shorter @ digits
    keep = np.isin(rows[:, :-1] @ digits, listed) & np.isin(rows[:, 1:] @ digits, listed)
    return rows[keep][:count]


def _seconds(call: Call) -> float:
    return awake(call)[1]


def _model(name: str, arpa: Path, sentences: list[str], settings: Settings) -> Row:
    effort = settings.effort(1.0, 3, 5)
    lm = ctckit.NGram(arpa)
    own = arpa.with_suffix(".ctclm")
    lm.save(own)
    mapped = ctckit.NGram(own)
    queries = sum(len(sentence.split()) + 1 for sentence in sentences)

    def scores() -> list[float]:
        return [mapped.score(sentence) for sentence in sentences]

    total = sum(scores())
    calls = [Call(lambda: ctckit.NGram(arpa)), Call(lambda: ctckit.NGram(own)), Call(scores)]
    row: Row = {"model": name, "ngrams": sum(lm.counts), "order": lm.order, "bytes": own.stat().st_size}
    python = settings.peers.get("kenlm")
    if python is not None:
        serve = "benchmarks.word_decoding_calls:serve_model", str(arpa), sentences
        try:
            with Process(*serve, seconds=SECONDS, python=python or sys.executable, quiet=True) as process:
                version = process.ask()
                theirs = process.ask(score=True)
                load = Call(process.ask)
                query = Call(lambda: process.ask(score=True)["seconds"])
                mine = [Call(functools.partial(_seconds, call)) for call in calls]
                times = in_turn([*mine, load, query], effort, warm=True)
        except ProcessError as problem:
            return row | {"problem": str(problem)}
        row |= {
            "version": f"kenlm {version}",
            "their_load_ms": percentiles(times[:, 3] * 1e3),
            "their_query_ns": percentiles(times[:, 4] * 1e9 / queries),
            "load_ratio": percentiles(times[:, 3] / times[:, 0]),
            "query_ratio": percentiles(times[:, 4] / times[:, 2]),
            "difference": abs(theirs["log10"] * np.log(10) - total) / abs(total),
        }
    else:
        times = in_turn(calls, effort)
    return row | {
        "load_ms": percentiles(times[:, 0] * 1e3),
        "open_ms": percentiles(times[:, 1] * 1e3),
        "query_ns": percentiles(times[:, 2] * 1e9 / queries),
        "bytes_each": row["bytes"] / row["ngrams"],
    }
