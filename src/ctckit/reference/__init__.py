r"""CTC in plain torch operations: the definition that every other backend is compared with.

Notation as in `ctckit.lattice`: frames t = 1 .. T, states s = 0 .. 2S of a target, class l(s) of state s (blanks are
the even states), and x(t, c), the log-probability of class c in frame t. Sums over paths are sums of probabilities;
the code keeps their logarithms, and -inf is an exact zero.

**Forward** (Graves et al. 2006, equations 5-8). alpha(t, s) is the probability of frames 1 .. t over all paths that
are in state s in frame t::

    alpha(0, s) = 1 if s = 0 else 0                                      before the first frame
    alpha(t, s) = y(t, s) * (   alpha(t-1, s)                            stay
                              + alpha(t-1, s-1)                          step
                              + alpha(t-1, s-2) if may_skip(s) )         skip       y(t, s) = exp x(t, l(s))

    likelihood  = alpha(T, 2S) + alpha(T, 2S-1)                          the second only if S > 0
    loss        = -log(likelihood)

A path starts in state 0 before the first frame. This gives the usual start (state 0 or 1 in frame 1), and also T = 0
and S = 0 without a special case.

**Backward** (equations 9-11). beta(t, s) is the probability of frames t+1 .. T over all paths that leave from state s
in frame t: the same recursion, from the last frame to the first and along the reversed arcs.

**Occupancy** (equations 14-15). The probability that the path is in state s in frame t, given the target, and
the same per class::

    gamma(t, s) = alpha(t, s) * beta(t, s) / likelihood
    gamma(t, c) = sum of gamma(t, s) over the states with l(s) = c

The derivative of the loss consists of it: d loss / d x(t, c) = -gamma(t, c); and where x is the log_softmax of logits,
d loss / d logit(t, c) = softmax(t, c) - gamma(t, c).

**Best path** (Viterbi). The same recursion with the largest term in place of the sum. The path is read back from its
end along the arcs that gave the largest terms.

**One engine.** Every function here combines three parts, which know nothing of each other:

- a topology, plain targets or the graph of a pattern (`ctckit.reference.topologies`);
- a semiring, the sum or the k largest (`ctckit.reference.semirings`);
- a traversal: forward, marginals, best paths, samples (`ctckit.reference.traversals`).

`ctc` and `posteriors` work out of place and read no value, and every operation has derivatives that are finite where
probabilities are zero. So they support autograd of any order, forward mode, ``torch.func`` and ``torch.compile`` (which
unrolls the frames). The cost is a Python loop over the frames. The other functions are not differentiable.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from ctckit.lattice import Lattice, frames_needed, is_invalid
from ctckit.lattice.pattern import Graph
from ctckit.reference.semirings import LOG_0, LogSum
from ctckit.reference.topologies import Arcs, Chain
from ctckit.reference.traversals import best, forward, marginals, sample


def ctc(emissions: Tensor, lattice: Lattice, *, logits: bool) -> Tensor:
    """Compute the negative log-likelihood of each target, in nats.

    Args:
        emissions: (T, N, C) log-probabilities, or logits; float16 and bfloat16 are computed in float32.
        lattice: the targets, as `ctckit.lattice.gate` gives them.
        logits: whether to take the log_softmax of the emissions first.

    Returns:
        (N,) losses, in float64 for float64, else float32. The first rule that applies decides:

        - An item with invalid labels or lengths has the loss NaN and the gradient 0.
        - An item with too few frames has the loss inf and the gradient 0, whatever its emissions.
        - An item with a NaN or +inf in its frames has the loss NaN, and the gradient NaN for every class in its frames.
          Of log-probabilities only those of the blank and its labels count, of logits those of all classes.
        - An item of probability 0 has the loss inf and the gradient 0.

        Items are independent, and frames beyond an input length are ignored.

    Example:
        >>> from ctckit.lattice import gate
        >>> log_probs, lattice, _ = gate(torch.zeros(3, 1, 2), torch.tensor([[1]]), None, None, blank=0)
        >>> ctc(log_probs, lattice, logits=False).neg().exp().round()  # 6 paths: a--, -a-, --a, aa-, -aa, aaa
        tensor([6.])
    """
    x, inside = _log_probs(emissions, lattice, logits)
    chain = Chain(lattice, x.shape[2])
    nll = -forward(x, inside, chain, LogSum())[:, 0]
    # A NaN whose derivative by every class is NaN in each frame, also by the classes that no label names.
    unknown = _unknown(x, inside, chain.classes) | nll.isnan()
    touched = torch.where(inside & unknown[:, None], emissions.to(x.dtype), 0.0).sum((0, 2)) * torch.nan
    nll = torch.where(unknown, touched, nll)
    return torch.where(is_invalid(lattice, x.shape[0], x.shape[2]), torch.nan, nll)


def posteriors(emissions: Tensor, lattice: Lattice, *, logits: bool) -> tuple[Tensor, Tensor]:
    """Compute the occupancy of classes and states: the probability of each in each frame, given the target.

    The recursion runs forward and backward, without autograd, so that long inputs fit into memory: beside the results
    it needs the memory of the second once more. The results are differentiable.

    Args:
        emissions: as for `ctc`.
        lattice: as for `ctc`.
        logits: as for `ctc`.

    Returns:
        gamma(t, c), of shape (T, N, C), and gamma(t, s), of shape (T, N, 2 * max_target + 1). Both sum to 1 over the
        last dimension in every frame of a feasible item. Both are 0 beyond an item's lengths and for an item whose loss
        is inf. For an item whose loss is NaN both are NaN in all its frames.

    Example:
        >>> from ctckit.lattice import gate
        >>> log_probs, lattice, _ = gate(torch.zeros(3, 1, 2), torch.tensor([[1]]), None, None, blank=0)
        >>> by_class, by_state = posteriors(log_probs, lattice, logits=False)
        >>> (6 * by_state[:, 0]).round()  # of the 6 paths 3 are in the first blank in the first frame
        tensor([[3., 3., 0.],
                [1., 4., 1.],
                [0., 3., 3.]])
    """
    x, inside = _log_probs(emissions, lattice, logits)
    chain = Chain(lattice, x.shape[2])
    unknown = _unknown(x, inside, chain.classes) | is_invalid(lattice, x.shape[0], x.shape[2])
    gamma, _ = marginals(torch.where(inside & unknown[:, None], torch.nan, x), inside, chain)
    by_class = torch.zeros_like(x).scatter_add(2, chain.classes.expand(gamma.shape), gamma)
    return torch.where(gamma[:, :, :1].isnan(), torch.nan, by_class), gamma


def at_states(occupancy: Tensor, states: Tensor) -> Tensor:
    """Pick one state per frame: (T, N, K) occupancy, (N, T) states, negative for none -> (N, T).

    A negative state, or one beyond the last, has the occupancy 0, or NaN in an item whose occupancy is NaN.

    >>> at_states(torch.tensor([[[0.7, 0.3, 0.0]], [[0.1, 0.8, 0.1]]]), torch.tensor([[0, 1]]))
    tensor([[0.7000, 0.8000]])
    """
    table = occupancy.transpose(0, 1)
    inside = (states >= 0) & (states < table.shape[2])
    picked = table.gather(2, states.clamp(0, table.shape[2] - 1).to(torch.int64)[:, :, None])[:, :, 0]
    return torch.where(inside | picked.isnan(), picked, 0.0)


class BestPath(NamedTuple):
    """The best path of each item. Frames beyond its length: blank, state -1, score 0.

    An item without a path has the blank, state -1 and the score -inf in all its frames; an item whose best path is
    unknown (see `best_path`) has the score NaN instead.
    """

    classes: Tensor
    """(N, T) int64."""
    states: Tensor
    """(N, T) int64: 2s for the blank before label s (from 0) or after the last, 2s + 1 for label s."""
    scores: Tensor
    """(N, T), dtype of the log-probabilities: the log-probability of the frame's class."""
    totals: Tensor
    """(N,) float64: log-probability of the path."""


def best_path(log_probs: Tensor, lattice: Lattice) -> BestPath:
    """Find the most probable path that spells each target, in float64 whatever the dtype.

    Among equally good paths, read from the end: one that ends in the last label comes before one that ends in the
    blank after it, and at each frame *stay* comes before *step*, and *step* before *skip*. The best path of an item is
    unknown if the log-probabilities of the blank and its labels have a NaN or +inf in any of its frames.

    Args:
        log_probs: (T, N, C); they need not be normalised.
        lattice: valid targets, as `ctckit.lattice.gate` gives them.

    Example:
        >>> from ctckit.lattice import gate
        >>> log_probs, lattice, _ = gate(torch.zeros(3, 1, 2), torch.tensor([[1]]), None, None, blank=0)
        >>> best_path(log_probs, lattice).states
        tensor([[1, 1, 1]])
    """
    x = log_probs.detach().double()
    within, inside = _inside(x, lattice)
    chain = Chain(lattice, x.shape[2])
    states, totals = (table[:, 0] for table in best(x, inside, chain, k=1))
    totals = torch.where(_unknown(x, inside, chain.classes), torch.nan, totals)

    path = torch.where(inside[..., 0].T & totals.isfinite()[:, None], states, -1)
    classes = torch.where(path >= 0, chain.classes.gather(1, path.clamp(min=0)), lattice.blank)
    of_class = log_probs.detach().transpose(0, 1).gather(2, classes[:, :, None])[:, :, 0]
    instead = torch.where(within.T, totals[:, None], 0.0).to(log_probs.dtype)
    return BestPath(classes, path, torch.where(path >= 0, of_class, instead), totals)


def best_graph_paths(emissions: Tensor, graph: Graph, k: int) -> tuple[Tensor, Tensor]:
    """Find the k best paths through the graph of a pattern.

    Of equally good paths the order of the graph's arcs and final states decides, read from the end. For the best path
    of a plain target this is the rule of `best_path`.

    Args:
        emissions: (T, U) float64 on the CPU, without NaN or +inf.
        graph: its classes are columns of the emissions.
        k: how many paths, at least 1.

    Returns:
        The states, best path first, (j, T) int64, and the paths' log-probabilities, (j,) float64: j <= k, the paths of
        a probability above 0.

    Example:
        >>> from ctckit.lattice.pattern import compile_pattern
        >>> graph = compile_pattern([1], classes=2)
        >>> best_graph_paths(torch.zeros(2, 2, dtype=torch.float64), graph, k=4)[0]
        tensor([[1, 1],
                [0, 1],
                [1, 2]])
    """
    states, totals = best(*_one_item(emissions), Arcs(graph, emissions.shape[1]), k)
    found = totals[0] > LOG_0
    return states[0, found], totals[0, found]


def sample_graph_paths(emissions: Tensor, graph: Graph, uniforms: Tensor) -> tuple[Tensor, float]:
    """Draw paths through the graph of a pattern, each by its probability.

    Args:
        emissions: as for `best_graph_paths`.
        graph: as for `best_graph_paths`.
        uniforms: (n, T) float64, from 0 up to 1: one row for each path.

    Returns:
        The states, (n, T) int64, -1 where no path exists, and the log-likelihood of the graph.

    Example:
        >>> from ctckit.lattice.pattern import compile_pattern
        >>> graph = compile_pattern([1], classes=2)
        >>> uniforms = torch.tensor([[0.1, 0.1], [0.9, 0.9]], dtype=torch.float64)
        >>> sample_graph_paths(torch.zeros(2, 2, dtype=torch.float64), graph, uniforms)[0]
        tensor([[1, 1],
                [1, 2]])
    """
    states, log_likelihood = sample(*_one_item(emissions), Arcs(graph, emissions.shape[1]), uniforms)
    return states, log_likelihood.item()


def graph_posteriors(emissions: Tensor, graph: Graph) -> tuple[Tensor, float]:
    """Compute the occupancy of the states of a pattern's graph.

    Args:
        emissions: as for `best_graph_paths`.
        graph: as for `best_graph_paths`.

    Returns:
        (T, K) float64, the probability of each state in each frame, 0 if no path exists, and the log-likelihood of the
        graph.

    Example:
        >>> from ctckit.lattice.pattern import compile_pattern
        >>> graph = compile_pattern([1], classes=2)
        >>> occupancy, _ = graph_posteriors(torch.zeros(2, 2, dtype=torch.float64), graph)
        >>> (3 * occupancy).round()  # of the 3 paths 2 begin in the label
        tensor([[1., 2., 0.],
                [0., 2., 1.]], dtype=torch.float64)
    """
    occupancy, log_likelihood = marginals(*_one_item(emissions), Arcs(graph, emissions.shape[1]))
    return occupancy[:, 0, : graph.classes.shape[0]], log_likelihood.item()


def reduce(nll: Tensor, lattice: Lattice, reduction: str, zero_infinity: bool) -> Tensor:
    """Reduce the items' losses as torch does: 'mean' divides each by its target length first.

    Args:
        nll: (N,) losses.
        lattice: the targets.
        reduction: 'none', 'sum' or 'mean'.
        zero_infinity: whether infinite losses count as 0.

    Returns:
        (N,) losses for 'none', else one number.

    Example:
        >>> from ctckit.lattice import gate
        >>> _, lattice, _ = gate(torch.zeros(3, 2, 2), torch.tensor([[1, 1], [1, -100]]), None, None, blank=0)
        >>> reduce(torch.tensor([6.0, 1.0]), lattice, "mean", zero_infinity=False)  # (6 / 2 + 1 / 1) / 2
        tensor(2.)
    """
    if zero_infinity:
        nll = torch.where(nll == torch.inf, 0.0, nll)
    if reduction == "sum":
        return nll.sum()
    if reduction == "mean":
        return (nll / lattice.target_lengths.clamp(min=1)).mean()
    return nll


def _inside(x: Tensor, lattice: Lattice) -> tuple[Tensor, Tensor]:
    """Give (T, N) bool: the frames within the input lengths; and (T, N, 1): of these, those of feasible items.

    Frames of infeasible items are excluded: their loss does not depend on them.
    """
    within = torch.arange(x.shape[0], device=x.device)[:, None] < lattice.input_lengths
    return within, (within & (frames_needed(lattice) <= lattice.input_lengths))[:, :, None]


def _log_probs(emissions: Tensor, lattice: Lattice, logits: bool) -> tuple[Tensor, Tensor]:
    """Give x(t, c), with 0 in the frames that are not inside, and (T, N, 1) bool: which frames are inside."""
    x = emissions.float() if emissions.dtype in (torch.float16, torch.bfloat16) else emissions
    _, inside = _inside(x, lattice)
    x = torch.where(inside, x, 0.0)
    if logits:
        # A frame whose classes are all impossible has no softmax; it is impossible, and so is every path.
        impossible = (x == LOG_0).all(2, keepdim=True)
        x = torch.where(impossible, LOG_0, torch.where(impossible, 0.0, x).log_softmax(2))
    return x, inside


def _unknown(x: Tensor, inside: Tensor, classes: Tensor) -> Tensor:
    """(N,) bool: the items with a NaN or +inf in their frames, among their (N, K) classes."""
    bad = (inside & ~(x < torch.inf)).any(0)
    return bad.gather(1, classes).any(1)


def _one_item(emissions: Tensor) -> tuple[Tensor, Tensor]:
    """Give (T, U) emissions as a batch of one, (T, 1, U + 1), with an impossible class at the end; all frames count."""
    x = pad(emissions, (0, 1), value=LOG_0)[:, None]
    return x, torch.ones_like(x[..., :1], dtype=torch.bool)
