"""A fake GPU driver for Triton, which launches nothing; everything before the launch is real.

Triton binds the arguments, specialises on them, compiles for the target and loads the binary. `launches` records the
arguments that the device would get. The tensors are on the CPU. Call `install` before the first launch of a process,
and `compile_nothing` too if only Triton's choice of a variant matters. TRITON_INTERPRET must not be set.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
import triton
from triton.backends.compiler import GPUTarget

STREAM = 0xABC0
"""The current stream of the fake driver."""


class Launch(NamedTuple):
    """One launch, as the device would get it."""

    kernel: str
    grid: tuple[int, int, int]
    stream: int
    warps: int
    types: tuple[str, ...]
    """The type of each argument, as compiled: '*fp32', 'i64', 'constexpr'."""
    aligned: tuple[bool, ...]
    """The arguments that the binary assumes to be multiples of 16."""
    arguments: tuple[Any, ...]
    names: tuple[str, ...]
    variant: object
    """The same object for all launches of one compiled kernel."""


launches: list[Launch] = []
loaded: list[str] = []
"""The kernels whose binaries were loaded, in order: one entry for each variant that was compiled."""
unloaded: list[str] = []
"""The kernels whose binaries were unloaded, because nothing refers to them any more."""
current_device = 0


class Utils:
    """The functions with which Triton loads a binary and reads the device's properties."""

    def load_binary(self, name: str, *_: Any) -> tuple[Any, ...]:
        loaded.append(name)
        return 1, 1, 0, 0, 1024  # module, function, registers, spills, threads

    def get_device_properties(self, _: int) -> dict[str, int]:
        return {"max_shared_mem": 227 << 10, "multiprocessor_count": 132, "warpSize": 32, "max_num_regs": 65536}

    def unload_module(self, _: Any) -> None:
        pass


class Launcher:
    """Replaces Triton's launcher: records the arguments of a launch."""

    def __init__(self, source: Any, metadata: Any) -> None:
        self.source, self.metadata = source, metadata

    def __call__(self, x: int, y: int, z: int, stream: int, *rest: Any) -> None:
        _, _, about, enter, leave = rest[:5]
        for hook in (enter, leave):
            if hook is not None:
                hook(about)
        signature = self.source.signature
        arguments = rest[-len(signature) :]
        aligned = [
            any(name == "tt.divisibility" for name, _ in self.source.attrs.get((i,), ())) for i in range(len(signature))
        ]
        name = self.source.fn.__name__
        types = tuple(map(str, signature.values()))
        launches.append(
            Launch(
                name,
                (x, y, z),
                stream,
                self.metadata.num_warps,
                types,
                tuple(aligned),
                arguments,
                tuple(signature),
                self,
            )
        )


class Uncompiled:
    """What stands for a compiled kernel if nothing is compiled."""

    def __init__(self, source: Any, target: Any, options: Any) -> None:  # noqa: ARG002 - Triton's names
        self.run = Launcher(source, SimpleNamespace(**options))
        self.name = source.fn.__name__
        self.function = self.packed_metadata = None

    def __del__(self) -> None:
        unloaded.append(self.name)

    def launch_metadata(self, *_: Any) -> dict[str, Any]:
        return {"name": self.name}


class Driver:
    """GPUs of compute capability 9.0."""

    launcher_cls = Launcher
    utils = Utils()

    def get_current_target(self) -> Any:
        return GPUTarget("cuda", 90, 32)

    def get_current_device(self) -> int:
        return current_device

    def get_current_stream(self, _: int) -> int:
        return STREAM

    def get_active_torch_device(self) -> torch.device:
        return torch.device("cpu")

    def get_device_interface(self) -> Any:
        return torch.cuda


def install() -> None:
    """Make this the driver of the process."""
    triton.runtime.driver.set_active(Driver())


def compile_nothing() -> None:
    """Let Triton choose variants of kernels, and compile none."""
    setattr(triton.compiler, "compile", Uncompiled)  # noqa: B010 - Triton imports it from there at a first launch
