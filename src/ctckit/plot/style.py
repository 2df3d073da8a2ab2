"""Shared by all pictures: colours, new axes, and the conversion of arguments to arrays."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from matplotlib.axes import Axes
    from matplotlib.colors import LinearSegmentedColormap

Array: TypeAlias = npt.NDArray[np.float64]
ArrayLike: TypeAlias = npt.ArrayLike | torch.Tensor

# Ten hues of similar strength for labels, greys for the blank and for axes and text.
PALETTE = (
    "#3a73b9",
    "#d0774e",
    "#3f9557",
    "#ad4e61",
    "#8061b2",
    "#b3953f",
    "#00a0a6",
    "#be6ca4",
    "#607200",
    "#404996",
)
ACCENT = PALETTE[1]
INK, GREY, PALE, PAPER = "#2b2f36", "#8b929c", "#e3e6ea", "#ffffff"


def as_array(name: str, values: ArrayLike, *dimensions: int) -> Array:
    """Convert a tensor on any device, or anything that NumPy reads, to float64, and check its dimensions."""
    if isinstance(values, torch.Tensor):
        values = values.detach().to("cpu", torch.float64).numpy()
    array = np.asarray(values, dtype=np.float64)
    if array.ndim not in dimensions:
        raise ValueError(
            f"{name} has shape {array.shape}, but must have {' or '.join(map(str, dimensions))} dimensions"
        )
    return array


def as_names(labels: Iterable[object]) -> list[str]:
    """Return each label as it prints; the elements of a tensor print as numbers."""
    return [str(label) for label in (labels.tolist() if isinstance(labels, torch.Tensor) else labels)]


def new_axes(width: float, height: float) -> Axes:
    """Make a figure with one axes; raise an ImportError if matplotlib is not installed."""
    try:
        import matplotlib.pyplot as plt  # noqa: PLC0415 (optional, see `ctckit.plot`)
    except ImportError as error:
        raise ImportError(
            "ctckit.plot draws with matplotlib, which is not installed: pip install ctckit[plot]"
        ) from error
    return plt.subplots(figsize=(width, height), layout="constrained")[1]


def colours_of(names: Sequence[str]) -> list[str]:
    """Return the colour of each name in a row: equal names have equal colours, different neighbours different ones.

    The first choice depends on the name alone, so that a name mostly has the same colour in every figure. If a
    neighbour already has it, the next free colour of the palette is taken. If the neighbours have all ten, a name that
    would look like its left neighbour has another colour in that place.
    """
    neighbours: dict[str, set[str]] = {name: set() for name in names}
    for left, right in pairwise(names):
        neighbours[left].add(right)
        neighbours[right].add(left)
    chosen: dict[str, str] = {}
    for name, others in neighbours.items():
        first = sum(name.encode(errors="replace")) % len(PALETTE)
        order = PALETTE[first:] + PALETTE[:first]
        taken = {chosen[other] for other in others if other in chosen}
        chosen[name] = next((colour for colour in order if colour not in taken), order[0])
    colours = [chosen[name] for name in names]
    for i in range(1, len(names)):
        if names[i] != names[i - 1] and colours[i] == colours[i - 1]:
            colours[i] = next(colour for colour in PALETTE if colour not in colours[i - 1 : i + 2])
    return colours


def colour_map(colour: str) -> LinearSegmentedColormap:
    """Return the colour map from white to `colour`."""
    from matplotlib.colors import LinearSegmentedColormap  # noqa: PLC0415 (optional, see `ctckit.plot`)

    return LinearSegmentedColormap.from_list("ctckit", [PAPER, colour])
