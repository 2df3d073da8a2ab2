"""Sentences, a language model of them, and emissions in which a noisy model has heard them."""

from __future__ import annotations

import random

import numpy as np
import numpy.typing as npt

from tests.tools.arpa_files import trained_model

SENTENCES = """
the cat sat on the mat and the dog lay at the door
a dog and a cat are in the house
the man in the house has a cat
she saw the man and the dog in the rain
the rain in the town is cold
it is cold in the house and it rains
he has seen the sea and the old town
the old man has a red house at the sea
she has read the letter and he has not
do not let the cat in the house
he said that she is not in the town
that man and that dog are old
""".strip().splitlines()
WORDS = sorted({word for sentence in SENTENCES for word in sentence.split()})
LETTERS = sorted({letter for word in WORDS for letter in word})
LABELS = ["", " ", *LETTERS]
ARPA = trained_model(SENTENCES)


def heard(said: str, seed: int, sharpness: float = 5.0) -> npt.NDArray[np.float64]:
    """Logits of a model that has heard letters and spaces: each one or two frames, with blanks between, and noise."""
    r = random.Random(seed)  # noqa: S311
    path: list[int] = []
    for number, letter in enumerate(said):
        label = LABELS.index(letter)
        if number and said[number - 1] == letter:
            path.append(0)
        path += [label] * r.choice((1, 1, 2)) + [0] * r.choice((0, 0, 1, 2))
    noise = np.random.default_rng(seed).standard_normal((len(path), len(LABELS)))
    return 1.5 * noise + sharpness * np.eye(len(LABELS))[path]
