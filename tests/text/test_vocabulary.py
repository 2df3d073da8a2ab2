"""Vocabularies from every source, the tokens and words of texts, and errors for characters without a token."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ctckit
from ctckit import Vocabulary
from tests.tools.vocabularies import Codes, Pieces, Processor, Slow, names

LETTERS = ["-", "|", *"abcdefgh"]


def spelt(vocabulary: Any, text: str, **options: Any) -> list[Any]:
    return [tuple(piece) for piece in Vocabulary(vocabulary).encode(text, **options).pieces]


# ------------------------------------------------------------------------------------------------------------- sources


def test_list_dict_and_file_are_one(tmp_path: Path) -> None:
    mapping = {token: number for number, token in enumerate(LETTERS)}
    (tmp_path / "list.json").write_text(json.dumps(LETTERS), encoding="utf-8")
    (tmp_path / "vocab.json").write_text(json.dumps(mapping), encoding="utf-8")
    expected = Vocabulary(LETTERS).encode("abba cafe")
    assert expected.ids == [2, 3, 3, 2, 1, 4, 2, 7, 6]
    assert expected.words == ["abba", "cafe"]
    for source in (tuple(LETTERS), mapping, tmp_path / "list.json", str(tmp_path / "vocab.json"), Vocabulary(LETTERS)):
        assert Vocabulary(source).encode("abba cafe") == expected


def test_a_vocabulary_of_a_vocabulary_keeps_its_options() -> None:
    given = Vocabulary(["-", "|", "A", "/"], word_separator="/", fold_case=True, blank=1)
    for other in (Vocabulary(given), Vocabulary(Vocabulary(given))):
        assert other.encode("a a").ids == [2, 3, 2]
        assert other.blank == 1
    assert Vocabulary(given, word_separator="|", blank=0).encode("a a").ids == [2, 1, 2]
    assert Vocabulary(Vocabulary(["-", "|", "a"], word_separator="")).encode("a a").ids == [2, 2]


def test_classes_without_text() -> None:
    vocabulary = Vocabulary([None, "a", "", "b"])
    assert vocabulary.encode("ab").ids == [1, 3]
    assert len(vocabulary) == 2
    assert vocabulary.name(0) == "<0>"
    assert repr(vocabulary) == "Vocabulary(2 tokens, word_separator=None)"


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ([], ValueError, "vocabulary is empty"),
        (["a", "a"], ValueError, "'a' twice, as classes 0 and 1"),
        ({"a": 1, "b": 1}, ValueError, "'a' and 'b' as one class, 1"),
        ({"a": -1}, ValueError, r"vocabulary\['a'\] is -1"),
        ({"a": 1.5}, TypeError, r"vocabulary\['a'\] is 1.5, a float"),
        ({"eng": {"a": 1}}, TypeError, "one vocabulary per language"),
        ([1, 2], TypeError, "holds 1, a int"),
        (7, TypeError, "vocabulary is a int, but must be a list of tokens"),
        ("abc", FileNotFoundError, "no such file .for a row of characters pass a list"),
    ],
)
def test_what_is_no_vocabulary(source: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Vocabulary(source)


def test_files_that_are_none(tmp_path: Path) -> None:
    for content, message in (("{", "not a JSON file"), ("3", "holds a int")):
        path = tmp_path / "vocab.json"
        path.write_text(content, encoding="utf-8")
        with pytest.raises(ValueError, match=message):
            Vocabulary(path)


# ----------------------------------------------------------------------------------------------------- words and marks


def test_separators() -> None:
    assert Vocabulary(["a", " ", "|"]).word_separator == " "
    assert Vocabulary(["a", "|", "b"]).word_separator == "|"
    assert Vocabulary(["a", "▁"]).word_separator == "▁"
    assert Vocabulary(["a", "▁a", "▁"]).word_separator is None
    assert Vocabulary(["a", "/"], word_separator="/").word_separator == "/"
    assert Vocabulary(["a", "|"], word_separator="").word_separator is None
    with pytest.raises(ValueError, match="word_separator is '_', which is not in the vocabulary"):
        Vocabulary(["a"], word_separator="_")


def test_white_space() -> None:
    """A run of white space is one space. Both ends are ignored. A separator in the text is white space, too."""
    expected = [("a", 2, 0), ("|", 1, None), ("b", 3, 1)]
    for text in ("a b", "  a \n\t b  ", "a|b", "a | b|"):
        assert spelt(LETTERS, text) == expected
    assert spelt(LETTERS, "") == spelt(LETTERS, "  ") == []
    assert spelt(["-", "a", "b"], "a b") == [("a", 1, 0), ("b", 2, 1)]  # words need no separator in the vocabulary


def test_longest_match() -> None:
    assert [text for text, *_ in spelt(["-", "a", "b", "ab", "abc", "c"], "ababcb")] == ["ab", "abc", "b"]


def test_marked_starts() -> None:
    tokens = ["<blank>", "▁", "▁he", "llo", "l", "o", "▁w", "rld", "x"]
    assert spelt(tokens, "hello world x") == [
        ("▁he", 2, 0), ("llo", 3, 0), ("▁w", 6, 1), ("o", 5, 1), ("rld", 7, 1), ("▁", 1, 2), ("x", 8, 2),
    ]  # fmt: skip


def test_continuations() -> None:
    tokens = ["[PAD]", "un", "##aff", "##able", "able"]
    transcript = Vocabulary(tokens).encode("unaffable able")
    assert [piece.text for piece in transcript.pieces] == ["un", "##aff", "##able", "able"]
    assert [piece.word for piece in transcript.pieces] == [0, 0, 0, 1]


@given(st.text(alphabet="abcdefgh ", max_size=30))
def test_words_are_those_of_the_text(text: str) -> None:
    """Every token spells its part of its word."""
    transcript = Vocabulary(LETTERS).encode(text)
    assert transcript.words == text.split()
    for number, word in enumerate(transcript.words):
        assert "".join(piece.text for piece in transcript.pieces if piece.word == number) == word
    assert sum(piece.word is None for piece in transcript.pieces) == max(0, len(transcript.words) - 1)


# -------------------------------------------------------------------------------------- the bar: a space or a character


@pytest.mark.parametrize(
    ("tokens", "separator"),
    [
        (["-", "a", "|"], "|"),
        (["-", "a", "{", "|", "}"], None),  # in the order of ASCII: one character among others
        (["-", "{", "|", "}", "a"], None),
        (["{", "|", "}", "a"], None),
        (["-", "{", "|", "a", "}"], "|"),
        (["-", "{", "a", "|", "}"], "|"),
        (["-", "}", "|", "{", "a"], "|"),
        (["-", "|", "{", "}", "a"], "|"),
        (["-", "|", "}", "a"], "|"),
    ],
)
def test_a_bar_among_its_neighbours_in_ascii_is_a_letter(tokens: list[str], separator: str | None) -> None:
    assert Vocabulary(tokens).word_separator == separator


@pytest.mark.parametrize(
    "signs",
    ["".join(map(chr, range(33, 127))), "0123456789abc!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", "xy|}{~^]\\[@?>=<&%$#"],
    ids=["ASCII", "string.printable", "any order"],
)
def test_the_bar_is_a_character_among_others(signs: str) -> None:
    for source in (["<blank>", *signs], {sign: n for n, sign in enumerate(signs, 1)}):
        vocabulary = Vocabulary(source)
        assert vocabulary.word_separator is None
        letters = "".join(sorted(set("xyab") & set(signs)))
        assert names(source, f"|{letters}||") == list(f"|{letters}||")
        assert vocabulary.encode("| |").words == ["|", "|"]
    assert Vocabulary([*signs, " "]).word_separator == " "
    assert Vocabulary([*signs], word_separator="|").word_separator == "|"


def test_the_bar_is_a_character_among_a_dozen_signs() -> None:
    signs = "#$%&*+/<=>@^"
    assert Vocabulary(["-", "|", *"ab", *signs]).word_separator is None
    assert Vocabulary(["-", "|", *"ab", *signs[1:]]).word_separator == "|"


def test_the_bar_is_a_space_among_letters() -> None:
    for extra in ("", "'", "'-.,?!", "äöüß&"):
        vocabulary = Vocabulary(["<pad>", "<s>", "</s>", "<unk>", "|", *"ETAON", *extra])
        assert vocabulary.word_separator == "|"
        assert names(vocabulary, "EAT|TEA  NO") == list("EAT|TEA|NO")


# ------------------------------------------------------------------------------------------------- unknown characters


def test_unknown_characters_raise() -> None:
    message = r"character 'é' \(U\+00E9, LATIN SMALL LETTER E WITH ACUTE\) at position 3 of the text, in 'cafébab'"
    with pytest.raises(ValueError, match=message):
        spelt(LETTERS, "cafébab")
    with pytest.raises(ValueError, match=r"it has 'a'; fold_case=True"):
        spelt(LETTERS, "A")
    with pytest.raises(ValueError, match=r"in the form NFD"):
        spelt([*LETTERS, "\u0301"], "\u00e9")
    with pytest.raises(ValueError, match="is the blank, which no text holds"):
        spelt(LETTERS, "a-b", blank=0)
    with pytest.raises(ValueError, match=r"at position 40 of the text, in '\.\.\.aaaaaaaaaaaaXbbbbbbbbbbbb\.\.\.'"):
        spelt(LETTERS, "a" * 40 + "X" + "b" * 40)
    with pytest.raises(ValueError, match="unknown is 'ignore', but must be one of 'raise', 'wildcard', 'skip'"):
        spelt(LETTERS, "a", unknown="ignore")
    with pytest.raises(TypeError, match="text is a int"):
        spelt(LETTERS, 3)  # type: ignore[arg-type]


def test_unknown_characters_as_wildcards_or_nothing() -> None:
    assert spelt(LETTERS, "aXYb Z", unknown="wildcard") == [
        ("a", 2, 0), ("XY", None, 0), ("b", 3, 0), ("|", 1, None), ("Z", None, 1),
    ]  # fmt: skip
    assert [text for text, *_ in spelt(LETTERS, "aXYb", unknown="skip")] == ["a", "b"]


def test_wildcards_by_name() -> None:
    assert spelt(LETTERS, "a*b", wildcard="*") == [("a", 2, 0), ("*", None, 0), ("b", 3, 0)]
    assert spelt([*LETTERS, "*"], "*", wildcard="*") == [("*", None, 0)]
    assert spelt([*LETTERS, "*"], "*") == [("*", 10, 0)]  # a token like any other


def test_fold_case() -> None:
    vocabulary = Vocabulary(["-", "A", "b", "B"], fold_case=True)
    assert vocabulary.encode("aAbB").ids == [1, 1, 2, 3]  # the character's own case comes first
    assert vocabulary.encode("aAbB").words == ["aAbB"]


# ---------------------------------------------------------------------------------------------------------- tokenizers


@pytest.mark.parametrize("tokenizer", [Slow(), Processor()], ids=["tokenizer", "processor"])
def test_transformers(tokenizer: Any) -> None:
    assert spelt(tokenizer, "ab b") == [("a", 5, 0), ("b", 6, 0), ("|", 4, None), ("b", 6, 1)]
    assert Vocabulary(tokenizer).encode("ab b").words == ["ab", "b"]
    with pytest.raises(ValueError, match="no token for 'x' in 'abx'"):
        spelt(tokenizer, "abx")
    assert [text for text, *_ in spelt(tokenizer, "axb", unknown="skip")] == ["a", "b"]
    assert [number for _, number, _ in spelt(tokenizer, "axb", unknown="wildcard")] == [5, None, 6]
    assert [number for _, number, _ in spelt(tokenizer, "a*b", wildcard="*")] == [5, None, 6]


class FewPieces(Pieces):
    names = ("<unk>", "▁", "a", "▁ab", "b")


def test_sentencepiece() -> None:
    assert spelt(FewPieces(), "abb a") == [("▁ab", 3, 0), ("b", 4, 0), ("▁", 1, 1), ("a", 2, 1)]
    with pytest.raises(ValueError, match="no token for 'x'"):
        spelt(FewPieces(), "abx")


def test_a_word_behind_a_wildcard_has_its_space() -> None:
    vocabulary = Vocabulary(Codes())
    for text, right in (("b b", [2, 6]), ("* b", [None, 6]), ("*b", [None, 2]), ("b * b", [2, None, 6])):
        assert [piece.id for piece in vocabulary.encode(text, wildcard="*").pieces] == right, text


def test_encoders() -> None:
    transcript = Vocabulary(Codes()).encode("a b")
    assert transcript.ids == [1, 6]
    assert transcript.words == ["a", "b"]


def test_the_real_tokenizers_library() -> None:
    tokenizers = pytest.importorskip("tokenizers")
    model = tokenizers.models.WordPiece({"[UNK]": 0, "ab": 1, "##c": 2, "d": 3}, unk_token="[UNK]")  # noqa: S106
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    assert spelt(tokenizer, "abc d") == [("ab", 1, 0), ("##c", 2, 0), ("d", 3, 1)]
    with pytest.raises(ValueError, match="no token for 'xyz' in 'abc xyz'"):
        spelt(tokenizer, "abc xyz")


def test_classes_that_are_needed() -> None:
    assert Vocabulary(["-", "a", "b"]).classes_needed == 3
    assert Vocabulary(["-", "a", "<unk>", "</s>"]).classes_needed == 2
    assert Vocabulary(["<unk>", "</s>"]).classes_needed == 0


def test_classes_below_zero_are_none() -> None:
    assert Vocabulary(["-", "a"]).encode_tokens([0, 1]).ids == [0, 1]
    with pytest.raises(ctckit.ArgumentValueError, match="token 1 is -1, but classes are numbered from 0"):
        Vocabulary(["-", "a"]).encode_tokens([1, -1])
