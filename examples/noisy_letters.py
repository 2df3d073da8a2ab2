"""English sentences, and a noisy channel for their letters.

The sentences are those of Python's own documentation, so nothing has to be downloaded. The channel stands for a
recogniser: it turns a text into the probabilities of letters in frames, as a network trained with CTC does.
"""

import ast
import math
import re
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from pydoc_data.topics import topics
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

VOCABULARY = ["-", "|", *"abcdefghijklmnopqrstuvwxyz'"]  # the token of each class: the blank, the space, letters
CLASS_OF = {token: number for number, token in enumerate(VOCABULARY)} | {" ": 1}
LONGEST = 100  # letters of a sentence

# --- The text. --------------------------------------------------------------------------------------------------------


def sentences() -> list[str]:
    """Return the sentences of Python's documentation, in lower case, without those that hold other signs than letters.

    They come from the help texts of the language and the docstrings of the standard library.
    """
    texts = list(topics.values())
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
        nodes = [node for node in ast.walk(ast.parse(path.read_bytes())) if isinstance(node, documented)]
        texts += [text for text in map(ast.get_docstring, nodes) if text]
    return list(dict.fromkeys(sentence for text in texts for sentence in _sentences_of(text)))


def _sentences_of(text: str) -> Iterator[str]:
    for paragraph in re.split(r"\n\s*\n", text):
        for sentence in re.split(r"(?<=[.?!:;])\s+", " ".join(paragraph.split())):
            words = re.sub(r'[,.;:?!"*()]', " ", sentence.lower()).split()
            if len(words) >= 4 and all(re.fullmatch("[a-z]+('[a-z]+)?", word) for word in words):
                row = " ".join(words)
                if len(row) <= LONGEST:
                    yield row


def classes_of(text: str) -> list[int]:
    """Spell a text."""
    return [CLASS_OF[letter] for letter in text]


# --- The channel: from a text to the probabilities of the classes in every frame. -------------------------------------


class Channel:
    """Sends each letter as a point in a space of a few dimensions, to which noise is added.

    A letter lasts one or two frames, and blanks come between. The receiver knows the points and the noise, but neither
    the letters nor the language: its probabilities are those of Bayes' rule for each frame alone.
    """

    def __init__(self, noise: float = 0.6, dimensions: int = 6) -> None:
        self.noise = noise
        self._points = torch.randn(len(VOCABULARY), dimensions, generator=torch.Generator().manual_seed(0))

    def send(self, text: str, random: np.random.Generator) -> Tensor:
        """Return the (T, C) log-probabilities that are received."""
        path = [0]
        for letter in classes_of(text):
            path += [letter] * int(random.integers(1, 3)) + [0] * int(random.integers(1, 3))
        sent = self._points[path]
        received = sent + self.noise * torch.from_numpy(random.standard_normal(sent.shape)).float()
        distances = torch.cdist(received, self._points)
        scores = -distances.square() / (2 * self.noise**2)
        scores[:, 0] += math.log(len(VOCABULARY) - 1)  # half of the frames are blank
        return scores.log_softmax(1)


class Heard(NamedTuple):
    """Sentences as they were received."""

    texts: list[str]
    emissions: Tensor  # (N, T, C) log-probabilities
    frames: list[int]


def hear(texts: list[str], channel: Channel, seed: int) -> Heard:
    """Send sentences."""
    random = np.random.default_rng(seed)
    rows = [channel.send(text, random) for text in texts]
    return Heard(texts, nn.utils.rnn.pad_sequence(rows, batch_first=True), [len(row) for row in rows])
