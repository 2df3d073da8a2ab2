"""How a list of tokens spells words: by the longest tokens that fit, with the marks of its kind.

Kinds of marks, known from the tokens:

===================  =============================================================  ==========================
tokens               the mark                                                       for instance
===================  =============================================================  ==========================
``▁the``, ``Ġthe``   stands before a word's first token                             SentencePiece; byte-level BPE
``##ing``            stands before every other token                                WordPiece
``▁``, ``##n``       likewise; a bare ``▁`` before a first token that is a part     NeMo's ``decoder.vocabulary``
``the</w>``          stands behind a word's last token; also ``the_``, ``the▁``     BPE as of 2015
``th@@``             stands behind every other token                                subword-nmt
===================  =============================================================  ==========================

A mark that is a token by itself may stand alone. Byte-level tokens are read by their bytes, and tokens ``<0xE4>`` spell
a character that nothing else does.
"""

from __future__ import annotations

import bisect
import unicodedata
from collections.abc import Collection, Iterator
from typing import Final, NamedTuple

from ctckit.text.byte_level import bytes_of, is_byte_level, is_written_as_text, text_of
from ctckit.text.case_folding import CaseFolding
from ctckit.text.pieces import Stretch, Unit

__all__ = ["Alphabet", "clusters"]

_START_MARKS: Final = ("▁", "Ġ")
_WITHIN: Final = "##"
_END_MARKS: Final = ("</w>", "_", "▁")
_CONTINUED: Final = "@@"

_UNSPELT: Final = 2  # the cost of a character that is left out: more than that of the one mark that a word may miss


class _Word(NamedTuple):
    """A word to spell, in lower and upper case, too, where one is taken for the other."""

    cases: tuple[str, ...]
    opens: bool
    closes: bool

    def __len__(self) -> int:
        return len(self.cases[0])


class _Option(NamedTuple):
    """A way to go on in a word."""

    tokens: tuple[str, ...]
    length: int
    cost: int  # 0; 1 if a mark is missing


class Alphabet:
    """The tokens of a list, and what their marks say.

    Args:
        ids: the class of each token.
        special: tokens that are no text.
        fold_case: whether to take one case for the other where a character is not in the vocabulary.
    """

    def __init__(self, ids: dict[str, int], special: Collection[str], *, fold_case: bool) -> None:
        self._ids = {token: number for token, number in ids.items() if token not in special}
        self.byte_level = is_byte_level(self._ids)
        marks = ("Ġ",) if self.byte_level else _START_MARKS
        self.start_mark = next((mark for mark in marks if self._has(mark, at_end=False)), None)
        self.within = _WITHIN if self.start_mark is None and self._has(_WITHIN, at_end=False) else ""
        marked = self.start_mark is not None or bool(self.within)
        self.continued = _CONTINUED if not marked and self._has(_CONTINUED, at_end=True) else ""
        self.end_mark = None
        if not marked and not self.continued:
            self.end_mark = next((mark for mark in _END_MARKS if self._has(mark, at_end=True)), None)
        self._bare_start = self.start_mark or ("▁" if self.within else "")
        # Of a byte-level alphabet, tokens that are written as text, by their bytes.
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

    @property
    def marks_words(self) -> bool:
        """Whether marks tell words apart, so that the space needs no token."""
        return bool(self.start_mark or self.within or self.continued or self.end_mark)

    @property
    def white(self) -> str | None:
        """A character of a text that is white space beside the others: the mark of SentencePiece."""
        return "▁" if "▁" in (self.start_mark, self._bare_start, self.end_mark) else None

    def _has(self, mark: str, *, at_end: bool) -> bool:
        """Whether tokens have a mark at one end, and a letter or a digit beside it."""
        for token in self._ids:
            rest = token.removesuffix(mark) if at_end else token.removeprefix(mark)
            if rest and len(rest) < len(token) and (rest[-1 if at_end else 0].isalnum() or mark in _START_MARKS):
                return True
        return False

    # ------------------------------------------------------------------------------------------------------- spelling

    def spell(self, stretch: Stretch, blank: int | None) -> list[Unit]:
        """Spell a stretch of text. What no token has is a unit without a class.

        Of the ways to spell a word that leave out the fewest characters it is the one that takes, from left to right,
        the longest token each time.
        """
        text = stretch.text
        units: list[Unit] = []
        known: dict[tuple[str, bool, bool], list[Unit]] = {}  # words that were spelt already
        start = 0
        ends = sorted({*stretch.cuts, *(at for at, sign in enumerate(text) if sign == " "), len(text)})
        for end in ends:
            opens = stretch.opens if start == 0 else text[start - 1] == " "
            closes = stretch.closes if end == len(text) else text[end] == " "
            if self.within and self._bare_start not in self._ids:  # words may follow each other without white space
                opens = opens or start > 0
            if end > start:
                key = (text[start:end], opens, closes)
                if key not in known:
                    known[key] = self._spell_word(key[0], blank, opens=opens, closes=closes)
                units += [Unit(token, number, start + a, start + b) for token, number, a, b in known[key]]
            start = end + (end < len(text) and text[end] == " ")
        return units

    def _spell_word(self, text: str, blank: int | None, *, opens: bool, closes: bool) -> list[Unit]:
        written, places = bytes_of(text) if self.byte_level else (text, range(len(text)))
        word = _Word((written, *self._other_cases(text)), opens, closes)
        units: list[Unit] = []
        letters: list[tuple[int, int]] | None = None
        at = 0
        for option in self._best(word, blank):
            start, end = places[at], places[at + option.length - 1] + 1
            for token in option.tokens:
                number = self._ids.get(token, self._byte_ids.get(token))
                empty = token in (self.start_mark, self._bare_start)
                units.append(Unit(token, number, start, start if empty else end))
            if not option.tokens:
                if letters is None:
                    letters = [] if text.isascii() else clusters(text)
                start, end = _widened(letters, start, end)
                units.append(Unit(text[start:end], None, start, end))
            at += option.length
        return units

    def _other_cases(self, text: str) -> list[str]:
        """Write a word in lower and in upper case, as long as it is, if one case may be taken for the other."""
        if self._folding is None:
            return []
        cases = [self._folding.lower(text), self._folding.upper(text)]
        if not self.byte_level:
            return cases
        return ["".join(map(_bytes_in_case, text, case)) for case in cases]

    def _key(self, token: str) -> str:
        """Write a token so that it is equal to one that differs in case only; of bytes, those of ASCII count."""
        assert self._folding is not None  # noqa: S101  # for the type checker
        if not self.byte_level:
            return self._folding.key(token)
        return "".join(self._folding.key(sign) if sign.isascii() else sign for sign in token)

    def _written_in_bytes(self, token: str) -> str:
        mark = self.start_mark if self.start_mark and token.startswith(self.start_mark) else ""
        return mark + bytes_of(token[len(mark) :])[0]

    def _best(self, word: _Word, blank: int | None) -> list[_Option]:
        """Give the options that spell a word; one without tokens stands for a character that none has."""
        row: list[_Option] = []
        at = 0
        while at < len(word):  # the longest token each time, as long as that leads to the end
            option = next((option for option in self._options(word, at, blank) if option.cost == 0), None)
            if option is None:
                return self._cheapest(word, blank)
            row.append(option)
            at += option.length
        return row

    def _cheapest(self, word: _Word, blank: int | None) -> list[_Option]:
        size = len(word)
        costs = [0] * (size + 1)  # of spelling what follows
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
        """Give the ways to go on, the preferred one first."""
        size = len(word)
        first = at == 0 and word.opens
        mark = (self.start_mark or "") if first else self.within
        lengths = range(min(self._longest, size - at), 0, -1)
        for length in lengths:
            last = at + length == size and word.closes
            token = self._find(word, at, length, mark, (self.end_mark or "") if last else self.continued, blank)
            if token is not None:
                yield _Option((token,), length, 0)
        bare = self._bare_start if first and self._bare_start in self._ids else ""
        end = self.end_mark if self.end_mark in self._ids and word.closes else None
        for length in lengths:
            if bare:
                token = self._find(word, at, length, self.within, "", blank)
                if token is not None:
                    yield _Option((bare, token), length, 0)
            if end and at + length == size:
                token = self._find(word, at, length, mark, "", blank)
                if token is not None:
                    yield _Option((token, end), length, 0)
        if (mark and not self.within) or self.end_mark:
            for length in lengths:
                token = self._find(word, at, length, "", "", blank)
                if token is not None:
                    yield _Option((token,), length, 1)
        if self._bytes and not self.byte_level:
            names = [self._bytes.get(byte) for byte in word.cases[0][at].encode("utf-8", "surrogatepass")]
            if None not in names:
                misses_start = bool(mark) and not (self.within or bare)
                misses_end = self.end_mark is not None and word.closes and at + 1 == size
                tokens = (*([bare] if bare else []), *(name for name in names if name))
                yield _Option(tokens, 1, int(misses_start or misses_end))

    def _find(self, word: _Word, at: int, length: int, before: str, behind: str, blank: int | None) -> str | None:
        """Give the token for a part of a word."""
        for case in word.cases:
            token = before + case[at : at + length] + behind
            token = self._added.get(token, token)
            if token in self._ids and self._ids[token] != blank:
                return token
        if self._folding is not None:
            part = before + word.cases[0][at : at + length] + behind
            found = self._folded.get(self._key(part))
            if found is not None and self._ids[found] != blank:
                return found
        return None

    # ------------------------------------------------------------------------------------------------ tokens to words

    def starts_word(self, token: str, before: str | None) -> bool:
        """Tell whether a token starts a word, given the token before it in the row, if there is one."""
        if before is None:
            return True
        if self.start_mark is not None:
            return token.startswith(self.start_mark)
        if self.within:
            is_bare = token == self._bare_start
            return is_bare or not (token.startswith(self.within) or before == self._bare_start)
        if self.continued:
            return not before.endswith(self.continued)
        return self.end_mark is not None and before.endswith(self.end_mark)

    def bare(self, token: str) -> str:
        """Return a token without its marks, in bytes if the alphabet is."""
        token = self._in_bytes.get(token, token)
        for mark in (self.start_mark, self.within, "▁" if self.within else None):
            if mark and token.startswith(mark):
                token = token[len(mark) :]
                break
        for mark in (self.end_mark, self.continued):
            if mark:
                token = token.removesuffix(mark)
        return token

    def text_of(self, tokens: str) -> str:
        """Return the text that bare tokens in a row stand for."""
        return text_of(tokens) if self.byte_level else tokens


def _bytes_in_case(character: str, other: str) -> str:
    """Write a character in the other case in bytes; as it is, if these are not as many."""
    (written, _), (cased, _) = bytes_of(character), bytes_of(other)
    return cased if len(cased) == len(written) else written


def clusters(text: str) -> list[tuple[int, int]]:
    """Find letters that are written as several characters that compose to one: where they start and end.

    >>> clusters("cafe\u0301s")
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
    """Take the whole letter, of those that `clusters` finds, where a part of one is given."""
    at = bisect.bisect_right(letters, start, key=lambda letter: letter[1])
    while at < len(letters) and letters[at][0] < end:
        start, end = min(start, letters[at][0]), max(end, letters[at][1])
        at += 1
    return start, end
