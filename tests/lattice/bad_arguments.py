"""A valid call, and wrong arguments of every kind with their errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ctckit.errors import ArgumentTypeError, ArgumentValueError
from tests.tools.cases import Case

BASE = Case("base", 7, 5, ((1, 2, 2), (3,), (4, 1)), (7, 6, 5))


def base(**changes: Any) -> dict[str, Any]:
    """The arguments of a valid call, some of them replaced."""
    return {**BASE.padded(BASE.logits())._asdict(), **changes}


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
