"""Which class is the blank: names, padding, one class more than tokens, and contradictions."""

from __future__ import annotations

from typing import Any

import pytest

import ctckit
from ctckit import Vocabulary
from ctckit.text.blank import blank_of


@pytest.mark.parametrize(
    ("tokens", "blank"),
    [
        (["a", "<blank>", "<pad>"], 1),
        (["<pad>", "a", "<blk>"], 2),
        (["a", "[BLANK]"], 1),
        (["a", "[blank]"], 1),
        (["a", "<BLK>"], 1),
        (["a", "b", "<b>"], 2),
        (["a", "ε"], 1),
        (["<eps>", "a"], 0),
        (["a", "<eps>", "<blk>", "<blank>"], 3),  # the order of the names decides, not that of the classes
        (["[CTCblank]", "a"], 0),
        (["a", "<pad>"], 1),
        (["a", "[PAD]"], 1),
        (["a", "<PAD>"], 1),
        (["[PAD]", "<pad>"], 1),
        (["a", "b"], None),
        (["-", "_"], None),
        (["<s>", "<unk>", "a"], None),
        ([*"αβγδε"], None),  # among Greek letters ε is a letter
        (["<pad>", *"αβγδε"], 0),
    ],
)
def test_names(tokens: list[str], blank: int | None) -> None:
    vocabulary = Vocabulary(tokens)
    assert vocabulary.blank == blank
    assert blank_of(vocabulary, len(tokens), None) == (blank or 0)
    assert blank_of(vocabulary, None, blank) == (blank or 0)
    assert Vocabulary(vocabulary).blank == blank
    assert Vocabulary(vocabulary, blank=1).blank == 1
    if blank is not None:
        assert tokens[blank] in vocabulary.blank_reason


class Padding:
    """A tokenizer with a class of padding."""

    def __init__(self, tokens: list[str], pad_token_id: int | None) -> None:
        self.tokens, self.pad_token_id = tokens, pad_token_id

    def get_vocab(self) -> dict[str, int]:
        return {token: n for n, token in enumerate(self.tokens)}

    def tokenize(self, text: str) -> list[str]:
        return list(text)

    def convert_tokens_to_ids(self, tokens: list[str]) -> list[int]:
        return [self.tokens.index(token) for token in tokens]


def test_padding_of_tokenizers() -> None:
    """It comes after a name of the blank, and before a name of padding."""
    assert Vocabulary(Padding(["a", "b", "_"], 2)).blank == 2
    assert Vocabulary(Padding(["<pad>", "a", "_"], 2)).blank == 2
    assert Vocabulary(Padding(["<pad>", "a", "<blank>"], 0)).blank == 2
    assert Vocabulary(Padding(["<pad>", "a"], None)).blank == 0
    assert Vocabulary(Padding(["a", "b"], None)).blank is None
    with pytest.raises(ctckit.ArgumentValueError, match=r"the tokenizer's pad_token_id is 2 \('_'\)"):
        blank_of(Vocabulary(Padding(["a", "b", "_"], 2)), 3, 0)


@pytest.mark.parametrize("more", [None, 0, 1, 2])
@pytest.mark.parametrize("argument", [None, 0, 1, 2, 3, 4])
@pytest.mark.parametrize("padding_name", [None, "<pad>", "[PAD]", "<PAD>"])
@pytest.mark.parametrize("padding_id", [None, 3])
@pytest.mark.parametrize("name", [None, "<blank>", "<blk>", "[BLANK]", "<b>", "\u03b5", "<eps>"])
@pytest.mark.parametrize("made_with", [None, 1])
def test_the_order(
    made_with: int | None,
    name: str | None,
    padding_id: int | None,
    padding_name: str | None,
    argument: int | None,
    more: int | None,
) -> None:
    """In order: the argument `blank`; a name of the blank; the tokenizer's padding; a name of padding."""
    tokens = ["k", "l", name or "m", "n", padding_name or "o"]
    vocabulary = Vocabulary(tokens if padding_id is None else Padding(tokens, padding_id), blank=made_with)
    said = [made_with, 2 if name else None, padding_id, 4 if padding_name else None]
    blank = next((number for number in said if number is not None), None)
    classes = None if more is None else len(tokens) + more
    assert vocabulary.blank == blank
    if argument is None:
        by_default = 5 if more == 1 else 0
        assert blank_of(vocabulary, classes, None) == (by_default if blank is None else blank)
    elif blank in (None, argument):
        assert blank_of(vocabulary, classes, argument) == argument
    else:
        with pytest.raises(
            ctckit.ArgumentValueError, match=rf"blank is {argument} .*Vocabulary\(..., blank={argument}\)"
        ):
            blank_of(vocabulary, classes, argument)
        assert blank_of(Vocabulary(vocabulary, blank=argument), classes, argument) == argument


def test_the_number_of_classes() -> None:
    vocabulary = Vocabulary(["a", "b", "c"])
    assert [blank_of(vocabulary, classes, None) for classes in (None, 2, 3, 4, 5)] == [0, 0, 0, 3, 0]
    assert blank_of(Vocabulary(["a", None, "c", ""]), 5, None) == 4  # classes without text count
    assert blank_of(Vocabulary({"a": 0, "b": 5}), 7, None) == 6
    assert blank_of(Vocabulary(["<pad>", "a"]), 3, None) == 0  # a name comes first
    assert blank_of(vocabulary, 4, 1) == 1  # and the caller before that
    assert (blank_of(None, 4, None), blank_of(None, None, 3)) == (0, 3)


def test_contradictions() -> None:
    message = (
        r"blank is 0 \('a'\), but the vocabulary has '<blank>' as class 1: leave blank= out, or, if class 0 is the "
        r"blank, say so with Vocabulary\(..., blank=0\)"
    )
    vocabulary = Vocabulary(["a", "<blank>"])
    with pytest.raises(ctckit.ArgumentValueError, match=message):
        blank_of(vocabulary, 2, 0)
    with pytest.raises(ctckit.ArgumentValueError, match="'<pad>' as class 1"):
        Vocabulary(["a", "<pad>"]).encode("a", blank=0)
    said = Vocabulary(["a", "<blank>"], blank=0)  # no error is raised
    assert blank_of(said, 2, None) == blank_of(said, 2, 0) == 0
    with pytest.raises(ctckit.ArgumentValueError, match=r"the vocabulary was made with blank=0"):
        blank_of(said, 2, 1)
    assert said.encode("<", unknown="skip").is_lost


@pytest.mark.parametrize(
    ("blank", "error", "message"),
    [(-1, ValueError, "blank is -1, but classes are numbered from 0"), ("1", TypeError, "blank is '1', a str")],
)
def test_blanks_that_are_none(blank: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Vocabulary(["a"], blank=blank)
    with pytest.raises(error, match=message):
        blank_of(None, None, blank)
