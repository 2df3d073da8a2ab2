"""The loss for autograd: in eager mode, and as the operator that traced graphs hold.

The loss and its derivative by the emissions come out of one pass, since what the one needs of the emissions the other
needs too. In eager mode autograd keeps the derivative, and hands it over when it is asked for:

- the first backward gives the kept tensor itself, scaled in place unless the scale is 1, so that nothing of the size of
  the emissions is allocated again;
- another one (``retain_graph=True``) computes it again;
- with ``create_graph=True`` it is computed by `ctckit.reference`, which autograd can follow to any order.

`torch.compile` and `torch.export` see the operator ``ctckit::loss``, which takes a lattice's fields and returns the loss
and the derivative. Eager calls go past it: the dispatcher would take longer than the loss of a short line.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

from ctckit import reference
from ctckit.backends import backend_for
from ctckit.backends.reference import reduce
from ctckit.lattice import Lattice

_library = torch.library.Library("ctckit", "DEF")
_library.define(
    "loss(Tensor emissions, Tensor labels, Tensor offsets, Tensor input_lengths, Tensor target_lengths, "
    "SymInt max_target, int blank, bool concatenated, bool logits, str reduction, bool zero_infinity, bool gradient) "
    "-> (Tensor, Tensor)"
)


def loss(emissions: Tensor, lattice: Lattice, *, logits: bool, reduction: str, zero_infinity: bool) -> Tensor:
    """Return the loss of a lattice; differentiable by the emissions."""
    arguments = emissions, *lattice_fields(lattice), logits, reduction, zero_infinity
    if not _is_eager(emissions):
        return cast("Tensor", torch.ops.ctckit.loss(*arguments, False)[0])
    if torch.is_grad_enabled() and emissions.requires_grad:
        return cast("Tensor", _Loss.apply(*arguments))
    return _compute(*arguments, False)[0]


def loss_overwriting(
    emissions: Tensor, lattice: Lattice, *, logits: bool, reduction: str, zero_infinity: bool
) -> Tensor:
    """Do the same, but write the derivative over the emissions when one will be needed."""
    if not (torch.is_grad_enabled() and emissions.requires_grad):
        return loss(emissions, lattice, logits=logits, reduction=reduction, zero_infinity=zero_infinity)
    fields = lattice_fields(lattice)
    return cast("Tensor", _OverwritingLoss.apply(emissions, *fields, logits, reduction, zero_infinity))


def lattice_fields(lattice: Lattice) -> tuple[Any, ...]:
    """Give a lattice's fields in the order of the operator's arguments."""
    tensors = lattice.labels, lattice.offsets, lattice.input_lengths, lattice.target_lengths
    return (*tensors, lattice.max_target, lattice.blank, lattice.concatenated)


def _compute(emissions: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    *fields, logits, reduction, zero_infinity, gradient = rest
    derivative = _empty_gradient(emissions) if gradient else emissions.new_empty(0)
    result = backend_for(emissions.device).loss(
        emissions,
        Lattice(*fields),
        logits=logits,
        reduction=reduction,
        zero_infinity=zero_infinity,
        gradient=derivative if gradient else None,
    )
    return result, derivative


def _fake(emissions: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    *_, reduction, _, gradient = rest
    dtype = torch.float64 if emissions.dtype == torch.float64 else torch.float32
    result = emissions.new_empty(emissions.shape[1] if reduction == "none" else (), dtype=dtype)
    return result, _empty_gradient(emissions) if gradient else emissions.new_empty(0)


def _empty_gradient(emissions: Tensor) -> Tensor:
    """Lay memory out as the emissions', but with the classes of a frame side by side."""
    like = torch.empty_like(emissions)
    return like if like.stride(2) == 1 else torch.empty_like(emissions, memory_format=torch.contiguous_format)


class _Loss(torch.autograd.Function):
    """The loss in eager mode, with its derivative kept for the backward pass."""

    @staticmethod
    def forward(ctx: Any, emissions: Tensor, *rest: Any) -> Tensor:
        result, ctx.derivative = _compute(emissions, *rest, True)
        labels, offsets, input_lengths, target_lengths, *ctx.rest = rest
        ctx.save_for_backward(emissions, labels, offsets, input_lengths, target_lengths)
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        derivative, ctx.derivative = ctx.derivative, None
        emissions, *tensors = ctx.saved_tensors
        *numbers, logits, reduction, zero_infinity = ctx.rest
        lattice = Lattice(*tensors, *numbers)
        none = (None,) * 10
        if torch.is_grad_enabled():
            nll = reference.ctc(emissions, lattice, logits=logits)
            result = reduce(nll, lattice, reduction, zero_infinity)
            return *torch.autograd.grad(result, emissions, grad, create_graph=True), *none
        if derivative is None:
            _, derivative = _compute(emissions, *tensors, *ctx.rest, True)
        return _scaled_in_place(derivative, _scale(grad, lattice, reduction, derivative.dtype)), *none


class _OverwritingLoss(torch.autograd.Function):
    """The loss in eager mode, with its derivative written over the emissions."""

    @staticmethod
    def forward(ctx: Any, emissions: Tensor, *rest: Any) -> Tensor:
        *fields, logits, reduction, zero_infinity = rest
        ctx.lattice, ctx.reduction, ctx.derivative = Lattice(*fields), reduction, emissions.detach()
        torch.autograd.graph.increment_version(emissions)  # whoever else has saved it will say so
        return backend_for(emissions.device).loss(
            ctx.derivative,
            ctx.lattice,
            logits=logits,
            reduction=reduction,
            zero_infinity=zero_infinity,
            gradient=ctx.derivative,
        )

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        derivative, ctx.derivative = ctx.derivative, None
        if derivative is None:
            raise RuntimeError(
                "the gradient was written over the logits (inplace_grad=True) and has been handed over already: for a "
                "second backward through the same loss, leave inplace_grad out"
            )
        scale = _scale(grad, ctx.lattice, ctx.reduction, derivative.dtype)
        return _scaled_in_place(derivative, scale), *(None,) * 10


class _TracedLoss(torch.autograd.Function):
    """The operator's own derivative: the kept one is a value of the graph like any other."""

    @staticmethod
    def forward(ctx: Any, emissions: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
        *fields, logits, reduction, zero_infinity, _ = rest
        with torch._C._AutoDispatchBelowAutograd():
            result, derivative = torch.ops.ctckit.loss(emissions, *fields, logits, reduction, zero_infinity, True)
        labels, offsets, input_lengths, target_lengths, *ctx.numbers = fields
        ctx.reduction = reduction
        ctx.save_for_backward(derivative, labels, offsets, input_lengths, target_lengths)
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(derivative)
        return result, derivative

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad: Tensor | None, _: Tensor | None) -> tuple[Tensor | None, ...]:
        none = (None,) * 11
        if grad is None:
            return None, *none
        derivative, *tensors = ctx.saved_tensors
        scale = _scale(grad, Lattice(*tensors, *ctx.numbers), ctx.reduction, derivative.dtype)
        return (derivative * scale).to(derivative.dtype), *none


def _scale(grad: Tensor, lattice: Lattice, reduction: str, dtype: torch.dtype) -> Tensor:
    """Give what the kept derivative is to be multiplied by: one number, or one per item."""
    if reduction == "mean" and dtype == torch.float16:
        grad = grad / (lattice.target_lengths.clamp(min=1) * lattice.target_lengths.shape[0])
    return grad[:, None] if grad.ndim else grad


def _scaled_in_place(derivative: Tensor, scale: Tensor) -> Tensor:
    if scale.device.type == "cpu" and (bool((scale == 1).all()) if scale.ndim else scale.item() == 1):
        return derivative
    return derivative.mul_(scale)


def _is_eager(tensor: Tensor) -> bool:
    """Tell a tensor with data from one that stands for it while a graph is traced, or while calls are watched."""
    if torch.compiler.is_compiling() or torch._C._len_torch_dispatch_stack():
        return False
    return type(tensor) is Tensor or type(tensor) is torch.nn.Parameter


def _differentiable(emissions: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    if torch.is_grad_enabled() and emissions.requires_grad:
        return cast("tuple[Tensor, Tensor]", _TracedLoss.apply(emissions, *rest))
    with torch._C._AutoDispatchBelowAutograd():
        return cast("tuple[Tensor, Tensor]", torch.ops.ctckit.loss(emissions, *rest))


_library.impl("loss", _compute, "CompositeExplicitAutograd")
_library.impl("loss", _differentiable, "Autograd")
torch.library.register_fake("ctckit::loss", _fake)
