"""One interface to the tokenizers of other libraries: they segment a text into tokens, with the place of each.

A tokenizer is recognised by its methods, so none of the libraries needs to be installed.
"""

from __future__ import annotations

import copy
import json
import string
import unicodedata
from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any

from ctckit.text.token_offsets import Row, find_in_order, segment_by_words
from ctckit.text.transcript import Unit

__all__ = ["Tokenizer", "read_tokenizer"]


class Tokenizer(ABC):
    """A tokenizer of another library."""

    ids: dict[str, int]
    """The class of each token; empty if the tokenizer does not list them."""
    special: frozenset[str] = frozenset()
    """Tokens that are no text."""
    unknown_id: int | None = None
    """The class of the unknown token."""
    padding_id: int | None = None
    """The class of padding, which is the blank of CTC models."""

    @cached_property
    def needs_space(self) -> bool:
        """Whether a word after another has the tokens of the word with a space before it."""
        known = [token for token in self.ids if len(token) == 1 and token.isalnum()]
        letters = known[:5] or string.ascii_lowercase
        for letter in letters:
            alone, spaced, both = (self.tokens(text) for text in (letter, f" {letter}", f"{letter} {letter}"))
            if spaced != alone and both[-len(spaced) :] == spaced:
                return True
        return False

    @abstractmethod
    def tokens(self, text: str) -> list[str]:
        """Segment a text; return the names of the tokens only."""

    @abstractmethod
    def segment(self, text: str) -> list[Unit]:
        """Segment a text whose words have one space between them. Unknown characters are a unit without a class."""


def read_tokenizer(source: Any) -> Tokenizer | None:
    """Read a tokenizer, or a processor that has one; None if it is neither."""
    tokenizer = getattr(source, "tokenizer", source)
    if hasattr(tokenizer, "encode_as_pieces") and hasattr(tokenizer, "piece_to_id"):
        return _SentencePiece(tokenizer)
    if hasattr(tokenizer, "tokenize") and hasattr(tokenizer, "convert_tokens_to_ids"):
        return _fast(tokenizer) or _Slow(tokenizer)
    if hasattr(tokenizer, "token_to_id") and hasattr(tokenizer, "encode"):
        return _Tokenizers(tokenizer)
    return _Encoder(tokenizer) if hasattr(tokenizer, "encode") else None


class _SentencePiece(Tokenizer):
    """A ``sentencepiece.SentencePieceProcessor``."""

    def __init__(self, processor: Any) -> None:
        self._processor = processor
        numbers = range(processor.get_piece_size())
        self.ids = {processor.id_to_piece(number): number for number in numbers}
        self.unknown_id = processor.unk_id()
        kinds = [getattr(processor, name) for name in ("is_control", "is_unknown") if hasattr(processor, name)]
        self.special = frozenset(processor.id_to_piece(n) for n in numbers if any(kind(n) for kind in kinds))
        padding = processor.pad_id() if hasattr(processor, "pad_id") else None
        self.padding_id = padding if padding is not None and padding >= 0 else None

    def segment(self, text: str) -> list[Unit]:
        if hasattr(self._processor, "encode_as_offset_mapping"):
            found = self._processor.encode_as_offset_mapping(text)
            rows = zip(found["pieces"], found["ids"], found["offsets"], strict=True)
            return [Unit(token, _known(number, self.unknown_id), *at) for token, number, at in rows]
        return segment_by_words(text, self._row, self.unknown_id)

    def tokens(self, text: str) -> list[str]:
        return [token for token, _ in self._row(text)]

    def _row(self, text: str) -> Row:
        return [(piece, self._processor.piece_to_id(piece)) for piece in self._processor.encode_as_pieces(text)]


class _Slow(Tokenizer):
    """A ``transformers.PreTrainedTokenizer``, which returns no offsets."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.ids = dict(tokenizer.get_vocab()) if hasattr(tokenizer, "get_vocab") else {}
        self.unknown_id = getattr(tokenizer, "unk_token_id", None)
        self.padding_id = getattr(tokenizer, "pad_token_id", None)
        self.special = frozenset(map(str, getattr(tokenizer, "all_special_tokens", ())))

    def segment(self, text: str) -> list[Unit]:
        return segment_by_words(text, self._row, self.unknown_id)

    def tokens(self, text: str) -> list[str]:
        return [token for token, _ in self._row(text)]

    def _row(self, text: str) -> Row:
        tokens = list(self._tokenizer.tokenize(text))
        return list(zip(tokens, self._tokenizer.convert_tokens_to_ids(tokens), strict=True))


class _Tokenizers(Tokenizer):
    """A ``tokenizers.Tokenizer``."""

    def __init__(self, tokenizer: Any) -> None:
        if getattr(tokenizer, "truncation", None) or getattr(tokenizer, "padding", None):
            tokenizer = copy.deepcopy(tokenizer)
            tokenizer.no_truncation()
            tokenizer.no_padding()
        self._tokenizer = tokenizer
        self.ids = dict(tokenizer.get_vocab())
        model = getattr(tokenizer, "model", None)
        name = getattr(model, "unk_token", None)
        self.unknown_id = self.ids.get(name) if name else _unknown_of_unigram(tokenizer, model)
        self._loses = self.unknown_id is None  # it returns nothing for unknown characters
        added = tokenizer.get_added_tokens_decoder() if hasattr(tokenizer, "get_added_tokens_decoder") else {}
        self.special = frozenset(str(token.content) for token in added.values() if token.special)

    def segment(self, text: str) -> list[Unit]:
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        rows = zip(encoding.tokens, encoding.ids, encoding.offsets, strict=True)
        units = [Unit(token, _known(number, self.unknown_id), *at) for token, number, at in rows]
        covered = bytearray(len(text))
        for unit in units:
            covered[unit.start : unit.end] = b"\1" * (unit.end - unit.start)
        if self._loses:  # then the offsets after a lost character are wrong
            found = find_in_order(text, units)
            if found is None:
                covered = bytearray(bool(self.tokens(sign)) for sign in text)
            else:
                units = found
                covered = bytearray(any(unit.start <= at < unit.end for unit in found) for at in range(len(text)))
        lost = [
            Unit(sign, None, at, at + 1)
            for at, sign in enumerate(text)
            if not (covered[at] or sign.isspace()) and self._survives(text, at)
        ]
        return sorted((*units, *lost), key=lambda unit: unit.start) if lost else units

    def tokens(self, text: str) -> list[str]:
        return list(self._tokenizer.encode(text, add_special_tokens=False).tokens)

    def _survives(self, text: str, at: int) -> bool:
        """Return whether the normalizer and pre-tokenizer keep a character, so that it should have a token."""
        normalizer, splitter = self._tokenizer.normalizer, self._tokenizer.pre_tokenizer
        rest = text[at]
        if normalizer is not None:
            rest = normalizer.normalize_str(rest)
            if unicodedata.category(text[at]).startswith("M") and at:  # it may compose with the character before it
                return text[at] in normalizer.normalize_str(text[at - 1 : at + 1])
        if splitter is not None:
            rest = "".join(part for part, _ in splitter.pre_tokenize_str(rest))
        return text[at] in rest or bool(rest.strip(" ▁Ġ"))


class _Encoder(Tokenizer):
    """An object with an ``encode`` that returns classes, and perhaps a ``decode``."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.ids = dict(tokenizer.get_vocab()) if hasattr(tokenizer, "get_vocab") else {}
        self._names = {number: token for token, number in self.ids.items()}
        self.unknown_id = getattr(tokenizer, "unk_token_id", None)
        self.padding_id = getattr(tokenizer, "pad_token_id", None)
        self.special = frozenset(map(str, getattr(tokenizer, "special_tokens_set", ())))
        self._around = list(map(int, tokenizer.encode("")))  # starts and ends of sentences

    def segment(self, text: str) -> list[Unit]:
        return segment_by_words(text, self._row, self.unknown_id)

    def tokens(self, text: str) -> list[str]:
        return [token for token, _ in self._row(text)]

    def _row(self, text: str) -> Row:
        numbers = list(map(int, self._tokenizer.encode(text)))
        around = self._around
        for cut in range(len(around) + 1):
            rest = numbers[cut : len(numbers) - len(around) + cut]
            if around[:cut] + rest + around[cut:] == numbers:
                numbers = rest
                break
        return [(self._name(number), number) for number in numbers]

    def _name(self, number: int) -> str:
        if number not in self._names and hasattr(self._tokenizer, "decode"):
            self._names[number] = str(self._tokenizer.decode([number]))
        return self._names.get(number, f"<{number}>")


def _fast(tokenizer: Any) -> Tokenizer | None:
    """Read a fast tokenizer of ``transformers``, which holds one of ``tokenizers``; None for any other tokenizer."""
    inner = getattr(tokenizer, "backend_tokenizer", None)
    if not (hasattr(inner, "encode") and hasattr(inner, "token_to_id")):
        return None
    found = _Tokenizers(inner)
    outer = _Slow(tokenizer)
    found.special |= outer.special
    found.padding_id = outer.padding_id
    found.unknown_id = outer.unknown_id if found.unknown_id is None else found.unknown_id
    return found


def _unknown_of_unigram(tokenizer: Any, model: Any) -> int | None:
    """Return the class of the unknown token of a Unigram model, which only its JSON holds."""
    if type(model).__name__ != "Unigram":
        return None
    found = json.loads(tokenizer.to_str())["model"].get("unk_id")
    return found if isinstance(found, int) else None


def _known(number: int, unknown_id: int | None) -> int | None:
    return None if number == unknown_id else number
