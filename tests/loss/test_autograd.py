"""The loss as an operator of torch: derivatives of every order, in eager mode, compiled, exported and under vmap."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad, gradcheck, gradgradcheck

import ctckit
from ctckit.lattice import gate
from tests.tools.cases import EDGE_CASES, FORMS, Case
from tests.tools.exact_answers import exact, run

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.usefixtures("core")

CASE = Case("mixed", 6, 4, ((1, 2), (3, 3, 1), (), (2, 2, 2, 2), (1,)), (6, 5, 4, 6, 2))
"""Several paths, repeats, no label, infeasible, unequal lengths: small enough for second derivatives."""

logits_or_not = pytest.mark.parametrize("logits", [False, True], ids=["log_probs", "logits"])
reductions = pytest.mark.parametrize("reduction", ["none", "sum", "mean"])


def loss_of(case: Case, *, logits: bool, form: str = "padded", **options: Any) -> Callable[[Tensor], Tensor]:
    """The public function, with the emissions as its only argument."""
    _, *others = FORMS[form](case.padded(case.logits()), case)
    function = ctckit.ctc_loss_with_logits if logits else ctckit.ctc_loss

    def loss(x: Tensor) -> Tensor:
        return function(x, *others, **options)

    return loss


def gradient(function: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """The values, and the gradient of the sum of the finite ones."""
    x = x.detach().requires_grad_()
    values = function(x)
    (slope,) = torch.autograd.grad(values[values.isfinite()].sum(), x)
    return values.detach(), slope


# -------------------------------------------------------------------------------------------------------- derivatives


@logits_or_not
@reductions
def test_gradcheck(reduction: str, logits: bool) -> None:
    """The gradient is the derivative, also for log-probabilities that are not normalised."""
    function = loss_of(CASE, logits=logits, reduction=reduction, zero_infinity=True)
    x = CASE.logits().requires_grad_()
    assert gradcheck(function, (x,), check_forward_ad=True)
    assert gradgradcheck(function, (x,), check_fwd_over_rev=True)


@logits_or_not
def test_first_derivatives_of_both_kinds_agree(logits: bool) -> None:
    """The kept derivative, the differentiable one, and forward mode."""
    function = loss_of(CASE, logits=logits, reduction="sum", zero_infinity=True)
    x = CASE.logits().requires_grad_()
    (kept,) = torch.autograd.grad(function(x), x)
    (again,) = torch.autograd.grad(function(x), x, create_graph=True)
    assert again.requires_grad
    torch.testing.assert_close(again.detach(), kept, rtol=0, atol=1e-13)
    direction = torch.randn_like(x)
    with forward_ad.dual_level():
        dual = function(forward_ad.make_dual(x.detach(), direction))
        slope = forward_ad.unpack_dual(dual).tangent
    torch.testing.assert_close(slope, (kept * direction).sum(), rtol=1e-12, atol=1e-12)


@logits_or_not
def test_torch_func(logits: bool) -> None:
    """Functional gradients, per-sample gradients by vmap, and a Hessian."""
    x, targets, frames, lengths, _ = CASE.padded(CASE.logits())
    function = ctckit.ctc_loss_with_logits if logits else ctckit.ctc_loss

    def one(x: Tensor, target: Tensor, frames: Tensor, length: Tensor) -> Tensor:
        # A row of padded targets: in one dimension their number would have to equal the length.
        return function(x, target[None], frames, length, reduction="sum", zero_infinity=True)

    losses, slope = run(CASE.padded(x), logits=logits)
    mapped = torch.vmap(one, in_dims=(1, 0, 0, 0))(x, targets, frames, lengths)
    torch.testing.assert_close(mapped, torch.where(losses.isinf(), 0.0, losses))
    each = torch.vmap(torch.func.grad(one), in_dims=(1, 0, 0, 0), out_dims=1)(x, targets, frames, lengths)
    torch.testing.assert_close(each, slope, rtol=0, atol=1e-13)

    item = x[:, 0]
    hessian = torch.func.hessian(lambda y: one(y, targets[0], frames[0], lengths[0]))(item)
    assert hessian.isfinite().all()
    torch.testing.assert_close(hessian, hessian.permute(2, 3, 0, 1), rtol=0, atol=1e-12)


def test_a_model_can_be_trained_twice_through() -> None:
    """A penalty on the gradient, as in adversarial or meta training."""
    torch.manual_seed(1)
    layer = torch.nn.Linear(3, CASE.classes, dtype=torch.float64)
    features = torch.randn(CASE.frames, CASE.items, 3, dtype=torch.float64, requires_grad=True)
    loss = loss_of(CASE, logits=True, zero_infinity=True)(layer(features))
    (slope,) = torch.autograd.grad(loss, features, create_graph=True)
    slope.square().sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.isfinite().all()
    assert layer.weight.grad.count_nonzero()


# --------------------------------------------------------------------------------------------------------- the operator


# torch's own check reads the gradient of a non-leaf tensor, and torch 2.14 warns of that.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
@logits_or_not
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("form", ["padded", "concatenated"])
def test_opcheck(form: str, dtype: torch.dtype, logits: bool) -> None:
    """Schema, registration to autograd, fake tensors and compiled use, by torch's own check of operators."""
    arguments = FORMS[form](CASE.padded(CASE.logits(dtype)), CASE)
    for emissions in (arguments.emissions, arguments.emissions.clone().requires_grad_()):
        for reduction in ("none", "mean"):
            x, lattice, _ = gate(emissions, *arguments[1:])
            options = logits, reduction, True, False
            torch.library.opcheck(torch.ops.ctckit.loss.default, (x, *lattice, *options))


@pytest.mark.parametrize("form", ["padded", "concatenated"])
def test_the_operator_in_a_saved_trace(form: str) -> None:
    """max_target = -1 stands for the width of the labels; the gradient output is not differentiable."""
    arguments = FORMS[form](CASE.padded(CASE.logits().requires_grad_()), CASE)
    x, lattice, _ = gate(*arguments)
    for reduction in ("none", "sum", "mean"):
        expected = torch.ops.ctckit.loss(x, *lattice, False, reduction, True, True)
        found = torch.ops.ctckit.loss(x, *lattice._replace(max_target=-1), False, reduction, True, True)
        assert [output.requires_grad for output in found] == [True, False]
        for got, want in zip(found, expected, strict=True):
            assert torch.equal(got, want)


@pytest.mark.parametrize("needs_gradient", [False, True])
@pytest.mark.parametrize("enabled", [False, True])
def test_the_operator_gives_a_derivative_where_one_is_needed(needs_gradient: bool, enabled: bool) -> None:
    x, lattice, _ = gate(*CASE.padded(CASE.logits().requires_grad_(needs_gradient)))
    with torch.set_grad_enabled(enabled):
        loss, derivative = torch.ops.ctckit.loss(x, *lattice, False, "sum", True, False)
    assert loss.requires_grad == (needs_gradient and enabled)
    assert derivative.shape == (x.shape if needs_gradient and enabled else (0,))


# ------------------------------------------------------------------------------------------------- traced and exported


@logits_or_not
@reductions
@pytest.mark.parametrize("form", FORMS)
def test_compiles_without_a_break(form: str, reduction: str, logits: bool) -> None:
    torch._dynamo.reset()
    function = loss_of(CASE, logits=logits, form=form, reduction=reduction, zero_infinity=True)
    expected = gradient(function, CASE.logits(torch.float32))
    actual = gradient(torch.compile(function, fullgraph=True, backend="aot_eager"), CASE.logits(torch.float32))
    for a, b in zip(actual, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)


def test_compiles_with_a_model_and_any_sizes() -> None:
    """A training step, loss and model in one graph, which works for other sizes without recompiling."""
    torch._dynamo.reset()
    layer = torch.nn.Linear(6, 5)  # sizes differ, because torch would take equal ones for the same symbol
    criterion = ctckit.CTCWithLogitsLoss()

    def step(features: Tensor, targets: Tensor, frames: Tensor, lengths: Tensor) -> Tensor:
        loss: Tensor = criterion(layer(features), targets, frames, lengths)
        return loss

    compiled = torch.compile(step, fullgraph=True, backend="aot_eager", dynamic=True)
    for frames, items, labels in ((7, 3, 2), (9, 4, 3), (12, 5, 4)):
        arguments = (
            torch.randn(frames, items, 6),
            torch.randint(1, 5, (items, labels)),
            torch.full((items,), frames),
            torch.full((items,), labels),
        )
        with torch._dynamo.config.patch(error_on_recompile=frames > 7):
            layer.zero_grad()
            loss = compiled(*arguments)
            loss.backward()
        assert layer.weight.grad is not None
        traced = layer.weight.grad.clone()
        layer.zero_grad()
        step(*arguments).backward()
        torch.testing.assert_close(traced, layer.weight.grad)


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("form", ["padded", "concatenated", "no target lengths", "sequences"])
def test_exports(form: str, strict: bool) -> None:
    class Module(torch.nn.Module):
        def forward(self, *arguments: Any) -> Tensor:
            return ctckit.CTCWithLogitsLoss(reduction="none")(*arguments)  # type: ignore[no-any-return]

    arguments = tuple(FORMS[form](CASE.padded(CASE.logits(torch.float32)), CASE)[:4])
    exported = torch.export.export(Module(), arguments, strict=strict)
    assert any("ctckit.loss" in str(node.target) for node in exported.graph.nodes)
    torch.testing.assert_close(exported.module()(*arguments), Module()(*arguments))


# ------------------------------------------------------------------------------------------------------------- autocast


@logits_or_not
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast(dtype: torch.dtype, logits: bool) -> None:
    """The output of a layer in half precision is read without a copy, and the loss computed in float32."""
    x = CASE.logits(torch.float32)
    function = loss_of(CASE, logits=logits, reduction="none")
    layer = torch.nn.Linear(CASE.classes, CASE.classes)
    with torch.autocast("cpu", dtype=dtype):
        emissions = layer(x)
        assert emissions.dtype == dtype
        loss = function(emissions)
    assert loss.dtype == torch.float32
    judge = exact(CASE.padded(emissions.detach()), logits=logits)
    torch.testing.assert_close(loss.double(), judge.losses, rtol=2e-6, atol=1e-6)
    loss[loss.isfinite()].sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.dtype == torch.float32


@logits_or_not
@pytest.mark.parametrize("case", EDGE_CASES, ids=str)
def test_traced_edges_are_those_of_eager_calls(case: Case, logits: bool) -> None:
    torch._dynamo.reset()
    expected = run(case.padded(case.logits()), logits=logits)
    x = case.logits().requires_grad_()
    function = loss_of(case, logits=logits, reduction="none")
    losses = torch.compile(function, fullgraph=True, backend="aot_eager")(x)
    (slope,) = torch.autograd.grad(losses.sum(), x)
    assert torch.equal(losses, expected.losses)
    torch.testing.assert_close(slope, expected.gradient, rtol=0, atol=1e-13)
