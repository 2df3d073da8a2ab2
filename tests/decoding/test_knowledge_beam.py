"""A beam that is scored by words and phrases: its own scores, and narrow beams, against the definition."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
import torch

import ctckit
from ctckit import _core
from ctckit.backends import cpu
from ctckit.backends.searches import SearchOptions
from ctckit.decoding.ngram import NGram
from tests.decoding.problems import defined_beam, emissions
from tests.tools.ngram_oracle import DictionaryModel

pytestmark = pytest.mark.usefixtures("core")

LETTERS = ["-", "|", "a", "b"]
ENDINGS = ["-", "a</w>", "a", "b</w>", "b"]
# "c" and "d" share the bits of "a" and "b" in summaries.
MANY = [*LETTERS, *(f"<{k}>" for k in range(62)), "c", "d"]


Row: TypeAlias = "tuple[int, ...]"


@pytest.mark.parametrize("names", [LETTERS, ["-", "▁", "▁a", "a", "b"]], ids=["letters", "pieces"])
def test_several_separators_in_a_phrase(names: list[str]) -> None:
    """What is credited for a phrase stays while separators follow one another."""
    decoder: Any = ctckit.Decoder(names, beam_width=9000, nbest=9000, blank=0, hotwords={"a b": 3.0, "b a b": -1.0})
    for seed in range(3):
        found = decoder(emissions("flat", 6, len(names), seed))
        doubled = 0
        for one in found.nbest:
            doubled += one.hotword_score != 0 and (1, 1) in itertools.pairwise(one.tokens)
            assert one.beam_score == pytest.approx(one.acoustic_score + one.hotword_score, abs=1e-9), one.text
        assert doubled > 0


class Telescoped:
    """A scorer in Python: the gain of a step is what a function of the prefix grows by."""

    def __init__(self, total: Callable[[Row], float], end: Callable[[Row], float]) -> None:
        self._total, self._end = total, end
        self._prefixes: list[Row] = [()]
        self._numbers: dict[Row, int] = {(): 0}

    def initial(self) -> int:
        return 0

    def advance(self, states: Any, tokens: Any) -> tuple[Any, Any]:
        gains, after = [], []
        for state, token in zip(states.tolist(), tokens.tolist(), strict=True):
            prefix = self._prefixes[state]
            longer = (*prefix, token)
            if longer not in self._numbers:
                self._numbers[longer] = len(self._prefixes)
                self._prefixes.append(longer)
            after.append(self._numbers[longer])
            before = self._total(prefix)
            gains.append(self._total(longer) - before if before > -math.inf else -math.inf)
        return np.array(gains), np.array(after, dtype=np.int32)

    def finish(self, states: Any) -> Any:
        prefixes = [self._prefixes[state] for state in states.tolist()]
        return np.array([self._end(prefix) - self._total(prefix) for prefix in prefixes])

    def largest_gain(self) -> float:
        return math.inf


class Words:
    """What a prefix gains by its words: finished ones by the model, the one under way by the best that may follow."""

    def __init__(self, names: list[str], lexicon: dict[str, Row], lm: DictionaryModel, weight: float,
                 bonus: float, unknown: float) -> None:  # fmt: skip
        self._names, self._lexicon, self._lm = names, lexicon, lm
        self._weight, self._bonus, self._unknown = weight, bonus, unknown
        self._alone = {row: weight * lm.score([word], bos=False, eos=False) for word, row in lexicon.items()}
        self._best = max(self._alone.values())

    def _rows(self, prefix: Row) -> tuple[list[Row], Row]:
        done: list[Row] = []
        row: Row = ()
        for c in prefix:
            row = (*row, c) if self._names[c] != "|" else row
            if self._names[c] == "|" or self._names[c].endswith("</w>"):
                done += [row] if row else []
                row = ()
        return done, row

    def _finished(self, rows: list[Row], *, eos: bool) -> float:
        words = {row: word for word, row in self._lexicon.items()}
        said = [words.get(row) for row in rows]
        total = sum(self._bonus + (0.0 if word is not None else self._unknown) for word in said)
        return total + self._weight * self._lm.score([word or "<unk>" for word in said], eos=eos)

    def total(self, prefix: Row) -> float:
        done, row = self._rows(prefix)
        if not row:
            return self._finished(done, eos=False)
        below = [gain for spelling, gain in self._alone.items() if spelling[: len(row)] == row]
        return self._finished(done, eos=False) + (max(max(below) - self._best, -25.0) if below else self._unknown)

    def end(self, prefix: Row) -> float:
        done, row = self._rows(prefix)
        return self._finished([*done, *([row] if row else [])], eos=True)


def arpa(words: dict[str, float], r: random.Random) -> str:
    lines = ["\\data\\", f"ngram 1={len(words) + 3}", "ngram 2=6", ""]
    lines += ["\\1-grams:", "-1.5\t<unk>", "-99\t<s>", "-1\t</s>"]
    lines += [f"{log10}\t{word}\t{r.choice((-0.3, 0.2, 0.0))}" for word, log10 in words.items()]
    pairs = r.sample([*itertools.product(words, repeat=2)], 6)
    lines += ["", "\\2-grams:", *(f"-{r.random()}\t{a} {b}" for a, b in pairs)]
    return "\n".join([*lines, "", "\\end\\", ""])


@pytest.mark.parametrize("names", [LETTERS, ENDINGS, MANY], ids=["letters", "endings", "many"])
@pytest.mark.parametrize("weight", [0.5, 3.0])
def test_narrow_beams_of_words(names: list[str], weight: float, tmp_path: Path) -> None:
    """A word that is much rarer than others: leaving the lexicon on the way to it gains more than a bonus."""
    for seed in range(12):
        r = random.Random(seed)  # noqa: S311
        words = {"a": -0.5, "ab": -1.0, "bab": -6.0, "bb": -3.0}
        if "c" in names:
            words |= {"cad": -1.5, "ac": -1.0}
        text = arpa(words, r)
        (tmp_path / "lm.arpa").write_text(text)
        lm = NGram(tmp_path / "lm.arpa")
        vocabulary = ctckit.Vocabulary(names)
        lexicon = {word: vocabulary.word_spellings(word, blank=0)[0] for word in words}
        roles = np.array([(n == "|") + 4 * n.endswith("</w>") for n in names], dtype=np.uint8)
        flat = np.array([c for row in lexicon.values() for c in row], dtype=np.int32)
        trie = _core.WordTrie(flat, np.array([len(row) for row in lexicon.values()], dtype=np.int32))
        numbers = np.array(lm.core.find_all(list(lexicon)), dtype=np.int32)
        scorer: Any = _core.WordScorer(trie, lm.core, numbers, roles, weight, 0.3, -4.0, True)
        defined = Words(names, lexicon, DictionaryModel(text), weight, 0.3, -4.0)
        g = torch.Generator().manual_seed(seed)
        x = (7 * torch.randn(7, min(len(names), 6), generator=g, dtype=torch.float64)).log_softmax(1)
        if len(names) > 6:
            x = torch.cat([x[:, :4], torch.full((7, 62), -90.0, dtype=torch.float64), x[:, 4:]], dim=1)
        for width in (1, 2, 3, 5, 9):
            options = SearchOptions(0, width, width, rescore=False)
            (found,) = cpu.beam_search(x[:, None], torch.tensor([len(x)]), options, [scorer])
            expected = defined_beam(x, width, 0, [Telescoped(defined.total, defined.end)])
            assert [one.tokens for one in found.hypotheses] == [tokens for tokens, _ in expected]
            for one, (_, score) in zip(found.hypotheses, expected, strict=True):
                assert one.beam_score == pytest.approx(score, abs=1e-5)


class Phrases:
    """What a prefix gains by phrases of classes: those that occurred, and the most that one under way has earned."""

    def __init__(self, phrases: dict[Row, float]) -> None:
        self._phrases = phrases

    def end(self, prefix: Row) -> float:
        places = range(len(prefix))
        return sum(
            nats * sum(prefix[at : at + len(row)] == row for at in places) for row, nats in self._phrases.items()
        )

    def total(self, prefix: Row) -> float:
        earned = [0.0]
        for row, nats in self._phrases.items():
            earned += [nats * k / len(row) for k in range(1, len(row)) if prefix[len(prefix) - k :] == row[:k]]
        return self.end(prefix) + max(earned)


def test_narrow_beams_of_phrases() -> None:
    """A phrase begins within another one, or ends in it."""
    r = random.Random(1)  # noqa: S311
    for seed in range(20):
        rows: list[Row] = [tuple(r.choices((1, 2, 3), k=r.randint(1, 5))) for _ in range(6)]
        phrases = {row: r.choice((-1.0, 2.0, 4.0, 7.0)) for row in rows}
        flat = np.array([c + 1 for row in phrases for c in row], dtype=np.int32)
        lengths = np.array([len(row) for row in phrases], dtype=np.int32)
        scorer: Any = _core.PhraseScorer(flat, lengths, list(phrases.values()), np.zeros(4, dtype=np.uint8))
        defined = Phrases(phrases)
        x = emissions("flat", 9, 4, seed).double()
        for width in (1, 2, 4):
            options = SearchOptions(0, width, width, rescore=False)
            (found,) = cpu.beam_search(x[:, None], torch.tensor([len(x)]), options, [scorer])
            expected = defined_beam(x, width, 0, [Telescoped(defined.total, defined.end)])
            assert [one.tokens for one in found.hypotheses] == [tokens for tokens, _ in expected]
            for one, (_, score) in zip(found.hypotheses, expected, strict=True):
                assert one.beam_score == pytest.approx(score, abs=1e-9)


@pytest.mark.parametrize("order", [2, 3])
def test_narrow_beams_with_positive_back_off_weights(order: int, tmp_path: Path) -> None:
    """A step may gain more than the model's largest probability."""
    names = ["w0", "w1", "w2"]
    for seed in range(12):
        r = random.Random(seed)  # noqa: S311
        pairs = r.sample([*itertools.product(names, repeat=2)], 3)
        lines = ["\\data\\", "ngram 1=5", "ngram 2=3", *["ngram 3=1"] * (order == 3), "", "\\1-grams:"]
        lines += ["-99\t<s>\t1.5", "-1\t</s>", *(f"-{r.uniform(2, 4)}\t{name}\t{r.uniform(1, 3)}" for name in names)]
        weight = "\t1.5" if order == 3 else ""
        lines += ["", "\\2-grams:", *(f"-{r.uniform(2, 5)}\t{a} {b}{weight}" for a, b in pairs)]
        lines += ["", "\\3-grams:", f"-3\t{' '.join(pairs[0])} w1"] if order == 3 else []
        text = "\n".join([*lines, "", "\\end\\", ""])
        (tmp_path / "lm.arpa").write_text(text)
        lm, oracle = NGram(tmp_path / "lm.arpa"), DictionaryModel(text)
        numbers = np.array([-1, *lm.core.find_all(names)], dtype=np.int32)
        scorer: Any = _core.TokenScorer(lm.core, numbers, 1.0, 0.0, -5.0)

        def total(prefix: Row, eos: bool = False, oracle: DictionaryModel = oracle) -> float:
            return oracle.score([names[c - 1] for c in prefix], eos=eos)

        g = torch.Generator().manual_seed(seed)
        x = (5 * torch.randn(8, 4, generator=g, dtype=torch.float64)).log_softmax(1)
        for width in (1, 2, 3, 5):
            options = SearchOptions(0, width, width, rescore=False)
            (found,) = cpu.beam_search(x[:, None], torch.tensor([len(x)]), options, [scorer])
            expected = defined_beam(x, width, 0, [Telescoped(total, partial(total, eos=True))])
            assert [one.tokens for one in found.hypotheses] == [tokens for tokens, _ in expected]
            for one, (_, score) in zip(found.hypotheses, expected, strict=True):
                assert one.beam_score == pytest.approx(score, abs=1e-4)
