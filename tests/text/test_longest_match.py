"""Words in the tokens of a list: marks of words, and the longest tokens that fit."""

from __future__ import annotations

import pytest

from ctckit import Vocabulary
from ctckit.text.longest_match import composed_letters
from tests.tools.vocabularies import names, sources


@pytest.mark.parametrize(
    ("tokens", "text", "right"),
    [
        (["a", "##b'"], "ab'", ["a", "##b'"]),
        (["a", "b", "'b@@"], "'ba", ["'b@@", "a"]),
        (["a", "'b</w>"], "a'b", ["a", "'b</w>"]),
        (["a", "#", "##"], "a##", ["a", "##"]),  # nothing is next to the mark
        (["a", "##'"], "a##'", ["a", "##'"]),  # no letter is next to it
        (["a", "@", "'@@"], "'@@a", ["'@@", "a"]),
    ],
)
def test_a_mark_is_beside_a_letter(tokens: list[str], text: str, right: list[str]) -> None:
    assert names(["<pad>", *tokens], text) == right


def test_a_missing_mark_is_less_than_a_missing_letter() -> None:
    assert names(["<pad>", "▁ab", "abc"], "abc", unknown="skip") == ["abc"]
    assert names(["<pad>", "a</w>", "ab", "b", "abc"], "abc", unknown="skip") == ["abc"]


def test_continuation_with_a_bare_start() -> None:
    row = ["<unk>", "▁", "##o", "##w", "##n", "we", "##e", "##d"]
    assert names(row, "we need now") == ["we", "▁", "##n", "##e", "##e", "##d", "▁", "##n", "##o", "##w"]
    found = Vocabulary(row).encode_tokens(["we", "▁", "##n", "##o", "we"])
    assert found.words == ["we", "no", "we"]


def test_hashes_are_no_marks_where_starts_are_marked() -> None:
    """Vocabularies of language models have "##" as text."""
    assert names(["<pad>", "▁a", "b", "##", "##b", "#"], "abb ab") == ["▁a", "b", "b", "▁a", "b"]


def test_ends_of_words_in_rows_of_tokens() -> None:
    assert Vocabulary(sources()["ends"]).encode_tokens(["a", "b</w>", "c</w>", "d"]).words == ["ab", "c", "d"]
    assert Vocabulary(sources()["continued"]).encode_tokens(["a@@", "b", "c", "d@@"]).words == ["ab", "c", "d"]
    assert Vocabulary(sources()["trailing underscores"]).encode_tokens(["a", "b_", "c_"]).words == ["ab", "c"]


def test_an_end_that_is_a_token_by_itself() -> None:
    assert names(["<pad>", "lo", "w", "er</w>", "</w>"], "lower low") == ["lo", "w", "er</w>", "lo", "w", "</w>"]


def test_the_longest_token_does_not_lead_astray() -> None:
    """If the rest after the longest token cannot be spelt, a shorter token is taken."""
    assert names(["-", "ab", "a", "bc"], "abc") == ["a", "bc"]
    assert names(["-", "ab", "a", "bc", "c"], "abc") == ["ab", "c"]
    assert names(["-", "ab", "a", "bc"], "abxabc", unknown="skip") == ["ab", "a", "bc"]
    # A token with its mark still comes before a mark and a token.
    assert names(["-", "▁", "▁ab", "▁a", "a", "bc"], "abc") == ["▁a", "bc"]
    assert names(["-", "abc", "ab", "cd</w>", "cd", "</w>"], "abcd") == ["ab", "cd</w>"]


@pytest.mark.parametrize(
    ("text", "spans"),
    [
        ("", []),
        ("e\u0301", [(0, 2)]),
        ("\u0301e", []),
        ("x\u0301", []),  # no letter is composed of these
        ("e\u0301e\u0301", [(0, 2), (2, 4)]),
        ("ae\u0301o\u0323\u0302", [(1, 3), (3, 6)]),  # the second letter has two accents
        ("\u1112\u1161\u11ab", [(0, 3)]),  # a syllable of Hangul
    ],
)
def test_letters_of_several_characters(text: str, spans: list[tuple[int, int]]) -> None:
    assert composed_letters(text) == spans
