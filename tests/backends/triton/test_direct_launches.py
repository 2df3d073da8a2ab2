"""Direct launches call the compiled kernel that Triton would choose, for all kinds of arguments.

The calls run in a process of their own with Triton's binding and specialisation, but without a device (`fake_driver`)
and without the compiler. Each launch is repeated by Triton, which must choose the same variant.

``python -m tests.backends.triton.test_direct_launches time`` prints how long the host takes for a loss, its gradient
and its scaling, without the driver: in the middle of 1000 calls, by Triton's launches and by direct ones in turn.
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

    from torch import Tensor

ROOT = Path(__file__).parents[3]
BLIND = ("device", "traits", "beside", "constants")
"""Parts of the key of a direct launch."""


def found(task: str) -> dict[str, Any]:
    """What the process says."""
    if importlib.util.find_spec("triton") is None:
        pytest.skip("Triton is not installed")
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run(  # noqa: S603 - this very module
        [sys.executable, "-m", __name__, task], capture_output=True, text=True, check=False, env=environment, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr[-3000:]
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@pytest.fixture(scope="module")
def random_calls() -> dict[str, Any]:
    return found("random")


def test_triton_chooses_the_same_variant(random_calls: dict[str, Any]) -> None:
    assert random_calls["other variants"] == []


def test_most_launches_are_direct_and_of_many_variants(random_calls: dict[str, Any]) -> None:
    """Otherwise the test above says little."""
    kernels = ("prepare", "sum_rows", "top_of_rows", "walk_chunks", "finish", "add_losses", "occupy", "write_rows")
    for kernel in (*kernels, "write_by_class", "scale_rows"):
        assert random_calls["direct"][kernel] > 50, kernel
    at_least = {"prepare": 30, "sum_rows": 80, "write_rows": 200, "write_by_class": 100, "scale_rows": 30}
    for kernel, count in at_least.items():
        assert random_calls["variants"][kernel] > count, random_calls["variants"]


@pytest.mark.parametrize("blind", BLIND)
def test_a_key_that_lacks_something_is_noticed(blind: str) -> None:
    assert found(blind)["other variants"]


def test_integers_beyond_32_bits_are_left_to_triton() -> None:
    """C * stride_c = 2^31 for the blank; its kernel takes an int64 there."""
    result = found("large")
    assert result["other variants"] == []
    assert set(result["direct"]) == {"scale_rows"}


def test_a_profiler_s_hooks_see_every_launch() -> None:
    """Triton calls them with what it knows of the launch."""
    assert found("hooks")["seen"] == 2 * ["prepare", "sum_rows", "walk_chunks", "finish", "add_losses"]


def test_a_kernel_that_can_be_called_stays_loaded() -> None:
    """Although Triton forgets it: it unloads the binary of a compiled kernel that nothing refers to."""
    result = found("forgotten")
    assert result["launched"] == ["prepare", "sum_rows", "walk_chunks", "finish", "add_losses"]
    assert result["unloaded"] == []


def test_a_step_calls_few_operations_of_torch() -> None:
    """Each takes the host as long as a launch: the loss, scratch memory and its zeros."""
    assert found("operations")["operations"] == ["empty", "empty", "as_strided", "zero_"]


# ------------------------------------------------------------------------------------------------- in its own process


def strided(x: Tensor, choose: Callable[[list[Any]], Any]) -> Tensor:
    """The same values with other strides, at another address."""
    import torch

    form = choose(["plain", "batch first", "classes first", "odd", "wide", "expanded"])
    if form == "batch first":
        return x.transpose(0, 1).contiguous().transpose(0, 1)
    if form == "classes first":
        return x.permute(2, 0, 1).contiguous().permute(1, 2, 0)
    if form == "odd":  # starts one element later, in rows that are longer by one
        return torch.nn.functional.pad(x, (1, 0))[:, :, 1:]
    if form == "wide":
        return torch.nn.functional.pad(x, (0, 16))[:, :, : x.shape[2]]
    if form == "expanded":
        return x[:1].expand(x.shape)
    return x


def offset(x: Tensor, choose: Callable[[list[Any]], Any]) -> Tensor:
    """The same values, perhaps at an odd address."""
    import torch

    if choose([False, False, True]):
        return torch.cat((x.flatten()[:1], x.flatten()))[1:].view(x.shape)
    return x


def main(task: str) -> None:
    """Do a task, and print what came of it."""
    import gc
    import random
    import statistics
    import time

    import torch
    import triton

    from tests.tools import fake_driver

    fake_driver.install()
    if task != "time":  # Triton checks the constants of a kernel's module only if it has compiled it
        fake_driver.compile_nothing()
    from ctckit.backends import LossOptions
    from ctckit.backends import triton as gpu
    from ctckit.backends.triton import launch
    from ctckit.lattice import gate

    setattr(gpu, "_on", lambda _: contextlib.nullcontext())  # noqa: B010 - the tensors are on the CPU
    Launches: Any = launch.Launches
    choose = random.Random(0).choice  # noqa: S311
    other_variants: list[str] = []
    direct: dict[str, int] = {}
    variants: dict[str, set[object]] = {}
    launch_once = Launches.__call__

    def launch_twice(
        self: Any, kernel: Any, grid: Any, *arguments: Any, warps: int, beside: Any = None, **constants: Any
    ) -> None:
        """Launch, and let Triton launch the same again."""
        kept = len(self._compiled or ())
        launch_once(self, kernel, grid, *arguments, warps=warps, beside=beside, **constants)
        ours = fake_driver.launches[-1]
        name = kernel.__name__
        if self._compiled is not None and len(self._compiled) == kept:
            direct[name] = direct.get(name, 0) + 1
        variants.setdefault(name, set()).add(ours.variant)
        pointers = [launch._Pointer(x) if isinstance(x, launch.Address) else x for x in arguments]
        kernel[grid](*pointers, **constants, num_warps=warps, enable_fp_fusion=True)
        tritons = fake_driver.launches[-1]
        plain = [x.address if isinstance(x, launch._Pointer) else x for x in tritons.arguments]
        given = [x.address if isinstance(x, launch._Pointer) else x for x in ours.arguments]
        if ours.variant is not tritons.variant or ours[1:3] != tritons[1:3] or len(plain) != len(given):
            other_variants.append(f"{name} {arguments} {constants}"[:300])
        elif given != plain:
            other_variants.append(f"{name} takes {given}, not {plain}"[:300])
        fake_driver.launches.clear()

    def call(x: Tensor, targets: Tensor, options: LossOptions, target_lengths: list[int]) -> None:
        emissions, lattice, _ = gate(x, targets, None, target_lengths, 0)
        lattice = lattice._replace(
            labels=offset(lattice.labels, choose),
            input_lengths=offset(lattice.input_lengths, choose),
            target_lengths=offset(lattice.target_lengths, choose),
        )
        gradient = choose([None, strided(torch.empty(emissions.shape, dtype=x.dtype), choose), emissions])
        gpu.loss(emissions, lattice, options, gradient)
        if gradient is not None:
            kind = torch.float64 if x.dtype == torch.float64 else torch.float32
            scale = choose([torch.ones((), dtype=kind), torch.ones(2, x.shape[1], 1, dtype=kind)[1]])
            gpu.scale_(gradient, scale)
        gpu.posteriors(emissions, lattice, logits=options.logits, per_state=choose([True, False]))

    def random_call() -> None:
        T, N, C = choose([1, 12, 16]), choose([1, 2, 7, 16]), choose([2, 16, 33, 48, 1100])
        S = choose([1, 3, 16, 40])
        dtype = choose([torch.float16, torch.bfloat16, torch.float32, torch.float64])
        logits, reduction = choose([True, False]), choose(["none", "mean", "sum"])
        options = LossOptions.of(dtype, logits=logits, reduction=reduction, zero_infinity=choose([True, False]))
        fake_driver.current_device = choose([0, 1])
        shape = choose([(N, S), (N * S,)])
        emissions, targets = strided(torch.zeros(T, N, C, dtype=dtype), choose), torch.ones(shape, dtype=torch.int64)
        call(emissions, targets, options, [S] * N)

    small = torch.zeros(12, 2, 5), torch.ones(2, 3, dtype=torch.int64)
    options = LossOptions.of(torch.float32, logits=True, reduction="mean", zero_infinity=False)
    result: dict[str, Any] = {}
    if task == "hooks":
        emissions, lattice, _ = gate(*small, None, None, 0)
        gpu.loss(emissions, lattice, options, None)
        seen: list[str] = []
        hooks = triton.knobs.runtime
        if hasattr(hooks.launch_enter_hook, "add"):
            hooks.launch_enter_hook.add(lambda about: seen.append(about["name"]))
        else:  # Triton 3.4
            hooks.launch_enter_hook = lambda about: seen.append(about["name"])
        for _ in range(2):
            gpu.loss(emissions, lattice, options, None)
        result["seen"] = seen
    elif task == "forgotten":
        emissions, lattice, _ = gate(*small, None, None, 0)
        gpu.loss(emissions, lattice, options, None)
        for kernel in (
            k for name in ("row", "sum", "forward_backward") for k in vars(getattr(gpu, f"{name}_kernels")).values()
        ):
            if hasattr(kernel, "device_caches"):
                kernel.device_caches.clear()
        fake_driver.launches.clear()
        gc.collect()
        gpu.loss(emissions, lattice, options, None)
        result["launched"] = [one.kernel for one in fake_driver.launches]
        result["unloaded"] = list(fake_driver.unloaded)
    elif task == "time":
        emissions, lattice, _ = gate(*small, None, None, 0)
        gradient, scale = torch.empty_like(emissions), torch.ones(())
        setattr(fake_driver.Launcher, "__call__", lambda *_: None)  # noqa: B010 - mypy
        seconds: dict[bool, list[float]] = {True: [], False: []}
        for _ in range(1000):
            for by_triton in (True, False):
                setattr(launch, "_is_watched", lambda by_triton=by_triton: by_triton)  # noqa: B010
                start = time.perf_counter()
                gpu.loss(emissions, lattice, options, gradient)
                gpu.scale_(gradient, scale)
                seconds[by_triton].append(time.perf_counter() - start)
        for name, times in (("by Triton", seconds[True]), ("direct", seconds[False])):
            result[name] = f"{statistics.median(times) * 1e6:.0f} us"
    elif task == "operations":
        from torch.utils._python_dispatch import TorchDispatchMode

        names: list[str] = []

        class Operations(TorchDispatchMode):
            def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
                names.append(function.name().split("::")[1].split(".")[0])
                return function(*args, **(kwargs or {}))

        emissions, lattice, _ = gate(*small, None, None, 0)
        gradient, scale = torch.empty_like(emissions), torch.ones(())
        with Operations():  # type: ignore[no-untyped-call]
            gpu.loss(emissions, lattice, options, gradient)
            gpu.scale_(gradient, scale)
        result["operations"] = names
    else:
        Launches.__call__ = launch_twice
        if task in BLIND:
            Launches._known = _Blind(task)
        if task == "large":
            import mmap

            flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000  # MAP_NORESERVE: untouched pages take no memory
            memory = torch.frombuffer(mmap.mmap(-1, 9 << 30, flags=flags), dtype=torch.float16)
            for _ in range(4):
                x = memory.as_strided((2, 2, 3), (8, 4, 1 << 31))
                emissions, lattice, _ = gate(x, torch.zeros(2, 1, dtype=torch.int64), None, None, 1)
                gradient = torch.empty(2, 2, 3, dtype=torch.float16)
                gpu.loss(emissions, lattice, options._replace(mean_gradient=False), gradient)
                gpu.scale_(x, torch.ones(()))
        else:
            for _ in range(1200 if task == "random" else 60):
                random_call()
        result = {
            "other variants": other_variants,
            "direct": direct,
            "variants": {name: len(which) for name, which in variants.items()},
        }
    print(json.dumps(result))  # noqa: T201


class _Blind(dict[Any, Any]):
    """What `Launches` knows, or a table of compiled kernels, whose keys lack something."""

    def __init__(self, what: str) -> None:
        self.what = what

    def setdefault(self, key: Any, _: Any = None) -> Any:
        device, traits = key
        key = None if self.what == "device" else device, None if self.what == "traits" else traits
        if key not in self:
            super().__setitem__(key, _Blind(self.what))
        return self[key]

    def _seen(self, key: Any) -> Any:
        kernel, warps, beside, *constants = key
        beside = None if self.what == "beside" else beside
        return kernel, warps, beside, *(() if self.what == "constants" else constants)

    def get(self, key: Any, default: Any = None) -> Any:
        return super().get(self._seen(key), default)

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(self._seen(key), value)


if __name__ == "__main__":
    main(sys.argv[1])
