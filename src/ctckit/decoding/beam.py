"""`beam_search`: the most probable labellings of emissions."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal, overload

from torch import Tensor

from ctckit.backends import host_backend
from ctckit.backends.searches import Found, SearchOptions, SearchResult
from ctckit.decoding.arguments import (
    BeamWidth,
    Emissions,
    Invalid,
    Pruning,
    check_invalid,
    check_plausible,
    gate,
    not_finite,
    problem_of,
    widths,
)
from ctckit.decoding.hypothesis import Decoding, Hypothesis
from ctckit.decoding.item import Item
from ctckit.decoding.scorers import Scored, Scorer, checked_scorers
from ctckit.lattice import Lengths, checked_blank

__all__ = ["beam_search", "decoding_of", "hypothesis_of", "search_batch"]


@overload
def beam_search(
    log_probs: Tensor,
    input_lengths: Lengths = None,
    *,
    beam_width: BeamWidth = 16,
    nbest: int = 1,
    blank: int = 0,
    batch_first: bool = True,
    logits: bool = False,
    scorers: Sequence[Scorer] = (),
    rescore: bool = True,
    beam_threshold: float | None = None,
    token_threshold: float | None = None,
    blank_threshold: float | None = None,
    invalid: Literal["raise"] = "raise",
) -> Decoding | list[Decoding]: ...


@overload
def beam_search(
    log_probs: Tensor,
    input_lengths: Lengths = None,
    *,
    beam_width: BeamWidth = 16,
    nbest: int = 1,
    blank: int = 0,
    batch_first: bool = True,
    logits: bool = False,
    scorers: Sequence[Scorer] = (),
    rescore: bool = True,
    beam_threshold: float | None = None,
    token_threshold: float | None = None,
    blank_threshold: float | None = None,
    invalid: Invalid,
) -> Decoding | list[Decoding | None] | None: ...


def beam_search(
    log_probs: Tensor,
    input_lengths: Lengths = None,
    *,
    beam_width: BeamWidth = 16,
    nbest: int = 1,
    blank: int = 0,
    batch_first: bool = True,
    logits: bool = False,
    scorers: Sequence[Scorer] = (),
    rescore: bool = True,
    beam_threshold: float | None = None,
    token_threshold: float | None = None,
    blank_threshold: float | None = None,
    invalid: Invalid = "raise",
) -> Decoding | list[Decoding] | list[Decoding | None] | None:
    r"""Find the most probable labellings of a model's output by prefix beam search.

    The probability of a labelling y is the sum over all paths that spell it, as in the CTC loss:

    .. math:: A(y) = \log \sum_{\pi:\ \text{collapse}(\pi) = y} \exp \sum_t x(t, \pi_t)

    The search keeps the `beam_width` prefixes of the most mass after each frame, and adds up all of a prefix's paths
    (A. Graves and N. Jaitly 2014; A. Hannun et al. 2014). `ctckit.reference.decoding` is its definition.

    Args:
        log_probs: (N, T, C), or (T, N, C) if not `batch_first`, or (T, C) for one item without a batch;
            log-probabilities, or logits; any floating-point dtype and strides.
        input_lengths: frames of each item: integer tensor (N,), sequence of ints, or None for all T.
        beam_width: how many prefixes are kept. Or a pair, the first and the largest width: the width is doubled until
            the best hypothesis is certified (see `ctckit.Decoding.certified`), or the largest is reached.
        nbest: how many hypotheses are returned, at most `beam_width`.
        blank: class of the blank.
        batch_first: whether the batch is the first dimension of `log_probs`.
        logits: whether to take the log_softmax of each frame first.
        scorers: what else a hypothesis is scored by (see `ctckit.decoding.scorers`); their gains are added to A(y).
        rescore: whether to replace the beam's sums by the exact A(y) for the hypotheses returned, and to sort them by
            it. It costs one forward recursion for each.
        beam_threshold: in nats: prefixes leave that are by more below the best. None for none, like the others: the
            search needs no pruning to be fast.
        token_threshold: classes with a lower probability make no new prefix. In a frame the sum of these is lost at
            most.
        blank_threshold: in a frame whose blank has a higher probability, all prefixes stay, by the blank alone. At most
            1 minus the threshold is lost. (The frame is not dropped: that would merge equal labels on both its sides.)
        invalid: what to do with an item that holds NaN or +inf: "raise"; or "none", which returns None in its place.

    Returns:
        A `Decoding`, or a list of them for a batch. If no labelling has a probability above 0, it has no hypothesis,
        the score -inf and a `problem`. Without frames it is the empty labelling with the score 0.

    Raises:
        ArgumentTypeError: for an argument of the wrong type.
        ArgumentValueError: for wrong shapes and values; for items that hold NaN or +inf; for probabilities in place
            of their logarithms.

    Notes:
        *Ties.* Of equal masses, a prefix that stays comes before a new one. Prefixes that stay keep their order. New
        ones have the order of their parents, then that of their classes.

        *Same bits.* The search, its order and the beam's sums are the same to the bit for any batch, number of threads,
        instruction set, strides and chunks (see `ctckit.Decoder.stream`). Exact scores are so for one instruction set.

        *Numerics.* Masses are float64. A prefix 1,200 nats below the best has no mass. A log-probability below -708 is
        the probability 0.

        *Cost.* Time grows with the width, and with the classes by no more than reading them. Memory, besides the input,
        is about 150 bytes per prefix and 60 per class for each thread, and 12 per label in which hypotheses differ.
        Items are distributed over `torch.get_num_threads` threads. The computation runs on the CPU; tensors on another
        device are copied there.

    Example:
        >>> import torch, ctckit
        >>> log_probs = torch.tensor([[0.6, 0.4], [0.6, 0.4]]).log()
        >>> decoding = ctckit.beam_search(log_probs, nbest=2)
        >>> decoding.tokens, round(decoding.score, 2), decoding.certified
        ((1,), -0.45, True)
        >>> decoding
        Decoding: 2 hypotheses, lost 0, certified
             score  confidence  tokens
             -0.45      64.00%  1
             -1.02      36.00%
        >>> ctckit.greedy_decode(log_probs).tokens  # the best path says nothing
        ()
    """
    check_invalid(invalid)
    first, largest, hypotheses = widths(beam_width, nbest)
    pruning = Pruning(beam_threshold, token_threshold, blank_threshold).check()
    used = Scored.by_others(checked_scorers(scorers))
    emissions = gate(log_probs, input_lengths, batch_first=batch_first)
    number = checked_blank(blank, emissions.values.shape[2], "log_probs")
    options = SearchOptions(number, first, hypotheses, logits, rescore, *pruning)
    results = search_batch(emissions, options, largest, used, invalid, {})
    return results if emissions.batched else results[0]


def search_batch(
    emissions: Emissions,
    options: SearchOptions,
    largest: int,
    scored: Scored,
    invalid: Invalid,
    item_options: dict[str, Any],
) -> list[Decoding | None]:
    """Search a batch, and widen the beam of items that are not certified.

    Args:
        emissions: the batch.
        options: the options, with the first width.
        largest: the largest width.
        scored: the scorers.
        invalid: as for `beam_search`.
        item_options: further arguments of `Item`.

    Raises:
        ArgumentValueError: as `beam_search`.
    """
    found: list[Decoding | None] = [None] * emissions.values.shape[1]
    left = list(range(len(found)))
    warned = False
    while left:
        part = emissions
        if len(left) < len(found):
            part = Emissions(emissions.values[:, left], emissions.lengths[left], emissions.batched)
        results = host_backend().beam_search(part.values, part.lengths, options, scored.scorers)
        for item, result in zip(left, results, strict=True):
            if result.status == "not_finite":
                if invalid == "raise":
                    raise not_finite(emissions, item, result.frame, may_be_none=True)
                continue
            decoding = decoding_of(emissions, item, result, options, scored, item_options)
            score = decoding.acoustic_score or 0.0
            # A warning is for the caller of the caller, once.
            warned = (
                check_plausible(emissions, item, score, logits=options.logits, level=None if warned else 3) or warned
            )
            found[item] = decoding
        if options.width >= largest:
            break
        left = [item for item in left if (known := found[item]) is not None and known.certified is False]
        options = options._replace(width=min(2 * options.width, largest))
    return found


def decoding_of(
    emissions: Emissions,
    item: int,
    result: SearchResult,
    options: SearchOptions,
    scored: Scored,
    item_options: dict[str, Any],
) -> Decoding:
    """Make the decoding of one item from the result of its search."""
    scores = tuple(found.acoustic_score for found in result.hypotheses) if options.rescore else ()
    own = Item(
        partial(emissions.item, item),
        blank=options.blank,
        logits=options.logits,
        result=result,
        exact=scores,
        **item_options,
    )
    own.rows = [found.tokens for found in result.hypotheses]
    hypotheses = [hypothesis_of(found, own, scored, exact=options.rescore) for found in result.hypotheses]
    if options.rescore and len(hypotheses) > 1:
        hypotheses.sort(key=lambda hypothesis: -(hypothesis.score or 0.0))
    is_end = result.frame == int(emissions.lengths[item])
    problem = problem_of(result.status, result.frame, options, is_end=is_end, is_scored=bool(scored.scorers))
    return Decoding(tuple(hypotheses), None, problem, own)


def hypothesis_of(found: Found, item: Item, scored: Scored, *, exact: bool) -> Hypothesis:
    """Make a hypothesis of an item from what the search has found."""
    score = found.acoustic_score + sum(found.gains) if exact else found.beam_score
    return Hypothesis(
        found.tokens,
        score,
        found.acoustic_score,
        lm_score=scored.gain("lm", found.gains),
        hotword_score=scored.gain("hotwords", found.gains),
        exact=exact,
        beam_score=found.beam_score,
        _item=item,
    )
