"""The traversals of the reference: what is asked of a topology under a semiring.

With y(t, s) the emission of the class of state s in frame t, and values of the semiring::

    alpha(0, s) = one if s is the start, else zero                                   before the first frame
    alpha(t, s) = y(t, s) * sum of alpha(t-1, r) over the arcs r -> s
    total       = sum of alpha(T, s) over the final states s

    beta(T, s)  = one if s is final, else zero                                       after frame t
    beta(t, s)  = sum of y(t+1, r) * beta(t+1, r) over the arcs s -> r

Every function takes x (T, N, C), the emissions of each class, and inside (T, N, 1) bool, which of an item's frames
count. Those that count come first; in the others alpha and beta stay as they are.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ctckit.reference.semirings import LOG_0, KBest, LogSum, Semiring
from ctckit.reference.topologies import Topology


def forward(x: Tensor, inside: Tensor, topology: Topology, semiring: Semiring) -> Tensor:
    """Compute the (N, k) totals: of `LogSum` the log-likelihood, of `KBest` the values of the k best paths."""
    alpha = _start(x, topology, semiring)
    for frame in _frames(x, inside):
        alpha = _step(alpha, frame, topology, semiring)
    return semiring.sum(_ends(alpha, topology))[:, 0]


def marginals(x: Tensor, inside: Tensor, topology: Topology) -> tuple[Tensor, Tensor]:
    """Compute (T, N, K), the probability of each state in each frame, and the (N,) log-likelihoods.

    It sums forward and backward, without autograd. Beside the result it holds one more tensor of that size. The
    probabilities of a frame sum to 1, or are 0 if no path exists or the frame is not inside.
    """
    semiring = LogSum()
    frames = _frames(x, inside)
    alpha = _start(x, topology, semiring)
    alphas = []
    for frame in frames:
        alpha = _step(alpha, frame, topology, semiring)
        alphas.append(alpha)
    total = semiring.sum(_ends(alpha, topology))[:, 0, 0]

    states = torch.arange(alpha.shape[1], device=alpha.device)
    final = (topology.finals[:, :, None] == states).any(1)
    beta = semiring.element(torch.where(final, x.new_zeros(()), LOG_0))
    rows = []
    for x_t, inside_t in reversed(frames):
        joint = (alphas.pop() + beta)[..., 0]
        # The sum over the states is the likelihood in every frame, up to a rounding error, which cancels here.
        possible = inside_t[..., 0] & (joint != LOG_0).any(1, keepdim=True)
        rows.append(torch.where(possible, torch.where(possible, joint, 0.0).softmax(1), 0.0))
        arrived = semiring.sum(topology.leaving(_emit(x_t, topology) + beta))
        beta = torch.where(inside_t, arrived, beta)
    return torch.stack(rows[::-1]) if rows else x.new_zeros(0, *final.shape), total


def best(x: Tensor, inside: Tensor, topology: Topology, k: int) -> tuple[Tensor, Tensor]:
    """Find the k best paths: (N, k, T) int64 states, and (N, k) log-probabilities, best first.

    Terms are compared before the emission is multiplied, and of equal ones the first wins. So two equally good paths
    are ordered by the first place, read from the end, where they differ. If there are fewer than k paths, the others
    have the log-probability -inf and arbitrary states. Frames that are not inside have arbitrary states, too.
    """
    semiring = KBest(k)
    frames = _frames(x, inside)
    alpha = _start(x, topology, semiring)
    moves = []
    for frame in frames:
        arrived, choices = semiring.choose(topology.entering(alpha))
        alpha = _advance(alpha, arrived, frame, topology)
        moves.append(choices)
    totals, choices = (row[:, 0] for row in semiring.choose(_ends(alpha, topology)))

    state, rank = topology.finals.gather(1, choices // k).clamp(min=0), choices % k
    states = []
    for (_, inside_t), move in zip(reversed(frames), reversed(moves), strict=True):
        states.append(state)
        choices = move.flatten(1).gather(1, state * k + rank)
        source = topology.source(state, choices // k).clamp(min=0)
        state = torch.where(inside_t[..., 0], source, state)
        rank = torch.where(inside_t[..., 0], choices % k, rank)
    return torch.stack(states[::-1], 2) if states else choices.new_zeros(*choices.shape, 0), totals


def sample(x: Tensor, inside: Tensor, topology: Topology, uniforms: Tensor) -> tuple[Tensor, Tensor]:
    """Draw paths of one item (N = 1) by their probability: (n, T) int64 states, and the log-likelihood.

    The number ``uniforms[i, t]``, from 0 to 1, draws the state of path i in frame t, given its state in frame t + 1.
    Where no path exists the states are -1.
    """
    semiring = LogSum()
    alphas = [_start(x, topology, semiring)]
    for frame in _frames(x, inside):
        alphas.append(_step(alphas[-1], frame, topology, semiring))
    ends = _ends(alphas.pop(), topology)
    total = semiring.sum(ends)[0, 0, 0]
    states = torch.full_like(uniforms, -1, dtype=torch.int64)
    if not alphas or total == LOG_0:
        return states, total
    log_weights = ends[:, 0, :, 0].expand(-1, len(states))
    state = topology.finals[0, _draw(log_weights.T, uniforms[:, -1])]
    states[:, -1] = state
    for t in range(len(x) - 2, -1, -1):
        log_weights = topology.entering(alphas.pop())[:, 0, :, 0]
        state = topology.source(state, _draw(log_weights[:, state].T, uniforms[:, t]))
        states[:, t] = state
    return states, total


def _frames(x: Tensor, inside: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Give per frame the emissions (N, C, 1), and whether the frame counts (N, 1, 1)."""
    return list(zip(x[..., None].unbind(), inside[..., None].unbind(), strict=True))


def _start(x: Tensor, topology: Topology, semiring: Semiring) -> Tensor:
    """Give alpha before the first frame."""
    # For T = 0, x.sum() is 0 and keeps the total connected to x for autograd.
    one = x.new_zeros(()) if x.shape[0] else x.sum()
    return semiring.element(torch.where(topology.start, one, LOG_0))


def _emit(x_t: Tensor, topology: Topology) -> Tensor:
    """Give y(t, s), the emission of each state's class."""
    return x_t.gather(1, topology.classes[..., None])


def _step(alpha: Tensor, frame: tuple[Tensor, Tensor], topology: Topology, semiring: Semiring) -> Tensor:
    """Give alpha after one more frame."""
    return _advance(alpha, semiring.sum(topology.entering(alpha)), frame, topology)


def _advance(alpha: Tensor, arrived: Tensor, frame: tuple[Tensor, Tensor], topology: Topology) -> Tensor:
    """Multiply the sums that arrived in the states by the frame's emissions."""
    x_t, inside_t = frame
    return torch.where(inside_t, arrived + _emit(x_t, topology), alpha)


def _ends(alpha: Tensor, topology: Topology) -> Tensor:
    """Give the terms of the total, (F, N, 1, k): alpha in the final states."""
    states = topology.finals.clamp(min=0)[..., None].expand(-1, -1, alpha.shape[2])
    ends = torch.where(topology.finals[..., None] >= 0, alpha.gather(1, states), LOG_0)
    return ends.transpose(0, 1)[:, :, None]


def _draw(log_weights: Tensor, uniforms: Tensor) -> Tensor:
    """Draw one index per row (n, A), each in proportion to its weight, by a number from 0 to 1 per row."""
    weights = (log_weights - log_weights.amax(1, keepdim=True)).exp()
    sums = weights.cumsum(1)
    drawn = (sums <= uniforms[:, None] * sums[:, -1:]).sum(1)
    last = weights.shape[1] - 1 - (weights.flip(1) > 0).int().argmax(1)  # the product may round up to the whole sum
    return torch.minimum(drawn, last)
