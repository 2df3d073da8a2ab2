# ruff: noqa: SLF001  # torch has no public names for most of these queries
"""Tensors that are not plain: subclasses, nested and fake tensors, traces, tensors without memory.

An operator of torch handles every tensor subclass. A function that reads memory by its address cannot: a DTensor, an
AsyncCollectiveTensor or a FakeTensor has no memory of its own, and its address is 0. Such tensors go to operators of
torch, or raise an error with a remedy.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any, Final, ParamSpec, TypeVar, cast

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.compiler import is_compiling, is_dynamo_compiling
from torch.jit._trace import TracerWarning
from torch.overrides import handle_torch_function, has_torch_function_variadic

from ctckit.errors import ArgumentTypeError

__all__ = [
    "as_node",
    "in_memory",
    "is_eager",
    "is_plain",
    "is_traced",
    "like",
    "nested",
    "plain",
    "present",
    "require_memory",
    "require_numbers",
    "symbolic",
]

P = ParamSpec("P")
R = TypeVar("R")

_C: Any = torch._C
_watchers: Callable[[], int] = _C._len_torch_dispatch_stack
is_traced: Callable[[], object] = _C._get_tracing_state
"""Return a true value while torch.jit.trace records, else a false one."""

_memoryless_modes = [getattr(_C._TorchDispatchModeKey, kind) for kind in ("FAKE", "PROXY", "FUNCTIONAL")]
_Parameter: Final = torch.nn.Parameter
_NO_DISPATCH: Any = _C._disabled_torch_dispatch_impl


def is_plain(tensor: object) -> bool:
    """Whether the type is `torch.Tensor` or `torch.nn.Parameter`, not another subclass; most arguments are plain."""
    kind = type(tensor)
    return kind is Tensor or kind is _Parameter


def is_eager(tensor: Tensor) -> bool:
    """Whether a plain tensor has numbers now: no graph is traced, and no dispatch mode is active."""
    kind = type(tensor)
    return (kind is Tensor or kind is _Parameter) and not (is_compiling() or _watchers() or is_traced())


def plain(tensor: Any, name: str, convert: str, *, needs_numbers: bool, beside: type[Tensor] | None = None) -> Tensor:
    """Convert a tensor subclass to a plain tensor if possible; else return it unchanged for operators of torch.

    Args:
        tensor: the argument.
        name: its name, for messages.
        convert: advice for the message if it is no tensor.
        needs_numbers: whether the caller reads memory by its address; if not, it calls only operators of torch.
        beside: the type of the emissions, unless this argument is the emissions: a fake tensor is accepted only beside
            fake emissions.

    Raises:
        ArgumentTypeError: if it is no tensor, or if the caller needs memory and it has none of its own.
    """
    if not isinstance(tensor, Tensor):
        raise ArgumentTypeError(f"{name} is a {type(tensor).__name__}, but must be a torch.Tensor: {convert}")
    kind = type(tensor)
    if is_compiling() or is_plain(tensor):
        return tensor
    if tensor.is_nested:
        raise nested(name)
    if kind.__torch_dispatch__ is _NO_DISPATCH:  # it has memory of its own
        return tensor
    if hasattr(kind, "full_tensor") and hasattr(kind, "to_local"):
        raise ArgumentTypeError(
            f"{name} is a {kind.__name__}, whose numbers are spread over processes: pass {name}.to_local(), if this "
            f"process computes the loss of its own items, or {name}.full_tensor(), the whole"
        )
    if kind.__name__ == "AsyncCollectiveTensor" and not tensor.requires_grad:
        return cast("Tensor", cast("Any", tensor).wait())
    if isinstance(tensor, FakeTensor) and beside is not None and beside is not kind and not _watchers():
        raise ArgumentTypeError(
            f"{name} is a FakeTensor, which has no numbers: pass a tensor that has numbers, or all tensors as fakes"
        )
    if not needs_numbers:
        return tensor
    raise ArgumentTypeError(
        f"{name} is a {kind.__name__}, a tensor subclass without memory of its own, but its numbers are needed: pass "
        f"the plain torch.Tensor that it wraps"
    )


def like(tensor: Tensor, emissions: Tensor) -> Tensor:
    """Convert a tensor to a fake one if the emissions are fake: torch does not mix the two."""
    if isinstance(emissions, FakeTensor) and not isinstance(tensor, FakeTensor) and not is_compiling():
        return emissions.fake_mode.from_tensor(tensor)
    return tensor


def require_numbers(tensors: tuple[Tensor, ...], name: str) -> None:
    """Raise if the numbers of plain tensors are missing, or would become constants of a graph.

    Raises:
        ArgumentTypeError: under ``torch.jit.trace``, ``make_fx``, a ``FakeTensorMode`` and ``torch.func``.
    """
    if is_traced():
        raise ArgumentTypeError(
            f"{name} is traced by torch.jit.trace, but a trace cannot hold this function: call it on the results of "
            f"the traced function, or use torch.compile"
        )
    if _watchers() and any(_C._get_dispatch_mode(mode) is not None for mode in _memoryless_modes):
        raise ArgumentTypeError(
            f"{name} is traced without its numbers (torch.export, make_fx, FakeTensorMode), but this function needs "
            f"them: call it outside of the traced function"
        )
    if _C._are_functorch_transforms_active():
        for tensor in tensors:
            if _C._functorch.is_functorch_wrapped_tensor(tensor):
                raise ArgumentTypeError(
                    f"{name} is transformed by torch.func (vmap, grad, jvp), but this function does not support that: "
                    f"call it outside of the transformed function, and pass batches as batches"
                )


def require_memory(tensor: Tensor, name: str) -> None:
    """Raise for a tensor on the meta device, which has a shape but no numbers.

    Raises:
        ArgumentTypeError: for a tensor on the meta device.
    """
    if tensor.is_meta:
        raise ArgumentTypeError(
            f"{name} is on the meta device, which holds no numbers, but this function needs them: pass a tensor that "
            f"has numbers"
        )


def nested(name: str) -> ArgumentTypeError:
    """Make the error for a nested tensor."""
    unbound = f"torch.nn.utils.rnn.pad_sequence({name}.unbind()"
    if name == "targets":
        remedy = f"pad it with {unbound}, batch_first=True, padding_value=-100), and leave target_lengths out (None)"
    elif name.endswith("_lengths"):
        remedy = "pass one number per item, as a tensor (N,) or a list"
    else:
        remedy = (
            f"pad it with {unbound}), which gives (T, N, C), and pass "
            f"input_lengths=[len(item) for item in {name}.unbind()]"
        )
    return ArgumentTypeError(f"{name} is a nested tensor, but must be dense: {remedy}")


def in_memory(tensor: Tensor, name: str) -> Tensor:
    """Return a tensor that can be read by its address: itself, or a copy if it is not aligned for its elements.

    Raises:
        ArgumentTypeError: if it has no memory.
    """
    if _is_readable(tensor) or tensor.numel() == 0:
        return tensor
    if tensor._is_zerotensor():  # torch allocates no memory for these zeros
        return tensor.clone()
    try:
        exists = tensor.untyped_storage().data_ptr() != 0
    except (RuntimeError, NotImplementedError):
        exists = False
    if not exists:
        raise ArgumentTypeError(
            f"{name} has {tensor.numel()} elements, but no memory: its storage was freed, or it is a functional or "
            f"fake tensor; pass a tensor that has numbers"
        )
    if tensor.data_ptr() % tensor.element_size():
        return tensor.clone(memory_format=torch.contiguous_format)
    return tensor


def _is_readable(tensor: Tensor) -> bool:
    """Whether a tensor has memory and is aligned, in few calls; False also for some that need further checks."""
    try:
        address, size = tensor.data_ptr(), tensor.element_size()
        return address % size == 0 and address != tensor.storage_offset() * size
    except (RuntimeError, NotImplementedError):
        return False


def present(tensor: Tensor, name: str) -> Tensor:
    """Do the same for a CPU tensor before an operator of torch reads it, which would crash without memory."""
    if type(tensor) is Tensor and not is_dynamo_compiling() and _is_readable(tensor):
        return tensor
    if is_eager(tensor) and tensor.device.type == "cpu" and not _C._are_functorch_transforms_active():
        return in_memory(tensor, name)
    return tensor


def symbolic(*arguments: object) -> list[object]:
    """Return the arguments that are proxies for tensors, such as those of ``torch.fx``."""
    return [a for a in arguments if not isinstance(a, Tensor) and hasattr(type(a), "__torch_function__")]


def as_node(function: Callable[P, R]) -> Callable[P, R]:
    """Make ``torch.fx.symbolic_trace`` keep a call of the function as one node, as it does for torch's functions."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if has_torch_function_variadic(*args, *kwargs.values()) and (standing := symbolic(*args, *kwargs.values())):
            return handle_torch_function(call, standing, *args, **kwargs)
        if is_traced():
            with warnings.catch_warnings():
                # Sizes are tensors while tracing. The trace need not record the comparisons that check the example.
                warnings.simplefilter("ignore", TracerWarning)
                return function(*args, **kwargs)
        return function(*args, **kwargs)

    return call
