"""Decoding of a signal that comes piece by piece."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

import torch
from torch import Tensor

from ctckit.alignment.requests import Request
from ctckit.alignment.result import TokenRun, alignment_of_runs, runs_of
from ctckit.alignment.search import FramePath, Search, paths_of
from ctckit.backends import host_backend
from ctckit.backends.searches import SearchOptions, SearchStream, Status
from ctckit.decoding.arguments import Emissions, check_plausible, gate, not_finite, problem_of
from ctckit.decoding.beam import hypothesis_of
from ctckit.decoding.hypothesis import Decoding
from ctckit.decoding.item import Item
from ctckit.decoding.scorers import Scored
from ctckit.decoding.spelling import Spelling
from ctckit.errors import ArgumentValueError
from ctckit.output.alignment import Alignment
from ctckit.text.vocabulary import Piece, Vocabulary

__all__ = ["Stream"]

_MOST_PENDING: Final = 4096  # frames that are kept for the times of tokens that are not stable


class Stream:
    """A decoding that is under way, from `ctckit.Decoder.stream`.

    `push` takes the next frames. The search is the same to the bit for any chunks, and for all frames at once.
    `stable_text` can never change; `text` ends with what may still change.

    A stream is not rescored: its scores are the beam's sums. The times of `Decoding.alignment` are computed from each
    piece when its tokens become stable.

    Memory does not grow with the length of the signal, but for the tokens: about 100 bytes for each that is stable, and
    up to 40 for each prefix of the beam and each token that is not. (A place at which two tokens are nearly equally
    probable stays open as long as the beam holds both.) It holds the search (see `memory`), and the emissions from the
    last stable token on, of at most 4,096 frames.
    """

    def __init__(
        self,
        options_for: Callable[[int], SearchOptions],
        scored_for: Callable[[int], Scored],
        vocabulary: Vocabulary,
        spelling: Spelling,
        frame_duration: float | None,
        least_classes: int,
    ) -> None:
        self._options_for, self._scored_for, self._least_classes = options_for, scored_for, least_classes
        self._scored = Scored([], ())
        self._vocabulary, self._spelling, self._frame_duration = vocabulary, spelling, frame_duration
        self._search: SearchStream | None = None
        self._options: SearchOptions | None = None
        self._classes = 0
        self._frames = 0
        self._status: Status = "done"
        self._ended_at = 0  # the frame at which the search ended early
        self._is_finished = False
        self._has_failed = False
        self._said: tuple[int, ...] = ()  # the tokens of the best hypothesis, at the end
        self._times: _Times | None = None
        self._has_warned = False

    # ----------------------------------------------------------------------------------------------------------- input

    def push(self, log_probs: Tensor) -> None:
        """Decode the next frames.

        Args:
            log_probs: (T, C) log-probabilities, or logits as the decoder says; T may be 0.

        Raises:
            ArgumentTypeError: as `ctckit.beam_search`.
            ArgumentValueError: as `ctckit.beam_search`; for another number of classes than before; after `finish`; and
                for frames with NaN or +inf, after which the stream has ended, as after an error of a scorer.
        """
        if self._is_finished:
            raise ArgumentValueError("the stream is finished: start another one with Decoder.stream()")
        self._require_no_error("start another one")
        emissions = gate(log_probs, None, batch_first=True)
        if emissions.batched:
            raise ArgumentValueError(
                f"log_probs has shape {tuple(log_probs.shape)}, but a stream takes the frames of one item, (T, C): "
                f"open a stream per item"
            )
        chunk = emissions.values[:, 0]
        self._start(chunk.shape[1])
        assert self._search is not None and self._options is not None and self._times is not None  # noqa: S101, PT018
        if self._status == "no_mass":
            self._frames += len(chunk)
            return
        self._check(emissions, chunk)
        before = self._frames
        self._has_failed = True  # unless what follows returns: it may be a scorer that raises an error
        self._status, reached = self._search.push(chunk)
        self._has_failed = False
        if self._status == "not_finite":
            self._ended_at = reached
            raise not_finite(emissions, 0, reached - before, may_be_none=False)
        self._frames += len(chunk)
        if self._status == "no_mass":
            self._ended_at = reached
            return
        self._times.push(chunk, self._search.count_stable(), self._search.best)

    def _require_no_error(self, remedy: str) -> None:
        if self._status == "not_finite":
            raise ArgumentValueError(f"the stream ended at frame {self._ended_at}, which holds NaN or +inf: {remedy}")
        if self._has_failed:
            raise ArgumentValueError(
                f"the stream was ended by an error after frame {self._frames}, of a scorer or of memory: {remedy}"
            )

    def _start(self, classes: int) -> None:
        if self._search is None:
            self._classes = classes
            self._options = self._options_for(classes)._replace(rescore=False)
            self._scored = self._scored_for(self._options.blank)
            self._search = host_backend().search_stream(classes, self._options, self._scored.scorers)
            self._times = _Times(self._options, self._vocabulary, classes)
        elif classes != self._classes:
            raise ArgumentValueError(f"log_probs has {classes} classes, but the stream began with {self._classes}")

    def _check(self, emissions: Emissions, chunk: Tensor) -> None:
        assert self._options is not None  # noqa: S101  # for the type checker
        if chunk.numel():
            largest = float(chunk.amax())
            score = largest if largest < torch.inf else 0.0
            level = None if self._has_warned else 3
            warned = check_plausible(emissions, 0, score, logits=self._options.logits, level=level)
            self._has_warned = self._has_warned or warned

    # --------------------------------------------------------------------------------------------------- what was said

    @property
    def frames(self) -> int:
        """Number of frames so far."""
        return self._frames

    @property
    def tokens(self) -> tuple[int, ...]:
        """The classes of the best prefix so far."""
        if self._is_finished:
            return self._said
        return self._search.best() if self._search is not None and self._status == "done" else ()

    @property
    def stable_tokens(self) -> tuple[int, ...]:
        """The classes that can no longer change: those that all prefixes of the beam start with; at the end, all."""
        if self._is_finished:
            return self._said
        return self._search.stable() if self._search is not None else ()

    @property
    def text(self) -> str:
        """The text of the best prefix so far. Its end may still change."""
        return self._spelling.text_and_words(self.tokens)[0]

    @property
    def stable_text(self) -> str:
        """The text of the tokens that can no longer change. Its last word may still grow."""
        return self._spelling.text_and_words(self.stable_tokens)[0]

    @property
    def memory(self) -> int:
        """Bytes that the search and the kept emissions take; 0 at the end."""
        if self._is_finished:
            return 0
        kept = 0 if self._times is None else self._times.memory
        return kept + (0 if self._search is None else self._search.memory)

    def finish(self) -> Decoding:
        """End the stream and return its decoding, as `ctckit.Decoder` does for all frames at once without rescoring.

        Raises:
            ArgumentValueError: if the stream is finished already, or has ended by NaN, +inf or an error of a scorer.
        """
        if self._is_finished:
            raise ArgumentValueError("the stream is finished already")
        self._require_no_error("it has no result")
        if self._search is None:
            self._start(self._least_classes)
        assert self._search is not None and self._options is not None and self._times is not None  # noqa: S101, PT018
        self._is_finished = True
        result = self._search.finish(self._options.hypotheses)
        own = Item(
            partial(torch.empty, 0, self._classes, device="cpu"),
            blank=self._options.blank,
            logits=self._options.logits,
            vocabulary=self._vocabulary,
            spelling=self._spelling,
            log_beam_mass=result.log_beam_mass,
        )
        own.rows = [found.tokens for found in result.hypotheses]
        hypotheses = tuple(hypothesis_of(found, own, self._scored, exact=False) for found in result.hypotheses)
        if hypotheses:
            tokens, times = hypotheses[0].tokens, self._times
            self._said = tokens
            own.align_by(tokens, lambda: times.alignment(tokens, self._frames, self._frame_duration))
        is_end, is_scored = result.frame == self._frames, bool(self._scored.scorers)
        problem = problem_of(result.status, result.frame, self._options, is_end=is_end, is_scored=is_scored)
        return Decoding(hypotheses, None, problem, own)


class _Times:
    """The frames of a stream's tokens, found piece by piece."""

    def __init__(self, options: SearchOptions, vocabulary: Vocabulary, classes: int) -> None:
        self._options, self._vocabulary, self._classes = options, vocabulary, classes
        self._chunks: list[Tensor] = []  # the emissions from frame `first` on
        self._first = 0
        self._runs: list[TokenRun] = []  # of tokens whose frames are known
        self._score = 0.0  # of the frames before `first`

    @property
    def memory(self) -> int:
        return sum(chunk.nbytes for chunk in self._chunks)

    def push(self, chunk: Tensor, stable: int, best: Callable[[], tuple[int, ...]]) -> None:
        """Keep frames, and find those of the stable tokens but the last, whose frames are not known."""
        if not len(chunk):
            return
        self._chunks.append(chunk.clone())
        pending = sum(map(len, self._chunks))
        if stable - 1 <= len(self._runs) and pending <= _MOST_PENDING:
            return
        x = torch.cat(self._chunks)
        tokens = best()
        path = self._path(x, tokens)
        runs = runs_of(path) if path is not None else []
        known = runs[: max(0, stable - 1 - len(self._runs))]
        # The last stable token stays: its last frames may come, and an equal token may follow.
        cut = runs[len(known)].start if len(known) < len(runs) else 0
        if len(x) - cut > _MOST_PENDING:  # what is before the last frames gets its times now
            cut = len(x) - _MOST_PENDING // 2
            later = [run for run in runs if run.end > cut]
            known = runs[: len(runs) - len(later)]
            cut = min(cut, later[0].start) if later and len(x) - later[0].start <= _MOST_PENDING else cut
        self._keep(known, path, cut)
        self._chunks = [x[cut:].clone()]

    def alignment(self, tokens: tuple[int, ...], frames: int, frame_duration: float | None) -> Alignment:
        """Return the alignment of all tokens, at the end of the stream."""
        x = torch.cat(self._chunks) if self._chunks else torch.empty(0, self._classes, device="cpu")
        path = self._path(x, tokens)
        if path is not None:
            self._keep(runs_of(path), path, len(x))
        transcript = self._vocabulary.in_words(self._pieces(tokens))
        return alignment_of_runs(
            transcript, self._runs, self._score, frames, self._options.blank, frame_duration=frame_duration
        )

    def _keep(self, runs: list[TokenRun], path: FramePath | None, cut: int) -> None:
        for run in runs:
            piece = len(self._runs)
            self._runs.append(run._replace(piece=piece, start=run.start + self._first, end=run.end + self._first))
        if path is not None:
            self._score += float(path.scores[:cut].sum())
        self._first += cut

    def _pieces(self, tokens: tuple[int, ...]) -> list[Piece]:
        return [Piece(self._vocabulary.name(token), token, None) for token in tokens]

    def _path(self, x: Tensor, tokens: tuple[int, ...]) -> FramePath | None:
        """Align the tokens whose frames are not known with the kept frames; None if they do not fit."""
        rest = tokens[len(self._runs) :]
        request = Request(self._vocabulary.in_words(self._pieces(rest)), list(rest))
        if self._options.logits:
            x = x.log_softmax(1, dtype=torch.float64 if x.dtype == torch.float64 else torch.float32)
        search = Search(
            blank=self._options.blank,
            posterior=False,
            free_start=False,
            free_end=False,
            wildcard_score=0.0,
            confidence=True,
            raises=False,
            batched=False,
        )
        return paths_of([request], x[:, None], x[:, None], torch.tensor([len(x)], device="cpu"), search)[0]
