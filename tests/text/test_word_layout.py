"""The words of a text: separated by white space, or given by the caller."""

from __future__ import annotations

import re
from typing import Any

import pytest

import ctckit
from ctckit import Vocabulary
from tests.tools.vocabularies import sources, vocabularies

SOURCES = pytest.mark.parametrize("name", list(sources()))
VOCABULARIES = vocabularies()


@SOURCES
def test_white_space_is_the_same_for_all(name: str) -> None:
    vocabulary = VOCABULARIES[name]
    expected = vocabulary.encode("ab cd ab")
    for text in (" ab  cd ab ", "ab\ncd\r\n\tab\n", "ab\u00a0cd\u3000ab", "\u2003ab \u2028 cd\x0bab\f"):
        found = vocabulary.encode(text)
        assert found.pieces == expected.pieces
        assert found.words == ["ab", "cd", "ab"]
        assert [text[start:end] for start, end in found.spans] == found.words
    assert vocabulary.encode(" \t\n").pieces == []


@SOURCES
def test_tokens_are_of_their_words(name: str) -> None:
    vocabulary = VOCABULARIES[name]
    transcript = vocabulary.encode("abcd d ba")
    for number, word in enumerate(["abcd", "d", "ba"]):
        row = [piece.text for piece in transcript.pieces if piece.word == number]
        assert re.sub(r"▁|##|</w>|_|@@| ", "", "".join(row)) == word


def test_words_of_the_caller() -> None:
    """For texts without spaces: a list, or a function."""
    source = ["<blank>", *"今天气很好我们"]
    vocabulary = Vocabulary(source)
    text = "今天天气很好。我们"
    kinds: list[Any] = [["今天", "天气", "很", "好", "我们"], ["今天", "天气", "很", "好", "。", "我们"]]
    for words in (*kinds, lambda _: kinds[0]):
        found = vocabulary.encode(text, words=words, unknown="skip")
        assert found.words == ["今天", "天气", "很", "好", "我们"]
        assert [piece.word for piece in found.pieces] == [0, 0, 1, 1, 2, 3, 4, 4]
        assert found.ids == vocabulary.encode(text, unknown="skip").ids
        assert found.spans == [(0, 2), (2, 4), (4, 5), (5, 6), (7, 9)]
        assert found.dropped == ("。",)
    assert Vocabulary(["-", "|", *"ab"]).encode("ab a", words=["a", "b", "a"]).ids == [2, 3, 1, 2]  # with separator
    whole = Vocabulary(["-", "|", *"ab"]).encode("ab a", words=["ab a"])
    assert (whole.words, whole.ids) == (["ab a"], [2, 3, 1, 2])
    pairs = Vocabulary(["-", "今", "天", "今天", "天天", "气"])
    assert [p.text for p in pairs.encode("今天天气", words=["今", "天天", "气"]).pieces] == ["今", "天天", "气"]
    both = ["今", "天天", "*", "今天", "天"]  # the same characters are other words after the wildcard
    assert [p.text for p in pairs.encode("今天天*今天天", words=both, wildcard="*").pieces] == both


@pytest.mark.parametrize(
    ("tokens", "right"),
    [
        (["▁ab", "▁c", "▁d", "c", "d"], ["▁ab", "c", "▁d"]),  # marks show white space
        (["▁", "ab", "▁c", "c", "d", "▁d"], ["▁", "ab", "c", "▁d"]),
        (["ab", "ab</w>", "c", "c</w>", "d</w>"], ["ab", "c</w>", "d</w>"]),
        (["ab", "ab@@", "c", "c@@", "d"], ["ab@@", "c", "d"]),
        (["ab", "c", "##c", "##d", "d"], ["ab", "c", "d"]),  # but here they show tokens that start no word
        (["▁", "ab", "##b", "##c", "##d"], ["ab", "##c", "▁", "##d"]),
    ],
)
def test_marks_of_words_of_the_caller(tokens: list[str], right: list[str]) -> None:
    found = Vocabulary(["<pad>", *tokens]).encode("abc d", words=["ab", "c", "d"])
    assert [piece.text for piece in found.pieces] == right
    assert found.words == ["ab", "c", "d"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ab...cd", ["ab", "...", "cd"]),
        ("..ab", ["..", "ab"]),
        ("ab. ..cd", ["ab", ".", "..", "cd"]),
        ("ab ...", ["ab", "..."]),
        ("a.. b.. ..", ["a", "..", "b", "..", ".."]),
    ],
)
def test_signs_between_words_of_the_caller_are_words(text: str, words: list[str]) -> None:
    vocabulary = Vocabulary(["-", *"abcd."])
    found = vocabulary.encode(text, words=re.findall("[a-d]+", text))
    assert found.words == [text[start:end] for start, end in found.spans] == words
    assert [piece.word for piece in found.pieces] == [n for n, word in enumerate(words) for _ in word]


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (["ab", "x"], ValueError, r"words\[1\] is 'x', which is not in the text after position 2"),
        (["b"], ValueError, r"words has no word for 'a' at position 0"),
        (["a", "b"], ValueError, r"words has no word for 'c' at position 3 of the text, before the end of the text"),
        (["c", "ab"], ValueError, r"words has no word for 'ab'"),
        ("ab c", TypeError, "words is a str, but must be a list"),
        (lambda _: None, TypeError, "words returned a NoneType"),
        ([1], TypeError, r"words\[0\] is 1, a int"),
    ],
)
def test_words_that_are_not_of_the_text(words: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        Vocabulary(["-", *"abc"]).encode("ab c", words=words)
    assert isinstance(caught.value, (ctckit.ArgumentTypeError, ctckit.ArgumentValueError))
