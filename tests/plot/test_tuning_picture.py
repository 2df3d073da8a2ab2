"""The picture of error rates: what it shows, and shapes that do not fit."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from ctckit import plot
from ctckit.plot.style import ACCENT

ACROSS, UP = np.linspace(0, 3, 7), np.linspace(-1, 1, 5)
RATES = 0.02 + 0.1 * ((ACROSS[:, None] - 1) ** 2 + UP**2)


def test_rates_and_points() -> None:
    ax = plot.error_rates(
        ACROSS, UP, RATES, best=(1.0, 0.0), given=(0.5, 0.5), decoded=[(0.5, 0.5), (1.0, 0.0), (2.0, 0.5)]
    )
    assert ax.get_xlim() == (0.0, 3.0)
    assert ax.get_ylim() == (-1.0, 1.0)
    image = ax.collections[0]
    shown = image.get_array()
    assert shown is not None
    np.testing.assert_allclose(np.ravel(shown), np.ravel(100 * RATES.T))
    points = {line.get_label(): np.asarray(line.get_xydata()).tolist() for line in ax.lines}
    assert points == {"decoded": [[0.5, 0.5], [1, 0], [2, 0.5]], "given": [[0.5, 0.5]], "best": [[1.0, 0.0]]}
    assert next(line for line in ax.lines if line.get_label() == "best").get_color() == ACCENT
    # The fewest errors are the darkest.
    place = int(np.argmin(RATES.T))
    brightness = np.asarray(image.to_rgba(shown))[..., :3].sum(-1).ravel()
    assert int(brightness.argmin()) == place


@pytest.mark.parametrize("rates", [np.zeros((7, 5)), np.full((7, 5), 0.3), np.eye(7, 5), 5 * RATES, 1e-9 * RATES])
def test_rates_of_all_kinds_are_drawn(rates: np.ndarray) -> None:
    ax = plot.error_rates(ACROSS, UP, rates)
    ax.figure.canvas.draw()
    assert ax.get_legend() is None


def test_shapes_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match=r"rates has shape \(5, 7\), but must be \(7, 5\)"):
        plot.error_rates(ACROSS, UP, RATES.T)
    with pytest.raises(ValueError, match="lm_weights has shape"):
        plot.error_rates(RATES, UP, RATES)
