"""The derivatives of the reference, of every kind, against each other and the oracle."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad, gradcheck, gradgradcheck

from ctckit import reference
from ctckit.lattice import gate
from tests.reference.functions import EXACT, MIXED, gradient, loss_of, posteriors_of
from tests.tools import oracle
from tests.tools.cases import Case, masked


@pytest.mark.parametrize("logits", [False, True])
@pytest.mark.parametrize("with_zeros", [False, True])
def test_gradcheck(logits: bool, with_zeros: bool) -> None:
    """The derivative is that of the function, in both directions, and so is the derivative's."""
    case = Case("", 5, 3, ((1, 2), (2, 2), ()), (5, 4, 3))
    x = case.logits()
    x = (masked(x, share=0.2) if with_zeros else x).requires_grad_()
    function = loss_of(case, logits=logits)
    finite = function(x).isfinite()
    assert finite.sum() >= 2

    def losses(x: Tensor) -> Tensor:
        return function(x)[finite]

    assert gradcheck(losses, (x,), check_forward_ad=True)
    assert gradgradcheck(losses, (x,), check_fwd_over_rev=True)


@pytest.mark.parametrize("logits", [False, True])
def test_jvp_is_the_finite_difference(logits: bool) -> None:
    x, direction = MIXED.logits(), MIXED.logits(seed=1)
    function = loss_of(MIXED, logits=logits)
    losses, slope = torch.func.jvp(function, (x,), (direction,))[:2]
    step = 1e-6
    difference = (function(x + step * direction) - function(x - step * direction)) / (2 * step)
    finite = losses.isfinite()
    assert finite.tolist() == MIXED.feasible
    torch.testing.assert_close(slope[finite], difference[finite], rtol=0, atol=1e-8)
    assert slope[~finite].count_nonzero() == 0
    with forward_ad.dual_level():
        dual = forward_ad.unpack_dual(function(forward_ad.make_dual(x, direction)))
        assert torch.equal(dual.tangent, slope)
    _, slopes = gradient(function, x)
    torch.testing.assert_close((slopes * direction).sum((0, 2)), slope, rtol=0, atol=EXACT)


def test_second_derivatives_against_the_oracle() -> None:
    case = Case("", 4, 3, ((1, 2), (1, 1), (), (2, 2, 1)), (4, 4, 4, 4))
    x = masked(case.logits(), share=0.1, seed=1)
    for item, target in enumerate(case.targets):
        one = Case("", 4, 3, (target,), (4,))
        exact = oracle.hessian(oracle.weights(x[:, item].tolist()), 3, target, 0)
        function = loss_of(one, logits=False)
        second = torch.func.hessian(lambda x, f=function: f(x[:, None]).sum())(x[:, item])
        oracle.assert_table(second, exact, tolerance=EXACT, what="hessian")


def test_torch_func() -> None:
    x, targets, frames, lengths, blank = MIXED.padded(MIXED.logits())

    def one(x: Tensor, targets: Tensor, frames: Tensor, lengths: Tensor) -> Tensor:
        """The loss of one item, unbatched, as `vmap` hands it over."""
        x, lattice, _ = gate(x, targets[None], frames, lengths, blank)
        return reference.ctc(x, lattice, logits=True)[0]

    losses, slope = gradient(loss_of(MIXED, logits=True), x)
    mapped = torch.vmap(one, in_dims=(1, 0, 0, 0))(x, targets, frames, lengths)
    assert torch.equal(mapped, losses)
    each = torch.vmap(torch.func.grad(one), in_dims=(1, 0, 0, 0), out_dims=1)(x, targets, frames, lengths)
    torch.testing.assert_close(each, slope, rtol=0, atol=EXACT)
    # Over the emissions only, with concatenated targets.
    several = torch.stack((x, 2 * x))
    twice = torch.vmap(loss_of(MIXED, logits=True, form="concatenated"))(several)
    torch.testing.assert_close(twice[0], losses, rtol=0, atol=EXACT)

    function = loss_of(MIXED, logits=True)
    forward, reverse = torch.func.jacfwd(function)(x), torch.func.jacrev(function)(x)
    torch.testing.assert_close(forward, reverse, rtol=0, atol=EXACT)
    torch.testing.assert_close(reverse.sum(0), slope, rtol=0, atol=EXACT)
    assert torch.func.hessian(function)(masked(x, share=0.1)).isfinite().all()


def test_posteriors_are_differentiable() -> None:
    case = Case("", 4, 3, ((1, 2), (1, 1, 1)), (4, 3))

    def function(x: Tensor) -> tuple[Tensor, ...]:
        return posteriors_of(case, x, logits=True)

    assert gradcheck(function, (case.logits().requires_grad_(),), check_forward_ad=True)


@pytest.mark.parametrize(
    ("form", "logits"), [("padded", False), ("concatenated", True), ("no target lengths", True), ("sequences", True)]
)
def test_compiles(form: str, logits: bool) -> None:
    torch._dynamo.reset()
    case = Case("", 2, 4, ((1,), (3, 3, 1), (), (2, 1)), (2, 2, 1, 2))
    function = loss_of(case, logits=logits, form=form)
    expected, expected_slope = gradient(function, case.logits())
    losses, slope = gradient(torch.compile(function, fullgraph=True, backend="aot_eager"), case.logits())
    torch.testing.assert_close(losses, expected, rtol=0, atol=EXACT)
    torch.testing.assert_close(slope, expected_slope, rtol=0, atol=EXACT)
