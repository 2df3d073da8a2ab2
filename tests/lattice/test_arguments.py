"""The gate: all forms of a call give the same lattice, and every wrong argument an error with a remedy."""

from __future__ import annotations

import inspect
import re
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ctckit.errors import ArgumentTypeError, ArgumentValueError
from ctckit.lattice import (
    Lattice,
    Problem,
    faults,
    frames_needed,
    gate,
    is_invalid,
    may_skip,
    padded_labels,
    state_labels,
    tighten,
    validate,
)
from ctckit.lattice import arguments as arguments_module
from tests.tools import oracle
from tests.tools.cases import EDGE_CASES, FORMS, Arguments, Case, cases

BASE = Case("base", 7, 5, ((1, 2, 2), (3,), (4, 1)), (7, 6, 5))


def base(**changes: Any) -> dict[str, Any]:
    """The arguments of a valid call, some of them replaced."""
    return {**BASE.padded(BASE.logits())._asdict(), **changes}


def checked(arguments: Arguments | dict[str, Any]) -> Lattice:
    """Call gate and validate, as an eager call on the CPU does."""
    named = arguments if isinstance(arguments, dict) else arguments._asdict()
    x, lattice, _ = gate(**named)
    validate(lattice, x.shape[0], x.shape[2])
    return lattice


# ------------------------------------------------------------------------------------------------------------ accepted


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", EDGE_CASES, ids=str)
def test_all_forms_are_one(case: Case, form: str) -> None:
    arguments = FORMS[form](case.padded(case.logits()), case)
    lattice = checked(arguments)
    table = padded_labels(tighten(lattice))
    assert [row[: len(t)] for row, t in zip(table.tolist(), case.targets, strict=True)] == [
        list(t) for t in case.targets
    ]
    assert all(
        label == case.blank for row, t in zip(table.tolist(), case.targets, strict=True) for label in row[len(t) :]
    )
    assert lattice.input_lengths.tolist() == list(case.input_lengths)
    assert lattice.target_lengths.tolist() == [len(target) for target in case.targets]
    assert lattice.blank == case.blank
    for tensor in lattice[:3]:
        assert tensor.dtype == torch.int64
    assert lattice.input_lengths.ndim == lattice.target_lengths.ndim == lattice.offsets.ndim == 1
    assert lattice.labels.ndim == (1 if lattice.concatenated else 2)
    # By definition label s of item n is labels[offsets[n] + s], for s < max_target.
    for target, offset in zip(case.targets, lattice.offsets.tolist(), strict=True):
        assert lattice.labels.reshape(-1)[offset : offset + len(target)].tolist() == list(target)
        assert len(target) <= lattice.max_target
    assert not is_invalid(lattice, case.frames, case.classes).any()
    assert ((frames_needed(lattice) <= lattice.input_lengths).tolist()) == case.feasible


@given(cases())
def test_all_forms_are_one_drawn(case: Case) -> None:
    for form in FORMS:
        test_all_forms_are_one(case, form)


def test_emissions_are_a_view() -> None:
    x = torch.randn(7, 3, 5)
    for batch_first, given_x in ((False, x), (True, x.transpose(0, 1))):
        seen, _, batched = gate(**base(emissions=given_x), batch_first=batch_first)
        assert batched
        assert seen.shape == x.shape
        assert seen.stride() == x.stride()
        assert seen.data_ptr() == x.data_ptr()


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("targets", [torch.tensor([1, 2, 2]), torch.tensor([[1, 2, 2]])])
@pytest.mark.parametrize("lengths", [(7, 3), ([7], (3,)), (torch.tensor(7), torch.tensor([3])), (None, None)])
def test_unbatched(targets: Tensor, lengths: tuple[Any, Any], batch_first: bool) -> None:
    x = torch.randn(7, 5)
    seen, lattice, batched = gate(x, targets, *lengths, 0, batch_first=batch_first)
    validate(lattice, 7, 5)
    assert not batched
    assert seen.shape == (7, 1, 5)
    assert seen.data_ptr() == x.data_ptr()
    assert padded_labels(lattice).tolist() == [[1, 2, 2]]
    assert (lattice.input_lengths.tolist(), lattice.target_lengths.tolist()) == ([7], [3])


@pytest.mark.parametrize("name", ["input_lengths", "target_lengths"])
@pytest.mark.parametrize("lengths", [torch.tensor([[3]]), torch.tensor([3, 3]), torch.empty(0, dtype=torch.int64)])
def test_lengths_of_other_shapes_for_one_item(name: str, lengths: Tensor) -> None:
    arguments: dict[str, Any] = {"input_lengths": 7, "target_lengths": 3, name: lengths}
    with pytest.raises(ArgumentValueError, match=rf"{name} has shape \({str(tuple(lengths.shape))[1:-1]}\), .*\(1,\)"):
        gate(torch.randn(7, 5), torch.tensor([1, 2, 2]), blank=0, **arguments)


def test_unbatched_padded() -> None:
    _, lattice, _ = gate(torch.randn(7, 5), torch.tensor([1, 2, -100]), None, None, 0)
    validate(lattice, 7, 5)
    assert (lattice.target_lengths.tolist(), padded_labels(lattice).tolist()) == ([2], [[1, 2, 0]])


def test_tutorial_example() -> None:
    five = torch.tensor([5])
    _, lattice, batched = gate(torch.rand(10, 26), torch.tensor([1, 2, 3, 4, 5]), five, five, 0)
    validate(lattice, 10, 26)
    assert (lattice.input_lengths.tolist(), lattice.target_lengths.tolist(), batched) == ([5], [5], False)


def test_lengths_of_other_kinds() -> None:
    as_numpy = [np.int64(7), np.int32(6), np.uint8(5)]
    assert checked(base(input_lengths=as_numpy)).input_lengths.tolist() == [7, 6, 5]
    assert checked(base(input_lengths=[torch.tensor(7), 6, 5])).input_lengths.tolist() == [7, 6, 5]
    assert checked(base(blank=np.int64(0))).blank == 0


def test_lengths_move_to_the_device_of_the_emissions() -> None:
    x, targets, *_ = BASE.padded(BASE.logits().to("meta"))
    lengths = torch.tensor([1, 2, 3], dtype=torch.int32)
    _, lattice, _ = gate(x, targets.to("meta"), lengths, (1, 2, 3), 0)
    assert {tensor.device.type for tensor in lattice[:3]} == {"meta"}


@pytest.mark.parametrize("lengths", ["numbers", "memory", "pinned memory"])
def test_lengths_move_without_waiting(lengths: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An asynchronous copy may read pinned memory later, so it reads a clone that the caller cannot change."""
    calls: list[tuple[str, Any]] = []

    class Record(TorchDispatchMode):
        def __torch_dispatch__(self, function: Any, _: Any, args: Any = (), kwargs: Any = None) -> Any:
            calls.append((function.overloadpacket.__name__, (kwargs or {}).get("non_blocking")))
            return function(*args, **(kwargs or {}))

    monkeypatch.setattr(Tensor, "is_pinned", lambda _: lengths == "pinned memory")
    x, targets, *own, _ = BASE.padded(BASE.logits())
    x, targets = x.to("meta"), targets.to("meta")
    given: Any = [each.tolist() for each in own] if lengths == "numbers" else own
    record: Any = Record
    with record():
        gate(x, targets, given[0], given[1], 0)
    copied = [("clone", None), ("_to_copy", True)] if lengths == "pinned memory" else [("_to_copy", True)]
    assert [call for call in calls if call[0] in ("clone", "_to_copy")] == 2 * copied


def test_max_target_needs_no_reading() -> None:
    """The width of padded targets, the total of concatenated ones; the longest if lengths are Python numbers."""
    flat = torch.tensor([1, 2, 2, 3, 4, 1])
    assert checked(base()).max_target == 3
    assert checked(base(targets=flat)).max_target == 6
    assert tighten(checked(base(targets=flat))).max_target == 3
    assert checked(base(targets=flat, target_lengths=(3, 1, 2))).max_target == 3
    for lengths, longest in (((0, 0, 0), 0), ((-1, -2, -3), 0), ((7, 0, 0), 6)):  # also for impossible lengths
        _, lattice, _ = gate(**base(targets=flat, target_lengths=torch.tensor(lengths)))
        assert tighten(lattice).max_target == longest
        assert gate(**base(targets=flat, target_lengths=lengths))[1].max_target == longest


@pytest.mark.parametrize("field", [None, "labels", "input_lengths", "target_lengths"])
@pytest.mark.parametrize("spoilt", ["strided", "negated"])
def test_contiguous_brings_every_tensor_side_by_side(field: str | None, spoilt: str) -> None:
    """A contiguous lattice is not copied; else the copy has the same numbers."""
    whole = checked(base())
    if field is None:
        assert whole.contiguous() is whole
        return
    numbers = getattr(whole, field)
    changed = torch._neg_view(-numbers) if spoilt == "negated" else torch.stack((numbers, numbers), -1)[..., 0]
    found = Lattice(**{**whole._asdict(), field: changed}).contiguous()
    for mine, wanted in zip(found[:3], whole[:3], strict=True):
        assert mine.is_contiguous()
        assert not mine.is_neg()
        assert torch.equal(mine, wanted)
    assert found[3:] == whole[3:]


# ------------------------------------------------------------------------------------------------------------ topology


def test_states() -> None:
    states = state_labels(torch.tensor([[1, 1, 2], [2, 1, 2]]), 0)
    assert states.tolist() == [[0, 1, 0, 1, 0, 2, 0], [0, 2, 0, 1, 0, 2, 0]]
    assert may_skip(states, 0).int().tolist() == [[0, 0, 0, 0, 0, 1, 0], [0, 0, 0, 1, 0, 1, 0]]
    assert state_labels(torch.empty(2, 0, dtype=torch.int64), 4).tolist() == [[4], [4]]
    assert may_skip(torch.tensor([4]), 4).tolist() == [False]


@pytest.mark.parametrize("blank", [0, 1, 2])
def test_frames_needed_is_the_fewest_with_a_path(blank: int) -> None:
    for target in oracle.targets(3, blank, 4):
        table = torch.tensor([target], dtype=torch.int64).reshape(1, -1)
        _, lattice, _ = gate(torch.zeros(8, 1, 3), table, None, None, blank)
        (needed,) = frames_needed(lattice).tolist()
        ones = [[1] * 3] * needed
        assert oracle.answer(ones, 3, target, blank).paths > 0
        assert needed == 0 or oracle.answer(ones[1:], 3, target, blank).paths == 0


# ------------------------------------------------------------------------------------------------------------ rejected

FLAT = torch.tensor([1, 2, 2, 3, 4, 1])
TABLE = torch.tensor([[1, 2, 2], [3, 0, 0], [4, 1, 0]])


def spoil(position: tuple[int, int], value: int) -> Tensor:
    table = TABLE.clone()
    table[position] = value
    return table


# The arguments, the error, and the contents of its message: argument, item, value, rule, remedy.
BAD: dict[str, tuple[dict[str, Any], type[Exception], tuple[str, ...]]] = {
    # types and dtypes
    "emissions list": ({"emissions": [[0.0]]}, ArgumentTypeError, ("log_probs is a list", "torch.as_tensor")),
    "emissions numpy": (
        {"emissions": np.zeros((7, 3, 5))},
        ArgumentTypeError,
        ("log_probs is a ndarray", "torch.as_tensor"),
    ),
    "emissions int": (
        {"emissions": torch.zeros(7, 3, 5).long()},
        ArgumentTypeError,
        ("dtype torch.int64", "log_probs.float()"),
    ),
    "emissions bool": (
        {"emissions": torch.ones(7, 3, 5).bool()},
        ArgumentTypeError,
        ("dtype torch.bool", "log_probs.float()"),
    ),
    "emissions complex": (
        {"emissions": torch.ones(7, 3, 5) * 1j},
        ArgumentTypeError,
        ("dtype torch.complex64", "float32"),
    ),
    "targets list": ({"targets": TABLE.tolist()}, ArgumentTypeError, ("targets is a list", "torch.tensor(targets)")),
    "targets float": (
        {"targets": TABLE.float()},
        ArgumentTypeError,
        ("targets has dtype torch.float32", "targets.long()"),
    ),
    "targets bool": ({"targets": TABLE.bool()}, ArgumentTypeError, ("targets has dtype torch.bool", "targets.long()")),
    "targets complex": ({"targets": TABLE * 1j}, ArgumentTypeError, ("targets has dtype torch.complex64",)),
    "targets none": ({"targets": None}, ArgumentTypeError, ("targets is a NoneType",)),
    "blank float": ({"blank": 0.0}, ArgumentTypeError, ("blank is 0.0", "float", "must be an int")),
    "blank bool": ({"blank": True}, ArgumentTypeError, ("blank is True", "bool", "must be an int")),
    "blank none": ({"blank": None}, ArgumentTypeError, ("blank is None", "must be an int")),
    # dimensions and sizes
    "emissions 1-D": (
        {"emissions": torch.zeros(5)},
        ArgumentValueError,
        ("log_probs has shape (5,)", "(T, N, C)", "(T, C)"),
    ),
    "emissions 4-D": (
        {"emissions": torch.zeros(7, 3, 5, 1)},
        ArgumentValueError,
        ("log_probs has shape (7, 3, 5, 1)",),
    ),
    "no classes": ({"emissions": torch.zeros(7, 3, 0)}, ArgumentValueError, ("shape (7, 3, 0)", "0 classes", "blank")),
    "targets 0-D": ({"targets": torch.tensor(1)}, ArgumentValueError, ("targets has shape ()", "(N, S)")),
    "targets 3-D": (
        {"targets": TABLE[None]},
        ArgumentValueError,
        ("targets has shape (1, 3, 3)", "(N, S)", "concatenated"),
    ),
    "targets rows": (
        {"targets": TABLE[:2]},
        ArgumentValueError,
        ("targets has shape (2, 3)", "that is 2 rows", "batch of 3", "one row"),
    ),
    "targets rows, unbatched": (
        {"emissions": torch.zeros(7, 5)},
        ArgumentValueError,
        ("targets has shape (3, 3)", "one item without a batch"),
    ),
    "concatenated, no lengths": (
        {"targets": FLAT, "target_lengths": None},
        ArgumentValueError,
        ("target_lengths is None", "(6,)", "concatenated", "pass target_lengths"),
    ),
    "blank too large": ({"blank": 5}, ArgumentValueError, ("blank is 5", "classes 0 to 4", "blank=4")),
    "blank negative": ({"blank": -1}, ArgumentValueError, ("blank is -1", "classes 0 to 4", "blank=4")),
    # device
    "targets elsewhere": (
        {"targets": TABLE.to("meta")},
        ArgumentValueError,
        ("targets is on meta", "log_probs is on cpu", "targets.to(log_probs.device)"),
    ),
    # values
    "label too large": (
        {"targets": spoil((2, 1), 5)},
        ArgumentValueError,
        ("targets", "label 1 of item 2 is 5", "classes 0 to 4", "correct the label"),
    ),
    "label huge": ({"targets": spoil((0, 0), 2**62)}, ArgumentValueError, (f"label 0 of item 0 is {2**62}",)),
    "label negative": (
        {"targets": spoil((1, 0), -1)},
        ArgumentValueError,
        ("label 0 of item 1 is -1", "classes 0 to 4", "-100"),
    ),
    "label blank": (
        {"targets": spoil((0, 2), 0)},
        ArgumentValueError,
        ("label 2 of item 0 is 0", "the blank", "leave it out"),
    ),
    "label is padding": (
        {"targets": spoil((0, 1), -100)},
        ArgumentValueError,
        ("label 1 of item 0 is -100", "marks padding", "labels first", "target_lengths"),
    ),
    "label after padding": (
        {"targets": spoil((0, 1), -100), "target_lengths": None},
        ArgumentValueError,
        ("label 1 of item 0 is -100", "marks padding", "labels first"),
    ),
    "label too large, concatenated": (
        {"targets": torch.tensor([1, 2, 2, 3, 9, 1])},
        ArgumentValueError,
        ("label 0 of item 2 is 9", "classes 0 to 4"),
    ),
    "label blank, concatenated": (
        {"targets": torch.tensor([1, 2, 2, 0, 4, 1])},
        ArgumentValueError,
        ("label 0 of item 1 is 0", "the blank"),
    ),
    "sum too small": (
        {"targets": FLAT, "target_lengths": (3, 1, 1)},
        ArgumentValueError,
        ("target_lengths add up to 5", "targets is one row of 6 labels", "(N, S)"),
    ),
    "sum too large": ({"targets": FLAT, "target_lengths": (3, 1, 4)}, ArgumentValueError, ("add up to 8", "6 labels")),
    "concatenated length too large": (
        {"targets": FLAT, "target_lengths": (7, 1, 2)},
        ArgumentValueError,
        ("target_lengths[0] is 7", "6 labels in all"),
    ),
    "concatenated length negative": (
        {"targets": FLAT, "target_lengths": (5, -1, 2)},
        ArgumentValueError,
        ("target_lengths[1] is -1", "0 to 6"),
    ),
    "unbatched sum": (
        {"emissions": torch.zeros(7, 5), "targets": FLAT, "input_lengths": 7, "target_lengths": 5},
        ArgumentValueError,
        ("add up to 5", "6 labels"),
    ),
}
for argument, longest, most in (("input_lengths", 7, "7 frames"), ("target_lengths", 3, "3 labels per item")):
    right = (3, 1, 2)
    float_tensor, bool_tensor = torch.tensor(right).float(), torch.tensor(right).bool()
    not_finite = torch.tensor([3.0, torch.inf, torch.nan])
    BAD |= {
        f"{argument} float": (
            {argument: float_tensor},
            ArgumentTypeError,
            (f"{argument} has dtype", "integers", ".long()"),
        ),
        f"{argument} not finite": ({argument: not_finite}, ArgumentTypeError, (f"{argument} has dtype torch.float32",)),
        f"{argument} bool": (
            {argument: bool_tensor},
            ArgumentTypeError,
            (f"{argument} has dtype torch.bool", ".long()"),
        ),
        f"{argument} numpy": (
            {argument: np.array(right)},
            ArgumentTypeError,
            (f"{argument} is a ndarray", "torch.as_tensor"),
        ),
        f"{argument} string": ({argument: "312"}, ArgumentTypeError, (f"{argument} is a str",)),
        f"{argument} float number": ({argument: 3.0}, ArgumentTypeError, (f"{argument} is a float",)),
        f"{argument} list of float": (
            {argument: [3, 1.0, 2]},
            ArgumentTypeError,
            (f"{argument}[1] is 1.0", "must be an int"),
        ),
        f"{argument} list of nan": (
            {argument: [3, 1, float("nan")]},
            ArgumentTypeError,
            (f"{argument}[2] is nan", "an int"),
        ),
        f"{argument} list of bool": (
            {argument: [True, 1, 2]},
            ArgumentTypeError,
            (f"{argument}[0] is True", "must be an int"),
        ),
        f"{argument} 2-D": (
            {argument: torch.tensor([right])},
            ArgumentValueError,
            (f"{argument} has shape (1, 3)", "(3,)"),
        ),
        f"{argument} too few": (
            {argument: torch.tensor([3, 1])},
            ArgumentValueError,
            (f"{argument} has shape (2,)", "(3,)"),
        ),
        f"{argument} a number for many": (
            {argument: torch.tensor(3)},
            ArgumentValueError,
            (f"{argument} has shape ()", "shape (3,)"),
        ),
        f"{argument} too many": ({argument: (3, 1, 2, 2)}, ArgumentValueError, (f"{argument} holds 4 lengths", "is 3")),
        f"{argument} one for many": ({argument: 3}, ArgumentValueError, (f"{argument} holds 1 length,", "is 3")),
        f"{argument} too long": (
            {argument: torch.tensor([3, longest + 1, 2])},
            ArgumentValueError,
            (f"{argument}[1] is {longest + 1}", most, f"0 to {longest}"),
        ),
        f"{argument} negative": (
            {argument: [3, 1, -2]},
            ArgumentValueError,
            (f"{argument}[2] is -2", most, f"0 to {longest}"),
        ),
    }


@pytest.mark.parametrize("row", BAD)
def test_bad_input(row: str) -> None:
    changes, error, says = BAD[row]
    arguments = base(targets=TABLE) | changes
    with pytest.raises(error) as caught:
        checked(arguments)
    assert type(caught.value) is error
    assert isinstance(caught.value, RuntimeError)  # the class that torch's loss raises
    for words in says:
        assert words in str(caught.value)
    assert str(caught.value).count("\n") == 0


@pytest.mark.parametrize("row", [row for row, (_, error, _) in BAD.items() if error is ArgumentValueError])
def test_bad_values_without_reading_them(row: str) -> None:
    """If values may not be read, invalid items are marked, and other items are not affected."""
    arguments = base(targets=TABLE) | BAD[row][0]
    try:
        x, lattice, _ = gate(**arguments)
    except ValueError:
        return  # an error of shapes
    marked = is_invalid(lattice, x.shape[0], x.shape[2])
    found = faults(lattice, x.shape[0], x.shape[2])
    items = {fault.item for fault in found}
    batch_at_fault = lattice.concatenated and not items.isdisjoint({-1})
    assert marked.tolist() == [batch_at_fault or n in items for n in range(x.shape[1])]


def test_the_name_of_the_emissions_is_the_callers() -> None:
    with pytest.raises(TypeError, match=r"logits has dtype .* logits\.float\(\)"):
        gate(**base(emissions=torch.zeros(7, 3, 5).long()), name="logits")
    with pytest.raises(ValueError, match=r"must be \(N, T, C\)"):
        gate(**base(emissions=torch.zeros(5)), batch_first=True)


def test_padding_is_never_read() -> None:
    for fill in (-100, -1, 0, 4, 5, 2**62, -(2**63)):
        table = torch.where(torch.arange(3) < torch.tensor([[3], [1], [2]]), TABLE, fill)
        lattice = checked(base(targets=table))
        assert padded_labels(lattice).tolist() == TABLE.tolist()
        assert not is_invalid(lattice, 7, 5).any()


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


# --------------------------------------------------------------------------------------------------- without any values


def look(*arguments: Any) -> tuple[Tensor, ...]:
    """Everything that is computed from a lattice without reading its values."""
    x, lattice, _ = gate(*arguments)
    states = state_labels(padded_labels(lattice), lattice.blank)
    needed = frames_needed(lattice)
    skips, invalid = may_skip(states, lattice.blank), is_invalid(lattice, x.shape[0], x.shape[2])
    return x, lattice.labels, lattice.offsets, *lattice[1:3], states, skips, needed, invalid


def same(actual: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> None:
    for a, b in zip(actual, expected, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("form", FORMS)
def test_compiles(form: str) -> None:
    torch._dynamo.reset()
    arguments = FORMS[form](BASE.padded(BASE.logits()), BASE)
    same(torch.compile(look, fullgraph=True, backend="eager")(*arguments), look(*arguments))


@pytest.mark.parametrize("form", ["padded", "concatenated", "no target lengths"])
def test_compiles_once_for_all_sizes(form: str) -> None:
    torch._dynamo.reset()
    compiled = torch.compile(look, fullgraph=True, backend="eager", dynamic=True)
    for items in (4, 5, 6):  # sizes differ, because torch would take equal ones for the same symbol
        case = Case("", 7, 5, ((1, 2, 2), (3,), (4, 1)) * 2, (7, 6, 5) * 2)
        case = Case("", 7, 5, case.targets[:items], case.input_lengths[:items])
        arguments = FORMS[form](case.padded(case.logits()), case)
        with torch._dynamo.config.patch(error_on_recompile=items > 4):
            same(compiled(*arguments), look(*arguments))


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("form", ["padded", "concatenated", "no target lengths", "sequences"])
def test_exports(form: str, strict: bool) -> None:
    class Module(torch.nn.Module):
        def forward(self, *arguments: Any) -> tuple[Tensor, ...]:
            return look(*arguments, 0)

    arguments = FORMS[form](BASE.padded(BASE.logits()), BASE)
    exported = torch.export.export(Module(), tuple(arguments[:4]), strict=strict)
    same(exported.module()(*arguments[:4]), look(*arguments))


def test_vmaps() -> None:
    x, targets, frames, lengths, blank = BASE.padded(BASE.logits())

    def one(x: Tensor, targets: Tensor, frames: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
        return look(x, targets[None], frames, lengths, blank)

    _, _, _, *mapped = torch.vmap(one, in_dims=(1, 0, 0, 0))(x, targets, frames, lengths)
    _, _, _, *whole = look(x, targets, frames, lengths, blank)
    same(tuple(tensor[:, 0] for tensor in mapped), tuple(whole))


def test_gate_reads_no_value() -> None:
    """Neither the gate nor a function that it calls causes a device sync, by its source."""
    functions: list[Any] = [function for _, function in inspect.getmembers(arguments_module, inspect.isfunction)]
    functions += [padded_labels, frames_needed, is_invalid, may_skip, state_labels]
    assert {"gate", "gate_emissions", "gate_targets", "lengths_of"} <= {function.__name__ for function in functions}
    for function in functions:
        source = inspect.getsource(function)
        for read in (".item(", ".tolist(", "bool(", ".cpu(", ".numpy(", "nonzero"):
            assert read not in source, f"{read} in {function.__name__}"
