r"""CTC in plain torch operations: the definition that every other backend is held against.

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

Starting "before the first frame" in state 0 gives the usual start (state 0 or 1 in frame 1), and with it T = 0 and
S = 0 without a special case.

**Backward** (equations 9-11). The lattice turned around, last frame first and last state first, is a lattice of the
same kind, so the same recursion on the flipped problem gives beta(t, s), the probability of frames t+1 .. T over all
paths that leave from state s in frame t. (It is the inner sum of the recursion, before the emission is multiplied.)

**Occupancy** (equations 14-15). The probability that the path is in state s in frame t, given the target, and
the same per class::

    gamma(t, s) = alpha(t, s) * beta(t, s) / likelihood
    gamma(t, c) = sum of gamma(t, s) over the states with l(s) = c

It is what the derivative of the loss is made of: d loss / d x(t, c) = -gamma(t, c); and where x is the log_softmax of
logits, d loss / d logit(t, c) = softmax(t, c) - gamma(t, c).

The functions are written out of place and look at no value, and every operation has derivatives that are finite where
probabilities are zero. So autograd (twice and more), forward mode, ``torch.func`` and ``torch.compile`` (which unrolls
the frames) pass through. The cost is a Python loop over the frames.

**Best path** (Viterbi). The same recursion with the largest term in place of the sum; the path is read back from its
end through the arcs that gave the largest. `best_path` is no function to differentiate, and works in place.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from ctckit.lattice import Lattice, frames_needed, is_invalid, may_skip, padded_labels, state_labels

_LOG_0 = -torch.inf


def ctc(emissions: Tensor, lattice: Lattice, *, logits: bool) -> Tensor:
    """Compute the negative log-likelihood of each target, in nats.

    Args:
        emissions: (T, N, C) log-probabilities, or logits; float16 and bfloat16 are computed in float32.
        lattice: the targets, as `ctckit.lattice.gate` gives them.
        logits: whether to take the log_softmax of the emissions first.

    Returns:
        (N,) losses, in float64 for float64, else float32. In this order: an item with invalid labels or lengths has the
        loss NaN and the gradient 0. One with too few frames has the loss inf and the gradient 0, whatever its emissions
        hold. One with a NaN or +inf in its frames, of log-probabilities among the blank's and its labels', of logits
        among all classes, has the loss NaN, and a gradient of NaN for every class in its frames. One of probability 0
        has the loss inf and the gradient 0. No item touches another, and what the frames beyond an input length hold
        counts for nothing.
    """
    x, inside = _log_probs(emissions, lattice, logits)
    states = _states(lattice, x.shape[2])
    target_lengths = lattice.target_lengths.clamp(0, lattice.max_target)[:, None]

    skip = may_skip(states, lattice.blank)
    alpha = _one(x, states, 0 * target_lengths)
    for x_t, inside_t in zip(x.unbind(), inside.unbind(), strict=True):
        alpha = torch.where(inside_t, _emit(x_t, states) + _arrive(alpha, skip), alpha)

    end_in_blank = alpha.gather(1, 2 * target_lengths)
    end_in_label = alpha.gather(1, (2 * target_lengths - 1).clamp(min=0))
    end_in_label = torch.where(target_lengths > 0, end_in_label, _LOG_0)
    nll = -_log_sum(torch.cat((end_in_blank, end_in_label), dim=1), dim=1)
    # NaN, and so that its derivative by every class is NaN in each frame, also by those that no target names.
    unknown = nll.isnan()
    touched = torch.where(inside & unknown[:, None], emissions.to(x.dtype), 0.0).sum((0, 2)) * torch.nan
    nll = torch.where(unknown, touched, nll)
    return torch.where(is_invalid(lattice, x.shape[0], x.shape[2]), torch.nan, nll)


def posteriors(emissions: Tensor, lattice: Lattice, *, logits: bool) -> tuple[Tensor, Tensor]:
    """Compute the occupancy of classes and states: where in each frame the paths are that spell the target.

    By the recursion forward and backward, not by differentiation, so that long inputs fit into memory: beside the
    results it takes once more the size of the second. The results can be differentiated in their turn.

    Args:
        emissions: as for `ctc`.
        lattice: as for `ctc`.
        logits: as for `ctc`.

    Returns:
        gamma(t, c), of shape (T, N, C), and gamma(t, s), of shape (T, N, 2 * max_target + 1). Both sum to 1 over the
        last dimension in every frame of a feasible item. Both are 0 beyond an item's lengths and for an item whose loss
        is inf. For an item whose loss is NaN both are NaN in all its frames.
    """
    x, inside = _log_probs(emissions, lattice, logits)
    states = _states(lattice, x.shape[2])
    target_lengths = lattice.target_lengths.clamp(0, lattice.max_target)[:, None]
    invalid = is_invalid(lattice, x.shape[0], x.shape[2])[:, None]
    frames = list(zip(x.unbind(), inside.unbind(), strict=True))

    skip = may_skip(states, lattice.blank)
    alpha = _one(x, states, 0 * target_lengths)
    alphas = []
    for x_t, inside_t in frames:
        alpha = torch.where(inside_t, _emit(x_t, states) + _arrive(alpha, skip), alpha)
        alphas.append(alpha)

    # The flipped problem. The frames and states that a shorter item has not got now come before its own.
    flipped = states.flip(1)
    skip = may_skip(flipped, lattice.blank)
    alpha = _one(x, states, 2 * (lattice.max_target - target_lengths))
    gammas, class_gammas = [], []
    for x_t, inside_t in reversed(frames):
        arrive = _arrive(alpha, skip)
        alpha = torch.where(inside_t, _emit(x_t, flipped) + arrive, alpha)
        joint = alphas.pop() + arrive.flip(1)
        # The sum over the states is the likelihood, in each frame the same but for rounding, which so cancels.
        infeasible = (joint == _LOG_0).all(1, keepdim=True)
        gamma = torch.where(infeasible, 0.0, torch.where(infeasible, 0.0, joint).softmax(1))
        gamma = torch.where(inside_t, torch.where(invalid, torch.nan, gamma), 0.0)
        gammas.append(gamma)
        unknown = gamma[:, :1].isnan()
        class_gammas.append(torch.where(unknown, torch.nan, torch.zeros_like(x_t).scatter_add(1, states, gamma)))
    return _stack(class_gammas[::-1], x, x.shape[2]), _stack(gammas[::-1], x, states.shape[1])


def at_states(occupancy: Tensor, states: Tensor) -> Tensor:
    """Pick one state per frame: (T, N, K) occupancy, (N, T) states, negative for none -> (N, T).

    A state that an item has not got, or none, has the occupancy 0; in an item whose occupancy is NaN it is NaN as well.
    """
    table = occupancy.transpose(0, 1)
    inside = (states >= 0) & (states < table.shape[2])
    picked = table.gather(2, states.clamp(0, table.shape[2] - 1).to(torch.int64)[:, :, None])[:, :, 0]
    return torch.where(inside | picked.isnan(), picked, 0.0)


class BestPath(NamedTuple):
    """The best path of each item. Frames beyond its length: blank, state -1, score 0.

    An item without a path has the blank, state -1 and the score -inf in all its frames; one whose best path cannot be
    told (see `best_path`), the score NaN.
    """

    classes: Tensor
    """(N, T) int64."""
    states: Tensor
    """(N, T) int64: 2s for the blank before label s (from 0) or after the last, 2s + 1 for label s."""
    scores: Tensor
    """(N, T), dtype of the log-probabilities: that of the frame's class."""
    totals: Tensor
    """(N,) float64: log-probability of the path."""


def best_path(log_probs: Tensor, lattice: Lattice) -> BestPath:
    """Find the most probable path that spells each target, in float64 whatever the dtype.

    Among equally good paths it is the one that, read from its end, ends in the last label rather than in the blank
    after it, and at each frame came by *stay* if that is as good as any, else by *step* rather than by *skip*. An item
    with a NaN or +inf among the log-probabilities of the blank and its labels, in any of its frames, has no best path.

    Args:
        log_probs: (T, N, C); they need not be normalised.
        lattice: valid targets, as `ctckit.lattice.gate` gives them.
    """
    x = log_probs.detach().double()
    states = _states(lattice, x.shape[2])
    target_lengths = lattice.target_lengths[:, None]
    inside = torch.arange(x.shape[0], device=x.device)[:, None, None] < lattice.input_lengths[:, None]
    skip = may_skip(states, lattice.blank)
    alpha = _one(x, states, 0 * target_lengths)
    unknown = torch.zeros_like(lattice.input_lengths, dtype=torch.bool)
    moves = []
    for x_t, inside_t in zip(x.unbind(), inside.unbind(), strict=True):
        y_t = x_t.gather(1, states)
        unknown |= (inside_t & ~(y_t < torch.inf)).any(1)
        padded = pad(alpha, (2, 0), value=_LOG_0)
        stay, step, two = alpha, padded[:, 1:-1], torch.where(skip, padded[:, :-2], _LOG_0)
        arrive = torch.maximum(torch.maximum(stay, step), two)
        moves.append(torch.where((stay >= step) & (stay >= two), 0, torch.where(step >= two, 1, 2)))
        alpha = torch.where(inside_t, arrive + y_t, alpha)

    in_blank = alpha.gather(1, 2 * target_lengths)
    in_label = alpha.gather(1, (2 * target_lengths - 1).clamp(min=0))
    ends_in_label = (target_lengths > 0) & (in_label >= in_blank)
    state = torch.where(ends_in_label, 2 * target_lengths - 1, 2 * target_lengths)
    totals = torch.where(ends_in_label, in_label, in_blank)[:, 0]
    totals = torch.where(unknown, torch.nan, totals)
    totals = torch.where(frames_needed(lattice) > lattice.input_lengths, _LOG_0, totals)

    found = totals.isfinite()[:, None]
    columns = []
    for inside_t, move in zip(reversed(inside.unbind()), reversed(moves), strict=True):
        columns.append(torch.where(found & inside_t, state, -1))
        state = torch.where(inside_t, state - move.gather(1, state), state).clamp(min=0)
    path = torch.cat(columns[::-1], dim=1) if columns else states.new_empty((x.shape[1], 0))
    classes = torch.where(path >= 0, states.gather(1, path.clamp(min=0)), lattice.blank)
    of_class = log_probs.detach().transpose(0, 1).gather(2, classes[:, :, None])[:, :, 0]
    within = inside[:, :, 0].T
    instead = torch.where(within, totals[:, None], 0.0).to(log_probs.dtype)
    return BestPath(classes, path, torch.where(path >= 0, of_class, instead), totals)


def _log_probs(emissions: Tensor, lattice: Lattice, logits: bool) -> tuple[Tensor, Tensor]:
    """Give x(t, c), with the frames that do not count cleared, and (T, N, 1) bool: which frames count.

    Those within the lengths do, of items that are feasible: no other item can be told anything by its emissions.
    """
    x = emissions.float() if emissions.dtype in (torch.float16, torch.bfloat16) else emissions
    t = torch.arange(x.shape[0], device=x.device)[:, None]
    feasible = frames_needed(lattice) <= lattice.input_lengths
    inside = ((t < lattice.input_lengths) & feasible)[:, :, None]
    x = torch.where(inside, x, 0.0)
    if logits:
        # A frame whose classes are all impossible has no softmax; it is impossible, and so is every path.
        impossible = (x == _LOG_0).all(2, keepdim=True)
        x = torch.where(impossible, _LOG_0, torch.where(impossible, 0.0, x).log_softmax(2))
    return x, inside


def _states(lattice: Lattice, classes: int) -> Tensor:
    """Give l(s) as a table (N, 2 * max_target + 1), safe to index with even where a label is invalid."""
    return state_labels(padded_labels(lattice).clamp(0, classes - 1), lattice.blank)


def _one(x: Tensor, states: Tensor, state: Tensor) -> Tensor:
    """Give the logarithm of: probability 1 in the given state (N, 1) of each item, 0 in all others."""
    here = torch.arange(states.shape[1], device=x.device) == state
    # Without frames the sum is 0, too, and the loss all the same a function of the emissions, which can be derived.
    log_1 = x.new_zeros(()) if x.shape[0] else x.sum()
    return torch.where(here, log_1, _LOG_0)


def _emit(x_t: Tensor, states: Tensor) -> Tensor:
    """Give y(t, s), the log-probability of each state's class. One NaN makes all NaN, so that it cannot go unseen."""
    y_t = x_t.gather(1, states)
    return y_t + torch.zeros_like(y_t).masked_fill(y_t.isnan().any(1, keepdim=True), torch.nan)


def _arrive(alpha: Tensor, skip: Tensor) -> Tensor:
    """Sum over the arcs into each state, of the probability to be where they come from."""
    padded = pad(alpha, (2, 0), value=_LOG_0)
    arcs = (alpha, padded[:, 1:-1], torch.where(skip, padded[:, :-2], _LOG_0))  # stay, step, skip
    return _log_sum(torch.stack(arcs), dim=0)


def _log_sum(terms: Tensor, dim: int) -> Tensor:
    """Give log(sum(exp(terms))), where terms may all be -inf, with derivatives of every order finite also there.

    (That of torch.logsumexp is NaN there: it holds -inf - -inf. The largest term is a constant here; it cancels.)
    """
    top = terms.detach().amax(dim, keepdim=True)
    top = torch.where(top == _LOG_0, 0.0, top)
    total = (terms - top).exp().sum(dim)
    nothing = total == 0
    return torch.where(nothing, _LOG_0, torch.where(nothing, 1.0, total).log() + top.squeeze(dim))


def _stack(rows: list[Tensor], x: Tensor, width: int) -> Tensor:
    return torch.stack(rows) if rows else x.new_zeros((0, x.shape[1], width))
