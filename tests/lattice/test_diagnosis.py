"""`feasible` and `check`: their results, and their agreement with the loss for every item."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given
from torch._subclasses.fake_tensor import FakeTensorMode

import ctckit
from ctckit import Problem
from tests.tools import oracle
from tests.tools.cases import EDGE_CASES, FORMS, Case, cases

# ------------------------------------------------------------------------------------------------------------ feasible


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", EDGE_CASES, ids=str)
def test_feasible_in_every_form(case: Case, form: str) -> None:
    _, targets, input_lengths, target_lengths, blank = FORMS[form](case.padded(case.logits()), case)
    found = ctckit.feasible(targets, input_lengths, target_lengths, blank)
    assert found.dtype == torch.bool
    assert found.tolist() == case.feasible


@given(cases())
def test_feasible_is_what_has_a_finite_loss(case: Case) -> None:
    arguments = case.padded(case.logits())
    losses = ctckit.ctc_loss(*arguments, reduction="none")
    assert torch.equal(ctckit.feasible(*arguments[1:]), losses.isfinite())


def test_feasible_is_what_has_a_path() -> None:
    for frames in range(5):
        ones = [[1] * 3] * frames
        for target in oracle.targets(3, 0, 5):
            labels = torch.tensor([target], dtype=torch.int64).reshape(1, -1)
            assert ctckit.feasible(labels, [frames]).item() == bool(oracle.answer(ones, 3, target, 0).paths)


def test_feasible_of_one() -> None:
    for lengths in (4, torch.tensor(4), [4], torch.tensor([4])):
        assert ctckit.feasible(torch.tensor([1, 1, 2]), lengths).tolist() == [True]
        assert ctckit.feasible(torch.tensor([1, 1, 2]), lengths, 3).tolist() == [True]
    assert ctckit.feasible(torch.tensor([1, 1, 2]), 3).tolist() == [False]


def test_feasible_goes_where_the_targets_are() -> None:
    found = ctckit.feasible(torch.empty(2, 3, dtype=torch.int64, device="meta"), [3, 4], [3, 3])
    assert found.device.type == "meta"


# --------------------------------------------------------------------------------------------------------------- check

BASE = Case("base", 7, 5, ((1, 2, 2), (3,), (4, 1)), (7, 6, 5))


def problems(**changes: Any) -> list[Problem]:
    return ctckit.check(**{**BASE.padded(BASE.logits())._asdict(), **changes})


def kinds(found: list[Problem]) -> list[tuple[int, str]]:
    return [(problem.item, problem.kind) for problem in found]


def test_nothing_to_say() -> None:
    assert problems() == []
    assert problems(emissions=None) == []
    assert problems(emissions=BASE.logits().transpose(0, 1), batch_first=True) == []
    assert ctckit.check(None, torch.empty(0, 3, dtype=torch.int64), ()) == []


def test_infeasible_items() -> None:
    (problem,) = problems(input_lengths=[3, 6, 5])
    assert problem[:2] == (0, "infeasible")
    for words in ("item 0 needs 4 frames", "3 labels", "1 pair of equal neighbours", "has 3", "subsample less"):
        assert words in problem.message
    found = problems(input_lengths=[0, 0, 0])
    assert kinds(found) == [(0, "infeasible"), (1, "infeasible"), (2, "infeasible")]
    assert "item 1 needs 1 frame (1 label), but has 0" in found[1].message
    assert kinds(problems(emissions=None, input_lengths=[0, 0, 0])) == kinds(found)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([1], "needs 1 frame (1 label), but has 0:"),
        ([1, 2], "needs 2 frames (2 labels), but has 0:"),
        ([1, 1], "needs 3 frames (2 labels, and a blank between 1 pair of equal neighbours), but has 0:"),
        ([1, 1, 1, 2], "needs 6 frames (4 labels, and a blank between 2 pairs of equal neighbours), but has 0:"),
        ([1, 1, 2, 2, 2], "needs 8 frames (5 labels, and a blank between 3 pairs of equal neighbours), but has 0:"),
    ],
)
def test_what_an_item_needs_in_words(labels: list[int], words: str) -> None:
    (problem,) = ctckit.check(None, torch.tensor([labels]), [0])
    assert problem.message.startswith(f"item 0 {words}")


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_numbers_that_are_none(value: float) -> None:
    x = BASE.logits()
    x[5, 1, 4] = x[5, 1, 2] = value
    x[6, 1] = value  # beyond the length
    (problem,) = problems(emissions=x)
    assert problem[:2] == (1, "non_finite")
    assert f"emissions[5, 1, 2] (frame, item, class) is {value}" in problem.message
    assert "first of 2 such values" in problem.message


def test_frames_in_which_nothing_is_possible() -> None:
    x = BASE.logits()
    x[2, 2, 0] = x[2, 2, 1] = x[2, 2, 4] = -torch.inf
    x[3, 0, 3] = x[3, 0, 4] = -torch.inf  # classes outside of the target
    (problem,) = problems(emissions=x)
    assert problem[:2] == (2, "impossible_frame")
    assert "frame 2 of item 2" in problem.message
    assert ctckit.ctc_loss(*BASE.padded(x), reduction="none").isinf().tolist() == [False, False, True]


def test_one_item_hides_no_other() -> None:
    """Each problem names its first frame."""
    x = BASE.logits()
    x[[2, 4], 0, 3] = torch.nan
    x[[1, 3], 1] = -torch.inf
    x[[3, 4], 2, 1] = torch.inf
    found = problems(emissions=x)
    assert kinds(found) == [(0, "non_finite"), (1, "impossible_frame"), (2, "non_finite")]
    places = ("emissions[2, 0, 3]", "in frame 1 of item 1", "emissions[3, 2, 1]")
    assert all(place in problem.message for place, problem in zip(places, found, strict=True))


def test_all_that_is_wrong_by_item() -> None:
    """One problem per item, sorted by item; an invalid item is not also infeasible."""
    x = BASE.logits()
    x[0, 1, 0] = torch.nan
    targets = torch.tensor([[1, 0, 2], [3, 3, 3], [4, 9, 0]])
    found = problems(emissions=x, targets=targets, input_lengths=[7, 2, 8], target_lengths=[3, 3, 2])
    assert kinds(found) == [
        (0, "blank_label"),
        (1, "infeasible"),
        (1, "non_finite"),
        (2, "input_length"),
        (2, "label"),
    ]
    for problem in found:
        assert "\n" not in problem.message
        assert f"item {problem.item}" in problem.message or f"[{problem.item}]" in problem.message


def test_the_batch_as_a_whole() -> None:
    (problem,) = problems(targets=torch.tensor([1, 2, 2, 3, 4]))
    assert problem[:2] == (-1, "target_sum")
    assert "add up to 6" in problem.message
    assert problems(targets=torch.tensor([1, 2, 2, 3, 4]), input_lengths=[0, 0, 0]) == [problem]
    assert problems(targets=torch.tensor([1, 2, 2, 3, 4]), emissions=BASE.logits().fill_(torch.nan)) == [problem]


@pytest.mark.parametrize("fake", [("emissions",), ("targets",), ("emissions", "targets")], ids=str)
def test_tensors_that_stand_for_others(fake: tuple[str, ...]) -> None:
    """Tensors without numbers cannot be checked."""
    mode: Any = FakeTensorMode()
    given = BASE.padded(BASE.logits())._asdict()
    with pytest.raises(ctckit.ArgumentTypeError, match=rf"{fake[0]} is a FakeTensor, .*numbers.*: pass "):
        problems(**{name: mode.from_tensor(given[name]) for name in fake})


@given(cases())
def test_check_is_empty_where_the_loss_is_finite(case: Case) -> None:
    arguments = case.padded(case.logits())
    by_item = {problem.item for problem in ctckit.check(*arguments)}
    losses = ctckit.ctc_loss(*arguments, reduction="none")
    assert by_item == set(losses.isinf().nonzero()[:, 0].tolist())
    assert {problem.item for problem in ctckit.check(None, *arguments[1:])} == by_item


# ----------------------------------------------------------------------------------------------------------- bad input

TABLE = torch.tensor([[1, 2, 2], [3, 0, 0]])


@pytest.mark.parametrize("function", ["feasible", "check"])
@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ((TABLE, None), ValueError, "input_lengths is None"),
        ((TABLE, 3.0), TypeError, "input_lengths is a float"),
        ((TABLE, "33"), TypeError, "input_lengths is a str"),
        ((TABLE, [3, 3.0]), TypeError, r"input_lengths\[1\] is 3.0"),
        ((TABLE, 3), ValueError, "input_lengths holds 1 length"),
        ((TABLE, torch.tensor([3, 3, 3])), ValueError, r"input_lengths has shape \(3,\)"),
        ((TABLE, [3, 3], torch.tensor([3.0, 3.0])), TypeError, "target_lengths has dtype torch.float32"),
        ((TABLE.tolist(), [3, 3]), TypeError, "targets is a list"),
        ((TABLE.float(), [3, 3]), TypeError, "targets has dtype torch.float32"),
        ((TABLE[None], [3, 3]), ValueError, r"targets has shape \(1, 2, 3\)"),
        ((TABLE[0], [3, 3]), ValueError, "target_lengths is None"),
        ((TABLE, [3, 3], None, None), TypeError, "blank is None"),
        ((TABLE, [3, 3], None, -1), ValueError, "blank is -1"),
        ((TABLE, [3, 3], None, 0.0), TypeError, "blank is 0.0"),
    ],
)
def test_bad_input(function: str, arguments: tuple[Any, ...], error: type[Exception], says: str) -> None:
    call: Any = ctckit.feasible if function == "feasible" else partial(ctckit.check, None)
    with pytest.raises(error, match=says):
        call(*arguments)
