"""Targets, lengths and emissions changed in place before a backward: torch's error, or a right gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import ctckit

FORMS = ("padded", "no target lengths", "concatenated", "unbatched")
TENSORS = ("targets", "input_lengths", "target_lengths")

each_form = pytest.mark.parametrize("form", FORMS)
each_tensor = pytest.mark.parametrize("which", TENSORS)
each_function = pytest.mark.parametrize("function", [ctckit.ctc_loss, ctckit.ctc_loss_with_logits])
each_dtype = pytest.mark.parametrize("dtype", [torch.int64, torch.int32], ids=str)
pytestmark = pytest.mark.usefixtures("backend")


def problem(form: str, dtype: torch.dtype, real: torch.dtype = torch.float64) -> dict[str, Any]:
    x = torch.randn((9, 4) if form == "unbatched" else (9, 2, 4), dtype=torch.float64).log_softmax(-1).to(real)
    targets = {
        "padded": torch.tensor([[1, 2, 3], [3, 1, 2]]),
        "no target lengths": torch.tensor([[1, 2, 3], [3, 1, -100]]),
        "concatenated": torch.tensor([1, 2, 3, 3, 1]),
        "unbatched": torch.tensor([1, 2, 3]),
    }[form].to(dtype)
    items = torch.tensor([[9, 7], [3, 2]] if form != "unbatched" else [[9], [3]], dtype=dtype)
    lengths = None if form == "no target lengths" else items[1].clone()
    return {"x": x, "targets": targets, "input_lengths": items[0].clone(), "target_lengths": lengths}


def change(arguments: dict[str, Any], which: str) -> None:
    """Changes to other valid values, so that only the change itself can raise."""
    if which == "targets":
        arguments["targets"].masked_fill_(arguments["targets"] == 1, 2).masked_fill_(arguments["targets"] == 3, 1)
    elif which == "input_lengths":
        arguments["input_lengths"].sub_(1)
    elif arguments["targets"].ndim == 1:
        arguments["target_lengths"].copy_(arguments["target_lengths"].flip(0))  # their sum must not change
        if arguments["target_lengths"].numel() == 1:
            arguments["target_lengths"].fill_(2)
    else:
        arguments["target_lengths"].sub_(1)


def loss_of(function: Callable[..., Tensor], arguments: dict[str, Any], **options: Any) -> tuple[Tensor, Tensor]:
    x, *rest = arguments.values()
    y = x.clone().requires_grad_()
    return function(y, *rest, **options), y


def right_or_raises(gradient: Callable[[], Tensor], want: Tensor) -> bool:
    """Whether backward raised."""
    try:
        got = gradient()
    except RuntimeError as error:
        assert "modified by an inplace operation" in str(error) or "has been modified" in str(error)  # noqa: PT017
        return True
    torch.testing.assert_close(got.detach(), want)
    return False


@each_form
@each_tensor
@each_dtype
@each_function
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_every_backward(
    function: Callable[..., Tensor], dtype: torch.dtype, which: str, form: str, reduction: str
) -> None:
    arguments = problem(form, dtype)
    if arguments[which] is None:
        return
    (want,) = torch.autograd.grad(*_summed(loss_of(function, arguments, reduction=reduction)))

    loss, y = loss_of(function, arguments, reduction=reduction)
    loss = loss.sum()
    change(arguments, which)
    raised = [
        right_or_raises(lambda: torch.autograd.grad(loss, y, retain_graph=True)[0], want),
        right_or_raises(lambda: torch.autograd.grad(loss, y, retain_graph=True)[0], want),
        right_or_raises(lambda: torch.autograd.grad(loss, y, create_graph=True)[0], want),
    ]
    assert raised[0] is False  # the derivative was computed in the forward
    assert raised[1] == raised[2]
    # torch cannot see this change, so no result may depend on it: int32 targets are converted, that is copied.
    assert raised[1] == (dtype == torch.int64)

    arguments = problem(form, dtype)
    loss, y = loss_of(function, arguments, reduction=reduction)
    (slope,) = torch.autograd.grad(loss.sum(), y, create_graph=True)
    weights = torch.randn_like(slope)
    fresh = problem(form, dtype)
    fresh["x"] = arguments["x"]
    other, z = loss_of(function, fresh, reduction=reduction)
    (other_slope,) = torch.autograd.grad(other.sum(), z, create_graph=True)
    (want,) = torch.autograd.grad((other_slope * weights).sum(), z)
    change(arguments, which)
    right_or_raises(lambda: torch.autograd.grad((slope * weights).sum(), y)[0], want)


def _summed(pair: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return pair[0].sum(), pair[1]


@each_form
@each_tensor
@each_dtype
@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("inplace", [False, True])
def test_half_precision(inplace: bool, reduction: str, dtype: torch.dtype, which: str, form: str) -> None:
    """In float16 the derivative is divided by the target lengths only in the backward."""
    arguments = problem(form, dtype, torch.float16)
    if arguments[which] is None:
        return
    x, *rest = arguments.values()
    function: Any = ctckit.ctc_loss_with_logits
    grads = []
    for changed in (False, True):
        y = x.clone().requires_grad_()
        loss = function(y * 1, *rest, reduction=reduction, inplace_grad=inplace).sum()
        if changed:
            change(arguments, which)
        (slope,) = torch.autograd.grad(loss, y)
        grads.append(slope)
    assert torch.equal(grads[0], grads[1])


@each_form
@each_tensor
@pytest.mark.parametrize("real", [torch.float16, torch.float32], ids=str)
def test_compiled(real: torch.dtype, which: str, form: str) -> None:
    torch._dynamo.reset()
    arguments = problem(form, torch.int64, real)
    if arguments[which] is None:
        return
    compiled = torch.compile(ctckit.ctc_loss_with_logits, backend="aot_eager")
    (want,) = torch.autograd.grad(*loss_of(ctckit.ctc_loss_with_logits, arguments))
    loss, y = loss_of(compiled, arguments)
    change(arguments, which)
    right_or_raises(lambda: torch.autograd.grad(loss, y)[0], want)


@each_function
def test_emissions(function: Callable[..., Tensor]) -> None:
    """The kept derivative is right; a backward that reads the emissions again raises, because they have changed."""
    arguments = problem("padded", torch.int64)
    x, *rest = arguments.values()
    own = x.clone().requires_grad_()
    (want,) = torch.autograd.grad(function(own * 1, *rest), own)
    y = x.clone().requires_grad_()
    z = y * 1
    loss = function(z, *rest)
    z.mul_(2)
    assert not right_or_raises(lambda: torch.autograd.grad(loss, y, retain_graph=True)[0], want)
    assert right_or_raises(lambda: torch.autograd.grad(loss, y, retain_graph=True)[0], want)
    assert right_or_raises(lambda: torch.autograd.grad(loss, y, create_graph=True)[0], want)


@each_form
def test_views_and_views_of_views(form: str) -> None:
    """A change through another view of the same memory also counts."""
    arguments = problem(form, torch.int64)
    room = torch.zeros(2, *arguments["targets"].shape, dtype=torch.int64)
    room[1] = arguments["targets"]
    arguments["targets"] = room[1]
    loss, y = loss_of(ctckit.ctc_loss, arguments)
    torch.autograd.grad(loss, y, retain_graph=True)
    room[0, 0] = 7  # another part of the memory; torch does not distinguish them
    with pytest.raises(RuntimeError, match=r"modified by an inplace operation: targets .*targets\.clone\(\)"):
        torch.autograd.grad(loss, y)


def test_sequences_are_copied() -> None:
    arguments = problem("padded", torch.int64)
    x, targets, *_ = arguments.values()
    frames, lengths = [9, 7], [3, 2]
    y = x.clone().requires_grad_()
    loss = ctckit.ctc_loss(y, targets, frames, lengths)
    (want,) = torch.autograd.grad(loss, y, retain_graph=True)
    want = want.clone()
    frames[0], lengths[0] = 1, 1
    (got,) = torch.autograd.grad(loss, y)
    assert torch.equal(got, want)


def test_tensors_made_in_inference_mode() -> None:
    """torch does not count their changes, so they are copied: no backward sees a change, and none raises."""
    with torch.inference_mode():
        arguments = problem("padded", torch.int64)
        kept = {name: value.clone() for name, value in arguments.items()}
    x = arguments["x"].clone()
    y = x.clone().requires_grad_()
    loss = ctckit.ctc_loss(y, *list(arguments.values())[1:])
    (want,) = torch.autograd.grad(loss, y, retain_graph=True)
    want = want.clone()
    with torch.inference_mode():
        for which in TENSORS:
            change(arguments, which)
    assert not torch.equal(kept["targets"], arguments["targets"])
    (got,) = torch.autograd.grad(loss, y, retain_graph=True)
    torch.testing.assert_close(got, want)
    (got,) = torch.autograd.grad(loss, y, create_graph=True)
    torch.testing.assert_close(got.detach(), want)
