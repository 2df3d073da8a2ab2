"""A pattern without alternatives as a plain target, for the kernels of plain targets.

A wildcard becomes a label with its own column in the emissions. Consecutive wildcards alternate between two columns,
because two equal labels would need a blank between them. A free end is a wildcard too. It gets one extra frame, in
which only the wildcard is possible; so it needs no frame of the input.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ctckit.lattice.pattern import BLANK, OUTSIDE, WILDCARD, Token, Wildcard
from ctckit.lattice.topology import Lattice

__all__ = ["Chain", "chain_of"]


class Chain(NamedTuple):
    """A plain target with the same paths as a pattern."""

    emissions: Tensor
    """(T', 1, C'): with up to two columns for wildcards, and a frame for each free end."""
    lattice: Lattice
    """One item; its labels are columns of the emissions."""
    frames: slice
    """The frames of the input among the T'."""
    tokens: list[int]
    """For each state of the target the token of the pattern, `BLANK` or `OUTSIDE`."""


def chain_of(
    tokens: Sequence[Token], x: Tensor, wildcard: Tensor, blank: int, *, free_start: bool, free_end: bool
) -> Chain:
    """Make the plain target of a pattern without alternatives.

    Args:
        tokens: the pattern; its labels are columns of `x`.
        x: (T, C) emissions on the CPU.
        wildcard: (T,) the wildcard's score in each frame.
        blank: the column of the blank.
        free_start: whether the pattern may begin at any frame.
        free_end: whether the pattern may end at any frame.

    Example:
        >>> chain = chain_of([1, WILDCARD], torch.zeros(3, 2), torch.zeros(3), 0, free_start=False, free_end=True)
        >>> chain.lattice.labels, chain.emissions.shape
        (tensor([[1, 2, 3]]), torch.Size([4, 1, 4]))
    """
    classes, before, after = x.shape[1], int(free_start), int(free_end)
    labels: list[int] = []
    for token in [*[WILDCARD] * before, *tokens, *[WILDCARD] * after]:
        if isinstance(token, Wildcard):
            labels.append(classes + 1 if labels and labels[-1] == classes else classes)
        else:
            labels.append(token)
    columns = max(0, max(labels, default=0) - classes + 1)
    x = torch.cat((x, wildcard[:, None].expand(-1, columns)), 1)
    frames = slice(before, before + x.shape[0])
    if before or after:
        outside = x.new_full((1, classes + columns), -torch.inf)
        outside[:, classes:] = 0
        x = torch.cat((outside[:before], x, outside[:after]))
    of_labels = [*[OUTSIDE] * before, *range(len(tokens)), *[OUTSIDE] * after]
    of_states = [BLANK, *(token for label in of_labels for token in (label, BLANK))]
    lattice = Lattice.of_rows([labels], torch.tensor([x.shape[0]], device="cpu"), blank)
    return Chain(x[:, None], lattice, frames, of_states)
