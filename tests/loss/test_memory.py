"""Memory: emissions in any layout, the gradient that autograd receives, and inplace_grad."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import ctckit
from tests.tools.cases import MIXED, Case, random_case
from tests.tools.exact_answers import dtypes, run

pytestmark = pytest.mark.usefixtures("backend")


# -------------------------------------------------------------------------------------------------------- memory layout


def layouts(x: Tensor) -> dict[str, Tensor]:
    """The same (T, N, C) numbers in every layout; gaps hold NaN."""
    frames, items, classes = x.shape

    def into(room: Tensor, view: Tensor) -> Tensor:
        room.fill_(torch.nan)
        return view.copy_(x)

    def empty(*shape: int) -> Tensor:
        return torch.empty(*shape, dtype=x.dtype)

    made: dict[str, Tensor] = {"contiguous": x.contiguous()}
    for name, order in {"(N, T, C)": (1, 0, 2), "(N, C, T)": (2, 0, 1), "(C, T, N)": (1, 2, 0)}.items():
        room = empty(*[x.shape[d] for d in (order.index(0), order.index(1), order.index(2))])
        made[name] = into(room, room.permute(*order))
    room = empty(2 * frames, items, classes)
    made["every other frame"] = into(room, room[::2])
    room = empty(frames, 3 * items, classes)
    made["every third item"] = into(room, room[:, 1::3])
    room = empty(frames, items, 2 * classes)
    made["every other class"] = into(room, room[:, :, ::2])
    room = empty(frames + 2, items + 2, classes + 3)
    made["a window"] = into(room, room[1:-1, 1:-1, 1:-2])
    room = empty(1 + x.numel())
    made["off by one element"] = into(room, room[1:].view(x.shape))
    return made


@dtypes
@pytest.mark.parametrize("logits", [False, True], ids=["log_probs", "logits"])
@pytest.mark.parametrize("classes", [5, 200])
def test_any_strides(classes: int, logits: bool, dtype: torch.dtype) -> None:
    """Bitwise the same from any layout, without a copy; the gradient has the layout of the emissions if dense."""
    case = random_case(19, 3, classes, 6, seed=3)
    x = case.logits(dtype)
    expected = run(case.padded(x), logits=logits)
    for name, view in layouts(x).items():
        actual = run(case.padded(view), logits=logits)
        assert torch.equal(actual.losses, expected.losses), name
        assert torch.equal(actual.gradient, expected.gradient), name
        assert actual.gradient.stride(2) == 1
        if name in ("contiguous", "(N, T, C)"):
            assert actual.gradient.stride() == view.stride(), name
    noise = x.clone()
    flipped = torch._neg_view(-noise)  # the imaginary part of a conjugate has torch's negative bit
    assert torch.equal(run(case.padded(flipped), logits=logits).gradient, expected.gradient)


@pytest.mark.parametrize("logits", [False, True], ids=["log_probs", "logits"])
def test_expanded_emissions(logits: bool) -> None:
    """Stride 0: frames, items or classes that share memory."""
    case = random_case(20, 3, 6, 4, seed=8)
    for shape in ((1, 3, 6), (20, 1, 6), (20, 3, 1), (1, 1, 6), (1, 1, 1)):
        x = torch.randn(shape).expand(20, 3, 6)
        expected = run(case.padded(x.contiguous()), logits=logits)
        actual = run(case.padded(x), logits=logits)
        assert torch.equal(actual.losses, expected.losses)
        assert torch.equal(actual.gradient, expected.gradient)
        assert actual.gradient.is_contiguous()


def test_strided_targets_and_lengths() -> None:
    x, targets, frames, lengths, blank = MIXED.padded(MIXED.logits())
    expected = ctckit.ctc_loss(x, targets, frames, lengths, blank)

    def spread(tensor: Tensor) -> Tensor:
        room = torch.full((*tensor.shape, 3), -7)
        room[..., 1] = tensor
        return room[..., 1]

    columns = targets.t().contiguous().t()
    for version in (spread(targets), columns):
        assert not version.is_contiguous()
        assert torch.equal(ctckit.ctc_loss(x, version, spread(frames), spread(lengths), blank), expected)
    one = torch.tensor([3]).expand(5)  # one label, one length, for all
    assert torch.equal(
        ctckit.ctc_loss(x, one[:, None], one, torch.ones(1, dtype=torch.int64).expand(5)),
        ctckit.ctc_loss(x, one[:, None].clone(), one.clone(), torch.ones(5, dtype=torch.int64)),
    )


# ------------------------------------------------------------------------------------------------------------- autograd


@pytest.mark.parametrize("logits", [False, True], ids=["log_probs", "logits"])
@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@dtypes
def test_gradient_is_scaled(reduction: str, logits: bool, dtype: torch.dtype) -> None:
    """By the incoming gradient, per item or for all, also 0 and -1."""
    function = ctckit.ctc_loss_with_logits if logits else ctckit.ctc_loss
    x = MIXED.logits(dtype)
    above = torch.tensor([2.0, 0.0, -1.0, 5.0, 0.25]) if reduction == "none" else torch.tensor(-3.0)

    def slope(factor: Tensor) -> Tensor:
        leaf = x.clone().requires_grad_()
        loss = function(*MIXED.padded(leaf), reduction=reduction)
        (result,) = torch.autograd.grad(loss, leaf, factor.to(loss.dtype))
        return result

    ones = slope(torch.ones_like(above))
    factor = above[:, None] if above.ndim else above
    torch.testing.assert_close(
        slope(above), (ones.double() * factor).to(dtype), rtol=4 * torch.finfo(dtype).eps, atol=1e-6
    )


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
def test_backward_twice(reduction: str) -> None:
    """With retain_graph the second gradient is the same, for any scale of the first; without it, torch's error."""
    x = MIXED.logits(torch.float32).requires_grad_()
    loss = ctckit.ctc_loss_with_logits(*MIXED.padded(x), reduction=reduction).sum()
    (first,) = torch.autograd.grad(3 * loss, x, retain_graph=True)
    (second,) = torch.autograd.grad(loss, x, retain_graph=True)
    (third,) = torch.autograd.grad(loss, x)
    assert torch.equal(second, third)
    torch.testing.assert_close(first, 3 * second)
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        torch.autograd.grad(loss, x)


def test_gradient_is_handed_over() -> None:
    """The kept derivative becomes the gradient without a copy."""
    x = MIXED.logits(torch.float32).requires_grad_()
    loss = ctckit.ctc_loss_with_logits(*MIXED.padded(x), reduction="sum")
    kept = loss.grad_fn.derivative  # type: ignore[union-attr]
    address = kept.data_ptr()
    del kept
    loss.backward()
    assert x.grad is not None
    assert x.grad.data_ptr() == address
    # A second loss adds to the gradient, and does not change the first loss's.
    once = x.grad.clone()
    ctckit.ctc_loss_with_logits(*MIXED.padded(x), reduction="sum").backward()
    torch.testing.assert_close(x.grad, 2 * once)


def test_gradients_of_two_losses_do_not_share_memory() -> None:
    """Nor do large ones, although the core reuses large memory."""
    case = Case("", 64, 4, ((1, 2),) * 4 * 1, (64,) * 4)
    wide = Case("", case.frames, 5000, case.targets, case.input_lengths)  # 5 MiB
    x = wide.logits(torch.float32).requires_grad_()
    first = ctckit.ctc_loss_with_logits(*wide.padded(x), reduction="sum")
    second = ctckit.ctc_loss_with_logits(*wide.padded(x), reduction="sum")
    (of_first,) = torch.autograd.grad(first, x, retain_graph=True)
    kept = of_first.clone()
    (of_second,) = torch.autograd.grad(second, x)
    (again,) = torch.autograd.grad(first, x)
    assert len({of_first.data_ptr(), of_second.data_ptr(), again.data_ptr()}) == 3
    for gradient in (of_first, of_second, again):
        assert torch.equal(gradient, kept)
    # Freed memory is reused, and no old value is left in it.
    del of_first, of_second, again, first, second, gradient
    short = wide.padded(x)._replace(input_lengths=torch.tensor([64, 0, 3, 1]))
    fresh = run(short, logits=True).gradient
    assert not fresh[3:, 2].count_nonzero()
    assert not fresh[:, 1].count_nonzero()
    torch.testing.assert_close(fresh[:, 0], kept[:, 0], rtol=0, atol=0)


def test_emissions_changed_before_backward() -> None:
    """The derivative is that of the emissions before the change, or torch raises."""
    x = MIXED.logits().requires_grad_()
    expected = run(MIXED.padded(x), logits=True).gradient
    loss = ctckit.ctc_loss_with_logits(*MIXED.padded(x), reduction="sum")
    with torch.no_grad():
        x += 1
    (slope,) = torch.autograd.grad(loss, x, retain_graph=True)
    assert torch.equal(slope, expected)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_no_gradient_where_none_is_asked_for() -> None:
    x = MIXED.logits()
    assert not ctckit.ctc_loss(*MIXED.padded(x)).requires_grad
    with torch.no_grad():
        assert not ctckit.ctc_loss(*MIXED.padded(x.requires_grad_())).requires_grad
    with torch.inference_mode():
        ctckit.ctc_loss(*MIXED.padded(x.detach()))


@pytest.mark.parametrize("inplace", [False, True])
def test_a_loss_without_a_gradient_takes_no_memory_for_one(inplace: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in evaluation: gradients are off, or no tensor requires one."""
    from ctckit.loss import autograd

    made: list[Tensor] = []
    empty = autograd._empty_gradient

    def watched(*arguments: Any) -> Tensor:
        made.append(empty(*arguments))
        return made[-1]

    monkeypatch.setattr(autograd, "_empty_gradient", watched)
    for enabled, needs_gradient in ((False, False), (False, True), (True, False), (True, True)):
        x = MIXED.logits().requires_grad_(needs_gradient) * 1
        with torch.set_grad_enabled(enabled):
            ctckit.ctc_loss_with_logits(*MIXED.padded(x), inplace_grad=inplace)
        assert len(made) == (enabled and needs_gradient and not inplace)


# --------------------------------------------------------------------------------------------------------- inplace_grad


def overwriting(x: Tensor, case: Case = MIXED, **options: Any) -> Tensor:
    return ctckit.ctc_loss_with_logits(*case.padded(x), inplace_grad=True, **options)


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("classes", [5, 200, 1024, 1025, 3000])
@dtypes
def test_inplace_grad(classes: int, reduction: str, dtype: torch.dtype) -> None:
    """The same gradient, in the memory of the logits."""
    case = random_case(40, 3, classes, 6, seed=3)
    x = case.logits(dtype).requires_grad_()
    loss = ctckit.ctc_loss_with_logits(*case.padded(x), reduction=reduction)
    (expected,) = torch.autograd.grad(loss.sum(), x)
    for view in (Tensor.clone, lambda y: y.transpose(0, 1).contiguous().transpose(0, 1)):
        logits = view(x + 0)
        address = logits.data_ptr()
        actual = overwriting(logits, case, reduction=reduction)
        (slope,) = torch.autograd.grad(actual.sum(), x)
        assert slope.data_ptr() == address
        if classes <= 1024:
            assert torch.equal(actual, loss)
            assert torch.equal(slope, expected)
        else:  # the softmax of a large vocabulary is rounded in another order
            eps = torch.finfo(dtype).eps
            torch.testing.assert_close(actual, loss, rtol=eps, atol=0)
            torch.testing.assert_close(slope, expected, rtol=4 * eps, atol=eps)


@pytest.mark.parametrize("inplace", [False, True])
def test_the_module_hands_inplace_grad_on(inplace: bool) -> None:
    logits = MIXED.logits().requires_grad_() * 1
    before = logits.detach().clone()
    loss = ctckit.CTCWithLogitsLoss(reduction="sum", inplace_grad=inplace)(*MIXED.padded(logits)[:4])
    assert torch.equal(logits.detach(), before) != inplace  # the gradient has overwritten the logits
    (slope,) = torch.autograd.grad(loss, logits)
    assert (slope.data_ptr() == logits.data_ptr()) == inplace


def test_inplace_grad_through_a_layer() -> None:
    torch.manual_seed(1)
    layer, features = torch.nn.Linear(4, 5), torch.randn(9, 5, 4, requires_grad=True)
    wanted = torch.autograd.grad(
        ctckit.ctc_loss_with_logits(*MIXED.padded(layer(features)), zero_infinity=True),
        (features, *layer.parameters()),
    )
    got = torch.autograd.grad(overwriting(layer(features), zero_infinity=True), (features, *layer.parameters()))
    for actual, expected in zip(got, wanted, strict=True):
        torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("name", layouts(torch.zeros(9, 5, 5)))
def test_inplace_grad_in_any_layout(name: str) -> None:
    """Only the logits are written; if their layout does not allow a gradient, it gets other memory."""
    x = MIXED.logits(torch.float32).requires_grad_()
    (expected,) = torch.autograd.grad(ctckit.ctc_loss_with_logits(*MIXED.padded(x), reduction="sum"), x)
    view = layouts(x.detach())[name]
    room = torch.as_strided(view, (view.untyped_storage().nbytes() // 4,), (1,), 0)
    before = room.clone()
    leaf = room.clone().requires_grad_()
    memory = leaf * 1
    overwriting(torch.as_strided(memory, view.shape, view.stride(), view.storage_offset()), reduction="sum").backward()
    assert leaf.grad is not None
    slope = torch.as_strided(leaf.grad, view.shape, view.stride(), view.storage_offset())
    assert torch.equal(slope, expected)
    written = torch.as_strided(torch.zeros_like(room).bool(), view.shape, view.stride(), view.storage_offset())
    written.fill_(value=True)
    outside = ~torch.as_strided(written, room.shape, (1,), 0)
    assert torch.equal(memory[outside].nan_to_num(7), before[outside].nan_to_num(7))


@pytest.mark.parametrize("shape", [(1, 5, 5), (9, 1, 5), (9, 5, 1), (1, 1, 5)])
def test_inplace_grad_of_expanded_logits(shape: tuple[int, ...]) -> None:
    """Frames that share memory cannot be overwritten by their gradients."""
    leaf = torch.randn(shape, requires_grad=True)
    wanted = torch.autograd.grad(
        ctckit.ctc_loss_with_logits(*MIXED.padded((leaf * 1).expand(9, 5, 5)), reduction="sum"), leaf
    )
    got = torch.autograd.grad(overwriting((leaf * 1).expand(9, 5, 5), reduction="sum"), leaf)
    assert torch.equal(got[0], wanted[0])


@pytest.mark.parametrize("strides", [(0, 5, 1), (1, 5, 1), (25, 5, 1), (5, 0, 1), (5, 1, 1), (5, 5, 1)], ids=str)
def test_inplace_grad_of_one_frame_or_item(strides: tuple[int, int, int]) -> None:
    """The stride of a dimension of size 1 does not matter: the gradient can overwrite the logits."""
    items = 5 if strides[1:] == (5, 1) and strides[0] != 5 else 1
    case = Case("", 5 // items, 5, ((1,),) * items, (5 // items,) * items)
    leaf = torch.randn(25, requires_grad=True)
    wanted = ctckit.ctc_loss_with_logits(*case.padded(leaf.reshape(case.frames, items, 5)), reduction="sum")
    (expected,) = torch.autograd.grad(wanted, leaf)
    memory = leaf * 1
    overwriting(memory.as_strided((case.frames, items, 5), strides), case, reduction="sum").backward()
    assert leaf.grad is not None
    assert torch.equal(leaf.grad, expected)
    assert torch.equal(memory.detach(), expected)  # in the memory of the logits


def test_inplace_grad_is_for_one_backward() -> None:
    x = MIXED.logits().requires_grad_()
    loss = overwriting(x * 1, reduction="sum")
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match=r"first backward has used it.*leave inplace_grad out"):
        loss.backward()
    (slope,) = torch.autograd.grad(overwriting(x * 1, reduction="sum"), x, create_graph=True)
    assert not slope.requires_grad  # no second derivative of overwritten logits


def test_inplace_grad_spares_leaves() -> None:
    """A leaf is an error: a parameter, or a view of one."""
    x = MIXED.logits().requires_grad_()
    before = x.detach().clone()
    for logits in (x, x[:], x.transpose(0, 1).transpose(0, 1), torch.nn.Parameter(before.clone())):
        with pytest.raises(ValueError, match=r"leaf tensor.*output of a layer"):
            overwriting(logits)
    assert torch.equal(x, before)


@pytest.mark.parametrize("needs_gradient", [False, True])
@pytest.mark.parametrize("enabled", [False, True])
def test_inplace_grad_without_a_gradient(needs_gradient: bool, enabled: bool) -> None:
    """If no gradient is needed, the logits are not overwritten."""
    x = MIXED.logits().requires_grad_(needs_gradient) * 1
    before = x.detach().clone()
    with torch.set_grad_enabled(enabled):
        loss = overwriting(x)
    assert torch.equal(x.detach(), before) != (needs_gradient and enabled)
    assert loss.requires_grad == (needs_gradient and enabled)


def test_inplace_grad_of_what_others_have_saved() -> None:
    """An operation that has kept the logits for its own backward raises."""
    x = MIXED.logits().requires_grad_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        overwriting(x.exp(), reduction="sum").backward()  # exp keeps its result
    logits = x * 1
    other = logits.square().sum()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        (overwriting(logits, reduction="sum") + other).backward()


@pytest.mark.parametrize("view", ["itself", "a slice", "transposed"])
def test_a_leaf_is_not_written_over(view: str) -> None:
    """A leaf that requires a gradient is an error; other leaves are not."""
    leaf = torch.randn(MIXED.frames, MIXED.items, MIXED.classes, requires_grad=True)
    seen = {"itself": leaf, "a slice": leaf[:], "transposed": leaf.transpose(0, 1).transpose(0, 1)}[view]
    with pytest.raises(ctckit.ArgumentValueError, match="would write the gradient over a leaf tensor"):
        overwriting(seen)
    with torch.no_grad():
        assert overwriting(seen, zero_infinity=True).isfinite()
    assert overwriting(leaf.detach(), zero_infinity=True).isfinite()
    assert overwriting(leaf * 1, zero_infinity=True).isfinite()
