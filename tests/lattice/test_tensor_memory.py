"""Tensors whose memory is odd: misaligned, negated, freed or none. None crashes the process."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import ctckit
from tests.lattice.every_function import CLASSES, FRAMES, FUNCTIONS, LENGTHS, TARGETS, each_function, right_or_words, x

ctc_loss: Any = ctckit.ctc_loss
ctc_loss_with_logits: Any = ctckit.ctc_loss_with_logits


def misaligned(tensor: Tensor) -> Tensor:
    """The same numbers at an address that is off by one byte."""
    raw = np.zeros(tensor.element_size() * tensor.numel() + 1, np.uint8)
    dtype = np.dtype(str(tensor.dtype).removeprefix("torch."))
    view = np.ndarray(tuple(tensor.shape), dtype, raw.data, offset=1)
    view[...] = tensor.detach().numpy()
    odd = torch.from_numpy(view)
    assert odd.data_ptr() % odd.element_size() == 1
    return odd


def negated(tensor: Tensor) -> Tensor:
    """The same numbers with torch's negative bit: the memory holds the negated numbers."""
    odd = torch._neg_view(-tensor)
    assert odd.is_neg()
    return odd


@pytest.mark.parametrize("make", [misaligned, negated])
@each_function
def test_odd_memory(name: str, make: Callable[[Tensor], Tensor]) -> None:
    for which in itertools.product([False, True], repeat=4):
        arguments = zip(which, (x, TARGETS, FRAMES, LENGTHS), strict=True)
        right_or_words(name, *(make(a) if chosen else a for chosen, a in arguments), must=True)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("inplace", [False, True])
def test_gradients_of_odd_memory(dtype: torch.dtype, inplace: bool) -> None:
    plain = x.to(dtype, copy=True)
    for make in (misaligned, negated):
        for arguments in ((TARGETS, FRAMES, LENGTHS), tuple(map(make, (TARGETS, FRAMES, LENGTHS)))):
            grads = []
            for own, rest in ((plain, (TARGETS, FRAMES, LENGTHS)), (make(plain), arguments)):
                y = own.detach().requires_grad_()
                loss = ctc_loss_with_logits(y.view_as(y) if not inplace else _kept(y), *rest, inplace_grad=inplace)
                loss.backward()
                grads.append(y.grad)
            torch.testing.assert_close(grads[0], grads[1], rtol=0, atol=1e-3 if dtype == torch.float16 else 1e-6)


def _kept(y: Tensor) -> Tensor:
    """An output that is a view of the input's memory, aligned or not, and that may be overwritten."""

    class Same(torch.autograd.Function):
        @staticmethod
        def forward(_: Any, own: Tensor) -> Tensor:
            return own.detach()

        @staticmethod
        def backward(_: Any, grad: Tensor) -> Tensor:
            return grad.clone()

    return Same.apply(y)  # type: ignore[no-any-return, no-untyped-call]


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32])
@pytest.mark.parametrize("offset", [0, 1, 100_000])
@each_function
def test_freed_memory(name: str, offset: int, dtype: torch.dtype) -> None:
    """Freed storage, as of FSDP's parameters: an error, also for views with an offset."""
    used: dict[str, tuple[int, ...]] = dict.fromkeys(
        ("best_paths", "path_posteriors", "posterior_path", "sample_paths"), (0, 1)
    )
    used |= {"label_priors": (0, 2), "align": (0, 2), "feasible": (1, 2, 3)}
    for place in used.get(name, (0, 1, 2, 3)):
        arguments = [x, TARGETS.to(dtype), FRAMES.to(dtype), LENGTHS.to(dtype)]
        whole = torch.zeros(offset + arguments[place].numel(), dtype=arguments[place].dtype)
        arguments[place] = whole[offset:].view(arguments[place].shape)
        whole.untyped_storage().resize_(0)
        # If the test itself indexes or transposes, torch raises.
        with pytest.raises((ctckit.ArgumentTypeError, RuntimeError), match=r"no memory|out of bounds for storage"):
            FUNCTIONS[name](*arguments)
        if place == 1 and name.startswith("ctc"):
            with pytest.raises(ctckit.ArgumentTypeError, match="no memory"):
                FUNCTIONS[name](x, arguments[1], None, None)


def test_zeros_without_memory() -> None:
    zeros = torch._efficientzerotensor((12, 2, CLASSES))
    assert zeros.data_ptr() == 0
    want = ctc_loss_with_logits(torch.zeros(12, 2, CLASSES), TARGETS, FRAMES, LENGTHS)
    assert torch.equal(ctc_loss_with_logits(zeros, TARGETS, FRAMES, LENGTHS), want)
    y = x.clone().requires_grad_()
    loss = ctc_loss(y, TARGETS, FRAMES, LENGTHS)
    (slope,) = torch.autograd.grad(loss, y, torch._efficientzerotensor(()))
    assert (slope == 0).all()


def test_functional_tensors() -> None:
    for place in range(4):
        arguments: list[Any] = [x, TARGETS, FRAMES, LENGTHS]
        arguments[place] = torch._to_functional_tensor(arguments[place])
        with pytest.raises(ctckit.ArgumentTypeError, match="no memory"):
            ctc_loss(*arguments)
    want = ctc_loss(x, TARGETS, FRAMES, LENGTHS)
    torch.testing.assert_close(torch.func.functionalize(ctckit.ctc_loss)(x, TARGETS, FRAMES, LENGTHS), want)
