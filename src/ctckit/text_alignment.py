"""A transcript in its places: from text and a model's output to words and tokens with times and confidences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ctckit.alignment import best_path, why_infeasible
from ctckit.alignment_result import AlignedToken, AlignedWord, Alignment
from ctckit.lattice import PADDING, Lattice, Lengths, as_int, gate
from ctckit.posterior import posteriors
from ctckit.vocabulary import Piece, Transcript, Unknown, Vocabulary

__all__ = ["align"]

Method: TypeAlias = Literal["viterbi", "posterior"]
Infeasible: TypeAlias = Literal["raise", "none"]


def align(
    emissions: Tensor,
    text_or_tokens: Any,
    vocabulary: Any = None,
    *,
    input_lengths: Lengths = None,
    blank: int = 0,
    logits: bool = False,
    batch_first: bool = True,
    frame_duration: float | None = None,
    offset: float = 0.0,
    word_separator: str | None = None,
    fold_case: bool = False,
    unknown: Unknown = "raise",
    method: Method = "viterbi",
    confidence: bool = True,
    infeasible: Infeasible = "raise",
) -> Any:
    r"""Find where each token and word of a transcript is in what a CTC model has read.

    The best path is that of `ctckit.forced_align`. The confidence of a token is the mean, over the frames t of its
    span, of the probability gamma(t, s), given the transcript, that frame t belongs to this very token (state s of
    `ctckit.posteriors`), over all paths and not only the best:

    .. math:: \text{confidence} = \frac{1}{|\text{span}|} \sum_{t \in \text{span}} \gamma(t, s)

    So it is the expected share of the span that belongs to the token if the model is right about the transcript, and
    calibrated in this sense; that a transcript does not fit shows in the score. A word's is the mean over the frames of
    its tokens.

    Args:
        emissions: (N, T, C), or (T, N, C) if not `batch_first`, or (T, C) for one item without a batch:
            log-probabilities, or logits; any floating-point dtype and strides.
        text_or_tokens: for one item a text (a str), or a row of tokens: names or classes, a list or an integer tensor;
            for a batch a list of these, or an integer tensor (N, S) padded with -100.
        vocabulary: which class each token is: a list, a dict, the path of a ``vocab.json``, a tokenizer, or a
            `ctckit.Vocabulary` (for many calls). None if the tokens are classes.
        input_lengths: frames of each item: integer tensor (N,), sequence of ints, or None for all T.
        blank: class of the blank.
        logits: whether to take the log_softmax of the emissions first.
        batch_first: whether the batch is the first dimension of `emissions`.
        frame_duration: seconds per frame: the model's hop, with its subsampling. None if only frames are of interest.
        offset: seconds at which the first frame starts, where the input is a piece of a longer recording.
        word_separator: as for `ctckit.Vocabulary`.
        fold_case: as for `ctckit.Vocabulary`.
        unknown: what to do with characters that the vocabulary lacks: "raise", take a run of them for a "wildcard", or
            "skip" them.
        method: "viterbi", the most probable path.
        confidence: whether to compute confidences. They take about twice the time of the path.
        infeasible: what to do with an item that no path spells (see `ctckit.forced_align`), or whose emissions are NaN
            where its tokens need them: "raise", or "none", which gives None in its place.

    Returns:
        An `Alignment`, or a list of them for a batch. An empty transcript has an alignment without tokens. A word none
        of whose characters the vocabulary has (with ``unknown="skip"``) is left out.

    Raises:
        TypeError: for an argument of the wrong type.
        ValueError: for wrong shapes and values, for a character that is not in the vocabulary, and for an infeasible
            item, naming it, the frames it needs and those it has.

    Notes:
        The computation is done on the CPU; tensors on another device are copied there. An item's result does not depend
        on the others of its batch. Time grows with T · S, memory beside the input much more slowly: see
        `ctckit.forced_align`.

    Example:
        >>> import torch, ctckit
        >>> vocabulary = ["<pad>", "|", "C", "A", "T"]
        >>> path = [0, 2, 2, 0, 3, 4, 4, 1, 0, 3, 0, 0]
        >>> emissions = 6.0 * torch.nn.functional.one_hot(torch.tensor(path), 5)
        >>> alignment = ctckit.align(emissions, "CAT A", vocabulary, logits=True, frame_duration=0.02)
        >>> print(alignment)
        Alignment: 2 words, 5 tokens in 12 frames (0.24 s), score -0.12 nats
                  start      end    score   conf
          CAT      0.02     0.14    -0.01   100%  ···█████████████████████················
          A        0.18     0.20    -0.01   100%  ······························████······
        >>> for token in alignment.words[0].tokens:
        ...     print(token.text, token.start, token.end)
        C 1 3
        A 4 5
        T 5 7
    """
    _check_options(unknown, method, infeasible, frame_duration, offset)
    emissions, items = _detached(emissions, batch_first=batch_first)
    names = _vocabulary(vocabulary, word_separator, fold_case=fold_case)
    transcripts = _transcripts(text_or_tokens, names, items, blank, unknown)
    labels = _padded([transcript.ids for transcript in transcripts])
    x, lattice, batched = gate(
        emissions,
        labels[0] if items is None else labels,
        input_lengths.cpu() if isinstance(input_lengths, Tensor) else input_lengths,
        [len(transcript.pieces) for transcript in transcripts],
        blank,
        batch_first=batch_first,
        name="emissions",
    )
    if logits:
        x = x.log_softmax(2, dtype=torch.float64 if x.dtype == torch.float64 else torch.float32)
    _check_classes(transcripts, x.shape[2], blank)
    path = best_path(x, lattice)
    hopeless = ~path.totals.isfinite()
    if infeasible == "raise" and bool(hopeless.any()):
        raise ValueError(_why_hopeless(path.totals.tolist(), lattice))

    lengths = lattice.input_lengths.tolist()
    states = path.states.numpy()
    tokens = np.where(states % 2 == 1, states // 2, -1)
    occupancy = None
    if confidence:
        of_path = posteriors(x, labels, lattice.input_lengths, lattice.target_lengths, blank, states=path.states)
        occupancy = of_path.double().numpy()
    scores = path.scores.double().numpy()
    results: list[Alignment | None] = []
    for item, (transcript, length) in enumerate(zip(transcripts, lengths, strict=True)):
        if bool(hopeless[item]):
            results.append(None)
            continue
        rows = _Frames(
            tokens[item, :length], scores[item, :length], None if occupancy is None else occupancy[item, :length]
        )
        results.append(_alignment(transcript, rows, frame_duration, offset))
    return results if batched else results[0]


class _Frames(NamedTuple):
    """A path, frame by frame."""

    tokens: npt.NDArray[np.int64]
    """(T,) index of the token, or -1 for the blank."""
    scores: npt.NDArray[np.float64]
    """(T,) log-probability of the class."""
    occupancy: npt.NDArray[np.float64] | None
    """(T,) probability, given the transcript, of the path's state."""


def _alignment(transcript: Transcript, path: _Frames, frame_duration: float | None, offset: float) -> Alignment:
    """Put the tokens of a transcript where the path has them."""
    frames = len(path.tokens)
    starts = np.flatnonzero(np.diff(path.tokens, prepend=-2)) if frames else np.zeros(0, dtype=np.int64)
    ends = np.append(starts[1:], frames)[: len(starts)]
    lengths = ends - starts
    means = np.add.reduceat(path.scores, starts) / lengths if frames else path.scores
    shares = None
    if path.occupancy is not None:
        shares = np.add.reduceat(path.occupancy, starts) / lengths if frames else path.occupancy
        shares = np.clip(shares, 0.0, 1.0)  # a sum of occupancies that are rounded
    columns = [path.tokens[starts].tolist(), starts.tolist(), ends.tolist(), means.tolist()]
    columns.append([None] * len(starts) if shares is None else shares.tolist())
    tokens: list[AlignedToken] = []
    word_of: list[int | None] = []
    for index, start, end, score, share in zip(*columns, strict=True):
        if index < 0:
            continue
        piece: Piece = transcript.pieces[index]
        times = (None, None)
        if frame_duration is not None:
            times = (offset + start * frame_duration, offset + end * frame_duration)
        tokens.append(AlignedToken(piece.text, piece.id, start, end, score, share, *times))
        word_of.append(piece.word)
    return Alignment(
        text=transcript.text,
        tokens=tuple(tokens),
        words=_words(transcript, tokens, word_of),
        score=float(np.add.reduce(path.scores)),
        frames=frames,
        frame_duration=frame_duration,
        offset=offset,
    )


def _words(transcript: Transcript, tokens: list[AlignedToken], word_of: list[int | None]) -> tuple[AlignedWord, ...]:
    members: dict[int, list[AlignedToken]] = {}
    for token, word in zip(tokens, word_of, strict=True):
        if word is not None:
            members.setdefault(word, []).append(token)
    words = []
    for word, group in members.items():
        frames = sum(len(token) for token in group)
        score = sum(len(token) * token.score for token in group) / max(1, frames)
        share = None
        if group[0].confidence is not None:
            share = sum(len(token) * (token.confidence or 0.0) for token in group) / max(1, frames)
        words.append(AlignedWord(transcript.words[word], group[0].start, group[-1].end, score, share, tuple(group)))
    return tuple(words)


# --------------------------------------------------------------------------------------------------------- arguments


def _check_options(unknown: str, method: str, infeasible: str, frame_duration: Any, offset: Any) -> None:
    choices = {"unknown": (unknown, Unknown), "method": (method, Method), "infeasible": (infeasible, Infeasible)}
    for name, (value, allowed) in choices.items():
        if value not in get_args(allowed):
            raise ValueError(f"{name} is {value!r}, but must be {' or '.join(map(repr, get_args(allowed)))}")
    for name, value in (("frame_duration", frame_duration), ("offset", offset)):
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            if name == "frame_duration" and value is None:
                continue
            raise TypeError(f"{name} is {value!r}, a {type(value).__name__}, but must be a number, of seconds")
        if not math.isfinite(value) or (name == "frame_duration" and value <= 0):
            raise ValueError(
                f"{name} is {value}, but must be a {'positive, ' * (name != 'offset')}finite number of seconds"
            )


def _detached(emissions: Any, *, batch_first: bool) -> tuple[Any, int | None]:
    """Return emissions on the CPU, and the number of items, None without a batch; anything else as it is."""
    if not isinstance(emissions, Tensor):
        return emissions, None
    return emissions.detach().cpu(), emissions.shape[not batch_first] if emissions.ndim == 3 else None


def _vocabulary(source: Any, word_separator: str | None, *, fold_case: bool) -> Vocabulary | None:
    if source is None:
        if word_separator or fold_case:
            raise ValueError("word_separator and fold_case are about a vocabulary, but vocabulary is None")
        return None
    if isinstance(source, Vocabulary) and word_separator is None and not fold_case:
        return source
    return Vocabulary(source, word_separator=word_separator, fold_case=fold_case)


def _transcripts(
    given: Any, vocabulary: Vocabulary | None, items: int | None, blank: int, unknown: Unknown
) -> list[Transcript]:
    """Spell every item's text, or look up its tokens."""
    if items is None:
        return [_transcript(given, vocabulary, blank, unknown)]
    if isinstance(given, Tensor) and given.ndim == 2:
        rows = [row[row != PADDING] for row in given]
    elif isinstance(given, (list, tuple)):
        rows = list(given)
    else:
        raise TypeError(
            f"text_or_tokens is {_describe(given)}, but emissions is a batch: pass a list with a text, or a row of "
            f"tokens, per item"
        )
    if len(rows) != items:
        raise ValueError(f"text_or_tokens holds {len(rows)} items, but emissions is a batch of {items}")
    transcripts = []
    for item, row in enumerate(rows):
        try:
            transcripts.append(_transcript(row, vocabulary, blank, unknown))
        except (TypeError, ValueError) as error:  # noqa: PERF203  # must say which item
            raise type(error)(f"item {item}: {error}") from None
    return transcripts


def _transcript(given: Any, vocabulary: Vocabulary | None, blank: int, unknown: Unknown) -> Transcript:
    if isinstance(given, str):
        if vocabulary is None:
            raise ValueError(
                "text_or_tokens is a text, but vocabulary is None: pass the model's vocabulary, or the classes of the "
                "tokens"
            )
        return vocabulary.encode(given, blank=blank, unknown=unknown)
    if isinstance(given, Tensor):
        if given.ndim != 1 or given.is_floating_point() or given.is_complex() or given.dtype == torch.bool:
            raise TypeError(f"text_or_tokens is {_describe(given)}, but tokens of one item must be integers (S,)")
        given = given.tolist()
    elif isinstance(given, np.ndarray):
        given = given.tolist()
    if not isinstance(given, (list, tuple)):
        raise TypeError(
            f"text_or_tokens is {_describe(given)}, but must be a str, a list of tokens, or an integer tensor (S,)"
        )
    if vocabulary is not None:
        return vocabulary.encode_tokens(given)
    return _nameless(given)


def _nameless(tokens: Sequence[Any]) -> Transcript:
    if any(isinstance(token, str) for token in tokens):
        raise ValueError("text_or_tokens holds names, but vocabulary is None: pass it, or the classes of the tokens")
    ids = [as_int(token, f"token {position}") for position, token in enumerate(tokens)]
    return Transcript(" ".join(map(str, ids)), [Piece(str(number), number, None) for number in ids], [])


def _padded(rows: list[list[int]]) -> Tensor:
    width = max(map(len, rows), default=0)
    return torch.tensor([row + [PADDING] * (width - len(row)) for row in rows], dtype=torch.int64).reshape(-1, width)


def _check_classes(transcripts: list[Transcript], classes: int, blank: int) -> None:
    for item, transcript in enumerate(transcripts):
        for position, piece in enumerate(transcript.pieces):
            if piece.id is None or (0 <= piece.id < classes and piece.id != blank):
                continue
            what = f"token {position} of item {item}, {piece.text!r}, is class {piece.id}"
            if piece.id == blank:
                raise ValueError(
                    f"{what}, the blank, which is not part of a transcript: leave it out, or correct blank="
                )
            raise ValueError(
                f"{what}, but emissions has classes 0 to {classes - 1}: this is not the model's vocabulary, or its "
                f"classes are not the last dimension"
            )


def _why_hopeless(totals: list[float], lattice: Lattice) -> str:
    if -math.inf in totals:
        return why_infeasible(totals, lattice, "infeasible='none'")
    item = next(item for item, total in enumerate(totals) if not math.isfinite(total))
    return (
        f"emissions of item {item} hold NaN or +inf where its tokens need them: look for an overflow or a division by "
        f"zero in the model (ctckit.check names the place), or pass infeasible='none'"
    )


def _describe(value: object) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)} and dtype {value.dtype}"
    return f"a {type(value).__name__}"
