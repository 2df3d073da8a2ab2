"""A made language: words, a 2-gram model of them, and sentences.

Only NumPy is imported, so that a decoder in another environment gets the same language.
"""

# ruff: noqa: B905, RUF007 - Python 3.9 has neither pairwise nor zip(strict=)

from __future__ import annotations

import functools
import math
import string
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from benchmarks import cases

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SEPARATOR = 1  # class
LETTERS = string.ascii_letters[:30]  # of the classes from 2
LONGEST_WORD = 6
WORDS, FOLLOWERS = 97, 20  # words, and how many of them follow each
KNOWN = 0.8  # the share of probability that the model gives to them
LM_WEIGHT, WORD_BONUS, UNKNOWN_SCORE = 0.5, 1.5, -10.0  # nats; the weight is of natural logarithms


class Language(NamedTuple):
    """Words, and the 2-grams of a back-off model: log10 of probabilities. Sentences have the same ones."""

    words: list[str]
    alone: dict[str, float]
    after: dict[tuple[str, str], float]
    back_off: float
    chances: np.ndarray  # of each word after each, and last at the beginning

    def log10(self, before: str, word: str) -> float:
        """The model's log10 P(word | the word before)."""
        word, before = (w if w in self.alone else "<unk>" for w in (word, before))
        return self.after.get((before, word), self.back_off + self.alone[word])

    def gain(self, words: Sequence[str]) -> float:
        """What words add to a hypothesis, in nats."""
        said = ["<s>", *words, "</s>"]
        log10 = sum(self.log10(*pair) for pair in zip(said, said[1:]))
        unknown = sum(word not in self.alone for word in words)
        return LM_WEIGHT * math.log(10) * log10 + WORD_BONUS * len(words) + UNKNOWN_SCORE * unknown

    def arpa(self) -> Iterator[str]:
        """The lines of the model's ARPA file."""
        yield from ("\\data\\", f"ngram 1={len(self.alone)}", f"ngram 2={len(self.after)}", "", "\\1-grams:")
        yield from (f"{log10:.6f}\t{word}\t{self.back_off:.6f}" for word, log10 in self.alone.items())
        yield from ("", "\\2-grams:", *(f"{log10:.6f}\t{a} {b}" for (a, b), log10 in self.after.items()), "", "\\end\\")


@functools.lru_cache(maxsize=1)
def language() -> Language:
    """The language: always the same."""
    random = np.random.default_rng(97)
    words: dict[str, None] = {}
    while len(words) < WORDS:
        words["".join(random.choice(list(LETTERS), random.integers(2, LONGEST_WORD + 1)))] = None
    names = sorted(words)
    chances = np.zeros((WORDS + 1, WORDS))  # of each word after each, and last at the beginning
    for row in chances:
        row[random.choice(WORDS, FOLLOWERS, replace=False)] = random.exponential(1.0, FOLLOWERS)
    chances /= chances.sum(axis=1, keepdims=True)
    often = chances[-1]
    for _ in range(100):
        often = often @ chances[:-1]
    log10 = np.log10(KNOWN * chances, where=chances > 0, out=np.full_like(chances, -np.inf))
    alone = {"<unk>": -2.0, "<s>": -99.0, "</s>": -1.5}
    alone |= {word: round(float(np.log10(KNOWN * share + 1e-6)), 6) for word, share in zip(names, often)}
    after = {
        (a, b): round(float(value), 6)
        for a, row in zip((*names, "<s>"), log10)
        for b, value in zip(names, row)
        if value > -math.inf
    }
    return Language(names, alone, after, round(math.log10(1 - KNOWN), 6), chances)


@functools.lru_cache(maxsize=1)
def arpa_file() -> Path:
    """A file of the model."""
    path = Path(tempfile.mkdtemp()) / "words.arpa"
    path.write_text("\n".join(language().arpa()) + "\n")
    return path


def labels() -> list[str]:
    """The token of each class."""
    return ["-", " ", *LETTERS]


def sentence(random: np.random.Generator, size: int) -> np.ndarray:
    """Classes of a sentence of at most so many labels."""
    made = language()
    classes: list[int] = []
    word = WORDS
    while True:
        word = int(random.choice(WORDS, p=made.chances[word]))
        spelt = [SEPARATOR] * bool(classes) + [LETTERS.index(letter) + 2 for letter in made.words[word]]
        if len(classes) + len(spelt) > size:
            return np.array(classes)
        classes += spelt


def words_of(classes: Sequence[int]) -> list[str]:
    """The words that classes spell."""
    return "".join(" " if c == SEPARATOR else LETTERS[c - 2] for c in classes if c != cases.BLANK).split()


def phrases(count: int) -> list[str]:
    """Phrases of one to three words: names that the language does not have, and some words that it has."""
    random = np.random.default_rng(count)
    made: dict[str, None] = {}
    known = language().words
    while len(made) < count:
        words = [
            str(random.choice(known))
            if random.random() < 0.1
            else "".join(random.choice(list(LETTERS), random.integers(4, 10)))
            for _ in range(random.integers(1, 4))
        ]
        made[" ".join(words)] = None
    return list(made)
