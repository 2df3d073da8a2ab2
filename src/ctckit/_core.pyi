from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

_Triple: TypeAlias = tuple[int, ...]  # three
# labels, how many, the longest target, whether concatenated, input lengths, target lengths, blank
_Targets: TypeAlias = tuple[int, int, int, bool, int, int, int]

# The functions of a batch return 0 (done), 1 (an invalid length or label) or 2 (unusable memory). They all begin with
# the same seven arguments, so that `ctckit.backends.cpu` calls them in one place. `emissions` and what is not a size, a
# flag or a number of threads are addresses.

class LossOptions:
    def __init__(self, logits: bool, reduction: int, zero_infinity: bool, mean_gradient: bool) -> None: ...

def loss(
    dtype: int,
    emissions: int,
    shape: _Triple,
    strides: _Triple,
    targets: _Targets,
    threads: int,
    trusted: bool,
    options: LossOptions,
    result: int,
    gradient: int,
    gradient_strides: _Triple,
) -> int: ...
def class_occupancy(
    dtype: int,
    emissions: int,
    shape: _Triple,
    strides: _Triple,
    targets: _Targets,
    threads: int,
    trusted: bool,
    logits: bool,
    occupancy: int,
) -> int: ...
def state_occupancy(
    dtype: int,
    emissions: int,
    shape: _Triple,
    strides: _Triple,
    targets: _Targets,
    threads: int,
    trusted: bool,
    logits: bool,
    width: int,
    occupancy: int,
    lost: int = 0,
) -> int: ...
def path_occupancy(
    dtype: int,
    emissions: int,
    shape: _Triple,
    strides: _Triple,
    targets: _Targets,
    threads: int,
    trusted: bool,
    logits: bool,
    states: int,
    occupancy: int,
) -> int: ...
def best_path(
    dtype: int,
    emissions: int,
    shape: _Triple,
    strides: _Triple,
    targets: _Targets,
    threads: int,
    trusted: bool,
    classes: int,
    states: int,
    scores: int,
    nll: int,
    checkpoint_bytes: int,
    pruning: int,
) -> int: ...

class Graph:
    def __init__(
        self, states: int, classes: int, sources: int, offsets: int, initial: int, final_count: int, finals: int
    ) -> None: ...
    def best_paths(self, emissions: int, frames: int, columns: int, k: int, paths: int, totals: int) -> int: ...
    def sample_paths(
        self, emissions: int, frames: int, columns: int, count: int, uniforms: int, paths: int
    ) -> float: ...
    def posteriors(self, emissions: int, frames: int, columns: int, occupancy: int) -> float: ...

# --------------------------------------------------------------------------------------------------------- decoding

FoundRow: TypeAlias = tuple[tuple[int, ...], float, float, list[float]]  # classes, beam score, acoustic score, gains

class Scorer:
    def largest_gain(self, clazz: int) -> float: ...

class TokenBias(Scorer):
    def __init__(self, biases: Sequence[float]) -> None: ...

class ArpaReader:
    def __init__(self) -> None: ...
    def feed(self, bytes: bytes) -> None: ...
    def finish(self) -> npt.NDArray[np.uint8]: ...

class NGram:
    def __init__(self, image: npt.NDArray[np.uint8]) -> None: ...
    @property
    def order(self) -> int: ...
    @property
    def words(self) -> int: ...
    @property
    def counts(self) -> list[int]: ...
    @property
    def unknown(self) -> int: ...
    @property
    def begin(self) -> int: ...
    @property
    def end(self) -> int: ...
    def find(self, word: str) -> int: ...
    def score_words(self, words: list[str], bos: bool, eos: bool) -> float: ...
    def score_text(self, text: str, bos: bool, eos: bool) -> float: ...
    def find_all(self, words: Sequence[str]) -> list[int]: ...
    def word(self, number: int) -> bytes: ...
    def step(self, state: int, word: int) -> tuple[float, int]: ...

class WordTrie:
    def __init__(self, classes: npt.NDArray[np.int32], lengths: npt.NDArray[np.int32]) -> None: ...

class WordScorer(Scorer):
    def __init__(
        self,
        trie: WordTrie,
        model: NGram | None,
        numbers: npt.NDArray[np.int32],
        roles: npt.NDArray[np.uint8],
        weight: float,
        bonus: float,
        unknown: float,
        lookahead: bool,
        sentences: bool = True,
        missing: float = 0.0,
    ) -> None: ...
    def after(self, context: int) -> Scorer: ...

class TokenScorer(Scorer):
    def __init__(
        self, model: NGram, numbers: npt.NDArray[np.int32], weight: float, bonus: float, unknown: float
    ) -> None: ...

class PhraseScorer(Scorer):
    def __init__(
        self,
        symbols: npt.NDArray[np.int32],
        lengths: npt.NDArray[np.int32],
        weights: Sequence[float],
        roles: npt.NDArray[np.uint8],
    ) -> None: ...

class SearchOptions:
    def __init__(
        self,
        classes: int,
        blank: int,
        width: int,
        logits: bool,
        beam_factor: float,
        token_floor: float,
        blank_ceiling: float,
    ) -> None: ...

class FinalBeam:
    def __len__(self) -> int: ...
    @property
    def status(self) -> int: ...
    @property
    def frames(self) -> int: ...
    @property
    def log_beam_mass(self) -> float: ...
    def certify(
        self,
        dtype: int,
        emissions: int,
        frames: int,
        classes: int,
        strides: _Triple,  # two
        blank: int,
        logits: bool,
        exact: Sequence[float],
        tolerance: float,
    ) -> tuple[bool, float, float, bool]: ...  # normalised, log of the total, lost, proved

class Stream:
    def __init__(self, options: SearchOptions, scorers: Sequence[object]) -> None: ...
    def push(self, dtype: int, emissions: int, frames: int, strides: _Triple) -> None: ...
    def best(self) -> tuple[int, ...]: ...
    def stable(self) -> tuple[int, ...]: ...
    def count_stable(self) -> int: ...
    def finish(self, hypotheses: int) -> tuple[FinalBeam, list[FoundRow]]: ...
    @property
    def frames(self) -> int: ...
    @property
    def status(self) -> int: ...
    @property
    def bytes(self) -> int: ...

def beam_search(
    dtype: int,
    emissions: int,
    shape: _Triple,
    strides: _Triple,
    input_lengths: int,
    options: SearchOptions,
    hypotheses: int,
    rescore: bool,
    scorers: Sequence[object],
    threads: int,
) -> list[tuple[FinalBeam, list[FoundRow]]]: ...
def greedy_decode(
    dtype: int,
    emissions: int,
    shape: _Triple,
    strides: _Triple,
    input_lengths: int,
    blank: int,
    logits: bool,
    rescore: bool,
    threads: int,
) -> list[tuple[tuple[int, ...], float, float, int, int]]: ...  # classes, path score, exact score, status, frame
def exponential(x: float) -> float: ...
def is_one(number: int, is_double: bool) -> bool: ...
def buffer(bytes: int) -> npt.NDArray[np.uint8]: ...
def set_band_budget(budget: float) -> None: ...
def set_most_planned(bytes: int) -> None: ...
def release_memory() -> None: ...
def fill_memory(byte: int) -> None: ...
def simd_levels() -> list[str]: ...
