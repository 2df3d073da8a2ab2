"""Streams: the same search for any chunks, what is stable, and what is refused."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
from torch import Tensor

import ctckit
from ctckit.backends import cpu as core_backend
from ctckit.backends.searches import SearchOptions
from ctckit.decoding.scorers import TokenBias
from tests.decoding.problems import KINDS, emissions
from tests.decoding.results import bits
from tests.reference.decoding_problems import Bigrams

pytestmark = pytest.mark.filterwarnings("ignore:emissions hold values", "ignore:the probabilities of a frame")

LETTERS = list("-abcdefghijklmnopqrstuvwxyz")


def vocabulary(classes: int) -> list[str]:
    return ["-", *(f"▁{number}" for number in range(1, classes))]


def chunkings(frames: int) -> dict[str, list[int]]:
    r = random.Random(0)  # noqa: S311
    sizes: list[int] = []
    while sum(sizes) < frames:
        sizes.append(min(r.choice((0, 1, 1, 2, 7)), frames - sum(sizes)))
    return {
        "all at once": [frames],
        "single frames": [1] * frames,
        "empty chunks": [0, *itertools.chain.from_iterable((min(5, frames - t), 0) for t in range(0, frames, 5))],
        "any": sizes,
    }


OPTIONS: dict[str, Callable[[int], dict[str, Any]]] = {
    "plain": lambda _: {},
    "narrow": lambda _: {"beam_width": 1, "nbest": 1},
    "thresholds": lambda _: {"beam_threshold": 5.0, "token_threshold": 0.02, "blank_threshold": 0.8},
    "logits": lambda _: {"logits": True},
    "bias": lambda classes: {"scorers": [TokenBias([0.3] * classes)]},
    "bigrams": lambda classes: {"scorers": [Bigrams(classes)]},
}


def run(stream: Any, x: Tensor, sizes: Iterable[int]) -> Any:
    """Push the chunks; check what must hold after each."""
    begin, stable = 0, ()
    for size in sizes:
        stream.push(x[begin : begin + size])
        begin += size
        assert stream.frames == begin
        assert stream.stable_tokens[: len(stable)] == stable
        stable = stream.stable_tokens
        assert stream.tokens[: len(stable)] == stable
        assert stream.memory > 0 or not begin
    found = stream.finish()
    assert found.tokens[: len(stable)] == stable
    assert all(hypothesis.tokens[: len(stable)] == stable for hypothesis in found.nbest)
    return found


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("classes", [5, 140])
def test_any_chunks(core: None, classes: int, name: str) -> None:
    del core
    for kind, dtype in zip(KINDS, itertools.cycle((torch.float32, torch.float64, torch.float16)), strict=False):
        x = emissions(kind, 31, classes).to(dtype)
        options = {"beam_width": 12, "nbest": 12} | OPTIONS[name](classes)
        decoder = ctckit.Decoder(vocabulary(classes), rescore=False, **options)
        expected: Any = decoder(x)
        for chunks, sizes in chunkings(31).items():
            found = run(decoder.stream(), x, sizes)
            assert bits(found)[0] == bits(expected)[0], (kind, chunks)
            assert (found.text, found.exact, found.problem) == (expected.text, False, expected.problem)
            if found.problem is None:
                assert [token.id for token in found.alignment.tokens] == list(found.tokens)
                assert found.alignment.frames == 31


def test_any_chunks_of_the_reference() -> None:
    from ctckit import backends

    x = emissions("held", 9, 4)
    with backends.use("reference"):
        decoder = ctckit.Decoder(["-", "a", "b", "c"], rescore=False, beam_width=4, nbest=4)
        expected: Any = decoder(x)
        for sizes in chunkings(9).values():
            assert bits(run(decoder.stream(), x, sizes))[0] == bits(expected)[0]


@pytest.mark.usefixtures("core")
def test_layouts_of_chunks() -> None:
    x = emissions("sharp", 30, 6)
    decoder = ctckit.Decoder(vocabulary(6), rescore=False, nbest=4)
    expected = bits(decoder(x))[0]
    views = [
        x.T.contiguous().T,
        torch.stack([x, x], 2)[:, :, 0],
        torch.complex(torch.zeros_like(x), -x).conj().imag,
        x.clone().requires_grad_(),
    ]
    for view in views:
        assert bits(run(decoder.stream(), view, [4] * 7 + [2]))[0] == expected


@pytest.mark.usefixtures("core")
def test_chunks_may_be_written_to_again() -> None:
    """A stream keeps no view of the caller's memory."""
    x = emissions("held", 40, 6, 1)
    decoder = ctckit.Decoder(vocabulary(6))
    stream, buffer = decoder.stream(), torch.empty(5, 6, dtype=x.dtype)
    for chunk in x.split(5):
        stream.push(buffer.copy_(chunk))
        buffer.fill_(-3.0)
    other = run(decoder.stream(), x, [40])
    found = stream.finish()
    assert found.tokens == other.tokens
    assert [(t.start, t.end) for t in found.alignment.tokens] == [(t.start, t.end) for t in other.alignment.tokens]


@pytest.mark.usefixtures("core")
def test_what_is_stable_becomes_all_at_the_end() -> None:
    x = emissions("held", 60, 6, 3)
    stream = ctckit.Decoder(vocabulary(6), beam_width=4).stream()
    grown = 0
    for chunk in x.split(6):
        before = stream.stable_text
        stream.push(chunk)
        assert stream.stable_text.startswith(before)
        grown += stream.stable_text != before
    assert grown > 1
    found = stream.finish()
    assert stream.stable_tokens == stream.tokens == found.tokens
    assert stream.stable_text == stream.text == found.text
    assert stream.frames == 60
    assert stream.memory == 0


@pytest.mark.usefixtures("core")
def test_the_end_of_a_scorer_may_change_the_best() -> None:
    """The text after `finish` is that of the result."""

    class Shorter(Bigrams):
        def finish(self, states: Any) -> Any:
            return -60.0 * (states == 1)

    x = torch.tensor([[0.4, 0.6]], dtype=torch.float64).log()
    scorer = Shorter(2)
    scorer.table[:] = 0.0
    stream = ctckit.Decoder(["-", "a"], scorers=[scorer]).stream()
    stream.push(x)
    assert stream.text == "a"
    assert stream.finish().text == ""
    assert (stream.text, stream.stable_text) == ("", "")


@pytest.mark.usefixtures("core")
@pytest.mark.parametrize("make", [lambda: ["-", "a"], lambda: ["a", "b"], lambda: {"x": 7}])
def test_no_frames_at_all(make: Callable[[], Any]) -> None:
    for blank in (None, 0, 1, 2, 9):
        if isinstance(make(), list) and make()[0] == "-" and blank not in (None, 0):
            continue
        stream = ctckit.Decoder(make(), blank=blank).stream()
        assert (stream.text, stream.stable_text, stream.frames) == ("", "", 0)
        found = stream.finish()
        assert (found.text, found.tokens, found.score, found.problem) == ("", (), 0.0, None)
        assert (found.alignment.frames, found.alignment.tokens) == (0, ())
        assert (stream.text, stream.tokens) == ("", ())
    stream = ctckit.Decoder(["-", "a"]).stream()
    stream.push(torch.zeros(0, 2))
    assert stream.finish().text == ""


@pytest.mark.usefixtures("core")
def test_the_core_refuses_a_stream_that_is_finished() -> None:
    """Its prefixes have been taken."""
    search = core_backend.search_stream(3, SearchOptions(0, 4, 1), [])
    search.push(torch.zeros(2, 3).log_softmax(1))
    assert search.count_stable() == len(search.stable())
    search.finish(1)
    calls = (search.best, search.stable, search.count_stable, lambda: search.finish(1))
    for call in (*calls, lambda: search.push(torch.zeros(1, 3).log_softmax(1))):
        with pytest.raises(ValueError, match="the stream is finished"):
            call()


def test_what_is_refused(backend: str) -> None:
    del backend
    decoder = ctckit.Decoder(["-", "a", "b"])
    x = (9.0 * torch.eye(3)[[0, 1, 0, 2]]).log_softmax(1)
    stream = decoder.stream()
    stream.push(x)
    for wrong, message in (
        (torch.zeros(2, 4).log_softmax(1), "4 classes, but the stream began with 3"),
        (torch.zeros(2, 3, 3), "frames of one item"),
        (torch.zeros(3), "log_probs"),
        (x.int(), "log_probs"),
        ([[0.0]], "log_probs"),
    ):
        with pytest.raises((ValueError, TypeError), match=message):
            stream.push(wrong)  # type: ignore[arg-type]
    assert (stream.text, stream.frames) == ("ab", 4)  # as before
    with pytest.raises(ValueError, match="probabilities, not their logarithms"):
        stream.push(x.exp())
    stream.push(x)
    assert stream.finish().text == "abab"
    for _ in range(2):
        with pytest.raises(ValueError, match="finished already"):
            stream.finish()
        with pytest.raises(ValueError, match="is finished"):
            stream.push(x)
    assert stream.text == "abab"
    with pytest.raises(ValueError, match="2 classes, but the vocabulary"):
        decoder.stream().push(torch.zeros(2, 2).log_softmax(1))


@pytest.mark.parametrize(("value", "kind"), [(torch.nan, "NaN"), (torch.inf, r"\+inf")])
@pytest.mark.parametrize("classes", [3, 140])
def test_not_finite(core: None, classes: int, value: float, kind: str) -> None:
    """The frame is counted within the chunk in the message, and from the start after it."""
    del core
    stream = ctckit.Decoder(vocabulary(classes)).stream()
    x = emissions("held", 8, classes)
    stream.push(x)
    bad = x.clone()
    bad[5, 1] = value
    with pytest.raises(ValueError, match=f"{kind} in frame 5"):
        stream.push(bad)
    for refused in (lambda: stream.push(x), stream.finish):
        with pytest.raises(ValueError, match="frame 13, which holds NaN or"):
            refused()
    assert stream.text == ""
    assert stream.memory > 0
    assert isinstance(stream.stable_text, str)


def test_a_frame_of_minus_infinity(backend: str) -> None:
    del backend
    decoder = ctckit.Decoder(["-", "a", "b"])
    x = (9.0 * torch.eye(3)[[0, 1, 0, 2]]).log_softmax(1)
    stream = decoder.stream()
    stream.push(x)
    stream.push(torch.full((2, 3), -torch.inf))
    stream.push(x)  # is of no use, and no error in the middle of a signal
    assert (stream.text, stream.tokens, stream.frames) == ("", (), 10)
    found = stream.finish()
    assert found.nbest == ()
    assert found.score == -torch.inf
    assert "frame 4" in str(found.problem)
    expected: Any = decoder(torch.cat([x, torch.full((2, 3), -torch.inf), x]))
    assert found.problem == expected.problem


@pytest.mark.usefixtures("core")
def test_an_error_of_a_scorer_ends_the_stream() -> None:
    """What was searched is not known: further frames would be decoded twice, or not at all."""

    class Failing(Bigrams):
        fails = False

        def advance(self, states: Any, tokens: Any) -> tuple[Any, Any]:
            if self.fails:
                raise KeyError("a word that is missing")
            gains, _ = super().advance(states % 3, tokens)
            return gains, 3 * (states // 3 + 1) + tokens  # new states, so that no step is known from before

    scorer = Failing(3)
    x = emissions("flat", 6, 3)
    stream = ctckit.Decoder(["-", "a", "b"], scorers=[scorer]).stream()
    stream.push(x)
    scorer.fails = True
    with pytest.raises(KeyError, match="a word that is missing"):
        stream.push(x)
    scorer.fails = False
    with pytest.raises(ValueError, match="was ended by an error"):
        stream.push(x)
    with pytest.raises(ValueError, match="was ended by an error"):
        stream.finish()
