"""Language models in Python with torchaudio's protocol, and the scorers that ask them."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from ctckit.text.word_roles import WordRole

__all__ = ["CTCDecoderLM", "CTCDecoderLMState", "LanguageModel", "TokenLMScorer", "WordLMScorer", "WordTable"]

_States = npt.NDArray[np.int32]
_Gains = npt.NDArray[np.float64]

_ROOT: Final = 0
_OUTSIDE: Final = -1
# (Plain numbers are quicker.)
_SEPARATES: Final = int(WordRole.SEPARATES)
_BREAKS: Final = int(WordRole.SEPARATES | WordRole.STARTS)
_ENDS: Final = int(WordRole.ENDS)


class CTCDecoderLMState:
    """A state of a language model: a node in a tree of what was said."""

    def __init__(self) -> None:
        self._children: dict[int, CTCDecoderLMState] = {}

    @property
    def children(self) -> dict[int, CTCDecoderLMState]:
        """The states after this one that were asked for, by index."""
        return self._children

    def child(self, usr_index: int) -> CTCDecoderLMState:
        """Return the state after this one and an index; it is made when it is first asked for."""
        if usr_index not in self._children:
            self._children[usr_index] = type(self)()
        return self._children[usr_index]

    def compare(self, state: CTCDecoderLMState) -> int:
        """Return 0 if two states are the same, else -1 or 1."""
        return 0 if self is state else -1 if id(self) < id(state) else 1


class LanguageModel(Protocol):
    """What a language model in Python has: torchaudio's ``CTCDecoderLM``, or any object with these methods."""

    def start(self, start_with_nothing: bool, /) -> Any:
        """Return the first state."""

    def score(self, state: Any, usr_token_idx: int, /) -> tuple[Any, float]:
        """Return the state after an index, and the index's score."""

    def finish(self, state: Any, /) -> tuple[Any, float]:
        """Return the last state, and the score of the end."""


class CTCDecoderLM:
    """A base for language models in Python."""

    def start(self, start_with_nothing: bool) -> Any:
        """Return the first state."""
        raise NotImplementedError

    def score(self, state: Any, usr_token_idx: int) -> tuple[Any, float]:
        """Return the state after an index, a token's or a word's, and the index's score."""
        raise NotImplementedError

    def finish(self, state: Any) -> tuple[Any, float]:
        """Return the last state, and the score of the end."""
        raise NotImplementedError


class _Memory:
    """Numbers a language model's states, and asks it for each step once."""

    def __init__(self, lm: LanguageModel) -> None:
        self._lm = lm
        self._lock = threading.RLock()
        self._states: list[Any] = []
        self._numbers: dict[int, int] = {}  # by the identity of states, which are kept
        self._steps: dict[tuple[int, int], tuple[float, int]] = {}
        self._ends: dict[int, float] = {}

    def start(self) -> int:
        with self._lock:
            return self._number(self._lm.start(False))

    def step(self, state: int, index: int) -> tuple[float, int]:
        with self._lock:
            if (state, index) not in self._steps:
                after, score = self._lm.score(self._states[state], index)
                self._steps[state, index] = float(score), self._number(after)
            return self._steps[state, index]

    def end(self, state: int) -> float:
        with self._lock:
            if state not in self._ends:
                self._ends[state] = float(self._lm.finish(self._states[state])[1])
            return self._ends[state]

    def _number(self, state: Any) -> int:
        if id(state) not in self._numbers:
            self._numbers[id(state)] = len(self._states)
            self._states.append(state)
        return self._numbers[id(state)]


class TokenLMScorer:
    """Scores tokens by a language model.

    Args:
        lm: the model; its indices are classes.
        weight: of its scores.
    """

    def __init__(self, lm: LanguageModel, weight: float) -> None:
        self._memory, self._weight = _Memory(lm), weight

    def initial(self) -> int:
        """Return the first state."""
        return self._memory.start()

    def advance(self, states: _States, tokens: _States) -> tuple[_Gains, _States]:
        """Return gains and the states after tokens."""
        steps = [self._memory.step(state, token) for state, token in zip(states.tolist(), tokens.tolist(), strict=True)]
        gains = [self._weight * score if self._weight else 0.0 for score, _ in steps]
        return np.array(gains), np.array([after for _, after in steps], dtype=np.int32)

    def finish(self, states: _States) -> _Gains:
        """Return the gains of the end."""
        return np.array([self._weight * self._memory.end(state) if self._weight else 0.0 for state in states.tolist()])

    def largest_gain(self) -> float:
        """Return that there is no bound."""
        return math.inf


class WordTable:
    """The words of a lexicon, as a trie of their spellings.

    Args:
        rows: the classes of each spelling, without separators.
        indices: its word, as the language model counts.
        unknown: index of other words.
        roles: the `WordRole` of each class.
    """

    def __init__(
        self, rows: Sequence[tuple[int, ...]], indices: Sequence[int], unknown: int, roles: npt.NDArray[np.uint8]
    ) -> None:
        self.unknown, self._roles = unknown, roles.tolist()
        self._children: list[dict[int, int]] = [{}]
        self._words: list[list[int]] = [[]]
        for row, index in zip(rows, indices, strict=True):
            node = _ROOT
            for clazz in row:
                if clazz not in self._children[node]:
                    self._children[node][clazz] = len(self._children)
                    self._children.append({})
                    self._words.append([])
                node = self._children[node][clazz]
            self._words[node].append(index)

    def role(self, token: int) -> int:
        """Return the role of a class."""
        return self._roles[token] if token < len(self._roles) else 0

    def child(self, node: int, token: int) -> int:
        """Return the node after a node and a class."""
        return self._children[node].get(token, _OUTSIDE)

    def words(self, node: int) -> list[int]:
        """Return the words that end in a node."""
        return [] if node == _OUTSIDE else self._words[node]


class WordLMScorer:
    """Scores the words of a lexicon by a language model, each at its end.

    Args:
        lm: the model; its indices are words.
        lexicon: the words.
        weight: of the model's scores.
        word_score: nats of each word of the lexicon.
        unk_score: nats of each other word; -inf for none.
    """

    def __init__(
        self, lm: LanguageModel, lexicon: WordTable, *, weight: float, word_score: float, unk_score: float
    ) -> None:
        self._memory, self._lexicon = _Memory(lm), lexicon
        self._weight, self._word_score, self._unk_score = weight, word_score, unk_score
        self._pairs: list[tuple[int, int]] = []  # of a state: the model's, and the node
        self._numbers: dict[tuple[int, int], int] = {}
        self._lock = threading.RLock()

    def initial(self) -> int:
        """Return the first state."""
        return self._number(self._memory.start(), _ROOT)

    def advance(self, states: _States, tokens: _States) -> tuple[_Gains, _States]:
        """Return gains and the states after tokens."""
        steps = [self._step(state, token) for state, token in zip(states.tolist(), tokens.tolist(), strict=True)]
        return np.array([gain for gain, _ in steps]), np.array([after for _, after in steps], dtype=np.int32)

    def finish(self, states: _States) -> _Gains:
        """Return the gains of the end."""
        gains = []
        for state in states.tolist():
            before, node = self._pairs[state]
            gain, after = self._word_end(before, node)
            gains.append(gain + (self._weight * self._memory.end(after) if self._weight else 0.0))
        return np.array(gains)

    def largest_gain(self) -> float:
        """Return that there is no bound."""
        return math.inf

    def _number(self, state: int, node: int) -> int:
        with self._lock:
            if (state, node) not in self._numbers:
                self._numbers[state, node] = len(self._pairs)
                self._pairs.append((state, node))
            return self._numbers[state, node]

    def _step(self, number: int, token: int) -> tuple[float, int]:
        state, node = self._pairs[number]
        role = self._lexicon.role(token)
        gain = 0.0
        if role & _BREAKS:
            gain, state = self._word_end(state, node)
            node = _ROOT
        if role & _SEPARATES:
            return gain, self._number(state, node)
        if node != _OUTSIDE:
            node = self._lexicon.child(node, token)
            gain += self._unk_score if node == _OUTSIDE else 0.0
        if role & _ENDS:
            more, state = self._word_end(state, node)
            gain, node = gain + more, _ROOT
        return gain, self._number(state, node)

    def _word_end(self, state: int, node: int) -> tuple[float, int]:
        """Return the gain of a word that ends, and the model's state after it: the best of words spelt alike."""
        if node == _ROOT:
            return 0.0, state
        words = self._lexicon.words(node)
        if not words:
            score, after = self._memory.step(state, self._lexicon.unknown)
            outside = 0.0 if node == _OUTSIDE else self._unk_score
            return outside + (self._weight * score if self._weight else 0.0), after
        score, after = max((self._memory.step(state, word) for word in words), key=lambda step: step[0])
        return self._word_score + (self._weight * score if self._weight else 0.0), after
