"""Decode one item."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

import ctckit
from ctckit.corpus.decoders import CorpusDecoder, HotwordSource, Knowledge, decoder_for
from ctckit.corpus.digests import file_digest, large_file_digest
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
from ctckit.decoding.greedy import greedy_batch
from ctckit.decoding.hotwords import checked_hotwords
from ctckit.decoding.hypothesis import Decoding
from ctckit.decoding.knowledge import Weights
from ctckit.decoding.spelling import Spelling
from ctckit.lattice import checked_blank
from ctckit.lattice.diagnosis import Problem
from ctckit.lattice.plausibility import implausible
from ctckit.output.alignment import Alignment
from ctckit.text.blank import blank_of
from ctckit.text.vocabulary import Vocabulary

__all__ = ["DecodeTask"]

_NEEDED = {
    "lm_unit": ("lm",),
    "lm_weight": ("lm",),
    "word_bonus": ("lm",),
    "unknown_score": ("lm", "lexicon"),
    "open_lexicon": ("lexicon",),
    "hotword_weight": ("hotwords",),
}
"""Options that have no effect without some other one."""


@dataclass(frozen=True, kw_only=True)
class DecodeTask(Task):
    """Decode emissions to text, with `ctckit.Decoder`.

    The result is that of `ctckit.Decoding.to_dict`, with further fields. ``frames`` is the number of frames.
    ``alignment`` is there if it is wanted, as `ctckit.Alignment.to_dict` returns it. ``reference`` is there if the item
    has a text, or else tokens. It counts the errors of the decoded text: ``words``, ``word_errors`` and ``wer``,
    ``characters``, ``character_errors`` and ``cer``; see `ErrorRates`.

    With a language model ``lm_score``, and with hotwords ``hotword_score``, is the part of the score that they gave, in
    nats. An item without a hypothesis is bad.

    `fold_case` holds for the words of language model and lexicon and for hotwords. `unknown` has no effect.
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
    lm: str | None = None
    """Path of an n-gram model: what `ctckit.NGram` reads. A resumed run compares its content; of a file of more than
    256 MiB, its size and date."""
    lm_unit: str = "word"
    """"word", or "token" if the model's words are the vocabulary's tokens."""
    lm_weight: float = 0.5
    """As for `ctckit.Decoder`."""
    word_bonus: float = 1.5
    """As for `ctckit.Decoder`, in nats."""
    unknown_score: float = -10.0
    """As for `ctckit.Decoder`, in nats."""
    lexicon: str | None = None
    """Path of a lexicon: a word per line, or a word and the tokens of a spelling."""
    open_lexicon: bool = False
    """Whether words that are not in the lexicon are possible, too."""
    hotwords: str | Mapping[str, float] | Sequence[str] | None = None
    """Path of a file with a phrase per line, or with a phrase, a tab and its weight; or phrases, as for
    `ctckit.Decoder`."""
    hotword_weight: float = 10.0
    """Nats of each phrase without a weight of its own."""
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
        self._check_knowledge()

    def _check_knowledge(self) -> None:
        if self.lm_unit not in ("word", "token"):
            raise CorpusError(f"lm_unit is {self.lm_unit!r}, but must be 'word' or 'token'")
        given = [name for name in ("lm", "lexicon", "hotwords") if getattr(self, name) is not None]
        if self.greedy and given:
            raise CorpusError(
                f"greedy decoding takes the most probable class of each frame, whatever else is known: leave out "
                f"{' and '.join(given)}, or decode with a beam"
            )
        defaults = {field.name: field.default for field in fields(DecodeTask)}
        for name, needed in _NEEDED.items():
            if getattr(self, name) != defaults[name] and not any(other in given for other in needed):
                raise CorpusError(f"{name} is {getattr(self, name)}, which has no effect without {' or '.join(needed)}")
        try:
            Weights(self.lm_weight, self.word_bonus, self.unknown_score, self.hotword_weight).check()
            if not isinstance(self.hotwords, str) and self.hotwords is not None:
                checked_hotwords(self.hotwords, self.hotword_weight)
        except (ValueError, TypeError) as error:
            raise CorpusError(str(error)) from None

    @cached_property
    def knowledge(self) -> Knowledge:
        """What the decoder knows beside the emissions."""
        given = self.hotwords
        phrases: HotwordSource | None = given if given is None or isinstance(given, str) else None
        if given is not None and phrases is None:
            phrases = tuple(checked_hotwords(given, self.hotword_weight).items())
        return Knowledge(
            self.lm, self.lm_unit, self.unknown_score, self.lexicon, self.open_lexicon, phrases, self.hotword_weight
        )

    def prepare(self) -> None:
        """Load the vocabulary, the model, and what the decoder knows beside the emissions.

        Raises:
            CorpusError: if one cannot be loaded, or there is no vocabulary.
        """
        super().prepare()
        vocabulary = self._needed_vocabulary()
        if not self.greedy:
            self._decoder(vocabulary)

    def files(self) -> dict[str, str]:
        """Return the files of language model, lexicon and hotwords."""
        return self.knowledge.files

    def _options(self) -> dict[str, Any]:
        options = super()._options()
        if self.lm is not None:
            options["lm"] = large_file_digest(self.lm)
        if self.lexicon is not None:
            options["lexicon"] = file_digest(self.lexicon)
        phrases = self.knowledge.hotwords
        options["hotwords"] = file_digest(phrases) if isinstance(phrases, str) else phrases
        return options

    def inputs(self, item: Item) -> str:
        """Return a digest of an item's inputs: as for other tasks, but tokens count only for an item without a text."""
        return super().inputs(item if item.text is None else replace(item, tokens=None))

    def _do(self, item: Item) -> Outcome:
        vocabulary = self._needed_vocabulary()
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
        except CorpusError:
            raise
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
        notes = () if self.greedy else self._decoder(vocabulary).notes
        return Outcome(item.id, item.line, result, None, files, tuple(dict.fromkeys(said)), notes)

    def _needed_vocabulary(self) -> Vocabulary:
        vocabulary = self._vocabulary()
        if vocabulary is None:
            raise CorpusError("decoding needs a vocabulary: name one (--vocab vocab.json)")
        return vocabulary

    def _decoded(self, emissions: Tensor, vocabulary: Vocabulary) -> Decoding:
        if self.greedy:
            vocabulary.require_classes(emissions.shape[1], "log_probs")
            gated = gate(emissions, None, batch_first=True)
            classes = emissions.shape[1]
            blank = checked_blank(blank_of(vocabulary, classes, self.blank), classes, "log_probs")
            options = {"vocabulary": vocabulary, "spelling": Spelling(vocabulary)}
            return greedy_batch(gated, blank, logits=self.logits, rescore=self.rescore, item_options=options)[0]
        return self._decoder(vocabulary)(emissions)

    def _decoder(self, vocabulary: Vocabulary) -> CorpusDecoder:
        width = tuple(self.beam_width) if isinstance(self.beam_width, (tuple, list)) else self.beam_width
        options = {
            "beam_width": width,
            "nbest": self.nbest,
            "blank": self.blank,
            "logits": self.logits,
            "rescore": self.rescore,
            "beam_threshold": self.beam_threshold,
            "token_threshold": self.token_threshold,
            "blank_threshold": self.blank_threshold,
            "lm_weight": self.lm_weight,
            "word_bonus": self.word_bonus,
        }
        return decoder_for(vocabulary, self.knowledge, options)

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
