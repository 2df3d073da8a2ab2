"""Scorers: what a hypothesis is scored by beside the emissions, such as a language model or a bias.

A scorer is a function F of the labels, in nats, that is added to the log-probability. It is 0 for no labels, each label
adds a gain, and the end adds a last gain. A gain depends on the labels before it through a state, a 32-bit integer,
never on frames. `Scorer` is the protocol; the same protocol in C++ is native/decoding/scorer.hpp.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from ctckit import backends
from ctckit.errors import ArgumentTypeError, ArgumentValueError
from ctckit.reference.decoding import LARGEST, Scorer

__all__ = ["Scored", "Scorer", "ScorerKind", "TokenBias", "checked_scorers"]

ScorerKind: TypeAlias = Literal["lm", "hotwords", "other"]
"""What a scorer's gains are counted as, in `ctckit.Hypothesis`."""

_States = npt.NDArray[np.int32]
_Gains = npt.NDArray[np.float64]

_LEAST_STATE: Final = -(2**31)
_LARGEST_STATE: Final = 2**31 - 1
_SHOWN: Final = 60  # characters of a wrong value


class TokenBias:
    """A scorer that adds a fixed bias to each class.

    It corrects a class that a model emits too rarely or too often, or adds a reward for each label.

    Args:
        biases: (C,) nats per class; a positive bias favours the class. -inf forbids it.

    Raises:
        ArgumentTypeError: if they are not numbers.
        ArgumentValueError: for another shape; for NaN and biases of 75 nats or more.

    Example:
        >>> import torch, ctckit
        >>> from ctckit.decoding.scorers import TokenBias
        >>> log_probs = torch.tensor([[0.3, 0.4, 0.3], [0.3, 0.3, 0.4]]).log()
        >>> ctckit.beam_search(log_probs).tokens, ctckit.beam_search(log_probs, scorers=[TokenBias([0, 0, 1])]).tokens
        ((1,), (2,))
    """

    def __init__(self, biases: Sequence[float] | npt.NDArray[np.floating[Any]]) -> None:
        try:
            values = np.array(biases, dtype=np.float64)
        except (TypeError, ValueError):
            raise ArgumentTypeError(
                f"biases is {biases!r}, but must be a list or an array of numbers, one per class"
            ) from None
        if values.ndim != 1:
            raise ArgumentValueError(f"biases has shape {values.shape}, but must be (C,), one number per class")
        wrong = np.flatnonzero(~(values < LARGEST))
        if len(wrong):
            raise ArgumentValueError(
                f"biases[{wrong[0]}] is {values[wrong[0]]}, but a bias must be a number below {LARGEST:g} nats"
            )
        self._biases = values
        if backends.available("cpu"):
            from ctckit import _core  # noqa: PLC0415  # it may be missing

            self.core = _core.TokenBias(values.tolist())
            """The same scorer in C++."""

    def initial(self) -> int:
        """Return the state of no labels: all states are 0."""
        return 0

    def advance(self, states: _States, tokens: _States) -> tuple[_Gains, _States]:  # noqa: ARG002  # the protocol
        """Return the biases of the tokens; 0 for classes beyond the biases."""
        known = np.asarray(tokens) < len(self._biases)
        gains = np.where(known, self._biases[np.where(known, tokens, 0)] if len(self._biases) else 0.0, 0.0)
        return gains, np.zeros(len(gains), dtype=np.int32)

    def finish(self, states: _States) -> _Gains:
        """Return no gain for the end."""
        return np.zeros(len(states))

    def largest_gain(self) -> float:
        """Return the largest bias, at least 0."""
        return max(0.0, float(self._biases.max(initial=0.0)))


class Scored(NamedTuple):
    """The scorers of a search, and the kind of each."""

    scorers: list[Scorer]
    kinds: tuple[ScorerKind, ...]

    @classmethod
    def by_others(cls, scorers: list[Scorer]) -> Scored:
        """Return the user's own scorers."""
        other: ScorerKind = "other"
        return cls(scorers, (other,) * len(scorers))

    def gain(self, kind: ScorerKind, gains: tuple[float, ...]) -> float:
        """Add up the gains of the scorers of a kind."""
        return sum((gain for gain, its in zip(gains, self.kinds, strict=True) if its == kind), 0.0)


class _Checked:
    """A user's scorer, whose results are checked and converted for the core."""

    def __init__(self, scorer: Scorer, name: str) -> None:
        self._scorer, self._name = scorer, name

    def initial(self) -> int:
        return int(self._states([self._scorer.initial()], "initial")[0])

    def advance(self, states: _States, tokens: _States) -> tuple[_Gains, _States]:
        states, tokens = np.asarray(states, dtype=np.int32), np.asarray(tokens, dtype=np.int32)
        found: Any = self._scorer.advance(states, tokens)
        if not isinstance(found, tuple) or len(found) != 2:
            raise ArgumentTypeError(f"{self._name}.advance must return a pair, the gains and the next states")
        after = self._states(found[1], "advance")
        if after.shape != states.shape:
            raise ArgumentValueError(
                f"{self._name}.advance returned states of shape {after.shape} for {len(states)} steps: return one each"
            )
        return self._gains(found[0], len(states), "advance"), after

    def finish(self, states: _States) -> _Gains:
        states = np.asarray(states, dtype=np.int32)
        return self._gains(self._scorer.finish(states), len(states), "finish")

    def largest_gain(self) -> float:
        found: Any = self._scorer.largest_gain()
        try:
            largest = float(found)
        except (TypeError, ValueError):
            raise ArgumentTypeError(f"{self._name}.largest_gain returned {found!r}, but must return nats") from None
        if math.isnan(largest):
            raise ArgumentValueError(f"{self._name}.largest_gain returned NaN, but must return nats, or inf")
        return largest

    def _states(self, values: Any, method: str) -> _States:
        states = np.asarray(values)
        if not states.size:
            return np.zeros(states.shape, dtype=np.int32)
        if states.dtype.kind not in "iu":  # whole numbers of more than 64 bits are objects
            raise ArgumentTypeError(
                f"{self._name}.{method} returned the states {_cut(values)}, but a state must be a whole number of 32 "
                f"bits"
            )
        least, largest = int(states.min()), int(states.max())
        if least < _LEAST_STATE or largest > _LARGEST_STATE:
            wrong = least if least < _LEAST_STATE else largest
            raise ArgumentValueError(
                f"{self._name}.{method} returned the state {wrong}, but a state must be a whole number of 32 bits"
            )
        return np.ascontiguousarray(states, dtype=np.int32)

    def _gains(self, values: Any, count: int, method: str) -> _Gains:
        try:
            gains = np.asarray(values, dtype=np.float64)
        except (TypeError, ValueError):
            raise ArgumentTypeError(
                f"{self._name}.{method} returned the gains {_cut(values)}, but must return an array of numbers"
            ) from None
        if gains.shape != (count,):
            raise ArgumentValueError(
                f"{self._name}.{method} returned gains of shape {gains.shape} for {count} states: return one each"
            )
        wrong = np.flatnonzero(~(gains < LARGEST))
        if len(wrong):
            raise ArgumentValueError(
                f"{self._name}.{method} returned the gain {gains[wrong[0]]}, but a gain must be below {LARGEST:g} nats"
            )
        return np.ascontiguousarray(gains)


def checked_scorers(scorers: Any) -> list[Scorer]:
    """Check that scorers have the methods of the protocol, and wrap those of users.

    Raises:
        ArgumentTypeError: if `scorers` is not a sequence of scorers.
    """
    if not isinstance(scorers, (tuple, list, Sequence)) or isinstance(scorers, str):
        raise ArgumentTypeError(f"scorers is a {type(scorers).__name__}, but must be a list or tuple of scorers")
    found: list[Scorer] = []
    for place, scorer in enumerate(scorers):
        if isinstance(scorer, type):
            raise ArgumentTypeError(f"scorers[{place}] is the class {scorer.__name__}: pass an object of it")
        missing = [
            name
            for name in ("initial", "advance", "finish", "largest_gain")
            if not callable(getattr(scorer, name, None))
        ]
        if missing:
            raise ArgumentTypeError(
                f"scorers[{place}] is a {type(scorer).__name__} without the method {missing[0]}: see "
                f"ctckit.decoding.scorers"
            )
        # (A subclass may have methods of its own, which the twin in C++ does not know.)
        found.append(scorer if type(scorer) is TokenBias else _Checked(scorer, f"scorers[{place}]"))
    return found


def _cut(values: Any) -> str:
    shown = repr(values)
    return shown if len(shown) <= _SHOWN else shown[: _SHOWN - 1] + "\N{HORIZONTAL ELLIPSIS}"
