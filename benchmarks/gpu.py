"""On a GPU: ctckit against torch's two losses, k2 and optax: times, memory, bandwidth, latency, and that nothing waits.

``python -m benchmarks.gpu`` prints a table and writes it to ``benchmarks/results/gpu.json``. See docs/gpu.md. A time is
that of a whole step, from logits to the gradient of the logits, as the device's events see it.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

import ctckit
from benchmarks import apart, machine, timing

SHAPES = (
    (150, 256, 32, 20),
    (1000, 32, 32, 150),
    (1500, 32, 5000, 100),
    (1500, 16, 128_000, 100),
    (12_000, 4, 1024, 1500),
)
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
DEVICE = "cuda"
TWICE = 2  # ctckit reads the logits twice and writes one gradient
PATIENCE = 600  # seconds for what is measured at a time, compiling included

PEERS = ("torch", "torch with cuDNN", "k2", "optax")
NEEDED = {"k2": ("k2",), "optax": ("optax", "jax")}

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
    """Bytes per second of copying a gigabyte: what the others are held against."""
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
    right = ctckit.ctc_loss_with_logits(*arguments)
    (gradient,) = torch.autograd.grad(right, logits)
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


def describe() -> Iterator[dict[str, Any]]:
    """What the device is, and how fast; with more each time."""
    speed = bandwidth()
    report: dict[str, Any] = {
        "device": torch.cuda.get_device_name(),
        "bandwidth_GB_per_s": speed / 1e9,
        "machine": machine.describe(),
        "versions": {
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
            **{name: _version(name) for name in ("triton", "k2", "jax", "optax")},
        },
        "frame_ns": {},
    }
    yield report
    torch.cuda.empty_cache()
    for labels in (20, 100, 1500):
        report["frame_ns"][str(labels)] = nanoseconds_per_frame(labels)
        yield report


def _version(name: str) -> str | None:
    return importlib.metadata.version(name) if importlib.util.find_spec(name) else None


def measure(shape: tuple[int, int, int, int], dtype: str, speed: float, repeats: int) -> Iterator[dict[str, Any]]:
    """One row of the table, with one contender more each time; ctckit is first, so that no other can harm it."""
    arguments = make(shape, DTYPES[dtype])
    logits = arguments[0]
    floor = (TWICE + 1) * logits.numel() * logits.element_size() / speed * 1e3
    row: dict[str, Any] = {**_named(shape, dtype), "bytes_over_bandwidth_ms": floor}

    def step_of(maker: Callable[[Arguments], Step], *, judged: bool) -> dict[str, Any]:
        step = maker(arguments)
        result: dict[str, Any] = {**milliseconds(step, logits, repeats), "peak_bytes": peak_bytes(step, logits)}
        if judged and logits.numel() < 5e7:
            try:
                result["gradient_error"] = gradient_error(step, arguments)
            except Exception as error:  # noqa: BLE001 - of the judge, which takes more memory
                result["gradient_error_failed"] = apart.describe(error)
        return result

    contenders: dict[str, Callable[[], dict[str, Any]]] = {
        "ctckit": lambda: step_of(ctckit_step, judged=True),
        "graph": lambda: graph_milliseconds(arguments),
        "torch": lambda: step_of(torch_step, judged=True),
        "torch with cuDNN": lambda: step_of(cudnn_step, judged=False),
        "k2": lambda: step_of(k2_step, judged=False),
        "optax": lambda: {"p50": optax_seconds(arguments) * 1e3},
    }
    for who, contender in contenders.items():
        if any(importlib.util.find_spec(name) is None for name in NEEDED.get(who, ())):
            continue
        try:
            row[who] = contender()
        except Exception as error:  # noqa: BLE001 - whatever goes wrong is a result
            row[who] = {"failed": apart.describe(error)}
        if who in PEERS and "p50" in row[who] and "p50" in row["ctckit"]:
            row[who]["times_ctckit"] = row[who]["p50"] / row["ctckit"]["p50"]
        yield row
        logits.grad = None
        torch.cuda.synchronize()  # fails if the contender has broken the device: then nobody else can be measured
        torch.cuda.empty_cache()


def _named(shape: tuple[int, int, int, int], dtype: str) -> dict[str, Any]:
    return {"T, N, C, S": ", ".join(map(str, shape)), "dtype": dtype}


def show(row: dict[str, Any]) -> str:
    """One line for people."""
    parts = [f"{row['T, N, C, S']:>22} {row['dtype']:>8}"]
    if "bytes_over_bandwidth_ms" in row:
        parts[0] += f"  floor {row['bytes_over_bandwidth_ms']:8.3f}"
    for who in ("ctckit", *PEERS):
        result = row.get(who, {"failed": "not measured"})
        if "p50" not in result:
            parts.append(f"{who} - ({result['failed'][:40]})")
            continue
        memory = f" {result['peak_bytes'] / 2**20:.0f} MiB" if "peak_bytes" in result else ""
        ratio = f" = {result['times_ctckit']:.1f}x" if "times_ctckit" in result else ""
        parts.append(f"{who} {result['p50']:.3f} ms{ratio}{memory}")
    graph = row.get("graph", {"failed": "not measured"})
    if "failed" in graph:
        parts.append(f"graph - ({graph['failed'][:40]})")
    else:
        parts.append(f"graph {graph['ms']:.3f} ms, replay right: {graph['replay_equals_eager']}")
    return " | ".join(parts + ([f"then: {row['failed']}"] if "failed" in row else []))


def main(arguments: list[str] | None = None) -> None:
    """Measure all shapes in both dtypes, each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "gpu.json")
    options = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        sys.exit("this benchmark needs a GPU, and torch finds none")
    report, failed = apart.last(describe, seconds=PATIENCE)
    if report is None:
        sys.exit(f"nothing can be measured on this GPU: {failed}")
    report["rows"] = []
    if failed is not None:
        report["failed"] = failed
    speed = report["bandwidth_GB_per_s"] * 1e9
    print(f"{report['device']}, copies at {speed / 1e9:.0f} GB/s, ns per frame by labels: {report['frame_ns']}")
    for shape in SHAPES:
        for dtype in DTYPES:
            row, failed = apart.last(measure, shape, dtype, speed, options.repeats, seconds=PATIENCE)
            row = row or _named(shape, dtype)
            if failed is not None:
                row["failed"] = failed
            report["rows"].append(row)
            print(show(row), flush=True)
            # After every row, so that a failure later on does not lose it.
            options.output.parent.mkdir(exist_ok=True)
            options.output.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
