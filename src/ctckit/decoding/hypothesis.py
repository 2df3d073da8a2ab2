"""The results of decoding: a `Decoding` for each item, with its `Hypothesis` list.

What takes time and is not always wanted is computed when it is first asked for: texts, the certificate, confidences,
the alignment. Until then a decoding refers to the item's emissions, without a copy.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ctckit.decoding.item import Item, NoItem
from ctckit.decoding.rerank import new_confidences, new_gains
from ctckit.decoding.table import table
from ctckit.output import json_values

if TYPE_CHECKING:
    from ctckit.output.alignment import Alignment

__all__ = ["Decoding", "Hypothesis"]


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """One labelling of an item, with its scores."""

    tokens: tuple[int, ...]
    """Its classes, without blanks."""
    score: float | None
    """Acoustic score plus what scorers and reranking gain, in nats. None for greedy decoding without ``rescore``."""
    acoustic_score: float | None
    """Log of the probability of the labelling: the sum over all its alignments, in nats. It is minus the CTC loss if
    `exact`; else the sum over the alignments that the search has kept."""
    lm_score: float = 0.0
    """The part of the score that language models gave."""
    hotword_score: float = 0.0
    """The part of the score that hotwords gave."""
    exact: bool = False
    """Whether `acoustic_score` is exact."""
    beam_score: float | None = None
    """Log of the mass in the beam, with the scorers' gains, in nats; None for greedy decoding."""
    rerank_score: float | None = None
    """The part of the score that `Decoding.rerank` gave; None without."""
    _item: Item | NoItem = field(default_factory=NoItem, compare=False, repr=False)
    _confidence: float | None = field(default=None, compare=False, repr=False)  # of a reranked hypothesis

    @property
    def text(self) -> str | None:
        """What the tokens spell; None without a vocabulary."""
        return self._item.spelt(self.tokens)[0]

    @property
    def words(self) -> tuple[str, ...] | None:
        """The words of the text; None without a vocabulary, empty if the vocabulary does not show them."""
        return self._item.spelt(self.tokens)[1]

    @property
    def confidence(self) -> float | None:
        """Probability of the hypothesis, from 0 to 1.

        Without scorers, on normalised emissions, it is the probability of the labelling. Else it is the share of the
        hypothesis within the final beam. None for greedy decoding without ``rescore``.

        `Decoding.rerank` multiplies the confidences of the list by e to what the hypotheses gain, and scales them so
        that their sum stays.
        """
        if self.rerank_score is not None:
            return self._confidence
        if self.acoustic_score is None:
            return None
        if self._item.is_normalised:
            return min(1.0, math.exp(self.acoustic_score))
        if self.beam_score is None or self._item.log_beam_mass is None:
            return None
        return min(1.0, math.exp(self.beam_score - self._item.log_beam_mass))

    def to_dict(self) -> dict[str, Any]:
        """Return the hypothesis as plain values, without fields that are None."""
        names = ("text", "tokens", "words", "score", "acoustic_score", "lm_score", "hotword_score", "rerank_score")
        values = {name: getattr(self, name) for name in (*names, "exact", "confidence")}
        return {name: list(x) if isinstance(x, tuple) else x for name, x in values.items() if x is not None}


@dataclass(frozen=True, slots=True, repr=False)
class Decoding:
    """What was said in an item: the best hypothesis and the next best ones.

    Printed, it is a table of the hypotheses.

    Example:
        >>> import torch, ctckit
        >>> log_probs = torch.tensor([[0.6, 0.4], [0.6, 0.4]]).log()
        >>> decoding = ctckit.Decoder(["-", "a"], nbest=2)(log_probs)
        >>> decoding.text, round(decoding.confidence, 2), decoding.certified
        ('a', 0.64, True)
        >>> [(hypothesis.text, round(hypothesis.score, 2)) for hypothesis in decoding.nbest]
        [('a', -0.45), ('', -1.02)]
    """

    nbest: tuple[Hypothesis, ...]
    """The hypotheses, the best first; empty if nothing has mass."""
    path_score: float | None = None
    """Log-probability of the most probable path, in nats; greedy decoding only."""
    problem: str | None = None
    """Why there is no hypothesis, in words; None if there is one."""
    _item: Item | NoItem = field(default_factory=NoItem, compare=False)

    @property
    def _best(self) -> Hypothesis:
        return self.nbest[0] if self.nbest else Hypothesis((), -math.inf, -math.inf, _item=self._item)

    @property
    def tokens(self) -> tuple[int, ...]:
        """The classes of the best hypothesis, without blanks."""
        return self._best.tokens

    @property
    def text(self) -> str | None:
        """What the tokens spell; None without a vocabulary."""
        return self._best.text

    @property
    def words(self) -> tuple[str, ...] | None:
        """The words of the text; None without a vocabulary."""
        return self._best.words

    @property
    def score(self) -> float | None:
        """The best hypothesis' score, in nats: see `Hypothesis`. -inf if nothing has mass."""
        return self._best.score

    @property
    def acoustic_score(self) -> float | None:
        """The best hypothesis' acoustic score, in nats: see `Hypothesis`."""
        return self._best.acoustic_score

    @property
    def lm_score(self) -> float:
        """The part of the score that language models gave."""
        return self._best.lm_score

    @property
    def hotword_score(self) -> float:
        """The part of the score that hotwords gave."""
        return self._best.hotword_score

    @property
    def rerank_score(self) -> float | None:
        """The part of the score that `rerank` gave; None without."""
        return self._best.rerank_score

    @property
    def exact(self) -> bool:
        """Whether the acoustic scores are exact."""
        return self._best.exact

    @property
    def confidence(self) -> float | None:
        """Probability of the best hypothesis: see `Hypothesis`."""
        return self._best.confidence if self.nbest else None

    @property
    def lost(self) -> float | None:
        """The share of the probability of all labellings that the search has lost by pruning, from 0 to 1.

        None with scorers, for greedy decoding and for streams; and for emissions of which some frame's probabilities
        add up to more than e^60 or less than e^-554.
        """
        return self._item.lost

    @property
    def certified(self) -> bool | None:
        """Whether the best hypothesis is proved to be the most probable of all labellings.

        True is a proof, up to rounding errors of 4e-15 per frame. False says that there is no proof: the hypothesis may
        still be the best. None where nothing can be said: without exact scores; if the probabilities of a frame do not
        add up to 1; with scorers; for greedy decoding and for streams; after `rerank`.
        """
        return None if self.rerank_score is not None else self._item.certified

    @property
    def alignment(self) -> Alignment:
        """The frames and seconds of each token and word of the best hypothesis: see `ctckit.align`.

        Raises:
            ValueError: if nothing has mass; for a copy or a pickle that was made before the alignment was computed; for
                a stream's decoding, if `rerank` has changed the best hypothesis.
        """
        if self.problem is not None:
            raise ValueError(f"there is no hypothesis to align: {self.problem}")
        return self._item.alignment(self.tokens)

    def rerank(self, function: Callable[[list[Hypothesis]], Any], weight: float = 1.0) -> Decoding:
        """Rank the hypotheses anew, by their scores plus what a function gives them.

        The function may be slow, such as a large neural model: it is called once, with all hypotheses, and not during
        the search. So it can only choose among the hypotheses that the search has found: ask for many (`nbest`).

        Args:
            function: takes the hypotheses and returns a number for each, in nats: a list, an array or a tensor (K,).
                The larger, the better; -inf puts a hypothesis last.
            weight: of these numbers, from 0.

        Returns:
            A decoding of the same hypotheses, sorted by `score` + `weight` * function; equal ones keep their order. The
            sum is the new `score`, and what was added is `rerank_score`. `confidence` is shared out anew (see
            `Hypothesis`), `certified` is None, and other fields stay.

        Raises:
            ArgumentTypeError: for a function that cannot be called, or returns no numbers; for a weight that is no
                number.
            ArgumentValueError: if the function returns NaN or +inf, with the hypothesis, or not one number each; for a
                weight below 0, infinite or NaN; for greedy decoding without ``rescore``, which has no scores.

        Example:
            >>> import torch, ctckit
            >>> log_probs = torch.tensor([[0.1, 0.5, 0.4]]).log()
            >>> decoding = ctckit.Decoder(["-", "a", "b"], nbest=2)(log_probs)
            >>> model = {"a": -2.0, "b": -1.0}
            >>> new = decoding.rerank(lambda hypotheses: [model[one.text] for one in hypotheses], weight=0.5)
            >>> decoding.text, new.text, new.rerank_score
            ('a', 'b', -0.5)
        """
        gains = new_gains(self.nbest, function, weight)
        confidences = new_confidences([hypothesis.confidence for hypothesis in self.nbest], gains)
        hypotheses = [
            replace(
                hypothesis,
                score=(hypothesis.score or 0.0) + gain,
                rerank_score=(hypothesis.rerank_score or 0.0) + gain,
                _confidence=confidence,
            )
            for hypothesis, gain, confidence in zip(self.nbest, gains, confidences, strict=True)
        ]
        hypotheses.sort(key=lambda hypothesis: -(hypothesis.score or 0.0))
        return replace(self, nbest=tuple(hypotheses))

    def to_dict(self) -> dict[str, Any]:
        """Return the decoding as plain values, without fields that are None."""
        if self.problem is not None:
            return {"text": self.text or "", "tokens": [], "problem": self.problem}
        values = {"path_score": self.path_score, "lost": self.lost, "certified": self.certified}
        found = self._best.to_dict() | {name: value for name, value in values.items() if value is not None}
        if len(self.nbest) > 1:
            found["nbest"] = [hypothesis.to_dict() for hypothesis in self.nbest]
        return found

    def to_json(self, *, indent: int | None = None) -> str:
        """Return `to_dict` as JSON."""
        return json_values.json_text(self.to_dict(), indent) + "\n"

    def __repr__(self) -> str:
        return table(self)
