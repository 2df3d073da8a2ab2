"""The emissions that are decoded: those of real models, and synthetic ones.

Only NumPy is imported, so that a decoder in another environment (see ``decoding_calls``) gets the same emissions.
"""

from __future__ import annotations

import functools
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from benchmarks import cases, language

if TYPE_CHECKING:
    from collections.abc import Mapping

FOLDER = Path(__file__).parent / "emissions"
FILES = {
    "speech phones": "speech_phones",
    "speech phones, pruned": "speech_phones",
    "clean lines": "ppocr_en_clean",
    "noisy lines": "ppocr_en_noisy",
    "noisy Chinese lines": "ppocr_zh_noisy",
    "captchas": "ddddocr_captcha",
}


class Kind(NamedTuple):
    """How sure a synthetic model is: what it adds to the logit of the right class, over normal noise."""

    sure: float
    unsure: tuple[float, float]  # from, to: drawn for each frame
    share: float  # of frames on which it is sure


# A model in use is sure of most frames. Many labels share the probability where it is not.
PEAKED = Kind(12.0, (0.0, 5.0), 0.76)
MIXED = Kind(8.0, (1.0, 5.0), 0.48)
FLAT = Kind(0.0, (1.5, 4.0), 0.0)
KINDS = {
    "peaked letters": PEAKED,
    "flat letters": FLAT,
    "long letters": MIXED,
    "short letters": MIXED,
    "pieces": Kind(20.0, (3.0, 12.0), 0.66),
    "peaked words": PEAKED,
    "flat words": FLAT,
}
OF_WORDS = ("peaked words", "flat words")  # of the language of `language`


class EmissionSet(NamedTuple):
    """Emissions, and the classes that each item really says: -1 for a character that no class stands for."""

    items: list[np.ndarray]  # log-probabilities (T, C), float32
    targets: list[list[int]]

    def first(self, count: int) -> EmissionSet:
        """The first items."""
        return EmissionSet(self.items[:count], self.targets[:count])


@functools.lru_cache(maxsize=1)
def make(case: cases.Case) -> EmissionSet:
    """The emissions of a case; not to be written to."""
    return _read(FOLDER / f"{FILES[case.name]}.npz") if case.name in FILES else _synthetic(case, KINDS[case.name])


def checksum(emissions: EmissionSet) -> int:
    """A number that tells two sets apart (sent by a peer to prove that it decodes ours)."""
    total = 0
    for item in emissions.items:
        total = zlib.crc32(item.data, total)
    return total


def _read(path: Path) -> EmissionSet:
    with np.load(path) as stored:
        rows = _sparse_rows(stored) if "counts" in stored else stored["log_probs"].astype(np.float64)
        ends = np.cumsum(stored["lengths"])[:-1]
        items = [_normalised(item) for item in np.split(rows, ends)]
        if "targets" in stored:
            ends = np.cumsum(stored["target_lengths"].astype(int))[:-1]
            return EmissionSet(items, [target.tolist() for target in np.split(stored["targets"], ends)])
        classes = {label: number for number, label in enumerate(stored["vocab"].tolist())}
        return EmissionSet(items, [[classes.get(character, -1) for character in text] for text in stored["texts"]])


def _sparse_rows(stored: Mapping[str, Any]) -> np.ndarray:
    counts = stored["counts"].astype(int)
    rows = np.repeat(stored["rest"].astype(np.float64)[:, None], int(stored["num_classes"]), axis=1)
    rows[np.repeat(np.arange(len(counts)), counts), stored["classes"]] = stored["log_probs"]
    return rows


def _synthetic(case: cases.Case, kind: Kind) -> EmissionSet:
    """Normal noise, and a margin on a path that spells a target: one frame for each label, blanks between."""
    random = np.random.default_rng(zlib.crc32(repr((case.name, case.T, case.C, case.S)).encode()))
    made = EmissionSet([], [])
    for _ in range(case.N):  # more items begin with the same ones
        of_words = case.name in OF_WORDS
        target = language.sentence(random, case.S) if of_words else random.integers(1, case.C, case.S)
        path = cases.spread(random, target, case.T)
        sure = random.random(case.T) < kind.share
        margin = np.where(sure, kind.sure, random.uniform(*kind.unsure, case.T))
        logits = random.standard_normal((case.T, case.C))
        logits[np.arange(case.T), path] += margin
        made.items.append(_normalised(logits))
        made.targets.append(target.tolist())
    return made


def _normalised(logits: np.ndarray) -> np.ndarray:
    largest = logits.max(axis=1, keepdims=True)
    total = np.log(np.exp(logits - largest).sum(axis=1, keepdims=True)) + largest
    return np.ascontiguousarray(logits - total, dtype=np.float32)
