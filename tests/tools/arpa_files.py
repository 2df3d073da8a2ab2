"""ARPA files of small models that KenLM reads, too: each n-gram's words without the first, and without the last, are
n-grams of the model, and all that may go on have a back-off weight.
"""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter
from collections.abc import Sequence

__all__ = ["random_model", "trained_model"]


def random_model(r: random.Random, words: Sequence[str], order: int, *, unknown: bool = True) -> str:
    """Write a model of some words as an ARPA file."""
    grams: list[list[tuple[str, ...]]] = [[(w,) for w in (*["<unk>"] * unknown, "<s>", "</s>", *words)]]
    for length in range(2, order + 1):
        shorter = set(grams[-1])
        possible = [
            gram
            for gram in itertools.product(("<s>", *words), *[words] * (length - 2), ("</s>", *words))
            if gram[1:] in shorter and gram[:-1] in shorter
        ]
        grams.append(r.sample(possible, (2 * len(possible) + 2) // 3))
    lines = ["", "\\data\\", *(f"ngram {k}={len(found)}" for k, found in enumerate(grams, 1))]
    for k, found in enumerate(grams, 1):
        lines += ["", f"\\{k}-grams:"]
        for gram in found:
            weight = f"\t{-r.uniform(0, 1):.4f}" if k < order else ""
            log10 = -99.0 if gram == ("<s>",) else -r.uniform(0.05, 2.5)
            lines.append(f"{log10:.4f}\t{' '.join(gram)}{weight}")
    return "\n".join([*lines, "", "\\end\\", ""])


def trained_model(sentences: Sequence[str], *, discount: float = 0.5) -> str:
    """Write a 2-gram model of sentences as an ARPA file: by absolute discounting, so that each context adds up to 1."""
    rows = [("<s>", *sentence.split(), "</s>") for sentence in sentences]
    ones, pairs = (
        Counter(w for row in rows for w in row[1:]),
        Counter(p for row in rows for p in itertools.pairwise(row)),
    )
    total, words = ones.total(), sorted(ones)
    base = {w: (ones[w] - discount) / total for w in words}
    base["<unk>"] = discount * len(words) / total
    after = Counter(pair[0] for pair in pairs.elements())
    left = {w: discount * sum(pair[0] == w for pair in pairs) / after[w] for w in after}
    lines = ["\\data\\", f"ngram 1={len(base) + 1}", f"ngram 2={len(pairs)}", "", "\\1-grams:"]
    for w in ("<s>", *base):
        log10 = math.log10(base[w]) if w in base else -99.0
        lines.append(f"{log10:.6f}\t{w}\t{math.log10(left.get(w, 1.0)):.6f}")
    lines += ["", "\\2-grams:"]
    for (a, b), count in sorted(pairs.items()):
        p = (count - discount) / after[a] + left[a] * base[b]
        lines.append(f"{math.log10(p):.6f}\t{a} {b}")
    return "\n".join([*lines, "", "\\end\\", ""])
