"""Whether the kernels are right on a device, and come to an end."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

import ctckit
from benchmarks import device_speed as speed
from benchmarks.device_items import Result, Settings
from benchmarks.device_problems import Arguments, announced, call, judged, problem
from benchmarks.device_words import device, say, synchronize
from ctckit.backends import triton as gpu

Shape = tuple[int, int, int, int]
NEEDS_GPU: Result = {"left out": "needs a GPU"}


def smoke(settings: Settings, shape: Shape) -> Result:
    """Run every kernel once, announced, and judge the result."""
    arguments = problem(settings._replace(dry=False), shape) if not settings.dry else _on_cpu(settings, shape)
    with announced(settings):
        _, gradient = call(arguments)
        call(arguments, logits=False, gradient=False)
        gpu.scale_(gradient, torch.tensor(2.0, device=device(settings)))
    return judged(settings, arguments)


def _on_cpu(settings: Settings, shape: Shape) -> Arguments:
    """Make a problem that keeps its shape in the interpreter, too."""
    x, targets, input_lengths, target_lengths = problem(settings, (1, 1, 2, 1))
    T, N, C, S = shape
    x = torch.randn(shape[:3], generator=torch.Generator().manual_seed(1))
    targets = torch.randint(1, C, (N, S), generator=torch.Generator().manual_seed(2))
    return x, targets, input_lengths.new_full((N,), T), target_lengths.new_full((N,), S)


def many_chunks(settings: Settings) -> Result:
    """Judge targets of 48 chunks."""
    return judged(settings, problem(settings, (3200, 2, 32, 1500)))


def accuracy(settings: Settings, name: str) -> Result:
    """Judge one kind of emissions."""

    def log_probs() -> Arguments:
        x, *rest = problem(settings, (300, 3, 40, 50))
        return x.log_softmax(2), rest[0], rest[1], rest[2]

    makers: dict[str, Callable[[], Arguments]] = {
        "random, ragged": lambda: problem(settings, (400, 5, 32, 100), ragged=True),
        "sure by 14": lambda: problem(settings, (2000, 2, 32, 30), margin=14.0),
        "ten times as large": lambda: problem(settings, (1000, 2, 32, 60), scale=10.0),
        "log-probabilities": log_probs,
        "bfloat16": lambda: problem(settings, (300, 3, 40, 4), dtype=torch.bfloat16),
        "float16": lambda: problem(settings, (300, 3, 40, 4), dtype=torch.float16),
        "float64": lambda: problem(settings, (300, 3, 40, 4), dtype=torch.float64),
        "5000 classes": lambda: problem(settings, (200, 3, 5000, 50), ragged=True),
        "10,000 frames": lambda: problem(settings, (10_000, 1, 64, 1500)),
    }
    return judged(settings, makers[name](), logits=name != "log-probabilities")


def same_bits(settings: Settings) -> Result:
    """Compare five runs, and each item alone, bit by bit."""
    arguments = problem(settings, (300, 7, 32, 70), ragged=True)
    losses, gradient = call(arguments)
    runs = alone = True
    for _ in range(1 if settings.dry else 5):
        again = call(arguments)
        runs &= torch.equal(again[0], losses) and torch.equal(again[1], gradient)
    x, targets, input_lengths, target_lengths = arguments
    for n in range(x.shape[1]):
        item = slice(n, n + 1)
        one = call((x[:, item], targets[item], input_lengths[item], target_lengths[item]))
        alone &= torch.equal(one[0], losses[item]) and torch.equal(one[1][:, 0], gradient[:, n])
    return {"runs": runs, "batches": alone, "ok": runs and alone}


def more_than_fit(settings: Settings) -> Result:
    """Run 8,000 and 626 chunks that wait for each other, three times."""
    result: Result = {"ok": True}
    for T, N, S in ((250, 1000, 100), (20_050, 1, 10_000)):
        say(step=f"{N} x {S}")
        arguments = problem(settings, (T, N, 8, S))
        start = time.perf_counter()
        losses, gradient = call(arguments)
        synchronize(settings)
        result[f"{N} x {S}: s"] = round(time.perf_counter() - start, 3)
        for _ in range(0 if settings.dry else 2):
            again = call(arguments)
            result["ok"] &= torch.equal(again[0], losses) and torch.equal(again[1], gradient)
        result["ok"] &= bool(losses.isfinite().all())
    return result


def changing_lengths(settings: Settings) -> Result:
    """Change lengths and labels on another stream while calls run: each call ends, and what is not NaN is finite."""
    if settings.dry:
        return NEEDS_GPU
    x, targets, input_lengths, target_lengths = problem(settings, (600, 16, 32, 200))
    call((x, targets, input_lengths, target_lengths))  # compiles
    others = targets.flip(0), input_lengths - 100, target_lengths - 150
    kept = targets.clone(), input_lengths.clone(), target_lengths.clone()
    side = torch.cuda.Stream()
    synchronize(settings)
    losses = []
    for _ in range(50):
        losses.append(call((x, targets, input_lengths, target_lengths))[0])
        with torch.cuda.stream(side):
            for new in (others, kept) * 10:
                for to, values in zip((targets, input_lengths, target_lengths), new, strict=True):
                    to.copy_(values, non_blocking=True)
    synchronize(settings)
    found = torch.stack(losses)
    infinite = int(found.isinf().sum())  # no mixture of the numbers is infeasible
    return {"NaN": int(found.isnan().sum()), "infinite": infinite, "ok": infinite == 0}


def graph(settings: Settings) -> Result:
    """Capture a step while a synchronization is an error, and replay it with other lengths and targets."""
    if settings.dry:
        return NEEDS_GPU
    result: Result = {}
    for shape in ((200, 8, 32, 70), (64, 4, 2000, 20)):
        result[str(shape)] = speed.graph_milliseconds(speed.make(shape, torch.float32))
        say(step=str(shape))
    result["ok"] = all(found["replay_equals_eager"] for found in result.values())
    return result


def sanitized(settings: Settings) -> Result:
    """Run under compute-sanitizer: all kernels, two chunks, classes that fill no tile, an item that is invalid."""
    for shape in ((45, 2, 13, 40), (9, 3, 37, 4)):
        x, targets, input_lengths, target_lengths = problem(settings, shape)
        targets[0, 1] = 10**6
        for logits in (True, False):
            call((x, targets, input_lengths, target_lengths), logits=logits)
    synchronize(settings)
    return {"ok": True}


def first(settings: Settings) -> Result:
    """Time the first step of a process, in seconds."""
    arguments: Any = problem(settings, (100, 4, 32, 40))
    synchronize(settings)
    start = time.perf_counter()
    ctckit.ctc_loss_with_logits(arguments[0].requires_grad_(), *arguments[1:]).backward()
    synchronize(settings)
    return {"seconds": round(time.perf_counter() - start, 2)}
