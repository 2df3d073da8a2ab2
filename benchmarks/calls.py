"""The calls of torch and ctckit that are compared, each written as a user would write it.

`MODES` names the pairs; the first call of a pair is the one to beat. `peer_calls` has the calls of other libraries.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.nn import functional

import ctckit
from benchmarks import cases
from benchmarks.timing import Call

DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16}


class Batch(NamedTuple):
    """The arguments of one case as tensors."""

    logits: Tensor  # a leaf that requires grad
    targets: tuple[Tensor, Tensor, Tensor]  # targets, input lengths, target lengths
    batch_first: bool = False

    @classmethod
    def make(cls, case: cases.Case, dtype: str = "float32") -> Batch:
        """The case's inputs, with the logits rounded to `dtype`."""
        logits, targets, frames, labels = map(torch.from_numpy, cases.make(case))
        return cls(logits.to(DTYPES[dtype]).requires_grad_(), (targets, frames, labels), case.batch_first)


Loss = Callable[..., Tensor]


def torch_loss(batch: Batch, reduction: str = "mean") -> Tensor:
    """log_softmax and F.ctc_loss. Below float32 the user must convert; log_softmax can do it."""
    logits = batch.logits.transpose(0, 1) if batch.batch_first else batch.logits
    low = logits.dtype in (torch.bfloat16, torch.float16)
    log_probs = logits.log_softmax(-1, dtype=torch.float32 if low else None)
    return functional.ctc_loss(log_probs, *batch.targets, reduction=reduction)


def ctckit_loss(batch: Batch, reduction: str = "mean") -> Tensor:
    """ctc_loss_with_logits: log_softmax is part of the call."""
    return ctckit.ctc_loss_with_logits(batch.logits, *batch.targets, reduction=reduction, batch_first=batch.batch_first)


def ctckit_log_probs_loss(batch: Batch, reduction: str = "mean") -> Tensor:
    """log_softmax and ctckit's ctc_loss: torch's call with the import changed."""
    log_probs = batch.logits.log_softmax(-1)
    return ctckit.ctc_loss(log_probs, *batch.targets, reduction=reduction, batch_first=batch.batch_first)


class _Copy(torch.autograd.Function):
    """Copies the logits to their gradient: the least work of a loss written in Python."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor) -> Tensor:
        ctx.derivative = logits.clone()
        return logits.new_zeros(())

    @staticmethod
    def backward(ctx: Any, _: Tensor) -> Tensor:
        derivative, ctx.derivative = ctx.derivative, None
        return cast("Tensor", derivative)


def step(loss: Loss, batch: Batch) -> Call:
    """Loss and gradient of the logits, as in training: the gradient is allocated by the call."""

    def forget() -> None:
        batch.logits.grad = None

    return Call(lambda: loss(batch).backward(), forget)


def forward(loss: Loss, batch: Batch) -> Call:
    """The loss alone, as in validation."""
    return Call(torch.no_grad()(lambda: loss(batch)))


def in_place(batch: Batch) -> Call:
    """The gradient written over the logits, which are a layer's output and not a leaf."""
    output = [batch.logits]

    def new_output() -> None:
        output[0] = batch.logits * 1.0

    def run() -> tuple[Tensor, ...]:
        loss = ctckit.ctc_loss_with_logits(output[0], *batch.targets, batch_first=batch.batch_first, inplace_grad=True)
        return torch.autograd.grad(loss, output[0])

    return Call(run, new_output)


def floor(batch: Batch) -> Call:
    """Read the logits twice and fill a new gradient, each by an operation of torch."""

    def run() -> Tensor:
        with torch.no_grad():
            batch.logits.sum()
            batch.logits.sum()
            return torch.empty_like(batch.logits).fill_(0)

    return Call(run)


MODES: dict[str, Callable[[Batch], tuple[Call, Call]]] = {
    "logits": lambda batch: (step(torch_loss, batch), step(ctckit_loss, batch)),
    "log_probs": lambda batch: (step(torch_loss, batch), step(ctckit_log_probs_loss, batch)),
    "forward": lambda batch: (forward(torch_loss, batch), forward(ctckit_loss, batch)),
    "in place": lambda batch: (step(torch_loss, batch), in_place(batch)),
    "ceiling": lambda batch: (step(torch_loss, batch), step(lambda job: _Copy.apply(job.logits), batch)),  # type: ignore[no-untyped-call]
    "floor": lambda batch: (floor(batch), step(ctckit_loss, batch)),
}
