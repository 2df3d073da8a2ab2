"""The GPU benchmark's own code, on the CPU: torch.cuda is played by a clock and by things that do nothing.

Its times say nothing here. What it makes, calls, compares and writes is what it would be on a GPU, but for the replay
of the graph, which cannot be played.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from benchmarks import gpu


class Event:
    """A moment of the host's clock."""

    def __init__(self, *, enable_timing: bool) -> None:
        assert enable_timing

    def record(self) -> None:
        self.seconds = time.perf_counter()

    def elapsed_time(self, end: Event) -> float:
        return (end.seconds - self.seconds) * 1e3


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
            assert row[who]["peak_bytes"] == (3 << 20) - 1000
        assert "k2" not in row
        assert "optax" not in row
        assert row["graph_ms"] >= 0
    assert rows[0]["ctckit"]["gradient_error"] < 1e-6
    assert rows[1]["ctckit"]["gradient_error"] < 1e-2
    assert rows[0]["torch with cuDNN"]["p50"] > 0
    assert "255 labels" in rows[2]["torch with cuDNN"]["failed"]
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + len(rows)
    assert all("replay right" in line and "k2 - (not installed)" in line for line in lines[1:])


@pytest.mark.usefixtures("on_cpu")
def test_a_peer_that_fails_is_a_result(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: Any) -> Any:
        raise RuntimeError

    monkeypatch.setattr(gpu, "cudnn_step", fails)
    monkeypatch.setattr(gpu, "optax_seconds", fails)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "k2" else True)
    row = gpu.measure((20, 2, 5, 6), "float32", 1e9, 5)
    assert row["torch with cuDNN"] == {"failed": "RuntimeError"}
    assert row["optax"] == {"failed": "RuntimeError"}
    assert "optax - (RuntimeError)" in gpu.show(row)


def test_without_a_gpu_it_says_so() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(SystemExit, match="needs a GPU"):
        gpu.main([])


def test_the_floor_is_the_bytes_of_two_reads_and_a_write(on_cpu: None) -> None:  # noqa: ARG001
    row = gpu.measure((20, 2, 5, 6), "float32", 1e9, 5)
    assert row["bytes_over_bandwidth_ms"] == pytest.approx(20 * 2 * 5 * 4 * 3 / 1e9 * 1e3)
