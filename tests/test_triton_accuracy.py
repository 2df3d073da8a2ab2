"""How exact the GPU kernels are in float32 over many frames, in the interpreter as on a GPU.

``python tests/test_triton_accuracy.py 10000 40`` prints the table of docs/gpu.md for so many frames and labels.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
import torch

import cases
import judge
import kernels

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

pytestmark = kernels.MARKS

# The loss is the logarithm of a float32 near 1 where a model is sure: right to some 1e-7 nats, however small it is.
LOSS_LIMITS = {"random": 2e-7, "random x 10": 2e-7, "trained, margin 8": 2e-6, "trained, margin 14": 5e-5}
MODELS: dict[str, Callable[[cases.Case], Tensor]] = {
    "random": lambda case: case.logits(torch.float32),
    "random x 10": lambda case: case.logits(torch.float32, scale=10),
    "trained, margin 8": lambda case: cases.trained(case, 8, torch.float32),
    "trained, margin 14": lambda case: cases.trained(case, 14, torch.float32),
}


def errors(model: str, frames: int, labels: int) -> judge.Errors:
    """Of one item with 8 classes, held against the reference in float64."""
    target = tuple(torch.randint(1, 8, (labels,), generator=torch.Generator().manual_seed(1)).tolist())
    case = cases.Case(model, frames, 8, (target,), (frames,))
    arguments = case.padded(MODELS[model](case))
    actual = judge.Result(*kernels.run(*kernels.problem(arguments)))
    return judge.errors(actual, judge.exact(arguments, logits=True))


@pytest.mark.parametrize("model", MODELS)
def test_a_thousand_frames(model: str) -> None:
    """One chunk, and one tile of occupancy: the interpreter takes a second for 80 frames."""
    error = errors(model, 1000, 15)
    assert error.gradient <= 5e-7
    assert error.loss <= LOSS_LIMITS[model]


def main(frames: int, labels: int, lanes: int = 64) -> None:
    """Print the errors of all models; with the lanes of an AMD warp, which take the interpreter as long as 32."""
    if kernels.DEVICE == "cpu":
        kernels.gpu._chunk = lambda: lanes  # type: ignore[assignment]
    for model in MODELS:
        error = errors(model, frames, labels)
        of_gradient, of_loss = f"{error.gradient:.1e}", f"{error.loss:.1e}"
        print(f"{frames} frames, {labels} labels, {model}: gradient {of_gradient}, loss {of_loss}", flush=True)  # noqa: T201


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
