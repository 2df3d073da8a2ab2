"""Properties of CTC for any numbers, on random problems."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import NamedTuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import ctckit
from tests.tools.cases import Arguments, Case, random_case
from tests.tools.cases import cases as small_cases
from tests.tools.exact_answers import Result, exact, run

pytestmark = pytest.mark.usefixtures("backend")

logits_or_not = st.booleans()
dtypes = st.sampled_from([torch.float64, torch.float32, torch.float16, torch.bfloat16])


@st.composite
def any_cases(draw: st.DrawFn) -> Case:
    """Mostly small; some longer than a block of frames and wider than a vector, some with many classes."""
    if draw(st.booleans()):
        return draw(small_cases())
    frames, classes = draw(st.integers(1, 50)), draw(st.sampled_from([2, 5, 30, 200]))
    blank = draw(st.integers(0, classes - 1))
    return random_case(
        frames, draw(st.integers(1, 6)), classes, frames // 2, blank=blank, seed=draw(st.integers(0, 99))
    )


def same(actual: Result, expected: Result) -> None:
    assert torch.equal(actual.losses, expected.losses)
    assert torch.equal(actual.gradient, expected.gradient)


# ------------------------------------------------------------------------------------- bitwise the same, in any batch


def some(case: Case, items: list[int]) -> Case:
    targets, lengths = tuple(case.targets[n] for n in items), tuple(case.input_lengths[n] for n in items)
    return replace(case, targets=targets, input_lengths=lengths)


@given(any_cases(), logits_or_not, dtypes, st.randoms(use_true_random=False))
def test_the_company_of_an_item_does_not_matter(
    case: Case, logits: bool, dtype: torch.dtype, shuffled: random.Random
) -> None:
    """The batch permuted, halved, split into single items, or doubled."""
    x = case.logits(dtype)
    whole = run(case.padded(x), logits=logits)
    order = list(range(case.items))
    shuffled.shuffle(order)
    cut = shuffled.randint(0, case.items)
    for items in (order, order[:cut], order[cut:], [*order, *order], *([n] for n in order)):
        part = run(some(case, items).padded(x[:, items]), logits=logits)
        same(part, Result(whole.losses[items], whole.gradient[:, items]))


@given(any_cases(), logits_or_not, dtypes, st.integers(1, 20), st.integers(0, 9))
def test_padding_does_not_matter(case: Case, logits: bool, dtype: torch.dtype, frames: int, labels: int) -> None:
    """More frames and labels than any item has, with any values."""
    x = case.logits(dtype)
    expected = run(case.padded(x), logits=logits)
    garbage = torch.full((frames, *x.shape[1:]), torch.nan, dtype=dtype)
    for fill in (case.blank, -100, 2**40):
        arguments = case.padded(torch.cat((x, garbage)))._replace(targets=case.table(fill, extra=labels))
        actual = run(arguments, logits=logits)
        same(Result(actual.losses, actual.gradient[: case.frames]), expected)
        assert not actual.gradient[case.frames :].count_nonzero()


class Layout(NamedTuple):
    order: tuple[int, ...]
    steps: tuple[int, ...]


layouts = st.builds(Layout, st.permutations(range(3)).map(tuple), st.tuples(*[st.integers(1, 3)] * 3))


@given(any_cases(), logits_or_not, dtypes, layouts)
def test_strides_do_not_matter(case: Case, logits: bool, dtype: torch.dtype, layout: Layout) -> None:
    x = case.logits(dtype)
    sizes = [x.shape[d] * layout.steps[d] for d in layout.order]
    room = torch.full(sizes, torch.nan, dtype=dtype).permute(*(layout.order.index(d) for d in range(3)))
    view = room[:: layout.steps[0], :: layout.steps[1], :: layout.steps[2]]
    same(run(case.padded(view.copy_(x)), logits=logits), run(case.padded(x), logits=logits))


@given(any_cases(), logits_or_not, dtypes, st.sampled_from([2, 3, 7]))
def test_threads_do_not_matter(case: Case, logits: bool, dtype: torch.dtype, threads: int) -> None:
    # Repeated, so that there is work for several threads.
    case = some(case, list(range(case.items)) * 40)
    x = case.logits(dtype)
    torch.set_num_threads(1)
    expected = run(case.padded(x), logits=logits)
    try:
        torch.set_num_threads(threads)
        same(run(case.padded(x), logits=logits), expected)
    finally:
        torch.set_num_threads(1)


@given(any_cases(), logits_or_not, dtypes)
def test_twice_is_the_same(case: Case, logits: bool, dtype: torch.dtype) -> None:
    x = case.logits(dtype)
    same(run(case.padded(x), logits=logits), run(case.padded(x), logits=logits))


# ------------------------------------------------------------------------------------------- the same to rounding

# Float64, and sums over some fifty frames of numbers near 1.
EXACT = 1e-12


def near(actual: Tensor, expected: Tensor, tolerance: float = EXACT) -> None:
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


@given(any_cases(), logits_or_not)
def test_the_reference_agrees(case: Case, logits: bool) -> None:
    arguments = case.padded(case.logits(scale=3))
    actual, expected = run(arguments, logits=logits), exact(arguments, logits=logits)
    near(actual.losses, expected.losses)
    near(actual.gradient, expected.gradient)


@given(any_cases(), logits_or_not)
def test_occupancy_sums_to_one(case: Case, logits: bool) -> None:
    """In every frame of a feasible item, over classes and states; a class has the sum of its states."""
    arguments = case.padded(case.logits(scale=3))
    by_class = ctckit.posteriors(*arguments, logits=logits)
    by_state = ctckit.posteriors(*arguments, logits=logits, per_state=True)
    counts = torch.arange(case.frames)[:, None] < torch.tensor(case.input_lengths)
    counts &= torch.tensor(case.feasible)
    for table in (by_class, by_state):
        assert (table >= 0).all()
        near(table.sum(2), counts.double())
    for item, target in enumerate(case.targets):
        states = [case.blank] + [c for label in target for c in (label, case.blank)]
        summed = torch.zeros(case.frames, case.classes, dtype=torch.float64)
        summed.index_add_(1, torch.tensor(states), by_state[:, item, : len(states)])
        near(by_class[:, item], summed)


@given(any_cases(), logits_or_not)
def test_the_gradient_is_the_occupancy(case: Case, logits: bool) -> None:
    """Minus the occupancy for log-probabilities; softmax minus the occupancy for logits."""
    arguments = case.padded(case.logits(scale=3))
    occupancy = ctckit.posteriors(*arguments, logits=logits)
    counts = torch.arange(case.frames)[:, None] < torch.tensor(case.input_lengths)
    counts &= torch.tensor(case.feasible)
    share = arguments.emissions.softmax(2) if logits else torch.zeros_like(occupancy)
    near(run(arguments, logits=logits).gradient, torch.where(counts[:, :, None], share - occupancy, 0.0))


@given(any_cases(), st.floats(-1e4, 1e4))
def test_logits_have_no_zero(case: Case, shift: float) -> None:
    """A constant added to a frame's logits changes nothing; added to log-probabilities, subtracts from the loss."""
    x = case.logits()
    shifts = shift * torch.arange(case.frames, dtype=torch.float64)[:, None, None] / 10
    rounding = 1e-11 * max(1.0, abs(shift))
    for logits in (True, False):
        plain = run(case.padded(x), logits=logits)
        moved = run(case.padded(x + shifts), logits=logits)
        near(moved.gradient, plain.gradient, rounding)
        by = torch.stack([shifts[:frames].sum() for frames in case.input_lengths])
        near(moved.losses, plain.losses - (0 if logits else by), rounding)


@given(any_cases(), logits_or_not)
def test_time_can_run_backwards(case: Case, logits: bool) -> None:
    """Reversed frames and labels give the same loss and the reversed gradient."""
    x = case.logits(scale=3)
    plain = run(case.padded(x), logits=logits)
    y, expected = x.clone(), plain.gradient.clone()
    for item, frames in enumerate(case.input_lengths):
        y[:frames, item] = x[:frames, item].flip(0)
        expected[:frames, item] = plain.gradient[:frames, item].flip(0)
    mirrored = replace(case, targets=tuple(target[::-1] for target in case.targets))
    actual = run(mirrored.padded(y), logits=logits)
    near(actual.losses, plain.losses)
    near(actual.gradient, expected)


@given(any_cases(), logits_or_not, st.randoms(use_true_random=False))
def test_classes_have_no_order(case: Case, logits: bool, shuffled: random.Random) -> None:
    """The class of the blank may be any number."""
    x = case.logits(scale=3)
    order = list(range(case.classes))
    shuffled.shuffle(order)
    targets = tuple(tuple(order.index(c) for c in target) for target in case.targets)
    moved = replace(case, targets=targets, blank=order.index(case.blank))
    plain, actual = run(case.padded(x), logits=logits), run(moved.padded(x[:, :, order]), logits=logits)
    near(actual.losses, plain.losses)
    near(actual.gradient, plain.gradient[:, :, order])


@given(small_cases(max_frames=5, max_classes=3, max_items=1))
def test_all_targets_share_one_unit_of_probability(case: Case) -> None:
    """Every path spells one target, so after a softmax the likelihoods of all targets add up to 1."""
    from tests.tools import oracle

    targets = tuple(oracle.targets(case.classes, case.blank, case.frames))
    every = Case("", case.frames, case.classes, targets, (case.frames,) * len(targets), case.blank)
    x = case.logits()[:, :1].expand(-1, len(targets), -1)
    losses, slope = run(every.padded(x), logits=True)
    likelihoods = (-losses).exp()
    near(likelihoods.sum(), torch.ones((), dtype=torch.float64))
    # So the gradient of their sum is 0.
    near((slope * likelihoods[:, None]).sum(1), torch.zeros(case.frames, case.classes, dtype=torch.float64))


@given(any_cases())
def test_half_types_are_read_as_they_are(case: Case) -> None:
    """The loss of half types is that of the same numbers in float32; the gradient is the float32 one rounded."""
    for dtype in (torch.float16, torch.bfloat16):
        x = case.logits(dtype, scale=3)
        halves, floats = run(case.padded(x), logits=True), run(case.padded(x.float()), logits=True)
        assert torch.equal(halves.losses, floats.losses)
        assert torch.equal(halves.gradient, floats.gradient.to(dtype))


def test_arguments_are_never_changed() -> None:
    case = random_case(40, 5, 30, 12, seed=1)
    for form in ("padded", "concatenated"):
        x, *others = case.padded(case.logits(torch.float32))
        if form == "concatenated":
            others[0] = torch.tensor([label for target in case.targets for label in target])
        kept = [v.clone() if isinstance(v, Tensor) else v for v in (x, *others)]
        for logits in (False, True):
            run(Arguments(x, *others), logits=logits)
            ctckit.posteriors(x, *others, logits=logits)
            ctckit.check(x, *others)
        for before, after in zip(kept, (x, *others), strict=True):
            assert torch.equal(before, after) if isinstance(before, Tensor) else before == after
