r"""Label priors: subtract each class's mean log-probability from the emissions, for less peaky alignments.

A standard CTC model gives most frames to the blank, and one or two frames to each label, anywhere within its sound: the
occupancy is *peaky*. Label priors subtract the log of each class's mean probability:

.. math:: x'(t, c) = x(t, c) - \text{weight} \cdot \log p(c)

This removes the blank's advantage. If both training and alignment use priors, labels last as long as their sounds, and
end where these end (Huang et al. 2024). Priors in alignment alone help less, but need no retraining.

References:
    R. Huang, X. Zhang, Z. Ni, L. Sun, M. Hira, J. Hwang, V. Manohar, V. Pratap, M. Wiesner, S. Watanabe, D. Povey,
    S. Khudanpur. Less peaky and more accurate CTC forced alignment by label priors. ICASSP 2024. arXiv:2406.02560.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ctckit.errors import ArgumentTypeError, ArgumentValueError
from ctckit.lattice import Lengths, gate_emissions, validate_input_lengths
from ctckit.lattice.tensor_kinds import as_node, is_eager, like, present

__all__ = ["FLOOR", "LabelPriors", "label_priors"]

FLOOR = -12.0
"""Lower bound of log-priors: a class that is hardly ever seen must not become the most probable one."""


@as_node
def label_priors(
    log_probs: Tensor, input_lengths: Lengths = None, *, logits: bool = False, batch_first: bool = False
) -> Tensor:
    r"""Compute the log-prior of each class: the log of its mean probability over all frames.

    .. math:: \log p(c) = \log \frac{1}{\sum_n T_n} \sum_n \sum_{t < T_n} \exp x(n, t, c)

    Args:
        log_probs: (T, N, C), or (N, T, C) if `batch_first`, or (T, C) for one item without a batch: normalised
            log-probabilities, any floating-point dtype.
        input_lengths: frames of each item: integer tensor (N,), sequence of ints, or None for all T. Frames beyond a
            length are ignored.
        logits: whether to take the log_softmax first.
        batch_first: whether the batch is the first dimension.

    Returns:
        (C,) log-priors, float64 for float64, else float32; -inf for a class that has probability 0 everywhere. Their
        exponentials sum to 1. They are a constant to autograd. Without frames they are NaN.

    Raises:
        ArgumentTypeError: as `ctckit.ctc_loss`.
        ArgumentValueError: as `ctckit.ctc_loss`, for shapes, and, on the CPU, for a length beyond the frames.

    Example:
        >>> import torch, ctckit
        >>> log_probs = torch.tensor([[0.9, 0.1], [0.7, 0.3]]).log()
        >>> ctckit.label_priors(log_probs).exp()
        tensor([0.8000, 0.2000])
    """
    sums, frames = _sums(log_probs, input_lengths, logits=logits, batch_first=batch_first)
    dtype = torch.float64 if log_probs.dtype == torch.float64 else torch.float32
    return (sums / frames).log().to(dtype)


class LabelPriors(nn.Module):
    r"""Estimate label priors, and subtract them from log-probabilities: a layer before the loss.

    In training mode each call first updates the estimate: the mean probability of each class over the frames of all
    batches so far. Each further batch multiplies the weight of earlier ones by `momentum`. In evaluation mode the
    estimate is constant. It is kept in buffers, so it is saved with the model.

    Call it on log-probabilities: in training before `ctckit.ctc_loss`, for alignment before `ctckit.forced_align`. Or
    pass its `log_priors` to `ctckit.align`. (`ctckit.ctc_loss` accepts input that is not normalised, and its gradient
    is the true derivative, as it must be here.)

    Args:
        classes: C, the number of classes.
        weight: the factor of the log-priors: 0 changes nothing; 1 would make all classes equally probable on average.
            The paper uses 0.2 to 0.3.
        momentum: the factor of earlier sums per batch, from 0 to 1. 0 uses the last batch alone; 1 uses the mean over
            all batches.
        floor: the lowest log-prior that is subtracted.

    Attributes:
        sums: (C,) float64 buffer: the weighted sums of the probabilities.
        frames: () float64 buffer: the weighted number of frames.

    Raises:
        ArgumentTypeError: if `classes` is not an int.
        ArgumentValueError: if an argument is out of its bounds.

    Example:
        >>> import torch, ctckit
        >>> priors, criterion = ctckit.LabelPriors(20, weight=0.3), ctckit.CTCLoss()
        >>> log_probs = torch.randn(50, 4, 20, requires_grad=True).log_softmax(2)
        >>> targets, lengths = torch.randint(1, 20, (4, 12)), torch.full((4,), 50)
        >>> loss = criterion(priors(log_probs, lengths), targets, lengths, torch.full((4,), 12))
        >>> loss.backward()
        >>> bool(torch.isclose(priors.log_priors.exp().sum(), torch.tensor(1.0)))
        True
    """

    sums: Tensor
    frames: Tensor

    def __init__(self, classes: int, weight: float = 0.25, *, momentum: float = 0.99, floor: float = FLOOR) -> None:
        super().__init__()
        if isinstance(classes, bool) or not isinstance(classes, int):
            raise ArgumentTypeError(f"classes is {classes!r}, a {type(classes).__name__}, but must be an int")
        if classes < 1:
            raise ArgumentValueError(f"classes is {classes}, but there must be at least one, the blank")
        if not 0 <= weight < math.inf:
            raise ArgumentValueError(f"weight is {weight}, but must be a finite number from 0 up")
        if not 0 <= momentum <= 1:
            raise ArgumentValueError(f"momentum is {momentum}, but must be from 0 to 1")
        if not -math.inf < floor <= 0:
            raise ArgumentValueError(f"floor is {floor}, but must be a finite log-probability")
        self.classes, self.weight, self.momentum, self.floor = classes, weight, momentum, floor
        self.register_buffer("sums", torch.zeros(classes, dtype=torch.float64))
        self.register_buffer("frames", torch.zeros((), dtype=torch.float64))

    @property
    def log_priors(self) -> Tensor:
        """(C,) float32: the current estimate; before the first batch all classes are equal."""
        mean = torch.where(self.frames > 0, self.sums / self.frames, 1 / self.classes)
        return mean.log().float()

    def forward(self, log_probs: Tensor, input_lengths: Lengths = None, *, batch_first: bool = False) -> Tensor:
        """Return log_probs - weight · log_priors, of the same shape and dtype.

        Args:
            log_probs: (T, N, C), or (N, T, C) if `batch_first`, or (T, C); normalised.
            input_lengths: as for `label_priors`.
            batch_first: whether the batch is the first dimension.

        Raises:
            ArgumentTypeError: as `label_priors`.
            ArgumentValueError: as `label_priors`; or if `log_probs` has another number of classes.
        """
        shape = tuple(getattr(log_probs, "shape", ()))
        if shape and shape[-1] != self.classes:
            raise ArgumentValueError(
                f"log_probs has shape {shape}, but the last dimension must be the {self.classes} "
                f"classes of these priors"
            )
        sums, frames = _sums(log_probs, input_lengths, logits=False, batch_first=batch_first)
        if self.training:
            # A batch with a NaN must not spoil the estimate for good. (torch.where avoids a device sync.)
            usable = sums.isfinite().all()
            self.sums.copy_(torch.where(usable, self.momentum * self.sums + sums, self.sums))
            self.frames.copy_(torch.where(usable, self.momentum * self.frames + frames, self.frames))
        return subtract(log_probs, self.log_priors, self.weight, self.floor)

    def extra_repr(self) -> str:
        """Show the options in the module's repr."""
        return f"{self.classes}, weight={self.weight}, momentum={self.momentum}, floor={self.floor}"


def subtract(log_probs: Tensor, log_priors: Tensor, weight: float, floor: float = FLOOR) -> Tensor:
    """Return ``log_probs - weight * log_priors``, in the dtype of the log-probabilities."""
    return log_probs - (weight * log_priors.clamp(min=floor)).to(log_probs)


def _sums(log_probs: Tensor, input_lengths: Lengths, *, logits: bool, batch_first: bool) -> tuple[Tensor, Tensor]:
    """Return (C,) the sums of the probabilities, and () the number of frames, both float64."""
    x, lengths, _ = gate_emissions(log_probs, input_lengths, batch_first=batch_first, name="log_probs")
    x = present(x.detach(), "log_probs")
    # On other devices and in traces the lengths are not read, but clamped to their bounds.
    transformed = torch._C._are_functorch_transforms_active()
    if x.device.type == "cpu" and is_eager(x) and is_eager(lengths) and not transformed:
        validate_input_lengths(lengths, x.shape[0])
    lengths = lengths.clamp(0, x.shape[0])
    if logits:
        x = x.log_softmax(2, dtype=torch.float64 if x.dtype == torch.float64 else torch.float32)
    inside = like(torch.arange(x.shape[0], device=x.device)[:, None], x) < lengths
    probs = x.exp().masked_fill(~inside[:, :, None], 0.0)
    return probs.sum((0, 1), dtype=torch.float64), lengths.sum().double()
