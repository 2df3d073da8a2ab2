"""The gate: all forms of a call give the same lattice, and every wrong argument an error with a remedy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from torch import Tensor

from ctckit.errors import ArgumentValueError
from ctckit.lattice import Lattice, frames_needed, gate, is_invalid, padded_labels, tighten, validate
from tests.lattice.bad_arguments import BAD, BASE, TABLE, base
from tests.tools.cases import EDGE_CASES, FORMS, Arguments, Case, cases


def checked(arguments: Arguments | dict[str, Any]) -> Lattice:
    """Call gate and validate, as an eager call on the CPU does."""
    named = arguments if isinstance(arguments, dict) else arguments._asdict()
    x, lattice, _ = gate(**named)
    validate(lattice, x.shape[0], x.shape[2])
    return lattice


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
