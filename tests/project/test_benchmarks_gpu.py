"""The GPU benchmark's own code, on the CPU: torch.cuda is played by a clock and by things that do nothing.

Its times say nothing here. What it makes, calls, compares and writes is what it would be on a GPU, but for the replay
of the graph, which cannot be played.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import sys
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from benchmarks import apart, gpu


class Event:
    """A moment of the host's clock."""

    def __init__(self, *, enable_timing: bool) -> None:
        assert enable_timing

    def record(self) -> None:
        self.seconds = time.perf_counter()

    def elapsed_time(self, end: Event) -> float:
        return (end.seconds - self.seconds) * 1e3


def in_this_process(results: Any, *arguments: Any, seconds: float) -> tuple[Any, str | None]:
    """Stands for `apart.last`: in a new process nothing would be played."""
    assert seconds > 0
    result = None
    try:
        for more in results(*arguments):
            result = json.loads(json.dumps(more))  # as it was then, and as it can be sent
    except Exception as error:  # noqa: BLE001 - as there
        return result, apart.describe(error)
    return result, None


@pytest.fixture
def on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("synchronize", "reset_peak_memory_stats", "empty_cache", "set_sync_debug_mode"):
        monkeypatch.setattr(torch.cuda, name, lambda *_: None)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda: 1000)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 3 << 20)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a clock")
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "Stream", lambda: SimpleNamespace(wait_stream=lambda _: None))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: None)
    monkeypatch.setattr(torch.cuda, "stream", lambda _: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: SimpleNamespace(replay=lambda: None))
    monkeypatch.setattr(torch.cuda, "graph", lambda _: contextlib.nullcontext())
    monkeypatch.setattr(torch, "_use_cudnn_ctc_loss", lambda *arguments: max(arguments[3]) < 256)
    monkeypatch.setattr(apart, "last", in_this_process)
    monkeypatch.setattr(gpu, "DEVICE", "cpu")
    monkeypatch.setattr(gpu, "bandwidth", partial(gpu.bandwidth, 1 << 16))
    monkeypatch.setattr(gpu, "nanoseconds_per_frame", partial(gpu.nanoseconds_per_frame, more=3200))


@pytest.mark.usefixtures("on_cpu")
def test_it_runs_and_writes_what_it_measured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpu, "SHAPES", ((40, 3, 7, 10), (530, 1, 5, 260)))
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    output = tmp_path / "results" / "gpu.json"
    gpu.main(["--repeats", "5", "--output", str(output)])
    report = json.loads(output.read_text())
    assert report["device"] == "a clock"
    assert report["bandwidth_GB_per_s"] > 0
    assert set(report["frame_ns"]) == {"20", "100", "1500"}
    rows = report["rows"]
    assert [(row["T, N, C, S"], row["dtype"]) for row in rows] == [
        (shape, dtype) for shape in ("40, 3, 7, 10", "530, 1, 5, 260") for dtype in ("float32", "bfloat16")
    ]
    for row in rows:
        for who in ("ctckit", "torch"):
            assert 0 < row[who]["p20"] <= row[who]["p50"] <= row[who]["p80"]
            assert row[who]["host"] > 0
            assert row[who]["peak_bytes"] == (3 << 20) - 1000
        assert "k2" not in row
        assert "optax" not in row
        assert row["graph"]["ms"] >= 0
        assert row["torch"]["times_ctckit"] == row["torch"]["p50"] / row["ctckit"]["p50"]
        assert "failed" not in row
    assert rows[0]["ctckit"]["gradient_error"] < 1e-6
    assert rows[1]["ctckit"]["gradient_error"] < 1e-2
    assert rows[0]["torch with cuDNN"]["p50"] > 0
    assert "255 labels" in rows[2]["torch with cuDNN"]["failed"]
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + len(rows)
    assert all("replay right" in line and "k2 - (not measured)" in line for line in lines[1:])


def fails(*_: Any) -> Any:
    raise RuntimeError("CUDA out of memory.\nTried to allocate 12 GiB")


@pytest.mark.usefixtures("on_cpu")
def test_a_peer_that_fails_is_a_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "cudnn_step", fails)
    monkeypatch.setattr(gpu, "optax_seconds", fails)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "k2" else True)
    monkeypatch.setattr(gpu, "gradient_error", fails)
    row = list(gpu.measure((20, 2, 5, 6), "float32", 1e9, 5))[-1]
    assert row["ctckit"]["p50"] > 0
    assert row["ctckit"]["gradient_error_failed"] == "RuntimeError: CUDA out of memory."
    assert row["torch with cuDNN"] == {"failed": "RuntimeError: CUDA out of memory."}
    assert row["optax"] == row["torch with cuDNN"]
    assert "optax - (RuntimeError: CUDA out of memory.)" in gpu.show(row)


@pytest.mark.usefixtures("on_cpu")
def test_so_is_ctckit_if_it_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ctckit_step", "graph_milliseconds"):
        monkeypatch.setattr(gpu, name, fails)
    row = list(gpu.measure((20, 2, 5, 6), "float32", 1e9, 5))[-1]
    assert row["ctckit"] == row["graph"] == {"failed": "RuntimeError: CUDA out of memory."}
    assert row["torch"]["p50"] > 0
    assert "times_ctckit" not in row["torch"]
    assert "graph - (RuntimeError" in gpu.show(row)


@pytest.mark.usefixtures("on_cpu")
def test_a_broken_device_ends_the_row_and_not_the_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpu, "SHAPES", ((20, 2, 5, 6),))
    monkeypatch.setattr(gpu, "torch_step", lambda _: monkeypatch.setattr(torch.cuda, "synchronize", fails))
    monkeypatch.setattr(gpu, "nanoseconds_per_frame", lambda _: 50.0)
    output = tmp_path / "gpu.json"
    gpu.main(["--repeats", "5", "--output", str(output)])
    first, second = json.loads(output.read_text())["rows"]
    assert first["ctckit"]["p50"] > 0
    assert first["graph"]["ms"] >= 0
    assert "failed" in first["torch"]
    assert first["failed"] == "RuntimeError: CUDA out of memory."
    assert second["ctckit"] == {"failed": first["failed"]}
    assert "k2 - (not measured)" in capsys.readouterr().out


def test_the_peers_are_called_as_they_want_it(monkeypatch: pytest.MonkeyPatch, on_cpu: None) -> None:  # noqa: ARG001
    arguments = gpu.make((9, 2, 5, 3), torch.bfloat16)
    seen: dict[str, Any] = {}
    monkeypatch.setattr(torch.nn.functional, "ctc_loss", lambda *given: seen.update(torch=given))
    gpu.cudnn_step(arguments)()
    log_probs, targets, *lengths = seen["torch"]
    assert log_probs.dtype == torch.float32
    assert (targets.dtype, targets.device.type, targets.tolist()) == (
        torch.int32,
        "cpu",
        arguments[1].flatten().tolist(),
    )
    assert lengths == [(9, 9), (3, 3)]  # numbers: int32 tensors on the CPU would be taken for memory of the device

    def loss(graph: Any, dense: Any, **options: Any) -> None:
        seen.update(k2=(graph, dense, options))

    k2 = SimpleNamespace(ctc_graph=lambda rows, **_: rows, DenseFsaVec=lambda *given: given, ctc_loss=loss)
    monkeypatch.setitem(sys.modules, "k2", k2)
    gpu.k2_step(arguments)()
    graph, (log_probs, spans), options = seen["k2"]
    assert graph == arguments[1].tolist()
    assert (log_probs.shape, log_probs.dtype) == ((2, 9, 5), torch.float32)
    assert (spans.dtype, spans.tolist()) == (torch.int32, [[0, 0, 9], [1, 0, 9]])
    assert options["reduction"] == "mean"
    assert torch.equal(options["target_lengths"], arguments[3])


def test_results_come_out_of_a_process_that_fails_dies_or_hangs() -> None:
    assert apart.last(map, int, ["1", "2"], seconds=60) == (2, None)
    result, failed = apart.last(map, int, ["1", "x"], seconds=60)
    assert result == 1
    assert failed is not None
    assert failed.startswith("ValueError: invalid literal")
    assert apart.last(map, os._exit, [3], seconds=60) == (None, "its process ended with 3")
    assert apart.last(map, time.sleep, [0, 1000], seconds=1) == (None, "no result within 1 s")


def test_without_a_gpu_it_says_so() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(SystemExit, match="needs a GPU"):
        gpu.main([])


def test_the_floor_is_the_bytes_of_two_reads_and_a_write(on_cpu: None) -> None:  # noqa: ARG001
    row = next(gpu.measure((20, 2, 5, 6), "float32", 1e9, 5))
    assert row["bytes_over_bandwidth_ms"] == pytest.approx(20 * 2 * 5 * 4 * 3 / 1e9 * 1e3)
