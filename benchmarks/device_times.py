"""How fast the kernels are on a device, and what the device is."""

from __future__ import annotations

import importlib.util
import statistics
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import torch
import triton

from benchmarks import device_speed as speed
from benchmarks import process
from benchmarks.device_items import Result, Settings
from benchmarks.device_problems import hooked
from benchmarks.device_words import device, say, synchronize

NEEDED = {"k2": ("k2",), "optax": ("optax", "jax")}  # modules by peer


def machine(settings: Settings) -> Result:
    """Say what the device is, and how fast it copies."""
    facts: Result = {"torch": torch.__version__, "triton": triton.__version__, "python": sys.version.split()[0]}
    if settings.dry:
        return facts
    found = torch.cuda.get_device_properties(0)
    facts |= {"name": found.name, "multiprocessors": found.multi_processor_count}
    facts |= {"GiB": round(found.total_memory / 2**30, 1), "L2 MiB": getattr(found, "L2_cache_size", 0) >> 20}
    facts |= {"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}
    facts["copy GB/s"] = speed.bandwidth() / 1e9
    query = "driver_version,clocks.sm,clocks.mem,power.draw,temperature.gpu"
    try:
        command = ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader"]
        facts[query] = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20).stdout.strip()  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        facts[query] = process.describe(error)
    return facts


def row(settings: Settings, shape: tuple[int, int, int, int], dtype: str) -> Result:
    """Time a step from logits to their gradient: ctckit, its kernels, torch, a graph, cuDNN; and their memory."""
    speed.DEVICE = device(settings)
    arguments = speed.make(shape, speed.DTYPES[dtype])
    logits = arguments[0]
    size = logits.numel() * logits.element_size()
    result: Result = {"ms of 1 read, 1 write at 3 TB/s": 2 * size / 3e9, "ms of 2 reads, 1 write": 3 * size / 3e9}

    repeats = 1 if settings.dry else 20 if logits.numel() < 5e7 else 7
    step = speed.ctckit_step(arguments)
    note = _noting(result, logits)
    note("eager", lambda: speed.milliseconds(step, logits, repeats))
    note("kernels us", lambda: kernel_times(settings, step, logits))
    note("torch", lambda: speed.milliseconds(speed.torch_step(arguments), logits, max(1, repeats // 2)))
    if "p50" in result["eager"] and "p50" in result["torch"]:
        result["torch / eager"] = round(result["torch"]["p50"] / result["eager"]["p50"], 2)
    note("peak bytes", lambda: speed.peak_bytes(step, logits))
    if not settings.dry:
        note("graph", lambda: speed.graph_milliseconds(arguments))
        if dtype == "float32":
            note("cudnn", lambda: speed.milliseconds(speed.cudnn_step(arguments), logits, max(1, repeats // 2)))
            note("torch peak bytes", lambda: speed.peak_bytes(speed.torch_step(arguments), logits))
    failed = [f"{who}: {result[who]['failed']}" for who in ("eager", "kernels us") if "failed" in result[who]]
    return {**result, "failed": "; ".join(failed)} if failed else result


def peers(settings: Settings, shape: tuple[int, int, int, int], dtype: str) -> Result:
    """Time k2 and optax beside ctckit where they are installed, and the gradient errors of ctckit and torch."""
    if settings.dry:
        return {"left out": "needs a GPU"}
    installed = [name for name, needed in NEEDED.items() if all(map(importlib.util.find_spec, needed))]
    if not installed:
        return {"left out": "neither k2 nor optax is installed"}
    arguments = speed.make(shape, speed.DTYPES[dtype])
    logits = arguments[0]
    result: Result = {}
    note = _noting(result, logits)
    ours, torchs = speed.ctckit_step(arguments), speed.torch_step(arguments)
    note("ctckit", lambda: speed.milliseconds(ours, logits, 20))
    if logits.numel() < 5e7:  # or float64 takes too much memory
        note("gradient error of ctckit", lambda: speed.gradient_error(ours, arguments))
        note("gradient error of torch", lambda: speed.gradient_error(torchs, arguments))
    if "k2" in installed:
        note("k2", lambda: speed.milliseconds(speed.k2_step(arguments), logits, 10))
    if "optax" in installed:
        note("optax", lambda: {"p50": speed.optax_seconds(arguments) * 1e3})
    return result


def _noting(result: Result, logits: torch.Tensor) -> Callable[[str, Callable[[], Any]], None]:
    """Return a function that measures something and puts it, or how it failed, into `result`."""

    def note(name: str, measure: Callable[[], Any]) -> None:
        try:
            result[name] = measure()
        except Exception as error:  # noqa: BLE001 - whatever goes wrong is a result
            result[name] = {"failed": process.describe(error)}
        logits.grad = None
        torch.cuda.empty_cache()
        say(partial=result)

    return note


def kernel_times(settings: Settings, step: speed.Step, logits: torch.Tensor) -> dict[str, float]:
    """Return microseconds of each kernel on the device, and from the first to the last: the middle of five steps.

    The device is kept busy before, so that all launches wait for it and no gap is the host's.
    """
    found: list[dict[str, float]] = []
    for _ in range(3 if settings.dry else 7):
        logits.grad = None
        marks: list[tuple[str, Any, Any]] = []

        def launch(name: str, run: Callable[[], None], marks: list[tuple[str, Any, Any]] = marks) -> None:
            start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            start.record()
            run()
            end.record()
            marks.append((name, start, end))

        with hooked(launch):
            torch.cuda._sleep(4_000_000)  # noqa: SLF001 - some 2 ms; torch has no public way to keep a device busy
            step().backward()
        synchronize(settings)
        if not marks:
            raise RuntimeError("no kernel was launched: is another backend forced?")
        times: dict[str, float] = {}
        for name, start, end in marks:
            times[name] = times.get(name, 0.0) + start.elapsed_time(end) * 1e3
        times["all"] = marks[0][1].elapsed_time(marks[-1][2]) * 1e3
        found.append(times)
    return {name: round(statistics.median(times[name] for times in found[2:]), 1) for name in found[-1]}


def latency(settings: Settings) -> Result:
    """Return nanoseconds per frame of the recursion, by labels: no chain of chunks, a short one, a long one."""
    speed.DEVICE = device(settings)
    result: Result = {}
    for labels in (3,) if settings.dry else (20, 40, 1500):
        result[str(labels)] = speed.nanoseconds_per_frame(labels, 8 if settings.dry else 10_000)
        say(partial=result)
    return result
