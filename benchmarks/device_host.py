"""What a step costs the caller on a device: a kernel's launch, the loss, backward, and where Python spends it."""

from __future__ import annotations

import cProfile
import pstats
import statistics
import time
from collections.abc import Callable

import torch

from benchmarks import device_speed as speed
from benchmarks.device_items import Result, Settings
from benchmarks.device_words import device, say, synchronize
from ctckit.backends import triton as gpu

CALLS = 50
"""Calls between two synchronizations: few enough for the driver's queue."""


def host(settings: Settings, shape: tuple[int, int, int, int]) -> Result:
    """Return microseconds per call of a step's parts, each CALLS times without a synchronization, and a profile."""
    speed.DEVICE = device(settings)
    arguments = speed.make(shape, torch.float32)
    logits, step, torch_step = arguments[0], speed.ctckit_step(arguments), speed.torch_step(arguments)
    one, gradient = torch.ones((), device=speed.DEVICE), torch.ones(8, 2, 8, device=speed.DEVICE)
    count, rounds = (1, 1) if settings.dry else (CALLS, 9)

    def without_gradient() -> None:
        with torch.no_grad():
            step()

    def on_this_thread() -> None:
        with torch.autograd.set_multithreading_enabled(False):
            step().backward()

    parts: dict[str, Callable[[], object]] = {
        "nothing": lambda: None,
        "an operation of torch: one.add_(1)": lambda: one.add_(1),
        "torch.empty": lambda: torch.empty(1 << 20, device=speed.DEVICE),
        "a sum and its backward": lambda: torch.autograd.grad(logits.sum(), logits),
        "a kernel: scale_rows": lambda: gpu.scale_(gradient, one),
        "loss, no gradient": without_gradient,
        "loss and gradient": step,
        "loss, gradient, backward": lambda: step().backward(),
        "loss, gradient, backward on this thread": on_this_thread,
        "torch's log_softmax and loss": torch_step,
        "torch's log_softmax, loss, backward": lambda: torch_step().backward(),
    }
    result: Result = {}
    for name, part in parts.items():
        times = []
        for _ in range(rounds):
            synchronize(settings)
            start = time.perf_counter()
            for _ in range(count):
                part()
                logits.grad = None
            times.append((time.perf_counter() - start) / count * 1e6)
        result[name] = round(statistics.median(times), 1)
        say(partial=result)
    return {**result, "profile": _profile(parts["loss, gradient, backward on this thread"], count)}


def _profile(step: Callable[[], object], count: int) -> list[str]:
    """Return the functions in which Python spends the most time of its own, in microseconds per step."""
    profile = cProfile.Profile()
    profile.enable()
    for _ in range(count):
        step()
    profile.disable()
    stats = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    largest = sorted(stats.items(), key=lambda item: -item[1][2])[:25]
    return [
        f"{file.rpartition('/')[2]}:{line} {name}: {own / count * 1e6:.1f}, {calls / count:g} calls"
        for (file, line, name), (_, calls, own, _, _) in largest
    ]
