"""Lines of real handwritten digits, with the known position of every digit.

scikit-learn includes 1,797 handwritten digits of 8 x 8 pixels. This module puts them side by side into lines, so the
pixel columns of each digit are known exactly. Training does not use these spans; they only measure the error later.
"""

from typing import NamedTuple

import numpy as np
import torch
from sklearn.datasets import load_digits

HEIGHT = 12  # rows of a line; a digit has 8, so it has five possible heights
BLANK = 0  # class 0 is the blank, class d + 1 is the digit d


class Line(NamedTuple):
    """One line of handwriting."""

    image: np.ndarray  # (HEIGHT, width) float32: 0 is paper, 1 is ink
    digits: np.ndarray  # (S,) the digits from left to right
    spans: np.ndarray  # (S, 2) first pixel column of each digit's ink, and the column after its last


class Batch(NamedTuple):
    """Several lines, padded to one width: the input of the network and the loss."""

    images: torch.Tensor  # (N, 1, HEIGHT, width) float32
    widths: torch.Tensor  # (N,) pixel columns of each line
    targets: torch.Tensor  # (N, S) classes of the digits, padded with the blank
    target_lengths: torch.Tensor  # (N,) digits of each line


class DigitLines:
    """A generator of random lines, made from the digits at ``indices`` of the data set."""

    noise = 0.08  # standard deviation

    def __init__(self, indices: np.ndarray, seed: int) -> None:
        data = load_digits()
        self.digits = data.target[indices]
        # Remove the empty columns on both sides, so that a span covers only ink.
        self.inks = [image[:, image.any(axis=0)] / 16 for image in data.images[indices]]
        self.random = np.random.default_rng(seed)

    def line(self, shortest: int = 4, longest: int = 12) -> Line:
        """Write a line of ``shortest`` to ``longest`` digits."""
        random = self.random
        chosen = random.integers(len(self.inks), size=random.integers(shortest, longest + 1))
        inks = [self.inks[i] for i in chosen]
        # Gaps of 0 to 6 pixels before, between and after the digits; digits with gap 0 touch.
        gaps = random.integers(0, 7, size=len(inks) + 1)
        widths = [ink.shape[1] for ink in inks]
        ends = np.cumsum(gaps[:-1] + widths)
        spans = np.stack([ends - widths, ends], axis=1)

        image = np.zeros((HEIGHT, ends[-1] + gaps[-1]), dtype=np.float32)
        for ink, (start, end) in zip(inks, spans, strict=True):
            top = random.integers(HEIGHT - 8 + 1)  # digits are not exactly on the line
            image[top : top + 8, start:end] = ink
        image += random.normal(0, self.noise, image.shape)  # the noise of a scanner
        return Line(image.clip(0, 1), self.digits[chosen], spans)

    def lines(self, count: int) -> list[Line]:
        """Write ``count`` lines."""
        return [self.line() for _ in range(count)]


def split(test_share: float = 0.2, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Divide the data set at random into training and test digits; return the indices of each."""
    indices = np.random.default_rng(seed).permutation(len(load_digits().target))
    test = round(test_share * len(indices))
    return indices[test:], indices[:test]


def collate(lines: list[Line]) -> Batch:
    """Pad lines to the width of the widest."""
    widths = torch.tensor([line.image.shape[1] for line in lines])
    lengths = torch.tensor([len(line.digits) for line in lines])
    images = torch.zeros(len(lines), 1, HEIGHT, int(widths.max()))
    targets = torch.full((len(lines), int(lengths.max())), BLANK)
    for n, line in enumerate(lines):
        images[n, 0, :, : widths[n]] = torch.from_numpy(line.image)
        targets[n, : lengths[n]] = torch.from_numpy(line.digits + 1)
    return Batch(images, widths, targets, lengths)
