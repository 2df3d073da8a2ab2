"""How far are the loss and the gradient from float64?"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from benchmarks.calls import DTYPES, Batch, Loss, ctckit_log_probs_loss, ctckit_loss, torch_loss
from benchmarks.cases import LOSSES, Case

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.settings import Row, Settings

LossAndGradient = tuple[Tensor, Tensor]  # (N,), and the gradient of their sum: as the logits


def measure(settings: Settings) -> Iterator[Row]:
    """The errors of torch and of ctckit in each dtype; inputs that are hard to compute with in float32 only.

    In float64 torch is the judge, so its row is left out, and ctckit's says how well two independent float64
    computations agree.
    """
    for case in settings.among(LOSSES):
        for dtype in DTYPES:
            if dtype != "float32" and not case.plain:
                continue
            if dtype != "float64":
                yield row(case, "torch", dtype, torch_loss)
            yield row(case, "ctckit", dtype, ctckit_loss)
            if dtype == "float32":
                yield row(case, "ctckit, log_probs", dtype, ctckit_log_probs_loss)


def row(case: Case, who: str, dtype: str, loss: Loss) -> Row:
    """The errors of one way to compute a case."""
    result = evaluate(loss, Batch.make(case, dtype))
    found = errors(result, truth(case, dtype if dtype == "bfloat16" else "float32"))
    return {"case": case.name, "who": who, "dtype": dtype, **found, "loss": float(result[0].double().sum())}


def evaluate(loss: Loss, batch: Batch) -> LossAndGradient:
    """The losses of the items and the gradient of their sum."""
    losses = loss(batch, reduction="none")
    (gradient,) = torch.autograd.grad(losses.sum(), batch.logits)
    return losses.detach(), gradient


@functools.cache
def truth(case: Case, rounded_to: str) -> LossAndGradient:
    """The float64 result of torch, on logits that were first rounded to the dtype of the measured call."""
    batch = Batch.make(case, rounded_to)
    return evaluate(torch_loss, batch._replace(logits=batch.logits.detach().double().requires_grad_()))


def errors(result: LossAndGradient, right: LossAndGradient) -> Row:
    """|g - g64| / |g64| over the whole batch, and the worst item's relative loss error."""
    losses, gradient = (x.double() for x in result)
    gradient_error = torch.linalg.vector_norm(gradient - right[1]) / torch.linalg.vector_norm(right[1])
    loss_error = ((losses - right[0]).abs() / right[0].abs()).amax()
    return {"gradient_error": float(gradient_error), "loss_error": float(loss_error)}
