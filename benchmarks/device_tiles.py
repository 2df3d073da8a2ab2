"""Which tiles of the row kernels are the fastest on a device: the chosen ones, and a few others in turn."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks import device_speed as speed
from benchmarks import process
from benchmarks.device_items import Result, Settings
from benchmarks.device_times import kernel_times
from benchmarks.device_words import device, say
from ctckit.backends import triton as gpu
from ctckit.backends.triton import tiles
from ctckit.backends.triton.tiles import Tile

CHOICES = {"sum_rows": "of_sums", "write_rows": "of_rows"}
"""Kernels, and what chooses their tiles."""
OTHERS: dict[str, tuple[tuple[int, int, int, int], ...]] = {
    "sum_rows": ((4, 1, 2, 4), (4, 1, 4, 4), (4, 1, 8, 4), (8, 1, 4, 8), (1, 4, 4, 4), (1, 8, 2, 8), (1, 8, 4, 8)),
    "write_rows": ((1, 4, 1, 4), (1, 4, 2, 4), (1, 4, 4, 4), (4, 1, 2, 4), (1, 2, 2, 2), (1, 8, 2, 8), (1, 8, 4, 8)),
}
"""Rows, columns in loads of a warp, tiles at once, warps."""


@contextmanager
def chosen(tile_of: dict[str, Tile]) -> Iterator[None]:
    """Within it kernels take these tiles."""
    kept = {name: getattr(tiles, name) for name in CHOICES.values()}
    try:
        for kernel, tile in tile_of.items():
            setattr(tiles, CHOICES[kernel], lambda *_, tile=tile: tile)
        yield
    finally:
        for name, function in kept.items():
            setattr(tiles, name, function)


def choices(settings: Settings, shape: tuple[int, int, int, int], dtype: str) -> Result:
    """Return microseconds of each kernel by its tiles; first the choice of `ctckit.backends.triton.tiles`."""
    speed.DEVICE = device(settings)
    arguments = speed.make(shape, speed.DTYPES[dtype])
    logits = arguments[0]
    lanes = gpu._chunk()  # noqa: SLF001 - of a warp
    load = lanes * tiles.BYTES_PER_LOAD // logits.element_size()  # classes that a warp loads at once
    size = logits.element_size()
    rounds = [{kernel: getattr(tiles, name)(shape[2], size, lanes) for kernel, name in CHOICES.items()}]
    for i in range(2 if settings.dry else len(OTHERS["sum_rows"])):
        others = {kernel: given[i] for kernel, given in OTHERS.items()}
        rounds.append({kernel: Tile(rows, load * loads, *rest) for kernel, (rows, loads, *rest) in others.items()})
    result: Result = {kernel: {} for kernel in CHOICES}
    for tile_of in rounds:
        times: Result
        try:
            with chosen(tile_of):
                times = kernel_times(settings, speed.ctckit_step(arguments), logits)
        except Exception as error:  # noqa: BLE001 - tiles that do not fit are a result
            times = {kernel: process.describe(error) for kernel in CHOICES}
        for kernel, tile in tile_of.items():
            words = f"{tile.rows} x {tile.columns}, {tile.tiles} at once, {tile.warps} warps"
            result[kernel].setdefault(words, times[kernel])
        say(partial=result)
    return result
