"""A fuzz target: any vocabulary is read or refused, and encodes a text completely or names the missing characters.

The first byte chooses the form of the vocabulary and options. The vocabulary follows, then a NUL, then the text.
"""

from __future__ import annotations

import itertools
import json
import tempfile
import unicodedata
from pathlib import Path
from typing import Any

import ctckit
from ctckit.corpus import LossTask
from ctckit.text.vocabulary import Transcript

_MEMORY = Path("/dev/shm")  # noqa: S108  # files in memory, if there is such a folder, are faster
_FOLDER = Path(tempfile.mkdtemp(prefix="ctckit-fuzz-", dir=_MEMORY if _MEMORY.is_dir() else None))
_SOURCES = ("json", "txt", "tokens.txt", "list", "dict")
ALPHABETS: tuple[list[str], ...] = (
    ["<pad>", "|", *"abcdefghijklmnopqrstuvwxyz'"],
    ["-", " ", *"abcdeABCDE"],
    ["<blank>", *"abcäöü\u0301e日本"],
    ["<unk>", "<s>", "▁", "▁a", "▁the", "a", "b", "the", "t", "h", "e", "é"],
    ["[PAD]", "[UNK]", "a", "##a", "b", "##b", "ab", "##ing"],
    ["<unk>", "▁", "a", "##a", "b", "##b", "ab", "##ing"],
    ["Ġ", "Ġa", "a", "b", "Ã", "Ġthe", "<|endoftext|>", "č", "Ċ", *map(chr, range(0xA1, 0xAD))],
    ["a</w>", "b</w>", "a", "b", "ab", "<pad>"],
    ["a_", "b_", "a", "b", "ab_", "<blk>"],
)
_POLICIES: dict[str, Any] = {
    "raise": "raise",
    "wildcard": "wildcard",
    "skip": "skip",
    "apart": {"words": "skip", "numbers": "wildcard", "punctuation": "skip"},
}


def one(data: bytes) -> None:
    """Read a vocabulary, and encode a text with it."""
    if not data:
        return
    choice, (source, _, text) = data[0], data[1:].partition(b"\0")
    vocabulary = _vocabulary(choice, source)
    if vocabulary is None:
        return
    _check(vocabulary)
    for spelt in (text.decode("utf-8", "replace"), "".join(list(vocabulary.ids)[:20])):
        _check_spelling(vocabulary, spelt)


def _vocabulary(choice: int, source: bytes) -> ctckit.Vocabulary | None:
    options: dict[str, Any] = {"fold_case": bool(choice & 0x40)}
    kind = choice & 0x3F
    if kind >= len(_SOURCES):
        return ctckit.Vocabulary(ALPHABETS[(kind - len(_SOURCES)) % len(ALPHABETS)], **options)
    try:
        if _SOURCES[kind] in ("list", "dict"):
            return ctckit.Vocabulary(_value(source, mapping=_SOURCES[kind] == "dict"), **options)
        path = _FOLDER / {"json": "vocab.json", "txt": "vocab.txt", "tokens.txt": "tokens.txt"}[_SOURCES[kind]]
        path.write_bytes(source)
        task = LossTask(vocabulary=str(path), fold_case=options["fold_case"])
        task.prepare()
        return task._vocabulary()
    except (ValueError, TypeError) as error:  # CorpusError is a ValueError
        _check_message(error)
        return None


def _check_message(error: Exception) -> None:
    assert not isinstance(error, UnicodeError), "a message about the encoding, and nothing of the vocabulary"
    assert str(error).encode()


def _value(source: bytes, *, mapping: bool) -> Any:
    try:
        return json.loads(source)
    except (ValueError, RecursionError):
        parts = source.decode("utf-8", "replace").split("\n")
        return {part: number for number, part in enumerate(parts)} if mapping else parts


def _check(vocabulary: ctckit.Vocabulary) -> None:
    numbers = list(vocabulary.ids.values())
    assert len(set(numbers)) == len(numbers)
    assert all(type(number) is int and number >= 0 for number in numbers)
    assert all(vocabulary.name(number) == token for token, number in vocabulary.ids.items())
    assert vocabulary.blank is None or vocabulary.blank >= 0
    assert repr(vocabulary).encode()


def _check_spelling(vocabulary: ctckit.Vocabulary, text: str) -> None:
    results: dict[str, Transcript] = {}
    refused: list[str] = []
    for unknown, policy in _POLICIES.items():
        try:
            transcript = results[unknown] = vocabulary.encode(text, unknown=policy)
        except ValueError as error:
            _check_message(error)
            refused.append(unknown)
            continue
        assert transcript.text == text
        for piece in transcript.pieces:
            assert piece.id is None or (piece.id != vocabulary.blank and vocabulary.name(piece.id) == piece.text)
            assert piece.word is None or 0 <= piece.word < len(transcript.words)
        owners = [piece.word for piece in transcript.pieces if piece.word is not None]
        assert owners == sorted(owners)
        assert set(owners) == set(range(len(transcript.words))), "a word without tokens"
        assert [text[slice(*span)] for span in transcript.spans] == transcript.words
        ends = [place for span in transcript.spans for place in span]
        assert ends == sorted(ends)
        kinds = [
            piece.word is None and piece.id is not None for piece in transcript.pieces
        ]  # whether each piece is a separator
        assert not any(former and latter for former, latter in itertools.pairwise(kinds))
        assert not kinds or not (kinds[0] or kinds[-1]), "a separator at an end"
        if unknown in ("raise", "skip"):
            assert all(piece.id is not None for piece in transcript.pieces)
        if unknown in ("raise", "wildcard"):
            assert not transcript.dropped
            rest = "".join(text[a:b] for a, b in _gaps(transcript.spans, len(text)))
            separators = vocabulary.word_separator or ""
            assert not rest.replace(separators, "").strip() or not separators, f"{rest!r} is left out"
    assert refused in ([], ["raise"]), f"refused in spite of unknown={refused}"
    if "raise" in results:
        whole = results["raise"]
        for other in results.values():
            assert other.ids == whole.ids
            assert other.words == whole.words
        for number, word in enumerate(whole.words):
            spelt = [piece.text for piece in whole.pieces if piece.word == number]
            assert _same(_decoded(spelt), word, vocabulary), f"{spelt} for {word!r}"


def _gaps(spans: list[tuple[int, int]], size: int) -> list[tuple[int, int]]:
    ends = [0, *(place for span in spans for place in span), size]
    return list(zip(ends[::2], ends[1::2], strict=True))


def _same(decoded: set[str], word: str, vocabulary: ctckit.Vocabulary) -> bool:
    if vocabulary.fold_case:
        return unicodedata.normalize("NFC", word).casefold() in {
            unicodedata.normalize("NFC", text).casefold() for text in decoded
        } or word.casefold() in {text.casefold() for text in decoded}
    return word in decoded


def _decoded(tokens: list[str]) -> set[str]:
    """All texts that a token may stand for, given the marks of the vocabulary."""
    plain = "".join(tokens)
    texts = {plain}
    for mark in ("▁", "Ġ"):
        texts.add(plain.removeprefix(mark))
    texts.add("".join(token.removeprefix("##") for token in tokens))
    texts.add(tokens[0].removeprefix("▁") + "".join(token.removeprefix("##") for token in tokens[1:]))
    for mark in ("</w>", "_"):
        texts.add("".join(token.removesuffix(mark) for token in tokens))
        texts.add(plain.removesuffix(mark))
    for text in tuple(texts):
        data = bytes(_BYTES[character] for character in text if character in _BYTES)
        if len(data) == len(text):
            texts.add(data.decode("utf-8", "replace"))
            texts.add(data.decode("utf-8", "replace").removeprefix(" "))
    return texts


def _byte_letters() -> dict[str, int]:
    """The letters of byte-level BPE: printable bytes stand for themselves, the others are 256 and up, in order."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + number): byte for number, byte in enumerate(others)}


_BYTES = _byte_letters()
