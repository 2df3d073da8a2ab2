"""Targets of several tiles of positions: right where states are far apart, and so need other scales than their tile."""

from __future__ import annotations

import pytest
import torch

import ctckit
from tests.tools.cases import Arguments
from tests.tools.exact_answers import errors, exact, run

pytest.importorskip("ctckit._core")


def steep(frames: int, labels: int, scale: float, classes: int, dtype: torch.dtype) -> Arguments:
    """One item of noise. Ahead of the probable states, neighbours differ by up to 2^80, as `scale` and labels grow."""
    generator = torch.Generator().manual_seed(frames + labels)
    x = scale * torch.randn(frames, 1, classes, generator=generator, dtype=torch.float64)
    target = torch.randint(1, classes, (1, labels), generator=generator)
    return Arguments(x.to(dtype), target, torch.tensor([frames]), torch.tensor([labels]), 0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [0.0, 1.0, 4.0, 15.0, 60.0])
@pytest.mark.parametrize(("frames", "labels"), [(900, 800), (1000, 520), (1500, 300)])
def test_steep_rows(frames: int, labels: int, scale: float, dtype: torch.dtype) -> None:
    """Loss alone, and with its gradient, against float64 in logarithms."""
    arguments = steep(frames, labels, scale, 32, dtype)
    expected = exact(arguments, logits=True)
    double = dtype == torch.float64
    found = errors(run(arguments, logits=True), expected)
    assert found.loss <= (1e-13 if double else 2e-7)
    assert found.gradient <= (1e-10 if double else 5e-7)
    alone = ctckit.ctc_loss_with_logits(*arguments, reduction="none")
    assert (alone.double() - expected.losses).abs() <= (1e-13 if double else 2e-7) * expected.losses.abs()


@pytest.mark.usefixtures("simd")
@pytest.mark.parametrize("scale", [4.0, 15.0])
def test_large_logits(scale: float) -> None:
    """Differences of tens of nats, in paths that share the probability: as exact on every instruction set."""
    arguments = steep(1500, 300, scale, 32, torch.float32)
    assert errors(run(arguments, logits=True), exact(arguments, logits=True)).gradient <= 3e-7


@pytest.mark.parametrize("labels", [255, 256, 257, 511, 513])
def test_edges_of_tiles(labels: int) -> None:
    """The last position alone in its tile, or the last of it."""
    arguments = steep(2 * labels, labels, 3.0, 8, torch.float64)
    found = errors(run(arguments, logits=True), exact(arguments, logits=True))
    assert found.loss <= 1e-13
    assert found.gradient <= 1e-11


def test_repeated_labels_ahead() -> None:
    """Each run of one label holds up the states ahead: rows with steps in them."""
    generator = torch.Generator().manual_seed(0)
    target = torch.randint(1, 5, (90,), generator=generator).repeat_interleave(7)
    x = 3 * torch.randn(1800, 1, 5, generator=generator, dtype=torch.float64)
    arguments = Arguments(x, target[None], torch.tensor([1800]), torch.tensor([630]), 0)
    found = errors(run(arguments, logits=True), exact(arguments, logits=True))
    assert found.loss <= 1e-13
    assert found.gradient <= 1e-10
