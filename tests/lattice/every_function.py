"""Every public function of tensors as a call with the same four arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

import ctckit

align: Any = ctckit.align
CLASSES = 5
x = torch.randn(12, 2, CLASSES, generator=torch.Generator().manual_seed(0)).log_softmax(2)
TARGETS, FRAMES, LENGTHS = torch.tensor([[1, 2, 2], [3, 1, 4]]), torch.tensor([12, 10]), torch.tensor([3, 2])

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "ctc_loss": ctckit.ctc_loss,
    "ctc_loss_with_logits": ctckit.ctc_loss_with_logits,
    "CTCLoss": ctckit.CTCLoss(),
    "CTCWithLogitsLoss": ctckit.CTCWithLogitsLoss(reduction="none"),
    "forced_align": lambda x, t, i, n: ctckit.forced_align(x.transpose(0, 1), t, i, n)[1],
    "posteriors": ctckit.posteriors,
    "posteriors per state": lambda *a: ctckit.posteriors(*a, per_state=True, logits=True),
    "posteriors of a path": lambda *a: ctckit.posteriors(
        *a, states=torch.zeros(2, 12, dtype=torch.int32, device="cpu")
    ),
    "best_paths": lambda x, t, *_: ctckit.best_paths(x[:, 0], t[0])[0].scores,
    "path_posteriors": lambda x, t, *_: ctckit.path_posteriors(x[:, 1], t[1]).occupancy,
    "posterior_path": lambda x, t, *_: ctckit.posterior_path(x[:, 0], t[0]).scores,
    "sample_paths": lambda x, t, *_: (
        ctckit.sample_paths(x[:, 0], t[0], 2, generator=torch.Generator().manual_seed(0))[1].scores
    ),
    "feasible": lambda _, t, i, n: ctckit.feasible(t, i, n),
    "check": lambda *a: torch.tensor(len(ctckit.check(*a)), device="cpu"),
    "label_priors": lambda x, _, i, __: ctckit.label_priors(x, i),
    "align": lambda x, _, i, __: torch.tensor(
        [a.score for a in align(x.transpose(0, 1), [[1, 2], [3]], list("-abcd"), input_lengths=i)], device="cpu"
    ),
}
WORDS = ("pass", "call", "pad", "use", "move", "convert")
"""One of these is in every error with a remedy."""

each_function = pytest.mark.parametrize("name", FUNCTIONS)


def right_or_words(name: str, *arguments: Any, must: bool = False) -> None:
    """The result of plain tensors, or (unless `must`) an error of ctckit with a remedy."""
    want = FUNCTIONS[name](x, TARGETS, FRAMES, LENGTHS)
    try:
        got = FUNCTIONS[name](*arguments)
    except (ctckit.ArgumentTypeError, ctckit.ArgumentValueError) as error:
        assert not must, error  # noqa: PT017
        assert any(word in str(error) for word in WORDS), error  # noqa: PT017
        return
    got = getattr(got, "elem", got)
    torch.testing.assert_close(torch.as_tensor(got.detach()), want)
