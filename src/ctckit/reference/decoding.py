"""Beam search for the most probable labellings, and greedy decoding, of one item: the definition of both.

A path has one class per frame. It spells a labelling: equal neighbours become one, then blanks go. The probability of
a labelling is the sum over all paths that spell it. Beam search follows Graves and Jaitly (2014), "Towards end-to-end
speech recognition with recurrent neural networks", and Hannun et al. (2014), "First-pass large vocabulary continuous
speech recognition using bi-directional recurrent DNNs".

**Masses.** A prefix p is the labelling of the frames so far. It has two masses: b(p) of its paths that end in the
blank, and n(p) of its other paths. total = b + n. The empty prefix starts with b = 1 and n = 0. In a frame with
probabilities P, for every p of the beam, with its last label l, its parent q (p without l), and labels c::

    stay      b'(p)   = total(p) * P(blank)
              n'(p)   = n(p) * P(l)                                   0 for the empty prefix
                        + enter(q, l)                                 if q is in the beam
    extend    n'(p c) = enter(p, c),  b'(p c) = 0                     if p c is not in the beam

    enter(p, c) = (m * P(c)) * exp(gain(p, c))                        gain: of the scorers, 0 without
                  with m = b(p) if c is the last label of p, else total(p)

So every prefix is in the beam once, and all its paths through the beam are added. Then prefixes of total 0 leave, and
the `beam_width` prefixes of the largest totals are kept.

**Order.** A larger total comes first. Of equal totals, a prefix that stays comes before a new one. Prefixes that stay
keep their order. New ones have the order of their parents, and of one parent the lower class comes first.

**Numbers.** Masses are float64, and every operation above is one rounding, in the order written. All masses have one
scale, a power of two that keeps the best total near 2^700. It rounds only what is below 2^-1022. A prefix some 1200
nats below the best becomes 0 and leaves. An emission below some -745 nats has the probability 0, as ``exp`` has.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from ctckit.errors import ArgumentValueError

Prefix = tuple[int, ...]

LARGEST: Final = 75.0
"""In nats. Emissions and gains are below it, so that no mass overflows: 801 + 2 * 75 / ln 2 < 1024 binary digits."""


class Entry(NamedTuple):
    """One labelling of the final beam."""

    tokens: Prefix
    """Its classes, without blanks."""
    score: float
    """In nats: log of the sum over its paths through the beam, plus what the scorers gain."""


class Scorer(Protocol):
    """A function f of labellings, in nats, that is added to the log-probability.

    f is 0 for the empty labelling, and each further token adds a gain, which depends on the state before it. The end
    adds a last gain. A state is an integer. A gain of -inf bars the labelling and all that begin with it.
    """

    def initial(self) -> int:
        """Give the state of the empty labelling."""

    def advance(self, states: Any, tokens: Any) -> tuple[Any, Any]:
        """(K,) states and the (K,) tokens that follow -> (K,) gains, and the (K,) states after them."""

    def finish(self, states: Any) -> Any:
        """(K,) states -> (K,) gains at the end of the labelling."""

    def largest_gain(self) -> float:
        """Give an upper bound of what `advance` gains. It may speed up a search; the definition does not need it."""


class _Mass(NamedTuple):
    """What the paths of one prefix add up to: those that end in the blank, and the others."""

    b: float
    n: float

    @property
    def total(self) -> float:
        return self.b + self.n


Beam = dict[Prefix, _Mass]  # in order, the best first


def beam_search(
    log_probs: Tensor | Sequence[Sequence[float]],
    *,
    beam_width: int,
    blank: int = 0,
    scorers: Sequence[Scorer] = (),
    exponential: Callable[[float], float] = math.exp,
    beam_threshold: float | None = None,
    token_threshold: float | None = None,
    blank_threshold: float | None = None,
) -> list[Entry]:
    """Find the most probable labellings by prefix search.

    It is exact if every frame has at most `beam_width` prefixes of a probability above 0, and no threshold is given:
    then the result has all labellings, and their scores are their log-probabilities plus the scorers' gains.

    Args:
        log_probs: (T, C) log-probabilities, read as float64; they need not be normalised.
        beam_width: how many prefixes are kept after each frame, at least 1.
        blank: the class of the blank.
        scorers: what is added to the log-probabilities; their gains are summed in this order.
        exponential: what turns emissions into probabilities and gains into factors, for comparisons with a kernel to
            the bit.
        beam_threshold: in nats. After each frame prefixes below best * exp(-beam_threshold) leave.
        token_threshold: classes of a lower probability make no new prefix. Prefixes of the beam are not affected, also
            where one is entered from another.
        blank_threshold: a frame whose blank has a higher probability applies only the blank: n' = 0 for all prefixes,
            and none is new.

    Returns:
        The final beam, the best first; empty if no prefix has mass after some frame. Without frames it is the empty
        labelling.

    Raises:
        ArgumentValueError: if an emission, or the gains of a step, are NaN or not below 75 nats.

    Example:
        >>> log_probs = torch.tensor([[0.6, 0.4], [0.6, 0.4]]).log()  # the best path spells nothing
        >>> for tokens, score in beam_search(log_probs, beam_width=4):
        ...     print(tokens, round(math.exp(score), 2))
        (1,) 0.64
        () 0.36
    """
    rows = _rows(log_probs, below=LARGEST)
    gains = _Gains(scorers, exponential)
    beam, exponent = _scaled({(): _Mass(1.0, 0.0)}, 0)
    for row in rows:
        p = [exponential(x) for x in row]
        if blank_threshold is not None and p[blank] > blank_threshold:
            beam = {prefix: _Mass(mass.total * p[blank], 0.0) for prefix, mass in beam.items()}
        else:
            labels = [c for c in range(len(p)) if c != blank and not p[c] < (token_threshold or 0.0)]
            beam = _frame(beam, p, blank, labels, gains)
        beam = _ranked(beam, beam_width)
        if beam and beam_threshold is not None:
            least = next(iter(beam.values())).total * math.exp(-beam_threshold)
            beam = {prefix: mass for prefix, mass in beam.items() if not mass.total < least}
        if not beam:
            return []
        beam, exponent = _scaled(beam, exponent)
    # The factor of the end is for the total: b and n are one from here on.
    beam = _ranked({prefix: _Mass(mass.total * gains.end(prefix), 0.0) for prefix, mass in beam.items()}, beam_width)
    return [Entry(prefix, math.log(mass.total) + exponent * math.log(2.0)) for prefix, mass in beam.items()]


def greedy(log_probs: Tensor | Sequence[Sequence[float]], blank: int = 0) -> tuple[Prefix, float]:
    """Find what the most probable path spells.

    Args:
        log_probs: (T, C) log-probabilities, read as float64.
        blank: the class of the blank.

    Returns:
        The labelling of the path that has the most probable class in each frame, the lowest of equally probable ones.
        And the path's score in nats, added up frame by frame: -inf if a frame has only -inf.

    Raises:
        ArgumentValueError: if an emission is NaN or +inf.

    Example:
        >>> tokens, path_score = greedy(torch.tensor([[0.4, 0.6], [0.3, 0.7], [0.9, 0.1]]).log())
        >>> tokens, round(math.exp(path_score), 3)
        ((1,), 0.378)
    """
    tokens: list[int] = []
    before, path_score = blank, 0.0
    for row in _rows(log_probs, below=math.inf):
        best = row.index(max(row))
        if best not in (before, blank):
            tokens.append(best)
        before = best
        path_score += row[best]
    return tuple(tokens), path_score


def _frame(beam: Beam, p: list[float], blank: int, labels: list[int], gains: _Gains) -> Beam:
    """One frame: the prefixes that stay, in their old order, and then the new ones, by parent and class."""

    def enter(parent: Prefix, c: int) -> float:
        mass = beam[parent]
        m = mass.b if parent[-1:] == (c,) else mass.total
        return (m * p[c]) * gains.step((*parent, c))

    stay: Beam = {}
    for prefix, mass in beam.items():
        n = mass.n * p[prefix[-1]] if prefix else 0.0
        if prefix and prefix[:-1] in beam:
            n = n + enter(prefix[:-1], prefix[-1])
        stay[prefix] = _Mass(mass.total * p[blank], n)
    new = {(*parent, c): _Mass(0.0, enter(parent, c)) for parent in beam for c in labels if (*parent, c) not in beam}
    return stay | new


def _ranked(candidates: Beam, width: int) -> Beam:
    """Keep those of the largest totals above 0, the largest first; equal ones keep their order."""
    alive = [(prefix, mass) for prefix, mass in candidates.items() if mass.total > 0.0]
    return dict(sorted(alive, key=lambda one: -one[1].total)[:width])


def _scaled(beam: Beam, exponent: int) -> tuple[Beam, int]:
    """Bring the best total to 2^700 <= total < 2^701 if it is not in 2^600 .. 2^801. True mass: mass * 2^exponent."""
    best = math.frexp(next(iter(beam.values())).total)[1] - 1
    if 600 <= best <= 800:
        return beam, exponent
    shift = 700 - best
    scaled = {prefix: _Mass(math.ldexp(mass.b, shift), math.ldexp(mass.n, shift)) for prefix, mass in beam.items()}
    return scaled, exponent - shift


class _Gains:
    """The factors exp(gain) of all scorers together, for prefixes whose parents were asked for before."""

    def __init__(self, scorers: Sequence[Scorer], exponential: Callable[[float], float]) -> None:
        self._scorers = scorers
        self._exponential = exponential
        self._states: dict[Prefix, list[int]] = {(): [scorer.initial() for scorer in scorers]}
        self._factors: dict[Prefix, float] = {}

    def step(self, prefix: Prefix) -> float:
        """Give the factor of the prefix's last token."""
        if prefix not in self._factors:
            gain, states = 0.0, []
            for scorer, state in zip(self._scorers, self._states[prefix[:-1]], strict=True):
                of_scorer, after = scorer.advance(np.array([state]), np.array([prefix[-1]]))
                gain += float(of_scorer[0])
                states.append(int(after[0]))
            self._factors[prefix], self._states[prefix] = self._exponential(_checked(gain, prefix)), states
        return self._factors[prefix]

    def end(self, prefix: Prefix) -> float:
        """Give the factor of the end after the prefix."""
        gain = 0.0
        for scorer, state in zip(self._scorers, self._states[prefix], strict=True):
            gain += float(scorer.finish(np.array([state]))[0])
        return math.exp(_checked(gain, prefix))


def _checked(gain: float, prefix: Prefix) -> float:
    if not gain < LARGEST:
        raise ArgumentValueError(
            f"scorers gain {gain} at the end of {list(prefix)}, but must gain less than {LARGEST:g}"
        )
    return gain


def _rows(log_probs: Tensor | Sequence[Sequence[float]], *, below: float) -> list[list[float]]:
    rows: list[list[float]] = torch.as_tensor(log_probs, dtype=torch.float64).tolist()
    for t, row in enumerate(rows):
        for c, value in enumerate(row):
            if not value < below:
                raise ArgumentValueError(
                    f"log_probs hold {value} in frame {t} for class {c}, but must be below {below:g} and not NaN: look "
                    f"for NaN and inf in what the model gives, and pass log-probabilities"
                )
    return rows
