"""Where in the input each label is: the occupancy of classes and states."""

from __future__ import annotations

import torch
from torch import Tensor

from ctckit import reference
from ctckit.backends import backend_for
from ctckit.lattice import Lengths, gate

__all__ = ["posteriors"]


def posteriors(
    emissions: Tensor,
    targets: Tensor,
    input_lengths: Lengths = None,
    target_lengths: Lengths = None,
    blank: int = 0,
    *,
    logits: bool = False,
    batch_first: bool = False,
    per_state: bool = False,
) -> Tensor:
    r"""Compute the occupancy: the probability, given the target, that frame t belongs to a class or a state.

    .. math:: \gamma(t, c) = \sum_{s: l(s) = c} \frac{\alpha(t, s)\, \beta(t, s)}{p(\text{target})}

    (Graves et al. 2006, equations 14 and 15.) It is minus the derivative of `ctckit.ctc_loss` by the log-probabilities,
    and tells where the target's labels are: the frames in which label number i is are those of state 2i + 1.

    Args:
        emissions: (T, N, C), or (N, T, C) if `batch_first`, or (T, C) for one item without a batch: log-probabilities,
            or logits.
        targets: as for `ctckit.ctc_loss`.
        input_lengths: as for `ctckit.ctc_loss`.
        target_lengths: as for `ctckit.ctc_loss`.
        blank: as for `ctckit.ctc_loss`.
        logits: whether to take the log_softmax of the emissions first.
        batch_first: whether the batch is the first dimension of `emissions`, and of the result.
        per_state: whether to tell the target's labels apart.

    Returns:
        (T, N, C) probabilities, or with `per_state` (T, N, 2S + 1) for the states blank, label 1, blank, label 2, ...,
        blank of the longest target the shapes admit; in the layout and dtype of the emissions. They sum to 1 in every
        frame, and are 0 beyond an item's frames or states, and for an item whose target cannot be aligned. The result
        is a constant to autograd; `ctckit.reference.posteriors` can be differentiated.

    Raises:
        TypeError: as `ctckit.ctc_loss`.
        ValueError: as `ctckit.ctc_loss`.

    Example:
        >>> import torch, ctckit
        >>> emissions = torch.tensor([[0.0, 5.0, 0.0], [5.0, 0.0, 0.0], [0.0, 0.0, 5.0]])  # says: 1, blank, 2
        >>> occupancy = ctckit.posteriors(emissions, torch.tensor([1, 2]), logits=True, per_state=True)
        >>> occupancy.argmax(1)  # state 1 is the first label, state 3 the second
        tensor([1, 2, 3])
    """
    emissions, lattice, batched = gate(
        emissions, targets, input_lengths, target_lengths, blank, batch_first=batch_first, name="emissions"
    )
    if torch._C._are_functorch_transforms_active():
        per_class, states = reference.posteriors(emissions, lattice, logits=logits)
        result = (states if per_state else per_class).to(emissions.dtype)
    else:
        result = backend_for(emissions.device).posteriors(
            emissions.detach(), lattice, logits=logits, per_state=per_state
        )
    if not batched:
        return result[:, 0]
    return result.transpose(0, 1) if batch_first else result
