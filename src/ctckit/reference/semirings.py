"""The two semirings of the reference: how the values of paths are added and multiplied.

A semiring has a sum, which joins the paths that enter a state, and a product, which continues a path by one frame.
It knows nothing of states and arcs: those are the topology's (`ctckit.reference.topologies`).

Both semirings keep logarithms, so the product adds them and a probability of zero is exactly -inf. An element is a row
of k numbers, the last dimension of every tensor here: k = 1 for `LogSum`, the k best paths for `KBest`. The product
with an emission adds one number to all k.
"""

from __future__ import annotations

from typing import Final, Protocol

import torch
from torch import Tensor
from torch.nn.functional import pad

LOG_0: Final = -torch.inf
"""The logarithm of the probability zero."""


class Semiring(Protocol):
    """The sum of elements, and how they are made. The product of all semirings is + on the logarithms."""

    def element(self, log_values: Tensor) -> Tensor:
        """(...) log-probabilities of single paths -> (..., k) elements."""

    def sum(self, terms: Tensor) -> Tensor:
        """(A, N, K, k) terms -> (N, K, k) sums of A terms each."""


class LogSum:
    """The sum over all paths, of probabilities that are kept as logarithms.

    - Elements: one log-probability, -inf to inf.
    - Sum: log(exp(a) + exp(b)). Product: a + b.
    - Zero: -inf, no path. One: 0, the empty path.
    - Gradient: that of a total in an emission is the probability, given the target, that a path uses the emission.
    """

    def element(self, log_values: Tensor) -> Tensor:
        """See `Semiring.element`."""
        return log_values[..., None]

    def sum(self, terms: Tensor) -> Tensor:
        """See `Semiring.sum`. Derivatives of every order are finite, also where all terms are -inf.

        Those of torch.logsumexp are NaN there, from -inf - -inf. The largest term is a constant here: it cancels.
        """
        top = terms.detach().amax(0).clamp(min=torch.finfo(terms.dtype).min)
        total = (terms - top).exp().sum(0)
        nothing = total == 0
        return torch.where(nothing, LOG_0, torch.where(nothing, 1.0, total).log() + top)


class KBest:
    """The k most probable paths.

    - Elements: k log-probabilities in descending order, filled up with -inf.
    - Sum: the k largest of both lists. Of equal numbers the one of the earlier term comes first, and within a term the
      earlier number. Product: a + b for each a of the list and the one number b.
    - Zero: k times -inf, no path. One: 0 and then -inf, the empty path.
    - Gradient: that of the i-th total in an emission is 1 if the i-th best path uses the emission, else 0.
    """

    def __init__(self, k: int) -> None:
        self.k = k

    def element(self, log_values: Tensor) -> Tensor:
        """See `Semiring.element`."""
        return pad(log_values[..., None], (0, self.k - 1), value=LOG_0)

    def sum(self, terms: Tensor) -> Tensor:
        """See `Semiring.sum`."""
        return self.choose(terms)[0]

    def choose(self, terms: Tensor) -> tuple[Tensor, Tensor]:
        """Give the sums, and (N, K, k) int64 their choices: i * k + j for the j-th number of term i (from 0)."""
        if self.k == 1:
            best, choices = terms.max(0)  # the first of equal ones
            return best, choices
        best, choices = terms.permute(1, 2, 0, 3).flatten(2).sort(dim=2, descending=True, stable=True)
        return best[..., : self.k], choices[..., : self.k]
