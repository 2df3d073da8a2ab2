from typing import TypeAlias

import numpy as np
import numpy.typing as npt

_Triple: TypeAlias = tuple[int, ...]  # three
# labels, how many, the longest target, whether concatenated, input lengths, target lengths, blank
_Targets: TypeAlias = tuple[int, int, int, bool, int, int, int]

def loss(
    dtype: int,
    emissions: int,
    shape: _Triple,
    strides: _Triple,
    targets: _Targets,
    logits: bool,
    reduction: int,
    zero_infinity: bool,
    mean_weights: bool,
    result: int,
    result_is_double: bool,
    output: int,
    out: int,
    out_strides: _Triple,
    state_occupancy: int,
    state_width: int,
    path_states: int,
    path_occupancy: int,
    threads: int,
    trusted: bool,
) -> int: ...
def is_one(number: int, is_double: bool) -> bool: ...
def buffer(bytes: int) -> npt.NDArray[np.uint8]: ...
def release_memory() -> None: ...
def fill_memory(byte: int) -> None: ...
def best_path(
    dtype: int,
    log_probs: int,
    shape: _Triple,
    strides: _Triple,
    targets: _Targets,
    classes: int,
    states: int,
    scores: int,
    nll: int,
    checkpoint_bytes: int,
    threads: int,
    trusted: bool,
) -> int: ...
def best_graph_paths(
    emissions: int,
    frames: int,
    columns: int,
    graph: tuple[int, int, int, int, int],
    states: int,
    final_count: int,
    k: int,
    paths: int,
    totals: int,
) -> int: ...
def sample_graph_paths(
    emissions: int,
    frames: int,
    columns: int,
    graph: tuple[int, int, int, int, int],
    states: int,
    final_count: int,
    uniforms: int,
    count: int,
    paths: int,
) -> float: ...
def graph_posteriors(
    emissions: int,
    frames: int,
    columns: int,
    graph: tuple[int, int, int, int, int],
    states: int,
    final_count: int,
    occupancy: int,
) -> float: ...
def simd_levels() -> list[str]: ...
