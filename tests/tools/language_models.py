"""Small language models for the corpus of `corpora.write_corpus`: ARPA files."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from tests.tools import corpora

WORDS = ("cab", "a", "bad", "dad", "egg", "and", "ham", "feed", "me", "bee", "hello", "world", "see")


def unigrams(probabilities: dict[str, float], unknown: float = 1e-4) -> str:
    """An ARPA file of single words: their probabilities, not normalised."""
    rows = {"<unk>": unknown, "</s>": 0.1, **probabilities}
    lines = [f"{math.log10(p):.6f}\t{word}" for word, p in rows.items()]
    return "\n".join(["\\data\\", f"ngram 1={len(rows) + 1}", "", "\\1-grams:", "-99\t<s>", *lines, "", "\\end\\", ""])


def write_model(path: Path, words: tuple[str, ...] = WORDS) -> str:
    """Write a model in which all words are equally probable; return its path."""
    path.write_text(unigrams(dict.fromkeys(words, 0.05)))
    return str(path)


PAIRS = (("bad", "bed"), ("cab", "cub"), ("ham", "hum"), ("dad", "did"))
"""A common and a rare word, which differ in one letter."""
RATIO = 10.0  # of their probabilities


def write_ambiguous(folder: Path, count: int = 24) -> tuple[Path, str, tuple[float, float]]:
    """Write items whose emissions prefer the rare word, by less where the common one was said.

    Returns:
        The manifest; the model; and the weights between which a model finds every word.
    """
    folder.mkdir(exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(corpora.TOKENS))
    probabilities = {word: 0.1 / (RATIO if is_rare else 1) for pair in PAIRS for is_rare, word in enumerate(pair)}
    (folder / "pairs.arpa").write_text(unigrams(probabilities))
    lines = []
    for index in range(count):
        common, rare = PAIRS[index % len(PAIRS)]
        is_rare = index % 3 == 0
        np.save(folder / f"{index}.npy", _between(common, rare, _IF_RARE if is_rare else _IF_COMMON))
        lines.append({"id": f"{index}", "emissions": f"{index}.npy", "text": rare if is_rare else common})
    manifest = corpora.write_manifest(folder / "items.jsonl", lines)
    nats = math.log(RATIO)
    return manifest, str(folder / "pairs.arpa"), (_IF_COMMON / nats, _IF_RARE / nats)


_IF_COMMON, _IF_RARE = 1.5, 3.5  # nats by which the emissions prefer the rare word


def _between(common: str, rare: str, nats: float) -> np.ndarray[Any, np.dtype[np.float32]]:
    x = np.full((2 * len(common) + 1, len(corpora.TOKENS)), -14.0)
    x[::2, 0] = 0.0
    for at, (letter, other) in enumerate(zip(common, rare, strict=True)):
        x[2 * at + 1, corpora.TOKENS.index(letter)] = 0.0
        x[2 * at + 1, corpora.TOKENS.index(other)] = nats if letter != other else 0.0
    result: np.ndarray[Any, np.dtype[np.float32]] = (x - np.log(np.exp(x).sum(1, keepdims=True))).astype(np.float32)
    return result
