"""The probability of a text: of all labellings that spell it, with any number of separators between, before and after;
or of a row of labels, without a separator.

It shares nothing with the library: a row of frames walks through a small automaton of labels, in float64.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

Rows = Sequence[Sequence[float]]  # [frame][class], log-probabilities
Words = Sequence[Sequence[int]]  # the classes of each word


def text_score(rows: Rows, words: Words, separator: int | None, blank: int, *, best_path: bool = False) -> float:
    """Log of the sum over all paths that spell the words, in nats; or the log-probability of the best one."""
    steps = _automaton(words, separator)
    last = len(steps) - 1
    ends_at = {last} if separator is None else {last, last - 1}
    scores: dict[tuple[int, int | None], float] = {(0, None): 0.0}  # by node, and the label of the frame before
    for row in rows:
        arriving: dict[tuple[int, int | None], list[float]] = {}
        for (node, label), score in scores.items():
            arriving.setdefault((node, None), []).append(score + row[blank])
            if label is not None:
                arriving.setdefault((node, label), []).append(score + row[label])
            for following, to in steps[node].items():
                if following != label:
                    arriving.setdefault((to, following), []).append(score + row[following])
        scores = {key: max(values) if best_path else _log_sum(values) for key, values in arriving.items()}
    ends = [score for (node, _), score in scores.items() if node in ends_at or not words]
    return -math.inf if not ends else max(ends) if best_path else _log_sum(ends)


def _automaton(words: Words, separator: int | None) -> list[dict[int, int]]:
    """The labels that may follow each node, and the nodes after them. The last two nodes end a text."""
    steps: list[dict[int, int]] = [{} if separator is None else {separator: 0}]
    for word in words:
        for label in word:
            steps[-1][label] = len(steps)
            steps.append({})
        if separator is not None:
            steps[-1][separator] = len(steps)
            steps.append({separator: len(steps)})
    return steps


def _log_sum(values: Sequence[float]) -> float:
    largest = max(values)
    return largest if largest == -math.inf else largest + math.log(math.fsum(math.exp(v - largest) for v in values))
