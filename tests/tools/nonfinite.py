"""Items with NaN and infinity, and their results by docs/semantics.md, for any backend."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

import ctckit

INF, NAN = torch.inf, torch.nan
posteriors: Any = ctckit.posteriors
FRAMES = 8


class Situation(NamedTuple):
    """An item, and its loss: "nan", "inf" or "finite"."""

    edit: Callable[[Tensor], None]
    """Changes (T, C) emissions of one item. Class 0 is the blank, 1 and 2 are labels; targets have no other class."""
    of_log_probs: str
    of_logits: str
    target: tuple[int, ...] = (1, 2)
    frames: int = 6


def put(value: float, *places: tuple[int, int]) -> Callable[[Tensor], None]:
    def edit(x: Tensor) -> None:
        for frame, c in places:
            x[frame, c] = value

    return edit


def row(**classes: float) -> Callable[[Tensor], None]:
    """A frame of -inf, except for some classes: c1=0.0 sets class 1, other=0.0 the last."""

    def edit(x: Tensor) -> None:
        x[2] = -INF
        for name, value in classes.items():
            x[2, -1 if name == "other" else int(name[1:])] = value

    return edit


def both(*edits: Callable[[Tensor], None]) -> Callable[[Tensor], None]:
    def edit(x: Tensor) -> None:
        for one in edits:
            one(x)

    return edit


SITUATIONS = {
    "nothing": Situation(put(0.0), "finite", "finite"),
    # rule 3, and its exceptions
    "NaN, label": Situation(put(NAN, (2, 1)), "nan", "nan"),
    "NaN, blank": Situation(put(NAN, (2, 0)), "nan", "nan"),
    "NaN, other class": Situation(put(NAN, (2, 4)), "finite", "nan"),
    "NaN, last class": Situation(put(NAN, (2, -1)), "finite", "nan"),
    "NaN where no path is": Situation(put(NAN, (0, 2), (5, 1)), "nan", "nan"),
    "NaN, first and last frame": Situation(put(NAN, (0, 0), (5, 0)), "nan", "nan"),
    "NaN beyond the length": Situation(put(NAN, (6, 0), (7, 1), (6, -1)), "finite", "finite"),
    "+inf, label": Situation(put(INF, (2, 1)), "nan", "nan"),
    "+inf, blank": Situation(put(INF, (2, 0)), "nan", "nan"),
    "+inf, other class": Situation(put(INF, (2, -1)), "finite", "nan"),
    "+inf beyond the length": Situation(put(INF, (6, 1), (7, -1)), "finite", "finite"),
    "+inf twice": Situation(put(INF, (2, 1), (2, 0)), "nan", "nan"),
    "no label, NaN, blank": Situation(put(NAN, (2, 0)), "nan", "nan", target=()),
    "no label, NaN, other class": Situation(put(NAN, (2, 1)), "finite", "nan", target=()),
    "no label, +inf, blank": Situation(put(INF, (2, 0)), "nan", "nan", target=()),
    # rule 4, which rule 3 precedes
    "all -inf": Situation(row(), "inf", "inf"),
    "all -inf but another class": Situation(row(other=0.0), "inf", "inf"),
    "all -inf, and NaN there, another class": Situation(row(other=NAN), "inf", "nan"),
    "all -inf, and NaN there, label": Situation(row(c1=NAN), "nan", "nan"),
    "all -inf, and +inf there, label": Situation(row(c1=INF), "nan", "nan"),
    "all -inf, and +inf there, another class": Situation(row(other=INF), "inf", "nan"),
    "all -inf, and NaN elsewhere": Situation(both(row(), put(NAN, (4, 1))), "nan", "nan"),
    "all -inf, and NaN before": Situation(both(row(), put(NAN, (0, 1))), "nan", "nan"),
    "all -inf, and NaN elsewhere, another class": Situation(both(row(), put(NAN, (4, -1))), "inf", "nan"),
    "another class only, and NaN elsewhere": Situation(both(row(other=0.0), put(NAN, (4, 1))), "nan", "nan"),
    "a label barred": Situation(put(-INF, *((t, 2) for t in range(6))), "inf", "inf"),
    "a label barred, and NaN": Situation(both(put(-INF, *((t, 2) for t in range(6))), put(NAN, (1, 0))), "nan", "nan"),
    "all -inf beyond the length": Situation(put(-INF, *((7, c) for c in range(5))), "finite", "finite"),
    "no label, all -inf": Situation(row(), "inf", "inf", target=()),
    "other classes at -inf": Situation(put(-INF, *((t, 3) for t in range(6))), "finite", "finite"),
    # rule 2, which precedes all
    "too few frames": Situation(put(0.0), "inf", "inf", target=(1, 1, 1), frames=3),
    "too few frames, NaN, label": Situation(put(NAN, (0, 1)), "inf", "inf", target=(1, 1, 1), frames=3),
    "too few frames, NaN, blank": Situation(put(NAN, (2, 0)), "inf", "inf", target=(1, 1), frames=2),
    "too few frames, NaN in them": Situation(put(NAN, (1, 0)), "inf", "inf", target=(1, 1), frames=2),
    "too few frames, NaN, other class": Situation(put(NAN, (0, -1)), "inf", "inf", target=(1, 1, 1), frames=3),
    "too few frames, +inf": Situation(put(INF, (0, 1)), "inf", "inf", target=(1, 1, 1), frames=3),
    "no frames, NaN": Situation(put(NAN, (0, 1)), "inf", "inf", target=(1,), frames=0),
    "no frames, no label, NaN": Situation(put(NAN, (0, 0)), "finite", "finite", target=(), frames=0),
}


def batch(
    situation: Situation, classes: int, dtype: torch.dtype, *, logits: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The item between two normal ones: emissions (T, 3, C), targets, input and target lengths."""
    x = torch.randn(FRAMES, 3, classes, dtype=torch.float64)
    x = (x if logits else x.log_softmax(2)).to(dtype)
    situation.edit(x[:, 1])
    targets = torch.full((3, 3), -100)
    for item, target in enumerate(((1, 2, 1), situation.target, (2,))):
        targets[item, : len(target)] = torch.tensor(target, dtype=torch.int64)
    lengths = torch.tensor([3, len(situation.target), 1])
    return x, targets, torch.tensor([8, situation.frames, 5]), lengths


def assert_is(values: Tensor, what: str, *, inf: float) -> None:
    """All values are NaN, or all equal `inf`, the value for an infinite loss, or all are finite."""
    if what == "nan":
        assert values.isnan().all()
    elif what == "inf":
        assert (values == inf).all()
    else:
        assert values.isfinite().all()


def check_loss(situation: Situation, classes: int, dtype: torch.dtype, *, logits: bool) -> None:
    what = situation.of_logits if logits else situation.of_log_probs
    x, *rest = batch(situation, classes, dtype, logits=logits)
    function: Any = ctckit.ctc_loss_with_logits if logits else ctckit.ctc_loss
    clean = x.clone()
    clean[:, 1] = 0
    for zero_infinity in (False, True):
        y = x.clone().requires_grad_()
        with_gradient = function(y, *rest, reduction="none", zero_infinity=zero_infinity)
        without = function(x, *rest, reduction="none", zero_infinity=zero_infinity)
        (slope,) = torch.autograd.grad(with_gradient.sum(), y)
        for losses in (with_gradient.detach(), without):
            assert_is(losses[1], what, inf=0.0 if zero_infinity else INF)
            assert losses[[0, 2]].isfinite().all()
        frames = situation.frames
        assert_is(slope[:frames, 1], what, inf=0.0)
        assert (slope[frames:, 1] == 0).all()
        own = clean.clone().requires_grad_()
        (alone,) = torch.autograd.grad(function(own, *rest, reduction="none")[[0, 2]].sum(), own)
        assert torch.equal(slope[:, [0, 2]], alone[:, [0, 2]])
        for reduction in ("sum", "mean"):
            total = function(x, *rest, reduction=reduction, zero_infinity=zero_infinity)
            assert_is(total, what, inf=total.item() if zero_infinity else INF)


def check_posteriors(situation: Situation, classes: int, dtype: torch.dtype, *, logits: bool) -> None:
    what = situation.of_logits if logits else situation.of_log_probs
    x, *rest = batch(situation, classes, dtype, logits=logits)
    frames = situation.frames
    states = torch.zeros(3, FRAMES, dtype=torch.int64)
    of_path = posteriors(x, *rest, logits=logits, states=states)[1, :, None]
    for per_state in (False, True):
        occupancy = posteriors(x, *rest, logits=logits, per_state=per_state)
        for own in (occupancy[:, 1], of_path):
            assert_is(own[:frames], what, inf=0.0)
            assert (own[frames:] == 0).all()
        assert occupancy[:, [0, 2]].isfinite().all()
        if what == "finite" and frames:
            total = occupancy[:frames, 1].double().sum(1)
            torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=2e-2)


def check_together(names: list[str], classes: int, *, logits: bool) -> None:
    """Check all in one batch, for backends that are slow in tests: the losses, their gradient, and the occupancy."""
    situations = [SITUATIONS[name] for name in names]
    x = torch.randn(FRAMES, len(names), classes)
    x = x if logits else x.log_softmax(2)
    targets = torch.full((len(names), 3), -100)
    for item, situation in enumerate(situations):
        situation.edit(x[:, item])
        targets[item, : len(situation.target)] = torch.tensor(situation.target, dtype=torch.int64)
    frames = torch.tensor([situation.frames for situation in situations])
    lengths = torch.tensor([len(situation.target) for situation in situations])
    function: Any = ctckit.ctc_loss_with_logits if logits else ctckit.ctc_loss
    without = function(x, targets, frames, lengths, reduction="none")
    y = x.clone().requires_grad_()
    losses = function(y, targets, frames, lengths, reduction="none")
    (slope,) = torch.autograd.grad(losses.sum(), y)
    tables = [posteriors(x, targets, frames, lengths, logits=logits, per_state=each) for each in (False, True)]
    for item, situation in enumerate(situations):
        what, n = situation.of_logits if logits else situation.of_log_probs, situation.frames
        assert_is(losses[item].detach(), what, inf=INF)
        assert_is(without[item], what, inf=INF)
        for table in (slope, *tables):
            assert_is(table[:n, item], what, inf=0.0)
            assert (table[n:, item] == 0).all()
