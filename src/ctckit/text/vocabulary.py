"""Text to tokens: the classes of a transcript in a model's vocabulary, and the words that they belong to.

A vocabulary is the class of each token. A model comes with a list, a dict, the ``vocab.json`` of a Hugging Face
checkpoint, the ``tokens.txt`` of k2 and sherpa, or a tokenizer. `Vocabulary` reads all of these. White space separates
the words of a text. Models differ in how they write the space, and the vocabulary shows which way it is:

============  =========================================================  ==============================
style         the space between two words                                examples
============  =========================================================  ==============================
separator     is a token, " ", "|" or "▁"                                wav2vec 2.0, most OCR
marks         has no token; tokens at the start, middle or end of a      SentencePiece, byte-level BPE,
              word have a mark (`ctckit.text.word_marks`)                WordPiece
none          has no token                                               MMS, phonemes
============  =========================================================  ==============================
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from typing import Any, Final

from ctckit.errors import ArgumentTypeError, ArgumentValueError
from ctckit.lattice import as_int
from ctckit.text.blank import blank_of
from ctckit.text.encode import encode_text
from ctckit.text.hints import excerpt, hint, named
from ctckit.text.longest_match import LongestMatch
from ctckit.text.single_characters import SingleCharacters
from ctckit.text.special_tokens import blank_name, find_special_names, is_byte_name
from ctckit.text.transcript import Chunk, Piece, Transcript, Unit
from ctckit.text.unknown import Unknown, UnknownPolicy
from ctckit.text.vocabulary_sources import Source, read_source
from ctckit.text.word_layout import Words, layout_of
from ctckit.text.word_marks import WordMarks

__all__ = ["REMEDY", "Piece", "Transcript", "Unknown", "Vocabulary", "Words"]

REMEDY: Final = "correct the text, or pass unknown='wildcard' or 'skip'"
"""How errors end that name a character that cannot be spelt."""

# The first of these that the vocabulary has is its space. "Ġ" is the byte 0x20 of byte-level alphabets.
_SEPARATORS: Final = (" ", "|", "▁", "<space>", "<SPACE>", "[SPACE]")
_SIGNS: Final = "#$%&*+/<=>@[\\]^_{}~"  # a vocabulary with 12 or more of these has "|" as a character


class Vocabulary:
    """The class of each token, and how to spell a text in tokens.

    Args:
        source: one of

            - a list of tokens, whose index is the class (None where a class has no text);
            - a dict from token to class;
            - the path of a JSON file that holds either, such as a Hugging Face ``vocab.json``;
            - the path of a ``.txt`` file with one token per line, or one token and its class, as ``tokens.txt`` of k2;
            - a tokenizer: any object with ``tokenize`` and ``convert_tokens_to_ids`` (``transformers``), with
              ``encode`` (``tokenizers``), or with ``encode_as_pieces`` and ``piece_to_id`` (``sentencepiece``);
            - a processor that has such a ``tokenizer``;
            - a `Vocabulary`. Its options stay, unless others are given.
        word_separator: the token for the space between words; None to find it, "" if there is none.
        fold_case: whether a character that the vocabulary lacks may be looked up in the other case. It has no effect
            with a tokenizer.
        blank: class of the blank; None to find it by name.

    Attributes:
        blank: class of the blank. It is the first of these: the class given; the class of ``<blank>``, ``<blk>``,
            ``[BLANK]``, ``<b>``, ``ε`` or ``<eps>``; a tokenizer's ``pad_token_id``; the class of ``<pad>``, ``[PAD]``
            or ``<PAD>``. None if there is none of them.

    Raises:
        ArgumentTypeError: if `source` is none of these.
        ArgumentValueError: if two tokens have the same class, a class is negative, `word_separator` is not one of the
            tokens, or a file does not hold a vocabulary.
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
        self.size = self.source.size
        if isinstance(source, Vocabulary):
            fold_case = fold_case or source.fold_case
            word_separator = source.word_separator or "" if word_separator is None else word_separator
        self.fold_case: bool = fold_case
        self._texts = {number: token for token, number in self.ids.items()}
        special = self.source.special
        self._tokens = LongestMatch(self.ids, special.difference(_SEPARATORS), fold_case=fold_case)
        self.word_separator: str | None = self._find_separator(word_separator)
        self._special = special - {self.word_separator}
        self._separates = self.word_separator is not None and self._uses_separator()
        self.blank, self.blank_reason = self._find_blank(source, blank)
        is_plain = self.source.tokenizer is None and not (self._tokens.marks or self._tokens.byte_level)
        self._letters = SingleCharacters(self.ids, self._special, self.word_separator) if is_plain else None

    def _find_blank(self, source: Any, given: int | None) -> tuple[int | None, str]:
        """Return the class of the blank, if it is known, and the reason for errors."""
        if given is not None:
            given = as_int(given, "blank")
            if given < 0:
                raise ArgumentValueError(f"blank is {given}, but classes are numbered from 0")
            return given, f"the vocabulary was made with blank={given}"
        if isinstance(source, Vocabulary):
            return source.blank, source.blank_reason
        padding_id = None if self.source.tokenizer is None else self.source.tokenizer.padding_id
        for padding in (False, True):
            name = blank_name(self.ids, padding=padding)
            if padding and padding_id is not None:
                return padding_id, f"the tokenizer's pad_token_id is {padding_id} ({self.name(padding_id)!r})"
            if name is not None:
                return self.ids[name], f"the vocabulary has {name!r} as class {self.ids[name]}"
        return None, ""

    def _find_separator(self, given: str | None) -> str | None:
        if given is not None:
            if given and given not in self.ids:
                raise ArgumentValueError(
                    f"word_separator is {given!r}, which is not in the vocabulary: name the token for the space, "
                    f"or pass '' if there is none"
                )
            return given or None
        if self._tokens.marks:
            return None
        if self._tokens.byte_level and "Ġ" in self.ids:
            return "Ġ"
        return next((token for token in _SEPARATORS if token in self.ids and not self._is_letter(token)), None)

    def _is_letter(self, separator: str) -> bool:
        """Return whether "|" is a character, not the space: the vocabulary has all that ASCII prints, for example."""
        if separator != "|":
            return False
        around = [self.ids.get(sign, -2) for sign in "{|}"]
        return around[2] - around[0] == 2 * (around[1] - around[0]) == 2 or sum(s in self.ids for s in _SIGNS) >= 12

    def _uses_separator(self) -> bool:
        """Return whether the token for the space separates words. A tokenizer may have one and not use it."""
        tokenizer = self.source.tokenizer
        if tokenizer is None:
            return True
        letters = [token for token in self.ids if len(token) == 1 and token.isalnum()][:5]
        return any(self.word_separator in tokenizer.tokens(f"{letter} {letter}") for letter in letters)

    def __len__(self) -> int:
        """Return the number of tokens."""
        return len(self.ids)

    def __repr__(self) -> str:
        return f"Vocabulary({len(self)} tokens, word_separator={self.word_separator!r})"

    @cached_property
    def classes_needed(self) -> int:
        """Number of classes that emissions must have. Special tokens after all others need none."""
        return max([-1, *(number for token, number in self.ids.items() if token not in self._special)]) + 1

    def classes_named(self, classes: int) -> int | None:
        """Return how many of the emissions' classes the vocabulary names, for `implausible`; None if it is not known.

        This is the vocabulary's size. It is `classes` if the emissions lack only special tokens at the end.
        """
        return (classes if self.classes_needed <= classes <= self.size else self.size) or None

    @property
    def shows_words(self) -> bool:
        """Whether tokens show where words start and end."""
        return bool(self._tokens.marks) or self.word_separator is not None

    @property
    def marks(self) -> WordMarks:
        """The marks of words that tokens have; none if a separator stands between words."""
        return self._tokens.marks

    def is_special(self, token: str) -> bool:
        """Return whether a token is no text, such as ``<unk>`` and ``</s>``."""
        return token in self._special

    def require_classes(self, classes: int, name: str) -> None:
        """Check that emissions have a class for each token.

        Args:
            classes: how many classes they have.
            name: their name in the caller's signature, in the plural.

        Raises:
            ArgumentValueError: if they have too few.
        """
        if classes < self.classes_needed:
            last = self.classes_needed - 1
            raise ArgumentValueError(
                f"{name} have {classes} classes, but the vocabulary has class {last} ({self.name(last)!r}): this is "
                f"not the model's vocabulary, or its classes are not the last dimension"
            )

    def name(self, number: int) -> str:
        """Return the token of a class; the class in angle brackets if it has no token.

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
        unknown: Unknown | Mapping[str, str] | UnknownPolicy = "raise",
        wildcard: str | None = None,
        words: Words | None = None,
    ) -> Transcript:
        """Spell a text in tokens.

        A tokenizer segments the text itself. With any other vocabulary the longest token that fits is taken, from left
        to right. White space at the ends is dropped, and a run of white space is one space. The name of a special
        token, such as ``<unk>``, is an unknown word.

        Args:
            text: the text to spell.
            blank: class of the blank, which is no part of any text, even if it has a name. None for the vocabulary's.
            unknown: how to treat characters that the vocabulary lacks: "raise" an error, replace them by a "wildcard"
                (one for a run of them), or "skip" them. A word that is skipped as a whole loses its separator, too. A
                dict sets this for each of "words", "numbers" and "punctuation"; a key that is missing is "raise". A
                wildcard of punctuation at either end of a word is no part of the word.
            wildcard: a character that stands for a wildcard wherever it is; None if there is none.
            words: the words of the text, or a function from the text to its words; None to split at white space. A
                token of a list or dict never reaches over two words. If a tokenizer's token does, they are one word.

        Raises:
            ArgumentTypeError: if `text` is not a str.
            ArgumentValueError: for a character that the vocabulary lacks; the message names it and its position.

        Example:
            >>> transcript = Vocabulary(["-", "|", "a", "b"]).encode("ab, & <unk> a", unknown="skip")
            >>> transcript.ids, transcript.words, transcript.dropped
            ([2, 3, 1, 2], ['ab,', 'a'], (',', '&', '<unk>'))
        """
        if not isinstance(text, str):
            raise ArgumentTypeError(f"text is a {type(text).__name__}, but must be a str")
        if wildcard is not None and not isinstance(wildcard, str):
            raise ArgumentTypeError(f"wildcard is {wildcard!r}, a {type(wildcard).__name__}, but must be a str")
        policy = UnknownPolicy.of(unknown)
        blank = self.blank if blank is None else blank_of(self, None, blank)
        if self._letters is not None and wildcard is None and words is None:
            transcript = self._letters.spell(text, blank)
            if transcript is not None:
                return transcript
        separators = {self.word_separator if self._separates else None, self._tokens.marks.white_space, wildcard}
        separators -= {None, wildcard}
        separator = self.word_separator if self._separates else None
        special = find_special_names(text, self._special, self.ids)
        return encode_text(
            text,
            layout_of(text, words, sorted(filter(None, separators)), special),
            lambda chunk: self._spell(chunk, blank),
            policy=policy,
            wildcard=wildcard,
            special=special,
            separator=None if separator is None else (separator, self.ids[separator]),
            explain=lambda text, start, end: self._explain(text, start, end, blank),
        )

    def word_spellings(self, word: str, *, blank: int | None = None, most: int = 1) -> list[tuple[int, ...]]:
        """Return the ways to spell a word in tokens that are part of it: separators, and marks alone, are left out.

        A tokenizer's own way comes first. Others follow, those of the fewest tokens first.

        Args:
            word: the word, without white space.
            blank: as for `encode`.
            most: how many ways are returned at most.

        Returns:
            Rows of classes; none if the word cannot be spelt.

        Example:
            >>> Vocabulary(["-", "▁a", "a", "b", "ab", "▁"]).word_spellings("ab", most=3)
            [(1, 3), (4,), (2, 3)]
        """
        blank = self.blank if blank is None else blank
        rows: list[tuple[int, ...]] = []
        between = (self.marks.white_space, None if self._tokens.byte_level else self.word_separator)
        if len(word.split()) != 1 or any(mark is not None and mark in word for mark in between):
            return rows  # no word, or several
        if self._letters is not None:
            letters = self._letters.spell(word, blank)
            if letters is not None:
                return [tuple(letters.ids)]
        if self.source.tokenizer is not None:
            own = self._spell(Chunk(word, opens=True, closes=True, is_first=True, cuts=()), blank)
            if all(unit.id is not None for unit in own):
                alone = (self.marks.start, self.marks.bare_start, self.marks.end, self.word_separator)
                rows.append(tuple(unit.id for unit in own if unit.id is not None and unit.token not in alone))
        if not rows or most > 1:
            rows += self._tokens.spellings(word, blank, most)
        return [row for row in dict.fromkeys(rows) if row][:most]

    def _spell(self, chunk: Chunk, blank: int | None) -> list[Unit]:
        tokenizer = self.source.tokenizer
        if tokenizer is None:
            return self._tokens.spell(chunk, blank)
        halves = [at for at, sign in enumerate(chunk.text) if "\ud800" <= sign <= "\udfff"]
        if halves:  # lone surrogates are no text, and tokenizers refuse them
            return [Unit(chunk.text[at], None, at, at + 1) for at in halves]
        needs_space = chunk.opens and not (chunk.is_first or self._separates) and tokenizer.needs_space
        before = " " if needs_space else ""
        units: list[Unit] = []
        for token, number, start, end in tokenizer.segment(before + chunk.text):
            if self._separates and token == self.word_separator:
                continue
            start, end = max(0, start - len(before)), max(0, end - len(before))  # noqa: PLW2901
            is_special = token in self._special and not is_byte_name(token)
            if number is not None and (number == blank or is_special):
                number = None  # noqa: PLW2901  # no text has it, although the tokenizer returns it
            if not units and not chunk.opens and self._tokens.marks.start:
                token, number = self._within_word(token, number)  # noqa: PLW2901
                if not token:
                    continue
            units.append(Unit(token, number, start, end))
        return units

    def _within_word(self, token: str, number: int | None) -> tuple[str, int | None]:
        """Return a token without the mark of a start, and its class; unchanged if there is no such token."""
        rest = token.removeprefix(self._tokens.marks.start or "")
        return (rest, self.ids.get(rest, number)) if rest in self.ids or not rest else (token, number)

    def _explain(self, text: str, start: int, end: int, blank: int | None) -> str:
        part = text[start:end]
        place = f"at position {start} of the text, in {excerpt(text, start, end)}"
        if (start, end) in find_special_names(text, self._special, self.ids):
            return f"{part!r} {place}, is the name of a special token, which no text holds: {REMEDY}"
        if blank is not None and blank in self._classes_of(part):
            why = self.blank_reason
            if self.blank is None:
                why = f"blank={blank}" if blank else "the blank is class 0 by default: pass blank="
            return f"{named(part)} {place}, is the blank, which no text holds ({why}): {REMEDY}"
        by_tokenizer = self.source.tokenizer is not None
        clue = hint(part, self._spellable(blank), by_tokenizer=by_tokenizer)
        if by_tokenizer:
            where = f"in {excerpt(text, start, end)}, at position {start} of the text"
            return f"the tokenizer has no token for {part!r} {where}{clue}: {REMEDY}"
        return f"{named(part)} {place}, is not in the vocabulary{clue}: {REMEDY}"

    def _classes_of(self, part: str) -> set[int]:
        """Return the classes of a part of a text, the blank included."""
        names = {part, part.lower(), part.upper()} if self.fold_case else {part}
        found = {self.ids[name] for name in names if name in self.ids}
        tokenizer = self.source.tokenizer
        if tokenizer is not None and not any("\ud800" <= sign <= "\udfff" for sign in part):
            found |= {unit.id for unit in tokenizer.segment(part) if unit.id is not None}
        return found

    def _spellable(self, blank: int | None) -> Collection[str]:
        return {token for token, number in self.ids.items() if number != blank and token not in self._special}

    # --------------------------------------------------------------------------------------------------------- tokens

    def encode_tokens(self, tokens: Sequence[str | int]) -> Transcript:
        """Look up a row of tokens, each a name or a class, and find its words.

        Raises:
            ArgumentTypeError: for a token that is neither a name nor a class.
            ArgumentValueError: for a name that the vocabulary lacks, and for a negative class.

        Example:
            >>> Vocabulary(["-", "|", "a", "b"]).encode_tokens(["a", 3, "|", "b"]).words
            ['ab', 'b']
        """
        return self.in_words([self.piece_of(token, f"token {at}") for at, token in enumerate(tokens)])

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
            ArgumentValueError: if the vocabulary lacks it.
        """
        if token not in self.ids:
            clue = hint(token, self.ids, by_tokenizer=True)
            raise ArgumentValueError(f"{what} is {token!r}, which is not in the vocabulary{clue}")
        return self.ids[token]

    def in_words(self, pieces: list[Piece]) -> Transcript:
        """Find the words of a row of tokens: by their marks, or by separators if there are no marks."""
        result: list[Piece] = []
        words: list[str] = []
        before: str | None = None  # the token before in the same word
        marks = 0
        spelt = self.shows_words
        for piece in pieces:
            name = piece.text
            if self.word_separator and name == self.word_separator:
                before = None
                result.append(piece)
                continue
            # The tokens of some tokenizers start a word with the space itself.
            marked = not spelt and name.startswith(" ")
            if marked or self._tokens.marks.starts_word(name, before):
                words.append("")
            before, marks = name, marks + marked
            result.append(piece._replace(word=len(words) - 1))
            words[-1] += name[1:] if marked else self._tokens.strip(name)
        if not (marks or spelt):
            return Transcript(" ".join(piece.text for piece in result), [p._replace(word=None) for p in result], [])
        words = [self._tokens.text_of(word) for word in words]
        return Transcript(" ".join(words), result, words)
