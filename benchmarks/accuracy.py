"""How far are the loss and the gradient from float64?"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from benchmarks import goals
from benchmarks.contenders import Job, Loss, ctckit_log_probs_loss, ctckit_loss, torch_loss

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.cases import Case

Row = dict[str, Any]
LossAndGradient = tuple[Tensor, Tensor]  # (N,), and the gradient of their sum: as the logits


def measure(chosen: Sequence[Case], dtypes: Sequence[str]) -> Iterator[Row]:
    """The errors of torch and of ctckit in each dtype.

    The inputs that are hard to compute with are given in float32 only.

    In float64 torch is the judge, so its row is left out, and ctckit's says how well two
    independent float64 computations agree.
    """
    contenders: dict[str, Loss] = {"torch": torch_loss, "ctckit": ctckit_loss}
    for case in chosen:
        for dtype in dtypes:
            if dtype != "float32" and not case.plain:
                continue
            for who, loss in contenders.items():
                if (who, dtype) != ("torch", "float64"):
                    yield row(case, who, dtype, evaluate(loss, Job.make(case, dtype)))
        if "float32" in dtypes:
            result = evaluate(ctckit_log_probs_loss, Job.make(case))
            yield row(case, "ctckit, log_probs", "float32", result)


def row(case: Case, who: str, dtype: str, result: LossAndGradient) -> Row:
    """One line of the table: the errors of a result, judged where there is a goal."""
    gradient, loss = errors(result, truth(case, dtype if dtype == "bfloat16" else "float32"))
    judged = (who, dtype) == ("ctckit", "float32")
    return {
        "case": case.name,
        "who": who,
        "dtype": dtype,
        "gradient_error": gradient,
        "loss_error": loss,
        "loss": float(result[0].double().sum()),
        "verdict": goals.at_most(gradient, goals.GRADIENT_ERROR if judged else None),
        "loss_verdict": goals.at_most(loss, goals.LOSS_ERROR if judged else None),
    }


def evaluate(loss: Loss, job: Job) -> LossAndGradient:
    """The losses of the items and the gradient of their sum."""
    losses = loss(job, reduction="none")
    losses.sum().backward()
    gradient = job.logits.grad
    assert gradient is not None
    job.logits.grad = None
    return losses.detach(), gradient


@functools.cache
def truth(case: Case, rounded_to: str) -> LossAndGradient:
    """The float64 result of torch, on logits that were first rounded to what the contenders get."""
    job = Job.make(case, rounded_to)
    job.logits = job.logits.detach().double().requires_grad_()
    return evaluate(torch_loss, job)


def errors(result: LossAndGradient, right: LossAndGradient) -> tuple[float, float]:
    """|g - g64| / |g64| over the whole batch, and the worst item's relative loss error."""
    losses, gradient = (x.double() for x in result)
    gradient_error = torch.linalg.vector_norm(gradient - right[1]) / torch.linalg.vector_norm(right[1])
    loss_error = ((losses - right[0]).abs() / right[0].abs()).amax()
    return float(gradient_error), float(loss_error)
