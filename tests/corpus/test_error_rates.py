"""Word and character error rates, against values counted by hand."""

from __future__ import annotations

import builtins
import math
from typing import Any

import pytest

from ctckit import corpus
from ctckit.corpus.error_rates import compared_text, comparison, differences

pytest.importorskip("rapidfuzz")


@pytest.mark.parametrize(
    ("reference", "decoded", "words", "word_errors", "characters", "character_errors"),
    [
        ("the cat sat", "the cat sat", 3, 0, 11, 0),
        ("the cat sat", "the cat set", 3, 1, 11, 1),  # one substitution
        ("the cat sat", "the sat", 3, 1, 11, 4),  # one deletion: "cat "
        ("the cat sat", "the cat sat on", 3, 1, 11, 3),  # one insertion: " on"
        ("the cat sat", "", 3, 3, 11, 11),
        ("sat", "the cat sat", 1, 2, 3, 8),  # more errors than words
        ("the cat sat", "thecat sat", 3, 2, 11, 1),  # two words lost, one won: 2 steps; one character
        ("The cat.", "the cat", 2, 2, 8, 2),  # case and punctuation count
        ("  the \n\t cat ", "the cat", 2, 0, 7, 0),
        ("th\u00e9", "the\u0301", 1, 0, 3, 0),  # composed and not
        ("\u3053\u3093", "\u3053\u3057", 1, 1, 2, 1),
        ("\U0001f600", "", 1, 1, 1, 1),
    ],
)
def test_counted_by_hand(
    reference: str, decoded: str, words: int, word_errors: int, characters: int, character_errors: int
) -> None:
    assert comparison(reference, decoded) == {
        "text": compared_text(reference), "words": words, "word_errors": word_errors, "characters": characters,
        "character_errors": character_errors, "wer": word_errors / words, "cer": character_errors / characters,
    }  # fmt: skip


@pytest.mark.parametrize("reference", ["", " \n"])
def test_a_reference_without_words_has_no_rate(reference: str) -> None:
    expected = {"text": "", "words": 0, "word_errors": 2, "characters": 0, "character_errors": 3}
    assert comparison(reference, "a b") == expected


def outcome(name: str, reference: str, decoded: str) -> corpus.Outcome:
    return corpus.Outcome(name, 1, {"text": decoded, "reference": comparison(reference, decoded)})


def test_rates_of_a_corpus_are_of_its_sums() -> None:
    rates = corpus.ErrorRates(worst=3)
    assert math.isnan(rates.wer)
    assert math.isnan(rates.cer)
    for given in (
        outcome("right", "a b c d e f", "a b c d e f"),
        outcome("half", "a b", "a c"),
        outcome("all", "a", "b"),
        outcome("half of a long one", "one two", "one tw"),
        outcome("something from nothing", "", "a"),
        outcome("all, later", "c", "d"),
        corpus.Outcome("no reference", 7, {"text": "a"}),
        corpus.Outcome("bad", 8, fault=corpus.Fault("missing", "gone")),
    ):
        rates.see(given)
    assert (rates.items, rates.words, rates.word_errors) == (6, 12, 5)
    assert (rates.characters, rates.character_errors) == (23, 5)
    assert rates.wer == 5 / 12
    assert rates.cer == 5 / 23
    assert [item.id for item in rates.worst] == ["something from nothing", "all", "all, later"]
    assert [item.wer for item in rates.worst] == [math.inf, 1, 1]
    assert rates.worst[1] == ("all", "a", "b", 1, 1)


@pytest.mark.parametrize("worst", [0, 1, 9])
def test_no_more_of_the_worst_than_wanted(worst: int) -> None:
    rates = corpus.ErrorRates(worst)
    for number in range(4):
        rates.see(outcome(f"{number}", "a b c d", "a b c d x"[: 9 - 2 * number]))
    assert [item.id for item in rates.worst] == ["3", "0", "2"][:worst]


def test_differences() -> None:
    parts, between = differences("a bad cab", "a dad  cab too")
    assert between == " "
    assert parts == [("a", "a", True), ("bad", "dad", False), ("cab", "cab", True), ("", "too", False)]
    parts, between = differences("abc", "adc")
    assert between == ""
    assert parts == [("a", "a", True), ("b", "d", False), ("c", "c", True)]
    assert differences("", "")[0] == []


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    found = builtins.__import__

    def missing(name: str, *rest: Any) -> Any:
        if name.startswith("rapidfuzz"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return found(name, *rest)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(corpus.CorpusError, match=r"rapidfuzz, which is not installed: pip install 'ctckit\[corpus\]'"):
        comparison("a", "a")
