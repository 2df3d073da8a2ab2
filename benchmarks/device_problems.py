"""Problems for the kernels on a device, calls of the kernels, and what torch says in float64 on the CPU."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.device_items import Result, Settings
from benchmarks.device_words import device, say, synchronize
from ctckit.backends import LossOptions
from ctckit.backends import triton as gpu
from ctckit.backends.triton import forward_backward, occupancy, rows, sums
from ctckit.backends.triton import gradient as gradient_kernels
from ctckit.lattice import gate

Arguments = tuple[Tensor, Tensor, Tensor, Tensor]  # emissions, targets, input lengths, target lengths

KERNELS = (
    *("prepare", "sum_rows", "top_of_rows", "walk_chunks", "finish", "add_losses"),
    *("occupy", "write_rows", "write_by_class", "scale_rows"),
)
LIMITS = {torch.float64: 1e-12, torch.float32: 1e-6, torch.float16: 1e-2, torch.bfloat16: 1e-2}
"""Relative error of the gradient, in the norm: below float32 it is the rounding of the gradient itself."""
LOSS_LIMITS = {torch.float64: 1e-12, torch.float32: 1e-6, torch.float16: 1e-6, torch.bfloat16: 1e-6}


def problem(
    settings: Settings,
    shape: tuple[int, int, int, int],
    *,
    dtype: torch.dtype = torch.float32,
    scale: float = 1.0,
    margin: float = 0.0,
    ragged: bool = False,
) -> Arguments:
    """Make a problem of T, N, C, S: the same numbers every time.

    Args:
        settings: where, and whether the shape is to be made tiny.
        shape: frames, items, classes, labels.
        dtype: of the emissions.
        scale: standard deviation of the logits.
        margin: what a path that spells the target has above the other classes, as a trained model.
        ragged: whether lengths differ, with a label that is repeated.
    """
    T, N, C, S = (min(a, b) for a, b in zip(shape, (12, 2, 40, 4), strict=True)) if settings.dry else shape
    generator = torch.Generator().manual_seed(1)
    targets = torch.randint(1, C, (N, S), generator=generator)
    x = scale * torch.randn(T, N, C, generator=generator)
    if margin:
        best = torch.zeros(T, N, dtype=torch.int64)
        best[torch.linspace(1, T - 2, S).long()] = targets.T
        x.scatter_add_(2, best[:, :, None], torch.full((T, N, 1), margin))
    input_lengths, target_lengths = torch.full((N,), T), torch.full((N,), S)
    if ragged:
        input_lengths -= torch.arange(N) * (T // (3 * N))
        target_lengths -= torch.arange(N) * (S // N)
        targets[0, : S // 2] = targets[0, 0]
    where = device(settings)
    return x.to(dtype).to(where), targets.to(where), input_lengths.to(where), target_lengths.to(where)


def call(arguments: Arguments, *, logits: bool = True, gradient: bool = True) -> tuple[Tensor, Tensor]:
    """Return the items' losses and the gradient of their sum (empty without), straight from the kernels."""
    x, targets, input_lengths, target_lengths = arguments
    emissions, lattice, _ = gate(x, targets, input_lengths, target_lengths, 0)
    out = torch.full_like(x, 77.0) if gradient else None
    losses = gpu.loss(
        emissions, lattice, LossOptions.of(emissions.dtype, logits=logits, reduction="none", zero_infinity=False), out
    )
    return losses, x.new_empty(0) if out is None else out


def judged(settings: Settings, arguments: Arguments, *, logits: bool = True) -> Result:
    """Return relative errors against torch on the CPU in float64: an implementation that is not ours."""
    x, targets, input_lengths, target_lengths = arguments
    losses, gradient = call(arguments, logits=logits)
    synchronize(settings)
    say(step="judge")
    double = x.cpu().double().requires_grad_()
    log_probs = double.log_softmax(2) if logits else double
    right = functional.ctc_loss(log_probs, targets.cpu(), input_lengths.cpu(), target_lengths.cpu(), reduction="none")
    (slope,) = torch.autograd.grad(right.sum(), double)
    if not logits:  # torch adds exp(log_probs) to the derivative
        inside = torch.arange(x.shape[0])[:, None] < input_lengths.cpu()
        slope = slope - torch.where(inside[:, :, None], double.detach().exp(), 0.0)
    right = right.detach()
    fine = right.isfinite()
    if not fine.any():
        return {"failed": "no item has a path: the problem says nothing"}
    got, slope = gradient.cpu().double()[:, fine], slope[:, fine]
    of_losses = (losses.cpu().double() - right).abs() / right.abs().clamp(min=1e-3)
    result: Result = {
        "gradient": float((got - slope).norm() / slope.norm()),
        "loss": float(of_losses[fine].max()),
        "infinite alike": bool(torch.equal(losses.cpu().isinf(), right.isinf())),
        "smallest loss": float(right[fine].min()),
    }
    exact = result["gradient"] <= LIMITS[x.dtype] and result["loss"] <= LOSS_LIMITS[x.dtype]
    result["ok"] = result["infinite alike"] and exact
    return result


@contextlib.contextmanager
def hooked(launch: Callable[[str, Callable[[], None]], None]) -> Iterator[None]:
    """Within it each launch of a kernel is handed to a function: its name, and what launches it."""

    class Hooked:
        def __init__(self, kernel: Any, name: str) -> None:
            self.kernel, self.name = kernel, name

        def __getitem__(self, grid: Any) -> Callable[..., None]:
            return lambda *args, **options: launch(self.name, lambda: self.kernel[grid](*args, **options))

    kept = [
        (module, name, getattr(module, name))
        for module in (rows, sums, forward_backward, occupancy, gradient_kernels)
        for name in KERNELS
        if name in vars(module)
    ]
    try:
        for module, name, kernel in kept:
            setattr(module, name, Hooked(kernel, name))
        yield
    finally:
        for module, name, kernel in kept:
            setattr(module, name, kernel)


def announced(settings: Settings) -> contextlib.AbstractContextManager[None]:
    """Within it each launch says its name before, and its seconds when the device is done with it."""

    def launch(name: str, run: Callable[[], None]) -> None:
        say(step=name)
        start = time.perf_counter()
        run()
        synchronize(settings)
        say(step=name, done=round(time.perf_counter() - start, 3))

    return hooked(launch)
