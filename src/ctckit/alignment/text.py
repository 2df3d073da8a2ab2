"""`align`: from a transcript and a model's output to words and tokens with times and confidences."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, TypedDict, overload

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ctckit.alignment.arguments import Infeasible, Method, check_options, checked_number, checked_priors
from ctckit.alignment.priors import subtract
from ctckit.alignment.requests import Request, Spelling, requests_of, transcript_of
from ctckit.alignment.result import alignment_of
from ctckit.alignment.search import FramePath, Search, paths_of
from ctckit.errors import ArgumentValueError
from ctckit.lattice import Lengths, bad_label, checked_blank, gate_emissions, item_name, validate_input_lengths
from ctckit.lattice.pattern import Alternatives
from ctckit.lattice.plausibility import implausible
from ctckit.lattice.tensor_kinds import require_memory
from ctckit.output.alignment import Alignment
from ctckit.text.blank import blank_of
from ctckit.text.unknown import Unknown, UnknownPolicy
from ctckit.text.vocabulary import Transcript, Vocabulary, Words

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["WILDCARD_SCORE", "align"]

WILDCARD_SCORE: Final = -1.0
"""The default score of a frame of a wildcard, in nats. docs/alignment.md has the measurements."""

Tokens: TypeAlias = "Tensor | npt.NDArray[np.integer[Any]] | Sequence[Any]"
"""A row of tokens; or a text or a row of tokens per item."""


class _Options(TypedDict, total=False):
    """The keyword arguments of `align`, except `infeasible`, which decides the type of its result."""

    input_lengths: Lengths
    blank: int | None
    logits: bool
    batch_first: bool
    frame_duration: float | None
    offset: float
    word_separator: str | None
    fold_case: bool
    unknown: Unknown | Mapping[str, str]
    wildcard: str | None
    words: Words | Sequence[Words | None] | None
    wildcard_score: float
    method: Method
    free_start: bool
    free_end: bool
    confidence: bool
    log_priors: Tensor | None
    prior_weight: float


@overload
def align(
    emissions: Tensor,
    text_or_tokens: str,
    vocabulary: Any = None,
    *,
    infeasible: Literal["raise"] = "raise",
    **options: Unpack[_Options],
) -> Alignment: ...


@overload
def align(
    emissions: Tensor,
    text_or_tokens: str,
    vocabulary: Any = None,
    *,
    infeasible: Infeasible,
    **options: Unpack[_Options],
) -> Alignment | None: ...


@overload
def align(
    emissions: Tensor,
    text_or_tokens: Tokens,
    vocabulary: Any = None,
    *,
    infeasible: Literal["raise"] = "raise",
    **options: Unpack[_Options],
) -> Alignment | list[Alignment]: ...


@overload
def align(
    emissions: Tensor,
    text_or_tokens: Tokens,
    vocabulary: Any = None,
    *,
    infeasible: Infeasible,
    **options: Unpack[_Options],
) -> Alignment | list[Alignment | None] | None: ...


def align(
    emissions: Tensor,
    text_or_tokens: str | Tokens,
    vocabulary: Any = None,
    *,
    input_lengths: Lengths = None,
    blank: int | None = None,
    logits: bool = False,
    batch_first: bool = True,
    frame_duration: float | None = None,
    offset: float = 0.0,
    word_separator: str | None = None,
    fold_case: bool = False,
    unknown: Unknown | Mapping[str, str] = "raise",
    wildcard: str | None = None,
    words: Words | Sequence[Words | None] | None = None,
    wildcard_score: float = WILDCARD_SCORE,
    method: Method = "viterbi",
    free_start: bool = False,
    free_end: bool = False,
    confidence: bool = True,
    log_priors: Tensor | None = None,
    prior_weight: float = 0.25,
    infeasible: Infeasible = "raise",
) -> Alignment | list[Alignment] | list[Alignment | None] | None:
    r"""Align a transcript with the output of a CTC model: find the frames and times of each token and word.

    The best path is that of `ctckit.forced_align`. The confidence of a token is the mean of gamma(t, s) over the frames
    t of its span. Gamma is the probability, given the transcript, that frame t belongs to this token (state s of
    `ctckit.posteriors`), over all paths:

    .. math:: \text{confidence} = \frac{1}{|\text{span}|} \sum_{t \in \text{span}} \gamma(t, s)

    So the confidence is the expected fraction of the span that belongs to the token, if the transcript is right; it is
    calibrated in this sense. A wrong transcript shows in the score, not in the confidence. A word's confidence is the
    mean over the frames of its tokens.

    Args:
        emissions: (N, T, C), or (T, N, C) if not `batch_first`, or (T, C) for one item without a batch:
            log-probabilities, or logits; any floating-point dtype and strides.
        text_or_tokens: for one item a text (a str), or a row of tokens: names or classes, in a list or an integer
            tensor. For a batch a list of these, or an integer tensor (N, S) padded with -100. A list may also hold
            `ctckit.Alternatives` of rows of classes; the alignment has the option that fits best.
        vocabulary: the class of each token: a list, a dict, the path of a ``vocab.json``, a tokenizer, or a
            `ctckit.Vocabulary` (for many calls). None if the tokens are classes.
        input_lengths: frames of each item: integer tensor (N,), sequence of ints, or None for all T.
        blank: class of the blank. None for the vocabulary's blank (see `ctckit.Vocabulary`), else the last class if the
            emissions have one class more than the vocabulary, else 0.
        logits: whether to take the log_softmax of the emissions first.
        batch_first: whether the batch is the first dimension of `emissions`.
        frame_duration: seconds per frame: the model's hop, with its subsampling. None to omit times.
        offset: start of the first frame in seconds, if the input is a part of a longer recording.
        word_separator: as for `ctckit.Vocabulary`.
        fold_case: as for `ctckit.Vocabulary`.
        unknown: what to do with characters that the vocabulary lacks, and with names of special tokens: "raise" an
            error, replace a run of them by a "wildcard", or "skip" them. Or a dict of these for "words", "numbers" and
            "punctuation" (see `ctckit.Vocabulary.encode`).
        wildcard: a character for a wildcard, such as "*" (in a row of tokens: a name). A wildcard is a run of at least
            one frame of any classes. In a row of tokens, `ctckit.WILDCARD` is one too.
        words: the text's words, for texts without spaces: a list of them (for a batch, such a list or None per item),
            or a function from a text to such a list. None to split at white space.
        wildcard_score: the score, in nats, of a frame of a wildcard, or outside of the transcript at a free start or
            end. With -1.0 the tokens beside a wildcard keep their frames; with 0 the wildcard takes every frame it can,
            and they keep one (see `ctckit.best_paths`).
        method: "viterbi" for the most probable path, "posterior" for the path with the most frames right in expectation
            (`ctckit.posterior_path`).
        free_start: whether the transcript may begin at any frame.
        free_end: whether the transcript may end at any frame.
        confidence: whether to compute confidences. They take several times as long as the path.
        log_priors: (C,) log-priors of the classes (`ctckit.label_priors`), which are subtracted from the emissions
            before the search; None for none. Scores remain those of the emissions.
        prior_weight: the factor of the log-priors (see `ctckit.LabelPriors`).
        infeasible: what to do with an item that no path spells (see `ctckit.forced_align`), or with a NaN or +inf among
            the emissions of its tokens: "raise"; or "none", which returns None in its place.

    Returns:
        An `Alignment`, or a list of them for a batch. An empty transcript gives an alignment without tokens.
        `Alignment.dropped` has the words, or parts of words, that ``unknown="skip"`` left out.

    Raises:
        ArgumentTypeError: for an argument of the wrong type.
        ArgumentValueError: for wrong shapes and values; for a character that is not in the vocabulary; for a non-empty
            text of which ``unknown="skip"`` leaves nothing; for a vocabulary with more classes than the emissions; and
            for an infeasible item, with the frames that it needs and has.

    Notes:
        Time grows with T · S. Memory, besides the input, grows much more slowly: see `ctckit.forced_align`. (With
        `ctckit.Alternatives` or the method "posterior" the confidences take a table (T, 2S).)

        Some emissions cause a UserWarning: values above 0; frames whose probabilities do not add up to 1 (up to 256
        frames of each item are checked); at least two classes more than in the vocabulary.

        The computation runs on the CPU; tensors on another device are copied there. An item's result does not depend on
        the rest of its batch.

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
    check_options(method, infeasible, frame_duration, offset)
    emissions, items, classes = _detached(emissions, batch_first=batch_first)
    names = _vocabulary(vocabulary, word_separator, fold_case=fold_case)
    blank = blank_of(names, classes, blank)
    if isinstance(input_lengths, Tensor):
        require_memory(input_lengths, "input_lengths")
    requests = requests_of(text_or_tokens, items, Spelling(names, blank, UnknownPolicy.of(unknown), wildcard, words))
    x, frames, batched = gate_emissions(
        emissions,
        input_lengths.cpu() if isinstance(input_lengths, Tensor) else input_lengths,
        batch_first=batch_first,
        name="emissions",
        needs_numbers=True,
    )
    blank = checked_blank(blank, x.shape[2], "emissions")
    if input_lengths is not None:
        validate_input_lengths(frames, x.shape[0])
    _check_classes(requests, x.shape[2], blank, names, batched=batched)
    given = x
    if logits:
        x = x.log_softmax(2, dtype=torch.float64 if x.dtype == torch.float64 else torch.float32)
    adjusted = x
    if log_priors is not None:
        adjusted = subtract(x, checked_priors(log_priors, x.shape[2]), checked_number(prior_weight, "prior_weight"))
    search = Search(
        blank=blank,
        posterior=method == "posterior",
        free_start=free_start,
        free_end=free_end,
        wildcard_score=checked_number(wildcard_score, "wildcard_score"),
        confidence=confidence,
        raises=infeasible == "raise",
        batched=batched,
    )
    _warn_if_implausible(given, frames, names, logits=logits)
    paths = paths_of(requests, x, adjusted, frames, search)
    results = [
        None if path is None else alignment_of(_chosen(request, path, names), path, blank, frame_duration, offset)
        for request, path in zip(requests, paths, strict=True)
    ]
    return results if batched else results[0]


def _chosen(request: Request, path: FramePath, vocabulary: Vocabulary | None) -> Transcript:
    """Return the transcript; if it has alternatives, with the words of the path's options."""
    if not any(isinstance(element, Alternatives) for element in request.pattern):
        return request.transcript
    taken = np.unique(path.tokens[path.tokens >= 0]).tolist()
    pieces = request.transcript.pieces
    read = transcript_of([pieces[index]._replace(word=None) for index in taken], vocabulary)
    # Token indices keep counting the tokens of all options.
    result = list(pieces)
    for index, piece in zip(taken, read.pieces, strict=True):
        result[index] = piece
    return Transcript(read.text, result, read.words)


# --------------------------------------------------------------------------------------------------------- arguments


def _detached(emissions: Any, *, batch_first: bool) -> tuple[Any, int | None, int | None]:
    """Return emissions on the CPU, the number of items (None without a batch) and of classes.

    An argument that is no tensor of 2 or 3 dimensions is returned as it is, for `gate_emissions` to raise.
    """
    if not isinstance(emissions, Tensor) or emissions.ndim not in (2, 3):
        return emissions, None, None
    require_memory(emissions, "emissions")
    items = emissions.shape[not batch_first] if emissions.ndim == 3 else None
    return emissions.detach().cpu(), items, emissions.shape[-1]


def _vocabulary(source: Any, word_separator: str | None, *, fold_case: bool) -> Vocabulary | None:
    if source is None:
        if word_separator or fold_case:
            raise ArgumentValueError("word_separator and fold_case need a vocabulary, but vocabulary is None")
        return None
    if isinstance(source, Vocabulary) and word_separator is None and not fold_case:
        return source
    return Vocabulary(source, word_separator=word_separator, fold_case=fold_case)


def _check_classes(
    requests: list[Request], classes: int, blank: int, vocabulary: Vocabulary | None, *, batched: bool
) -> None:
    if vocabulary is not None:
        vocabulary.require_classes(classes, "emissions")
    for item, request in enumerate(requests):
        for position, piece in enumerate(request.transcript.pieces):
            if piece.id is None or not bad_label(piece.id, classes, blank):
                continue
            what = f"token {position} of {item_name(item, batched=batched)}, {piece.text!r}, is class {piece.id}"
            if piece.id == blank:
                by_default = vocabulary is not None and vocabulary.blank is None and blank == 0
                why = " (the blank is class 0 by default)" if by_default else ""
                raise ArgumentValueError(
                    f"{what}, the blank, which no transcript holds{why}: leave it out, or correct blank="
                )
            raise ArgumentValueError(
                f"{what}, but emissions has classes 0 to {classes - 1}: this is not the model's vocabulary, or its "
                f"classes are not the last dimension"
            )


def _warn_if_implausible(x: Tensor, lengths: Tensor, vocabulary: Vocabulary | None, *, logits: bool) -> None:
    """Warn of the first item whose emissions are implausible: see `ctckit.lattice.plausibility`."""
    named = None if vocabulary is None else vocabulary.classes_named(x.shape[2])
    for item, length in enumerate(lengths.tolist()):
        problems = implausible(x[:length, item], logits=logits, classes_named=named)
        if problems:
            where = f"item {item}: " if x.shape[1] > 1 else ""
            warnings.warn(where + problems[0].message, UserWarning, stacklevel=3)
            return
