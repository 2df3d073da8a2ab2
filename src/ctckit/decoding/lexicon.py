"""Lexicons: words and their spellings in the classes of a vocabulary."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from ctckit.errors import ArgumentTypeError, ArgumentValueError, warn_user
from ctckit.text.vocabulary import Vocabulary
from ctckit.text.word_roles import WordRole, word_roles

__all__ = ["Lexicon", "LexiconSource", "read_lexicon", "spelt_lexicon"]

LexiconSource: TypeAlias = "str | os.PathLike[str] | Mapping[str, Any] | Iterable[str]"
"""A file; a list of words, which the vocabulary spells; or a dict from words to their spellings: a list of them, or one
string. A spelling is a list of tokens, or a string: of tokens between spaces, or a text that the vocabulary spells."""

_Spelling: TypeAlias = "str | list[str]"  # a text, or tokens
_Entries: TypeAlias = "Mapping[str, Sequence[_Spelling]]"

_SPELLINGS: Final = 8  # most ways to spell a text in pieces that are taken
_SHOWN: Final = 5  # words in a message
_LARGE_SHARE: Final = 0.9  # of a model's words: a vocabulary may spell few of them, but hardly so few


class Lexicon(NamedTuple):
    """Words and their spellings: one row for each spelling."""

    words: list[str]
    """The word of each row."""
    classes: npt.NDArray[np.int32]
    """The classes of all rows, one after another, without separators."""
    lengths: npt.NDArray[np.int32]
    """Of each row."""


def read_lexicon(source: Any) -> _Entries:
    """Read the words of a lexicon and their spellings.

    A file holds one word per line. A line of several fields is a word and the tokens of a spelling, as flashlight and
    torchaudio have it; a word may have several lines.

    Raises:
        OSError: if the file cannot be read.
        ArgumentTypeError: for other sources.
        ArgumentValueError: for a lexicon without words, and for a file that is no text.
    """
    entries: dict[str, list[_Spelling]] = {}
    name = "lexicon"
    if isinstance(source, (str, os.PathLike)):
        name = os.fspath(source)
        for fields in _fields(Path(source)):
            entries.setdefault(fields[0], []).append(fields[1:] or fields[0])
    elif isinstance(source, Mapping):
        for word, given in source.items():
            entries[_word(word, f"the key {word!r} of lexicon")] = [*_spellings(word, given)]
    elif isinstance(source, Iterable) and not isinstance(source, (bytes, bytearray)):
        for at, word in enumerate(source):
            entries[_word(word, f"lexicon[{at}]")] = [word]
    else:
        raise ArgumentTypeError(
            f"lexicon is a {type(source).__name__}, but must be a path, a list of words, or a dict from words to "
            f"spellings"
        )
    if not entries:
        raise ArgumentValueError(f"{name} has no words")
    return entries


def _fields(path: Path) -> Iterator[list[str]]:
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        line = content.count(b"\n", 0, problem.start) + 1
        raise ArgumentValueError(f"{path} is no lexicon: line {line} is not UTF-8") from None
    return filter(None, map(str.split, text.splitlines()))


def _word(word: Any, what: str) -> str:
    if not isinstance(word, str):
        raise ArgumentTypeError(f"{what} is a {type(word).__name__}, but must be a word, a str")
    if len(word.split()) != 1:
        raise ArgumentValueError(f"{what} is {word!r}, but must be one word, without white space")
    return word.strip()


def _spellings(word: str, given: Any) -> Iterator[_Spelling]:
    for spelling in [given] if isinstance(given, str) else given if isinstance(given, Iterable) else [given]:
        if isinstance(spelling, str):
            tokens = spelling.split()
            yield tokens if len(tokens) > 1 else spelling.strip()
        elif isinstance(spelling, Sequence) and all(isinstance(token, str) for token in spelling):
            yield list(spelling)
        else:
            raise ArgumentTypeError(
                f"lexicon[{word!r}] is {given!r}, but must be a str, or a list of spellings: each a str or a list of "
                f"tokens"
            )


def spelt_lexicon(entries: _Entries, vocabulary: Vocabulary, blank: int, name: str, *, is_given: bool) -> Lexicon:
    """Spell the words of a lexicon in the classes of a vocabulary.

    Args:
        entries: the words.
        vocabulary: the vocabulary.
        blank: class of the blank, which is in no word.
        name: of the lexicon, for messages.
        is_given: whether the user has chosen the words: then those that cannot be spelt are worth a warning.

    Raises:
        ArgumentValueError: if no word can be spelt.
    """
    roles = word_roles(vocabulary)
    words: list[str] = []
    rows: list[tuple[int, ...]] = []
    unspelt: list[str] = []
    for word, spellings in entries.items():
        found: dict[tuple[int, ...], None] = {}
        for spelling in spellings:
            if isinstance(spelling, str):
                found |= dict.fromkeys(vocabulary.word_spellings(spelling, blank=blank, most=_SPELLINGS))
                continue
            row = _row(spelling, vocabulary, roles)
            if row and blank not in row:
                found[row] = None
        if not found:
            unspelt.append(word)
        words += [word] * len(found)
        rows += found
    if unspelt:
        _report(unspelt, len(entries), vocabulary, name, is_given=is_given)
    classes = np.fromiter((c for row in rows for c in row), dtype=np.int32)
    return Lexicon(words, classes, np.array([len(row) for row in rows], dtype=np.int32))


def _row(tokens: list[str], vocabulary: Vocabulary, roles: npt.NDArray[np.uint8]) -> tuple[int, ...]:
    """Return the classes of a spelling in tokens; nothing if they are not one word of the vocabulary.

    Separators, and marks that are tokens of their own, may stand at both ends.
    """
    row = [vocabulary.ids.get(token, -1) for token in tokens]
    if not row or -1 in row:
        return ()
    while row and roles[row[0]] == WordRole.SEPARATES:
        row = row[1:]
    while row and roles[row[-1]] == WordRole.SEPARATES:
        row = row[:-1]
    begins = [c for c in row[1:] if roles[c] in (WordRole.SEPARATES, WordRole.STARTS)]
    ends = [c for c in row[:-1] if roles[c] == WordRole.ENDS]
    return () if begins or ends else tuple(row)


def _report(unspelt: list[str], count: int, vocabulary: Vocabulary, name: str, *, is_given: bool) -> None:
    """Say which words cannot be spelt: an error if none can."""
    first = ", ".join(map(repr, unspelt[:_SHOWN]))
    cause = _cause([word for word in unspelt[:_SHOWN] if not vocabulary.word_spellings(word)], vocabulary)
    if len(unspelt) == count:
        raise ArgumentValueError(f"the vocabulary spells none of the {count:,} words of {name}, such as {first}{cause}")
    share = len(unspelt) / count
    if is_given or share > _LARGE_SHARE:
        warn_user(
            f"the vocabulary does not spell {len(unspelt):,} of the {count:,} words of {name}, which are left out: "
            f"{first}{', ...' if len(unspelt) > _SHOWN else ''}{cause}"
        )


def _cause(words: list[str], vocabulary: Vocabulary) -> str:
    """Return why words cannot be spelt, if that is plain: another case."""
    for change, what in ((str.lower, "lower"), (str.upper, "upper")):
        if any(change(word) != word and vocabulary.word_spellings(change(word)) for word in words):
            return f": the vocabulary has letters in {what} case; pass Vocabulary(..., fold_case=True), or --fold-case"
    return ""
