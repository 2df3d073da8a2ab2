"""A dispatch mode in which an operation of torch that causes a device sync fails, on tensors of any device."""

from __future__ import annotations

from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode


class NoDeviceSync(TorchDispatchMode):
    """Fails at operations that cause a device sync: those that read a value, and blocking copies."""

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
