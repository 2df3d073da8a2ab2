"""Wrong arguments of public functions: errors with remedies, and no access out of bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import Tensor

import ctckit
from tests.lattice.bad_arguments import BAD, BASE, TABLE
from tests.tools.cases import FORMS, Case, random_case
from tests.tools.exact_answers import run

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.usefixtures("backend")

FUNCTIONS: dict[str, tuple[Callable[..., Tensor], str]] = {
    "ctc_loss": (ctckit.ctc_loss, "log_probs"),
    "ctc_loss_with_logits": (ctckit.ctc_loss_with_logits, "logits"),
    "CTCLoss": (lambda x, t, i, n, blank: ctckit.CTCLoss(blank)(x, t, i, n), "log_probs"),
    "CTCWithLogitsLoss": (lambda x, t, i, n, blank: ctckit.CTCWithLogitsLoss(blank)(x, t, i, n), "logits"),
    "posteriors": (ctckit.posteriors, "emissions"),
}


def good() -> dict[str, Any]:
    return {**BASE.padded(BASE.logits())._asdict(), "targets": TABLE}


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("row", BAD)
def test_every_row(row: str, function: str) -> None:
    """The error names argument, item, value and remedy, in one line, with the argument names of the called function."""
    changes, error, says = BAD[row]
    call, name = FUNCTIONS[function]
    arguments = good() | changes
    with pytest.raises(error) as caught:
        call(*arguments.values())
    message = str(caught.value)
    assert type(caught.value) is error
    assert "\n" not in message
    for words in says:
        assert words.replace("log_probs", name) in message


@pytest.mark.parametrize("needs_gradient", [False, True])
@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("row", [row for row, (_, error, _) in BAD.items() if error is ctckit.ArgumentValueError])
def test_whatever_the_options(row: str, reduction: str, needs_gradient: bool) -> None:
    changes, error, _ = BAD[row]
    arguments = good() | changes
    arguments["emissions"] = arguments["emissions"].detach().clone().requires_grad_(needs_gradient)
    with pytest.raises(error):
        ctckit.ctc_loss(*arguments.values(), reduction=reduction, zero_infinity=True)  # type: ignore[misc]


@pytest.mark.parametrize("reduction", ["", "Mean", "average", None, 1])
def test_reduction(reduction: Any) -> None:
    for call in (ctckit.ctc_loss, ctckit.ctc_loss_with_logits):
        with pytest.raises(ValueError, match=r"reduction is .*, but must be 'none', 'mean' or 'sum'"):
            call(*good().values(), reduction=reduction)  # type: ignore[misc]
    for module in (ctckit.CTCLoss, ctckit.CTCWithLogitsLoss):
        with pytest.raises(ValueError, match=r"reduction is .*, but must be 'none', 'mean' or 'sum'"):
            module(reduction=reduction)


@pytest.mark.parametrize(
    "targets",
    [[[1, 2], [3]], [[1, 2], []], ((1,), (2,)), [torch.tensor([1]), torch.tensor([2, 3, 4])], [np.array([1, 2]), [3]]],
    ids=str,
)
def test_rows_of_targets(targets: Any) -> None:
    """The error has an expression that makes a tensor of the rows; its losses are those of single rows."""
    x = BASE.logits()[:, :2]
    with pytest.raises(TypeError, match=r"targets is a \w+, but must be a torch\.Tensor: use ") as caught:
        ctckit.ctc_loss(x, targets)
    advice = str(caught.value).partition(": use ")[2].partition(", and leave")[0]
    loss = ctckit.ctc_loss(x, eval(advice, {"torch": torch, "targets": targets}), reduction="none")  # noqa: S307
    rows = [torch.as_tensor(row, dtype=torch.int64) for row in targets]
    expected = [ctckit.ctc_loss(x[:, n], row, len(x), len(row), reduction="none") for n, row in enumerate(rows)]
    torch.testing.assert_close(loss, torch.stack(expected))


def test_a_flat_list_of_targets() -> None:
    with pytest.raises(TypeError, match=r"use torch\.tensor\(targets\)$"):
        ctckit.ctc_loss(BASE.logits()[:, 0], [1, 2])  # type: ignore[arg-type]


def test_lengths_may_be_left_out() -> None:
    x, targets = BASE.logits()[:, :2], torch.tensor([[1, 2], [3, -100]])
    expected = ctckit.ctc_loss(x, targets, [len(x)] * 2, [2, 1])
    for loss in (ctckit.ctc_loss, ctckit.CTCLoss()):
        torch.testing.assert_close(loss(x, targets), expected)


def test_layouts_that_are_not_dense() -> None:
    arguments = good()
    with pytest.raises(TypeError, match=r"log_probs has layout torch.sparse_coo.*log_probs\.to_dense\(\)"):
        ctckit.ctc_loss(*(arguments | {"emissions": arguments["emissions"].to_sparse()}).values())
    with pytest.raises(TypeError, match=r"targets has layout torch.sparse_coo.*targets\.to_dense\(\)"):
        ctckit.ctc_loss(*(arguments | {"targets": TABLE.to_sparse()}).values())


@pytest.mark.parametrize("where", ["first", "middle", "last"])
@pytest.mark.parametrize("kind", ["label", "blank", "negative", "input_length", "target_length"])
def test_one_wrong_value_among_many(kind: str, where: str) -> None:
    """The error names the item; logits with inplace_grad are not overwritten."""
    case = random_case(30, 40, 20, 10, seed=1)
    item = {"first": 0, "middle": 17, "last": 39}[where]
    for form in ("padded", "concatenated"):
        x, targets, frames, lengths, blank = FORMS[form](case.padded(case.logits()), case)
        start = item * targets.shape[1] if form == "padded" else int(lengths[:item].sum())
        if kind == "input_length":
            frames[item] = 31
            says = rf"input_lengths\[{item}\] is 31"
        elif kind == "target_length":
            lengths[item] = -1
            says = rf"target_lengths\[{item}\] is -1"
        else:
            value = {"label": 20, "blank": 0, "negative": -5}[kind]
            targets.view(-1)[start] = value
            says = rf"label 0 of item {item} is {value}"
        logits = x.clone().requires_grad_() * 1
        for inplace in (False, True):
            with pytest.raises(ValueError, match=says):
                ctckit.ctc_loss_with_logits(logits, targets, frames, lengths, blank, inplace_grad=inplace)
        assert torch.equal(logits, x)


def test_a_call_that_failed_leaves_nothing_behind() -> None:
    expected = ctckit.ctc_loss(*good().values())
    for row in BAD:
        changes, error, _ = BAD[row]
        with pytest.raises(error):
            ctckit.ctc_loss(*(good() | changes).values())
        assert torch.equal(ctckit.ctc_loss(*good().values()), expected)


# ----------------------------------------------------------------------------------------------- garbage where it may


@pytest.mark.parametrize("garbage", [-100, -1, 0, 19, 20, 2**31, 2**62, -(2**63)])
def test_padding_holds_anything(garbage: int) -> None:
    case = random_case(40, 6, 20, 12, seed=2)
    expected = run(case.padded(case.logits()), logits=True)
    arguments = case.padded(case.logits())._replace(targets=case.table(garbage, extra=3))
    actual = run(arguments, logits=True)
    assert torch.equal(actual.losses, expected.losses)
    assert torch.equal(actual.gradient, expected.gradient)


@pytest.mark.parametrize("form", ["padded", "concatenated"])
def test_nothing_beside_the_arguments_is_read(form: str) -> None:
    """Each tensor is a view into memory that is filled with poison."""
    case = random_case(33, 5, 12, 9, seed=3)

    def windowed(tensor: Tensor, poison: float) -> Tensor:
        room = torch.full((tensor.numel() + 64,), poison, dtype=tensor.dtype)
        window = room[32:-32].view(tensor.shape)
        return window.copy_(tensor)

    plain = FORMS[form](case.padded(case.logits(torch.float32)), case)
    x, targets, frames, lengths, blank = plain
    poisoned = plain._replace(
        emissions=windowed(x, torch.nan),
        targets=windowed(targets, 2**62),
        input_lengths=windowed(frames, 2**62),
        target_lengths=windowed(lengths, -(2**62)),
    )
    assert blank == 0
    for logits in (False, True):
        expected, actual = run(plain, logits=logits), run(poisoned, logits=logits)
        assert torch.equal(actual.losses, expected.losses)
        assert torch.equal(actual.gradient, expected.gradient)


def test_numpy_numbers_are_integers() -> None:
    """Lengths and blank as NumPy integers."""
    x, targets, frames, lengths, _ = BASE.padded(BASE.logits())
    expected = ctckit.ctc_loss(x, targets, frames, lengths)
    as_numbers = [np.int32(v) for v in frames.tolist()], tuple(np.uint8(v) for v in lengths.tolist())
    assert torch.equal(ctckit.ctc_loss(x, targets, *as_numbers, np.int64(0)), expected)


# ------------------------------------------------------------------------------------------- sizes that cannot be had


@pytest.mark.parametrize("backend", ["cpu"], indirect=True)  # the reference loops over the frames
@pytest.mark.usefixtures("backend")
def test_memory_that_cannot_be_had() -> None:
    """2**45 frames with stride 0: their scratch memory exceeds any address space."""
    x = torch.zeros(1, 1, 1).expand(2**45, 1, 1)
    with pytest.raises(MemoryError):
        ctckit.ctc_loss_with_logits(x, torch.empty(1, 0, dtype=torch.int64))
    case = Case("", 4, 3, ((1,),), (4,))
    assert run(case.padded(case.logits()), logits=True).losses.isfinite()
