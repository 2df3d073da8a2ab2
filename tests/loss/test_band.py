"""The band of the way back: what it leaves out is below a certificate, and below every digit of a result."""

from __future__ import annotations

import math
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import ctckit
from tests.tools.band import band_budget, little_memory_planned, state_occupancy
from tests.tools.cases import Arguments, Case, masked, random_case
from tests.tools.exact_answers import errors, exact, run, run_on_dirty_memory
from tests.tools.recordings import RECORDINGS, recording

pytest.importorskip("ctckit._core")

BUDGETS = [2.0**-bits for bits in (4, 10, 20, 40)]


def arguments_of(name: str, frames: int, labels: int, dtype: torch.dtype, *, logits: bool) -> Arguments:
    """One item, a recording by name."""
    x, target = recording(name, frames, labels)
    if not logits:
        x = x.double().log_softmax(1)
    return Arguments(x.to(dtype)[:, None], target[None], torch.tensor([x.shape[0]]), torch.tensor([len(target)]), 0)


def assert_certified(arguments: Arguments, budget: float, expected: Tensor, *, logits: bool = False) -> None:
    """Every occupancy is right up to what is said to be left out.

    It is less by that at most. What the forward walk leaves out is not in the sum by which all are divided, either.

    The reference adds logarithms as large as the loss; rounding one of them changes a probability relatively as much.
    """
    with band_budget(budget):
        actual, lost = state_occupancy(arguments, logits=logits)
    assert ((lost >= 0) & (lost <= budget)).all()
    missing = expected - actual
    x = arguments.emissions
    largest = x.masked_fill(x.isinf(), 0).abs().amax((0, 2)) * x.shape[0]
    rounding = (1e-12 + 2.0**-50 * largest[:, None]) * expected + 1e-300
    assert (missing >= -1.1 * lost[:, None] * expected - rounding).all()
    assert (missing <= lost[:, None] * (1 + 1e-6) + rounding).all()
    assert (missing.sum(2) <= lost * (1 + 1e-6) + rounding.sum(2)).all()


@pytest.mark.parametrize("budget", BUDGETS, ids=lambda b: f"2^{math.log2(b):.0f}")
@pytest.mark.parametrize("name", RECORDINGS)
@pytest.mark.parametrize("frames", [500, 1600], ids=["one walk", "two walks"])
def test_what_is_left_out_is_certified(frames: int, name: str, budget: float) -> None:
    """The certificate bounds the error of every state's occupancy, and of the sum over a frame's states, in float64."""
    arguments = arguments_of(name, frames, frames // 5, torch.float64, logits=False)
    assert_certified(arguments, budget, by_state(name, frames))


@cache
def by_state(name: str, frames: int) -> Tensor:
    """The exact occupancy, computed once: the reference takes seconds."""
    return exact(arguments_of(name, frames, frames // 5, torch.float64, logits=False), logits=False).by_state


def test_something_is_left_out() -> None:
    """With a coarse budget, most of the states of a sure model: else the tests above would show nothing."""
    arguments = arguments_of("margin 8", 500, 100, torch.float64, logits=False)
    with band_budget(2.0**-10):
        occupancy, lost = state_occupancy(arguments)
    assert 0 < lost < 2.0**-10
    assert (occupancy == 0).double().mean() > 0.8
    with band_budget(0):
        occupancy, lost = state_occupancy(arguments)
    assert lost == 0
    assert (occupancy == 0).double().mean() < 0.7


@pytest.mark.parametrize("name", RECORDINGS)
@pytest.mark.parametrize(("frames", "labels"), [(600, 64), (3000, 500)], ids=["one walk", "two walks"])
def test_same_results_as_without_a_band(frames: int, labels: int, name: str) -> None:
    """Float32: the loss to the bit, gradient and occupancy to one unit in the last place, or 2^-80."""
    logits = arguments_of(name, frames, labels, torch.float32, logits=True)
    log_probs = arguments_of(name, frames, labels, torch.float32, logits=False)
    banded, bare = [run(logits, logits=True), run(log_probs, logits=False)], []
    with band_budget(0):
        bare = [run(logits, logits=True), run(log_probs, logits=False)]
    for one, other in zip(banded, bare, strict=True):
        assert torch.equal(one.losses, other.losses)
        apart = (one.gradient - other.gradient).abs()
        assert (apart <= 2.0**-80 + 2.0**-23 * other.gradient.abs()).all()


@st.composite
def adversaries(draw: st.DrawFn) -> tuple[Case, Tensor]:
    """Small items whose mass lies in several places: pieces of a few kinds of frames, one after the other."""
    case = random_case(draw(st.integers(1, 90)), draw(st.integers(1, 3)), 5, draw(st.integers(0, 40)), seed=draw(seeds))
    generator = torch.Generator().manual_seed(draw(seeds))
    x = torch.randn(case.frames, case.items, 5, generator=generator, dtype=torch.float64)
    for _ in range(draw(st.integers(0, 4))):
        begin = draw(st.integers(0, case.frames - 1))
        piece = x[begin : begin + draw(st.integers(1, 40))]
        match draw(st.sampled_from(["equal", "blank", "label", "no blank", "sure", "masked", "huge", "again"])):
            case "equal":
                piece.zero_()
            case "blank":
                piece[..., 0] += 20
            case "label":
                piece[..., draw(st.integers(1, 4))] += 12
            case "no blank":
                piece[..., 0] = -60
            case "sure":
                piece.mul_(10)
            case "masked":
                piece[..., 1:] = masked(piece[..., 1:].clone(), 0.3, seed=draw(seeds))
            case "huge":
                piece.mul_(500)
            case _:
                piece.copy_(x[: piece.shape[0]].clone())
    return case, x


seeds = st.integers(0, 2**31)


@settings(deadline=None, max_examples=150)
@given(adversaries(), st.sampled_from([*BUDGETS, 2.0**-80]))
def test_adversaries(problem: tuple[Case, Tensor], budget: float) -> None:
    """The certificate holds wherever the mass lies, with any budget, in any batch."""
    case, x = problem
    arguments = case.padded(x.log_softmax(2))
    assert_certified(arguments, budget, exact(arguments, logits=False).by_state)


def three_paths(behind: int, hold: int, budget: float) -> Tensor:
    """Log-probabilities (T, 105) of 104 labels with three paths. The first holds nearly all of the probability.

    The first path moves up by a label a frame. The second waits on a label. The third waits `behind` labels below, then
    catches up with the second. In frames 64 to 95 the second falls to 0.4, and the third to 0.8, of what each end of a
    block may drop. So the way back drops the third, and a block later the second. Then the band comes down with the
    first path to where the second waits. The row that is read there was last written two blocks before.
    """
    frames = 328
    share = budget / (4 * (frames // 16 + 1))
    slow = 64 - hold - 17
    x = torch.full((frames, 105), -200.0, dtype=torch.float64)
    for t in range(frames):
        sure = max(0, t - hold)
        second = min(sure, slow) if t < 144 else slow + t - 143
        third = min(sure, slow - behind) if t < 113 else min(slow - behind + t - 112, second)
        for label, mass in ((second, 0.4), (third, 0.8)):
            x[t, 1 + min(label, 103)] = math.log(mass * share) / 32 if 64 <= t < 96 else 0
        x[t, 1 + min(sure, 103)] = 0
    return x


@pytest.mark.parametrize("budget", [2.0**-20, 2.0**-40], ids=["2^-20", "2^-40"])
def test_what_was_dropped_does_not_come_back(budget: float) -> None:
    """Where the band comes down again, it finds nothing of what a row held two blocks before."""
    x = torch.stack([three_paths(behind, hold, budget) for behind in (20, 24, 30) for hold in range(8)], 1)
    items = x.shape[1]
    lengths = torch.full((items,), x.shape[0]), torch.full((items,), 104)
    arguments = Arguments(x, torch.arange(1, 105).expand(items, -1), *lengths, 0)
    assert_certified(arguments, budget, exact(arguments, logits=False).by_state)


def overtaken(gap: int, start: int) -> Tensor:
    """Logits (T, 92) of 320 labels, of 90 classes, with two paths until frame 832.

    The second path is `gap` labels ahead. It loses 48 nats in frames 784 to 799, so the forward walk drops it. In the
    next two blocks a class that the target does not name takes 7 nats a frame from every label. Meanwhile the first
    path, and the range with it, comes up to where the second was: the row that is read there was last written before.
    """
    x = torch.full((1600, 92), -300.0, dtype=torch.float64)
    for t in range(1600):
        first = min(max(0, t - 800 + start), 319)
        second = min(max(0, t - 800 + start + gap), start + gap)
        lost = -7.0 if 800 <= t < 832 else 0.0
        if lost:
            x[t, 91] = 0
        if t < 832:
            x[t, 1 + second % 90] = lost - (3 if 784 <= t < 800 else 0)
        x[t, 1 + first % 90] = lost
    return x


def test_what_was_dropped_forward_does_not_come_back() -> None:
    """Where the range of the forward walk comes up again, it finds nothing of what a row held two blocks before."""
    x = torch.stack([overtaken(gap, start) for gap in (30, 32) for start in (100, 103, 109)], 1)
    items = x.shape[1]
    lengths = torch.full((items,), 1600), torch.full((items,), 320)
    arguments = Arguments(x, (torch.arange(320) % 90 + 1).expand(items, -1), *lengths, 0)
    with band_budget(2.0**-20):
        found = errors(run(arguments, logits=True), exact(arguments, logits=True))
    assert found.loss <= 1e-14
    assert found.gradient <= 2.0**-20


@pytest.mark.parametrize("name", ["noise", "margin 8", "improbable frames"])
def test_same_bits_in_every_batch(name: str) -> None:
    """The band is a function of the item: padding, neighbours and threads change nothing."""
    x, target = recording(name, 700, 100)
    other = torch.randn(900, 2, x.shape[1])
    alone = run(Arguments(x[:, None], target[None], torch.tensor([len(x)]), torch.tensor([100]), 0), logits=True)
    batch = torch.cat(
        [other[:, :1], torch.cat([x, torch.full((200, x.shape[1]), torch.nan)])[:, None], other[:, 1:]], 1
    )
    targets = torch.ones(3, 130, dtype=torch.int64)
    targets[1, :100] = target
    lengths = torch.tensor([900, len(x), 900]), torch.tensor([130, 100, 90])
    together = run(Arguments(batch, targets, *lengths, 0), logits=True)
    assert torch.equal(alone.losses[0], together.losses[1])
    assert torch.equal(alone.gradient[:, 0], together.gradient[: len(x), 1])


LONG = ("margin 8", "margin 14", "noise", "two readings far apart", "wrong in the middle", "blank everywhere")


@pytest.mark.parametrize("name", LONG)
def test_long_targets(name: str) -> None:
    """Long enough for a band of the forward walk, too. Right, whether the narrow walk before it finds a path or not."""
    arguments = arguments_of(name, 6000, 2200, torch.float32, logits=True)
    found = errors(run(arguments, logits=True), exact(arguments, logits=True))
    assert found.loss <= 2e-7
    assert found.gradient <= 2e-6
    with band_budget(0):
        bare = run(arguments, logits=True)
    banded = run(arguments, logits=True)
    assert torch.equal(banded.losses, bare.losses)
    assert ((banded.gradient - bare.gradient).abs() <= 2.0**-80 + 2.0**-23 * bare.gradient.abs()).all()


def test_nan_in_a_long_item() -> None:
    """A NaN in the last frame is seen, although the narrow walk has ended by then or has not come to its position."""
    arguments = arguments_of("margin 8", 6000, 2200, torch.float32, logits=False)
    arguments.emissions[-1, 0, arguments.targets[0, 0]] = torch.nan
    assert run(arguments, logits=False).losses.isnan().all()


@pytest.mark.parametrize("name", ["margin 8", "margin 14", "noise", "two readings far apart", "wrong in the middle"])
def test_memory_is_planned_for_a_sure_model(name: str) -> None:
    """The same bits whether the plan is enough or, for an unsure model, the item is computed again with more memory."""
    arguments = arguments_of(name, 20_000, 5000, torch.float32, logits=True)
    expected = run(arguments, logits=True)
    with little_memory_planned():
        actual = run_on_dirty_memory(arguments, logits=True)
    assert torch.equal(actual.losses, expected.losses)
    assert ((actual.gradient - expected.gradient).abs() <= 2.0**-80 + 2.0**-23 * expected.gradient.abs()).all()
    x = arguments.emissions.clone().requires_grad_()
    with little_memory_planned():
        loss = ctckit.ctc_loss_with_logits(x * 1, *arguments[1:], "sum", inplace_grad=True)
    (gradient,) = torch.autograd.grad(loss, x)
    assert torch.equal(gradient, actual.gradient)
