"""Text to tokens: the classes that a model's vocabulary has for a transcript, and the words they belong to.

A vocabulary says which class each token is. Models come with it as a list, a dict, the ``vocab.json`` of a Hugging Face
checkpoint, or a tokenizer; `Vocabulary` reads all of these. Words are what white space separates in a text. How a model
is told of the space differs, and is seen from the vocabulary:

============  =========================================================  ==============================
style         the space between two words is                             for instance
============  =========================================================  ==============================
separator     a token of its own, " ", "|" or "▁"                        wav2vec 2.0, most OCR
marked start  a "▁" or "Ġ" at the start of a word's first token          SentencePiece, byte-level BPE
continuation  nothing, but tokens within a word start with "##"          WordPiece
none          nothing                                                    MMS, phonemes
============  =========================================================  ==============================
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from ctckit.blank import blank_of
from ctckit.errors import ArgumentTypeError, ArgumentValueError
from ctckit.lattice import as_int
from ctckit.special_names import blank_name
from ctckit.unknown import Unknown, UnknownPolicy
from ctckit.vocabulary_sources import Source, Tokenize, read_source

__all__ = ["Piece", "Transcript", "Unknown", "Vocabulary", "Words"]

Words: TypeAlias = Sequence[str] | Callable[[str], Sequence[str]]
"""The words of a text, or a function that tells them."""

_START_MARKS: Final = ("▁", "Ġ")  # at the start of the token that starts a word
_WITHIN: Final = "##"  # at the start of a token that does not
_SEPARATORS: Final = (" ", "|", "▁", "<space>")  # which token stands for the space, in the order in which it is sought
_FORMS: Final[tuple[Literal["NFC", "NFD"], ...]] = ("NFC", "NFD")


class Piece(NamedTuple):
    """One token of a transcript."""

    text: str
    """The vocabulary's name of it; for a wildcard, the characters it stands for."""
    id: int | None
    """Its class; None for a wildcard."""
    word: int | None
    """Which word it is part of, from 0; None for a separator."""


class Transcript(NamedTuple):
    """A text, or a row of tokens, as a vocabulary spells it."""

    text: str
    """As it was given; of tokens, what they spell."""
    pieces: list[Piece]
    """Its tokens, in order."""
    words: list[str]
    """Its words, in order, as they are in the text; without those of which nothing is left."""
    spans: list[tuple[int, int]] = []  # noqa: RUF012  # never changed
    """Of each word, where in the text it starts and ends; empty for rows of tokens."""
    dropped: tuple[str, ...] = ()
    """Words, or parts of words, that ``unknown="skip"`` left out, as they are written."""

    @property
    def ids(self) -> list[int]:
        """The classes of a transcript without wildcards."""
        return [piece.id for piece in self.pieces if piece.id is not None]


class Vocabulary:
    """Which class each token is, and how a text is spelt in tokens.

    Args:
        source: a list of tokens, whose index is the class (None where a class has no text); a dict from token to
            class; the path of a JSON file that holds either, as a Hugging Face ``vocab.json``; or a tokenizer:
            any object with ``tokenize`` and ``convert_tokens_to_ids`` (``transformers``), with ``encode``
            (``tokenizers``), with ``encode_as_pieces`` and ``piece_to_id`` (``sentencepiece``), or a processor that has
            such a ``tokenizer``.
        word_separator: the token that stands for the space between words; None to find it, "" if there is none.
        fold_case: whether a character that the vocabulary lacks may be looked up in the other case. With a tokenizer
            this is the tokenizer's business.
        blank: class of the blank; None to take it from the vocabulary where it says.

    Attributes:
        blank: class of the blank: as given, or that of a token ``<blank>``, ``<blk>``, ``[BLANK]``, ``<b>``, ``ε`` or
            ``<eps>``, or a tokenizer's ``pad_token_id``, or that of ``<pad>``, ``[PAD]`` or ``<PAD>``; None if nothing
            says.

    Raises:
        TypeError: if `source` is none of these.
        ValueError: if two tokens are one class, a class is negative, or `word_separator` is no token of it.
        FileNotFoundError: if there is no file at a path.

    Example:
        >>> vocabulary = Vocabulary(["<pad>", "|", "C", "A", "T", "S"])
        >>> transcript = vocabulary.encode("CATS ACT")
        >>> transcript.ids
        [2, 3, 4, 5, 1, 3, 2, 4]
        >>> transcript.words
        ['CATS', 'ACT']
    """

    def __init__(
        self, source: Any, *, word_separator: str | None = None, fold_case: bool = False, blank: int | None = None
    ) -> None:
        self.source: Source = source.source if isinstance(source, Vocabulary) else read_source(source)
        self.ids = self.source.ids
        self._texts = {number: token for token, number in self.ids.items()}
        self.fold_case = fold_case
        self.start_mark = next((mark for mark in _START_MARKS if self._has_prefix(mark)), None)
        self.word_separator = self._find_separator(word_separator)
        self._marks_within = self._has_prefix(_WITHIN)
        self._longest = max(map(len, self.ids), default=0)
        self._folded: dict[str, int] = {}
        if fold_case:
            for token, number in self.ids.items():
                self._folded.setdefault(token.casefold(), number)
        self.size = max(self.ids.values(), default=-1) + 1
        self.blank, self.blank_reason = self._find_blank(source, blank)

    def _find_blank(self, source: Any, given: int | None) -> tuple[int | None, str]:
        """Return the class of the blank, if anything says, and what says so."""
        if given is not None:
            given = as_int(given, "blank")
            if given < 0:
                raise ArgumentValueError(f"blank is {given}, but classes are numbered from 0")
            return given, f"the vocabulary was made with blank={given}"
        if isinstance(source, Vocabulary):
            return source.blank, source.blank_reason
        for padding in (False, True):
            name = blank_name(self.ids, padding=padding)
            if padding and self.source.padding_id is not None:
                number = self.source.padding_id
                return number, f"the tokenizer's pad_token_id is {number} ({self.name(number)!r})"
            if name is not None:
                return self.ids[name], f"the vocabulary has {name!r} as class {self.ids[name]}"
        return None, ""

    def __len__(self) -> int:
        """Give the number of tokens."""
        return len(self.ids)

    def __repr__(self) -> str:
        return f"Vocabulary({len(self)} tokens, word_separator={self.word_separator!r})"

    def name(self, number: int) -> str:
        """Give the token that is a class; its number in angle brackets if none is.

        >>> Vocabulary(["-", "a"]).name(1), Vocabulary(["-", "a"]).name(7)
        ('a', '<7>')
        """
        return self._texts.get(number, f"<{number}>")

    # ------------------------------------------------------------------------------------------------------- encoding

    def encode(
        self,
        text: str,
        *,
        blank: int | None = None,
        unknown: Unknown | Mapping[str, str] = "raise",
        wildcard: str | None = None,
        words: Words | None = None,  # noqa: ARG002
    ) -> Transcript:
        """Spell a text in tokens.

        A tokenizer segments the text as it does; of any other vocabulary the longest token that fits is taken, from
        left to right. White space at the ends is dropped, and a run of it is one space.

        Args:
            text: what to spell.
            blank: class of the blank, which is no part of any text, even if it has a name.
            unknown: what to do with a character that the vocabulary lacks: "raise", replace it and its like next to it
                by a "wildcard", or "skip" it.
            wildcard: a character that stands for a wildcard wherever it is; None if there is none.
            words: the words of the text, or a function that tells them; None for what white space separates.

        Raises:
            TypeError: if `text` is not a str.
            ValueError: for a character that the vocabulary lacks, naming it and its place.
        """
        if not isinstance(text, str):
            raise ArgumentTypeError(f"text is a {type(text).__name__}, but must be a str")
        policy = UnknownPolicy.of(unknown)
        blank = self.blank if blank is None else blank_of(self, None, blank)
        if self.source.tokenize is not None:
            return self._encode_by_tokenizer(self.source.tokenize, text, blank, policy.words, wildcard)
        separator = self.word_separator
        between = re.compile(rf"(?:\s|{re.escape(separator)})+" if separator else r"\s+")
        pieces: list[Piece] = []
        kept: list[str] = []
        spans: list[tuple[int, int]] = []
        dropped: list[str] = []
        start = 0
        for end, following in [*(match.span() for match in between.finditer(text)), (len(text), len(text))]:
            if end > start:
                spelt = self._spell(text, start, end, len(kept), blank, policy.words, wildcard)
                if spelt and kept and separator:
                    pieces.append(Piece(separator, self.ids[separator], None))
                pieces += spelt
                if spelt:
                    kept.append(text[start:end])
                    spans.append((start, end))
                else:
                    dropped.append(text[start:end])
            start = following
        return Transcript(text, pieces, kept, spans, tuple(dropped))

    def encode_tokens(self, tokens: Sequence[str | int]) -> Transcript:
        """Look up a row of tokens, each a name or a class, and find its words.

        Raises:
            ArgumentTypeError: for what is neither a name nor a class.
            ArgumentValueError: for a name that the vocabulary lacks, and for a negative class.

        Example:
            >>> Vocabulary(["-", "|", "a", "b"]).encode_tokens(["a", 3, "|", "b"]).words
            ['ab', 'b']
        """
        return self.in_words("", [self.piece_of(token, f"token {at}") for at, token in enumerate(tokens)])

    def piece_of(self, token: str | int, what: str) -> Piece:
        """Look up one token of a row; `what` names it in errors."""
        if isinstance(token, str):
            return Piece(token, self.id_of(token, what), None)
        number = as_int(token, what)
        if number < 0:
            raise ArgumentValueError(f"{what} is {number}, but classes are numbered from 0")
        return Piece(self.name(number), number, None)

    def id_of(self, token: str, what: str = "the token") -> int:
        """Return the class of a token.

        Raises:
            ValueError: if the vocabulary lacks it.
        """
        if token not in self.ids:
            raise ValueError(f"{what} is {token!r}, which is not in the vocabulary{self._hint(token)}")
        return self.ids[token]

    def _spell(
        self, text: str, start: int, end: int, word: int, blank: int | None, unknown: Unknown, wildcard: str | None
    ) -> list[Piece]:
        """Spell one word, ``text[start:end]``."""
        pieces: list[Piece] = []
        at = start
        marked = self.start_mark or ""
        while at < end:
            prefix = marked if at == start else _WITHIN if self._marks_within else ""
            found = None
            if text[at] != wildcard:
                found = self._longest_match(prefix, text, at, end, blank)
                if found is None and prefix == marked != "":
                    if marked in self.ids:  # the mark is a token by itself
                        pieces.append(Piece(marked, self.ids[marked], word))
                    found = self._longest_match("", text, at, end, blank)
            if found is not None:
                token, number, length = found
                pieces.append(Piece(token, number, word))
                at += length
                continue
            if text[at] == wildcard or unknown == "wildcard":
                if pieces and pieces[-1].id is None:
                    pieces[-1] = pieces[-1]._replace(text=pieces[-1].text + text[at])
                else:
                    pieces.append(Piece(text[at], None, word))
            elif unknown == "raise":
                raise ValueError(self._unknown_character(text, at, blank))
            at += 1
        return pieces

    def _longest_match(
        self, prefix: str, text: str, at: int, end: int, blank: int | None
    ) -> tuple[str, int, int] | None:
        """Give token, class and length in the text."""
        for length in range(min(self._longest - len(prefix), end - at), 0, -1):
            token = prefix + text[at : at + length]
            number = self.ids.get(token)
            if number is None and self.fold_case:
                number = self._folded.get(token.casefold())
            if number is not None and number != blank:
                return self._texts[number], number, length
        return None

    def _encode_by_tokenizer(
        self, tokenize: Tokenize, text: str, blank: int | None, unknown: Unknown, wildcard: str | None
    ) -> Transcript:
        pieces: list[Piece] = []
        for position, part in enumerate(text.split(wildcard) if wildcard else [text]):
            if position and not (pieces and pieces[-1].id is None):
                pieces.append(Piece(str(wildcard), None, None))
            for token, number in tokenize(part) if part.strip() else []:
                if number not in (self.source.unknown_id, blank):
                    pieces.append(Piece(token, number, None))
                elif unknown == "raise":
                    raise ValueError(
                        f"the tokenizer has no token for {token!r} in {_excerpt(text, text.find(token))}: correct the "
                        f"text, or pass unknown='wildcard' or 'skip'"
                    )
                elif unknown == "wildcard" and not (pieces and pieces[-1].id is None):
                    pieces.append(Piece(token, None, None))
        return self.in_words(text, pieces)

    def in_words(self, text: str, pieces: list[Piece]) -> Transcript:
        """Find the words of a row of tokens by their marks; by separators, where there are none."""
        result: list[Piece] = []
        words: list[str] = []
        open_word, marks = False, 0
        for piece in pieces:
            name = piece.text
            if self.word_separator and name == self.word_separator:
                open_word = False
                result.append(piece)
                continue
            mark = self.start_mark or " "  # a tokenizer that decodes to text has the space itself before a word
            marked = name.startswith(mark)
            if marked or not open_word or (self._marks_within and not name.startswith(_WITHIN)):
                words.append("")
            open_word, marks = True, marks + marked
            result.append(piece._replace(word=len(words) - 1))
            words[-1] += name[len(mark) :] if marked else name.removeprefix(_WITHIN)
        if not (marks or self.word_separator or self._marks_within):
            words, result = [], [piece._replace(word=None) for piece in result]
        written = text.split()
        if len(written) == len(words):
            words = written  # as the text has them, not as the tokenizer does
        return Transcript(text or " ".join(words) or " ".join(piece.text for piece in result), result, words)

    def _has_prefix(self, mark: str) -> bool:
        return any(len(token) > len(mark) and token.startswith(mark) for token in self.ids)

    def _find_separator(self, given: str | None) -> str | None:
        if given is not None:
            if given and given not in self.ids:
                raise ValueError(
                    f"word_separator is {given!r}, which is not in the vocabulary: name the token that stands for the "
                    f"space, or pass '' if there is none"
                )
            return given or None
        if self.start_mark is not None or self._has_prefix(_WITHIN):
            return None
        return next((token for token in _SEPARATORS if token in self.ids), None)

    # --------------------------------------------------------------------------------------------------------- errors

    def _unknown_character(self, text: str, at: int, blank: int | None) -> str:
        character = text[at]
        name = unicodedata.name(character, "unnamed")
        why = (
            "is the blank, which no text holds" if self.ids.get(character, -1) == blank else "is not in the vocabulary"
        )
        return (
            f"character {character!r} (U+{ord(character):04X}, {name}) at position {at} of the text, in "
            f"{_excerpt(text, at)}, {why}{self._hint(character)}: correct the text, or pass unknown='wildcard' or "
            f"'skip'"
        )

    def _hint(self, token: str) -> str:
        """Say where the vocabulary has something like it."""
        for other in (token.lower(), token.upper()):
            if other != token and other in self.ids:
                return f" (it has {other!r}; fold_case=True takes one case for the other)"
        for form in _FORMS:
            other = unicodedata.normalize(form, token)
            if other != token and all(character in self.ids for character in other):
                return f" (it has it in the form {form}: unicodedata.normalize({form!r}, text))"
        return ""


def _excerpt(text: str, at: int) -> str:
    """Quote what is around a position."""
    start, end = max(0, at - 12), at + 13
    return repr(("..." if start > 0 else "") + text[start:end] + ("..." if end < len(text) else ""))
