"""The questions that are measured: how, with which goals, and how the answer is shown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from benchmarks import (
    accuracy,
    alignment,
    decoding,
    decoding_tables,
    goals,
    memory,
    ngrams,
    peers,
    plots,
    speed,
    tables,
    word_decoding,
    word_decoding_tables,
)
from benchmarks.settings import Row, Settings


class Question(NamedTuple):
    """`measure` yields each row as soon as it is measured; `goals` are those of a row, by field."""

    words: str
    measure: Callable[[Settings], Iterable[Row]]
    goals: Callable[[Row], Mapping[str, goals.Goal]] | None
    tables: tuple[Callable[[list[Row]], tables.Table], ...]
    plot: plots.Plot | None = None


QUESTIONS = {
    "speed": Question(
        "how many times faster than torch?",
        speed.measure, goals.speed, (tables.speed, tables.ways), plots.speed,
    ),
    "scaling": Question(
        "do two threads halve the time?",
        speed.scaling, goals.scaling, (tables.scaling,),
    ),
    "accuracy": Question(
        "how far from float64?",
        accuracy.measure, goals.accuracy, (tables.accuracy, tables.accuracy_dtypes),
    ),
    "memory": Question(
        "how much memory above the input?",
        memory.measure, goals.memory, (tables.memory,),
    ),
    "growth": Question(
        "how does time grow with T, S, C, N?",
        speed.growth, None, (tables.growth,), plots.growth,
    ),
    "peers": Question(
        "how do other CTC losses compare?",
        peers.measure, goals.peers, (tables.peers, tables.peer_errors),
    ),
    "alignment": Question(
        "how fast is the best path, beside other aligners?",
        alignment.measure, goals.peers, (tables.alignment,),
    ),
    "alignment-confidences": Question(
        "how much more time and memory do confidences take than the best path?",
        alignment.confidences, goals.confidences, (tables.confidences,),
    ),
    "alignment-growth": Question(
        "how does the time of the best path grow with T and S?",
        alignment.growth, None, (tables.growth,), plots.growth,
    ),
    "alignment-long": Question(
        "how much time and memory does the best path of hours of audio take?",
        alignment.long, None, (tables.long,),
    ),
    "decoding": Question(
        "how fast is the beam search, and how probable is what it finds, beside other decoders?",
        decoding.measure, goals.decoding,
        (
            decoding_tables.decoding, decoding_tables.decoding_peers, decoding_tables.decoding_probability,
            decoding_tables.decoding_left_out, decoding_tables.decoding_greedy, decoding_tables.decoding_threads,
        ),
    ),
    "decoding-width": Question(
        "what does a wider beam bring on real emissions?",
        decoding.widths, None, (decoding_tables.widths,), plots.widths,
    ),
    "word-decoding": Question(
        "how fast is the beam search with a language model, and what do a lexicon and hotwords take?",
        word_decoding.measure, goals.word_decoding,
        (word_decoding_tables.word_decoding, word_decoding_tables.word_decoding_knowledge),
    ),
    "ngrams": Question(
        "how fast do n-gram models load and answer, and how large are they, beside kenlm?",
        ngrams.measure, goals.ngrams, (word_decoding_tables.ngrams,),
    ),
}  # fmt: skip
