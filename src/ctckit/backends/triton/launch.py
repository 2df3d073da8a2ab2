"""Launches of kernels: by Triton the first time, then straight to the compiled kernel.

Triton's own launch, ``kernel[grid](...)``, classifies every argument, computes a key of all of them, and checks that no
constant of the module has changed: 30 µs on a host whose driver takes 3. It returns the compiled kernel. `Launches`
keeps that, and calls it directly whenever Triton would choose it again.

Triton compiles another variant for each combination of

- the device, the constants (``tl.constexpr``) and the number of warps: they are a part of the key;
- the dtypes of pointers, and whether an address is a multiple of 16; whether a stride is 1, a multiple of 16, or
  exceeds 32 bits: the caller's tensors can differ in these, and `traits` says how. Scratch memory never differs;
- whether any other integer exceeds 32 bits: with one that does, Triton launches every time.

`tests/backends/triton/test_direct_launches.py` compares direct launches with Triton's choice. (On AMD Triton also
distinguishes memory of less than 2 GiB. It does not for what has no `ptr_range`, as here.) Settings of Triton such as
`debug` count for a variant when it is launched for the first time.

A direct launch takes addresses, not tensors: it neither calls a method nor asks the driver for each. `Address` is an
integer that knows its dtype, which Triton needs at the first launch.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import torch
import triton
from torch import Tensor
from triton.runtime.interpreter import InterpretedFunction
from triton.runtime.jit import JITFunction

from ctckit.backends.triton import rows

INTERPRETED: Final = isinstance(rows.prepare, InterpretedFunction)
"""Whether Triton's interpreter runs the kernels, on the CPU, for tests. It takes tensors, not addresses."""
DIRECT = not INTERPRETED
"""Whether kernels take addresses."""


class Address(int):
    """The address of a tensor."""

    dtype: torch.dtype


ADDRESSES: Final[dict[torch.dtype, type[Address]]] = {
    dtype: type(f"AddressOf{dtype}", (Address,), {"dtype": dtype})
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int32, torch.int64)
}
"""The class of addresses of each dtype."""


class _Pointer:
    """An address in the form in which Triton takes it from Python."""

    def __init__(self, address: Address) -> None:
        self.address, self.dtype = int(address), address.dtype

    def data_ptr(self) -> int:
        return self.address


def pointer(tensor: Tensor) -> Address | Tensor:
    """Return what a kernel takes for a tensor. The caller keeps the tensor alive until after the launch."""
    return ADDRESSES[tensor.dtype](tensor.data_ptr()) if DIRECT else tensor


def traits(at: Address | Tensor, *strides: int) -> tuple[object, ...]:
    """Return all that Triton specialises on in a tensor, of which `at` is the `pointer`, and in its strides."""
    if not isinstance(at, Address):
        return ()
    return (at.dtype, at & 15 == 0, *[2 if stride == 1 else (stride & 15 == 0, stride >> 31) for stride in strides])


class Launches:
    """Launches kernels on the current stream of the current device."""

    _known: Final[dict[Any, dict[Any, Any]]] = {}

    def __init__(self, key: tuple[object, ...], largest: int) -> None:
        """Prepare launches.

        Args:
            key: the `traits` of all tensors that are not scratch.
            largest: a bound of all integers that are arguments, but for strides.
        """
        self._compiled = None
        if DIRECT and largest < 1 << 31 and not _is_watched():
            driver = triton.runtime.driver.active
            device = driver.get_current_device()
            self._stream = driver.get_current_stream(device)
            self._compiled = self._known.setdefault((device, key), {})

    def __call__(
        self, kernel: Any, grid: tuple[int, int, int], *arguments: Any, warps: int, beside: Any = None, **constants: Any
    ) -> None:
        """Launch a kernel.

        Args:
            kernel: the kernel.
            grid: how many programs, in three dimensions.
            arguments: its parameters in order, but for the constants.
            warps: of a program.
            beside: what is specialised on beside the `key`.
            constants: the constants in order; they are the kernel's last parameters.
        """
        key = id(kernel), warps, beside, *constants.values()
        if self._compiled is not None:
            found = self._compiled.get(key)
            if found is not None:
                run, function, metadata, _ = found
                run(*grid, self._stream, function, metadata, None, None, None, *arguments, *constants.values())
                return
        # Fused multiply-add is set explicitly, because Triton's default changes in 3.10.
        compiled = kernel[grid](
            *[_Pointer(value) if isinstance(value, Address) else value for value in arguments],
            **constants,
            num_warps=warps,
            enable_fp_fusion=True,
        )
        if self._compiled is not None and compiled is not None and type(kernel) is JITFunction:
            # Triton unloads the binary of a compiled kernel that nothing refers to; and an id may be used again.
            keep = kernel, compiled
            self._compiled[key] = compiled.run, compiled.function, compiled.packed_metadata, keep


@cache
def multiprocessors() -> int:
    """Return how many multiprocessors the current device has; with several devices, those of the first."""
    if INTERPRETED:
        return 1
    driver = triton.runtime.driver.active
    return int(driver.utils.get_device_properties(driver.get_current_device())["multiprocessor_count"])


def cdiv(a: int, b: int) -> int:
    """Divide and round up, without the microseconds of Triton's function."""
    return -(-a // b)


def power_of_2(number: int) -> int:
    """Return the smallest power of two that is not below a positive number."""
    return 1 << (number - 1).bit_length()


def _is_watched() -> bool:
    """Whether a profiler has set hooks for launches."""
    enter, leave = triton.knobs.runtime.launch_enter_hook, triton.knobs.runtime.launch_exit_hook
    # Since Triton 3.5 they are lists of hooks.
    return bool(getattr(enter, "calls", enter) or getattr(leave, "calls", leave))
