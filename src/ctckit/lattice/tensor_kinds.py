# ruff: noqa: SLF001  # torch has no public names for most of what is asked here
"""What may stand where a plain tensor is expected: subclasses, nested and fake tensors, traces, views of no memory.

torch sees through a tensor subclass wherever an operator of torch is called. A function that reads memory by its
address does not: a DTensor, an AsyncCollectiveTensor or a FakeTensor has no memory of its own, and its address is 0. So
such tensors go to operators of torch, or are refused in words.
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
"""Tell, by a value that is true or false, whether torch.jit.trace is recording."""

_memoryless_modes = [getattr(_C._TorchDispatchModeKey, kind) for kind in ("FAKE", "PROXY", "FUNCTIONAL")]
_Parameter: Final = torch.nn.Parameter
_NO_DISPATCH: Any = _C._disabled_torch_dispatch_impl


def is_plain(tensor: object) -> bool:
    """Tell a tensor of torch's own class; most arguments are one."""
    kind = type(tensor)
    return kind is Tensor or kind is _Parameter


def is_eager(tensor: Tensor) -> bool:
    """Tell a tensor with numbers from one that stands for it while a graph is traced, or while calls are watched."""
    kind = type(tensor)
    return (kind is Tensor or kind is _Parameter) and not (is_compiling() or _watchers() or is_traced())


def plain(tensor: Any, name: str, convert: str, *, needs_numbers: bool, beside: type[Tensor] | None = None) -> Tensor:
    """Give an argument that is no plain tensor as one, if it can be, or as it is, if torch's operators see through it.

    Args:
        tensor: the argument.
        name: its name, for messages.
        convert: how to make a tensor of it if it is none.
        needs_numbers: whether the caller reads its memory by the address; if not, it does nothing with it but
            operations of torch.
        beside: the type of the emissions, if it is not these: fake tensors are taken beside fake ones only.

    Raises:
        ArgumentTypeError: if it is no tensor, or one without memory of its own that the caller needs.
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
            f"{name} is a FakeTensor, which has no numbers: pass a tensor that has, or all as fakes"
        )
    if not needs_numbers:
        return tensor
    raise ArgumentTypeError(
        f"{name} is a {kind.__name__}, a tensor subclass without memory of its own, but its numbers are needed: pass "
        f"the plain torch.Tensor that it stands for"
    )


def like(tensor: Tensor, emissions: Tensor) -> Tensor:
    """Give a tensor as a fake one if the emissions are fake: torch takes no others beside them."""
    if isinstance(emissions, FakeTensor) and not isinstance(tensor, FakeTensor) and not is_compiling():
        return emissions.fake_mode.from_tensor(tensor)
    return tensor


def require_numbers(tensors: tuple[Tensor, ...], name: str) -> None:
    """Raise where the numbers of plain tensors are not there, or would become constants of a graph.

    Raises:
        ArgumentTypeError: under ``torch.jit.trace``, ``make_fx``, a ``FakeTensorMode`` and ``torch.func``.
    """
    if is_traced():
        raise ArgumentTypeError(
            f"{name} is traced by torch.jit.trace, but this function is no operation that a trace can hold: call it on "
            f"the results of the traced function, or use torch.compile"
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
                    f"{name} is transformed by torch.func (vmap, grad, jvp), which this function cannot follow: call "
                    f"it outside of the transformed function, and pass batches as batches"
                )


def require_memory(tensor: Tensor, name: str) -> None:
    """Raise for a tensor on the meta device, which has a shape and nothing else.

    Raises:
        ArgumentTypeError: if it is one.
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
    """Give a tensor that can be read by its address: itself, or a copy if it is not aligned for its elements.

    Raises:
        ArgumentTypeError: if it has no memory.
    """
    if _is_readable(tensor) or tensor.numel() == 0:
        return tensor
    if tensor._is_zerotensor():  # torch keeps no memory for these zeros
        return tensor.clone()
    try:
        exists = tensor.untyped_storage().data_ptr() != 0
    except (RuntimeError, NotImplementedError):
        exists = False
    if not exists:
        raise ArgumentTypeError(
            f"{name} has {tensor.numel()} elements, but no memory: its storage was freed, or it is a functional or "
            f"fake tensor; pass a tensor that has its numbers"
        )
    if tensor.data_ptr() % tensor.element_size():
        return tensor.clone(memory_format=torch.contiguous_format)
    return tensor


def _is_readable(tensor: Tensor) -> bool:
    """Tell, in few calls, a tensor that has memory and is aligned; False for some that need a closer look."""
    try:
        address, size = tensor.data_ptr(), tensor.element_size()
        return address % size == 0 and address != tensor.storage_offset() * size
    except (RuntimeError, NotImplementedError):
        return False


def present(tensor: Tensor, name: str) -> Tensor:
    """Do the same for a tensor on the CPU that torch is to compute with: its own operations end the process."""
    if type(tensor) is Tensor and not is_dynamo_compiling() and _is_readable(tensor):
        return tensor
    if is_eager(tensor) and tensor.device.type == "cpu" and not _C._are_functorch_transforms_active():
        return in_memory(tensor, name)
    return tensor


def symbolic(*arguments: object) -> list[object]:
    """Give those arguments that stand for tensors and are none, such as the proxies of ``torch.fx``."""
    return [a for a in arguments if not isinstance(a, Tensor) and hasattr(type(a), "__torch_function__")]


def as_node(function: Callable[P, R]) -> Callable[P, R]:
    """Let ``torch.fx.symbolic_trace`` keep a call of the function as one node, as it does with torch's own."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if has_torch_function_variadic(*args, *kwargs.values()) and (standing := symbolic(*args, *kwargs.values())):
            return handle_torch_function(call, standing, *args, **kwargs)
        if is_traced():
            with warnings.catch_warnings():
                # Sizes are tensors now. The comparisons that find faults in the example are rightly not recorded.
                warnings.simplefilter("ignore", TracerWarning)
                return function(*args, **kwargs)
        return function(*args, **kwargs)

    return call
