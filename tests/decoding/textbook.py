"""The definition of beam search in arrays, for sizes at which `ctckit.reference.decoding` takes too long.

`test_search.py` shows that both give the same bits. It has no scorers.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from torch import Tensor

from ctckit import _core
from ctckit.reference.decoding import Prefix
from tests.decoding.problems import Beam

Numbers = npt.NDArray[np.float64]


class _State(NamedTuple):
    prefixes: list[Prefix]
    b: Numbers
    n: Numbers

    @property
    def total(self) -> Numbers:
        return self.b + self.n


def probabilities(log_probs: Tensor) -> Numbers:
    """(T, C) P of each frame and class."""
    return np.array([_exponentials(row) for row in log_probs.double().numpy()]).reshape(log_probs.shape)


def _exponentials(row: Numbers) -> Numbers:
    """e^x as the search computes it, the same for each instruction set."""
    values, places = np.unique(row, return_inverse=True)
    found: Numbers = np.array([_core.exponential(x) for x in values.tolist()])[places]
    return found


def probabilities_of_logits(logits: Tensor) -> Numbers:
    """(T, C) P of each frame and class, divided by their sum, which eight lanes add up."""
    table = np.empty(tuple(logits.shape))
    for t, row in enumerate(logits.double().tolist()):
        largest = max(row)
        p = [_core.exponential(x - largest) for x in row]
        lanes = [0.0] * 8
        for c, value in enumerate(p):
            lanes[c % 8] += value
        total = ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) + ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]))
        table[t] = np.array(p) * (1 / total)
    return table


def beam_search(
    probs: Numbers,
    *,
    beam_width: int,
    blank: int = 0,
    beam_threshold: float | None = None,
    token_threshold: float | None = None,
    blank_threshold: float | None = None,
) -> Beam:
    """See `ctckit.reference.decoding.beam_search`; of probabilities instead of their logs."""
    one, none = np.ones(1), np.zeros(1)
    beam, exponent = _scaled(_State([()], one, none), 0)
    for p in probs:
        if blank_threshold is not None and p[blank] > blank_threshold:
            total = beam.total * p[blank]
            beam = _kept(beam.prefixes, total, np.zeros_like(total), _best_first(total, beam_width), len(p))
        else:
            beam = _frame(beam, p, blank, token_threshold or 0.0, beam_width)
        if beam.prefixes and beam_threshold is not None:
            count = int((beam.total >= beam.total[0] * math.exp(-beam_threshold)).sum())
            beam = _State(beam.prefixes[:count], beam.b[:count], beam.n[:count])
        if not beam.prefixes:
            return []
        beam, exponent = _scaled(beam, exponent)
    scores = [math.log(total) + exponent * math.log(2.0) for total in beam.total.tolist()]
    return list(zip(beam.prefixes, scores, strict=True))


def _frame(beam: _State, p: Numbers, blank: int, token_floor: float, width: int) -> _State:
    places = {prefix: place for place, prefix in enumerate(beam.prefixes)}
    total, classes = beam.total, len(p)
    entered = total[:, None] * p
    for place, prefix in enumerate(beam.prefixes):
        if prefix:
            entered[place, prefix[-1]] = beam.b[place] * p[prefix[-1]]
    b = total * p[blank]
    n = np.zeros(len(total))
    for place, prefix in enumerate(beam.prefixes):
        if prefix:
            n[place] = beam.n[place] * p[prefix[-1]]
            parent = places.get(prefix[:-1])
            if parent is not None:
                n[place] = n[place] + entered[parent, prefix[-1]]
                entered[parent, prefix[-1]] = 0.0
    entered[:, p < token_floor] = 0.0
    entered[:, blank] = 0.0
    candidates = np.concatenate([b + n, entered.ravel()])
    return _kept(beam.prefixes, b, n, _best_first(candidates, width), classes, entered.ravel())


def _kept(
    prefixes: list[Prefix], b: Numbers, n: Numbers, order: Any, classes: int, new: Numbers | None = None
) -> _State:
    found, ending, others = [], [], []
    for place in order.tolist():
        if place < len(prefixes):
            found.append(prefixes[place])
            ending.append(b[place])
            others.append(n[place])
        else:
            assert new is not None
            parent, c = divmod(place - len(prefixes), classes)
            found.append((*prefixes[parent], c))
            ending.append(0.0)
            others.append(new[place - len(prefixes)])
    return _State(found, np.array(ending, dtype=np.float64), np.array(others, dtype=np.float64))


def _best_first(totals: Numbers, width: int) -> Any:
    """The places of the largest numbers above 0, the largest first; of equal ones the first."""
    least = np.partition(totals, len(totals) - width)[len(totals) - width] if len(totals) > width else 0.0
    places = np.flatnonzero((totals >= least) & (totals > 0))
    return places[np.argsort(-totals[places], kind="stable")][:width]


def _scaled(beam: _State, exponent: int) -> tuple[_State, int]:
    best = math.frexp(beam.total[0])[1] - 1
    if 600 <= best <= 800:
        return beam, exponent
    shift = 700 - best
    return _State(beam.prefixes, np.ldexp(beam.b, shift), np.ldexp(beam.n, shift)), exponent - shift
