r"""The CTC loss of log-probabilities or logits, with the arguments of torch's."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Final, Optional, ParamSpec, Union, cast

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.jit._trace import TracerWarning
from torch.overrides import handle_torch_function, has_torch_function_variadic

from ctckit import reference
from ctckit.backends import LossOptions
from ctckit.errors import ArgumentValueError
from ctckit.lattice import Lattice, Lengths, gate
from ctckit.lattice.tensor_kinds import is_traced, symbolic
from ctckit.loss import autograd
from ctckit.reference import reduce

__all__ = ["CTCLoss", "CTCWithLogitsLoss", "ctc_loss", "ctc_loss_with_logits"]

P = ParamSpec("P")
_REDUCTIONS: Final = ("none", "mean", "sum")


def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Lengths = None,
    target_lengths: Lengths = None,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
    *,
    batch_first: bool = False,
) -> Tensor:
    r"""Compute the CTC loss of log-probabilities: `torch.nn.functional.ctc_loss`, with a true gradient.

    The loss of an item is minus the logarithm, in nats, of the total probability of all alignments of its target with
    its frames (Graves et al. 2006; `ctckit.lattice` derives it). For log-probabilities that are not normalised, the
    same formula gives the value. With logits, prefer `ctc_loss_with_logits`: it is faster and more accurate.

    Args:
        log_probs: (T, N, C), or (N, T, C) if `batch_first`, or (T, C) for one item without a batch. float16, bfloat16,
            float32 or float64, any strides, without a copy. Only the frames within an item's length are read, and of
            these only the blank and the classes of its target.
        targets: integers: (N, S), padded with any value; or the labels of all items, concatenated, (sum of lengths,);
            or (S,) for one item. Labels are from 0 to C - 1, without the blank.
        input_lengths: frames per item: an integer tensor on any device, a tuple, a list, an int (for one item), or
            None for T.
        target_lengths: labels per item, likewise; None if padded `targets` are padded with -100.
        blank: the class of the blank.
        reduction: 'none': the (N,) losses, or a scalar for one item without a batch. 'sum': their sum. 'mean': each
            loss is divided by its target's length (at least 1); the result is the mean over the batch.
        zero_infinity: whether infinite losses count as 0. Their gradient is 0 either way.
        batch_first: whether the batch is the first dimension of `log_probs`.

    Returns:
        The loss, in float64 for float64, else in float32. It is inf if a target is too long for its frames (see
        `ctckit.feasible`) or has probability 0, and NaN if a value that is read is NaN. An empty batch gives an empty
        tensor, 0 or NaN for 'none', 'sum' and 'mean'.

        The gradient is the derivative: minus the occupancy of each class (`ctckit.posteriors`), in the dtype of
        `log_probs`. It is 0 beyond an item's frames and for items of infinite loss. (torch adds ``exp(log_probs)``.
        That is right only after a log_softmax, where both give the same gradient of the logits.)

    Raises:
        ArgumentTypeError: for an argument of the wrong type or dtype.
        ArgumentValueError: for a wrong shape, size, device, or `reduction`. On the CPU also for a length or a label out
            of bounds, and for a blank among the labels. On other devices an item with such values has the loss NaN,
            because reading them would cause a device sync; `ctckit.check` finds the reason.

    Example:
        >>> import torch, ctckit
        >>> log_probs = torch.randn(50, 16, 20).log_softmax(2).requires_grad_()
        >>> targets = torch.randint(1, 20, (16, 30))
        >>> input_lengths = torch.full((16,), 50)
        >>> target_lengths = torch.randint(10, 30, (16,))
        >>> loss = ctckit.ctc_loss(log_probs, targets, input_lengths, target_lengths)
        >>> loss.backward()
        >>> log_probs.grad.sum().item() < 0  # every frame of every item gives away one unit of occupancy
        True
    """
    if has_torch_function_variadic(log_probs, targets, input_lengths, target_lengths):
        arguments = log_probs, targets, input_lengths, target_lengths
        if standing := symbolic(*arguments):
            options: dict[str, Any] = {"blank": blank, "reduction": reduction, "zero_infinity": zero_infinity}
            options["batch_first"] = batch_first
            return handle_torch_function(ctc_loss, standing, *arguments, **options)
    pass_gate = _gate_in_trace if is_traced() else gate
    emissions, lattice, batched = pass_gate(
        log_probs, targets, input_lengths, target_lengths, blank, batch_first=batch_first, name="log_probs"
    )
    return _loss(emissions, lattice, batched, reduction, zero_infinity, logits=False)


def ctc_loss_with_logits(
    logits: Tensor,
    targets: Tensor,
    input_lengths: Lengths = None,
    target_lengths: Lengths = None,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
    *,
    batch_first: bool = False,
    inplace_grad: bool = False,
) -> Tensor:
    r"""Compute the CTC loss of logits: log_softmax and loss in one.

    The value is that of ``ctc_loss(logits.log_softmax(-1), ...)``, without the memory of the log-probabilities. The
    gradient stays accurate when the model is confident.

    Args:
        logits: (T, N, C), or (N, T, C) if `batch_first`, or (T, C) for one item without a batch: the output of a
            network's last layer. -inf excludes a class.
        targets: as for `ctc_loss`.
        input_lengths: as for `ctc_loss`.
        target_lengths: as for `ctc_loss`.
        blank: as for `ctc_loss`.
        reduction: as for `ctc_loss`.
        zero_infinity: as for `ctc_loss`.
        batch_first: whether the batch is the first dimension of `logits`.
        inplace_grad: whether to write the gradient over the logits, which saves memory of their size. Use it for logits
            that nothing else needs, such as the output of a linear layer, and for one backward. Leaves, and outputs
            that an operation keeps for its own backward, cannot be overwritten. Ignored if no gradient is needed, if
            the classes of a frame are not contiguous in memory, if frames overlap, and under `torch.compile`.

    Returns:
        The loss, as from `ctc_loss`. The gradient is softmax - occupancy.

    Raises:
        ArgumentTypeError: as `ctc_loss`.
        ArgumentValueError: as `ctc_loss`, and with `inplace_grad` for a leaf that requires a gradient, or a view of
            one.

    Example:
        >>> import torch, ctckit
        >>> logits = torch.randn(2, 10, 5, requires_grad=True)  # (N, T, C)
        >>> targets = torch.tensor([[1, 2, 2, 3], [4, 1, -100, -100]])
        >>> loss = ctckit.ctc_loss_with_logits(logits, targets, batch_first=True)
        >>> loss.backward()
        >>> bool((logits.grad.sum(2).abs() < 1e-6).all())
        True
    """
    if has_torch_function_variadic(logits, targets, input_lengths, target_lengths):
        arguments = logits, targets, input_lengths, target_lengths
        if standing := symbolic(*arguments):
            options: dict[str, Any] = {"blank": blank, "reduction": reduction, "zero_infinity": zero_infinity}
            options |= {"batch_first": batch_first, "inplace_grad": inplace_grad}
            return handle_torch_function(ctc_loss_with_logits, standing, *arguments, **options)
    pass_gate = _gate_in_trace if is_traced() else gate
    emissions, lattice, batched = pass_gate(
        logits, targets, input_lengths, target_lengths, blank, batch_first=batch_first, name="logits"
    )
    if inplace_grad and logits.requires_grad and torch.is_grad_enabled():
        base = logits if logits._base is None else logits._base  # noqa: SLF001  # the base of a view
        if base.is_leaf and base.requires_grad:
            raise ArgumentValueError(
                "inplace_grad=True would write the gradient over a leaf tensor that requires it: use it for the output "
                "of a layer, or leave it out"
            )
    return _loss(emissions, lattice, batched, reduction, zero_infinity, logits=True, overwrite=inplace_grad)


def _called_by_torchscript(forward: Callable[P, Tensor]) -> Callable[P, Tensor]:
    """Make ``torch.jit.script`` skip a module's forward and call it in Python.

    So a module that holds a loss can be scripted and saved. If its scripted forward calls the loss, it works, but torch
    refuses to save it.
    """
    lengths = Optional[Union[Tensor, list[int], int]]  # noqa: UP007, UP045  # TorchScript does not know the other form
    names = list(forward.__annotations__)
    types = Tensor, Tensor, lengths, lengths, Tensor
    forward.__annotations__.update(zip(names, types, strict=True))
    return cast("Callable[P, Tensor]", torch.jit.ignore(forward))


class CTCLoss(nn.Module):
    """`ctc_loss` as a module: `torch.nn.CTCLoss`.

    Args:
        blank: as for `ctc_loss`.
        reduction: as for `ctc_loss`.
        zero_infinity: as for `ctc_loss`.
        batch_first: as for `ctc_loss`.

    Raises:
        ArgumentValueError: for another `reduction`.

    Example:
        >>> import torch, ctckit
        >>> criterion = ctckit.CTCLoss(reduction="sum")
        >>> criterion(torch.zeros(4, 1, 3), torch.tensor([[1, 2]]), torch.tensor([4]), torch.tensor([2]))
        tensor(-2.7081)
    """

    def __init__(
        self, blank: int = 0, reduction: str = "mean", zero_infinity: bool = False, *, batch_first: bool = False
    ) -> None:
        super().__init__()
        if reduction not in _REDUCTIONS:
            raise _bad_reduction(reduction)
        self.blank, self.reduction, self.zero_infinity = blank, reduction, zero_infinity
        self.batch_first = batch_first

    @_called_by_torchscript
    def forward(
        self, log_probs: Tensor, targets: Tensor, input_lengths: Lengths = None, target_lengths: Lengths = None
    ) -> Tensor:
        """Call `ctc_loss`."""
        return ctc_loss(
            log_probs,
            targets,
            input_lengths,
            target_lengths,
            self.blank,
            self.reduction,
            self.zero_infinity,
            batch_first=self.batch_first,
        )

    def extra_repr(self) -> str:
        """Show the options in the module's repr."""
        options = f"blank={self.blank}, reduction={self.reduction!r}, zero_infinity={self.zero_infinity}"
        return f"{options}, batch_first=True" if self.batch_first else options


class CTCWithLogitsLoss(CTCLoss):
    """`ctc_loss_with_logits` as a module.

    Args:
        blank: as for `ctc_loss_with_logits`.
        reduction: as for `ctc_loss_with_logits`.
        zero_infinity: as for `ctc_loss_with_logits`.
        batch_first: as for `ctc_loss_with_logits`.
        inplace_grad: as for `ctc_loss_with_logits`.

    Raises:
        ArgumentValueError: for another `reduction`.

    Example:
        >>> import torch, ctckit
        >>> criterion = ctckit.CTCWithLogitsLoss(batch_first=True)
        >>> criterion(torch.zeros(1, 4, 3), torch.tensor([[1, 2]]))
        tensor(0.8432)
    """

    def __init__(
        self,
        blank: int = 0,
        reduction: str = "mean",
        zero_infinity: bool = False,
        *,
        batch_first: bool = False,
        inplace_grad: bool = False,
    ) -> None:
        super().__init__(blank, reduction, zero_infinity, batch_first=batch_first)
        self.inplace_grad = inplace_grad

    @_called_by_torchscript
    def forward(
        self, logits: Tensor, targets: Tensor, input_lengths: Lengths = None, target_lengths: Lengths = None
    ) -> Tensor:
        """Call `ctc_loss_with_logits`."""
        return ctc_loss_with_logits(
            logits,
            targets,
            input_lengths,
            target_lengths,
            self.blank,
            self.reduction,
            self.zero_infinity,
            batch_first=self.batch_first,
            inplace_grad=self.inplace_grad,
        )

    def extra_repr(self) -> str:
        """Show the options in the module's repr."""
        return super().extra_repr() + (", inplace_grad=True" if self.inplace_grad else "")


def _gate_in_trace(*arguments: Any, **options: Any) -> tuple[Tensor, Lattice, bool]:
    """Call the gate while torch.jit.trace records, so that the trace works for other sizes."""
    with warnings.catch_warnings():
        # Sizes are tensors while tracing. The trace need not record the comparisons that check the example.
        warnings.simplefilter("ignore", TracerWarning)
        emissions, lattice, batched = gate(*arguments, **options)
    return emissions, lattice._replace(max_target=autograd.WIDTH), batched


def _loss(
    emissions: Tensor,
    lattice: Lattice,
    batched: bool,
    reduction: str,
    zero_infinity: bool,
    *,
    logits: bool,
    overwrite: bool = False,
) -> Tensor:
    if reduction not in _REDUCTIONS:
        raise _bad_reduction(reduction)
    if _is_transformed(emissions):
        result = reduce(reference.ctc(emissions, lattice, logits=logits), lattice, reduction, zero_infinity)
    else:
        options = LossOptions.of(emissions.dtype, logits=logits, reduction=reduction, zero_infinity=zero_infinity)
        compute = autograd.loss_overwriting if overwrite else autograd.loss
        result = compute(emissions, lattice, options)
    return result if batched or reduction != "none" else result[0]


def _bad_reduction(reduction: object) -> ArgumentValueError:
    return ArgumentValueError(f"reduction is {reduction!r}, but must be 'none', 'mean' or 'sum'")


def _is_transformed(emissions: Tensor) -> bool:
    """Whether torch.func or forward-mode differentiation is active; the reference supports both."""
    if torch._C._are_functorch_transforms_active():
        return True
    return forward_ad._current_level >= 0 and forward_ad.unpack_dual(emissions).tangent is not None
