"""The reference against the oracle, and its derivatives of every kind against the reference."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import forward_ad, gradcheck, gradgradcheck

from ctckit import reference
from ctckit.lattice import gate
from tests.tools import oracle
from tests.tools.cases import EDGE_CASES, FORMS, Case, cases, masked, peaky, random_case, trained

if TYPE_CHECKING:
    from collections.abc import Callable

# torch's own, where forward mode needs it.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")

# Float64 rounding of sums over some ten frames of numbers near 1.
EXACT = 1e-13

MIXED = Case("mixed", 6, 4, ((1, 2), (3, 3, 1), (), (2, 2, 2, 2), (1,)), (6, 5, 4, 6, 2))
"""Several paths, repeats, no label, infeasible, unequal lengths: small enough for second derivatives."""


def loss_of(case: Case, *, logits: bool, form: str = "padded") -> Callable[[Tensor], Tensor]:
    """The losses of a case as a function of the emissions."""
    _, *others = FORMS[form](case.padded(case.logits()), case)

    def function(x: Tensor) -> Tensor:
        x, lattice, _ = gate(x, *others)
        return reference.ctc(x, lattice, logits=logits)

    return function


def posteriors_of(case: Case, x: Tensor, *, logits: bool) -> tuple[Tensor, Tensor]:
    x, lattice, _ = gate(*case.padded(x))
    return reference.posteriors(x, lattice, logits=logits)


def gradient(function: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """The values, and the gradient of their sum."""
    x = x.detach().requires_grad_()
    values = function(x)
    (slope,) = torch.autograd.grad(values.sum(), x)
    return values.detach(), slope


def judge(case: Case, x: Tensor, *, logits: bool, tolerance: float = EXACT) -> None:
    """Loss, gradient and both kinds of occupancy of every item of a batch, against the enumeration of all paths."""
    losses, slope = gradient(loss_of(case, logits=logits), x)
    by_class, by_state = posteriors_of(case, x, logits=logits)
    for item, (target, frames) in enumerate(zip(case.targets, case.input_lengths, strict=True)):
        own = x[:frames, item].tolist()
        probs = oracle.softmax(own) if logits else oracle.weights(own)
        right = oracle.answer(probs, case.classes, target, case.blank)
        oracle.assert_loss(losses[item].item(), right, tolerance=tolerance)

        occupancy = right.class_occupancy
        oracle.assert_table(by_class[:frames, item], occupancy, tolerance=tolerance, what="class occupancy")
        own_states = by_state[:frames, item, : 2 * len(target) + 1]
        oracle.assert_table(own_states, right.state_occupancy, tolerance=tolerance, what="state occupancy")
        # Exactly zero where there is nothing to occupy.
        assert by_class[frames:, item].count_nonzero() == by_state[frames:, item].count_nonzero() == 0
        assert by_state[:, item, 2 * len(target) + 1 :].count_nonzero() == 0

        expected = -occupancy
        if logits and not math.isinf(right.loss):
            expected = np.array(probs, dtype=np.float64).reshape(occupancy.shape) - occupancy
        oracle.assert_table(slope[:frames, item], expected, tolerance=tolerance, what="gradient")
        assert slope[frames:, item].count_nonzero() == 0
        if math.isinf(right.loss):
            assert slope[:, item].count_nonzero() == 0


# ------------------------------------------------------------------------------------------------ against the oracle


@pytest.mark.parametrize("logits", [False, True])
@pytest.mark.parametrize("classes", [1, 2, 3])
@pytest.mark.parametrize("frames", range(5))
def test_every_small_problem(frames: int, classes: int, logits: bool) -> None:
    """Every target of up to T + 1 labels, every blank; the probabilities of a frame add up to anything."""
    for blank in range(classes):
        targets = tuple(oracle.targets(classes, blank, frames + 1))
        case = Case("all", frames, classes, targets, (frames,) * len(targets), blank)
        one = Case("", frames, classes, ((),), (frames,)).logits(seed=blank, scale=2)
        x = one.expand(-1, len(targets), -1)
        own = x[:, 0].tolist()
        right = oracle.solve(oracle.softmax(own) if logits else oracle.weights(own), classes, blank)
        losses, slope = gradient(loss_of(case, logits=logits), x)
        by_class, by_state = posteriors_of(case, x, logits=logits)
        share = x.softmax(2) if logits else torch.zeros_like(x)
        for item, target in enumerate(targets):
            answer = right.get(target, oracle.impossible(frames, classes, target))
            oracle.assert_loss(losses[item].item(), answer, tolerance=EXACT)
            oracle.assert_table(by_class[:, item], answer.class_occupancy, tolerance=EXACT)
            oracle.assert_table(by_state[:, item, : 2 * len(target) + 1], answer.state_occupancy, tolerance=EXACT)
            feasible = float(answer.paths > 0)
            expected = feasible * share[:, item].numpy() - answer.class_occupancy
            oracle.assert_table(slope[:, item], expected, tolerance=EXACT, what="gradient")


@pytest.mark.parametrize("logits", [False, True])
@pytest.mark.parametrize("case", EDGE_CASES, ids=str)
def test_edge_cases(case: Case, logits: bool) -> None:
    if case.classes**case.frames < 10**5:
        judge(case, case.logits(), logits=logits)
    losses, slope = gradient(loss_of(case, logits=logits), case.logits())
    assert losses.isfinite().tolist() == case.feasible
    assert slope.isfinite().all()


@given(cases(max_frames=6, max_classes=3, max_items=3), st.booleans(), st.booleans(), st.sampled_from([1.0, 30.0]))
def test_drawn_problems(case: Case, logits: bool, with_zeros: bool, scale: float) -> None:
    x = case.logits(scale=scale)
    judge(case, masked(x) if with_zeros else x, logits=logits, tolerance=scale * EXACT)


@given(cases())
def test_forms_do_not_matter(case: Case) -> None:
    x = case.logits()
    expected = loss_of(case, logits=True)(x)
    for form in FORMS:
        seen = FORMS[form](case.padded(x), case).emissions  # a strided view, for one
        assert torch.equal(loss_of(case, logits=True, form=form)(seen), expected)


def test_impossible_classes_are_exact() -> None:
    """A class at -inf counts as the smaller problem without it would, in value and in gradient."""
    case = Case("three of five classes", 6, 5, ((1, 3), (3, 3), ()), (6, 6, 6))
    smaller = Case("three classes", 6, 3, ((1, 2), (2, 2), ()), (6, 6, 6))
    kept = [0, 1, 3]
    x = case.logits()
    x[:, :, [2, 4]] = -torch.inf
    for logits in (False, True):
        losses, slope = gradient(loss_of(case, logits=logits), x)
        expected, expected_slope = gradient(loss_of(smaller, logits=logits), x[:, :, kept])
        assert torch.equal(losses, expected)
        assert torch.equal(slope[:, :, kept], expected_slope)
        assert slope[:, :, [2, 4]].count_nonzero() == 0


@pytest.mark.parametrize("logits", [False, True])
def test_frame_without_a_possible_class(logits: bool) -> None:
    case = Case("", 4, 3, ((1,), (1,), ()), (4, 4, 4))
    x = case.logits()
    x[2, 1] = -torch.inf
    losses, slope = gradient(loss_of(case, logits=logits), x)
    assert losses.isinf().tolist() == [False, True, False]
    assert slope[:, 1].count_nonzero() == 0
    assert slope.isfinite().all()
    by_class, by_state = posteriors_of(case, x, logits=logits)
    assert by_class[:, 1].count_nonzero() == by_state[:, 1].count_nonzero() == 0


# -------------------------------------------------------------------------------------------------------- derivatives


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


# --------------------------------------------------------------------------------------- what must not touch anything


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


# ----------------------------------------------------------------------------------------------- numbers, large and odd


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


@given(cases(max_frames=8), st.floats(-1e4, 1e4))
def test_properties(case: Case, shift: float) -> None:
    """What holds of CTC itself: time can run backwards, and logits have no zero."""
    x = case.logits()
    expected = loss_of(case, logits=True)(x)

    def close(actual: Any, tolerance: float) -> None:
        torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)

    mirrored = Case("", case.frames, case.classes, tuple(t[::-1] for t in case.targets), case.input_lengths, case.blank)
    y = torch.zeros_like(x)
    for item, frames in enumerate(case.input_lengths):
        y[:frames, item] = x[:frames, item].flip(0)
    close(loss_of(mirrored, logits=True)(y), EXACT)
    close(loss_of(case, logits=True)(x + shift), 1e-10)
    close(loss_of(case, logits=False)(x.log_softmax(2)), EXACT)
    # Nor does the company of an item matter.
    for item, (target, frames) in enumerate(zip(case.targets, case.input_lengths, strict=True)):
        alone = Case("", case.frames, case.classes, (target,), (frames,), case.blank)
        assert torch.equal(loss_of(alone, logits=True)(x[:, item : item + 1]), expected[item : item + 1])
