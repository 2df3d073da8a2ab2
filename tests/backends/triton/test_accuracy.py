"""The accuracy of the GPU kernels in float32 over many frames, in the interpreter or on a GPU.

``python -m tests.backends.triton.test_accuracy 10000 40`` prints the table of docs/gpu.md for 10,000
frames and 40 labels.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
import torch

from ctckit.backends import LossOptions, reference
from tests.tools import cases, exact_answers, triton_setup

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

pytestmark = triton_setup.MARKS

# Relative. Exponentials are rounded to float32 (6e-8), and a GPU's may have an error of 2.4e-7, in every frame with the
# same sign; other errors have no common sign. For losses near 0, forward-backward keeps the ε of 1 + ε in float64.
LOSS = 5e-7
GRADIENT = 5e-7
MODELS: dict[str, Callable[[cases.Case], Tensor]] = {
    "random": lambda case: case.logits(torch.float32),
    "random x 10": lambda case: case.logits(torch.float32, scale=10),
    "trained, margin 8": lambda case: cases.trained(case, 8, torch.float32),
    "trained, margin 14": lambda case: cases.trained(case, 14, torch.float32),
}


def problem(model: str, frames: int, labels: int) -> cases.Arguments:
    """One item with 8 classes."""
    target = tuple(torch.randint(1, 8, (labels,), generator=torch.Generator().manual_seed(1)).tolist())
    case = cases.Case(model, frames, 8, (target,), (frames,))
    return case.padded(MODELS[model](case))


def errors(model: str, frames: int, labels: int) -> exact_answers.Errors:
    """Errors against the reference in float64."""
    arguments = problem(model, frames, labels)
    actual = exact_answers.Result(*triton_setup.run(*triton_setup.problem(arguments)))
    return exact_answers.errors(actual, exact_answers.exact(arguments, logits=True))


@pytest.mark.parametrize("model", MODELS)
def test_loss_and_gradient(model: str) -> None:
    """One chunk, and one tile of occupancy: the interpreter takes 1 s for 80 frames."""
    error = errors(model, 500, 15)
    assert error.gradient <= GRADIENT
    assert error.loss <= LOSS


LONG = 10_000 if triton_setup.DEVICE != "cpu" else 3000  # frames: the interpreter takes 4 s for 1,000


@pytest.mark.parametrize(
    ("margin", "frames", "labels"),
    [(14, LONG, 15), (14, 1000, 15), (22, 500, 15), (18, 200, 80)],
    ids=["long", "1,000 frames", "a loss of 3e-6", "three chunks"],
)
def test_a_loss_next_to_0(monkeypatch: pytest.MonkeyPatch, margin: float, frames: int, labels: int) -> None:
    """Without the gradient, for which the interpreter takes four times as long."""
    monkeypatch.setitem(MODELS, "sure", lambda case: cases.trained(case, margin, torch.float32))
    x, lattice = triton_setup.problem(problem("sure", frames, labels))
    options = LossOptions.of(x.dtype, logits=True, reduction="none", zero_infinity=False)
    actual = triton_setup.gpu.loss(x, lattice, options, None).cpu().double()
    right = reference.loss(x.cpu().double(), lattice.cpu(), options, None)
    assert right < 0.2
    assert (actual - right).abs() <= LOSS * right


def main(frames: int, labels: int, lanes: int = 64) -> None:
    """Print the errors of all models, with 64 lanes as on AMD, for which the interpreter takes as long as for 32."""
    if triton_setup.DEVICE == "cpu":
        triton_setup.gpu._chunk = lambda: lanes  # type: ignore[assignment]
    for model in MODELS:
        error = errors(model, frames, labels)
        of_gradient, of_loss = f"{error.gradient:.1e}", f"{error.loss:.1e}"
        print(f"{frames} frames, {labels} labels, {model}: gradient {of_gradient}, loss {of_loss}", flush=True)  # noqa: T201


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
