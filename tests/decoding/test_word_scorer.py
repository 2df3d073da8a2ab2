"""Words scored by a lexicon and an n-gram model, against the definition on whole labellings."""

from __future__ import annotations

import itertools
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ctckit import _core
from ctckit.backends import cpu
from ctckit.backends.searches import SearchOptions
from ctckit.decoding.ngram import NGram
from tests.decoding.problems import emissions
from tests.decoding.test_ngram import random_arpa
from tests.tools.ngram_oracle import DictionaryModel

pytestmark = pytest.mark.usefixtures("core")

LETTERS = ("-", " ", "a", "b")
PIECES = ("-", "▁a", "a", "▁b", "b")
ENDINGS = ("-", "a</w>", "a", "b</w>", "b")


def roles_of(vocabulary: tuple[str, ...]) -> Any:
    """1 for a separator, 2 for a class that begins a word, 4 for one that ends it."""
    return np.array([(n == " ") + 2 * n.startswith("▁") + 4 * n.endswith("</w>") for n in vocabulary], dtype=np.uint8)


def words_of(tokens: tuple[int, ...], vocabulary: tuple[str, ...], lexicon: list[str]) -> list[str]:
    """Words by their spellings; "?" for others."""
    spellings = {tuple(spelt(word, vocabulary)): word for word in lexicon}
    rows: list[list[int]] = [[]]
    for c in tokens:
        if vocabulary[c] == " " or vocabulary[c].startswith("▁"):
            rows.append([])
        if vocabulary[c] != " ":
            rows[-1].append(c)
        if vocabulary[c].endswith("</w>"):
            rows.append([])
    return [spellings.get(tuple(row), "?") for row in rows if row]


def total(
    words: list[str], lexicon: list[str], lm: DictionaryModel | None, weight: float, bonus: float, unknown: float
) -> float:
    """F of a labelling."""
    gain = sum(bonus + (0.0 if word in lexicon else unknown) for word in words)
    if lm is None:
        return gain
    names = [word if word in lexicon else "<unk>" for word in words]
    return gain + weight * lm.score(names)


@pytest.mark.parametrize("vocabulary", [LETTERS, PIECES, ENDINGS], ids=["letters", "pieces", "endings"])
@pytest.mark.parametrize("order", [0, 1, 2, 3])
@pytest.mark.parametrize("unknown", [-2.5, -math.inf, 1.0])
def test_gains_of_whole_labellings(vocabulary: tuple[str, ...], order: int, unknown: float, tmp_path: Path) -> None:
    r = random.Random(order)  # noqa: S311
    every = ["".join(w) for n in (1, 2, 3) for w in itertools.product("ab", repeat=n)]
    for seed in range(6):
        lexicon = r.sample(every, r.randint(1, 6))
        text = random_arpa(r, max(1, order), holes=0.0)
        known = lexicon[: r.randint(0, len(lexicon))]
        for k, word in enumerate(known[:6]):
            text = text.replace(f"w{k}\t", f"{word}\t").replace(f"w{k} ", f"{word} ").replace(f"w{k}\n", f"{word}\n")
        (tmp_path / "lm.arpa").write_text(text)
        model, oracle = NGram(tmp_path / "lm.arpa"), DictionaryModel(text)
        spellings = [spelt(word, vocabulary) for word in lexicon]
        classes = np.array([c for s in spellings for c in s], dtype=np.int32)
        trie = _core.WordTrie(classes, np.array([len(s) for s in spellings], dtype=np.int32))
        numbers = np.array([model.core.find(word) for word in lexicon], dtype=np.int32)
        weight, bonus = r.choice((0.0, 0.5, 1.7)), r.uniform(-1, 1)
        x = emissions("flat", 5, len(vocabulary), seed)
        for lookahead in (False, True):
            scorer: Any = _core.WordScorer(
                trie, model.core if order else None, numbers, roles_of(vocabulary), weight, bonus, unknown, lookahead
            )
            results = {}
            for scorers in ([], [scorer]):
                (found,) = cpu.beam_search(
                    x[:, None], torch.tensor([len(x)]), SearchOptions(0, 3000, 3000, rescore=True), scorers
                )
                results[len(scorers)] = {one.tokens: one for one in found.hypotheses}
            assert set(results[1]) <= set(results[0])
            for tokens, plain in results[0].items():
                said = words_of(tokens, vocabulary, lexicon)
                f = total(said, lexicon, oracle if order else None, weight, bonus, unknown)
                if tokens not in results[1]:
                    assert f == -math.inf, tokens
                    continue
                assert results[1][tokens].gains[0] == pytest.approx(f, abs=1e-5), (tokens, lexicon, text)
                assert results[1][tokens].beam_score == pytest.approx(plain.acoustic_score + f, abs=1e-5)


def spelt(word: str, vocabulary: tuple[str, ...]) -> list[int]:
    if "▁a" in vocabulary:
        return [vocabulary.index(("▁" if k == 0 else "") + c) for k, c in enumerate(word)]
    if "a</w>" in vocabulary:
        return [vocabulary.index(c + ("</w>" if k + 1 == len(word) else "")) for k, c in enumerate(word)]
    return [vocabulary.index(c) for c in word]


def test_what_is_kept_is_of_one_scorer() -> None:
    """What words gain at their ends is kept by each thread, in 4,096 places for all scorers."""
    trie = _core.WordTrie(np.array([2], dtype=np.int32), np.array([1], dtype=np.int32))
    numbers, roles = np.array([-1], dtype=np.int32), roles_of(LETTERS)
    x = torch.full((1, 1, 4), -torch.inf)
    x[0, 0, 2] = 0.0
    options, lengths = SearchOptions(0, 1, 1, rescore=False), torch.tensor([1])
    for k in range(6000):
        scorer: Any = _core.WordScorer(trie, None, numbers, roles, 0.5, float(k % 7), -math.inf, True)
        (found,) = cpu.beam_search(x, lengths, options, [scorer])
        assert found.hypotheses[0].gains == (k % 7,), k
