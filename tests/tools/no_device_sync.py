"""A mode in which an operation of torch that waits for a device is an error, on tensors of any device."""

from __future__ import annotations

from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode


class NoDeviceSync(TorchDispatchMode):
    """Fails where the host would wait for the device: at what reads a value, and at copies that are waited for."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs = func.name(), kwargs or {}
        reads = ("_local_scalar_dense", "nonzero", "equal", "is_nonzero", "masked_select", "unique", "_assert_async")
        assert not any(word in name for word in reads), name
        result = func(*args, **kwargs)
        if "_to_copy" in name or "copy_" in name:
            here, there = args[0].device, result.device
            waits = here != there and not (kwargs.get("non_blocking") or (len(args) > 2 and args[2]))
            assert not waits, f"{name} waits: {args} {kwargs}"
        return result
