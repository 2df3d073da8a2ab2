"""The autograd functions of the loss: for eager mode, and the operator for traced graphs.

Loss and derivative are computed together: both read all emissions. In eager mode autograd keeps the derivative for the
backward pass:

- The first backward returns the kept tensor itself, scaled in place unless the scale is 1. So no second tensor of the
  size of the emissions is allocated.
- A second backward (``retain_graph=True``) computes the derivative again, from the same emissions, labels and lengths.
  It raises if the labels or lengths have changed.
- With ``create_graph=True``, `ctckit.reference` computes it: autograd can differentiate that to any order.

`torch.compile`, `torch.export`, `torch.jit.trace` and tensor subclasses call the operator ``ctckit::loss``. It takes
the fields of a lattice and returns the loss and the derivative. Eager calls bypass it: the dispatcher would take longer
than the loss of a short text line.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor

from ctckit import reference
from ctckit.backends import LossOptions, backend_for
from ctckit.lattice import Lattice
from ctckit.lattice.tensor_kinds import is_eager
from ctckit.reference import reduce

WIDTH = -1
"""As `max_target` of the operator: use the width of the labels, which must not become a constant of a trace."""

_library = torch.library.Library("ctckit", "DEF")
_library.define(
    "loss(Tensor emissions, Tensor labels, Tensor input_lengths, Tensor target_lengths, SymInt max_target, int blank, "
    "bool logits, str reduction, bool zero_infinity, bool gradient) -> (Tensor, Tensor)"
)


def loss(emissions: Tensor, lattice: Lattice, options: LossOptions) -> Tensor:
    """Return the loss of a lattice, differentiable by the emissions."""
    if not (is_eager(emissions) and _is_plain(lattice)):
        logits, reduction, zero_infinity, _ = options
        result, _ = torch.ops.ctckit.loss(emissions, *lattice, logits, reduction, zero_infinity, False)
        return cast("Tensor", result)
    if torch.is_grad_enabled() and emissions.requires_grad:
        return _apply(emissions, lattice, options)
    return backend_for(emissions.device).loss(emissions, lattice, options, None)


def loss_overwriting(emissions: Tensor, lattice: Lattice, options: LossOptions) -> Tensor:
    """Do the same, but write the derivative over the emissions if it is needed and their layout allows it."""
    wanted = torch.is_grad_enabled() and emissions.requires_grad
    if not (wanted and is_eager(emissions) and _is_plain(lattice) and _has_room(emissions)):
        return loss(emissions, lattice, options)
    return cast("Tensor", _OverwritingLoss.apply(emissions, lattice, options))  # type: ignore[no-untyped-call]


def _compute(
    emissions: Tensor, lattice: Lattice, options: LossOptions, *, gradient: bool
) -> tuple[Tensor, Tensor | None]:
    backend = backend_for(emissions.device)
    derivative = _empty_gradient(emissions, backend.empty_like) if gradient else None
    return backend.loss(emissions, lattice, options, derivative), derivative


def _operator(emissions: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    *fields, logits, reduction, zero_infinity, gradient = rest
    lattice = Lattice(*fields)
    if lattice.max_target == WIDTH:
        lattice = lattice._replace(max_target=lattice.labels.shape[-1])
    options = LossOptions.of(emissions.dtype, logits=logits, reduction=reduction, zero_infinity=zero_infinity)
    result, derivative = _compute(emissions, lattice, options, gradient=gradient)
    return result, emissions.new_empty(0) if derivative is None else derivative


def _fake(emissions: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    *_, reduction, _, gradient = rest
    dtype = torch.float64 if emissions.dtype == torch.float64 else torch.float32
    result = emissions.new_empty(emissions.shape[1] if reduction == "none" else (), dtype=dtype)
    return result, _empty_gradient(emissions, torch.empty_like) if gradient else emissions.new_empty(0)


def _empty_gradient(emissions: Tensor, empty_like: Callable[[Tensor], Tensor]) -> Tensor:
    """Allocate a gradient with the layout of the emissions, but with the classes of a frame contiguous."""
    if emissions.stride(2) == 1 or emissions.is_contiguous():
        like = empty_like(emissions)
        if like.stride(2) == 1:
            return like
    return torch.empty_like(emissions, memory_format=torch.contiguous_format)


class _Loss(torch.autograd.Function):
    """The loss in eager mode, with its derivative kept for the backward pass."""

    @staticmethod
    def forward(ctx: Any, emissions: Tensor, lattice: Lattice, options: LossOptions) -> Tensor:
        lattice, versions = _versions(lattice)
        result, ctx.derivative = _compute(emissions, lattice, options, gradient=True)
        ctx.rest = lattice, versions, options, _counts(lattice, options)
        ctx.save_for_backward(emissions)
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        derivative, ctx.derivative = ctx.derivative, None
        lattice, versions, options, counts = ctx.rest
        to_be_followed = torch.is_grad_enabled()
        if derivative is None or to_be_followed:
            (emissions,) = ctx.saved_tensors
            _require_unchanged(lattice, versions)
            if to_be_followed:
                logits, reduction, zero_infinity, _ = options
                result = reduce(reference.ctc(emissions, lattice, logits=logits), lattice, reduction, zero_infinity)
                (slope,) = torch.autograd.grad(result, emissions, grad, create_graph=True)
                return slope, None, None
            _, derivative = _compute(emissions, lattice, options, gradient=True)
        return _scaled(derivative, grad, counts), None, None


# `torch.autograd.Function.apply` without its setup for torch.func: the setup takes as long as the whole loss of a tiny
# call. Calls under torch.func do not get here (see `ctckit.loss`).
_apply: Callable[..., Tensor] = super(torch.autograd.Function, _Loss).apply


class _OverwritingLoss(torch.autograd.Function):
    """The loss in eager mode, with its derivative written over the emissions."""

    @staticmethod
    def forward(ctx: Any, emissions: Tensor, lattice: Lattice, options: LossOptions) -> Tensor:
        ctx.counts, ctx.derivative = _counts(lattice, options), emissions.detach()
        torch.autograd.graph.increment_version(emissions)  # so that autograd raises if another operation has saved it
        return backend_for(emissions.device).loss(ctx.derivative, lattice, options, ctx.derivative)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        derivative, ctx.derivative = ctx.derivative, None
        if derivative is None:
            raise RuntimeError(
                "the gradient was written over the logits (inplace_grad=True), and the first backward has used it: for "
                "a second backward through the same loss, leave inplace_grad out"
            )
        return _scaled(derivative, grad, ctx.counts), None, None


class _TracedLoss(torch.autograd.Function):
    """The operator's derivative: an output of the operator, so a traced graph holds it like any other value."""

    @staticmethod
    def forward(ctx: Any, emissions: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
        *fields, logits, reduction, zero_infinity, _ = rest
        with torch._C._AutoDispatchBelowAutograd():
            result, derivative = torch.ops.ctckit.loss(emissions, *fields, logits, reduction, zero_infinity, True)
        options = LossOptions.of(emissions.dtype, logits=logits, reduction=reduction, zero_infinity=zero_infinity)
        ctx.save_for_backward(derivative, _counts(Lattice(*fields), options))
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(derivative)
        return result, derivative

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor | None, _: Tensor | None) -> tuple[Tensor | None, ...]:
        none = (None,) * 9
        if grad is None:
            return None, *none
        derivative, counts = ctx.saved_tensors
        scale = _scale(grad, counts)
        return (derivative * scale).to(derivative.dtype), *none


def _is_plain(lattice: Lattice) -> bool:
    """Return whether no tensor of a lattice is of a subclass, whose numbers may be elsewhere."""
    return type(lattice.labels) is type(lattice.input_lengths) is type(lattice.target_lengths) is Tensor


def _counts(lattice: Lattice, options: LossOptions) -> Tensor | None:
    """Return (N,) the divisors that the kept derivative still needs; None if it is complete."""
    if options.reduction == "mean" and not options.mean_gradient:
        return lattice.target_lengths.clamp(min=1) * lattice.target_lengths.shape[0]
    return None


def _scale(grad: Tensor, counts: Tensor | None) -> Tensor:
    """Return the factor of the kept derivative: one number, or one per item."""
    if counts is not None:
        grad = grad / counts
    return grad.unsqueeze(1) if grad.ndim else grad


def _scaled(derivative: Tensor, grad: Tensor, counts: Tensor | None) -> Tensor:
    """Multiply the kept derivative by the incoming gradient, in place if possible."""
    scale = _scale(grad, counts)
    if is_eager(scale):
        return backend_for(derivative.device).scale_(derivative, scale)
    return (derivative * scale).to(derivative.dtype)


def _versions(lattice: Lattice) -> tuple[Lattice, tuple[int, int, int]]:
    """Return the lattice for a second backward, and the version counters of its tensors."""
    labels, input_lengths, target_lengths, longest, blank = lattice
    try:
        return lattice, (labels._version, input_lengths._version, target_lengths._version)  # noqa: SLF001
    except RuntimeError:  # tensors made under torch.inference_mode have no version counter
        return _versions(Lattice(labels.clone(), input_lengths.clone(), target_lengths.clone(), longest, blank))


def _require_unchanged(lattice: Lattice, versions: tuple[int, int, int]) -> None:
    names = "targets", "input_lengths", "target_lengths"
    tensors = lattice.labels, lattice.input_lengths, lattice.target_lengths
    for name, tensor, version in zip(names, tensors, versions, strict=True):
        if tensor._version != version:  # noqa: SLF001
            raise RuntimeError(
                f"one of the variables needed for gradient computation has been modified by an inplace operation: "
                f"{name} was changed after the loss was computed, and this backward needs it as it was: pass "
                f"{name}.clone() to the loss, or change it after the last backward"
            )


def _has_room(emissions: Tensor) -> bool:
    """Whether a gradient can overwrite the emissions: classes are contiguous, and no two frames overlap."""
    _, items, classes = emissions.shape
    frame_stride, item_stride, class_stride = emissions.stride()
    rows = sorted(((frame_stride, emissions.shape[0]), (item_stride, items)))
    needed = classes  # elements from the start of one row to the end of the last so far
    for stride, count in rows:
        if count > 1 and stride < needed:
            return False
        needed += stride * (count - 1)
    if emissions.is_neg() or emissions.data_ptr() % emissions.element_size():
        return False
    return class_stride == 1 or classes == 1


def _differentiable(emissions: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    if torch.is_grad_enabled() and emissions.requires_grad:
        return cast("tuple[Tensor, Tensor]", _TracedLoss.apply(emissions, *rest))  # type: ignore[no-untyped-call]
    with torch._C._AutoDispatchBelowAutograd():
        return cast("tuple[Tensor, Tensor]", torch.ops.ctckit.loss(emissions, *rest))


_library.impl("loss", _operator, "CompositeExplicitAutograd")
_library.impl("loss", _differentiable, "Autograd")
torch.library.register_fake("ctckit::loss", _fake)
