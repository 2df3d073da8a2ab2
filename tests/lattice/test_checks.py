"""Faults: which labels and lengths are wrong, all of them and no others."""

from __future__ import annotations

import re

import pytest
import torch
from hypothesis import given

from ctckit.errors import ArgumentValueError
from ctckit.lattice import Problem, faults, gate, item_name, no_path, too_few_frames, validate, validate_input_lengths
from tests.lattice.bad_arguments import base
from tests.tools.cases import FORMS, Case, cases


def details(problem: Problem) -> tuple[str, int, int, int]:
    """The kind, and from the message the item, the position of the label (-1 for a length) and the value."""
    if problem.kind == "target_sum":
        (value,) = re.findall(r"^target_lengths add up to (-?\d+),", problem.message)
        return problem.kind, problem.item, -1, int(value)
    if problem.kind in ("label", "blank_label"):
        ((position, item, value),) = re.findall(r"^targets: label (\d+) of item (\d+) is (-?\d+),", problem.message)
        assert int(item) == problem.item
        return problem.kind, problem.item, int(position), int(value)
    ((name, item, value),) = re.findall(r"^(\w+)s\[(\d+)\] is (-?\d+),", problem.message)
    assert (name, int(item)) == (problem.kind, problem.item)
    return problem.kind, problem.item, -1, int(value)


def test_faults_lists_all() -> None:
    targets = torch.tensor([[9, 9, 9], [3, 0, 1], [4, 1, 0]])
    _, lattice, _ = gate(**base(targets=targets, input_lengths=[8, -1, 7], target_lengths=[3, 2, 4]))
    found = faults(lattice, 7, 5)
    assert list(map(details, found)) == [
        ("input_length", 0, -1, 8),
        ("input_length", 1, -1, -1),
        ("target_length", 2, -1, 4),
        ("label", 0, 0, 9),
        ("blank_label", 1, 1, 0),
        ("blank_label", 2, 2, 0),
    ]
    with pytest.raises(ValueError, match=r"input_lengths\[0\] is 8") as caught:
        validate(lattice, 7, 5)
    assert str(caught.value) == found[0].message


@pytest.mark.parametrize("item", range(3))
@pytest.mark.parametrize("length", [-(2**63), -2, -1, 0, 4, 2**63 - 1])
def test_labels_beyond_a_length_are_no_faults(item: int, length: int) -> None:
    """Also with an impossible length: if it is too large, the existing labels are checked."""
    targets, lengths = torch.full((3, 3), 9), [0, 0, 0]
    lengths[item] = length
    _, lattice, _ = gate(**base(targets=targets, target_lengths=lengths))
    expected = [("target_length", item, -1, length)] if length else []
    expected += [("label", item, 0, 9)] if length > 0 else []
    assert list(map(details, faults(lattice, 7, 5))) == expected


@pytest.mark.parametrize(
    ("lengths", "expected"),
    [
        ((3, 1, 1), [("target_sum", -1, -1, 5)]),
        ((3, 1, 3), [("target_sum", -1, -1, 7)]),
        ((7, -1, 0), [("target_length", 0, -1, 7), ("target_length", 1, -1, -1)]),
        ((7, 0, 0), [("target_length", 0, -1, 7), ("target_sum", -1, -1, 7)]),
        ((3, 1, 2), [("label", 0, 1, 9), ("blank_label", 2, 0, 0)]),
    ],
)
def test_faults_of_concatenated_targets(lengths: tuple[int, ...], expected: list[tuple[str, int, int, int]]) -> None:
    """If the lengths do not add up, labels cannot be assigned to items: no problem names a label."""
    flat = torch.tensor([1, 9, 9, 3, 0, 9])
    _, lattice, _ = gate(**base(targets=flat, input_lengths=[7, 8, 7], target_lengths=lengths))
    found = faults(lattice, 7, 5)
    assert list(map(details, found)) == [("input_length", 1, -1, 8), *expected]
    with pytest.raises(ArgumentValueError) as caught:
        validate(lattice, 7, 5)
    assert str(caught.value) == found[0].message


@given(cases())
def test_valid_is_never_rejected(case: Case) -> None:
    for form in ("padded", "concatenated"):
        x, lattice, _ = gate(*FORMS[form](case.padded(case.logits()), case))
        assert faults(lattice, x.shape[0], x.shape[2]) == []
        validate(lattice, x.shape[0], x.shape[2])


def test_input_lengths_by_themselves() -> None:
    validate_input_lengths(torch.tensor([0, 4, 7]), 7)
    validate_input_lengths(torch.tensor([], dtype=torch.int64), 7)
    with pytest.raises(ArgumentValueError, match=r"^input_lengths\[1\] is 8, but the input has 7 frames"):
        validate_input_lengths(torch.tensor([7, 8, -1]), 7)


def test_items_have_numbers_in_a_batch() -> None:
    assert (item_name(2), item_name(2, batched=False)) == ("item 2", "the item")
    _, lattice, _ = gate(**base(input_lengths=[2, 7, 7]))
    for batched, name in ((True, "item 0"), (False, "the item")):
        (problem,) = too_few_frames(lattice, batched=batched)
        assert (problem.item, problem.kind) == (0, "infeasible")
        assert problem.message.startswith(f"{name} needs ")
    assert too_few_frames(lattice)[0].message.startswith("item 0 ")


@pytest.mark.parametrize(
    ("frames", "words"),
    [
        (3, "item 5 needs 4 frames (3 labels, and a blank between 1 pair of equal neighbours), but has 3: "),
        (4, "log-probabilities of -inf bar every path of item 5 through its 4 frames: "),
        (9, "log-probabilities of -inf bar every path of item 5 through its 9 frames: "),
    ],
)
def test_why_no_path_fits(frames: int, words: str) -> None:
    problem = no_path(5, frames, 4, labels=3)
    assert problem[:2] == (5, "infeasible")
    assert problem.message.startswith(words)
    assert no_path(5, 1, 2, labels=2).message.startswith("item 5 needs 2 frames (2 labels), but has 1: ")
    assert no_path(5, 0, 1, batched=False).message.startswith("the item needs 1 frame, but has 0: ")
