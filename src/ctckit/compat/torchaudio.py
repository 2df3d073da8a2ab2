"""`ctckit.Decoder` with the names, arguments and results of ``torchaudio.models.decoder.ctc_decoder``.

.. code-block:: python

    from ctckit.compat.torchaudio import ctc_decoder  # was: from torchaudio.models.decoder import ctc_decoder
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ctckit.backends import host_backend
from ctckit.backends.searches import Found, SearchOptions, SearchResult, SearchStream
from ctckit.compat.custom_lm import CTCDecoderLM, CTCDecoderLMState
from ctckit.compat.paths import LabelPath, best_paths, log_likelihoods
from ctckit.compat.torchaudio_scorers import Dictionary, Knowledge, WordSpellings, knowledge_of
from ctckit.decoding.arguments import Emissions, check_plausible, gate, not_finite, widths
from ctckit.errors import ArgumentTypeError, ArgumentValueError
from ctckit.lattice import Lengths
from ctckit.lattice.lengths import as_int
from ctckit.reference.decoding import LARGEST

__all__ = ["CTCDecoder", "CTCDecoderLM", "CTCDecoderLMState", "CTCHypothesis", "ctc_decoder"]

_LEAST_THRESHOLD: Final = 1e-9  # nats
_WIDEST: Final = 64  # times the width, if all prefixes of the final beam are within words of a closed lexicon


class CTCHypothesis(NamedTuple):
    """A hypothesis, as torchaudio returns it."""

    tokens: torch.Tensor
    """(L,) int64: its classes, without blanks, between two silences."""
    words: list[str]
    """Its words; empty without a lexicon."""
    score: float
    """Log-probability, plus what language model, words and silences gain, in nats."""
    timesteps: torch.Tensor
    """(L,) int32: the frame in which each token begins. The last silence begins at or before the end, T."""


class _Scored(NamedTuple):
    """A hypothesis of the beam with its own score."""

    tokens: tuple[int, ...]
    score: float
    path: LabelPath | None


class CTCDecoder:
    """A decoder with torchaudio's methods; `ctc_decoder` makes one.

    Attributes:
        nbest: most hypotheses that are returned.
        tokens_dict: the tokens.
        word_dict: the words, as a language model in Python counts them; None without a lexicon.
        blank: class of the blank.
    """

    def __init__(
        self,
        knowledge: Knowledge,
        *,
        nbest: int,
        beam_size: int,
        beam_threshold: float,
        sil_score: float,
        log_add: bool,
    ) -> None:
        self.nbest, self.blank = nbest, knowledge.blank
        self.tokens_dict: Dictionary = knowledge.tokens
        self.word_dict: Dictionary | None = knowledge.words
        self._silence, self._sil_score, self._log_add = knowledge.silence, sil_score, log_add
        self._spellings: WordSpellings | None = knowledge.spellings
        self._knowledge = knowledge
        threshold = max(beam_threshold, _LEAST_THRESHOLD)
        self._options = SearchOptions(self.blank, beam_size, beam_size, rescore=False, beam_threshold=threshold)
        self._stream: SearchStream | None = None
        self._frames: list[Tensor] = []
        self._final: list[CTCHypothesis] | None = None
        self._has_failed = self._has_warned = False

    def __call__(self, emissions: Tensor, lengths: Lengths = None) -> list[list[CTCHypothesis]]:
        """Decode a batch.

        Args:
            emissions: (N, T, C) log-probabilities.
            lengths: frames of each item, or None for all T.

        Returns:
            The hypotheses of each item, the best first. Where no text is possible there is one without tokens, with the
            score -inf.

        Raises:
            ArgumentTypeError: for an argument of the wrong type.
            ArgumentValueError: for a wrong shape; for NaN, +inf and probabilities.
        """
        checked = gate(emissions, lengths, batch_first=True)
        if not checked.batched:
            raise ArgumentValueError(f"emissions has shape {tuple(emissions.shape)}, but must be (N, T, C)")
        values = self._biased(checked.values)
        results = host_backend().beam_search(values, checked.lengths, self._options, self._knowledge.scorers())
        own = checked._replace(values=values)
        found = []
        warned = False
        for item, result in enumerate(results):
            if result.status == "not_finite":
                raise not_finite(checked, item, result.frame, may_be_none=False)
            warned = self._check(checked, item, result, warned=warned) or warned
            found.append(self._hypotheses(own.item(item), result))
        return found

    def decode_begin(self) -> None:
        """Begin to decode one item piece by piece."""
        self._stream, self._frames, self._final = None, [], None
        self._has_failed = self._has_warned = False

    def decode_step(self, emissions: Tensor) -> None:
        """Decode the next frames.

        Args:
            emissions: (T, C) log-probabilities. They are kept until the next item, for the time steps.

        Raises:
            ArgumentTypeError: as for a call.
            ArgumentValueError: as for a call; after `decode_end`, and after an error.
        """
        self._require_no_error()
        checked = gate(emissions, None, batch_first=True)
        if checked.batched:
            raise ArgumentValueError(f"emissions has shape {tuple(emissions.shape)}, but must be (T, C)")
        if self._final is not None:
            raise ArgumentValueError("the item has ended: call decode_begin before the next one")
        chunk = self._biased(checked.values)[:, 0]
        if self._stream is None:
            self._stream = self._search(chunk.shape[1])
        if len(chunk):
            level = None if self._has_warned else 2
            warned = check_plausible(checked, 0, float(checked.values.amax()), logits=False, level=level)
            self._has_warned = self._has_warned or warned
        self._has_failed = True  # unless what follows returns
        status, reached = self._stream.push(chunk)
        if status == "not_finite":
            raise not_finite(checked, 0, reached - sum(map(len, self._frames)), may_be_none=False)
        self._frames.append(chunk.clone())
        self._has_failed = False

    def _require_no_error(self) -> None:
        if self._has_failed:
            raise ArgumentValueError("the item was ended by an error: call decode_begin before the next one")

    def decode_end(self) -> None:
        """End the item.

        Raises:
            ArgumentValueError: after an error.
        """
        self._require_no_error()
        if self._stream is None:
            classes = self.tokens_dict.index_size()
            self._stream = self._search(classes)
            self._frames = [torch.empty(0, classes, device="cpu")]
        frames = torch.cat(self._frames)
        self._final = self._hypotheses(frames, self._stream.finish(self._options.hypotheses))
        self._stream, self._frames = None, []

    def get_final_hypothesis(self) -> list[CTCHypothesis]:
        """Return the hypotheses of the item that has ended, as a call does for all frames at once.

        Raises:
            ArgumentValueError: before `decode_end`.
        """
        if self._final is None:
            raise ArgumentValueError("the item has not ended: call decode_end first")
        return self._final

    def idxs_to_tokens(self, idxs: Tensor) -> list[str]:
        """Return the tokens of classes."""
        return [self.tokens_dict.get_entry(int(index)) for index in idxs]

    # -------------------------------------------------------------------------------------------------------- internals

    def _search(self, classes: int) -> SearchStream:
        """Begin the search of one item."""
        return host_backend().search_stream(classes, self._options, self._knowledge.scorers())

    def _biased(self, emissions: Tensor) -> Tensor:
        """Check the classes of (T, N, C) emissions, and add the score of silence to its frames."""
        classes = self.tokens_dict.index_size()
        if emissions.shape[2] != classes:
            raise ArgumentValueError(f"emissions have {emissions.shape[2]} classes, but there are {classes} tokens")
        if not self._sil_score:
            return emissions
        emissions = emissions.clone()
        emissions[..., self._silence] += self._sil_score
        return emissions

    def _check(self, emissions: Emissions, item: int, result: SearchResult, *, warned: bool) -> bool:
        """Refuse probabilities; return whether it has warned of other values that are no log-probabilities."""
        best = result.hypotheses[0].acoustic_score if result.hypotheses else 0.0
        score = best - max(0.0, self._sil_score) * int(emissions.lengths[item])
        return check_plausible(emissions, item, score, logits=False, level=None if warned else 3)

    def _hypotheses(self, frames: Tensor, result: SearchResult) -> list[CTCHypothesis]:
        """Score the hypotheses of a beam, join those of the same words, and find their time steps."""
        found, width = result.hypotheses, self._options.width
        while not found and len(frames) and width < _WIDEST * self._options.width:  # no prefix was at the end of a word
            width *= 4
            lengths = torch.tensor([len(frames)], device="cpu")
            options = self._options._replace(width=width)
            scorers = self._knowledge.scorers()
            found = host_backend().beam_search(frames[:, None], lengths, options, scorers)[0].hypotheses
        groups: dict[tuple[Any, ...], list[_Scored]] = {}
        for one in self._scores(frames, found):
            key = one.tokens if self._spellings is None else self._spellings.key(one.tokens)
            groups.setdefault(key, []).append(one)
        best = sorted(map(self._joined, groups.values()), key=lambda one: -one.score)[: self.nbest]
        if self._log_add:
            paths = best_paths(frames, [one.tokens for one in best], self.blank)
            best = [one._replace(path=path) for one, path in zip(best, paths, strict=True)]
        if not best:
            return [CTCHypothesis(torch.empty(0, dtype=torch.int64), [], -math.inf, torch.empty(0, dtype=torch.int32))]
        return [self._hypothesis(one, len(frames)) for one in best]

    def _scores(self, frames: Tensor, hypotheses: Sequence[Found]) -> list[_Scored]:
        rows = [found.tokens for found in hypotheses]
        paths: Sequence[LabelPath | None] = [None] * len(rows)
        if self._log_add:
            own = log_likelihoods(frames, rows, self.blank)
        else:
            paths = best_paths(frames, rows, self.blank)
            own = [path.score for path in paths]
        return [
            _Scored(found.tokens, score + sum(found.gains), path)
            for found, path, score in zip(hypotheses, paths, own, strict=True)
        ]

    def _joined(self, same: list[_Scored]) -> _Scored:
        """Return the best of hypotheses of the same words, with the score of all of them."""
        best = max(same, key=lambda one: one.score)
        if not self._log_add or len(same) == 1 or best.score == -math.inf:
            return best
        return best._replace(score=best.score + math.log(sum(math.exp(one.score - best.score) for one in same)))

    def _hypothesis(self, one: _Scored, frames: int) -> CTCHypothesis:
        """Make torchaudio's hypothesis: tokens begin and end with silence."""
        words = [] if self._spellings is None else list(self._spellings.words(one.tokens))
        tokens, starts = list(one.tokens), [] if one.path is None else one.path.starts
        if tokens[:1] != [self._silence]:
            tokens, starts = [self._silence, *tokens], [0, *starts]
        if len(tokens) == 1 or tokens[-1] != self._silence:
            tokens, starts = [*tokens, self._silence], [*starts, frames]
        return CTCHypothesis(
            torch.tensor(tokens, dtype=torch.int64), words, one.score, torch.tensor(starts, dtype=torch.int32)
        )


def ctc_decoder(
    lexicon: Any,
    tokens: str | os.PathLike[str] | Sequence[str],
    lm: Any = None,
    lm_dict: str | os.PathLike[str] | None = None,
    nbest: int = 1,
    beam_size: int = 50,
    beam_size_token: int | None = None,
    beam_threshold: float = 50,
    lm_weight: float = 2,
    word_score: float = 0,
    unk_score: float = -math.inf,
    sil_score: float = 0,
    log_add: bool = False,
    blank_token: str = "-",  # noqa: S107  # no password
    sil_token: str = "|",  # noqa: S107
    unk_word: str = "<unk>",
) -> CTCDecoder:
    """Make a decoder.

    Args:
        lexicon: file of words and their spellings, a word and its tokens per line; or what `ctckit.Decoder` takes. A
            spelling ends with `sil_token`, unless tokens show where words begin or end. None to decode tokens.
        tokens: the tokens in the order of the classes: a list, or a file with a line for each class.
        lm: an n-gram model of words, or of tokens without a lexicon: a `ctckit.NGram` or its path; a language model in
            Python (see `CTCDecoderLM`); or None.
        lm_dict: file of words, or tokens, in the order of a Python model's indices. None for the order of the lexicon,
            with `unk_word` at the end. N-gram models need none.
        nbest: most hypotheses that are returned.
        beam_size: most prefixes of the beam.
        beam_size_token: has no effect: all tokens are looked at.
        beam_threshold: nats by which prefixes may be worse than the best.
        lm_weight: weight of the model's scores: decimal logarithms of n-gram models, as torchaudio has it, or what a
            Python model returns.
        word_score: nats for each word of the lexicon.
        unk_score: nats for each other word; -inf for none. A Python model and n-gram models score them, too.
        sil_score: nats for each frame of silence.
        log_add: whether a hypothesis has the score of all its paths; else that of its best path.
        blank_token: the blank.
        sil_token: the silence, which separates words.
        unk_word: what other words are called in results.

    Raises:
        OSError: if a file cannot be read.
        ArgumentTypeError: for an argument of the wrong type.
        ArgumentValueError: for an argument of a wrong value; for tokens and words that are missing; for a lexicon whose
            words have no end.

    Example:
        >>> import torch
        >>> from ctckit.compat.torchaudio import ctc_decoder
        >>> decoder = ctc_decoder({"cat": "c a t |", "at": "a t |"}, ["-", "|", "a", "c", "t"])
        >>> emissions = (9.0 * torch.eye(5)[[0, 3, 2, 2, 0, 4, 1, 0]]).log_softmax(1)
        >>> hypothesis = decoder(emissions[None])[0][0]
        >>> hypothesis.words, decoder.idxs_to_tokens(hypothesis.tokens)
        (['cat'], ['|', 'c', 'a', 't', '|'])
        >>> hypothesis.timesteps
        tensor([0, 1, 2, 5, 6], dtype=torch.int32)
    """
    numbers = {
        "beam_threshold": beam_threshold, "lm_weight": lm_weight, "word_score": word_score, "unk_score": unk_score,
        "sil_score": sil_score,
    }  # fmt: skip
    for name, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, (int, float, np.floating, np.integer)):
            raise ArgumentTypeError(f"{name} is {value!r}, a {type(value).__name__}, but must be a number")
        is_allowed = (
            value == -math.inf if name == "unk_score" else value == math.inf if name == "beam_threshold" else False
        )
        if value >= LARGEST and name in ("word_score", "unk_score", "sil_score"):
            raise ArgumentValueError(f"{name} is {value}, but must be below {LARGEST:g} nats")
        if not (math.isfinite(value) or is_allowed) or (value < 0 and name == "beam_threshold"):
            raise ArgumentValueError(f"{name} is {value}, but must be a finite number")
    if beam_size_token is not None and as_int(beam_size_token, "beam_size_token") < 1:
        raise ArgumentValueError(f"beam_size_token is {beam_size_token}, but must be at least 1, or None")
    width = widths(beam_size, 1)[0]
    if as_int(nbest, "nbest") < 1:
        raise ArgumentValueError(f"nbest is {nbest}, but there is at least one hypothesis")
    knowledge = knowledge_of(
        lexicon, tokens, lm, lm_dict, blank_token, sil_token, unk_word,
        lm_weight=float(lm_weight), word_score=float(word_score), unk_score=float(unk_score),
    )  # fmt: skip
    return CTCDecoder(
        knowledge,
        nbest=nbest,
        beam_size=width,
        beam_threshold=min(float(beam_threshold), 1e9),
        sil_score=float(sil_score),
        log_add=bool(log_add),
    )
