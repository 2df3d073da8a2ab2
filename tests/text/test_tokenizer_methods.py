"""Tokenizers are recognised by their methods, without their library, and their special tokens are respected."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest

import ctckit
from ctckit import Vocabulary
from tests.tools.vocabularies import Codes, Lowering, Pieces, Slow, names

tokenizers = pytest.importorskip("tokenizers")


# ------------------------------------------------------------------------------------------- as those of transformers


class Fast:
    """A fast tokenizer of transformers: it wraps one of the library tokenizers, and lists special tokens itself."""

    all_special_tokens = ("[noise]",)
    pad_token_id = 2
    unk_token_id: int | None = None

    def __init__(self, **options: Any) -> None:
        self.names = {name: n for n, name in enumerate(["?", "a", "_", "b", "[noise]", "ab"])}
        merges = [("a", "b")]
        self.backend_tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(self.names, merges, **options))
        self.backend_tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()

    def get_vocab(self) -> dict[str, int]:
        return self.names

    def tokenize(self, text: str) -> list[str]:
        return list(self.backend_tokenizer.encode(text).tokens)

    def convert_tokens_to_ids(self, tokens: list[str]) -> list[int]:
        return [self.names[token] for token in tokens]


def test_a_fast_tokenizer_is_read_by_what_is_inside_and_outside() -> None:
    vocabulary = Vocabulary(Fast())
    found = vocabulary.encode("ab  ba")
    assert ([p.text for p in found.pieces], found.words) == (["ab", "b", "a"], ["ab", "ba"])
    assert vocabulary.blank == 2
    with pytest.raises(ctckit.ArgumentValueError, match=r"'\[noise\]' at position 2 of the text"):
        vocabulary.encode("a [noise] b")


@pytest.mark.parametrize("inside", ["?", None])
@pytest.mark.parametrize("outside", [0, 2, None])
def test_the_unknown_of_a_fast_tokenizer(inside: str | None, outside: int | None) -> None:
    """The inner model's unknown token counts. It may have none, although the outer tokenizer has one."""
    tokenizer = Fast(unk_token=inside)
    tokenizer.unk_token_id = outside
    for text, at in (("ax b", 1), ("xab", 0), ("ab bx", 4)):
        with pytest.raises(ctckit.ArgumentValueError, match=f"no token for 'x' in '{text}', at position {at}"):
            Vocabulary(tokenizer).encode(text)
    assert Vocabulary(tokenizer).encode("axb b", unknown="skip").ids == [5, 3]


@pytest.mark.parametrize(
    "inner", [None, SimpleNamespace(encode=list), SimpleNamespace(token_to_id={}.get)], ids=["none", "encode", "ids"]
)
def test_a_tokenizer_with_something_else_inside_segments_itself(inner: Any) -> None:
    tokenizer = Slow()
    tokenizer.backend_tokenizer = inner  # type: ignore[attr-defined]
    assert names(tokenizer, "ab c") == ["a", "b", "|", "c"]


# ------------------------------------------------------------------------------------------ as those of sentencepiece


class Scores(Pieces):
    """The names of its special tokens and of its padding are not special names."""

    names = ("?", "_", "[noise]", "▁", "▁a", "a", "b")
    padding = -1

    def is_control(self, number: int) -> bool:
        return number == 2

    def pad_id(self) -> int:
        return self.padding


def test_control_tokens_of_sentencepiece_are_no_text() -> None:
    with pytest.raises(ctckit.ArgumentValueError, match=r"'\[noise\]' at position 2 of the text"):
        Vocabulary(Scores()).encode("a [noise] b")
    assert names(Scores(), "a [noise] b", unknown="skip") == ["▁a", "▁", "b"]


@pytest.mark.parametrize(("padding", "blank"), [(-1, None), (0, 0), (1, 1)])
def test_the_padding_of_sentencepiece_is_the_blank(padding: int, blank: int | None) -> None:
    processor = Scores()
    processor.padding = padding
    assert Vocabulary(processor).blank == blank


class Removing(Pieces):
    """It removes exclamation marks."""

    def encode_as_pieces(self, text: str) -> list[str]:
        return super().encode_as_pieces(text.replace("!", ""))


@pytest.mark.parametrize("text", ["ab ! ab", "ab ab !", "! ab ab", "ab! !ab", "! ab! ! ab ! !"])
def test_words_that_a_tokenizer_removes(text: str) -> None:
    found = Vocabulary(Removing()).encode(text)
    assert [(p.text, p.word) for p in found.pieces] == [("▁ab", 0), ("▁ab", 1)]
    words = text.split()
    assert (found.words, found.dropped) == ([w for w in words if w != "!"], tuple(w for w in words if w == "!"))


# ----------------------------------------------------------------------------------------------- as those of tokenizers


def bpe(*tokens: str) -> Any:
    """A tokenizer of single characters and pairs of them, without an unknown token."""
    pairs = [(token[0], token[1]) for token in tokens if len(token) == 2]
    return tokenizers.Tokenizer(tokenizers.models.BPE({token: n for n, token in enumerate(tokens)}, pairs))


@pytest.mark.parametrize("truncates", [False, True])
@pytest.mark.parametrize("pads", [False, True])
def test_truncation_and_padding_are_turned_off(truncates: bool, pads: bool) -> None:
    """Each by itself, also if the padding is a letter."""
    tokenizer = bpe("a", "b")
    if truncates:
        tokenizer.enable_truncation(2)
    if pads:
        tokenizer.enable_padding(length=8, pad_id=1, pad_token="b")  # noqa: S106
    assert names(tokenizer, "abba") == [*"abba"]
    assert (tokenizer.truncation is not None, tokenizer.padding is not None) == (truncates, pads)


def test_what_a_tokenizer_adds_around_a_text_is_no_text() -> None:
    tokenizer = bpe("a", "b", "[B]", "[E]")
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="[B] $A [E]", special_tokens=[("[B]", 2), ("[E]", 3)]
    )
    assert names(tokenizer, "ab") == ["a", "b"]
    assert names(tokenizer, "a*b", wildcard="*") == ["a", "*", "b"]
    # It does not disturb the test whether a word after another has its space.
    spaced = bpe("a", "\u2581", "\u2581a", "[B]", "[E]")
    spaced.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace(prepend_scheme="never")
    spaced.post_processor = tokenizer.post_processor
    assert names(spaced, "a * a", wildcard="*") == ["a", "*", "\u2581a"]


def test_a_mark_that_composes_with_the_letter_before_it() -> None:
    """It is not lost, although no token holds it. A second one composes with nothing and is lost."""
    tokenizer = bpe("\u00e1", "b")
    tokenizer.normalizer = tokenizers.normalizers.NFC()
    vocabulary = Vocabulary(tokenizer)
    assert [p.text for p in vocabulary.encode("a\u0301a\u0301b").pieces] == ["\u00e1", "\u00e1", "b"]
    again = vocabulary.encode("a\u0301\u0301b", unknown="skip")
    assert ([p.text for p in again.pieces], again.dropped) == (["\u00e1", "b"], ("\u0301",))


def test_a_capital_letter_is_lost_if_the_small_one_is() -> None:
    tokenizer = bpe("a", "b")
    tokenizer.normalizer = tokenizers.normalizers.Lowercase()
    assert names(tokenizer, "AbX", unknown="skip") == ["a", "b"]
    with pytest.raises(ctckit.ArgumentValueError, match="no token for 'X' in 'AXb', at position 1"):
        Vocabulary(tokenizer).encode("AXb")


@pytest.mark.parametrize("mark", ["##", "@@"])
def test_marks_that_are_tokens_are_text(mark: str) -> None:
    assert names(bpe("a", mark[0], mark), f"a{mark}") == ["a", mark]


def test_the_unknown_of_unigrams_has_any_name() -> None:
    scores = [("a", -1.0), ("?", 0.0), ("b", -1.0)]
    tokenizer = tokenizers.Tokenizer(tokenizers.models.Unigram(scores, 1, byte_fallback=False))
    with pytest.raises(ctckit.ArgumentValueError, match="no token for 'x'"):
        Vocabulary(tokenizer).encode("ax")
    assert names(tokenizer, "axb", unknown="skip") == ["a", "b"]


# ------------------------------------------------------------------------------------------------------- as any other


class Framing:
    """An encode() that adds tokens before and after a text. The text may have the same characters."""

    def __init__(self, before: list[int], behind: list[int]) -> None:
        self.before, self.behind = before, behind

    def get_vocab(self) -> dict[str, int]:
        return {sign: n for n, sign in enumerate("^$ab")}

    def encode(self, text: str) -> list[int]:
        return [*self.before, *(self.get_vocab()[sign] for sign in text), *self.behind]


@pytest.mark.parametrize("text", ["ab", "a", "^$ab", "b^a"])
@pytest.mark.parametrize(
    ("before", "behind"), [([], []), ([0], []), ([], [1]), ([0], [1]), ([0, 1], []), ([], [0, 1]), ([0, 0], [1])]
)
def test_what_is_added_around_a_text_is_no_text(before: list[int], behind: list[int], text: str) -> None:
    assert names(Framing(before, behind), text) == [*text]


class Cyrillic(Codes):
    """It has no letter of ASCII. A space and a letter are one token."""

    names = ("\ufffd", *"яюжд", " я", " ю", " ж", " д", " ")

    def get_vocab(self) -> dict[str, int]:
        return {name.replace(" ", "_"): n for n, name in enumerate(self.names)}


def test_a_word_behind_a_wildcard_has_its_space_in_any_script() -> None:
    assert names(Cyrillic(), "яю * яю", wildcard="*") == ["я", "ю", "*", "_я", "ю"]  # the names in get_vocab()


@pytest.mark.parametrize("method", ["encode_as_pieces", "piece_to_id", "tokenize", "convert_tokens_to_ids"])
def test_half_of_the_methods_of_a_kind_are_not_used(method: str) -> None:
    tokenizer = Codes()
    setattr(tokenizer, method, None)
    assert names(tokenizer, "ab cd") == ["a", "b", " c", "d"]


def test_what_an_encoder_says_of_its_tokens() -> None:
    tokenizer = Cyrillic()
    tokenizer.names = (*tokenizer.names[:-1], "[noise]", " ")
    tokenizer.special_tokens_set, tokenizer.pad_token_id = {"[noise]"}, 2  # type: ignore[attr-defined]
    assert Vocabulary(tokenizer).blank == 2
    with pytest.raises(ctckit.ArgumentValueError, match=r"'\[noise\]' at position 2 of the text"):
        Vocabulary(tokenizer).encode("я [noise] я")


def test_a_tokenizer_need_not_tell_its_classes() -> None:
    vocabulary = Vocabulary(Codes())
    assert (len(vocabulary), vocabulary.size, vocabulary.classes_needed) == (0, 0, 0)
    assert vocabulary.classes_named(9) is None


def test_names_of_special_tokens_are_no_text_whatever_the_tokenizer_says() -> None:
    class Silent(Slow):
        all_special_tokens = ()

    for special in ("<s>", "<unk>"):
        with pytest.raises(ctckit.ArgumentValueError, match=f"'{special}' at position 2 of the text"):
            Vocabulary(Silent()).encode(f"a {special} b")


@pytest.mark.parametrize("special", ["[noise]", "noise", "|noise|", "noise|", "noi|se", "\u266a", "<a>", "<s>"])
def test_special_tokens_have_any_name(special: str) -> None:
    """A name may also hold the separator, which then separates nothing."""

    class Named(Slow):
        all_special_tokens = (special[:-1], special)  # the longest name counts

        def get_vocab(self) -> dict[str, int]:
            return {**super().get_vocab(), special: 9}

    vocabulary = Vocabulary(Named())
    with pytest.raises(ctckit.ArgumentValueError, match=re.escape(f"'{special}' at position 2 of the text")):
        vocabulary.encode(f"a {special} b")
    for text, right in ((f"a {special} b", ["a", "b"]), (f"a{special}b", [f"a{special}b"]), (f"{special} b", ["b"])):
        found = vocabulary.encode(text, unknown="skip")
        assert (found.words, found.dropped) == (right, (special,))
        assert [p.text for p in found.pieces if p.text != "|"] == [*text.replace(special, "").replace(" ", "")]


def test_an_unknown_letter_is_left_out_alone() -> None:
    """At any place in its word."""
    for text, at in (("xab", 0), ("axb", 1), ("abx", 2), ("cd xab", 3), ("xab cd", 0)):
        with pytest.raises(ctckit.ArgumentValueError, match=f"no token for 'x' in '{text}', at position {at}"):
            Vocabulary(Lowering()).encode(text)
        found = Vocabulary(Lowering()).encode(text, unknown="skip")
        assert [p.text for p in found.pieces] == [*text.replace("x", "").replace(" ", "|")]
        assert found.dropped == ("x",)


class Plain(Slow):
    """The token for the space is not listed as special."""

    all_special_tokens = ("<pad>", "<s>", "</s>", "<unk>")


class AtStart(Plain):
    """The first letter of a text has another token than the first letter of a word."""

    def get_vocab(self) -> dict[str, int]:
        return {**super().get_vocab(), "^a": 9, "^b": 10}

    def tokenize(self, text: str) -> list[str]:
        row = super().tokenize(text)
        return [f"^{row[0]}", *row[1:]] if row and row[0] in "ab" else row


@pytest.mark.parametrize(("tokenizer", "first"), [(Plain(), "a"), (AtStart(), "^a")], ids=["words", "texts"])
def test_the_token_of_the_space_is_told_by_the_caller(tokenizer: Any, first: str) -> None:
    """Also if a word alone has other tokens than in a text."""
    assert names(tokenizer, "ab ba") == [first, "b", "|", "b", "a"]
    assert [p.text for p in Vocabulary(tokenizer, word_separator="").encode("ab ba").pieces] == [first, "b", "b", "a"]


class Forgetful(Slow):
    """It returns one class less than tokens."""

    def convert_tokens_to_ids(self, tokens: list[str]) -> list[int]:
        return super().convert_tokens_to_ids(tokens)[:-1]


class Offsets(Scores):
    """As newer versions of sentencepiece, which return offsets; but there is only one."""

    def encode_as_offset_mapping(self, text: str) -> dict[str, Any]:
        pieces = self.encode_as_pieces(text)
        return {"pieces": pieces, "ids": list(map(self.piece_to_id, pieces)), "offsets": [(0, 1)]}


@pytest.mark.parametrize("tokenizer", [Forgetful(), Offsets()])
def test_tokens_and_classes_must_be_as_many(tokenizer: Any) -> None:
    """No token is lost without an error."""
    with pytest.raises(ValueError, match="shorter"):
        Vocabulary(tokenizer, word_separator="").encode("ab")
