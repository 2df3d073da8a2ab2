"""Vocabularies from every source that can spell the letters a to d, for tests of all sources."""

from __future__ import annotations

import functools
import json
import tempfile
import warnings
from pathlib import Path
from typing import Any

import ctckit

LETTERS = "abcd"
SPECIAL = ["<pad>", "<s>", "</s>", "<unk>"]


class Slow:
    """As a slow tokenizer of transformers, of single characters: it makes a delimiter of each space."""

    unk_token_id, pad_token_id = 3, 0
    all_special_tokens = (*SPECIAL, "|")

    def get_vocab(self) -> dict[str, int]:
        return {token: number for number, token in enumerate([*SPECIAL, "|", *LETTERS])}

    def tokenize(self, text: str) -> list[str]:
        return list(text.replace(" ", "|"))

    def convert_tokens_to_ids(self, tokens: list[str]) -> list[int]:
        return [self.get_vocab().get(token, 3) for token in tokens]


class Lowering(Slow):
    """One that writes in lower case, and says [UNK] for what it does not know."""

    def tokenize(self, text: str) -> list[str]:
        return [token if token in self.get_vocab() else "<unk>" for token in text.lower().replace(" ", "|")]


class Processor:
    """As a processor of transformers."""

    tokenizer = Slow()


class Pieces:
    """As sentencepiece before it returned offsets."""

    names: tuple[str, ...] = ("<unk>", "<s>", "</s>", "▁", "▁a", *LETTERS, "▁ab")

    def get_piece_size(self) -> int:
        return len(self.names)

    def id_to_piece(self, number: int) -> str:
        return self.names[number]

    def piece_to_id(self, piece: str) -> int:
        return self.names.index(piece) if piece in self.names else 0

    def unk_id(self) -> int:
        return 0

    def encode_as_pieces(self, text: str) -> list[str]:
        row: list[str] = []
        for word in text.split():
            rest = f"▁{word}"
            while rest:
                size = next((n for n in (3, 2, 1) if rest[:n] in self.names), 1)
                row.append(rest[:size])
                rest = rest[size:]
        return row


class Codes:
    """As tiktoken: classes, and text for each. Space and letter are one token, and what it lacks is class 0."""

    unk_token_id = 0
    names: tuple[str, ...] = ("\ufffd", *LETTERS, *(f" {letter}" for letter in LETTERS), " ")

    def encode(self, text: str) -> list[int]:
        row: list[int] = []
        at = 0
        while at < len(text):
            size = next((n for n in (2, 1) if text[at : at + n] in self.names), 1)
            row.append(self.names.index(text[at : at + size]) if text[at : at + size] in self.names else 0)
            at += size
        return [number for number in row if number != len(self.names) - 1]

    def decode(self, ids: list[int]) -> str:
        return "".join(self.names[number] for number in ids)


def _file(name: str, content: str) -> Path:
    path = Path(tempfile.mkdtemp()) / name
    path.write_text(content, encoding="utf-8")
    return path


def _sources() -> dict[str, Any]:
    alphabet = [*SPECIAL, "|", *LETTERS]
    within = [f"##{letter}" for letter in LETTERS]
    ended = [f"{letter}</w>" for letter in LETTERS]
    return {
        "list": alphabet,
        "dict": {token: 2 * number for number, token in enumerate(alphabet)},
        "space": ["<blank>", " ", *LETTERS],
        "no separator": ["<blank>", *LETTERS, "ab"],
        "marked starts": ["<blk>", "▁", "▁ab", "▁c", *LETTERS],
        "continuations": ["[PAD]", "[UNK]", *LETTERS, *within, "##bc"],
        "continuations with a bare start": ["<unk>", "▁", "ab", *within],
        "ends": ["<pad>", *LETTERS, *ended, "ab</w>"],
        "trailing underscores": ["<pad>", *LETTERS, *(f"{letter}_" for letter in LETTERS), "ab_"],
        "ends as of SentencePiece": ["<unk>", *LETTERS, *(f"{letter}▁" for letter in LETTERS), "ab▁"],
        "continued": ["<pad>", *LETTERS, *(f"{letter}@@" for letter in LETTERS)],
        "vocab.json": _file("vocab.json", json.dumps(alphabet)),
        "tokens.txt": _file("tokens.txt", "".join(f"{token} {n}\n" for n, token in enumerate(alphabet))),
        "list.txt": _file("list.txt", "\n".join(alphabet)),
        "slow tokenizer": Slow(),
        "lowering tokenizer": Lowering(),
        "processor": Processor(),
        "sentencepiece-like": Pieces(),
        "codes": Codes(),
        "vocabulary": ctckit.Vocabulary(alphabet),
    }


def _tokenizers() -> dict[str, Any]:
    try:
        from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
    except ImportError:
        return {}
    unk = "[UNK]"
    words = {token: n for n, token in enumerate([unk, "[PAD]", *LETTERS, *(f"##{letter}" for letter in LETTERS)])}
    pieces = Tokenizer(models.WordPiece(words, unk_token=unk))
    pieces.normalizer = normalizers.BertNormalizer()
    pieces.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    pieces.add_special_tokens([unk, "[PAD]"])
    merges = [("a", "b"), ("b", "c")]
    names = {token: n for n, token in enumerate(["<unk>", *LETTERS, "ab", "bc"])}
    pairs = Tokenizer(models.BPE(names, merges, unk_token="<unk>"))  # noqa: S106
    pairs.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    silent = Tokenizer(models.BPE({t: n for n, t in enumerate([*LETTERS, "ab", "bc"])}, merges))
    silent.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    scores = [("<unk>", 0.0), *((letter, -2.0) for letter in LETTERS), ("▁", -2.5), ("▁ab", -1.0)]
    unigrams = Tokenizer(models.Unigram(scores, 0, byte_fallback=False))
    unigrams.pre_tokenizer = pre_tokenizers.Metaspace()
    return {"WordPiece": pieces, "BPE": pairs, "BPE without unknown": silent, "Unigram": unigrams}


@functools.cache
def _sentencepiece() -> dict[str, Any]:
    try:
        with warnings.catch_warnings():  # its bindings are of an older kind
            warnings.simplefilter("ignore", DeprecationWarning)
            import sentencepiece
    except ImportError:
        return {}
    folder = Path(tempfile.mkdtemp())
    (folder / "text").write_text("ab cd\nabc d\nba dcb ab\n" * 9, encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(folder / "text"), model_prefix=str(folder / "model"), vocab_size=14, minloglevel=2, model_type="bpe"
    )
    return {"sentencepiece": sentencepiece.SentencePieceProcessor(model_file=str(folder / "model.model"))}


@functools.cache
def sources() -> dict[str, Any]:
    """All sources, by name."""
    return _sources() | _tokenizers() | _sentencepiece()


@functools.cache
def vocabularies() -> dict[str, ctckit.Vocabulary]:
    """A vocabulary from each source, by name."""
    return {name: ctckit.Vocabulary(source) for name, source in sources().items()}


def names(vocabulary: Any, text: str, **options: Any) -> list[str]:
    """The names of the tokens of a text."""
    return [piece.text for piece in ctckit.Vocabulary(vocabulary).encode(text, **options).pieces]


WHOLE_WORDS = ("WordPiece",)  # a letter that these lack makes the whole word unknown
