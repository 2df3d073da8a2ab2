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

def is_one(number: int, is_double: bool) -> bool: ...
def buffer(bytes: int) -> npt.NDArray[np.uint8]: ...
def set_band_budget(budget: float) -> None: ...
def set_most_planned(bytes: int) -> None: ...
def release_memory() -> None: ...
def fill_memory(byte: int) -> None: ...
def simd_levels() -> list[str]: ...
