"""Launches of the GPU kernels through Triton's own binding, specialisation, compilation and launcher.

Only the device is missing (`fake_driver`). The launches run in their own process, because `triton_setup` turns on
Triton's interpreter, which skips all of this.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs" / "gpu.md"


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The records of the process."""
    if importlib.util.find_spec("triton") is None:
        pytest.skip("Triton is not installed")
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment["TRITON_CACHE_DIR"] = str(tmp_path_factory.mktemp("cache"))
    done = subprocess.run(  # noqa: S603 - this very module
        [sys.executable, "-m", __name__], capture_output=True, text=True, check=False, env=environment, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr[-3000:]
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def grids(found: dict[str, Any], call: str) -> list[tuple[str, list[int], int]]:
    """The kernel, grid and warps of each launch of a call."""
    return [(kernel, grid, warps) for kernel, grid, warps, _ in found[call]["launches"]]


def test_a_loss_with_its_gradient(found: dict[str, Any]) -> None:
    """50 frames, 3 items, 7 classes, 40 labels: 120 labels are 3 full chunks, and one partial chunk per item."""
    assert grids(found, "loss") == [
        ("prepare", [3, 1, 1], 2),
        ("sum_rows", [2 * 3, 1, 1], 4),  # tiles of 32 frames
        ("walk_chunks", [(120 // 32 + 3) * 2, 1, 1], 1),
        ("finish", [3, 1, 1], 2),
        ("add_losses", [1, 1, 1], 4),
        ("occupy", [3, 7, 1], 1),  # blocks of 8 frames
        ("write_by_class", [3, 1, 1], 4),
        ("scale_rows", [3, 1, 1], 8),
    ]
    assert "A loss with its gradient takes seven kernels" in " ".join(DOCS.read_text().split())


def test_a_loss_alone(found: dict[str, Any]) -> None:
    """Log-probabilities and concatenated targets: 20 frames, 2 items, 5 labels."""
    assert grids(found, "loss alone") == [
        ("prepare", [2, 1, 1], 2),
        ("top_of_rows", [2 * 2, 1, 1], 4),  # tiles of 16 frames
        ("walk_chunks", [2, 1, 1], 1),
        ("finish", [2, 1, 1], 2),
        ("add_losses", [1, 1, 1], 4),
    ]


def test_posteriors_of_states(found: dict[str, Any]) -> None:
    assert [kernel for kernel, _, _ in grids(found, "states")] == [
        "prepare",
        "sum_rows",
        "walk_chunks",
        "finish",
        "occupy",
    ]


def test_launches_go_to_the_current_stream(found: dict[str, Any]) -> None:
    assert {stream for call in found.values() for *_, stream in call["launches"]} == {0xABC0}


def test_each_kernel_is_compiled_once(found: dict[str, Any]) -> None:
    """Only the reasons in docs/gpu.md cause another compilation: not other numbers of frames, items or labels."""
    assert sorted(found["loss"]["compiled"]) == sorted(kernel for kernel, _, _ in grids(found, "loss"))
    assert found["other sizes"]["launches"]
    assert found["other sizes"]["compiled"] == []
    assert found["other lengths"]["compiled"] == []


def test_arguments_are_what_the_binary_takes_them_for(found: dict[str, Any]) -> None:
    """Dtypes, ranges of integers, and alignment of pointers."""
    assert [fault for call in found.values() for fault in call["faults"]] == []


# ------------------------------------------------------------------------------------------------- in its own process


def faults(launch: Any) -> list[str]:
    """The faults in the arguments of a launch."""
    import torch
    import triton

    result = []
    dtypes = {"fp32": torch.float32, "fp64": torch.float64, "bf16": torch.bfloat16, "i32": torch.int32}
    dtypes["i64"] = torch.int64
    for name, kind, aligned, value in zip(launch.names, launch.types, launch.aligned, launch.arguments, strict=True):
        where = f"{launch.kernel}: {name} ({kind}) is {value!r}"[:200]
        if kind.startswith("*"):
            if getattr(value, "dtype", None) != dtypes[kind[1:]]:
                result.append(where)
            elif aligned and (value if isinstance(value, int) else value.data_ptr()) % 16:
                result.append(f"{where} is not a multiple of 16")
        elif kind in ("i32", "i64"):
            bound = 2 ** (int(kind[1:]) - 1)
            if type(value) is not int or not -bound <= value < bound or (aligned and value % 16):
                result.append(where)
        elif kind != "constexpr":
            result.append(where)
    maximum = triton.runtime.driver.active.utils.get_device_properties(0)["warpSize"] * 32
    if not 1 <= launch.warps * 32 <= maximum:
        result.append(f"{launch.kernel}: {launch.warps} warps")
    return result


def main() -> None:
    """Make the calls, and print the driver's records."""
    import torch

    from tests.tools import fake_driver

    fake_driver.install()
    from ctckit.backends import LossOptions
    from ctckit.backends import triton as gpu
    from ctckit.lattice import gate
    from tests.tools.no_device_sync import NoDeviceSync

    setattr(gpu, "_on", lambda _: contextlib.nullcontext())  # noqa: B010 - the tensors are on the CPU

    def loss(T: int, N: int, S: int, *lengths: int) -> None:
        x = torch.randn(T, N, 7)
        targets, gradient = torch.ones(N, S, dtype=torch.int64), torch.empty_like(x)
        emissions, lattice, _ = gate(x, targets, None, torch.tensor(lengths) if lengths else None, 0)
        gpu.loss(
            emissions,
            lattice,
            LossOptions.of(emissions.dtype, logits=True, reduction="mean", zero_infinity=False),
            gradient,
        )
        gpu.scale_(gradient, torch.tensor(2.0))

    def loss_alone() -> None:
        x, targets, lengths = torch.randn(20, 2, 7), torch.ones(5, dtype=torch.int64), (2, 3)
        emissions, lattice, _ = gate(x, targets, None, lengths, 0)
        gpu.loss(
            emissions, lattice, LossOptions.of(emissions.dtype, logits=False, reduction="sum", zero_infinity=True), None
        )

    def states() -> None:
        x, targets = torch.randn(50, 3, 7), torch.ones(3, 40, dtype=torch.int64)
        emissions, lattice, _ = gate(x, targets, None, None, 0)
        gpu.posteriors(emissions, lattice, logits=True, per_state=True)

    calls: dict[str, Callable[[], None]] = {
        "loss": lambda: loss(50, 3, 40),
        "other sizes": lambda: loss(33, 5, 71),
        "other lengths": lambda: loss(50, 3, 40, 7, 0, 40),
        "loss alone": loss_alone,
        "states": states,
    }
    found = {}
    for name, call in calls.items():
        fake_driver.launches.clear()
        fake_driver.loaded.clear()
        with NoDeviceSync():  # type: ignore[no-untyped-call]
            call()
        found[name] = {
            "launches": [(launch.kernel, launch.grid, launch.warps, launch.stream) for launch in fake_driver.launches],
            "compiled": list(fake_driver.loaded),
            "faults": [fault for launch in fake_driver.launches for fault in faults(launch)],
        }
    print(json.dumps(found))  # noqa: T201


if __name__ == "__main__":
    main()
