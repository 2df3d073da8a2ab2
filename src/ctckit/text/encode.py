"""Spells a text in tokens. Characters without a token are an error, are left out, or become wildcards.

Characters are left out before the rest is spelt, so the result is that of the text without them. A separator is put
between two tokens if there is white space between them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias

from ctckit.errors import ArgumentValueError
from ctckit.text.transcript import Chunk, Piece, Transcript, Unit
from ctckit.text.unknown import Kind, UnknownPolicy, kinds_of
from ctckit.text.word_layout import Layout

__all__ = ["Explain", "Spell", "encode_text"]

Spell: TypeAlias = Callable[[Chunk], list[Unit]]
"""Segments a chunk of text into tokens. Characters without a token are a unit without a class."""
Explain: TypeAlias = Callable[[str, int, int], str]
"""Returns an error message: why a part of a text, from start to end, has no token."""

_KEPT: Final = 0
_SKIPPED: Final = 1
_WILD: Final = 2
_ORDER: Final[tuple[Kind, ...]] = ("punctuation", "numbers", "words")


class _Item(NamedTuple):
    """A token or a wildcard, and its place in the text."""

    piece: Piece
    start: int
    end: int
    is_edge: bool = False  # a wildcard of punctuation at either end of a word, and no part of the word


class _Decisions:
    """The decision on each character of a text: kept, skipped, or a wildcard."""

    def __init__(self, text: str, wildcard: str | None, policy: UnknownPolicy) -> None:
        self.text = text
        self.policy = policy
        self.states = [_KEPT] * len(text)
        for match in re.finditer(re.escape(wildcard), text) if wildcard else ():
            self.states[match.start() : match.end()] = [_WILD] * len(match[0])
        self.asked = [state == _WILD for state in self.states]  # wildcards that the caller wrote
        self._kinds: list[Kind] | None = None

    def kind(self, at: int) -> Kind:
        if self._kinds is None:
            self._kinds = kinds_of(self.text)
        return self._kinds[at]

    def count_as_word(self, start: int, end: int) -> None:
        """Count characters as part of a word, whatever they are."""
        self.kind(start)
        assert self._kinds is not None  # noqa: S101  # for the type checker
        self._kinds[start:end] = ["words"] * (end - start)

    def decide(self, places: list[int]) -> bool:
        """Decide on characters that belong together and have no token. Return False if they are an error.

        Characters of several kinds are decided one kind at a time, since the rest may then have a token.
        """
        for kind in _ORDER:
            chosen = [at for at in places if self.kind(at) == kind and self.states[at] == _KEPT]
            choice = getattr(self.policy, kind)
            if chosen and choice != "raise":
                for at in chosen:
                    self.states[at] = _SKIPPED if choice == "skip" else _WILD
                return True
        return all(self.states[at] != _KEPT for at in places)

    def edges(self, layout: Layout) -> list[bool]:
        """Return which characters are wildcards of punctuation at either end of a word that has other characters."""
        edges = [False] * len(self.text)
        for word, (start, end) in enumerate(layout.spans):
            own = [at for at in range(start, end) if layout.word_of[at] == word and self.states[at] != _SKIPPED]
            inner = [at for at in own if not self._is_loose(at)]
            for at in own if inner else ():
                edges[at] = not inner[0] <= at <= inner[-1]
        return edges

    def _is_loose(self, at: int) -> bool:
        return self.states[at] == _WILD and not self.asked[at] and self.kind(at) == "punctuation"


def encode_text(
    text: str,
    layout: Layout,
    spell: Spell,
    *,
    policy: UnknownPolicy,
    wildcard: str | None,
    special: list[tuple[int, int]],
    separator: tuple[str, int] | None,
    explain: Explain,
) -> Transcript:
    """Spell a text.

    Args:
        text: the text.
        layout: its words.
        spell: segments a chunk of the text.
        policy: the treatment of characters without a token.
        wildcard: a character that stands for a wildcard; None if there is none.
        special: start and end of each name of a special token.
        separator: the token for the space, and its class; None if there is none.
        explain: returns the error message for a part without a token.

    Raises:
        ArgumentValueError: for characters without a token, if the policy is to raise.
    """
    decisions = _Decisions(text, wildcard, policy)
    for start, end in special:
        decisions.count_as_word(start, end)
        if not decisions.decide([*range(start, end)]):
            raise ArgumentValueError(explain(text, start, end))
    while True:
        edges = decisions.edges(layout)
        chunks = _chunks(text, layout, decisions.states, edges)
        spelt = [(chunk, places, spell(chunk)) for chunk, places in chunks]
        unknown = [
            [places[at] for at in range(unit.start, unit.end) if chunk.text[at] != " "]
            for chunk, places, units in spelt
            for unit in units
            if unit.id is None
        ]
        told = next((places for places in unknown if not decisions.decide(places)), None)
        if told is not None:
            raise ArgumentValueError(explain(text, told[0], told[-1] + 1))
        if not any(unknown):  # a unit without characters is a mark without a token
            break
    items = [item for _, places, units in spelt for item in _items(layout, places, units)]
    items = _with_wildcards(layout, decisions, edges, items)
    return _transcript(text, layout, decisions, items, separator)


def _chunks(text: str, layout: Layout, states: list[int], edges: list[bool]) -> list[tuple[Chunk, list[int]]]:
    """Cut a text into chunks at its wildcards, without skipped characters.

    Returns:
        Each chunk, and the place of each of its characters in the text.
    """
    found: list[tuple[Chunk, list[int]]] = []
    signs: list[str] = []
    places: list[int] = []
    cuts: list[int] = []
    spaced, word = False, -1
    wild = False  # whether a wildcard comes before the chunk

    def close(*, closes: bool) -> None:
        if signs:
            found.append((Chunk("".join(signs), opens, closes, not found and not wild, tuple(cuts)), [*places]))
        signs.clear()
        places.clear()
        cuts.clear()

    for at, state in enumerate(states):
        if layout.word_of[at] < 0:
            spaced = True
            continue
        if state == _SKIPPED:
            continue
        if state == _WILD:
            close(closes=spaced or layout.word_of[at] != word or edges[at])
            wild = wild or not edges[at]
            spaced, word = edges[at], layout.word_of[at]
            continue
        if not signs:
            opens = spaced or word < 0
        elif spaced:
            signs.append(" ")
            places.append(at)
        elif layout.word_of[at] != word:
            cuts.append(len(signs))
        signs.append(text[at])
        places.append(at)
        spaced, word = False, layout.word_of[at]
    close(closes=True)
    return found


def _items(layout: Layout, places: list[int], units: list[Unit]) -> list[_Item]:
    """Find the word of each token of a chunk."""
    items: list[_Item] = []
    word: int | None = None
    for unit in reversed(units):  # a mark belongs to the word of the character after it
        if unit.id is None:
            continue
        first = min(unit.start, len(places) - 1)
        # A space in a chunk has the place of the character after it.
        start, end = places[first], places[max(first, unit.end - 1)] + 1
        if unit.start == unit.end:
            end = start
        if word is None or unit.start < unit.end:
            word = layout.word_of[start]
        items.append(_Item(Piece(unit.token, unit.id, word), start, end))
    return items[::-1]


def _with_wildcards(layout: Layout, decisions: _Decisions, edges: list[bool], items: list[_Item]) -> list[_Item]:
    """Add the wildcards. Neighbours of one word are one wildcard."""
    merged: list[_Item] = []
    pending = iter(items)
    following = next(pending, None)
    for at, state in enumerate(decisions.states):
        while following is not None and following.start <= at:
            merged.append(following)
            following = next(pending, None)
        if state != _WILD or layout.word_of[at] < 0:
            continue
        word, sign = layout.word_of[at], decisions.text[at]
        last = merged[-1] if merged else None
        if last is not None and last.piece.id is None and last.piece.word == word:
            piece = last.piece._replace(text=last.piece.text + sign)
            merged[-1] = _Item(piece, last.start, at + 1, last.is_edge and edges[at])
        else:
            merged.append(_Item(Piece(sign, None, word), at, at + 1, edges[at]))
    if following is not None:
        merged += [following, *pending]
    return merged


def _transcript(
    text: str, layout: Layout, decisions: _Decisions, items: list[_Item], separator: tuple[str, int] | None
) -> Transcript:
    spans, numbers, dropped = _words(text, layout, decisions, items)
    pieces: list[Piece] = []
    before: _Item | None = None
    # A tokenizer may have dropped all other characters of a word. Then its punctuation is the word.
    with_others = {item.piece.word for item in items if not item.is_edge}
    for item in items:
        if separator is not None and before is not None and _has_space(layout, before.end, item.start):
            pieces.append(Piece(separator[0], separator[1], None))
        word = item.piece.word
        assert word is not None  # noqa: S101  # for the type checker: only separators have none
        is_outside = item.is_edge and word in with_others
        pieces.append(Piece(item.piece.text, item.piece.id, None if is_outside else numbers[word]))
        before = item
    return Transcript(text, pieces, [text[start:end] for start, end in spans], spans, tuple(dropped))


def _words(
    text: str, layout: Layout, decisions: _Decisions, items: list[_Item]
) -> tuple[list[tuple[int, int]], dict[int, int], list[str]]:
    """Return the spans of the words that are left, the new index of each, and the texts that are left out.

    Two words become one where a token covers both.
    """
    reach: dict[int, int] = {}  # of each word with tokens: the end of its last token
    for item in items:
        if item.piece.word is not None:
            reach[item.piece.word] = max(reach.get(item.piece.word, 0), item.end)
    spans: list[tuple[int, int]] = []
    numbers: dict[int, int] = {}
    dropped: list[str] = []
    last = 0  # the end of the last token of the word before
    for word, (start, end) in enumerate(layout.spans):
        own = [at for at in range(start, end) if layout.word_of[at] >= 0]
        if word in reach:
            numbers[word] = len(spans)
            spans.append((start, end))
            last = reach[word]
            dropped += _runs(text, [at for at in own if decisions.states[at] == _SKIPPED])
        elif spans and any(decisions.states[at] == _KEPT and at < last for at in own):
            spans[-1] = (spans[-1][0], end)
        elif own:
            dropped.append(text[start:end])
    return spans, numbers, dropped


def _runs(text: str, places: list[int]) -> list[str]:
    runs: list[str] = []
    for index, at in enumerate(places):
        if index and places[index - 1] == at - 1:
            runs[-1] += text[at]
        else:
            runs.append(text[at])
    return runs


def _has_space(layout: Layout, start: int, end: int) -> bool:
    return any(layout.word_of[at] < 0 for at in range(start, end))
