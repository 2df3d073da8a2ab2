"""What all pictures have in common: colours, axes, and arrays from whatever holds numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

if TYPE_CHECKING:
    from collections.abc import Iterable

    from matplotlib.axes import Axes
    from matplotlib.colors import LinearSegmentedColormap

Array: TypeAlias = npt.NDArray[np.float64]
ArrayLike: TypeAlias = npt.ArrayLike | torch.Tensor

# Ten hues of about one strength for labels; greys for the blank and for everything that is not data.
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
    """Bring a tensor on any device, or anything that NumPy reads, to float64, and check its dimensions."""
    if isinstance(values, torch.Tensor):
        values = values.detach().to("cpu", torch.float64).numpy()
    array = np.asarray(values, dtype=np.float64)
    if array.ndim not in dimensions:
        raise ValueError(
            f"{name} has shape {array.shape}, but must have {' or '.join(map(str, dimensions))} dimensions"
        )
    return array


def as_names(labels: Iterable[object]) -> list[str]:
    """Name labels by how they print (a tensor's elements as numbers)."""
    return [str(label) for label in (labels.tolist() if isinstance(labels, torch.Tensor) else labels)]


def new_axes(width: float, height: float) -> Axes:
    """Make a figure with one axes, or say what is missing."""
    try:
        import matplotlib.pyplot as plt  # noqa: PLC0415 (optional, see `ctckit.plot`)
    except ImportError as error:
        raise ImportError(
            "ctckit.plot draws with matplotlib, which is not installed: pip install ctckit[plot]"
        ) from error
    return plt.subplots(figsize=(width, height), layout="constrained")[1]


def colour_of(name: str) -> str:
    """Give a name its colour: the same in every figure, and different for neighbouring digits and letters."""
    return PALETTE[sum(name.encode()) % len(PALETTE)]


def colour_map(colour: str) -> LinearSegmentedColormap:
    """Shade from paper to `colour`."""
    from matplotlib.colors import LinearSegmentedColormap  # noqa: PLC0415 (optional, see `ctckit.plot`)

    return LinearSegmentedColormap.from_list("ctckit", [PAPER, colour])
