"""What `benchmarks.device` runs: the items, most valuable first, as data. No item is imported before it runs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, NamedTuple

Result = dict[str, Any]
"""What an item found. 'ok' is a verdict, 'failed' and 'left out' are reasons; the rest are figures."""

ROOT = Path(__file__).parent.parent

SHAPES = (
    (1000, 32, 32, 150),
    (1500, 32, 5000, 100),
    (150, 256, 32, 20),
    (12_000, 4, 1024, 1500),
    (1500, 16, 128_000, 100),
)
"""T, N, C, S, most important first."""
DRY_SHAPES = ((12, 2, 8, 3), (10, 2, 40, 3))


class Settings(NamedTuple):
    """What holds for a whole run."""

    out: Path
    dry: bool  # in Triton's interpreter, without a GPU, on tiny inputs
    end: float  # of the run, in seconds of `time.monotonic`

    @property
    def left(self) -> float:
        """Seconds until the end."""
        return self.end - time.monotonic()


class Item(NamedTuple):
    """One question to the device."""

    name: str
    limit: float
    """Seconds that may pass without a word from it. The interpreter takes longer: see `patience`."""
    function: str
    """Module of this package and name: ``function(settings, *arguments)`` returns a `Result`."""
    arguments: tuple[Any, ...] = ()
    needs: str | None = None
    """The item that must have succeeded before."""
    outside: bool = False
    """Whether the parent runs it, because it starts a program of its own."""

    def patience(self, settings: Settings) -> float:
        """Seconds that may pass without a word, on this machine."""
        return self.limit * (6 if settings.dry else 1)


ONE, TWO, MANY = "smoke: one chunk", "smoke: two chunks", "smoke: 48 chunks"
ACCURACY = (
    ("random, ragged", TWO),
    ("sure by 14", ONE),
    ("ten times as large", TWO),
    ("log-probabilities", TWO),
    ("bfloat16", ONE),
    ("float16", ONE),
    ("float64", ONE),
    ("5000 classes", TWO),
    ("10,000 frames", MANY),
)


def items(*, dry: bool) -> list[Item]:
    """All items in order."""
    cases = [
        (shape, dtype, TWO if shape[3] >= 32 else ONE)
        for dtype in ("float32", "bfloat16")
        for shape in (DRY_SHAPES if dry else SHAPES)
    ]
    return [
        Item("machine", 60, "device_times:machine"),
        Item(ONE, 20, "device_checks:smoke", ((20, 2, 8, 5),)),
        Item(TWO, 20, "device_checks:smoke", ((40, 1, 32, 33) if dry else (100, 1, 32, 40),), ONE),
        Item("smoke: many classes", 20, "device_checks:smoke", ((10, 2, 1100, 4),), ONE),
        Item(MANY, 20, "device_checks:many_chunks", (), TWO),
        *(Item(f"accuracy: {name}", 45, "device_checks:accuracy", (name,), needs) for name, needs in ACCURACY),
        Item("same bits", 45, "device_checks:same_bits", (), TWO),
        Item("more programs than fit", 45, "device_checks:more_than_fit", (), MANY),
        Item("lengths that change during calls", 45, "device_checks:changing_lengths", (), TWO),
        Item("no synchronization, and a graph replayed with other numbers", 45, "device_checks:graph", (), TWO),
        Item("memcheck", 75, "device_programs:sanitizer", ("memcheck",), TWO, outside=True),
        *(
            Item(f"row: {shape} {dtype}", 60, "device_times:row", (shape, dtype), needs)
            for shape, dtype, needs in cases
        ),
        *(
            Item(f"tiles: {shape} {dtype}", 60, "device_tiles:choices", (shape, dtype), TWO)
            for shape in (DRY_SHAPES[1:] if dry else (SHAPES[1], SHAPES[4]))
            for dtype in ("float32", "bfloat16")
        ),
        # The shape whose kernels take less time than the host.
        Item("host", 60, "device_host:host", (DRY_SHAPES[0] if dry else SHAPES[2],), ONE),
        Item("ns per frame", 30, "device_times:latency", (), TWO),
        Item("racecheck", 60, "device_programs:sanitizer", ("racecheck",), TWO, outside=True),
        Item("the first call in a new process", 110, "device_programs:first_call", (), TWO, outside=True),
        Item("the project's own tests", 240, "device_programs:own_tests", (), ONE, outside=True),
        *(
            Item(f"peers: {shape} {dtype}", 120, "device_times:peers", (shape, dtype), needs)
            for shape, dtype, needs in cases
        ),
    ]
