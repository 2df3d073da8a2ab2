"""Label priors: their definition, the running estimate, and the true gradient through the loss."""

from __future__ import annotations

import math
import pickle
from typing import Any

import pytest
import torch

import ctckit
from ctckit import LabelPriors, label_priors
from ctckit.alignment.priors import FLOOR
from tests.tools.aligned import align_one


def log_probs(frames: int = 7, items: int = 3, classes: int = 5, *, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    x = 2 * torch.randn(frames, items, classes, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return x.log_softmax(2).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_the_definition(dtype: torch.dtype) -> None:
    """The definition: the mean over all frames within the lengths, of every item."""
    x, lengths = log_probs(dtype=dtype), [7, 2, 0]
    rows = [math.exp(x[t, n, c]) for c in range(5) for n in range(3) for t in range(lengths[n])]
    sums = [sum(rows[9 * c : 9 * c + 9]) / 9 for c in range(5)]
    found = label_priors(x, lengths)
    assert found.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    tolerance = {torch.float16: 1e-3, torch.bfloat16: 1e-2, torch.float32: 1e-6, torch.float64: 1e-12}[dtype]
    torch.testing.assert_close(found.exp().double(), torch.tensor(sums, dtype=torch.float64), rtol=0, atol=tolerance)


def test_forms() -> None:
    x = log_probs()
    expected = label_priors(x)
    assert float(expected.exp().sum()) == pytest.approx(1)
    torch.testing.assert_close(label_priors(x.transpose(0, 1), batch_first=True), expected)
    torch.testing.assert_close(label_priors(x + 5, logits=True), expected)
    torch.testing.assert_close(label_priors(x.flatten(0, 1)), expected)
    torch.testing.assert_close(label_priors(x, torch.tensor([7, 7, 7])), expected)
    assert not label_priors(x.requires_grad_()).requires_grad
    x = log_probs()
    x[3:, 1] = torch.nan  # beyond the length: ignored
    assert label_priors(x, [7, 3, 7]).isfinite().all()
    assert label_priors(torch.zeros(0, 3)).isnan().all()
    never = torch.tensor([[0.0, -torch.inf]])
    assert label_priors(never).tolist() == [0.0, -torch.inf]


def test_the_module_subtracts() -> None:
    x = log_probs()
    priors = LabelPriors(5, weight=0.3)
    assert torch.equal(priors.eval()(x), x - 0.3 * torch.tensor(0.2).log())  # before any batch: all equal
    result = priors.train()(x)
    torch.testing.assert_close(result, x - 0.3 * label_priors(x).float())
    torch.testing.assert_close(priors.log_priors, label_priors(x).float())
    assert result.dtype == x.dtype
    assert LabelPriors(5)(x.half()).dtype == torch.float16
    assert torch.equal(LabelPriors(5, weight=0.0)(x), x)
    assert "weight=0.3" in repr(priors)


def test_the_estimate_runs() -> None:
    """Batches are weighted by their frames, older ones less; evaluation and a batch with a NaN change nothing."""
    first, second = log_probs(4), log_probs(9) ** 2
    second = second.log_softmax(2)
    priors = LabelPriors(5, momentum=0.5)
    priors(first)
    priors(second, [9, 1, 0])
    sums = 0.5 * first.exp().sum((0, 1)) + second[:, 0].exp().sum(0) + second[0, 1].exp()
    torch.testing.assert_close(priors.log_priors, (sums / (0.5 * 12 + 10)).log().float())
    before = priors.log_priors
    priors(second * torch.nan)
    priors.eval()(first)
    assert torch.equal(priors.log_priors, before)
    mean = LabelPriors(5, momentum=1.0)
    mean(first)
    mean(second)
    torch.testing.assert_close(mean.log_priors, label_priors(torch.cat((first, second))).float())
    latest = LabelPriors(5, momentum=0.0)
    latest(first)
    latest(second)
    torch.testing.assert_close(latest.log_priors, label_priors(second).float())


def test_it_is_saved_with_the_model() -> None:
    priors = LabelPriors(5)
    priors(log_probs())
    again = LabelPriors(5)
    again.load_state_dict(priors.state_dict())
    assert torch.equal(again.log_priors, priors.log_priors)
    assert torch.equal(pickle.loads(pickle.dumps(priors)).log_priors, priors.log_priors)  # noqa: S301  # the test's own data
    assert list(priors.parameters()) == []


def test_what_is_never_seen_does_not_win() -> None:
    never = torch.tensor([[0.0, -torch.inf, -torch.inf]]).repeat(4, 1)
    priors = LabelPriors(3, weight=1.0)
    assert priors(never)[0].tolist() == [0.0, -torch.inf, -torch.inf]
    assert float(priors(torch.zeros(1, 3))[0, 1]) <= -FLOOR + 1e-6
    found = align_one(torch.zeros(4, 3).log_softmax(1), [1], log_priors=priors.log_priors, prior_weight=1.0)
    assert math.isfinite(found.score)


def test_the_floor() -> None:
    """No prior is below e^-12, or below the given floor, up to a floor of probability 1."""
    never = torch.tensor([[0.0, -torch.inf]])
    for floor, right in ((None, 12.0), (-0.5, 0.5), (0.0, 0.0)):
        priors = LabelPriors(2, weight=1.0) if floor is None else LabelPriors(2, weight=1.0, floor=floor)
        priors(never)
        assert priors.eval()(torch.zeros(1, 2))[0].tolist() == [0.0, right]


def test_one_class() -> None:
    """Only the blank."""
    assert label_priors(torch.zeros(3, 1)).tolist() == label_priors(torch.zeros(3, 2, 1), [3, 1]).tolist() == [0.0]
    assert LabelPriors(1)(torch.zeros(3, 2, 1)).tolist() == torch.zeros(3, 2, 1).tolist()


def test_lengths_that_cannot_be_checked_are_cut() -> None:
    """Under vmap no value may be read."""
    x = log_probs()
    found = torch.func.vmap(lambda x: label_priors(x, torch.tensor([9, -3, 2])))(x[None])
    torch.testing.assert_close(found[0], label_priors(x, [7, 0, 2]))


def test_tensors_without_numbers() -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        found = label_priors(torch.zeros(7, 3, 5), torch.tensor([7, 3, 1]))
        assert (tuple(found.shape), found.dtype) == ((5,), torch.float32)


def test_the_gradient_is_the_true_one() -> None:
    """Through the loss, with the priors as constants, it is exact; torch's loss is not exact for such input."""
    x = log_probs(6, 2, 4).requires_grad_()
    priors = LabelPriors(4, weight=0.3).double()
    priors(x)
    priors.eval()
    targets, lengths, target_lengths = torch.tensor([[1, 2], [3, 3]]), torch.tensor([6, 5]), torch.tensor([2, 2])

    def loss(logits: torch.Tensor) -> torch.Tensor:
        return ctckit.ctc_loss(priors(logits.log_softmax(2), lengths), targets, lengths, target_lengths)

    assert torch.autograd.gradcheck(loss, (x,))


def test_training_with_priors_is_less_peaky() -> None:
    """The same small model with and without priors: with priors its labels last longer."""

    def frames_of_labels(weight: float) -> int:
        torch.manual_seed(0)
        x = torch.eye(4)[torch.tensor([0] * 3 + [1] * 6 + [0] * 3 + [2] * 6 + [0] * 3 + [3] * 6 + [0] * 3)]
        model, priors = torch.nn.Linear(4, 4), LabelPriors(4, weight, momentum=0.0)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
        for _ in range(150):
            scores = priors(model(x).log_softmax(1))
            loss = ctckit.ctc_loss(scores, torch.tensor([1, 2, 3]), 30, 3)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        found = align_one(model(x), [1, 2, 3], logits=True, log_priors=priors.log_priors, prior_weight=weight)
        return sum(len(token) for token in found.tokens)

    assert frames_of_labels(0.3) > frames_of_labels(0.0)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: LabelPriors(0), ValueError, "classes is 0"),
        (lambda: LabelPriors(2.0), TypeError, "classes is 2.0, a float"),  # type: ignore[arg-type]
        (lambda: LabelPriors(2, -1), ValueError, "weight is -1"),
        (lambda: LabelPriors(2, math.nan), ValueError, "weight is nan"),
        (lambda: LabelPriors(2, momentum=1.1), ValueError, "momentum is 1.1"),
        (lambda: LabelPriors(2, floor=1.0), ValueError, "floor is 1.0"),
        (
            lambda: LabelPriors(2)(torch.zeros(3, 4)),
            ValueError,
            r"shape \(3, 4\), but the last dimension must be the 2",
        ),
        (lambda: LabelPriors(2)([[0.0, 0.0]]), TypeError, "log_probs is a list"),
        (lambda: label_priors("x"), TypeError, "log_probs is a str"),  # type: ignore[arg-type]
        (lambda: label_priors(torch.zeros(3, dtype=torch.int64)), TypeError, "dtype torch.int64"),
        (lambda: label_priors(torch.zeros(3)), ValueError, "T, N, C"),
        (lambda: label_priors(torch.zeros(3, 2), [4]), ValueError, r"input_lengths\[0\] is 4, but the input has 3"),
    ],
)
def test_bad_input(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
