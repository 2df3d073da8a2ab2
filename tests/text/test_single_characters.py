"""The fast path returns the same result as the general way."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import ctckit
from ctckit.text.single_characters import SingleCharacters

SIGNS = [
    "a",
    "b",
    "A",
    "é",
    "e",
    "\u0301",
    "ß",
    "İ",
    "i",
    "1",
    "-",
    "'",
    "_",
    "<",
    "[",
    ">",
    "]",
    "|",
    "▁",
    " ",
    "\n",
    "#",
]
NAMES = ["<pad>", "<unk>", "[PAD]", "<blank>", "<0x61>", "<space>", "ab", "▁a", "##a", "a</w>", "a@@", "Ġ", "ε"]
texts = st.lists(
    st.sampled_from([*SIGNS, " ", "  ", "\u2003", "\x1f", "a", "b", "<unk>", "<pad>", "<space>", "x"])
).map("".join)


def outcome(vocabulary: ctckit.Vocabulary, text: str, **options: Any) -> Any:
    try:
        return vocabulary.encode(text, **options)
    except (ctckit.ArgumentTypeError, ctckit.ArgumentValueError) as error:
        return type(error), str(error)


@settings(max_examples=500, deadline=None)
@given(
    tokens=st.lists(st.sampled_from([*SIGNS, *NAMES]), unique=True, min_size=1),
    text=texts,
    fold_case=st.booleans(),
    separated=st.booleans(),
    blank=st.none() | st.integers(0, 4),
    unknown=st.sampled_from(["raise", "skip", "wildcard", "drop"]),
)
@example(["a", "b", "|"], "a b", False, True, 1, "raise")
@example(["-", " ", "a", "b", "\n"], " a\nb ", False, True, None, "raise")
@example(["<", "u", "n", "k", ">"], "<unk>", False, True, None, "raise")
@example(["<pad>", "a", "ab", "b"], "ab", False, True, 0, "raise")
def test_as_the_long_way(
    tokens: list[str], text: str, fold_case: bool, separated: bool, blank: int | None, unknown: str
) -> None:
    short, long = (
        ctckit.Vocabulary(tokens, fold_case=fold_case, word_separator=None if separated else "") for _ in range(2)
    )
    long._letters = None
    assert outcome(short, text, blank=blank, unknown=unknown) == outcome(long, text, blank=blank, unknown=unknown)


@pytest.mark.parametrize(
    ("tokens", "text", "spelt"),
    [
        (["<pad>", "<s>", "|", "C", "A", "T"], "CAT  A", True),
        (["-", "a", "b"], "ab a", True),
        (["<pad>", " ", "a", "<", ">"], "a a", True),
        (["<pad>", " ", "a", "<", ">"], "a <a", False),  # may be the name of a special token
        (["<pad>", "|", "C"], "CAT", False),
        (["<pad>", "|", "C", "CA", "A"], "CA", False),  # a longer token
        (["<p>", "|", "C", "A"], "CA", False),  # a longer token that is not special
    ],
)
def test_where_it_is_taken(tokens: list[str], text: str, spelt: bool) -> None:
    vocabulary = ctckit.Vocabulary(tokens)
    letters = SingleCharacters(vocabulary.ids, vocabulary._special, vocabulary.word_separator)
    assert (letters.spell(text, 0) is not None) == spelt
