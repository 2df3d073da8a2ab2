"""`Decoder`: from a model's output to text."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import partial
from typing import Any

from torch import Tensor

from ctckit.alignment.arguments import check_options
from ctckit.backends.searches import SearchOptions
from ctckit.decoding.arguments import BeamWidth, Invalid, Pruning, check_invalid, gate, widths
from ctckit.decoding.beam import search_batch
from ctckit.decoding.hotwords import Hotwords
from ctckit.decoding.hypothesis import Decoding
from ctckit.decoding.knowledge import Knowledge, LMUnit, Weights
from ctckit.decoding.lexicon import LexiconSource
from ctckit.decoding.scorers import Scorer, checked_scorers
from ctckit.decoding.spelling import Spelling
from ctckit.decoding.stream import Stream
from ctckit.lattice import Lengths, checked_blank
from ctckit.text.blank import blank_of
from ctckit.text.vocabulary import Vocabulary

__all__ = ["Decoder"]


class Decoder:
    """Decodes a model's output to text, by the beam search of `ctckit.beam_search`.

    Args:
        vocabulary: the class of each token: what `ctckit.Vocabulary` takes, or such a vocabulary.
        beam_width: as for `ctckit.beam_search`.
        nbest: how many hypotheses are returned, at most `beam_width`.
        blank: class of the blank. None for the vocabulary's blank (see `ctckit.Vocabulary`), else the last class if the
            emissions have one class more than the vocabulary, else 0.
        logits: whether the emissions are logits.
        frame_duration: seconds per frame, for the times of `Decoding.alignment`.
        rescore: as for `ctckit.beam_search`.
        beam_threshold: as for `ctckit.beam_search`.
        token_threshold: as for `ctckit.beam_search`.
        blank_threshold: as for `ctckit.beam_search`.
        invalid: as for `ctckit.beam_search`.
        lm: an n-gram model, a `ctckit.NGram` or its path; None for none.
        lm_unit: "word", or "token" if the model's words are the vocabulary's tokens.
        lm_weight: weight of the model's log-probabilities (natural logarithms).
        word_bonus: nats for each word, or for each token with ``lm_unit="token"``; only with an `lm`.
        unknown_score: nats for a word that is in no lexicon, or for a token that the model does not have, besides what
            the model gives to ``<unk>``; and for a word of the lexicon that a model without ``<unk>`` does not have.
            -inf forbids them.
        lexicon: the words that are possible, see `ctckit.decoding.lexicon`: a path, a list of words, or a dict from
            words to spellings. None for the model's words.
        open_lexicon: whether other words are possible, too.
        hotwords: phrases that gain their weight wherever they occur: a dict from phrases to nats, or a list.
        hotword_weight: nats of each phrase of a list.
        scorers: as for `ctckit.beam_search`.

    Attributes:
        vocabulary: the `ctckit.Vocabulary`.

    Raises:
        ArgumentTypeError: for an argument of the wrong type.
        ArgumentValueError: for an argument of a wrong value; for a blank that contradicts the vocabulary.

    Example:
        >>> import torch, ctckit
        >>> decoder = ctckit.Decoder(["<pad>", "|", "C", "A", "T"], frame_duration=0.02)
        >>> path = [0, 2, 2, 0, 3, 4, 4, 1, 0, 3, 0, 0]
        >>> decoding = decoder((6.0 * torch.nn.functional.one_hot(torch.tensor(path), 5)).log_softmax(1))
        >>> decoding.text, decoding.words
        ('CAT A', ('CAT', 'A'))
        >>> [(word.text, word.start_time, word.end_time) for word in decoding.alignment.words]
        [('CAT', 0.02, 0.14), ('A', 0.18, 0.2)]
    """

    def __init__(
        self,
        vocabulary: Any,
        *,
        beam_width: BeamWidth = 16,
        nbest: int = 1,
        blank: int | None = None,
        logits: bool = False,
        frame_duration: float | None = None,
        rescore: bool = True,
        beam_threshold: float | None = None,
        token_threshold: float | None = None,
        blank_threshold: float | None = None,
        invalid: Invalid = "raise",
        lm: Any = None,
        lm_unit: LMUnit = "word",
        lm_weight: float = 0.5,
        word_bonus: float = 1.5,
        unknown_score: float = -10.0,
        lexicon: LexiconSource | None = None,
        open_lexicon: bool = False,
        hotwords: Hotwords | None = None,
        hotword_weight: float = 10.0,
        scorers: Sequence[Scorer] = (),
    ) -> None:
        self.vocabulary = vocabulary if isinstance(vocabulary, Vocabulary) else Vocabulary(vocabulary)
        check_invalid(invalid)
        check_options("viterbi", "raise", frame_duration, 0.0)
        likely_blank = blank_of(self.vocabulary, None, blank)
        first, self._largest, hypotheses = widths(beam_width, nbest)
        pruning = Pruning(beam_threshold, token_threshold, blank_threshold).check()
        # (The blank is known when the emissions are.)
        self._options = SearchOptions(0, first, hypotheses, logits, rescore, *pruning)
        self._blank, self._frame_duration, self._invalid = blank, frame_duration, invalid
        self._knowledge = Knowledge(
            self.vocabulary,
            lm=lm,
            lm_unit=lm_unit,
            lexicon=lexicon,
            open_lexicon=open_lexicon,
            hotwords=hotwords,
            weights=Weights(lm_weight, word_bonus, unknown_score, hotword_weight),
            scorers=checked_scorers(scorers),
        )
        # (Without a known blank the emissions will tell.)
        self._known_blank = None if blank is None and self.vocabulary.blank is None else likely_blank
        if self._known_blank is not None:
            self._knowledge.scored(self._known_blank)
        self._spelling = Spelling(self.vocabulary)

    def __call__(
        self,
        log_probs: Tensor,
        input_lengths: Lengths = None,
        *,
        batch_first: bool = True,
        hotwords: Hotwords | None = None,
    ) -> Decoding | list[Decoding | None] | None:
        """Decode one item or a batch.

        Args:
            log_probs: as for `ctckit.beam_search`.
            input_lengths: as for `ctckit.beam_search`.
            batch_first: whether the batch is the first dimension of `log_probs`.
            hotwords: as for the decoder, in place of the decoder's.

        Returns:
            A `Decoding`, or a list of them for a batch. With ``invalid="none"``, None for items that hold NaN or +inf.

        Raises:
            ArgumentTypeError: as `ctckit.beam_search`.
            ArgumentValueError: as `ctckit.beam_search`; for emissions with fewer classes than the vocabulary.
        """
        emissions = gate(log_probs, input_lengths, batch_first=batch_first)
        options = self._options_for(emissions.values.shape[2])
        scored = self._knowledge.scored(options.blank, hotwords)
        results = search_batch(emissions, options, self._largest, scored, self._invalid, self._item_options)
        return results if emissions.batched else results[0]

    def stream(self, *, hotwords: Hotwords | None = None) -> Stream:
        """Start to decode a signal that comes piece by piece.

        Args:
            hotwords: as for the decoder, in place of the decoder's.

        Example:
            >>> import torch, ctckit
            >>> stream = ctckit.Decoder(["-", "a", "b"]).stream()
            >>> log_probs = (9.0 * torch.eye(3)[[1, 1, 0, 2, 2, 0]]).log_softmax(1)
            >>> for chunk in log_probs.split(2):
            ...     stream.push(chunk)
            ...     print(stream.text)
            a
            ab
            ab
            >>> stream.finish().text
            'ab'
        """
        if self._known_blank is not None and hotwords is not None:
            self._knowledge.scored(self._known_blank, hotwords)  # an error is one of this call
        needed = max(self.vocabulary.size, self.vocabulary.classes_needed, 1 + (self._blank or 0))
        scored_for = partial(self._knowledge.scored, hotwords=hotwords)
        return Stream(self._options_for, scored_for, self.vocabulary, self._spelling, self._frame_duration, needed)

    def replace(
        self,
        *,
        lm_weight: float,
        word_bonus: float,
        beam_width: BeamWidth,
        nbest: int,
        is_apart: bool = False,
    ) -> Decoder:
        """Return a decoder with other weights and another beam. What has been loaded and spelt is shared.

        Args:
            lm_weight: as for the decoder.
            word_bonus: as for the decoder.
            beam_width: as for the decoder.
            nbest: as for the decoder.
            is_apart: whether `Hypothesis.lm_score` is `lm_weight` times the model's log-probability alone. Word bonus
                and `unknown_score` are then in the score, but in no part of it.

        Raises:
            ArgumentTypeError: as for the decoder.
            ArgumentValueError: as for the decoder.
        """
        made = copy.copy(self)
        first, largest, hypotheses = widths(beam_width, nbest)
        vars(made).update(
            _knowledge=self._knowledge.reweighted(lm_weight, word_bonus, is_apart=is_apart),
            _options=self._options._replace(width=first, hypotheses=hypotheses),
            _largest=largest,
        )
        return made

    def prepare(self, classes: int) -> None:
        """Spell the lexicon and the hotwords for emissions with a number of classes.

        Else the first call does it, if the blank depends on the number of classes.

        Raises:
            ArgumentValueError: for fewer classes than the vocabulary's; for words and phrases that cannot be spelt.
        """
        self._knowledge.scored(self._options_for(classes).blank)

    def __repr__(self) -> str:
        width = self._options.width if self._largest == self._options.width else (self._options.width, self._largest)
        return f"Decoder({self.vocabulary!r}, beam_width={width}, nbest={self._options.hypotheses})"

    @property
    def _item_options(self) -> dict[str, Any]:
        return {"vocabulary": self.vocabulary, "spelling": self._spelling, "frame_duration": self._frame_duration}

    def _options_for(self, classes: int) -> SearchOptions:
        """Return the options for emissions of a number of classes."""
        self.vocabulary.require_classes(classes, "log_probs")
        blank = checked_blank(blank_of(self.vocabulary, classes, self._blank), classes, "log_probs")
        return self._options._replace(blank=blank)
