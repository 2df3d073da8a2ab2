"""Spells words in the tokens of a list: the longest tokens that fit, from left to right.

A vocabulary may mark the starts, middles or ends of words (`ctckit.text.word_marks`). Byte-level tokens are compared
with the bytes of the word. Tokens such as ``<0xE4>``, each a byte in UTF-8, spell characters that no other token has.
"""

from __future__ import annotations

import bisect
import unicodedata
from collections.abc import Collection, Iterator
from typing import Final, NamedTuple

from ctckit.text.byte_level import bytes_of, is_byte_level, is_written_as_text, text_of
from ctckit.text.case_folding import CaseFolding
from ctckit.text.special_tokens import text_of_byte_names
from ctckit.text.transcript import Chunk, Unit
from ctckit.text.word_marks import WordMarks

__all__ = ["LongestMatch", "composed_letters"]

_UNSPELT: Final = 2  # the cost of a character without a token, above that of the one mark that a word may miss


class _Word(NamedTuple):
    """A word to spell."""

    cases: tuple[str, ...]
    """The word as it is; with `fold_case` also in lower and in upper case."""
    opens: bool
    """Whether its start is the start of a word of the text."""
    closes: bool
    """Whether its end is the end of a word of the text."""

    def __len__(self) -> int:
        return len(self.cases[0])


class _Option(NamedTuple):
    """One way to spell the next characters of a word."""

    tokens: tuple[str, ...]
    length: int
    cost: int  # 0; 1 if a mark is missing


class LongestMatch:
    """The tokens of a list, and the words that they spell.

    Args:
        ids: the class of each token.
        special: tokens that are no text.
        fold_case: whether a character that the vocabulary lacks may be spelt in the other case.

    Attributes:
        marks: the marks of words that the tokens have.
        byte_level: whether the characters of tokens stand for bytes.
    """

    def __init__(self, ids: dict[str, int], special: Collection[str], *, fold_case: bool) -> None:
        self._ids = {token: number for token, number in ids.items() if token not in special}
        self.byte_level = is_byte_level(self._ids)
        self.marks = WordMarks(self._ids, byte_level=self.byte_level)
        # A few tokens of a byte-level vocabulary may be written as text. They are found by their bytes.
        added = filter(is_written_as_text, self._ids) if self.byte_level else ()
        self._in_bytes = {token: self._written_in_bytes(token) for token in added}
        self._added = {written: token for token, written in self._in_bytes.items()}
        self._longest = max(map(len, (*self._ids, *self._added)), default=0)
        self._bytes = {byte: name for byte in range(256) if (name := f"<0x{byte:02X}>") in ids}
        self._byte_ids = {name: ids[name] for name in self._bytes.values()}
        self._folding = CaseFolding(self._ids) if fold_case else None
        self._folded: dict[str, str] = {}
        if self._folding is not None:
            for token in self._ids:
                self._folded.setdefault(self._key(token), token)

    def spell(self, chunk: Chunk, blank: int | None) -> list[Unit]:
        """Spell a chunk of text. A character that no token has is a unit without a class.

        A word is spelt so that the fewest characters are left without a token. Of several such ways, the one with the
        longest token at each step from left to right is taken.
        """
        text = chunk.text
        units: list[Unit] = []
        known: dict[tuple[str, bool, bool], list[Unit]] = {}  # words spelt before
        start = 0
        ends = sorted({*chunk.cuts, *(at for at, sign in enumerate(text) if sign == " "), len(text)})
        for end in ends:
            opens = chunk.opens if start == 0 else text[start - 1] == " "
            closes = chunk.closes if end == len(text) else text[end] == " "
            if self.marks.within and self.marks.bare_start not in self._ids:  # words may touch each other
                opens = opens or start > 0
            if end > start:
                key = (text[start:end], opens, closes)
                if key not in known:
                    known[key] = self._spell_word(key[0], blank, opens=opens, closes=closes)
                units += [Unit(token, number, start + a, start + b) for token, number, a, b in known[key]]
            start = end + (end < len(text) and text[end] == " ")
        return units

    def spellings(self, text: str, blank: int | None, most: int) -> list[tuple[int, ...]]:
        """Return the ways to spell a whole word, those of the fewest tokens first, as classes without marks alone."""
        written = bytes_of(text)[0] if self.byte_level else text
        word = _Word((written, *self._other_cases(written)), opens=True, closes=True)
        size = len(word)
        rows: list[list[tuple[str, ...]]] = [[] for _ in range(size)] + [[()]]  # of the rest of the word
        for at in range(size - 1, -1, -1):
            found = [
                option.tokens + rest
                for option in self._options(word, at, blank)
                if option.cost == 0
                for rest in rows[at + option.length]
            ]
            rows[at] = sorted(found, key=len)[: 2 * most]  # some differ by a mark alone
        alone = (self.marks.start, self.marks.bare_start, self.marks.end)
        classes = (tuple(self._id_of(token) for token in row if token not in alone) for row in rows[0])
        return [row for row in dict.fromkeys(classes) if row][:most]

    def _id_of(self, token: str) -> int:
        return self._ids[token] if token in self._ids else self._byte_ids[token]

    def _spell_word(self, text: str, blank: int | None, *, opens: bool, closes: bool) -> list[Unit]:
        written, places = bytes_of(text) if self.byte_level else (text, range(len(text)))
        word = _Word((written, *self._other_cases(text)), opens, closes)
        units: list[Unit] = []
        letters: list[tuple[int, int]] | None = None
        at = 0
        for option in self._best(word, blank):
            start, end = places[at], places[at + option.length - 1] + 1
            for token in option.tokens:
                number = self._id_of(token)
                empty = token in (self.marks.start, self.marks.bare_start)
                units.append(Unit(token, number, start, start if empty else end))
            if not option.tokens:
                if letters is None:
                    letters = [] if text.isascii() else composed_letters(text)
                start, end = _widened(letters, start, end)
                units.append(Unit(text[start:end], None, start, end))
            at += option.length
        return units

    def _other_cases(self, text: str) -> list[str]:
        """Return a word in lower and in upper case, each as long as the word; nothing without `fold_case`."""
        if self._folding is None:
            return []
        cases = [self._folding.lower(text), self._folding.upper(text)]
        if not self.byte_level:
            return cases
        return ["".join(map(_bytes_in_case, text, case)) for case in cases]

    def _key(self, token: str) -> str:
        """Return a key that tokens share if they differ in case only. Of bytes, only those of ASCII have a case."""
        assert self._folding is not None  # noqa: S101  # for the type checker
        if not self.byte_level:
            return self._folding.key(token)
        return "".join(self._folding.key(sign) if sign.isascii() else sign for sign in token)

    def _written_in_bytes(self, token: str) -> str:
        mark = self.marks.start if self.marks.start and token.startswith(self.marks.start) else ""
        return mark + bytes_of(token[len(mark) :])[0]

    def _best(self, word: _Word, blank: int | None) -> list[_Option]:
        """Return the options that spell a word. An option without tokens is a character that no token has."""
        row: list[_Option] = []
        at = 0
        while at < len(word):  # the longest token at each step, if that reaches the end
            option = next((option for option in self._options(word, at, blank) if option.cost == 0), None)
            if option is None:
                return self._cheapest(word, blank)
            row.append(option)
            at += option.length
        return row

    def _cheapest(self, word: _Word, blank: int | None) -> list[_Option]:
        size = len(word)
        costs = [0] * (size + 1)  # of spelling the rest of the word, from each position
        best: list[_Option] = [_Option((), 1, 0)] * size
        for at in range(size - 1, -1, -1):
            unspelt = _Option((), 1, _UNSPELT)
            choices = [*self._options(word, at, blank), unspelt]
            best[at] = min(choices, key=lambda option: option.cost + costs[at + option.length])
            costs[at] = best[at].cost + costs[at + best[at].length]
        row: list[_Option] = []
        at = 0
        while at < size:
            row.append(best[at])
            at += best[at].length
        return row

    def _options(self, word: _Word, at: int, blank: int | None) -> Iterator[_Option]:
        """Yield the ways to spell the next characters, the preferred one first."""
        size = len(word)
        first = at == 0 and word.opens
        mark = (self.marks.start or "") if first else self.marks.within
        lengths = range(min(self._longest, size - at), 0, -1)
        for length in lengths:
            last = at + length == size and word.closes
            token = self._find(word, at, length, mark, (self.marks.end or "") if last else self.marks.continued, blank)
            if token is not None:
                yield _Option((token,), length, 0)
        bare = self.marks.bare_start if first and self.marks.bare_start in self._ids else ""
        end = self.marks.end if self.marks.end in self._ids and word.closes else None
        for length in lengths:
            if bare:
                token = self._find(word, at, length, self.marks.within, "", blank)
                if token is not None:
                    yield _Option((bare, token), length, 0)
            if end and at + length == size:
                token = self._find(word, at, length, mark, "", blank)
                if token is not None:
                    yield _Option((token, end), length, 0)
        if (mark and not self.marks.within) or self.marks.end:
            for length in lengths:
                token = self._find(word, at, length, "", "", blank)
                if token is not None:
                    yield _Option((token,), length, 1)
        if self._bytes and not self.byte_level:
            names = [self._bytes.get(byte) for byte in word.cases[0][at].encode("utf-8", "surrogatepass")]
            if None not in names:
                misses_start = bool(mark) and not (self.marks.within or bare)
                misses_end = self.marks.end is not None and word.closes and at + 1 == size
                tokens = (*([bare] if bare else []), *(name for name in names if name))
                yield _Option(tokens, 1, int(misses_start or misses_end))

    def _find(self, word: _Word, at: int, length: int, before: str, after: str, blank: int | None) -> str | None:
        """Return the token for a part of a word; None if there is none."""
        for case in word.cases:
            token = before + case[at : at + length] + after
            token = self._added.get(token, token)
            if token in self._ids and self._ids[token] != blank:
                return token
        if self._folding is not None:
            part = before + word.cases[0][at : at + length] + after
            found = self._folded.get(self._key(part))
            if found is not None and self._ids[found] != blank:
                return found
        return None

    # ------------------------------------------------------------------------------------------------ tokens to words

    def strip(self, token: str) -> str:
        """Return a token without its marks; of a byte-level vocabulary, in characters for bytes."""
        return self.marks.strip(self._in_bytes.get(token, token))

    def text_of(self, stripped: str) -> str:
        """Return the text of tokens that `strip` returned, joined. A character that is cut off becomes U+FFFD."""
        if self.byte_level:
            return text_of(stripped)
        return text_of_byte_names(stripped) if self._bytes else stripped


def _bytes_in_case(character: str, other: str) -> str:
    """Return the bytes of a character in the other case; its own bytes, if the other case has more or fewer."""
    (written, _), (cased, _) = bytes_of(character), bytes_of(other)
    return cased if len(cased) == len(written) else written


def composed_letters(text: str) -> list[tuple[int, int]]:
    """Find letters that are written as several characters, such as "e" and an accent: their starts and ends.

    >>> composed_letters("cafe\u0301s")
    [(3, 5)]
    """
    found: list[tuple[int, int]] = []
    for at in range(1, len(text)):
        character = text[at]
        if not (unicodedata.category(character).startswith("M") or "\u1160" <= character <= "\u11ff"):
            continue
        start = found[-1][0] if found and found[-1][1] == at else at - 1
        before = unicodedata.normalize("NFC", text[start:at])
        if len(unicodedata.normalize("NFC", text[start : at + 1])) <= len(before):
            if found and found[-1][1] == at:
                found.pop()
            found.append((start, at + 1))
    return found


def _widened(letters: list[tuple[int, int]], start: int, end: int) -> tuple[int, int]:
    """Widen a span so that it holds each letter of `composed_letters` as a whole or not at all."""
    at = bisect.bisect_right(letters, start, key=lambda letter: letter[1])
    while at < len(letters) and letters[at][0] < end:
        start, end = min(start, letters[at][0]), max(end, letters[at][1])
        at += 1
    return start, end
