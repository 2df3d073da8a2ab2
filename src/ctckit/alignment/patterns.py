r"""Paths through a pattern: the k best, samples, posteriors, and posterior decoding.

All functions take one item, ``log_probs`` of shape (T, C). For a batch, loop over its items, each cut to its length:
``[best_paths(x[:n], p) for x, n, p in zip(log_probs, lengths, patterns)]``. They compute on the CPU, in float64;
tensors on another device are copied there and the results back. `ctckit.lattice.pattern` defines patterns and their
states. `best_paths` describes the arguments that all functions share.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from ctckit.alignment.problem import Path, PathProblem
from ctckit.errors import ArgumentTypeError, ArgumentValueError
from ctckit.lattice import as_int, checked_blank, gate_emissions
from ctckit.lattice.pattern import Graph, Pattern, checked_pattern
from ctckit.lattice.tensor_kinds import as_node, require_memory

__all__ = ["Path", "PathPosteriors", "best_paths", "path_posteriors", "posterior_path", "sample_paths"]


class PathPosteriors(NamedTuple):
    """The posteriors over all paths through a pattern."""

    occupancy: Tensor
    """(T, K), dtype of the log-probabilities: the probability, given the pattern, of each state in each frame."""
    log_likelihood: float
    """Log of the sum of the probabilities of all paths, in nats; -inf without a path, NaN if a value is NaN or +inf."""
    graph: Graph
    """The pattern's graph, with the K states."""


@as_node
def best_paths(
    log_probs: Tensor,
    pattern: Pattern,
    k: int = 1,
    *,
    blank: int = 0,
    free_start: bool = False,
    free_end: bool = False,
    wildcard_score: float | Tensor = 0.0,
    infeasible: Literal["raise", "blank"] = "raise",
) -> list[Path]:
    r"""Find the k most probable paths that match a pattern.

    This is the Viterbi algorithm on the pattern's graph. For a plain row of labels and k = 1 the path is that of
    `ctckit.forced_align`.

    Args:
        log_probs: (T, C), one item; float16, bfloat16, float32 or float64, any strides, any device. They need not be
            normalised.
        pattern: a sequence of ints, `ctckit.WILDCARD` and `ctckit.Alternatives`, or a tensor (S,) of labels.
        k: the number of paths.
        blank: class of the blank.
        free_start: whether the pattern may begin at any frame. A wildcard then matches the frames before it.
        free_end: whether the pattern may end at any frame. A wildcard then matches the frames after it.
        wildcard_score: the score of a frame of a wildcard, a free start or a free end, in nats: one number, or a tensor
            (T,), rounded to the dtype of `log_probs`. The default 0 is the log-probability of all classes together, if
            `log_probs` are normalised; if not, that is ``log_probs.logsumexp(1)``. A lower score makes wildcards match
            fewer frames.
        infeasible: what to do if no path matches: "raise"; or "blank", which returns one path of blanks with scores of
            -inf. No path matches if there are too few frames, or if log_probs of -inf bar every path.

    Returns:
        At most k different paths, best first; fewer if fewer exist. Two paths are different if their states differ in
        some frame. If a NaN or +inf is among the log-probabilities of the blank and the pattern's labels, or among the
        wildcard's scores, no path is best. Then the result is one path of blanks with scores of NaN, unless there are
        too few frames for any path.

    Raises:
        ArgumentTypeError: for an argument of a wrong type.
        ArgumentValueError: for a wrong shape, label, blank or k, with its place; and for a pattern that no path
            matches.

    Notes:
        *Ties.* Equally good paths are compared from their ends. At the first difference these are preferred, in this
        order: ending in a label to ending in the blank after it; staying in a state to entering it; entering it from
        the blank before to entering it from the states before that blank; the end of the first option to that of a
        later one; an option to an empty one. This is the rule of `ctckit.forced_align`.

        *Related work.* With the default score a wildcard is the star of MMS (Pratap et al. 2023; an extra column of
        zeros). STC (Pratap et al. 2022, arXiv 2201.12208) allows tokens other than the next label between any two
        labels, at a penalty: put a wildcard as an `Alternatives` with an empty option wherever labels may be missing.
        W-CTC (Cai et al. 2022) is `free_start` and `free_end`.

        *Cost.* Time grows with k · T · arcs. Besides a copy of the pattern's classes, memory grows with the square root
        of T. A single best path without `Alternatives` costs as much as in `ctckit.forced_align`.

    Example:
        >>> import torch, ctckit
        >>> log_probs = torch.tensor([[1.0, 7, 2], [9, 6, 2], [0, 1, 2], [4, 0, 3], [1, 0, 9]]).log_softmax(1)
        >>> best, second = ctckit.best_paths(log_probs, [1, ctckit.WILDCARD, 2], k=2)
        >>> best.tokens
        tensor([0, 1, 1, 1, 2])
        >>> ctckit.best_paths(log_probs, [ctckit.Alternatives([1, 2], [2, 2])])[0].options
        (0,)
        >>> ctckit.best_paths(log_probs, [2], free_start=True)[0].tokens
        tensor([-2, -2, -2, -2,  0])
    """
    problem = _problem(log_probs, pattern, blank, free_start, free_end, wildcard_score)
    _check_infeasible(infeasible)
    return problem.best_paths(_positive(k, "k")) or [_no_path(problem, infeasible)]


@as_node
def sample_paths(
    log_probs: Tensor,
    pattern: Pattern,
    n: int,
    *,
    blank: int = 0,
    free_start: bool = False,
    free_end: bool = False,
    wildcard_score: float | Tensor = 0.0,
    generator: torch.Generator | None = None,
    infeasible: Literal["raise", "blank"] = "raise",
) -> list[Path]:
    """Draw paths, each with its probability given the pattern: exact and independent samples.

    Args:
        log_probs, pattern, blank, free_start, free_end, wildcard_score: as for `best_paths`.
        n: the number of paths.
        generator: the random generator, on the CPU; None for torch's default. n · T numbers are drawn.
        infeasible: as for `best_paths`; "blank" returns n paths of blanks.

    Returns:
        n paths. The probability of a path is ``exp(path.total - log_likelihood)``, with the log_likelihood of
        `path_posteriors`. If a NaN or +inf leaves no best path in `best_paths`, n paths of blanks with scores of NaN.

    Raises:
        ArgumentTypeError: as `best_paths`.
        ArgumentValueError: as `best_paths`; and for a generator that is not on the CPU.

    Example:
        >>> import torch, ctckit
        >>> generator = torch.Generator().manual_seed(0)
        >>> paths = ctckit.sample_paths(torch.zeros(4, 3).log_softmax(1), [1, 2], 2, generator=generator)
        >>> [ctckit.merge_tokens(path.classes, path.scores)[0].token for path in paths]
        [1, 1]
    """
    problem = _problem(log_probs, pattern, blank, free_start, free_end, wildcard_score)
    _check_infeasible(infeasible)
    n = _positive(n, "n")
    if generator is not None and generator.device.type != "cpu":
        raise ArgumentValueError(f"generator is on {generator.device}, but must be on the CPU: use torch.Generator()")
    return problem.sample_paths(n, generator) or [_no_path(problem, infeasible)] * n


@as_node
def path_posteriors(
    log_probs: Tensor,
    pattern: Pattern,
    *,
    blank: int = 0,
    free_start: bool = False,
    free_end: bool = False,
    wildcard_score: float | Tensor = 0.0,
) -> PathPosteriors:
    """Compute the occupancy of a pattern's states: `ctckit.posteriors` with ``per_state``, for any pattern.

    Args:
        log_probs, pattern, blank, free_start, free_end, wildcard_score: as for `best_paths`.

    Returns:
        The occupancy, the log-likelihood and the graph. The occupancy sums to 1 in every frame. For an infeasible
        pattern it is 0, and the log-likelihood is -inf. Both are NaN if a NaN or +inf leaves no best path in
        `best_paths`. They are constants to autograd.

    Raises:
        ArgumentTypeError: as `best_paths`.
        ArgumentValueError: as `best_paths`, except for an infeasible pattern.

    Example:
        >>> import torch, ctckit
        >>> log_probs = torch.tensor([[0.0, 5, 0], [5, 0, 0], [0, 0, 5]]).log_softmax(1)
        >>> occupancy, log_likelihood, graph = ctckit.path_posteriors(log_probs, [1, ctckit.WILDCARD])
        >>> graph.tokens
        tensor([-1,  0, -1,  1, -1])
        >>> occupancy[:, graph.tokens == 1].sum(1).round(decimals=2)  # where the wildcard is
        tensor([0.0000, 0.5000, 1.0000])
    """
    problem = _problem(log_probs, pattern, blank, free_start, free_end, wildcard_score)
    occupancy, log_likelihood = problem.posteriors
    return PathPosteriors(occupancy.to(log_probs.dtype).to(log_probs.device), log_likelihood, problem.graph)


@as_node
def posterior_path(
    log_probs: Tensor,
    pattern: Pattern,
    *,
    blank: int = 0,
    free_start: bool = False,
    free_end: bool = False,
    wildcard_score: float | Tensor = 0.0,
    infeasible: Literal["raise", "blank"] = "raise",
) -> Path:
    r"""Find the path with the most frames right, in expectation: posterior decoding.

    .. math:: \hat\pi = \arg\max_\pi \sum_t \gamma(t, \pi_t)

    over the paths of the pattern's graph, with the occupancy :math:`\gamma` of `path_posteriors`. `best_paths` returns
    the single most probable path. This function weighs all paths: a boundary that may be in many frames is put into
    their middle.

    Args:
        log_probs, pattern, blank, free_start, free_end, wildcard_score, infeasible: as for `best_paths`.

    Returns:
        The path; its scores and total are log-probabilities, as in `best_paths`. Ties and NaN as in `best_paths`. The
        occupancy takes memory for (T, K) numbers.

    Raises:
        ArgumentTypeError: as `best_paths`.
        ArgumentValueError: as `best_paths`.

    Example:
        >>> import torch, ctckit
        >>> log_probs = torch.tensor([[1.0, 7, 2], [9, 6, 2], [5, 1, 2], [1, 0, 9]]).log_softmax(1)
        >>> ctckit.posterior_path(log_probs, [1, 2]).tokens
        tensor([ 0, -1, -1,  1])
    """
    problem = _problem(log_probs, pattern, blank, free_start, free_end, wildcard_score)
    _check_infeasible(infeasible)
    (path,) = problem.posterior_paths() or [_no_path(problem, infeasible)]
    return path


def _problem(
    log_probs: Tensor,
    pattern: Pattern,
    blank: int,
    free_start: bool,
    free_end: bool,
    wildcard_score: float | Tensor,
) -> PathProblem:
    """Check the arguments that all functions share, and make the problem of them."""
    if len(getattr(log_probs, "shape", (0, 0))) != 2:
        raise ArgumentValueError(
            f"log_probs has shape {tuple(log_probs.shape)}, but must be (T, C), one item: loop over a batch, and "
            f"cut each item to its length"
        )
    emissions, _, _ = gate_emissions(log_probs, None, name="log_probs", needs_numbers=True)
    require_memory(emissions, "log_probs")
    x = emissions[:, 0]
    blank = checked_blank(blank, x.shape[1], "log_probs")
    elements = checked_pattern(pattern, x.shape[1], blank)
    wildcard = _wildcard(wildcard_score, x)
    return PathProblem(x, elements, wildcard, blank, free_start=bool(free_start), free_end=bool(free_end))


def _wildcard(score: float | Tensor, log_probs: Tensor) -> Tensor:
    """Return the wildcard's score in each frame, (T,) in the dtype and on the device of the log-probabilities."""
    frames = log_probs.shape[0]
    if isinstance(score, Tensor):
        require_memory(score, "wildcard_score")
        if score.shape not in ((), (frames,)):
            raise ArgumentValueError(
                f"wildcard_score has shape {tuple(score.shape)}, but must be one number, or one per frame, ({frames},)"
            )
        return score.to(log_probs).expand(frames)
    if isinstance(score, bool) or not isinstance(score, (int, float)):
        raise ArgumentTypeError(
            f"wildcard_score is a {type(score).__name__}, but must be a number or a tensor (T,), in nats"
        )
    return log_probs.new_full((frames,), score)


def _check_infeasible(infeasible: str) -> None:
    if infeasible not in ("raise", "blank"):
        raise ArgumentValueError(f"infeasible is {infeasible!r}, but must be 'raise' or 'blank'")


def _no_path(problem: PathProblem, infeasible: str) -> Path:
    """Return the path of blanks, or raise the error, as `infeasible` says."""
    if infeasible == "blank":
        return problem.blank_path()
    raise ArgumentValueError(f"no path fits the pattern: {problem.why_no_path()}; or pass infeasible='blank'")


def _positive(value: int, name: str) -> int:
    value = as_int(value, name)
    if value < 1:
        raise ArgumentValueError(f"{name} is {value}, but must be at least 1")
    return value
