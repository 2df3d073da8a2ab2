"""Decode one item with several weights of a language model, and take the scores of its hypotheses apart."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np

from ctckit.corpus.decode_task import DecodeTask
from ctckit.corpus.decoders import CorpusDecoder
from ctckit.corpus.error_rates import comparison
from ctckit.corpus.errors import CorpusError, ItemError
from ctckit.corpus.hypothesis_pool import Hypotheses
from ctckit.corpus.manifest import Item
from ctckit.corpus.outcomes import Outcome
from ctckit.decoding.hypothesis import Decoding, Hypothesis
from ctckit.text.vocabulary import Vocabulary
from ctckit.text.word_roles import count_words, word_roles

__all__ = ["WeightJob", "WeightPoint", "WeightTask"]

_LEAST_WEIGHT: Final = 2.0**-20  # in place of 0: the model's log-probability is found by division


class WeightPoint(NamedTuple):
    """Weights, and the width of a beam."""

    lm_weight: float
    word_bonus: float
    beam_width: int | tuple[int, int]


@dataclass(frozen=True, slots=True)
class WeightJob(Item):
    """An item, and what to decode it with."""

    points: tuple[WeightPoint, ...] = ()
    is_kept: bool = False
    """Whether the hypotheses are wanted."""

    @classmethod
    def of(cls, item: Item, points: tuple[WeightPoint, ...], *, is_kept: bool) -> WeightJob:
        """Return an item with what to decode it with."""
        values = {field.name: getattr(item, field.name) for field in dataclasses.fields(Item)}
        return cls(**values, points=points, is_kept=is_kept)


@dataclass(frozen=True, kw_only=True)
class WeightTask(DecodeTask):
    """Decode an item with several weights, and count the errors of its hypotheses."""

    def _do(self, item: Item) -> Outcome:
        if not isinstance(item, WeightJob):
            raise CorpusError("an item of tuning says what to decode it with")
        vocabulary = self._needed_vocabulary()
        reference = self._reference(item, vocabulary) or ""
        emissions = self._emissions(item)
        decoder = self._decoder(vocabulary)
        parts = _Parts(reference, None if self.lm_unit == "token" else _roles(vocabulary))
        top: list[tuple[int, int]] = []
        kept: list[Hypotheses] = []
        for point in item.points:
            try:
                decoding = _at(decoder, point, self.nbest, is_kept=item.is_kept)(emissions)
            except CorpusError:
                raise
            except ValueError:
                self._raise_reasons(emissions, vocabulary)
                raise
            if decoding.problem is not None:
                raise ItemError("impossible_frame", decoding.problem)
            if item.is_kept:
                kept.append(parts.of(decoding, point))
            top.append(parts.facts(_best_of(decoding, self.nbest))[1:])
        sizes = comparison(reference, "")
        result: dict[str, Any] = {"sizes": (sizes["words"], sizes["characters"]), "errors": top, "hypotheses": kept}
        return Outcome(item.id, item.line, result, notes=decoder.notes)


class _Parts:
    """The parts of the scores of an item's hypotheses, and their errors.

    Args:
        reference: the text to compare with.
        roles: of the classes, see `count_words`; None if each class is a word.
    """

    def __init__(self, reference: str, roles: bytes | None) -> None:
        self._reference, self._roles = reference, roles
        self._facts: dict[tuple[int, ...], tuple[int, int, int]] = {}

    def facts(self, hypothesis: Hypothesis) -> tuple[int, int, int]:
        """Return the number of words, the errors in words, and those in characters."""
        tokens = hypothesis.tokens
        if tokens not in self._facts:
            words = len(tokens) if self._roles is None else count_words(tokens, self._roles)
            found = comparison(self._reference, hypothesis.text or "")
            self._facts[tokens] = (words, found["word_errors"], found["character_errors"])
        return self._facts[tokens]

    def of(self, decoding: Decoding, point: WeightPoint) -> Hypotheses:
        """Take the scores of all hypotheses apart."""
        found = decoding.nbest
        facts = np.array([self.facts(hypothesis) for hypothesis in found], np.int64)
        lm_scores = np.array([hypothesis.lm_score for hypothesis in found])
        scores = np.array([hypothesis.score for hypothesis in found], np.float64)
        words = facts[:, 0].astype(np.float64)
        return Hypotheses(
            keys=np.array([hash(hypothesis.tokens) for hypothesis in found], np.int64),
            base=scores - lm_scores - point.word_bonus * words,
            log_probs=lm_scores / max(point.lm_weight, _LEAST_WEIGHT),
            words=words,
            errors=facts[:, 1:],
        )


@functools.lru_cache(maxsize=2)
def _roles(vocabulary: Vocabulary) -> bytes:
    return word_roles(vocabulary).tobytes()


def _best_of(decoding: Decoding, nbest: int) -> Hypothesis:
    """Return the hypothesis that a search for `nbest` hypotheses would have found best."""
    by_beam = sorted(decoding.nbest, key=lambda hypothesis: -(hypothesis.beam_score or 0.0))
    return max(by_beam[:nbest], key=lambda hypothesis: hypothesis.score or 0.0)


def _at(decoder: CorpusDecoder, point: WeightPoint, nbest: int, *, is_kept: bool) -> CorpusDecoder:
    """Return a decoder with other weights. If hypotheses are kept, it returns all prefixes of the final beam."""
    options: Mapping[str, Any] = point._asdict()
    if is_kept:
        first = point.beam_width[0] if isinstance(point.beam_width, tuple) else point.beam_width
        options = {**options, "lm_weight": max(point.lm_weight, _LEAST_WEIGHT), "is_apart": True}
        return decoder.changed(**options, nbest=first)
    return decoder.changed(**options, nbest=nbest)
