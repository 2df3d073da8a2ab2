"""`greedy_decode`: what the most probable path says."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor

from ctckit.backends import host_backend
from ctckit.backends.searches import GreedyResult
from ctckit.decoding.arguments import Emissions, check_plausible, gate, not_finite, problem_of
from ctckit.decoding.hypothesis import Decoding, Hypothesis
from ctckit.decoding.item import Item
from ctckit.lattice import Lengths, checked_blank

__all__ = ["greedy_batch", "greedy_decode"]


def greedy_decode(
    log_probs: Tensor,
    input_lengths: Lengths = None,
    *,
    blank: int = 0,
    batch_first: bool = True,
    logits: bool = False,
    rescore: bool = False,
) -> Decoding | list[Decoding]:
    r"""Decode by the most probable class of each frame: drop repeats, then blanks.

    .. math:: y = \text{collapse}(\hat\pi), \quad \hat\pi_t = \arg\max_c x(t, c)

    This is the fastest decoder. Its labelling is that of the most probable path, which need not be the most probable
    labelling: `ctckit.beam_search` adds up the paths of each.

    Args:
        log_probs: as for `ctckit.beam_search`.
        input_lengths: as for `ctckit.beam_search`.
        blank: class of the blank.
        batch_first: whether the batch is the first dimension of `log_probs`.
        logits: whether to take the log_softmax of each frame first.
        rescore: whether to compute the log-probability of the labelling, `Decoding.acoustic_score`, too.

    Returns:
        A `Decoding`, or a list of them for a batch. `path_score` is the log-probability of the path. `score` and
        `acoustic_score` are None without `rescore`. Of equally probable classes the lowest is taken.

    Raises:
        ArgumentTypeError: as `ctckit.beam_search`.
        ArgumentValueError: as `ctckit.beam_search`.

    Example:
        >>> import torch, ctckit
        >>> log_probs = torch.tensor([[0.1, 0.9, 0], [0.2, 0.7, 0.1], [0.8, 0, 0.2], [0.1, 0.6, 0.3]]).log()
        >>> decoding = ctckit.greedy_decode(log_probs)
        >>> decoding.tokens, round(decoding.path_score, 2)
        ((1, 1), -1.2)
    """
    emissions = gate(log_probs, input_lengths, batch_first=batch_first)
    number = checked_blank(blank, emissions.values.shape[2], "log_probs")
    decodings = greedy_batch(emissions, number, logits=logits, rescore=rescore, item_options={})
    return decodings if emissions.batched else decodings[0]


def greedy_batch(
    emissions: Emissions, blank: int, *, logits: bool, rescore: bool, item_options: dict[str, Any]
) -> list[Decoding]:
    """Decode a batch.

    Args:
        emissions: the batch.
        blank: class of the blank.
        logits: as for `greedy_decode`.
        rescore: as for `greedy_decode`.
        item_options: further arguments of `Item`.

    Raises:
        ArgumentValueError: as `greedy_decode`.
    """
    results = host_backend().greedy_decode(emissions.values, emissions.lengths, blank, logits=logits, rescore=rescore)
    options = {"blank": blank, "logits": logits, **item_options}
    decodings: list[Decoding] = []
    warned = False
    for item, result in enumerate(results):
        if result.status == "not_finite":
            raise not_finite(emissions, item, result.frame, may_be_none=False)
        # A warning is for the caller of the caller, once.
        warned = (
            check_plausible(emissions, item, result.path_score, logits=logits, level=None if warned else 3) or warned
        )
        decodings.append(_decoding(emissions, item, result, options))
    return decodings


def _decoding(emissions: Emissions, item: int, result: GreedyResult, options: dict[str, Any]) -> Decoding:
    own = Item(partial(emissions.item, item), **options)
    own.rows = [result.tokens]
    problem = problem_of(result.status, result.frame, None)
    if problem is not None:
        return Decoding((), result.path_score, problem, own)
    exact = result.acoustic_score
    hypothesis = Hypothesis(result.tokens, exact, exact, exact=exact is not None, _item=own)
    return Decoding((hypothesis,), result.path_score, None, own)
