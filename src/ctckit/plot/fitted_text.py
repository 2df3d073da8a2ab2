"""Text that fits its place: smaller where the place is narrow, left out where the smallest type is too wide.

This module imports matplotlib. Import it when a picture is drawn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.text import Text

if TYPE_CHECKING:
    from matplotlib.backend_bases import RendererBase

_SIZES = (10, 9, 8, 7, 6)  # points; smaller type cannot be read
_MARGIN = 1.0  # points of the place that stay free on each side of the text


class FittedText(Text):
    """A text centred on (x, y) that is at most `room` wide, in the units of the x axis.

    The size is chosen whenever the figure is drawn, so that it follows the figure's layout, size and zoom. Neighbours
    do not overlap if their rooms do not.
    """

    fits: bool = True
    """Whether the last drawing had room for the text."""

    def __init__(self, x: float, y: float, text: str, room: float, largest: int, **style: Any) -> None:
        # A "$" is text here, not the start of a formula.
        super().__init__(x, y, text, ha="center", va="center", clip_on=True, parse_math=False, **style)
        self._room = room
        self._sizes = [size for size in _SIZES if size <= largest]

    def draw(self, renderer: RendererBase) -> None:
        """Draw the text in the largest size that fits; draw nothing if none does."""
        x = float(self.get_unitless_position()[0])
        (left, _), (right, _) = self.get_transform().transform([(x - self._room / 2, 0), (x + self._room / 2, 0)])
        free = right - left - 2 * float(np.asarray(renderer.points_to_pixels(_MARGIN)))
        for size in self._sizes:
            self.set_fontsize(size)
            self.fits = self.get_window_extent(renderer).width <= free
            if self.fits:
                super().draw(renderer)
                return
        self.stale = False
