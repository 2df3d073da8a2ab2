"""Check the memory accesses of kernels in Triton's interpreter: bounds, and reads of the caller's tensors."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Range = tuple[int, int]


def occupied(tensor: Tensor) -> Range:
    """The addresses from a tensor's first byte to the byte after its last."""
    begin = tensor.data_ptr()
    if tensor.numel() == 0:
        return begin, begin
    last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return begin, begin + (last + 1) * tensor.element_size()


def outside(addresses: np.ndarray[Any, Any], size: int, ranges: Sequence[Range]) -> np.ndarray[Any, Any]:
    """The addresses at which `size` bytes are not within one of the ranges."""
    inside = np.zeros(addresses.shape, bool)
    for begin, end in ranges:
        inside |= (addresses >= begin) & (addresses + size <= end)
    return addresses[~inside]


class Operations(TorchDispatchMode):
    """Calls a function before each operation of torch, outside of kernels, that reads memory of the given tensors."""

    def __init__(self, tensors: Sequence[Tensor], before_read: Callable[[], None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.in_kernel = False
        self.memory = {tensor.untyped_storage().data_ptr() for tensor in tensors}
        self.before_read = before_read

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        for leaf in tree_leaves((args, kwargs)):
            if not self.in_kernel and isinstance(leaf, Tensor) and leaf.untyped_storage().data_ptr() in self.memory:
                self.before_read()
        return func(*args, **kwargs)


@contextlib.contextmanager
def watched(callers: Sequence[Tensor] = (), before_read: Callable[[], None] | None = None) -> Iterator[None]:
    """Fail at an access outside of the tensors of a kernel's launch.

    Args:
        callers: tensors of the caller, whose reads are reported.
        before_read: called before a kernel, or an operation of torch, reads memory of one of `callers`.
    """
    from triton.runtime import interpreter  # imported here, because the first import decides how kernels are compiled

    builder = interpreter.interpreter_builder
    tensors: list[Range] = []
    of_callers = [occupied(tensor) for tensor in callers]
    operations = Operations(callers, before_read or (lambda: None))
    launch = interpreter.GridExecutor.__call__

    def launched(self: Any, *args: Any, **kwargs: Any) -> None:
        tensors[:] = [occupied(value) for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
        operations.in_kernel = True
        launch(self, *args, **kwargs)
        operations.in_kernel = False

    def checked(name: str, pointers: int, mask: int) -> Callable[..., Any]:
        access = getattr(builder, name)

        def access_checked(*args: Any, **kwargs: Any) -> Any:
            wanted = np.broadcast_to(args[mask].data, args[pointers].data.shape)
            addresses = args[pointers].data[wanted].astype(np.int64)
            size = max(1, args[pointers].get_element_ty().primitive_bitwidth // 8)
            wrong = outside(addresses, size, tensors)
            assert not wrong.size, f"{name} of {wrong.size} elements outside of the tensors of the launch"
            if before_read and outside(addresses, size, of_callers).size < addresses.size:
                before_read()
            return access(*args, **kwargs)

        return access_checked

    kept = {name: getattr(builder, name) for name in ("create_masked_load", "create_masked_store", "create_atomic_rmw")}
    try:
        interpreter.GridExecutor.__call__ = launched
        builder.create_masked_load = checked("create_masked_load", 0, 1)
        builder.create_masked_store = checked("create_masked_store", 0, 2)
        builder.create_atomic_rmw = checked("create_atomic_rmw", 1, 3)
        with operations if before_read else contextlib.nullcontext():
            yield
    finally:
        interpreter.GridExecutor.__call__ = launch
        for name, method in kept.items():
            setattr(builder, name, method)
