"""Characters without a token are left out or become wildcards, in vocabularies of every kind."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ctckit
from ctckit import Vocabulary
from tests.tools.vocabularies import WHOLE_WORDS, names, sources, vocabularies

JUNK = "-~é7,"
SOURCES = pytest.mark.parametrize("name", list(sources()))
VOCABULARIES = vocabularies()


# ------------------------------------------------------------------------------------------------------------- left out


def check_skipping(vocabulary: Vocabulary, text: str) -> None:
    """The tokens are those of the text without the characters left out. The words are as the text has them."""
    found = vocabulary.encode(text, unknown="skip")
    clean = vocabulary.encode(re.sub(f"[{JUNK}]", "", text))
    kept = [match for match in re.finditer(r"\S+", text) if set(match[0]) - set(JUNK)]
    assert found.pieces == clean.pieces
    assert found.words == [match[0] for match in kept]
    assert found.spans == [match.span() for match in kept]
    assert found.dropped == tuple(re.findall(f"[{JUNK}]+", text))
    assert {piece.word for piece in found.pieces} - {None} == set(range(len(kept)))


@SOURCES
@pytest.mark.parametrize(
    "text",
    [
        "ab - cd",
        "- ab",
        "ab -",
        "- - ab - ~ cd - ~",
        "ab\t-\ncd",
        "-",
        "- ~",
        "ab, cd",
        "ab -cd",
        "é 7 ab é 7",
        " - ab",
    ],
)
def test_words_left_out_leave_nothing_behind(name: str, text: str) -> None:
    check_skipping(VOCABULARIES[name], text)


@SOURCES
@given(text=st.text(alphabet="abcd" + JUNK + "  \n", max_size=20))
def test_characters_left_out_leave_nothing_behind(name: str, text: str) -> None:
    if name in WHOLE_WORDS:
        text = re.sub("[é7]+", " é ", text)
    check_skipping(VOCABULARIES[name], text)


def test_what_is_left_out_is_not_there_by_literals() -> None:
    """The expected tokens in full, independent of the vocabulary."""
    assert names(sources()["list"], "- ab , c -", unknown="skip") == ["a", "b", "|", "c"]
    assert names(sources()["marked starts"], "-abc , -c", unknown="skip") == ["▁ab", "c", "▁c"]
    assert names(sources()["continuations"], "-abcd", unknown="skip") == ["a", "##bc", "##d"]
    assert names(sources()["ends"], "cab- , d", unknown="skip") == ["c", "ab</w>", "d</w>"]
    assert names(sources()["continued"], "cab- , d", unknown="skip") == ["c@@", "a@@", "b", "d"]
    assert names(sources()["slow tokenizer"], "- ab , c -", unknown="skip") == ["a", "b", "|", "c"]
    assert names(sources()["codes"], "- ab , c -", unknown="skip") == ["a", "b", " c"]


def test_nothing_is_left() -> None:
    transcript = Vocabulary(sources()["list"]).encode("xyz - XY", unknown="skip")
    assert (transcript.ids, transcript.words, transcript.dropped) == ([], [], ("xyz", "-", "XY"))
    assert transcript.is_lost
    assert not Vocabulary(sources()["list"]).encode(" \n", unknown="skip").is_lost


# ------------------------------------------------------------------------------------------------------------ wildcards


def test_unknown_apart_for_words_numbers_and_punctuation() -> None:
    vocabulary = Vocabulary(["<pad>", "|", *"abc"])

    def spelt(text: str, **unknown: str) -> list[str]:
        return [piece.text for piece in vocabulary.encode(text, unknown=unknown).pieces]

    both = {"numbers": "wildcard", "punctuation": "skip"}
    assert spelt("ab, 3.5% - c!", **both) == ["a", "b", "|", "3.5%", "|", "c"]
    assert spelt("$5 (b) 1,000", **both) == ["$5", "|", "b", "|", "1,000"]
    assert spelt("a7b, -7", **both) == ["a", "7", "b", "|", "-7"]
    assert spelt("a é 7 !", words="skip", **both) == ["a", "|", "7"]
    assert spelt("é, 7", words="wildcard", numbers="skip", punctuation="skip") == ["é"]
    for text, unknown in (("é 7", both), ("7", {"words": "skip"}), ("a!", {"numbers": "skip"}), ("!", {})):
        with pytest.raises(ctckit.ArgumentValueError, match="is not in the vocabulary"):
            spelt(text, **unknown)


def test_a_wildcard_of_punctuation_is_no_part_of_a_word_at_its_ends() -> None:
    vocabulary = Vocabulary(["<pad>", "|", *"ab"])
    rows: dict[str, list[int | None]] = {
        '"ab,': [None, 0, 0, None],
        "a'b": [0, 0, 0],
        "ab7": [0, 0, 0],
        "7ab!": [0, 0, 0, None],
        "ab7!": [0, 0, 0],  # one wildcard, and a number in it
        "...": [0],
        "a - b": [0, None, 1, None, 2],
    }
    for text, words in rows.items():
        transcript = vocabulary.encode(text, unknown="wildcard")
        assert [piece.word for piece in transcript.pieces] == words
        assert transcript.words == text.split()
    asked = vocabulary.encode("ab*", wildcard="*")
    assert [piece.word for piece in asked.pieces] == [0, 0, 0]


@SOURCES
def test_neighbouring_unknown_tokens_are_one_wildcard(name: str) -> None:
    vocabulary = VOCABULARIES[name]
    found = vocabulary.encode("ab é7é ~~ cd", unknown="wildcard")
    assert [(p.text, p.word) for p in found.pieces if p.id is None] == [("é7é", 1), ("~~", 2)]
    assert found.words == ["ab", "é7é", "~~", "cd"]
    assert [p for p in found.pieces if p.word == 3] == [
        p._replace(word=3) for p in vocabulary.encode("ab cd").pieces if p.word == 1
    ]


@SOURCES
def test_wildcards_of_the_caller(name: str) -> None:
    vocabulary = VOCABULARIES[name]
    found = vocabulary.encode("ab * cd**", wildcard="*")
    assert [(p.text, p.word) for p in found.pieces if p.id is None] == [("*", 1), ("**", 2)]
    plain = [p.id for p in vocabulary.encode("ab cd").pieces if p.word is not None]
    if name not in (
        "ends",
        "trailing underscores",
        "ends as of SentencePiece",
        "continued",
    ):  # there a token before the end of a word differs
        assert [p.id for p in found.pieces if p.id is not None and p.word is not None] == plain
    within = vocabulary.encode("a*c", wildcard="*").pieces
    assert [p.word for p in within] == [0] * len(within)
    assert not any(p.text.startswith(("▁", " ")) for p in within[2:])


def test_wildcards_within_words_keep_the_marks_right() -> None:
    assert names(sources()["ends"], "ab*b c", wildcard="*") == ["a", "b", "*", "b</w>", "c</w>"]
    assert names(sources()["continued"], "ab*b c", wildcard="*") == ["a@@", "b@@", "*", "b", "c"]
    assert names(sources()["continuations"], "ab*b c", wildcard="*") == ["a", "##b", "*", "##b", "c"]
    assert names(sources()["marked starts"], "ab*c c", wildcard="*") == ["▁ab", "*", "c", "▁c"]


@SOURCES
@pytest.mark.parametrize(
    "text", ["ab, cd", '"ab" cd', "ab (cd)", "!?ab cd", "ab \u2603 cd", "- ab cd\u2026", "\u00bfab cd?!"]
)
def test_wildcards_of_punctuation_leave_the_words_as_they_are(name: str, text: str) -> None:
    """The marks of starts and ends stay, since a wildcard at either end of a word is no part of it."""
    vocabulary = VOCABULARIES[name]
    found = vocabulary.encode(text, unknown={"punctuation": "wildcard"})
    spelt = [(p.text, p.id) for p in found.pieces if p.id is not None and p.word is not None]
    right = vocabulary.encode("* ab cd" if text[0] == "-" else "ab cd", wildcard="*")
    assert spelt == [(p.text, p.id) for p in right.pieces if p.id is not None and p.word is not None]
    assert any(p.id is None for p in found.pieces)


# ------------------------------------------------------------------------------------------------------- odd characters


@SOURCES
@pytest.mark.parametrize("half", [chr(0xD800), chr(0xDFFF)])
def test_half_a_character_is_unknown(name: str, half: str) -> None:
    """A lone surrogate, which JSON can hold, and which tokenizers refuse."""
    vocabulary = VOCABULARIES[name]
    with pytest.raises(ctckit.ArgumentValueError, match=ascii(half)[2:-1]):
        vocabulary.encode(f"ab {half}cd")
    check = vocabulary.encode(f"ab {half}cd", unknown="skip")
    assert (check.pieces, check.dropped) == (vocabulary.encode("ab cd").pieces, (half,))


@SOURCES
@pytest.mark.parametrize("sign", ["▁", "Ġ", "##", "@@", "</w>", "_"])
def test_marks_in_a_text_are_characters_like_others(name: str, sign: str) -> None:
    vocabulary = VOCABULARIES[name]
    expected = vocabulary.encode("ab cd")
    found = vocabulary.encode(f"ab {sign} cd", unknown="skip")
    assert found.pieces == expected.pieces
    assert found.words == ["ab", "cd"]
    if found.dropped:  # else it is white space
        assert found.dropped == (sign,)
        with pytest.raises(ctckit.ArgumentValueError, match=r"has no token for|is not in the vocabulary"):
            vocabulary.encode(f"ab {sign} cd")
