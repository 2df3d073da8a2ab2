"""Problems for tests: named edge cases, random ones, extreme ones, and every form of a call.

Built on torch alone; nothing here imports the package. Used by the tests of all backends.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable

    from hypothesis.strategies import SearchStrategy


class Arguments(NamedTuple):
    """The arguments of a public function, in order."""

    emissions: Tensor
    targets: Tensor
    input_lengths: Any
    target_lengths: Any
    blank: int


@dataclass(frozen=True)
class Case:
    """A batch of problems, without emissions."""

    name: str
    frames: int
    classes: int
    targets: tuple[tuple[int, ...], ...]
    input_lengths: tuple[int, ...]
    blank: int = 0

    def __str__(self) -> str:
        return self.name

    @property
    def items(self) -> int:
        return len(self.targets)

    @property
    def width(self) -> int:
        return max((len(target) for target in self.targets), default=0)

    @property
    def feasible(self) -> list[bool]:
        """Whether each target fits: it needs one frame per label, and one between equal neighbours."""
        return [
            len(target) + sum(a == b for a, b in itertools.pairwise(target)) <= frames
            for target, frames in zip(self.targets, self.input_lengths, strict=True)
        ]

    def logits(self, dtype: torch.dtype = torch.float64, scale: float = 1.0, seed: int = 0) -> Tensor:
        """(T, N, C) normal noise; a seed gives the same numbers in every dtype."""
        generator = torch.Generator().manual_seed(seed)
        shape = self.frames, self.items, self.classes
        return (scale * torch.randn(shape, generator=generator, dtype=torch.float64)).to(dtype)

    def table(self, fill: int, extra: int = 0) -> Tensor:
        """(N, S) targets padded with the given value, wider by `extra` than needed."""
        table = torch.full((self.items, self.width + extra), fill)
        for row, target in zip(table, self.targets, strict=True):
            row[: len(target)] = torch.tensor(target, dtype=torch.int64)
        return table

    def padded(self, emissions: Tensor, fill: int | None = None) -> Arguments:
        """Targets (N, S), padded with the blank by default, and lengths as tensors."""
        lengths = torch.tensor([len(target) for target in self.targets], dtype=torch.int64)
        frames = torch.tensor(self.input_lengths, dtype=torch.int64)
        return Arguments(emissions, self.table(self.blank if fill is None else fill), frames, lengths, self.blank)


# One case for each possible error of the recursion; most have several paths.
EDGE_CASES = (
    Case("one frame, one label", 1, 3, ((2,),), (1,)),
    Case("one frame, no label", 1, 3, ((),), (1,)),
    Case("no frames, no labels", 0, 3, ((),), (0,)),
    Case("no frames, one label", 0, 3, ((1,),), (0,)),
    Case("length 0 among others", 5, 3, ((1, 2), (), (1,), ()), (5, 0, 0, 3)),
    Case("no items", 4, 3, (), ()),
    Case("only the blank", 4, 1, ((), ()), (4, 2)),
    Case("one class beside the blank", 6, 2, ((1,), (1, 1), (1, 1, 1), ()), (6, 6, 6, 6)),
    Case("repeats", 7, 4, ((1, 1, 2), (1, 2, 2), (3, 3, 3), (1, 2, 1, 2)), (7, 7, 7, 7)),
    Case("exactly one path", 4, 4, ((1, 2, 1, 3), (1, 1, 2), (2, 2)), (4, 4, 3)),
    Case("one frame too few", 4, 4, ((1, 2, 3, 1, 2), (1, 1, 2, 3), (2, 2), (1, 2)), (4, 4, 2, 4)),
    Case("blank last", 6, 4, ((0, 1, 2), (2, 2), (0,), ()), (6, 5, 4, 3), blank=3),
    Case("blank in the middle", 6, 3, ((0, 2), (2, 2), (0, 0, 2), ()), (6, 5, 6, 3), blank=1),
    Case("unequal lengths", 9, 5, ((1, 2, 3, 4), (4,), (2, 2, 1), (3, 1)), (9, 2, 5, 7)),
)


MIXED = Case("mixed", 9, 5, ((1, 2, 3), (2, 2), (), (4, 4, 4, 4, 4, 4), (3,)), (9, 7, 5, 8, 3))
"""Several paths, repeats, no label, one infeasible item, unequal lengths."""


def random_case(frames: int, items: int, classes: int, width: int, *, blank: int = 0, seed: int = 0) -> Case:
    """Random lengths and labels: frames from T/2 to T, labels up to the width."""
    generator = torch.Generator().manual_seed(seed)

    def draw(low: int, high: int, count: int) -> list[int]:
        return torch.randint(low, high + 1, (count,), generator=generator).tolist()

    input_lengths = draw((frames + 1) // 2, frames, items)
    lengths = draw(0 if classes == 1 else min(1, width), 0 if classes == 1 else width, items)
    labels = [label for label in range(classes) if label != blank]
    targets = tuple(tuple(labels[i] for i in draw(0, len(labels) - 1, length)) for length in lengths)
    return Case(
        f"random T={frames} N={items} C={classes} S={width}", frames, classes, targets, tuple(input_lengths), blank
    )


def cases(max_frames: int = 8, max_items: int = 4, max_classes: int = 5, max_target: int = 5) -> SearchStrategy[Case]:
    """A hypothesis strategy: any small batch, feasible or not, with any blank."""
    from hypothesis import strategies as st

    @st.composite
    def draw_case(draw: Callable[[SearchStrategy[Any]], Any]) -> Case:
        frames = draw(st.integers(0, max_frames))
        classes = draw(st.integers(1, max_classes))
        blank = draw(st.integers(0, classes - 1))
        labels = [label for label in range(classes) if label != blank]
        target = st.lists(st.sampled_from(labels), max_size=max_target) if labels else st.just([])
        items = draw(st.lists(st.tuples(target.map(tuple), st.integers(0, frames)), min_size=1, max_size=max_items))
        targets, input_lengths = zip(*items, strict=True)
        return Case("drawn", frames, classes, targets, input_lengths, blank)

    return draw_case()


# ------------------------------------------------------------------------------------------------ the forms of one call


def _narrow(arguments: Arguments, _case: Case) -> Arguments:
    return arguments._replace(
        targets=arguments.targets.to(torch.int32),
        input_lengths=arguments.input_lengths.to(torch.int16),
        target_lengths=arguments.target_lengths.to(torch.uint8),
    )


def _sequences(arguments: Arguments, case: Case) -> Arguments:
    return arguments._replace(
        input_lengths=tuple(case.input_lengths), target_lengths=[len(target) for target in case.targets]
    )


def _concatenated(arguments: Arguments, case: Case) -> Arguments:
    flat = torch.tensor([label for target in case.targets for label in target], dtype=torch.int64)
    return arguments._replace(targets=flat)


def _strided(arguments: Arguments, _case: Case) -> Arguments:
    """Every tensor a view with gaps."""

    def spread(tensor: Tensor) -> Tensor:
        wide = tensor.new_full((*tensor.shape, 2), 77 if not tensor.is_floating_point() else torch.nan)
        wide[..., 0] = tensor
        return wide[..., 0]

    emissions, targets, input_lengths, target_lengths = map(spread, arguments[:4])
    return Arguments(emissions, targets, input_lengths, target_lengths, arguments.blank)


FORMS: dict[str, Callable[[Arguments, Case], Arguments]] = {
    "padded": lambda arguments, _case: arguments,
    "padded with garbage": lambda arguments, case: arguments._replace(targets=case.table(10**9, extra=2)),
    "padded with -100": lambda arguments, case: arguments._replace(targets=case.table(-100, extra=3)),
    "no target lengths": lambda arguments, case: arguments._replace(targets=case.table(-100), target_lengths=None),
    "narrow integers": _narrow,
    "sequences": _sequences,
    "concatenated": _concatenated,
    "concatenated, sequences": lambda arguments, case: _sequences(_concatenated(arguments, case), case),
    "strided": _strided,
}
"""Forms of a call; each converts `Case.padded` to another form that must give the same results."""


# -------------------------------------------------------------------------------------------------------- hard numbers


def masked(x: Tensor, share: float = 0.3, seed: int = 0) -> Tensor:
    """Some classes at -inf, like a masked vocabulary."""
    generator = torch.Generator().manual_seed(seed)
    return x.masked_fill(torch.rand(x.shape, generator=generator) < share, -torch.inf)


def trained(case: Case, margin: float, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    """Logits of a trained model: noise, and a margin on one path that spells the target (blank between labels).

    The items' targets must fit, with a blank before each label.
    """
    x = case.logits(torch.float64, seed=seed)
    for item, (target, frames) in enumerate(zip(case.targets, case.input_lengths, strict=True)):
        path = torch.full((frames,), case.blank)
        for position, label in enumerate(target):
            path[(2 * position + 1) * frames // (2 * len(target) + 1)] = label
        x[torch.arange(frames), item, path] += margin
    return x.to(dtype)


def peaky(case: Case, log_label: float, dtype: torch.dtype = torch.float64) -> Tensor:
    """Log-probabilities of a collapsed model: the blank is nearly certain, each label has exp(log_label)."""
    x = torch.full((case.frames, case.items, case.classes), log_label, dtype=dtype)
    x[:, :, case.blank] = 0.0
    return x
