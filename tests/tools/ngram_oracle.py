"""Back-off n-gram models as dictionaries: by the definition, one word at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence

Words = tuple[str, ...]


class DictionaryModel:
    """The n-grams with their decimal logarithms and back-off weights, as an ARPA file lists them."""

    def __init__(self, text: str) -> None:
        self.log10: dict[Words, float] = {}
        self.back_off: dict[Words, float] = {}
        length = 0
        for line in text.splitlines():
            if line.endswith("-grams:"):
                length = int(line[1 : line.index("-")])
            elif length and line and not line.startswith("\\"):
                fields = line.split()
                words = tuple(fields[1 : 1 + length])
                self.log10[words] = float(fields[0])
                self.back_off[words] = float(fields[1 + length]) if len(fields) > 1 + length else 0.0
        self.order = length
        self.words = [words[0] for words in self.log10 if len(words) == 1]

    def word_log10(self, history: Sequence[str], word: str) -> float:
        """log10 P(word | history): by the longest n-gram that is listed, and the weights of the longer histories."""
        word = word if (word,) in self.log10 else "<unk>"
        history = history[-(self.order - 1) :] if self.order > 1 else ()
        known = tuple(w if (w,) in self.log10 else "<unk>" for w in history)
        weight = 0.0
        while True:
            gram = (*known, word)
            if gram in self.log10:
                return weight + self.log10[gram]
            if not known:
                return -math.inf
            weight += self.back_off.get(known, 0.0)
            known = known[1:]

    def score(self, words: Sequence[str], *, bos: bool = True, eos: bool = True) -> float:
        """In nats."""
        sentence = ["<s>"] * bos + [*words] + ["</s>"] * eos
        total = sum(self.word_log10(sentence[:k], sentence[k]) for k in range(int(bos), len(sentence)))
        return total * math.log(10)
