"""The paths behind `ctckit.align`: which token each frame belongs to, with what score and probability."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ctckit.alignment import best_path, why_infeasible
from ctckit.lattice import PADDING, gate
from ctckit.paths import best_paths, path_posteriors, posterior_path
from ctckit.pattern import compile_pattern
from ctckit.posterior import posteriors
from ctckit.transcripts import Request

__all__ = ["FramePath", "Search", "paths_of"]


class FramePath(NamedTuple):
    """One item's path, frame by frame."""

    tokens: npt.NDArray[np.int64]
    """(T,) index of the token; negative for the blank, and outside of the transcript."""
    scores: npt.NDArray[np.float64]
    """(T,) log-probability of the class, of the model and without priors."""
    occupancy: npt.NDArray[np.float64] | None
    """(T,) probability, given the transcript, of the path's state."""


class Search(NamedTuple):
    """How paths are sought."""

    blank: int
    posterior: bool
    free_start: bool
    free_end: bool
    wildcard_score: float
    confidence: bool
    raises: bool


def paths_of(
    requests: list[Request], log_probs: Tensor, adjusted: Tensor, input_lengths: Tensor, search: Search
) -> list[FramePath | None]:
    """Find every item's path; None for one that has none.

    Args:
        requests: what to align.
        log_probs: (T, N, C) on the CPU, for the scores.
        adjusted: likewise, for the search.
        input_lengths: (N,).
        search: how.

    Raises:
        ValueError: for an item without a path, if the search raises.
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
        found = _plain_paths(rows, own, x, input_lengths[plain], search, plain)
        for item, path in zip(plain, found, strict=True):
            results[item] = path
    for item in sorted(set(range(len(requests))) - set(plain)):
        length = int(input_lengths[item])
        results[item] = _pattern_path(requests[item], log_probs[:length, item], adjusted[:length, item], search, item)
    return results


def _plain_paths(
    requests: list[Request], log_probs: Tensor, x: Tensor, input_lengths: Tensor, search: Search, items: list[int]
) -> list[FramePath | None]:
    targets = _padded([request.transcript.ids for request in requests])
    lengths = torch.tensor([len(request.pattern) for request in requests])
    _, lattice, _ = gate(x, targets, input_lengths, lengths, search.blank)
    path = best_path(x, lattice)
    totals = path.totals.tolist()
    if search.raises and not all(map(math.isfinite, totals)):
        if -math.inf in totals:
            raise ValueError(why_infeasible(totals, lattice, "infeasible='none'", items))
        raise ValueError(_not_a_number(items[next(i for i, total in enumerate(totals) if not math.isfinite(total))]))
    scores = path.scores if x is log_probs else _scores(log_probs, path.classes)
    occupancy = None
    if search.confidence:
        of_path = posteriors(x, targets, input_lengths, lengths, search.blank, states=path.states)
        occupancy = of_path.double().numpy()
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
    ends: dict[str, Any] = {"blank": search.blank, "free_start": search.free_start, "free_end": search.free_end}
    score = search.wildcard_score
    if search.posterior:
        path = posterior_path(x, request.pattern, wildcard_score=score, infeasible="blank", **ends)
    else:
        path = best_paths(x, request.pattern, wildcard_score=score, infeasible="blank", **ends)[0]
    if not math.isfinite(path.total):
        if not search.raises:
            return None
        if math.isnan(path.total):
            raise ValueError(_not_a_number(item))
        needed = compile_pattern(request.pattern, x.shape[1], **ends).frames_needed()
        why = "too few frames" if needed > len(x) else "emissions of -inf that bar every path"
        raise ValueError(
            f"no path fits the transcript: item {item} needs {needed} frame{'' if needed == 1 else 's'} and has "
            f"{len(x)}: {why}; or pass infeasible='none'"
        )
    classes = x.shape[1]
    outside = path.classes == classes
    scores = torch.where(outside, score, _scores(log_probs[:, None], path.classes.clamp(max=classes - 1)[None])[0])
    occupancy = None
    if search.confidence:
        by_state = path_posteriors(x, request.pattern, wildcard_score=score, **ends).occupancy
        occupancy = by_state.gather(1, path.states[:, None])[:, 0].double().numpy()
    return FramePath(path.tokens.numpy(), scores.double().numpy(), occupancy)


def _scores(log_probs: Tensor, classes: Tensor) -> Tensor:
    """(T, N, C) log-probabilities, (N, T) classes -> (N, T)."""
    return log_probs.transpose(0, 1).gather(2, classes[:, :, None])[:, :, 0]


def _padded(rows: list[list[int]]) -> Tensor:
    width = max(map(len, rows), default=0)
    return torch.tensor([row + [PADDING] * (width - len(row)) for row in rows], dtype=torch.int64).reshape(
        len(rows), width
    )


def _not_a_number(item: int) -> str:
    return (
        f"emissions of item {item} hold NaN or +inf where its tokens need them: look for an overflow or a division by "
        f"zero in the model (ctckit.check names the place), or pass infeasible='none'"
    )
