"""The items' losses on a GPU: reduced, zeroed and rounded by kernels as the reference does it in torch."""

from __future__ import annotations

import math

import pytest
import torch

from ctckit.backends import LossOptions, reference
from tests.tools import cases
from tests.tools.triton_setup import DEVICE, MARKS, forward_backward_kernels, gpu, problem

pytestmark = MARKS

# Several paths; infeasible; no label; infeasible; one path.
CASE = cases.Case("mixed", 6, 4, ((1, 2), (3, 3, 3, 3), (), (2, 2, 2), (1, 2, 3)), (6, 6, 4, 3, 3))


@pytest.mark.parametrize("gradient", [True, False], ids=["gradient", "loss alone"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize("zero_infinity", [True, False])
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_reductions_are_the_reference_s(
    reduction: str, zero_infinity: bool, dtype: torch.dtype, gradient: bool
) -> None:
    for invalid in (False, True):
        x, lattice = problem(CASE.padded(CASE.logits(dtype)))
        if invalid:
            lattice.labels[0, 0] = 17
        options = LossOptions.of(dtype, logits=True, reduction=reduction, zero_infinity=zero_infinity)
        loss = gpu.loss(x, lattice, options, torch.empty_like(x) if gradient else None).cpu()
        assert loss.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
        if invalid:
            assert loss.isnan().sum() == 1
            assert reduction != "none" or loss[0].isnan()
            continue
        right = reference.loss(
            x.cpu().double(),
            lattice.cpu(),
            LossOptions.of(torch.float64, logits=True, reduction=reduction, zero_infinity=zero_infinity),
            None,
        )
        torch.testing.assert_close(loss.double(), right, rtol=1e-14 if dtype == torch.float64 else 1e-6, atol=0)
        assert loss.isinf().any() != zero_infinity


@pytest.mark.parametrize("items", [1, 3, 1024, 2500])
def test_losses_are_added_in_float64(items: int) -> None:
    """2,500 items take three steps of the loop. 3e7 and its like cancel, which float32 would not get right."""
    losses = torch.rand(items, dtype=torch.float64, generator=torch.Generator().manual_seed(items)) * 10
    losses[: items // 2] += 3e7
    losses[items // 2 : items // 2 * 2] -= 3e7
    losses, result = losses.to(DEVICE), torch.full((2,), 77.0, dtype=torch.float64, device=DEVICE)
    forward_backward_kernels.add_losses[(1,)](losses, result, items, 3, LOSSES_PER_STEP=gpu.LOSSES_PER_STEP)
    right = math.fsum(losses.tolist()) / 3
    assert float(result[0]) == pytest.approx(right, rel=1e-7)
    assert float(result[1]) == 77
