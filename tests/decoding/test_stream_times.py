"""Streams of long signals: bounded memory, and the times of tokens, which are found piece by piece."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import ctckit
from tests.decoding.problems import emissions
from tests.reference.decoding_problems import Bigrams

pytestmark = pytest.mark.usefixtures("core")

LETTERS = ["-", "a", "b", "c", "d"]
FRAMES = 50_000
MOST_BYTES = 400_000


def of_path(path: Tensor, margin: float = 12.0) -> Tensor:
    return (margin * torch.nn.functional.one_hot(path, 5).float()).log_softmax(1)


def signals() -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(0)
    one = torch.tensor([1, 0, 0, 0])
    return {
        "silence": of_path(torch.zeros(FRAMES, dtype=torch.int64)),
        "noise": torch.randn(FRAMES, 5, generator=g).log_softmax(1),
        "uniform noise": torch.zeros(FRAMES, 5).log_softmax(1),
        "one label again and again": of_path(one.repeat(FRAMES // 4)),
        "one label held": of_path(torch.ones(FRAMES, dtype=torch.int64)),
        "two labels that are alike": torch.tensor([0.4, 0.3, 0.3, 0.0, 0.0]).log().repeat(FRAMES, 1).clamp_min(-50),
        "one doubtful label, then silence": torch.cat(
            [torch.tensor([[-9.0, -0.7, -0.7, -9.0, -9.0]]), of_path(torch.zeros(FRAMES - 1, dtype=torch.int64))]
        ),
    }


@pytest.mark.parametrize("name", signals())
def test_memory_is_bounded(name: str) -> None:
    x = signals()[name]
    stream = ctckit.Decoder(LETTERS, beam_width=16, frame_duration=0.01).stream()
    bytes_: list[int] = []
    stable: tuple[int, ...] = ()
    for number, chunk in enumerate(x.split(250)):
        stream.push(chunk)
        bytes_.append(stream.memory)
        if number % 20 == 0:
            assert stream.stable_tokens[: len(stable)] == stable
            stable = stream.stable_tokens
    tokens = len(stream.tokens)
    # (The label again and again: of what is equally improbable the first stays, so the first label is never sure.)
    unsure = tokens - len(stream.stable_tokens)
    assert max(bytes_) < MOST_BYTES + 8 * tokens + 40 * 16 * unsure
    assert unsure < 200 or name == "one label again and again"
    found = stream.finish()
    assert len(found.tokens) == tokens
    times = [(token.start, token.end) for token in found.alignment.tokens]
    assert len(times) == tokens
    bounds = [place for pair in times for place in pair]
    assert bounds == sorted(bounds)
    assert all(start < end for start, end in times)
    assert not bounds or (bounds[0] >= 0 and bounds[-1] <= FRAMES)
    assert found.alignment.frames == FRAMES
    if name == "one label again and again":
        assert found.tokens == (1,) * (FRAMES // 4)
        assert times == [(t, t + 1) for t in range(0, FRAMES, 4)]
    if name == "one label held":
        assert found.tokens == (1,)


def sure_path(seed: int, frames: int = 400) -> Tensor:
    """Labels of one to four frames; equal ones have a blank between, others may follow at once."""
    g = torch.Generator().manual_seed(seed)
    path: list[int] = []
    while len(path) < frames:
        label, length, gap = (int(torch.randint(*bounds, (1,), generator=g)) for bounds in ((1, 3), (1, 5), (0, 4)))
        if path and path[-1] == label:
            gap = max(gap, 1)
        path += [0] * gap + [label] * length
    return torch.tensor(path[:frames])


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50, 400])
def test_times_of_a_sure_signal(size: int) -> None:
    """They are those of the alignment of the whole, also where equal labels are cut from each other."""
    for seed in range(6):
        x = of_path(sure_path(seed))
        decoder = ctckit.Decoder(LETTERS, frame_duration=0.02)
        whole: Any = decoder(x)
        stream = decoder.stream()
        for chunk in x.split(size):
            stream.push(chunk)
        found = stream.finish()
        assert found.tokens == whole.tokens
        expected = [(t.id, t.start, t.end, t.start_time, t.end_time) for t in whole.alignment.tokens]
        assert [(t.id, t.start, t.end, t.start_time, t.end_time) for t in found.alignment.tokens] == expected
        assert found.alignment.score == pytest.approx(whole.alignment.score, abs=1e-3)
        assert found.alignment.text == whole.alignment.text


@pytest.mark.parametrize("logits", [False, True], ids=["log_probs", "logits"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_times_of_other_signals(dtype: torch.dtype, logits: bool) -> None:
    """They are near those of the whole: a piece is aligned before what follows is known."""
    for kind in ("held", "sharp", "flat"):
        x = emissions(kind, 300, 5).to(dtype)
        decoder = ctckit.Decoder(LETTERS, rescore=False, logits=logits)
        stream = decoder.stream()
        for chunk in x.split(20):
            stream.push(chunk)
        found = stream.finish()
        whole: Any = decoder(x)
        assert found.tokens == whole.tokens
        starts = [[t.start for t in one.alignment.tokens] for one in (found, whole)]
        off = [abs(a - b) for a, b in zip(*starts, strict=True)]
        assert sum(off) / len(off) < 1
        assert found.alignment.score <= whole.alignment.score + 0.02
        assert found.alignment.score > 1.1 * whole.alignment.score - 1


def test_a_best_prefix_that_changes_after_its_times_are_known() -> None:
    """Frames are kept for a while only; then tokens get their times before they are stable."""

    class Undecided(Bigrams):
        def finish(self, states: Any) -> Any:
            return -40.0 * (states == 1) - 0.0

    scorer = Undecided(5)
    scorer.table[:] = 0.0
    first = torch.tensor([[-9.0, -0.7, -0.71, -9.0, -9.0]])
    x = torch.cat([first, of_path(torch.zeros(9000, dtype=torch.int64))])
    stream = ctckit.Decoder(LETTERS, scorers=[scorer]).stream()
    for chunk in x.split(500):
        stream.push(chunk)
    assert stream.text == "a"
    found = stream.finish()
    assert found.text == "b"
    assert [(t.id, t.start, t.end) for t in found.alignment.tokens] == [(2, 0, 1)]


def test_many_empty_chunks_take_no_memory() -> None:
    stream = ctckit.Decoder(LETTERS).stream()
    stream.push(of_path(torch.tensor([0, 1, 0])))
    before = len(stream._times._chunks)  # type: ignore[union-attr]
    for _ in range(100):
        stream.push(torch.zeros(0, 5))
    assert len(stream._times._chunks) <= before + 1  # type: ignore[union-attr]


def test_a_default_device_does_not_matter() -> None:
    x = of_path(sure_path(1, 60))
    with torch.device("meta"):
        stream = ctckit.Decoder(LETTERS).stream()
        for chunk in x.split(7):
            stream.push(chunk)
        found = stream.finish()
        times = [(t.start, t.end) for t in found.alignment.tokens]
        plain: Any = ctckit.beam_search(x, nbest=2)
        greedy: Any = ctckit.greedy_decode(x, rescore=True)
        said = plain.tokens, plain.certified, plain.confidence, greedy.tokens, greedy.confidence
        assert len(plain.alignment.tokens) == len(times)
    expected: Any = ctckit.beam_search(x, nbest=2)
    assert [(t.start, t.end) for t in expected.alignment.tokens] == times
    assert said[:3] == (expected.tokens, expected.certified, expected.confidence)
