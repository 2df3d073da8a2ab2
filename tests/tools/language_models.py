"""Small language models for the corpus of `corpora.write_corpus`: ARPA files."""

from __future__ import annotations

import math
from pathlib import Path

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
