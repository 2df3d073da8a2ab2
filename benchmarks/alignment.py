"""How fast is the best path, beside other aligners, how does its time grow, and what do confidences and hours take?"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch

import ctckit
from benchmarks import cases, memory, peers
from benchmarks.cases import Case
from benchmarks.peer_calls import ALIGNERS
from benchmarks.process import Process
from benchmarks.speed import along
from benchmarks.timing import Call, compare, timed
from ctckit.backends import cpu

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.settings import Row, Settings

AXES = {
    "T": [Case("growth", size, 1, 32, 200) for size in (1000, 2000, 4000, 8000, 16_000, 32_000)],
    "S": [Case("growth", 8000, 1, 32, size) for size in (25, 50, 100, 200, 400, 800, 1600, 3200)],
}
LONG = ((60_000, 9_000), (180_000, 45_000))  # T, S
TEN_HOURS = (1_800_000, 450_000)
# Aligners that keep about a byte per frame and state, not more, and finish within minutes.
LONG_ALIGNERS = ("torchaudio", "ctc-forced-aligner")
LONG_FRAMES = 20_000


def measure(settings: Settings) -> Iterator[Row]:
    """Every aligner in turn with ctckit, float32; batches on more threads too."""
    aligners = {name: python for name, python in settings.peers.items() if name in ALIGNERS}
    for case in settings.among(cases.ALIGNMENTS):
        able = {name: aligners[name] for name in aligners if case.T <= LONG_FRAMES or name in LONG_ALIGNERS}
        chosen = [(case, threads) for threads in (settings.threads if case.N > 1 else settings.threads[:1])]
        yield from peers.meet(able, chosen, align, _difference, settings.effort(3.0, 3), seconds=120)


def align(case: Case) -> Call:
    """The call that is measured."""
    log_probs, targets = _tensors(case)
    return Call(lambda: ctckit.forced_align(log_probs, targets))


def _tensors(case: Case) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(cases.log_probs(case)), torch.from_numpy(cases.make(case).targets)


def _difference(case: Case, result: peers.Arrays) -> Row:
    """How many items have the same path, and how far the worst is below the best path's log-probability, in nats."""
    log_probs, targets = _tensors(case)
    ours, _ = ctckit.forced_align(log_probs, targets)
    theirs = torch.from_numpy(result["paths"])
    if theirs.shape != ours.shape:
        return {"same_paths": None, "below_best": None}
    x = log_probs.double()
    best, score = (x.gather(2, paths[:, :, None].long())[:, :, 0].sum(1) for paths in (ours, theirs))
    return {"same_paths": int((ours == theirs).all(1).sum()), "below_best": float((best - score).max())}


def growth(settings: Settings) -> Iterator[Row]:
    """The best path against frames T and labels S."""
    yield from along(AXES, ["ctckit"], lambda case: [align(case)], settings.effort(1.0, 5, 50), settings)


def long(settings: Settings) -> Iterator[Row]:
    """One item in a fresh process: seconds of one call, and the memory that it needs above its input."""
    if not memory.HIGH_WATER_MARK.exists():
        return
    for sizes in LONG[:1] if settings.quick else LONG + (TEN_HOURS,) * settings.ten_hours:
        with Process("benchmarks.alignment:long_path", *sizes, seconds=3600) as process:
            yield process.ask()


def long_path(frames: int, labels: int, classes: int = 32) -> Row:
    """Align noise once, on one thread."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, frames, classes, generator=generator)  # no log_softmax: its freed memory would be used again
    targets = torch.randint(1, classes, (1, labels), generator=generator)
    ((paths, _), seconds), mib = memory.peak(lambda: timed(lambda: ctckit.forced_align(x, targets)))
    tokens = [span.token for span in ctckit.merge_tokens(paths[0], x[0, :, 0])]
    assert tokens == targets[0].tolist(), "the path spells the target"
    return {"T": frames, "S": labels, "C": classes, "seconds": seconds, "mib_above_input": mib}


def confidences(settings: Settings) -> Iterator[Row]:
    """Of one item, the occupancy along its path, beside the path: seconds in turn, and memory in a fresh process."""
    torch.set_num_threads(1)
    single = {name: case for name, case in (cases.ALIGNMENTS | cases.HOURS).items() if case.N == 1}
    for case in settings.among(single):
        x, targets = _tensors(case)
        paths, _ = ctckit.forced_align(x, targets)
        timed_calls = Call(_confidences_of(x, targets, paths)), align(case)
        row: Row = {"case": case.name, **compare(*timed_calls, settings.effort(3.0, 2))}
        if memory.HIGH_WATER_MARK.exists():
            call = "benchmarks.alignment:peak_of_confidences", asdict(case)
            with Process(*call, seconds=600, environment=memory.MALLOC) as process:
                row["peak_mib"] = process.ask()
        yield row


def peak_of_confidences(case: dict[str, Any]) -> float:
    """MiB above the input and the path, on one thread."""
    torch.set_num_threads(1)
    x, targets = _tensors(Case(**case))
    paths, _ = ctckit.forced_align(x, targets)
    run = _confidences_of(x, targets, paths)
    cpu.release_memory()  # what the path left over must not serve the confidences unseen
    return memory.peak(run)[1]


def _confidences_of(log_probs: torch.Tensor, targets: torch.Tensor, paths: torch.Tensor) -> Callable[[], torch.Tensor]:
    """The call that `ctckit.align` makes for its confidences: the occupancy of each frame's state on the path."""
    before = torch.nn.functional.pad(paths[:, :-1], (1, 0), value=cases.BLANK)
    on_label = paths != cases.BLANK
    states = 2 * (on_label & (paths != before)).cumsum(1) - on_label.long()  # 2k after k labels, 2k - 1 on label k
    return lambda: ctckit.posteriors(log_probs, targets, states=states, batch_first=True)
