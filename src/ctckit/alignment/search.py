"""The paths behind `ctckit.align`: which token each frame belongs to, with what score and probability."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ctckit.alignment.forced import why_infeasible
from ctckit.alignment.occupancy import posteriors
from ctckit.alignment.patterns import best_paths, path_posteriors, posterior_path
from ctckit.backends import host_backend
from ctckit.errors import ArgumentValueError
from ctckit.lattice import PADDING, Lattice, gate
from ctckit.lattice.pattern import WILDCARD, Alternatives, Element, Wildcard, compile_pattern
from ctckit.text.transcripts import Request

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
        ArgumentValueError: for an item without a path, if the search raises.
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
        results[item] = _pattern_path(requests[item], log_probs[:length, item], adjusted[:length, item], search, item)
    return results


def _plain_paths(
    requests: list[Request], log_probs: Tensor, x: Tensor, input_lengths: Tensor, search: Search, items: list[int]
) -> list[FramePath | None]:
    targets = _padded([request.transcript.ids for request in requests])
    lengths = torch.tensor([len(request.pattern) for request in requests], device="cpu")
    # All of these are tensors on the CPU that were made here or have passed the gate.
    lattice = Lattice(targets, input_lengths, lengths, targets.shape[1], search.blank)
    path = host_backend().best_path(x, lattice)
    totals = path.totals.tolist()
    if search.raises and not all(map(math.isfinite, totals)):
        if -math.inf in totals:
            raise ArgumentValueError(why_infeasible(totals, lattice, "infeasible='none'", items))
        raise ArgumentValueError(
            _not_a_number(items[next(i for i, total in enumerate(totals) if not math.isfinite(total))])
        )
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
    """Find the path of what is more than a row of labels."""
    alternatives = any(isinstance(element, Alternatives) for element in request.pattern)
    find = _graph_path if alternatives or search.posterior or not request.pattern else _linear_path
    tokens, classes, occupancy, total = find(request.pattern, x, search)
    if not math.isfinite(total):
        if search.raises:
            raise ArgumentValueError(
                _not_a_number(item) if math.isnan(total) else _why_none(request.pattern, x, search, item)
            )
        return None
    outside = classes >= x.shape[1]
    scores = _scores(log_probs[:, None], torch.where(outside, search.blank, classes)[None])[0]
    scores = torch.where(outside, search.wildcard_score, scores)
    shares = None if occupancy is None else occupancy.double().numpy()
    return FramePath(tokens.numpy(), scores.double().numpy(), shares)


_Found: TypeAlias = "tuple[Tensor, Tensor, Tensor | None, float]"  # tokens, classes, occupancy, total


def _linear_path(pattern: list[Element], x: Tensor, search: Search) -> _Found:
    """Find the path of labels and wildcards, as of a row of labels whose emissions have a column for the wildcard.

    A free end is a wildcard, too, and one frame more, in which nothing else is possible. Neighbouring wildcards take
    two columns in turn, because a blank would have to be between equal labels.
    """
    frames, classes = x.shape
    before, after = int(search.free_start), int(search.free_end)
    labels: list[int] = []
    for element in [WILDCARD] * before + pattern + [WILDCARD] * after:
        is_wildcard = isinstance(element, Wildcard)
        following = classes + 1 if labels and labels[-1] == classes else classes
        labels.append(following if is_wildcard else element)  # type: ignore[arg-type]  # no Alternatives here
    x = torch.cat((x, x.new_full((frames, 2), search.wildcard_score)), 1)
    outside = x.new_full((1, classes + 2), -torch.inf)
    outside[:, classes:] = 0
    x = torch.cat((outside[:before], x, outside[:after]))
    targets = torch.tensor(labels, device="cpu")
    x, lattice, _ = gate(x, targets, None, None, search.blank, needs_numbers=True)
    path = host_backend().best_path(x, lattice)
    total = float(path.totals)
    within = slice(before, before + frames)
    states = path.states[0, within]
    tokens = torch.where(states % 2 == 1, torch.div(states, 2, rounding_mode="floor") - before, -1)
    tokens = torch.where(tokens < len(pattern), tokens, -1)
    occupancy = None
    if search.confidence and math.isfinite(total):
        occupancy = posteriors(x[:, 0], targets, None, None, search.blank, states=path.states[0])[within]
    return tokens, path.classes[0, within], occupancy, total


def _graph_path(pattern: list[Element], x: Tensor, search: Search) -> _Found:
    ends: dict[str, Any] = _ends(search)
    score = search.wildcard_score
    if search.posterior:
        path = posterior_path(x, pattern, wildcard_score=score, infeasible="blank", **ends)
    else:
        path = best_paths(x, pattern, wildcard_score=score, infeasible="blank", **ends)[0]
    occupancy = None
    if search.confidence and math.isfinite(path.total):
        by_state = path_posteriors(x, pattern, wildcard_score=score, **ends).occupancy
        occupancy = by_state.gather(1, path.states[:, None])[:, 0]
    return path.tokens, path.classes, occupancy, path.total


def _ends(search: Search) -> dict[str, Any]:
    return {"blank": search.blank, "free_start": search.free_start, "free_end": search.free_end}


def _why_none(pattern: list[Element], x: Tensor, search: Search, item: int) -> str:
    needed = compile_pattern(pattern, x.shape[1], **_ends(search)).frames_needed()
    why = "too few frames" if needed > len(x) else "log_probs of -inf bar every path"
    return (
        f"no path fits the transcript: item {item} needs {needed} frame{'' if needed == 1 else 's'}, but has {len(x)}: "
        f"{why}; or pass infeasible='none'"
    )


def _scores(log_probs: Tensor, classes: Tensor) -> Tensor:
    """(T, N, C) log-probabilities, (N, T) classes -> (N, T)."""
    return log_probs.transpose(0, 1).gather(2, classes[:, :, None])[:, :, 0]


def _padded(rows: list[list[int]]) -> Tensor:
    width = max(map(len, rows), default=0)
    return torch.tensor(
        [row + [PADDING] * (width - len(row)) for row in rows], dtype=torch.int64, device="cpu"
    ).reshape(len(rows), width)


def _not_a_number(item: int) -> str:
    return (
        f"emissions of item {item} hold NaN or +inf where its tokens need them: look for an overflow or a division by "
        f"zero in the model (ctckit.check names the place), or pass infeasible='none'"
    )
