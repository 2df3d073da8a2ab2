"""Decode one item."""

from __future__ import annotations

import functools
import warnings
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

import ctckit
from ctckit.corpus.error_rates import comparison
from ctckit.corpus.errors import CorpusError, ItemError
from ctckit.corpus.manifest import Item
from ctckit.corpus.outcomes import Outcome
from ctckit.corpus.tasks import (
    Task,
    check_formats,
    check_frame_duration,
    check_times,
    class_count_problems,
    files_of,
    item_error,
)
from ctckit.decoding.arguments import BeamWidth, Pruning, gate, widths
from ctckit.decoding.decoder import Decoder
from ctckit.decoding.greedy import greedy_batch
from ctckit.decoding.hypothesis import Decoding
from ctckit.decoding.spelling import Spelling
from ctckit.lattice import checked_blank
from ctckit.lattice.diagnosis import Problem
from ctckit.lattice.plausibility import implausible
from ctckit.output.alignment import Alignment
from ctckit.text.blank import blank_of
from ctckit.text.vocabulary import Vocabulary

__all__ = ["DecodeTask"]


@dataclass(frozen=True, kw_only=True)
class DecodeTask(Task):
    """Decode emissions to text, with `ctckit.Decoder`.

    The result is that of `ctckit.Decoding.to_dict`, with further fields. ``frames`` is the number of frames.
    ``alignment`` is there if it is wanted, as `ctckit.Alignment.to_dict` returns it. ``reference`` is there if the item
    has a text, or else tokens. It counts the errors of the decoded text: ``words``, ``word_errors`` and ``wer``,
    ``characters``, ``character_errors`` and ``cer``; see `ErrorRates`.

    An item without a hypothesis is bad. `fold_case` and `unknown` have no effect.
    """

    beam_width: BeamWidth = 16
    """As for `ctckit.beam_search`: a number of prefixes, or the first and the largest number."""
    nbest: int = 1
    """How many hypotheses a result has."""
    greedy: bool = False
    """Whether to take the most probable class of each frame (`ctckit.greedy_decode`) instead of a beam search."""
    rescore: bool = True
    """Whether to compute exact scores."""
    beam_threshold: float | None = None
    """As for `ctckit.beam_search`, in nats."""
    token_threshold: float | None = None
    """As for `ctckit.beam_search`, a probability."""
    blank_threshold: float | None = None
    """As for `ctckit.beam_search`, a probability."""
    frame_duration: float | None = None
    """Seconds per frame, for items without their own."""
    alignment: bool = False
    """Whether a result has the places of words and tokens."""
    formats: tuple[str, ...] = ()
    """Formats of the files to write for each item, some of `ctckit.corpus.FORMATS`."""
    error_rates: bool = True
    """Whether to compare the decoded text with the text of the manifest."""

    def __post_init__(self) -> None:
        """Check the options."""
        super().__post_init__()
        check_formats(self.formats)
        check_frame_duration(self.frame_duration)
        pruning = Pruning(self.beam_threshold, self.token_threshold, self.blank_threshold)
        try:
            first, largest, _ = widths(self.beam_width, self.nbest)
            pruning.check()
        except (ValueError, TypeError) as error:
            raise CorpusError(str(error)) from None
        if self.greedy and ((first, largest, self.nbest) != (16, 16, 1) or any(x is not None for x in pruning)):
            raise CorpusError(
                "greedy decoding has no beam and one hypothesis: leave out beam_width, nbest and the thresholds"
            )

    def prepare(self) -> None:
        """Load the vocabulary and the model.

        Raises:
            CorpusError: if one cannot be loaded, or there is no vocabulary.
        """
        if self.vocabulary is None:
            raise CorpusError("decoding needs a vocabulary: name one (--vocab vocab.json)")
        super().prepare()

    def inputs(self, item: Item) -> str:
        """Return a digest of an item's inputs: as for other tasks, but tokens count only for an item without a text."""
        return super().inputs(item if item.text is None else replace(item, tokens=None))

    def _do(self, item: Item) -> Outcome:
        vocabulary = self._vocabulary()
        if vocabulary is None:
            raise CorpusError("decoding needs a vocabulary: name one (--vocab vocab.json)")
        reference = self._reference(item, vocabulary)
        emissions = self._emissions(item)
        duration = self.frame_duration if item.frame_duration is None else item.frame_duration
        check_times(duration, item.offset, len(emissions))
        alignment: Alignment | None = None
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                decoding = self._decoded(emissions, vocabulary)
                if decoding.problem is None and (self.alignment or self.formats):
                    found = ctckit.align(
                        emissions,
                        list(decoding.tokens),
                        vocabulary,
                        blank=self.blank,
                        logits=self.logits,
                        frame_duration=duration,
                        offset=item.offset,
                    )
                    assert isinstance(found, Alignment)  # noqa: S101  # for the type checker: of one item
                    alignment = found
        except ValueError:
            self._raise_reasons(emissions, vocabulary)
            raise
        if decoding.problem is not None:
            raise ItemError("impossible_frame", decoding.problem)
        result = decoding.to_dict() | {"frames": len(emissions)}
        if alignment is not None and self.alignment:
            result["alignment"] = alignment.to_dict()
        if reference is not None:
            result["reference"] = comparison(reference, result["text"])
        files = () if alignment is None else files_of(alignment, item, self.formats)
        said = [str(entry.message) for entry in caught if entry.category is UserWarning]
        said += [problem.message for problem in class_count_problems(emissions, vocabulary)]
        return Outcome(item.id, item.line, result=result, files=files, warnings=tuple(dict.fromkeys(said)))

    def _decoded(self, emissions: Tensor, vocabulary: Vocabulary) -> Decoding:
        if self.greedy:
            vocabulary.require_classes(emissions.shape[1], "log_probs")
            gated = gate(emissions, None, batch_first=True)
            classes = emissions.shape[1]
            blank = checked_blank(blank_of(vocabulary, classes, self.blank), classes, "log_probs")
            options = {"vocabulary": vocabulary, "spelling": Spelling(vocabulary)}
            return greedy_batch(gated, blank, logits=self.logits, rescore=self.rescore, item_options=options)[0]
        width = tuple(self.beam_width) if isinstance(self.beam_width, (tuple, list)) else self.beam_width
        decoding: Any = _decoder(
            vocabulary,
            beam_width=width,
            nbest=self.nbest,
            blank=self.blank,
            logits=self.logits,
            rescore=self.rescore,
            beam_threshold=self.beam_threshold,
            token_threshold=self.token_threshold,
            blank_threshold=self.blank_threshold,
        )(emissions)
        assert isinstance(decoding, Decoding)  # noqa: S101  # for the type checker: of one item
        return decoding

    def _reference(self, item: Item, vocabulary: Vocabulary) -> str | None:
        """Return the text to compare with; None if there is none."""
        if not self.error_rates or (item.text is None and item.tokens is None):
            return None
        if item.text is not None:
            return item.text
        try:
            classes = vocabulary.encode_tokens(list(item.tokens or ())).ids
            return Spelling(vocabulary).text_and_words(list(classes))[0]
        except ValueError as error:
            raise ItemError("text", str(error)) from error

    def _raise_reasons(self, emissions: Tensor, vocabulary: Vocabulary) -> None:
        """Raise an error with the reasons why emissions cannot be decoded, if they are known."""
        blank = blank_of(vocabulary, emissions.shape[1], self.blank)
        nothing = torch.empty(0, dtype=torch.int64, device="cpu")
        values: list[Problem] = []
        if blank < emissions.shape[1]:
            found = ctckit.check(emissions, nothing, len(emissions), 0, blank)
            values = [problem for problem in found if problem.kind == "non_finite"]
        reasons = [*values, *class_count_problems(emissions, vocabulary)] or implausible(emissions, logits=self.logits)
        if reasons:
            raise item_error(reasons[0].kind, reasons)


@functools.lru_cache(maxsize=4)
def _decoder(vocabulary: Vocabulary, **options: Any) -> Decoder:
    """Return a decoder, the same for the same vocabulary and options: it knows what tokens spell."""
    return Decoder(vocabulary, **options)
