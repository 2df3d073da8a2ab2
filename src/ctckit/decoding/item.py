"""One decoded item: what its hypotheses compute when they are asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor

from ctckit.alignment.text import align
from ctckit.backends.searches import Certificate, SearchResult
from ctckit.decoding.spelling import Spelling
from ctckit.errors import ArgumentValueError

if TYPE_CHECKING:
    from ctckit.output.alignment import Alignment
    from ctckit.text.vocabulary import Vocabulary

__all__ = ["Item", "NoItem"]

# The tolerance of the sum of a frame's probabilities. A frame of float16 or bfloat16 has rounding errors of this size.
_TOLERANCE: Final = {torch.float16: 0.01, torch.bfloat16: 0.05}
_TOLERANCE_OTHERS: Final = 1e-3

_Words = tuple[str, ...] | None


class NoItem:
    """An item that knows nothing: of a hypothesis that was made by hand."""

    lost: float | None = None
    certified: bool | None = None
    is_normalised = False
    log_beam_mass: float | None = None

    def spelt(self, _tokens: tuple[int, ...]) -> tuple[str | None, _Words]:
        """Return no text."""
        return None, None

    def alignment(self, _tokens: tuple[int, ...]) -> Alignment:
        """Raise an error: there are no emissions."""
        raise ArgumentValueError("this decoding has no emissions to align: decode the item again")


class Item:
    """One item's emissions and the result of its search.

    Args:
        emissions: returns the emissions, (T, C) on the CPU, a view of the batch.
        blank: class of the blank.
        logits: whether the emissions are logits.
        result: the result of its search; None for greedy decoding and for streams.
        exact: the exact scores of the first hypotheses of the search, in the order of the beam; empty without them.
        vocabulary: the vocabulary; None if there is none.
        spelling: spells the vocabulary's tokens; None without a vocabulary.
        frame_duration: seconds per frame; None if it is not known.
        log_beam_mass: log of the mass of the final beam, without a result.
    """

    def __init__(
        self,
        emissions: Callable[[], Tensor],
        *,
        blank: int,
        logits: bool,
        result: SearchResult | None = None,
        exact: tuple[float, ...] = (),
        vocabulary: Vocabulary | None = None,
        spelling: Spelling | None = None,
        frame_duration: float | None = None,
        log_beam_mass: float | None = None,
    ) -> None:
        self._emissions: Callable[[], Tensor] | None = emissions
        self._blank, self._logits, self._frame_duration = blank, logits, frame_duration
        self._result, self._exact = result, exact
        self._vocabulary, self._spelling = vocabulary, spelling
        self.rows: list[tuple[int, ...]] = []
        """The tokens of the item's hypotheses."""
        self._texts: dict[tuple[int, ...], tuple[str | None, _Words]] = {}
        self._alignments: dict[tuple[int, ...], Alignment] = {}
        self._certificate: Certificate | None = None
        self._is_certificate_known = False
        self.log_beam_mass = log_beam_mass if result is None else result.log_beam_mass
        self._align: Callable[[], Alignment] | None = None
        self._aligned: tuple[int, ...] | None = None  # the only tokens that can be aligned, if there are no emissions

    @property
    def _known(self) -> Certificate | None:
        """The certificate, computed when it is first asked for."""
        if not self._is_certificate_known and self._emissions is not None:
            if self._result is not None and self._result.certify is not None:
                self._certificate = self._result.certify(self._exact, _tolerance_of(self._emissions()))
            elif self._result is None and self.log_beam_mass is None:  # of greedy decoding
                self._certificate = Certificate(self._logits or _add_up(self._emissions()), None, is_proved=False)
            self._is_certificate_known = True
        return self._certificate

    @property
    def is_normalised(self) -> bool:
        """Whether the probabilities of every frame add up to 1, and the scores are log-probabilities alone."""
        return self._known is not None and self._known.is_normalised

    @property
    def lost(self) -> float | None:
        """See `ctckit.Decoding.lost`."""
        return None if self._known is None else self._known.lost

    @property
    def certified(self) -> bool | None:
        """See `ctckit.Decoding.certified`."""
        if self._known is None or not self._exact or not self._known.is_normalised:
            return None
        return self._known.is_proved

    def spelt(self, tokens: tuple[int, ...]) -> tuple[str | None, _Words]:
        """Return the text of tokens, and its words; None without a vocabulary."""
        if self._spelling is None and tokens not in self._texts:
            return None, None
        if tokens not in self._texts:
            assert self._spelling is not None  # noqa: S101  # for the type checker
            self._texts[tokens] = self._spelling.text_and_words(tokens)
        return self._texts[tokens]

    def alignment(self, tokens: tuple[int, ...]) -> Alignment:
        """Align tokens with the emissions, once."""
        if tokens not in self._alignments and self._aligned is not None and tokens != self._aligned:
            raise ArgumentValueError(
                "a stream has the times of the hypothesis that its search found best, but reranking has chosen "
                "another: decode all frames at once to align it"
            )
        if tokens not in self._alignments and self._align is not None:
            self._alignments[tokens] = self._align()
            self._align = None
        if tokens not in self._alignments:
            if self._emissions is None:
                raise ArgumentValueError(
                    "this copy of a decoding has no emissions: ask for the alignment before you copy or pickle it"
                )
            found: Any = align(
                self._emissions(),
                list(tokens),
                self._vocabulary,
                blank=self._blank,
                logits=self._logits,
                frame_duration=self._frame_duration,
            )
            self._alignments[tokens] = found
        return self._alignments[tokens]

    def align_by(self, tokens: tuple[int, ...], align: Callable[[], Alignment]) -> None:
        """Let a function make the alignment of some tokens. Others cannot be aligned then."""
        self._aligned, self._align = tokens, align

    def __getstate__(self) -> dict[str, Any]:
        """Leave the emissions, the search and the vocabulary out of copies; what they tell is computed before."""
        for tokens in self.rows:
            self.spelt(tokens)
        state = self.__dict__ | {"_certificate": self._known, "_is_certificate_known": True}
        return state | {"_align": None, "_emissions": None, "_result": None, "_vocabulary": None, "_spelling": None}


def _tolerance_of(emissions: Tensor) -> float:
    return _TOLERANCE.get(emissions.dtype, _TOLERANCE_OTHERS)


def _add_up(emissions: Tensor) -> bool:
    """Return whether the probabilities of every frame add up to 1."""
    off = emissions.double().logsumexp(1).expm1().abs()
    return bool((off <= _tolerance_of(emissions)).all())
