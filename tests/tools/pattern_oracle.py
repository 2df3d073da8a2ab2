"""The oracle of patterns: enumerates every path, without a graph. Imports only the elements of patterns.

A *reading* of a pattern has one option for each `Alternatives`; it is a plain row of tokens. A path through it is one
token or blank per frame, with the tokens in order, each in one run, and with a blank between equal labels. Blanks
differ only in the number of tokens before them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from ctckit import Alternatives
from ctckit.lattice.pattern import WILDCARD


class Way(NamedTuple):
    """One path of one reading."""

    tokens: tuple[int, ...]  # per frame: number of the token in the pattern, -1 blank, -2 outside
    score: float
    options: tuple[int, ...]


def readings(pattern: Sequence[Any]) -> Iterator[tuple[list[tuple[int, Any]], tuple[int, ...]]]:
    """Each row of (number of the token, token), and its options; equal options once."""
    rows: list[list[tuple[int, list[tuple[int, Any]]]]] = []
    number = 0
    for element in pattern:
        ways, seen = [], []
        options = element.options if isinstance(element, Alternatives) else [(element,)]
        for o, option in enumerate(options):
            if option not in seen:
                ways.append((o, [(number + i, token) for i, token in enumerate(option)]))
            seen.append(option)
            number += len(option)
        rows.append(ways)
    for choice in itertools.product(*rows):
        taken = [o for (o, _), element in zip(choice, pattern, strict=True) if isinstance(element, Alternatives)]
        yield [token for _, row in choice for token in row], tuple(taken)


def _rows(count: int, frames: int) -> Iterator[list[int]]:
    """All rows of places in 0 .. 2 * count (blank, token, blank, ...) that pass every token, in order."""
    for row in itertools.product(range(2 * count + 1), repeat=frames):
        places = list(row)
        if places == sorted(places) and all(2 * i + 1 in row for i in range(count)):
            yield places


def ways(
    x: Sequence[Sequence[float]],
    pattern: Sequence[Any],
    blank: int,
    wildcard: Sequence[float],
    *,
    free_start: bool = False,
    free_end: bool = False,
) -> list[Way]:
    """All matching paths with a score above -inf, in no order."""
    frames = len(x)
    found = []
    for row, options in readings(pattern):
        for before in range(frames + 1 if free_start else 1):
            for after in range(frames - before + 1 if free_end else 1):
                if free_start and free_end and not row and before + after == frames and after > 0:
                    continue  # one run of frames outside, not two
                for places in _rows(len(row), frames - before - after):
                    if not _blanks_between_equals(row, places):
                        continue
                    tokens = [row[p // 2][0] if p % 2 else -1 for p in places]
                    scores = [
                        (wildcard[t] if row[p // 2][1] is WILDCARD else x[t][row[p // 2][1]]) if p % 2 else x[t][blank]
                        for t, p in enumerate(places, start=before)
                    ]
                    outside = sum(wildcard[:before]) + sum(wildcard[frames - after :])
                    score = sum(scores) + outside
                    if score > -float("inf"):
                        found.append(Way((-2,) * before + tuple(tokens) + (-2,) * after, score, options))
    return found


def _blanks_between_equals(row: list[tuple[int, Any]], places: list[int]) -> bool:
    for i in range(1, len(row)):
        same = row[i][1] == row[i - 1][1] and row[i][1] is not WILDCARD
        if same and 2 * i not in places:
            return False
    return True
