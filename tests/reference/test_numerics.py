"""The reference on frames that are not read, NaN, infinity, other dtypes, and long or extreme inputs."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from ctckit import reference
from ctckit.lattice import gate
from tests.reference.functions import EXACT, MIXED, gradient, loss_of, posteriors_of
from tests.tools.cases import Case, peaky, random_case, trained

# ----------------------------------------------------------------------------------------- what must not touch anything


@pytest.mark.parametrize("logits", [False, True])
@pytest.mark.parametrize("garbage", [torch.nan, torch.inf, -torch.inf])
def test_frames_beyond_the_length_are_never_read(garbage: float, logits: bool) -> None:
    x = MIXED.logits()
    spoiled = x.clone()
    beyond = torch.arange(MIXED.frames)[:, None] >= torch.tensor(MIXED.input_lengths)
    spoiled[beyond] = garbage
    function = loss_of(MIXED, logits=logits)
    for a, b in zip(gradient(function, spoiled), gradient(function, x), strict=True):
        assert torch.equal(a, b)
    for a, b in zip(posteriors_of(MIXED, spoiled, logits=logits), posteriors_of(MIXED, x, logits=logits), strict=True):
        assert torch.equal(a, b)
    _, slope = gradient(function, spoiled)
    assert slope[beyond].count_nonzero() == 0

    def norm_of_gradient(x: Tensor) -> Tensor:
        (slope,) = torch.autograd.grad(function(x).sum(), x, create_graph=True)
        return slope.square().sum()

    _, curvature = gradient(lambda x: norm_of_gradient(x.clone()), spoiled)
    assert curvature.isfinite().all()
    assert curvature[beyond].count_nonzero() == 0


@pytest.mark.parametrize("logits", [False, True])
@pytest.mark.parametrize("frame", [0, 3, 4])
@pytest.mark.parametrize("label", [0, 1, 3])
def test_nan_stays_in_its_item(label: int, frame: int, logits: bool) -> None:
    """In whatever frame, even where no path could meet it: item 1 is 3 3 1 in 5 frames."""
    x = MIXED.logits()
    function = loss_of(MIXED, logits=logits)
    expected, expected_slope = gradient(function, x)
    x[frame, 1, label] = torch.nan
    losses, slope = gradient(function, x)
    by_class, by_state = posteriors_of(MIXED, x, logits=logits)
    assert losses[1].isnan()
    assert slope[:5, 1].isnan().any(1).all()
    assert by_state[:5, 1].isnan().all()
    assert by_class[:5, 1, [0, 1, 3]].isnan().all()
    others = [0, 2, 3, 4]
    assert torch.equal(losses[others], expected[others])
    assert torch.equal(slope[:, others], expected_slope[:, others])
    assert by_class[:, others].isfinite().all()
    assert by_state[:, others].isfinite().all()
    assert slope[5:, 1].count_nonzero() == 0


@pytest.mark.parametrize("frame", range(4))
@pytest.mark.parametrize("label", range(4))
def test_infinity_counts_wherever_it_is(label: int, frame: int) -> None:
    """Also where no path could meet it; but of log-probabilities only those of the blank and the labels."""
    case = Case("", 4, 4, ((1, 2), (1, 2)), (4, 4))
    x = case.logits()
    x[frame, 1, label] = torch.inf
    losses, slope = gradient(loss_of(case, logits=False), x)
    by_class, by_state = posteriors_of(case, x, logits=False)
    assert losses.isnan().tolist() == [False, label < 3]
    for table in (slope, by_class, by_state):
        assert table[:, 1].isnan().all() if label < 3 else table[:, 1].isfinite().all()
        assert table[:, 0].isfinite().all()


def test_invalid_items_are_nan_where_nobody_may_look() -> None:
    """As on a GPU: not validated, nothing read out of bounds, and no other item touched."""
    case = Case("", 5, 4, ((1, 2), (1, 9), (1, 0), (-3,), (2,), (3,), (1, 2)), (5, 5, 5, 5, 6, -1, 5))
    x, targets, frames, lengths, blank = case.padded(case.logits())
    lengths[6] = 3
    seen, lattice, _ = gate(x.requires_grad_(), targets, frames, lengths, blank)
    losses = reference.ctc(seen, lattice, logits=True)
    assert losses.isnan().tolist() == [False, True, True, True, True, True, True]
    (slope,) = torch.autograd.grad(losses.sum(), x)
    assert slope[:, 1:].count_nonzero() == 0
    assert slope[:, 0].count_nonzero() == 5 * 4
    alone = Case("", 5, 4, ((1, 2),), (5,))
    assert torch.equal(losses[:1], loss_of(alone, logits=True)(x[:, :1]))
    by_class, by_state = reference.posteriors(seen, lattice, logits=True)
    assert by_state[:5, 1:5].isnan().all()
    assert by_class[:, 0].isfinite().all()


# -------------------------------------------------------------------------------------- dtypes, long and extreme inputs


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_halves_are_computed_in_float32(dtype: torch.dtype) -> None:
    x = MIXED.logits(dtype)
    losses, slope = gradient(loss_of(MIXED, logits=True), x)
    expected, expected_slope = gradient(loss_of(MIXED, logits=True), x.float())
    assert losses.dtype == torch.float32
    assert slope.dtype == dtype
    assert torch.equal(losses, expected)
    assert torch.equal(slope, expected_slope.to(dtype))
    assert {table.dtype for table in posteriors_of(MIXED, x, logits=True)} == {torch.float32}


def test_float32_stays_float32() -> None:
    """Also where the default dtype is another."""
    before = torch.get_default_dtype()
    x = MIXED.logits(torch.float32)
    try:
        for default in (torch.float32, torch.float64):
            torch.set_default_dtype(default)
            assert loss_of(MIXED, logits=True)(x).dtype == torch.float32
            assert posteriors_of(MIXED, x, logits=True)[1].dtype == torch.float32
    finally:
        torch.set_default_dtype(before)


def test_long_input_against_torch() -> None:
    """Both in float64 and after log_softmax, where torch's gradient is right."""
    case = random_case(2000, 2, 30, 200, seed=3)
    x = case.logits(scale=3)
    targets, frames, lengths = case.padded(x)[1:4]

    def of_torch(x: Tensor) -> Tensor:
        return torch.nn.functional.ctc_loss(x.log_softmax(2), targets, frames, lengths, reduction="none")

    expected, expected_slope = gradient(of_torch, x)
    losses, slope = gradient(loss_of(case, logits=True), x)
    torch.testing.assert_close(losses, expected, rtol=1e-13, atol=0)
    # Judged in extended precision the error of torch is 2e-11 here (it divides by the emission in log space, and
    # alpha and beta are near exp(-1e4)), that of the reference 2e-12, in both ways of computing it.
    torch.testing.assert_close(slope, expected_slope, rtol=0, atol=1e-10)
    by_class, by_state = posteriors_of(case, x, logits=True)
    inside = torch.arange(case.frames)[:, None] < frames
    torch.testing.assert_close(x.softmax(2) * inside[:, :, None] - by_class, slope, rtol=0, atol=1e-11)
    torch.testing.assert_close(by_state.sum(2), inside.double(), rtol=0, atol=EXACT)


def test_longest_input() -> None:
    """20,000 frames, every path of which has the same probability: the loss is a binomial coefficient away."""
    frames, labels, classes = 20_000, 7, 8
    case = Case("", frames, classes, (tuple(range(1, labels + 1)),), (frames,))
    (loss,) = loss_of(case, logits=True)(torch.zeros(frames, 1, classes, dtype=torch.float64))
    paths = math.comb(frames + labels, 2 * labels)
    assert loss.item() == pytest.approx(frames * math.log(classes) - math.log(paths), rel=1e-13)


def test_collapsed_model() -> None:
    """Labels at 1e-30 each, 300 of them: the likelihood is beyond any float, about 1e-8700; its logarithm is not."""
    labels, frames = 300, 700
    case = Case("", frames, 301, (tuple(range(1, labels + 1)),), (frames,))
    x = peaky(case, -30 * math.log(10))
    losses, slope = gradient(loss_of(case, logits=False), x)
    # The most probable paths hold every label once; longer runs are 1e-30 times as probable.
    ways = math.comb(frames, labels)
    assert losses.item() == pytest.approx(labels * 30 * math.log(10) - math.log(ways), rel=1e-13)
    assert slope.sum().item() == pytest.approx(-frames, rel=1e-12)
    # By symmetry the middle of 300 labels is as likely before as after the middle frame.
    by_label = slope[:, 0, 1:].sum(0)
    torch.testing.assert_close(by_label, torch.full((labels,), -1.0, dtype=torch.float64), rtol=0, atol=1e-10)


def test_trained_model() -> None:
    """Nearly all probability on one path: a loss near 0, an occupancy near 1 where the path is."""
    case = random_case(200, 3, 12, 40, seed=5)
    x = trained(case, margin=25.0)
    losses, slope = gradient(loss_of(case, logits=True), x)
    assert (losses < 1e-4).all()
    assert slope.abs().max() < 1e-5
    by_class, _ = posteriors_of(case, x, logits=True)
    inside = torch.arange(case.frames)[:, None] < torch.tensor(case.input_lengths)
    assert torch.equal(by_class.argmax(2)[inside], x.argmax(2)[inside])
