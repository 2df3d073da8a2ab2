"""Hotwords: what a finished labelling gains is the sum over all occurrences of all phrases, and nothing else."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch

from ctckit import _core
from ctckit.backends import cpu
from ctckit.backends.searches import SearchOptions
from tests.decoding.problems import emissions

pytestmark = pytest.mark.usefixtures("core")


def gains(scorer: Any, x: torch.Tensor, width: int = 400) -> dict[tuple[int, ...], float]:
    options = SearchOptions(0, width, width, rescore=False)
    (found,) = cpu.beam_search(x[:, None], torch.tensor([len(x)]), options, [scorer])
    return {one.tokens: one.gains[0] for one in found.hypotheses}


def scorer_of(phrases: dict[tuple[int, ...], float], roles: tuple[int, ...] = ()) -> Any:
    """Phrases of classes, and -1 for boundaries; in the core class c is c + 1."""
    symbols = np.array([c + 1 for phrase in phrases for c in phrase], dtype=np.int32)
    lengths = np.array([len(phrase) for phrase in phrases], dtype=np.int32)
    return _core.PhraseScorer(symbols, lengths, list(phrases.values()), np.array(roles, dtype=np.uint8))


def test_phrases_of_classes() -> None:
    r = random.Random(0)  # noqa: S311
    for seed in range(60):
        phrases = {
            tuple(r.choices((1, 2, 3), k=r.randint(1, 5))): r.choice((1.0, 2.0, 3.5)) for _ in range(r.randint(1, 6))
        }
        found = gains(scorer_of(phrases), emissions("flat", 7, 4, seed))
        assert len(found) > 100
        for tokens, gain in found.items():
            expected = sum(
                weight * sum(tokens[i : i + len(phrase)] == phrase for i in range(len(tokens)))
                for phrase, weight in phrases.items()
            )
            assert gain == pytest.approx(expected, abs=1e-9), (tokens, phrases)


ROLES = {"letters": (0, 1), "pieces": (0, 0, 0, 2, 2), "endings": (0, 0, 0, 4, 4)}


@pytest.mark.parametrize("kind", ROLES)
def test_phrases_of_words(kind: str) -> None:
    """Class 1 is the separator; or classes 3 and 4 begin or end words, and spell as 1 and 2."""
    r = random.Random(1)  # noqa: S311
    for seed in range(60):
        letters = (2, 3) if kind == "letters" else (1, 2)
        sentences: dict[tuple[tuple[int, ...], ...], float] = {}
        for _ in range(r.randint(1, 5)):
            words = tuple(tuple(r.choices(letters, k=r.randint(1, 2))) for _ in range(r.randint(1, 2)))
            sentences[words] = r.choice((1.0, 2.0, 3.5))
        phrases = {}
        for words, weight in sentences.items():
            row = [-1]
            for word in words:
                marked = {"letters": word, "pieces": (word[0] + 2, *word[1:]), "endings": (*word[:-1], word[-1] + 2)}
                row += [*marked[kind], -1]
            phrases[tuple(row)] = weight
        found = gains(scorer_of(phrases, ROLES[kind]), emissions("flat", 7, 5, seed))
        for tokens, gain in found.items():
            said = words_of(tokens, kind)
            expected = sum(
                weight * sum(tuple(said[i : i + len(words)]) == words for i in range(len(said)))
                for words, weight in sentences.items()
            )
            assert gain == pytest.approx(expected, abs=1e-9), (tokens, sentences)


def words_of(tokens: tuple[int, ...], kind: str) -> list[tuple[int, ...]]:
    rows: list[list[int]] = [[]]
    if kind == "endings":
        for c in tokens:
            rows[-1].append(c - 2 if c > 2 else c)
            if c > 2:
                rows.append([])
        found = [tuple(row) for row in rows if row]
        unmarked = bool(tokens) and tokens[-1] < 3  # a last word without its mark is spelt otherwise
        return [*found[:-1], (0, *found[-1])] if unmarked else found
    for c in tokens:
        if kind == "letters" and c == 1:
            rows.append([])
        elif kind == "letters" or c < 3:
            rows[-1].append(c)
        else:
            rows.append([c - 2])
    unmarked = kind == "pieces" and bool(tokens) and tokens[0] < 3  # a first word without its mark is spelt otherwise
    found = [tuple(row) for row in rows if row]
    return [(0, *found[0]), *found[1:]] if unmarked else found
