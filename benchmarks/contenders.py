"""The calls that are compared, each written as a user would write it.

A contender is a call to time and what to do, untimed, before each call. `MODES` says which
two contenders meet for each question; the first is always the one to beat.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.nn import functional

import ctckit
from benchmarks import cases

DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16}


@dataclass
class Job:
    """The arguments of one case as tensors."""

    logits: Tensor  # a leaf that requires grad
    targets: Tensor
    input_lengths: Tensor
    target_lengths: Tensor
    batch_first: bool

    @classmethod
    def make(cls, case: cases.Case, dtype: str = "float32") -> Job:
        """The case's inputs, with the logits rounded to `dtype`."""
        logits, *rest = map(torch.from_numpy, cases.make(case))
        targets, input_lengths, target_lengths = rest
        leaf = logits.to(DTYPES[dtype]).requires_grad_()
        return cls(leaf, targets, input_lengths, target_lengths, case.batch_first)


Loss = Callable[..., Tensor]


def torch_loss(job: Job, reduction: str = "mean") -> Tensor:
    """log_softmax and F.ctc_loss. Below float32 the user must convert; log_softmax can do it."""
    logits = job.logits.transpose(0, 1) if job.batch_first else job.logits
    low = logits.dtype in (torch.bfloat16, torch.float16)
    log_probs = logits.log_softmax(-1, dtype=torch.float32 if low else None)
    loss: Tensor = functional.ctc_loss(
        log_probs, job.targets, job.input_lengths, job.target_lengths, reduction=reduction
    )
    return loss


def ctckit_loss(job: Job, reduction: str = "mean") -> Tensor:
    """ctc_loss_with_logits: log_softmax is part of the call."""
    return ctckit.ctc_loss_with_logits(
        job.logits,
        job.targets,
        job.input_lengths,
        job.target_lengths,
        reduction=reduction,
        batch_first=job.batch_first,
    )


def ctckit_log_probs_loss(job: Job, reduction: str = "mean") -> Tensor:
    """log_softmax and ctckit's ctc_loss: what changing the import alone gives."""
    return ctckit.ctc_loss(
        job.logits.log_softmax(-1),
        job.targets,
        job.input_lengths,
        job.target_lengths,
        reduction=reduction,
        batch_first=job.batch_first,
    )


class _Copy(torch.autograd.Function):
    """The least that a loss written in Python can do: it reads the logits and writes as much, once."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor) -> Tensor:
        ctx.derivative = logits.clone()
        return logits.new_zeros(())

    @staticmethod
    def backward(ctx: Any, _: Tensor) -> Tensor:
        derivative, ctx.derivative = ctx.derivative, None
        return cast("Tensor", derivative)


def copying_loss(job: Job) -> Tensor:
    """No loss at all, but what a call costs."""
    return cast("Tensor", _Copy.apply(job.logits))  # type: ignore[no-untyped-call]


class Contender(NamedTuple):
    """`reset` is called, untimed, before every timed `run`."""

    run: Callable[[], object]
    reset: Callable[[], object]


def step(loss: Loss, job: Job) -> Contender:
    """Loss and gradient of the logits, as in training: the gradient is allocated by the call."""

    def forget() -> None:
        job.logits.grad = None

    return Contender(lambda: loss(job).backward(), forget)


def forward(loss: Loss, job: Job) -> Contender:
    """The loss alone, as in validation."""

    def run() -> Tensor:
        with torch.no_grad():
            return loss(job)

    return Contender(run, lambda: None)


def in_place(job: Job) -> Contender:
    """The gradient written over the logits, which are a layer's output and not a leaf."""
    output = [job.logits]

    def new_output() -> None:
        output[0] = job.logits * 1.0

    def run() -> tuple[Tensor, ...]:
        loss = ctckit.ctc_loss_with_logits(
            output[0],
            job.targets,
            job.input_lengths,
            job.target_lengths,
            batch_first=job.batch_first,
            inplace_grad=True,
        )
        return torch.autograd.grad(loss, output[0])

    return Contender(run, new_output)


def floor(job: Job) -> Contender:
    """Read the logits twice and write one gradient: what no exact method can go below."""

    def run() -> Tensor:
        with torch.no_grad():
            job.logits.sum()
            job.logits.sum()
            return torch.empty_like(job.logits).fill_(0)

    return Contender(run, lambda: None)


MODES: dict[str, Callable[[Job], tuple[Contender, Contender]]] = {
    "logits": lambda job: (step(torch_loss, job), step(ctckit_loss, job)),
    "log_probs": lambda job: (step(torch_loss, job), step(ctckit_log_probs_loss, job)),
    "forward": lambda job: (forward(torch_loss, job), forward(ctckit_loss, job)),
    "in place": lambda job: (step(torch_loss, job), in_place(job)),
    "ceiling": lambda job: (step(torch_loss, job), step(copying_loss, job)),
    "floor": lambda job: (floor(job), step(ctckit_loss, job)),
}
