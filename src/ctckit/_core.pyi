_Triple = tuple[int, int, int]

def loss(
    dtype: int,
    emissions: int,
    shape: _Triple,
    strides: _Triple,
    labels: int,
    labels_size: int,
    max_target: int,
    concatenated: bool,
    offsets: int,
    input_lengths: int,
    target_lengths: int,
    blank: int,
    logits: bool,
    reduction: int,
    zero_infinity: bool,
    mean_weights: bool,
    nll: int,
    output: int,
    out: int,
    out_strides: _Triple,
    state_occupancy: int,
    state_width: int,
    threads: int,
    simd: str,
) -> float | None: ...
def advise_huge_pages(address: int, bytes: int) -> None: ...
def simd_levels() -> list[str]: ...
