"""How a step on a GPU is measured: ctckit's, those of torch's two losses, k2's and optax's.

A step goes from logits to the gradient of the logits. Its time is measured by the device's events.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

import ctckit
from benchmarks import timing

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
DEVICE = "cuda"

Arguments = tuple[Tensor, Tensor, Tensor, Tensor]  # logits, targets, input lengths, target lengths
Step = Callable[[], Tensor]


def make(shape: tuple[int, int, int, int], dtype: torch.dtype) -> Arguments:
    """Normal logits as a leaf, and targets of full length, on the device."""
    T, N, C, S = shape
    generator = torch.Generator(DEVICE).manual_seed(0)
    logits = torch.randn(T, N, C, device=DEVICE, generator=generator, dtype=dtype).requires_grad_()
    targets = torch.randint(1, C, (N, S), device=DEVICE, generator=generator)
    return logits, targets, torch.full((N,), T, device=DEVICE), torch.full((N,), S, device=DEVICE)


def ctckit_step(arguments: Arguments) -> Step:
    """`ctc_loss_with_logits`."""
    return lambda: ctckit.ctc_loss_with_logits(*arguments)


def torch_step(arguments: Arguments) -> Step:
    """Call torch as most call it: padded int64 targets, so its own kernels."""
    logits, targets, input_lengths, target_lengths = arguments
    return lambda: functional.ctc_loss(
        logits.log_softmax(2, dtype=torch.float32), targets, input_lengths, target_lengths
    )


def cudnn_step(arguments: Arguments) -> Step:
    """Call torch as cuDNN wants it: concatenated int32 targets on the CPU, lengths as numbers, at most 255 labels.

    (Lengths that are int32 tensors on the CPU would go to cuDNN as if they were on the device.)
    """
    logits, targets, input_lengths, target_lengths = arguments
    flat = targets.int().cpu().flatten()
    inputs, labels = tuple(input_lengths.tolist()), tuple(target_lengths.tolist())
    like = torch.empty(*logits.shape[:2], 1, device=DEVICE)
    if not torch._use_cudnn_ctc_loss(like, flat, inputs, labels, 0):  # noqa: SLF001 - torch says it nowhere else
        raise NotImplementedError("cuDNN takes no more than 255 labels" if max(labels) > 255 else "not with this torch")
    return lambda: functional.ctc_loss(logits.log_softmax(2, dtype=torch.float32), flat, inputs, labels)  # type: ignore[arg-type]


def k2_step(arguments: Arguments) -> Step:
    """k2, with a beam that prunes nothing."""
    import k2  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415 - may be missing

    logits, targets, input_lengths, target_lengths = arguments
    graph = k2.ctc_graph(targets.tolist(), modified=False, device=DEVICE)
    spans = torch.stack((torch.arange(len(targets)), torch.zeros(len(targets)), input_lengths.cpu()), 1).int()

    def step() -> Tensor:
        log_probs = logits.log_softmax(2, dtype=torch.float32).transpose(0, 1)
        dense = k2.DenseFsaVec(log_probs, spans)
        loss: Tensor = k2.ctc_loss(
            graph, dense, output_beam=1e6, reduction="mean", use_double_scores=False, target_lengths=target_lengths
        )
        return loss

    return step


def optax_seconds(arguments: Arguments) -> float:
    """Time optax under jit, by itself: seconds per call."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # or jax takes most of the memory for itself
    import jax  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415 - may be missing
    import optax  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415

    logits, targets, _, _ = arguments
    if jax.default_backend() != "gpu":
        raise NotImplementedError("jax has no GPU here")
    x = jax.dlpack.from_dlpack(logits.detach().transpose(0, 1).contiguous())
    labels = jax.dlpack.from_dlpack(targets.int())
    others = jax.numpy.zeros(x.shape[:2]), labels, jax.numpy.zeros(labels.shape)
    step = jax.jit(jax.value_and_grad(lambda v: optax.ctc_loss(v.astype("float32"), *others).mean()))
    jax.block_until_ready(step(x))
    times = []
    for _ in range(10):
        start = time.perf_counter()
        jax.block_until_ready(step(x))
        times.append(time.perf_counter() - start)
    return sorted(times)[5]


def milliseconds(step: Step, logits: Tensor, repeats: int) -> dict[str, float]:
    """Forward and backward, each call between two events: the middle time, after three that are not counted.

    `host` is how long the caller is busy: a device that is faster waits for what comes next, unless a graph holds it.
    """
    times, host = [], []
    for i in range(repeats + 3):
        logits.grad = None
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        called = time.perf_counter()
        start.record()
        step().backward()
        end.record()
        returned = time.perf_counter()
        torch.cuda.synchronize()
        if i >= 3:
            times.append(start.elapsed_time(end))
            host.append((returned - called) * 1e3)
    return {**timing.percentiles(np.array(times)), "host": timing.percentiles(np.array(host))["p50"]}


def peak_bytes(step: Step, logits: Tensor) -> int:
    """What a call needs above what was there before, the gradient included."""
    logits.grad = None
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    step().backward()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def bandwidth(size: int = 1 << 30) -> float:
    """Bytes per second of copying a gigabyte."""
    source = torch.empty(size, dtype=torch.uint8, device=DEVICE)
    target = torch.empty_like(source)
    best = float("inf")
    for _ in range(10):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        target.copy_(source)
        end.record()
        torch.cuda.synchronize()
        best = min(best, start.elapsed_time(end))
    return 2 * source.numel() / (best * 1e-3)


def graph_milliseconds(arguments: Arguments) -> dict[str, Any]:
    """The step captured in a CUDA graph while waiting is an error, replayed with other lengths, and timed."""
    logits = arguments[0]
    targets, input_lengths, target_lengths = (x.clone() for x in arguments[1:])  # to be changed
    arguments = logits, targets, input_lengths, target_lengths
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            logits.grad = None
            ctckit.ctc_loss_with_logits(*arguments).backward()
    torch.cuda.synchronize()
    logits.grad = None
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Synchronization debug mode is a prototype")
        torch.cuda.set_sync_debug_mode("error")
        try:
            loss = ctckit.ctc_loss_with_logits(*arguments)
            (captured,) = torch.autograd.grad(loss, logits)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    input_lengths -= 7
    target_lengths -= 3
    targets.copy_(targets.flip(1))
    graph.replay()
    torch.cuda.synchronize()
    # A leaf of its own: the node that accumulates the gradient of `logits` belongs to the stream of the capture.
    eager = logits.detach().requires_grad_()
    right = ctckit.ctc_loss_with_logits(eager, *arguments[1:])
    (gradient,) = torch.autograd.grad(right, eager)
    same = torch.equal(loss, right) and torch.equal(captured, gradient)
    del gradient
    input_lengths += 7
    target_lengths += 3
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    for _ in range(20):
        graph.replay()
    end.record()
    torch.cuda.synchronize()
    return {"ms": start.elapsed_time(end) / 20, "replay_equals_eager": same}


def nanoseconds_per_frame(labels: int, more: int = 10_000) -> float:
    """Latency of the recursion: the time by which so many frames more take longer, for one item and 2 classes."""

    def of(frames: int) -> float:
        logits = torch.randn(frames, 1, 2, device=DEVICE)
        targets = torch.ones(1, labels, dtype=torch.int64, device=DEVICE)
        lengths = torch.tensor([frames], device=DEVICE), torch.tensor([labels], device=DEVICE)

        def step() -> Tensor:
            with torch.no_grad():
                return ctckit.ctc_loss_with_logits(logits, targets, *lengths).requires_grad_()

        return milliseconds(step, logits, 20)["p50"]

    return (of(2 * more) - of(more)) * 1e6 / more


def gradient_error(step: Step, arguments: Arguments) -> float:
    """Against torch in float64, relative, of the gradient of the mean."""
    logits, targets, input_lengths, target_lengths = arguments
    (actual,) = torch.autograd.grad(step(), logits)
    double = logits.detach().double().requires_grad_()
    loss = functional.ctc_loss(double.log_softmax(2), targets, input_lengths, target_lengths)
    (right,) = torch.autograd.grad(loss, double)
    return float((actual.double() - right).norm() / right.norm())
