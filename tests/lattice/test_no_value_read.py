"""The gate and the topology under compile, export and vmap, without reading a value."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ctckit.errors import ArgumentValueError
from ctckit.lattice import arguments as arguments_module
from ctckit.lattice import faults, frames_needed, gate, is_invalid, may_skip, padded_labels, state_labels
from tests.lattice.bad_arguments import BAD, BASE, TABLE, base
from tests.tools.cases import FORMS, Case


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
