"""The search of `ctckit.align`: the token of each frame, with its score and occupancy."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ctckit.alignment.forced import no_path_error
from ctckit.alignment.problem import PathProblem
from ctckit.alignment.requests import Request
from ctckit.backends import host_backend
from ctckit.errors import ArgumentValueError
from ctckit.lattice import Lattice, item_name

__all__ = ["FramePath", "Search", "paths_of"]


class FramePath(NamedTuple):
    """One item's path, frame by frame."""

    tokens: npt.NDArray[np.int64]
    """(T,) index of the token; negative for the blank, and outside of the transcript."""
    scores: npt.NDArray[np.float64]
    """(T,) log-probability of the class, from the model, without priors."""
    occupancy: npt.NDArray[np.float64] | None
    """(T,) probability of the path's state, given the transcript."""


class Search(NamedTuple):
    """Options of the search."""

    blank: int
    posterior: bool
    free_start: bool
    free_end: bool
    wildcard_score: float
    confidence: bool
    raises: bool
    batched: bool
    """Whether messages number the items."""


def paths_of(
    requests: list[Request], log_probs: Tensor, adjusted: Tensor, input_lengths: Tensor, search: Search
) -> list[FramePath | None]:
    """Find every item's path; None for an item without one.

    Args:
        requests: the transcripts.
        log_probs: (T, N, C) log-probabilities on the CPU, for the scores.
        adjusted: the same less priors, for the search.
        input_lengths: (N,) frames of each item.
        search: options of the search.

    Raises:
        ArgumentValueError: for an item without a path, if ``search.raises``.
    """
    results: list[FramePath | None] = [None] * len(requests)
    plain: list[int] = []
    for item, request in enumerate(requests):
        if request.is_plain and not (search.posterior or search.free_start or search.free_end):
            plain.append(item)
    if plain:
        everything = len(plain) == len(requests)
        rows = [requests[item] for item in plain]
        own = log_probs if everything else log_probs[:, plain]
        x = adjusted if everything else adjusted[:, plain]
        found = _plain_paths(rows, own, x, input_lengths if everything else input_lengths[plain], search, plain)
        for item, path in zip(plain, found, strict=True):
            results[item] = path
    for item in sorted(set(range(len(requests))) - set(plain)):
        length = int(input_lengths[item])
        x = adjusted[:length, item]
        own = x if adjusted is log_probs else log_probs[:length, item]
        results[item] = _pattern_path(requests[item], own, x, search, item)
    return results


def _plain_paths(
    requests: list[Request], log_probs: Tensor, x: Tensor, input_lengths: Tensor, search: Search, items: list[int]
) -> list[FramePath | None]:
    # `ctckit.align` has checked the classes.
    lattice = Lattice.of_rows([request.transcript.ids for request in requests], input_lengths, search.blank)
    path = host_backend().best_path(x, lattice)
    totals = path.totals.tolist()
    if search.raises and not all(map(math.isfinite, totals)):
        if -math.inf in totals:
            raise no_path_error(totals, lattice, "infeasible='none'", batched=search.batched, numbers=items)
        first = next(row for row, total in enumerate(totals) if not math.isfinite(total))
        raise _not_a_number(items[first], search)
    scores = path.scores if x is log_probs else _scores(log_probs, path.classes)
    occupancy = None
    if search.confidence:
        occupancy = host_backend().path_occupancy(x, lattice, path.states, logits=False).double().numpy()
    states, values = path.states.numpy(), scores.double().numpy()
    tokens = np.where(states % 2 == 1, states // 2, -1)
    results: list[FramePath | None] = []
    for row, (total, length) in enumerate(zip(totals, input_lengths.tolist(), strict=True)):
        if not math.isfinite(total):
            results.append(None)
            continue
        shares = None if occupancy is None else occupancy[row, :length]
        results.append(FramePath(tokens[row, :length], values[row, :length], shares))
    return results


def _pattern_path(request: Request, log_probs: Tensor, x: Tensor, search: Search, item: int) -> FramePath | None:
    """Find the path of a request that is not a plain row of labels, or whose search is not plain."""
    wildcard = x.new_full((x.shape[0],), search.wildcard_score)
    problem = PathProblem(
        x, request.pattern, wildcard, search.blank, free_start=search.free_start, free_end=search.free_end
    )
    paths = problem.posterior_paths() if search.posterior else problem.best_paths(1)
    if not paths or not math.isfinite(paths[0].total):
        if not search.raises:
            return None
        if paths:
            raise _not_a_number(item, search)
        why = problem.why_no_path(item, batched=search.batched)
        raise ArgumentValueError(f"no path spells the transcript: {why}; or pass infeasible='none'")
    path = paths[0]
    scores = path.scores
    if log_probs is not x:
        outside = path.classes >= x.shape[1]
        scores = _scores(log_probs[:, None], torch.where(outside, search.blank, path.classes)[None])[0]
        scores = torch.where(outside, search.wildcard_score, scores)
    shares = None
    if search.confidence:
        # The method "posterior" has computed the table of all states already.
        by_chain = problem.is_chain and not search.posterior
        occupancy = problem.chain_path_occupancy(path) if by_chain else problem.path_occupancy(path)
        shares = occupancy.double().numpy()
    return FramePath(path.tokens.numpy(), scores.double().numpy(), shares)


def _scores(log_probs: Tensor, classes: Tensor) -> Tensor:
    """(T, N, C) log-probabilities, (N, T) classes -> (N, T)."""
    return log_probs.transpose(0, 1).gather(2, classes[:, :, None])[:, :, 0]


def _not_a_number(item: int, search: Search) -> ArgumentValueError:
    return ArgumentValueError(
        f"emissions of {item_name(item, batched=search.batched)} hold NaN or +inf where its tokens need them: look for "
        f"an overflow or a division by zero in the model (ctckit.check names the place), or pass infeasible='none'"
    )
