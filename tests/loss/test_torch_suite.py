"""PyTorch's tests of its CTC loss, as tests of ctckit's.

After the CTCLoss tests of `test_nn.py` and `test_torch.py`: checks of lengths and types, long and critical targets,
empty targets and inputs, `zero_infinity`, unbatched input, and agreement with a plain implementation. If we differ
on purpose (docs/semantics.md), the test says so.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

import ctckit

pytestmark = pytest.mark.usefixtures("backend")


def forward_sum(log_probs: Tensor, target: list[int], blank: int = 0) -> Tensor:
    """The loss of one item (T, C) by the recursion over states in float64, as in torch's own tests."""
    states = [blank, *(c for label in target for c in (label, blank))]
    alpha = log_probs.new_full((len(states),), -torch.inf)
    alpha[: min(2, len(states))] = log_probs[0, states[:2]]
    for row in log_probs[1:]:
        terms = [alpha, torch.cat((alpha.new_full((1,), -torch.inf), alpha[:-1]))]
        skip = torch.cat((alpha.new_full((2,), -torch.inf), alpha))[: len(states)].clone()
        for s in range(len(states)):
            if s < 2 or states[s] in (blank, states[s - 2]):
                skip[s] = -torch.inf
        alpha = torch.logsumexp(torch.stack([*terms, skip]), 0) + row[states]
    return -torch.logsumexp(alpha[-2:], 0)


@pytest.mark.parametrize("which", ["input_lengths", "target_lengths"])
def test_float_lengths_are_refused(which: str) -> None:
    lengths: dict[str, Any] = {
        "input_lengths": torch.tensor([50, 50, 50]),
        "target_lengths": torch.tensor([30, 25, 20]),
    }
    lengths[which] = lengths[which].float()
    x = torch.randn(50, 3, 15).log_softmax(2)
    targets = torch.randint(1, 15, (75,))
    with pytest.raises(TypeError, match=which):
        ctckit.ctc_loss(x, targets, **lengths)


@pytest.mark.parametrize("padded", [True, False])
def test_lengths_are_checked(padded: bool) -> None:
    """A target longer than the table, one with a label too many, an input longer than the emissions; negatives."""
    x = torch.randn(50, 3, 15).log_softmax(2)
    targets = torch.randint(1, 15, (3, 29) if padded else (74,))
    with pytest.raises(ValueError, match=r"target_lengths|targets"):
        ctckit.ctc_loss(x, targets, (50, 50, 50), (30, 25, 20))
    good = (29, 25, 20)
    with pytest.raises(ValueError, match=r"input_lengths\[1\]"):
        ctckit.ctc_loss(x, targets, (50, 51, 50), good)
    with pytest.raises(ValueError, match=r"input_lengths\[2\]"):
        ctckit.ctc_loss(x, targets, (50, 50, -1), good)
    with pytest.raises(ValueError, match=r"target_lengths\[0\]"):
        ctckit.ctc_loss(x, targets, (50, 50, 50), (-1, 25, 20))


def test_long_targets() -> None:
    """4,000 frames, 1,200 labels of two classes: float32 within rounding of float64."""
    if ctckit.backends.name_for(torch.device("cpu")) == "reference":
        pytest.skip("minutes in plain torch")
    x = torch.randn(4000, 4, 3, dtype=torch.float64)
    targets = torch.randint(1, 3, (4, 1200))
    results = []
    for dtype in (torch.float64, torch.float32):
        leaf = x.to(dtype).detach().clone().requires_grad_()
        losses = ctckit.ctc_loss(leaf.log_softmax(2), targets, (4000,) * 4, (1200,) * 4, reduction="none")
        losses.sum().backward()
        assert leaf.grad is not None
        results.append((losses.detach().double(), leaf.grad.double()))
    (loss_64, slope_64), (loss_32, slope_32) = results
    torch.testing.assert_close(loss_32, loss_64, rtol=1e-6, atol=0)
    assert (slope_32 - slope_64).norm() <= 2e-6 * slope_64.norm()


@pytest.mark.parametrize("labels", [255, 256, 257])
def test_critical_target_lengths(labels: int) -> None:
    """Around cuDNN's limit of 256."""
    torch.manual_seed(1)
    x = torch.randn(1, 600, 10, dtype=torch.float64).transpose(0, 1).log_softmax(2)
    targets = torch.randint(1, 10, (1, labels))
    loss = ctckit.ctc_loss(x, targets, (600,), (labels,), reduction="sum")
    torch.testing.assert_close(loss, forward_sum(x[:, 0], targets[0].tolist()))


def test_zero_infinity() -> None:
    """An infeasible item has loss and gradient 0; the others are as without it."""
    target_lengths, input_lengths = [60, 25, 20], [50, 50, 50]
    targets = torch.randint(1, 15, (sum(target_lengths),), dtype=torch.int32)
    x = torch.randn(50, 3, 15).log_softmax(2)

    def losses(x: Tensor, **options: Any) -> tuple[Tensor, Tensor]:
        leaf = x.clone().requires_grad_()
        result = ctckit.ctc_loss(leaf, targets, input_lengths, target_lengths, reduction="none", **options)
        result.sum().backward()
        assert leaf.grad is not None
        return result.detach(), leaf.grad

    plain, slope = losses(x)
    assert plain.isinf().tolist() == [True, False, False]
    zeroed, zeroed_slope = losses(x, zero_infinity=True)
    assert zeroed[0] == 0
    assert torch.equal(zeroed[1:], plain[1:])
    # torch's gradient without zero_infinity is NaN here; ours is 0 either way.
    assert torch.equal(zeroed_slope, slope)
    assert slope[:, 0].count_nonzero() == 0
    assert not slope.isnan().any()
    total = ctckit.ctc_loss(x, targets, input_lengths, target_lengths, reduction="sum", zero_infinity=True)
    torch.testing.assert_close(total, zeroed.sum())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_empty_inputs_and_targets(dtype: torch.dtype) -> None:
    """Without frames an empty target has probability 1, and a label has probability 0."""
    x = torch.randn(1, 3, 200, dtype=dtype).requires_grad_()
    targets = torch.randint(1, 200, (3, 2))
    nothing = ctckit.ctc_loss(x.log_softmax(2), targets, (0, 0, 0), (0, 0, 0), reduction="none")
    assert torch.equal(nothing, torch.zeros(3, dtype=dtype))
    (slope,) = torch.autograd.grad(nothing.sum(), x)
    assert slope.count_nonzero() == 0

    impossible = ctckit.ctc_loss(x.log_softmax(2), targets, (0, 0, 0), (2, 2, 2), reduction="none")
    assert impossible.isinf().all()
    (slope,) = torch.autograd.grad(impossible.sum(), x)
    assert slope.count_nonzero() == 0

    blanks = ctckit.ctc_loss(x.log_softmax(2), targets, (1, 1, 1), (0, 0, 0), reduction="none")
    torch.testing.assert_close(blanks, -x.log_softmax(2)[0, :, 0])


def test_a_batch_of_nothing() -> None:
    """torch raises; ours is empty, so that a filtered batch needs no special case."""
    loss = ctckit.ctc_loss(torch.rand(0, 0, 4), torch.empty(0, dtype=torch.int64), [], [], reduction="none")
    assert loss.shape == (0,)


@pytest.mark.parametrize("empty", ["no target", "one target", "all targets"])
@pytest.mark.parametrize("lengths", ["fixed", "varying"])
def test_against_the_plain_recursion(lengths: str, empty: str) -> None:
    """Value and gradcheck after log_softmax, with empty targets among the others."""
    torch.manual_seed(3)
    frames, items, classes, longest = 9, 4, 6, 3
    x = torch.randn(frames, items, classes, dtype=torch.float64, requires_grad=True)
    input_lengths = [frames] * items if lengths == "fixed" else [9, 7, 8, 6]
    target_lengths = [3, 2, 3, 1]
    if empty == "one target":
        target_lengths[1] = 0
    if empty == "all targets":
        target_lengths = [0] * items
    targets = torch.randint(1, classes, (items, longest))

    def loss(x: Tensor) -> Tensor:
        return ctckit.ctc_loss(x.log_softmax(2), targets, input_lengths, target_lengths, reduction="none")

    expected = [
        forward_sum(x.detach().log_softmax(2)[:t, n], targets[n, :s].tolist())
        for n, (t, s) in enumerate(zip(input_lengths, target_lengths, strict=True))
    ]
    torch.testing.assert_close(loss(x).detach(), torch.stack(expected))
    assert gradcheck(loss, (x,))


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_without_a_batch(reduction: str) -> None:
    x = torch.randn(30, 1, 10).log_softmax(2)
    targets = torch.randint(1, 10, (1, 8))
    batched = ctckit.ctc_loss(x, targets, torch.tensor([30]), torch.tensor([8]), reduction=reduction)
    alone = ctckit.ctc_loss(x[:, 0], targets[0], torch.tensor(30), torch.tensor(8), reduction=reduction)
    assert alone.shape == ()
    assert torch.equal(alone, batched.reshape(()))


def test_lengths_as_lists_and_tensors_agree_bitwise() -> None:
    x = torch.randn(40, 3, 12).log_softmax(2)
    targets = torch.randint(1, 12, (40,))
    lists = ctckit.ctc_loss(x, targets, [40, 30, 20], [20, 12, 8])
    tensors = ctckit.ctc_loss(x, targets, torch.tensor([40, 30, 20]), torch.tensor([20, 12, 8]))
    narrow = ctckit.ctc_loss(x, targets.int(), torch.tensor([40, 30, 20]).int(), torch.tensor([20, 12, 8]).int())
    assert torch.equal(lists, tensors)
    assert torch.equal(lists, narrow)
