"""How a step on a GPU is measured, on the CPU: torch.cuda is replaced by a clock and by objects that do nothing.

The times say nothing here. What is made, called and compared is what it would be on a GPU, but for the replay of the
graph, which cannot be played.
"""

from __future__ import annotations

import contextlib
import importlib.util
import math
import sys
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from benchmarks import device_speed as speed
from benchmarks.device_items import Settings

if TYPE_CHECKING:
    from pathlib import Path


class Event:
    """An event with the time of the host's clock."""

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
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "Stream", lambda: SimpleNamespace(wait_stream=lambda _: None))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: None)
    monkeypatch.setattr(torch.cuda, "stream", lambda _: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: SimpleNamespace(replay=lambda: None))
    monkeypatch.setattr(torch.cuda, "graph", lambda _: contextlib.nullcontext())
    monkeypatch.setattr(torch, "_use_cudnn_ctc_loss", lambda *arguments: max(arguments[3]) < 256)
    monkeypatch.setattr(speed, "DEVICE", "cpu")


@pytest.mark.usefixtures("on_cpu")
def test_a_step_is_measured() -> None:
    arguments = speed.make((40, 3, 7, 10), torch.float32)
    for step in (speed.ctckit_step(arguments), speed.torch_step(arguments), speed.cudnn_step(arguments)):
        times = speed.milliseconds(step, arguments[0], 5)
        assert 0 < times["p20"] <= times["p50"] <= times["p80"]
        assert times["host"] > 0
    assert speed.peak_bytes(speed.ctckit_step(arguments), arguments[0]) == (3 << 20) - 1000
    assert speed.gradient_error(speed.ctckit_step(arguments), arguments) < 1e-6
    assert speed.graph_milliseconds(arguments)["ms"] >= 0
    assert speed.bandwidth(1 << 16) > 0
    assert math.isfinite(speed.nanoseconds_per_frame(20, more=100))


@pytest.mark.usefixtures("on_cpu")
def test_the_gradient_of_bfloat16_is_judged_in_float64() -> None:
    arguments = speed.make((40, 3, 7, 10), torch.bfloat16)
    assert 1e-4 < speed.gradient_error(speed.ctckit_step(arguments), arguments) < 1e-2


@pytest.mark.usefixtures("on_cpu")
def test_cudnn_takes_no_more_than_255_labels() -> None:
    with pytest.raises(NotImplementedError, match="255 labels"):
        speed.cudnn_step(speed.make((530, 1, 5, 260), torch.float32))


def fails(*_: Any) -> Any:
    raise RuntimeError("CUDA out of memory.\nTried to allocate 12 GiB")


@pytest.mark.usefixtures("on_cpu")
def test_a_peer_that_fails_is_a_result(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("triton", reason="Triton is not installed")
    from benchmarks import device_times

    monkeypatch.setattr(device_times, "say", lambda **_: None)
    settings = Settings(tmp_path, dry=False, end=math.inf)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert device_times.peers(settings, (20, 2, 5, 6), "float32") == {"left out": "neither k2 nor optax is installed"}
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "k2" else True)
    monkeypatch.setattr(speed, "optax_seconds", fails)
    found = device_times.peers(settings, (20, 2, 5, 6), "float32")
    assert found["ctckit"]["p50"] > 0
    assert found["gradient error of ctckit"] < 1e-6
    assert found["optax"] == {"failed": "RuntimeError: CUDA out of memory."}
    assert "k2" not in found


def test_the_peers_are_called_as_they_want_it(monkeypatch: pytest.MonkeyPatch, on_cpu: None) -> None:  # noqa: ARG001
    arguments = speed.make((9, 2, 5, 3), torch.bfloat16)
    seen: dict[str, Any] = {}
    monkeypatch.setattr(torch.nn.functional, "ctc_loss", lambda *given: seen.update(torch=given))
    speed.cudnn_step(arguments)()
    log_probs, targets, *lengths = seen["torch"]
    assert log_probs.dtype == torch.float32
    assert (targets.dtype, targets.device.type, targets.tolist()) == (
        torch.int32,
        "cpu",
        arguments[1].flatten().tolist(),
    )
    assert lengths == [(9, 9), (3, 3)]  # ints: torch would take int32 tensors on the CPU for device memory

    def loss(graph: Any, dense: Any, **options: Any) -> None:
        seen.update(k2=(graph, dense, options))

    k2 = SimpleNamespace(ctc_graph=lambda rows, **_: rows, DenseFsaVec=lambda *given: given, ctc_loss=loss)
    monkeypatch.setitem(sys.modules, "k2", k2)
    speed.k2_step(arguments)()
    graph, (log_probs, spans), options = seen["k2"]
    assert graph == arguments[1].tolist()
    assert (log_probs.shape, log_probs.dtype) == ((2, 9, 5), torch.float32)
    assert (spans.dtype, spans.tolist()) == (torch.int32, [[0, 0, 9], [1, 0, 9]])
    assert options["reduction"] == "mean"
    assert torch.equal(options["target_lengths"], arguments[3])
