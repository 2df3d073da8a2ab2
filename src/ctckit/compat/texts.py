"""The search of a pyctcdecode decoder: from logits to texts, each with its score and the frames of its words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ctckit.backends.searches import SearchOptions
from ctckit.compat.alphabet import Alphabet
from ctckit.compat.paths import best_paths, log_likelihoods
from ctckit.decoding.arguments import gate, widths
from ctckit.decoding.beam import search_batch
from ctckit.decoding.hypothesis import Decoding
from ctckit.decoding.scorers import Scored
from ctckit.errors import ArgumentTypeError, ArgumentValueError
from ctckit.lattice.plausibility import are_probabilities

__all__ = ["Limits", "ScoredText", "TextSearch"]

_EXACT: Final = 16  # hypotheses of the beam whose log-probabilities are exact
_LEAST_THRESHOLD: Final = 1e-9  # nats
_MOST_AT_ONCE: Final = 64  # items of a batch, which is padded
_ROUNDING: Final = 1e-4  # nats


class Limits(NamedTuple):
    """What bounds a search."""

    beam_width: int
    beam_prune_logp: float
    token_min_logp: float

    def check(self) -> Limits:
        """Check the limits. Log-probabilities above 0 become 0.

        Raises:
            ArgumentTypeError: for a limit of the wrong type.
            ArgumentValueError: for a width below 1, and for NaN.
        """
        width = widths(self.beam_width, 1)[0]
        names = ("beam_prune_logp", "token_min_logp")
        return Limits(width, *(_log_probability(getattr(self, name), name) for name in names))

    def options(self, blank: int) -> SearchOptions:
        """Return the search's options, without a threshold of classes."""
        options = SearchOptions(blank, self.beam_width, self.beam_width, logits=True, rescore=False)
        if self.beam_prune_logp == -math.inf:
            return options
        return options._replace(beam_threshold=max(-self.beam_prune_logp, _LEAST_THRESHOLD))

    def token_threshold(self, logits: Tensor) -> float | None:
        """Return the probability below which classes make no new prefix: the best class of every frame may."""
        if self.token_min_logp == -math.inf or not logits.numel():
            return None
        x = logits if logits.dtype == torch.float64 else logits.float()
        weakest = float((x.amax(1) - x.logsumexp(1)).amin())  # of the best classes
        return math.exp(weakest - _ROUNDING if weakest < self.token_min_logp else self.token_min_logp)


class ScoredText(NamedTuple):
    """One text, with the best of its spellings."""

    words: tuple[str, ...]
    tokens: tuple[int, ...]
    acoustic_score: float
    score: float

    @property
    def text(self) -> str:
        """The words, with spaces between."""
        return " ".join(self.words)


class TextSearch:
    """Searches logits for texts.

    Args:
        alphabet: the labels.
    """

    def __init__(self, alphabet: Alphabet) -> None:
        self._alphabet = alphabet

    def checked(self, logits: Any) -> Tensor:
        """Return an item's logits as a tensor on the CPU.

        Raises:
            ArgumentValueError: for another shape than (T, C), and for probabilities.
        """
        x = logits if isinstance(logits, Tensor) else torch.from_numpy(np.array(logits))
        classes = len(self._alphabet.labels)
        if x.ndim != 2 or x.shape[1] != classes:
            raise ArgumentValueError(
                f"logits has shape {tuple(x.shape)}, but must be (T, {classes}): frames, and the {classes} labels"
            )
        x = x.detach().cpu()
        if len(x) and float(x[0].amin()) >= 0 and are_probabilities(x):
            raise ArgumentValueError(
                "logits are probabilities, but must be logits or log-probabilities: pass their logarithms"
            )
        return x

    def decode(self, items: Sequence[Tensor], limits: Limits, scored: Scored) -> list[list[ScoredText]]:
        """Return the texts of items, the best first. Each item has the same result as alone.

        Raises:
            ArgumentTypeError: as `ctckit.beam_search`.
            ArgumentValueError: as `ctckit.beam_search`; for an item that has no text.
        """
        options = limits.options(self._alphabet.blank)
        thresholds = [limits.token_threshold(item) for item in items]
        found: dict[int, Decoding] = {}
        for threshold in dict.fromkeys(thresholds):  # nearly always one
            group = [number for number, own in enumerate(thresholds) if own == threshold]
            own = options._replace(token_threshold=threshold)
            for first in range(0, len(group), _MOST_AT_ONCE):
                numbers = group[first : first + _MOST_AT_ONCE]
                found |= zip(numbers, _searched([items[number] for number in numbers], own, scored), strict=True)
        return [self._texts(found[number], item, limits.beam_prune_logp) for number, item in enumerate(items)]

    def _texts(self, decoding: Decoding, logits: Tensor, prune: float) -> list[ScoredText]:
        """Join the hypotheses that spell the same text, and leave out those far below the best."""
        if not decoding.nbest:
            raise ArgumentValueError(f"logits have no text: {decoding.problem}")
        first = [hypothesis.tokens for hypothesis in decoding.nbest[:_EXACT]]
        exact = log_likelihoods(logits.double().log_softmax(1), first, self._alphabet.blank)
        by_words: dict[tuple[str, ...], list[ScoredText]] = {}
        for place, hypothesis in enumerate(decoding.nbest):
            words = self._alphabet.words(hypothesis.tokens)
            acoustic = exact[place] if place < len(exact) else hypothesis.acoustic_score or 0.0
            score = acoustic + hypothesis.lm_score + hypothesis.hotword_score
            by_words.setdefault(words, []).append(ScoredText(words, hypothesis.tokens, acoustic, score))
        texts = [
            max(same, key=lambda text: text.score)._replace(
                acoustic_score=_log_sum([text.acoustic_score for text in same]),
                score=_log_sum([text.score for text in same]),
            )
            for same in by_words.values()
        ]
        texts.sort(key=lambda text: -text.score)
        return [text for text in texts if text.score >= texts[0].score + prune]

    def word_frames(self, logits: Any, texts: Sequence[ScoredText]) -> list[list[tuple[str, tuple[int, int]]]]:
        """Return the words of texts, each with its first frame and the one after its last."""
        paths = best_paths(self.checked(logits), [text.tokens for text in texts], self._alphabet.blank)
        found = []
        for text, path in zip(texts, paths, strict=True):
            frames: dict[int, tuple[int, int]] = {}
            for token, word in enumerate(self._alphabet.word_numbers(text.tokens)):
                if word is not None:
                    frames[word] = frames.get(word, (path.starts[token], 0))[0], path.ends[token]
            found.append(list(zip(text.words, frames.values(), strict=True)))
        return found


def _searched(items: list[Tensor], options: SearchOptions, scored: Scored) -> list[Decoding]:
    emissions = gate(pad_sequence(items, batch_first=True), [len(item) for item in items], batch_first=True)
    found = search_batch(emissions, options, options.width, scored, "raise", {})
    return [decoding for decoding in found if decoding is not None]  # (all of them)


def _log_probability(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.floating, np.integer)):
        raise ArgumentTypeError(f"{name} is {value!r}, a {type(value).__name__}, but must be a number")
    if math.isnan(value):
        raise ArgumentValueError(f"{name} is NaN, but must be a log-probability")
    return min(0.0, float(value))


def _log_sum(values: Sequence[float]) -> float:
    largest = max(values)
    return largest if len(values) == 1 else largest + math.log(sum(math.exp(value - largest) for value in values))
