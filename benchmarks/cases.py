"""What is measured: the shapes, and the inputs made from them by a fixed seed.

Only NumPy is imported, so that a peer in another environment (see ``peer_calls``) makes exactly the same inputs as the
process that measures ctckit.
"""

from __future__ import annotations

import functools
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLANK = 0


@dataclass(frozen=True)
class Case:
    """One shape: T frames, N items, C classes, targets of S labels."""

    name: str
    T: int
    N: int
    C: int
    S: int
    scale: float = 1.0  # logits are normal noise times this: 10 makes a peaky model
    margin: float = 0.0  # added to one path that spells the target: a trained model
    shortest: int = 0  # if set, items have between this many and T frames
    no_repeats: bool = False  # neighbouring labels differ, so that S close to T is feasible
    batch_first: bool = False  # logits come as (N, T, C)
    about: str = ""

    @property
    def plain(self) -> bool:
        """Whether the logits are normal noise: other numbers take as long, but may be less exact."""
        return self.scale == 1 and not self.margin

    @property
    def shape(self) -> str:
        """The numbers T, N, C, S in the order of the tables."""
        return f"{self.T}, {self.N}, {self.C}, {self.S}"


class Inputs(NamedTuple):
    """The arguments of one call, as NumPy arrays."""

    logits: NDArray[np.float32]  # (T, N, C); (N, T, C) if the case is batch-first
    targets: NDArray[np.int64]  # (N, S), padded with 0
    input_lengths: NDArray[np.int64]  # (N,)
    target_lengths: NDArray[np.int64]  # (N,)


def _named(*given: Case) -> dict[str, Case]:
    return {case.name: case for case in given}


LOSSES = _named(
    Case("tutorial", 50, 16, 20, 30, about="the example in torch's documentation"),
    Case("ocr", 64, 64, 96, 12, about="lines of text"),
    Case("char", 1000, 32, 32, 150, about="speech, characters"),
    Case("bpe", 400, 32, 5000, 40, about="speech, word pieces"),
    Case("phone", 200, 8, 80, 60, about="speech, phones"),
    Case("long", 10_000, 1, 64, 1500, about="one long recording"),
    Case("vocab", 200, 8, 50_000, 30, about="a language model's vocabulary"),
    Case("peaky", 10_000, 1, 64, 1500, scale=10, about="long, logits times 10"),
    Case("tiny", 10, 1, 26, 5, about="one word: the cost of a call"),
    Case("near", 500, 8, 64, 480, no_repeats=True, about="S close to T"),
    Case("unequal", 600, 256, 64, 150, shortest=10, about="10 to 600 frames in one batch"),
    Case("batch-first", 1000, 32, 32, 150, batch_first=True, about="char as (N, T, C)"),
    Case("trained", 1000, 1, 32, 150, margin=8, about="a trained model"),
    Case("trained-long", 10_000, 1, 64, 1500, margin=8, about="the same, long"),
    Case("trained-sure", 10_000, 1, 64, 1500, margin=14, about="nearly certain everywhere"),
)
ALIGNMENTS = _named(
    Case("word", 200, 1, 32, 30),
    Case("utterance", 1500, 1, 32, 200),
    Case("recording", 10_000, 1, 32, 1500),
    Case("utterances", 1500, 32, 32, 200),
    Case("recordings", 10_000, 8, 32, 1500),
    Case("word pieces", 1500, 1, 1024, 200),
    Case("sure recording", 10_000, 1, 32, 1500, margin=8, about="a trained model"),
    Case("sure lecture", 60_000, 1, 32, 9000, margin=8, about="20 minutes in one piece"),
)
HOURS = _named(Case("sure hour", 180_000, 1, 32, 45_000, margin=8, about="an hour in one piece"))  # too large for peers
DECODING = _named(  # emission_sets makes or reads them; T is the median, S the mean, or of words the most
    Case("peaked letters", 500, 8, 32, 150, about="a model that is sure of most frames"),
    Case("flat letters", 500, 8, 32, 150, about="a model that is sure of none"),
    Case("long letters", 3000, 2, 32, 900, about="flat, a minute"),
    Case("short letters", 100, 8, 32, 30, about="flat, a word or two"),
    Case("peaked words", 500, 32, 32, 150, about="letters that spell words of a made language, peaked"),
    Case("flat words", 500, 32, 32, 150, about="the same, flat"),
    Case("pieces", 300, 2, 32_000, 60, about="the vocabulary of a language model, peaked"),
    Case("speech phones", 240, 60, 53, 27, about="a network of examples/speech.py"),
    Case("speech phones, pruned", 240, 60, 53, 27, about="the same, pruned as pyctcdecode does by default"),
    Case("clean lines", 86, 24, 6625, 47, about="printed English, an OCR model"),
    Case("noisy lines", 69, 24, 6625, 44, about="the same, hard to read"),
    Case("noisy Chinese lines", 50, 24, 6625, 22, about="Chinese and English, hard to read"),
    Case("captchas", 18, 24, 8210, 6, about="letters and digits"),
)
CASES = LOSSES | ALIGNMENTS | HOURS | DECODING


@functools.lru_cache(maxsize=1)
def make(case: Case) -> Inputs:
    """The inputs of a case; not to be written to. The seed comes from the shape: the same on every machine."""
    random = np.random.default_rng(zlib.crc32(repr((case.name, case.shape)).encode()))
    logits = random.standard_normal((case.T, case.N, case.C), dtype=np.float32)
    logits *= np.float32(case.scale)
    input_lengths = np.full(case.N, case.T)
    target_lengths = np.full(case.N, case.S)
    if case.shortest:
        input_lengths = random.integers(case.shortest, case.T, case.N, endpoint=True)
        input_lengths[0] = case.T
        target_lengths = np.minimum(input_lengths // 4, case.S)
    targets = _labels(random, case)
    targets[np.arange(case.S) >= target_lengths[:, None]] = 0
    if case.margin:
        for item in range(case.N):
            path = spread(random, targets[item, : target_lengths[item]], input_lengths[item])
            logits[np.arange(len(path)), item, path] += np.float32(case.margin)
    if case.batch_first:
        logits = np.ascontiguousarray(logits.swapaxes(0, 1))
    return Inputs(logits, targets, input_lengths, target_lengths)


def log_probs(case: Case) -> NDArray[np.float32]:
    """The logits of a case as log-probabilities (N, T, C)."""
    logits = make(case).logits.swapaxes(0, 1).astype(np.float64)
    shifted = logits - np.log(np.exp(logits).sum(axis=2, keepdims=True))
    return np.ascontiguousarray(shifted, dtype=np.float32)


def checksum(inputs: Inputs) -> int:
    """A number that tells two sets of inputs apart (sent by a peer to prove it made ours)."""
    total = 0
    for array in inputs:
        total = zlib.crc32(np.ascontiguousarray(array).data, total)
    return total


def _labels(random: np.random.Generator, case: Case) -> NDArray[np.int64]:
    """Labels 1..C-1, uniform; with `no_repeats` each differs from the one before."""
    if not case.no_repeats:
        return random.integers(1, case.C, (case.N, case.S))
    steps = random.integers(1, case.C - 1, (case.N, case.S))  # never a full turn of C-1
    return np.cumsum(steps, axis=1) % (case.C - 1) + 1


def spread(random: np.random.Generator, labels: NDArray[np.int64], frames: int) -> NDArray[np.int64]:
    """A path of `frames` classes that spells `labels`: one frame each, blanks between."""
    # Choosing among frames - labels + 1 places, then adding 0, 1, 2, ... leaves a blank
    # between any two labels, so that repeated labels are spelt too.
    places = np.sort(random.choice(frames - len(labels) + 1, len(labels), replace=False))
    path = np.full(frames, BLANK)
    path[places + np.arange(len(labels))] = labels
    return path
