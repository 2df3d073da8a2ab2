"""The core on numerically hard inputs, against float64 and exact answers."""

from __future__ import annotations

import math
from functools import cache
from typing import Any, cast

import pytest
import torch
from torch import Tensor

import ctckit
from tests.tools.band import band_budget
from tests.tools.cases import Arguments, Case, random_case, trained
from tests.tools.exact_answers import Answer, Result, errors, exact, run, run_on_dirty_memory
from tests.tools.hard_inputs import HARD, judged, one, spelled

pytestmark = pytest.mark.usefixtures("core")

# Rounding to float32 costs a loss at most 6e-8, and rounding the sum over frames little more. A gradient is the result
# of about a hundred roundings of emissions, each 6e-8. Most cancel, so the limit of the best cases is 5e-7.
# Half types: the rounding of the gradient.
LOSS_LIMIT = {torch.float64: 2e-14, torch.float32: 2e-7, torch.float16: 2e-7, torch.bfloat16: 2e-7}
GRADIENT_LIMIT = {torch.float64: 2e-11, torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8}


def rounding_of(level: str) -> float:
    """Without fused multiply-add (SSE4.2) an exponential has one more rounding, whose error grows with the argument."""
    return 2.5 if level == "baseline" else 1


@pytest.mark.parametrize("logits", [True, False], ids=["logits", "log_probs"])
@pytest.mark.parametrize("dtype", LOSS_LIMIT, ids=lambda dtype: str(dtype).removeprefix("torch."))
@pytest.mark.parametrize("name", HARD)
def test_hard_numbers(name: str, dtype: torch.dtype, logits: bool) -> None:
    arguments, answer = judged(name, dtype, logits=logits)
    found = errors(run_on_dirty_memory(arguments, logits=logits), answer)
    assert found.loss <= LOSS_LIMIT[dtype]
    assert found.gradient <= GRADIENT_LIMIT.get(dtype, HARD[name]().limit) * rounding_of(ctckit._core.simd_levels()[0])


@pytest.mark.parametrize("logits", [True, False], ids=["logits", "log_probs"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("name", HARD)
def test_hard_numbers_in_a_band(name: str, dtype: torch.dtype, logits: bool) -> None:
    """The way back leaves out what holds no mass, in targets so short that it is not worth it, too."""
    with band_budget({torch.float32: 2.0**-80, torch.float64: 2.0**-120}[dtype]):
        test_hard_numbers(name, dtype, logits)


@pytest.mark.parametrize("logits", [True, False], ids=["logits", "log_probs"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("name", HARD)
def test_hard_means(name: str, dtype: torch.dtype, logits: bool) -> None:
    """With 'mean' all code paths divide an item's gradient by its labels and by the batch size."""
    arguments, answer = judged(name, dtype, logits=logits)
    x = arguments.emissions.detach().requires_grad_()
    function = ctckit.ctc_loss_with_logits if logits else ctckit.ctc_loss
    (gradient,) = torch.autograd.grad(function(x, *arguments[1:], "mean"), x)
    divisors = arguments.target_lengths.clamp(min=1) * x.shape[1]
    found = errors(Result(answer.losses, gradient.double() * divisors[:, None]), answer)
    assert found.gradient <= GRADIENT_LIMIT.get(dtype, HARD[name]().limit) * rounding_of(ctckit._core.simd_levels()[0])


@pytest.mark.parametrize("logits", [True, False], ids=["logits", "log_probs"])
@pytest.mark.parametrize("name", HARD)
def test_hard_posteriors(name: str, logits: bool) -> None:
    """Of classes and states; they sum to 1 in every frame of a feasible item, and to 0 in all others."""
    arguments, answer = judged(name, torch.float64, logits=logits)
    possible = answer.losses.isfinite()
    inside = (torch.arange(arguments.emissions.shape[0])[:, None] < arguments.input_lengths) & possible
    # The reference adds logarithms as large as the loss; rounding one of them changes a probability relatively as much.
    limit = 1e-11 + 2.0**-53 * answer.losses[possible].abs().amax().item() if possible.any() else 1e-11
    for per_state, right in ((False, answer.by_class), (True, answer.by_state)):
        table = ctckit.posteriors(*arguments, logits=logits, per_state=per_state)
        torch.testing.assert_close(table, right, rtol=0, atol=limit)
        torch.testing.assert_close(table.sum(2), inside.double(), rtol=0, atol=1e-11)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_judge_notices(sign: int) -> None:
    """An error just above the limit, in one number of many."""
    arguments, answer = judged("random", torch.float32, logits=True)
    right = run(arguments, logits=True)
    for field, limit in (("losses", 2e-7), ("gradient", 5e-7)):
        for wrong in (2 * limit, math.nan, math.inf):
            table = getattr(right, field).double().clone()
            where = (1,) if field == "losses" else (10, 1, 3)
            size = table[1] if field == "losses" else answer.gradient[:, 1].norm()
            table[where] += sign * wrong * size
            spoiled = right._replace(**{field: table})
            if math.isfinite(wrong):
                assert getattr(errors(spoiled, answer), {"losses": "loss"}.get(field, field)) > limit
            else:
                with pytest.raises(AssertionError):
                    errors(spoiled, answer)


# --------------------------------------------------------------------------------------------- long, against float64


def hold(case: Case, x: Tensor, *, limit: float = 5e-7) -> None:
    arguments = case.padded(x.float())
    found = errors(run(arguments, logits=True), exact(arguments, logits=True))
    assert found.loss <= 2e-7
    assert found.gradient <= limit


def test_twenty_thousand_frames() -> None:
    """Peaky, with log alpha down to -1e6; in two passes with checkpoints, because the states exceed the cache."""
    case = random_case(20_000, 1, 40, 400, seed=1)
    hold(case, case.logits(scale=10))


def test_trained_on_ten_thousand_frames() -> None:
    """A loss near 0 over many frames: rounding errors of probabilities near 1 must not add up."""
    case = Case("", 10_000, 64, (spelled(1000, 64),), (10_000,))
    hold(case, trained(case, 14, seed=1))


@cache
def two_readings(seed: int, *, logits: bool) -> tuple[Arguments, Answer]:
    """A target of 1,000 labels, read early or late, each label four frames later, with the same probability throughout.

    Between labels lie blanks, so that a change from one reading to the other is improbable. Both read classes lie about
    8 nats below a class that the target does not name.
    """
    labels = 1000
    classes, spoken, period = 32, 3, 4
    target = torch.randint(1, classes - 1, (labels,), generator=torch.Generator().manual_seed(seed))
    frames = (labels + 1) * period
    case = Case("", frames, classes, (tuple(target.tolist()),), (frames,))
    early = torch.zeros(labels + 1, period, dtype=torch.int64)
    early[:-1, :spoken] = target[:, None]
    late = early.roll(1, 0).flatten()
    early = early.flatten()
    t = torch.arange(frames)
    noise = case.logits(seed=seed)[:, 0]
    first, second = noise[t, early], noise[t, late]
    # Take from the early reading what makes it more probable, label by label.
    lead = torch.where(early == late, 0.0, first - second).view(-1, period).sum(1) / spoken
    x = noise - 10
    x[t, late] = second
    x[t, early] = first - torch.where(early == late, 0.0, lead.repeat_interleave(period))
    x[:, -1] = 8 + noise[:, -1] / 4
    arguments = case.padded((x if logits else x.log_softmax(1)).float()[:, None])
    return arguments, exact(arguments, logits=logits)


@pytest.mark.parametrize("logits", [True, False], ids=["logits", "log_probs"])
@pytest.mark.parametrize("seed", [0, 1])
def test_two_readings_far_apart(simd: str, seed: int, logits: bool) -> None:
    """Two families of paths share the probability over 4,000 frames, in which all roundings count in their ratio.

    If the differences to the frame's largest class were rounded, too, they would add up to 6e-7.
    """
    arguments, answer = two_readings(seed, logits=logits)
    share = answer.by_state[2000, 0, 1::2].amax()  # in the middle, where each reading has another label
    assert share < 0.7, "one reading has nearly all of the probability"
    found = errors(run(arguments, logits=logits), answer)
    assert found.loss <= 2e-7
    assert found.gradient <= (2e-6 if simd == "baseline" else 2e-7)


@pytest.mark.parametrize("value", [-7e11, -1e12, -1e30, torch.finfo(torch.float32).min])
def test_log_probabilities_below_2_to_the_40_bits(value: float) -> None:
    """An emission counts as at most 2^40 bits (7.6e11 nats) below its frame's largest: masks give finite losses."""
    x = torch.tensor([[[0.0, value]]], requires_grad=True)
    loss = ctckit.ctc_loss(x, torch.tensor([[1]]), [1], [1], reduction="sum")
    assert loss.item() == pytest.approx(min(-value, 2**40 * math.log(2)), rel=1e-6)
    (gradient,) = torch.autograd.grad(loss, x)
    assert gradient.tolist() == [[[0, -1]]]


def test_equal_emissions_of_any_length() -> None:
    """The closed form: log of a binomial coefficient."""
    frames, labels = 20_000, 9_990
    case = one(frames, 4, spelled(labels, 4))
    losses, _ = run(case.padded(torch.zeros(frames, 1, 4)), logits=True)
    n, k = frames + labels, 2 * labels
    paths = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    assert losses.item() == pytest.approx(frames * math.log(4) - paths, rel=2e-7)


# ------------------------------------------------------------------------------------------------ exact where it can be


@pytest.mark.parametrize("dtype", LOSS_LIMIT, ids=lambda dtype: str(dtype).removeprefix("torch."))
@pytest.mark.parametrize("frames", [1, 15, 16, 17, 100])
def test_a_certain_path_costs_nothing(frames: int, dtype: torch.dtype) -> None:
    """All classes but one at -inf, as logits: the loss is exactly 0, and so is the gradient."""
    path = torch.arange(frames) % 3  # blank, 1, 2, blank, ...
    target = tuple(path[path > 0].tolist())
    x = torch.full((frames, 1, 5), -torch.inf, dtype=dtype)
    x[torch.arange(frames), 0, path] = torch.linspace(-50, 50, frames).to(dtype)
    losses, slope = run(one(frames, 5, target).padded(x), logits=True)
    assert losses.item() == 0
    assert not slope.count_nonzero()
    # Every other target has probability 0.
    losses, slope = run(one(frames, 5, (3,)).padded(x), logits=True)
    assert losses.item() == math.inf
    assert not slope.count_nonzero()


@pytest.mark.parametrize("scale", [1.0, 1e4, 1e30])
def test_the_softmax_of_huge_logits(scale: float) -> None:
    """One path of probability 1 to all digits: classes 1e4 or more below have probability 0."""
    case = one(40, 6, spelled(10, 6))
    x = trained(case, 1e4).float() * scale
    losses, slope = run(case.padded(x), logits=True)
    assert losses.item() == 0
    assert not slope.count_nonzero()


def test_sum_of_the_gradient_of_logits_is_zero() -> None:
    """In every frame, to the rounding of float32 relative to its largest entry."""
    for name in ("random", "trained, margin 14", "logits x 10", "masked classes alternate"):
        arguments, _ = judged(name, torch.float32, logits=True)
        slope = run(arguments, logits=True).gradient.double()
        assert (slope.sum(2).abs() <= 1e-6 * slope.abs().amax(2)).all()


@pytest.mark.parametrize("mirrored", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize("depth", [690, 700, 708, 709, 735, 744, 745, 746, 760, 780, 1500])
def test_all_mass_falls_out_of_a_doubles_range_for_a_frame(depth: int, mirrored: bool) -> None:
    """The only remaining path has an emission of e^-depth in some frame of a block.

    Before that the blank holds nearly all mass, until it becomes impossible. So a block may end between the fall and
    the frame that needs the small value. Loss and gradient are known, because a single path is left.
    """
    for fall in (1, 13, 14, 15, 16, 17, 30, 31, 32):
        x = torch.zeros(fall + 3, 1, 2, dtype=torch.float64)
        x[0, 0, 0] = x[fall + 1, 0, 0] = x[fall + 2, 0, 1] = -torch.inf
        x[fall, 0, 1] = -depth
        path = torch.ones(fall + 3, dtype=torch.int64)
        path[-1] = 0
        if mirrored:
            x, path = x.flip(0), path.flip(0)
        right = -torch.nn.functional.one_hot(path, 2).double()
        for dtype, rounding in ((torch.float32, 2.0**-24), (torch.float64, 2.0**-52)):
            losses, slope = run(one(fall + 3, 2, (1,)).padded(x.to(dtype)), logits=False)
            assert losses.item() == pytest.approx(depth, rel=rounding), fall
            torch.testing.assert_close(slope[:, 0].double(), right, rtol=0, atol=4 * rounding)  # three factors


@pytest.mark.parametrize("mirrored", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize("noise", [0, 0.5])
@pytest.mark.parametrize(
    ("repeat", "frames", "costly", "labels"),
    [(1, 112, 40, 94), (1, 80, 32, 70), (2, 96, 48, 50), (100, 96, 48, 38), (100, 80, 32, 30)],
)
def test_states_that_grow_by_nearly_a_doubles_range_in_a_block(
    repeat: int, frames: int, costly: int, labels: int, noise: float, mirrored: bool
) -> None:
    """Labels are improbable in the first frames and certain in later ones, in which most of them must be passed.

    So neighbouring states differ by a large factor, and each grows by it whenever all mass moves on by one state. The
    growth within a block goes, item by item, from small to more than a double's range.
    """
    costs = torch.arange(45, 58, 0.1, dtype=torch.float64)
    target = spelled(labels, 4, repeat=repeat)
    case = Case("", frames, 4, (target,) * len(costs), (frames,) * len(costs))
    x = case.logits(scale=noise)
    x[:costly, :, 1:] -= costs[:, None]
    if mirrored:
        case = Case("", frames, 4, (target[::-1],) * len(costs), case.input_lengths)
        x = x.flip(0)
    for logits in (True, False):
        arguments = case.padded(x.float())
        answer = exact(arguments, logits=logits)
        found = errors(run_on_dirty_memory(arguments, logits=logits), answer)
        assert found.loss <= 2e-7
        assert found.gradient <= 2e-6  # the rounding error of a frame is that of the cost
        states = ctckit.posteriors(*arguments, logits=logits, per_state=True)
        torch.testing.assert_close(states.double(), answer.by_state, rtol=0, atol=2e-5)


# ----------------------------------------------------------------------------------------------- beyond 2**31 elements


def test_more_than_two_to_the_31_elements() -> None:
    """Frames times classes exceed 32 bits; memory holds one row, with stride 0."""
    frames, classes = 2**16 + 3, 2**15 + 5
    row = torch.zeros(1, 1, classes)
    row[..., 7] = 1.0
    x = row.expand(frames, 1, classes)
    assert x.numel() > 2**31
    loss = ctckit.ctc_loss(x, torch.tensor([[7]]), None, None, blank=classes - 1, reduction="none")
    # Runs of the label, e per frame, from any frame to any other; the blank is 1.
    runs = torch.arange(1, frames + 1, dtype=torch.float64)
    expected = -torch.logsumexp(runs + (frames + 1 - runs).log(), 0)
    assert loss.item() == pytest.approx(expected.item(), rel=2e-7)


class _Source(torch.autograd.Function):
    """A tensor like the output of a layer, which may be overwritten."""

    @staticmethod
    def forward(_ctx: Any, _anchor: Tensor, x: Tensor) -> Tensor:
        return x.detach()

    @staticmethod
    def backward(_ctx: Any, _grad: Tensor) -> tuple[None, None]:
        return None, None


@pytest.mark.parametrize("dimension", [0, 1, 2])
@pytest.mark.parametrize("logits", [True, False], ids=["logits", "log_probs"])
def test_strides_beyond_32_bits(dimension: int, logits: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tensor that spans 6 GiB, of which few pages are touched: frames, items or classes are 2**30 elements apart."""
    case = Case("", 4, 4, ((1, 2), (3,), (2, 2), ()), (4, 3, 4, 4))
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", False)
    try:
        room = torch.empty(3 * 2**30 + 64, dtype=torch.bfloat16)
    except RuntimeError as error:
        pytest.skip(f"no address space: {error}")
    strides = [4, 16, 1]
    strides[dimension] = 2**30
    x = torch.as_strided(room, (4, 4, 4), strides)
    x.copy_(case.logits())
    expected = run(case.padded(x.clone()), logits=logits)
    actual = run(case.padded(x), logits=logits)
    assert torch.equal(actual.losses, expected.losses)
    assert torch.equal(actual.gradient, expected.gradient)
    if logits and dimension < 2:  # the gradient has the same strides
        output = cast("Tensor", _Source.apply(torch.zeros((), requires_grad=True), x))  # type: ignore[no-untyped-call]
        ctckit.ctc_loss_with_logits(*case.padded(output), reduction="sum", inplace_grad=True).backward()
        assert torch.equal(x, expected.gradient)
