"""Shared parts of the tests of the GPU kernels: the device, the expected results, problems.

The tests run on a GPU if there is one, else in Triton's interpreter. It must be on before the kernels are imported, so
tests import them from here, as `gpu`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from typing import Any

import pytest
import torch
from torch import Tensor

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
if DEVICE == "cpu":
    os.environ["TRITON_INTERPRET"] = "1"  # before the kernels are imported
pytest.importorskip("triton", reason="Triton is not installed")

from ctckit.backends import LossOptions, reference  # noqa: E402
from ctckit.backends import triton as gpu  # noqa: E402
from ctckit.backends.triton import forward_backward as forward_backward_kernels  # noqa: E402
from ctckit.backends.triton import launch, scratch  # noqa: E402
from ctckit.backends.triton.launch import INTERPRETED  # noqa: E402
from ctckit.lattice import Lattice, gate  # noqa: E402
from tests.tools import cases  # noqa: E402
from tests.tools.interpreter_memory import watched  # noqa: E402

__all__ = [
    "DEVICE",
    "FEW",
    "LONG",
    "MARKS",
    "TOLERANCE",
    "check",
    "expected",
    "forward_backward_kernels",
    "gpu",
    "launch",
    "needs_gpu",
    "needs_interpreter",
    "needs_patience",
    "problem",
    "run",
    "scratch",
]

MARKS = [
    # The interpreter computes with NumPy, which warns if infinity is subtracted from infinity.
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
    pytest.mark.skipif(DEVICE == "cpu" and not INTERPRETED, reason="Triton was imported before the tests"),
]
needs_gpu = pytest.mark.skipif(DEVICE == "cpu", reason="needs a GPU")
needs_patience = pytest.mark.skipif(
    DEVICE == "cpu" and "CTCKIT_SLOW_TESTS" not in os.environ,
    reason="takes minutes in the interpreter: set CTCKIT_SLOW_TESTS=1",
)
needs_interpreter = pytest.mark.skipif(DEVICE != "cpu", reason="is about the interpreter, or the host's memory")

TOLERANCE = {torch.float64: 1e-13, torch.float32: 1e-6, torch.float16: 2e-3, torch.bfloat16: 1e-2}
FEW = cases.random_case(11, 3, 5, 4, seed=1)
# Two chunks of positions, frequent labels.
LONG = cases.Case("two chunks", 43, 4, ((1, 2, 3, 1, 3, 2, 2, 1) + (1, 3) * 13, (2, 2)), (43, 10))


def hasten_the_interpreter() -> None:
    """Make the interpreter skip work that changes no result and takes two thirds of its time.

    It patches Triton's language at each call of a function by a kernel, although it has done so for the kernel. And it
    checks each integer operation for overflow, which it reports only with `debug`.
    """
    from triton.runtime import interpreter

    call = interpreter.InterpretedFunction.__call__

    def called(function: Any, *args: Any, **kwargs: Any) -> Any:
        ours = function.fn.__module__.startswith("ctckit.")
        return function.rewrite()(*args, **kwargs) if ours else call(function, *args, **kwargs)

    interpreter.InterpretedFunction.__call__ = called
    builder = interpreter.interpreter_builder
    builder.options = dataclasses.replace(builder.options, sanitize_overflow=False)


if INTERPRETED:
    hasten_the_interpreter()


def problem(arguments: cases.Arguments) -> tuple[Tensor, Lattice]:
    input_lengths, target_lengths = (x.to(DEVICE) if isinstance(x, Tensor) else x for x in arguments[2:4])
    emissions, targets = arguments.emissions.to(DEVICE), arguments.targets.to(DEVICE)
    emissions, lattice, _ = gate(emissions, targets, input_lengths, target_lengths, arguments.blank)
    return emissions, lattice


def run(x: Tensor, lattice: Lattice, *, logits: bool = True, reduction: str = "none") -> tuple[Tensor, Tensor]:
    gradient = torch.full_like(x, 77.0)
    with watched() if DEVICE == "cpu" else contextlib.nullcontext():
        loss = gpu.loss(
            x, lattice, LossOptions.of(x.dtype, logits=logits, reduction=reduction, zero_infinity=False), gradient
        )
    return loss.cpu(), gradient.cpu()


def expected(x: Tensor, lattice: Lattice, *, logits: bool, reduction: str = "none") -> tuple[Tensor, Tensor]:
    x = x.detach().cpu().double()
    lattice = lattice.cpu()
    gradient = torch.empty_like(x)
    loss = reference.loss(
        x, lattice, LossOptions.of(x.dtype, logits=logits, reduction=reduction, zero_infinity=False), gradient
    )
    return loss, gradient


def check(case: cases.Case, x: Tensor, *, logits: bool) -> None:
    x, lattice = problem(case.padded(x))
    actual, right = run(x, lattice, logits=logits), expected(x, lattice, logits=logits)
    tolerance = TOLERANCE[x.dtype]
    torch.testing.assert_close(actual[0].double(), right[0], rtol=min(tolerance, 1e-6), atol=min(tolerance, 1e-6))
    error = torch.linalg.vector_norm(actual[1].double() - right[1])
    assert error <= tolerance * torch.linalg.vector_norm(right[1])
    beyond = torch.arange(case.frames)[:, None] >= torch.tensor(case.input_lengths)
    assert (actual[1][beyond] == 0).all()
