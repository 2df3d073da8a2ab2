"""Arguments on the CPU give the same results for any default device (torch.set_default_device).

The tests use the device meta: a tensor made there by mistake has no numbers, so the test fails.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

import ctckit
from tests.lattice.every_function import CLASSES, FRAMES, FUNCTIONS, LENGTHS, TARGETS, x

align: Any = ctckit.align
item = x[:, 0]
EMPTY: list[int] = []
PATTERN: Any = [1, ctckit.WILDCARD, ctckit.Alternatives([2, 2], [3], [])]
FREE: dict[str, Any] = {"free_start": True, "free_end": True}


def seconds_of(alignment: Any) -> Any:
    return [(token.start, token.end, token.score, token.confidence) for token in alignment.tokens]


def gradient(loss: Callable[..., Tensor], dtype: torch.dtype, **options: Any) -> Tensor:
    y = x.to(dtype, copy=True).requires_grad_()
    loss(y, TARGETS, **options).sum().backward()
    assert y.grad is not None
    return y.grad


CALLS: dict[str, Callable[[], Any]] = {
    "lengths as a list": lambda: ctckit.ctc_loss(x, TARGETS, [12, 10], [3, 2], reduction="none"),
    "one item": lambda: ctckit.ctc_loss(item, TARGETS[0], 12, 3),
    "no lengths": lambda: ctckit.ctc_loss_with_logits(x.double(), TARGETS, reduction="sum"),
    "concatenated": lambda: ctckit.ctc_loss(x, TARGETS.reshape(-1)[:5], FRAMES, LENGTHS),
    "gradient": lambda: gradient(ctckit.ctc_loss_with_logits, torch.float32),
    "gradient in float64": lambda: gradient(ctckit.ctc_loss_with_logits, torch.float64, reduction="none"),
    "gradient in float16": lambda: gradient(ctckit.ctc_loss_with_logits, torch.float16),
    "gradient, inplace": lambda: gradient(
        lambda y, *a: ctckit.ctc_loss_with_logits(y * 1, *a, inplace_grad=True), torch.float32
    ),
    "paths": lambda: ctckit.best_paths(item, PATTERN, 3, **FREE),
    "paths of labels": lambda: ctckit.best_paths(item, [1, 2, ctckit.WILDCARD], **FREE),
    "path posteriors": lambda: ctckit.path_posteriors(item, PATTERN, **FREE),
    "posterior path": lambda: ctckit.posterior_path(item, PATTERN, **FREE),
    "samples": lambda: ctckit.sample_paths(item, PATTERN, 4, generator=torch.Generator().manual_seed(0)),
    "samples by the default generator": lambda: (torch.manual_seed(0), ctckit.sample_paths(item, PATTERN, 4))[1],
    "align": lambda: seconds_of(align(item, "ab d", list("-abc d"[:CLASSES]), unknown="wildcard", logits=True)),
    "align a tensor": lambda: seconds_of(align(item, TARGETS[0])),
    "align an array": lambda: seconds_of(align(item, TARGETS[0].numpy())),
    "align a part": lambda: seconds_of(align(item, [1, ctckit.WILDCARD, 2], **FREE)),
    "align a pattern": lambda: seconds_of(align(item, PATTERN)),
    "align by posteriors": lambda: seconds_of(align(item, [1, 2], method="posterior")),
    "align a batch": lambda: [*map(seconds_of, align(x.transpose(0, 1), [[1], PATTERN], input_lengths=[12, 10]))],
    "align nothing": lambda: seconds_of(align(item, EMPTY)),
    "align with priors": lambda: seconds_of(align(item, [1, 2], log_priors=ctckit.label_priors(x, FRAMES))),
    "feasible": lambda: ctckit.feasible(TARGETS, [4, 1]),
    "check": lambda: ctckit.check(x, TARGETS, [12, 1], [3, 2]),
}
CALLS |= {name: partial(call, x, TARGETS, FRAMES, LENGTHS) for name, call in FUNCTIONS.items()}


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("name", CALLS)
def test_default_device(name: str, backend: str) -> None:
    with ctckit.backends.use(backend):
        want = CALLS[name]()
        with torch.device("meta"):
            got = CALLS[name]()
    if isinstance(want, Tensor):
        assert (got.device.type, got.dtype) == ("cpu", want.dtype)
        assert torch.equal(got, want)
    else:
        assert repr(got) == repr(want)
