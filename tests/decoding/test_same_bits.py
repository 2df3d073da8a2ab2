"""Results are the same to the bit for any batch, number of threads, instruction set, layout and rounding mode."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

import ctckit
from ctckit.backends import cpu
from ctckit.decoding.scorers import TokenBias
from tests.conftest import SIMD_LEVELS
from tests.decoding.problems import KINDS, emissions
from tests.decoding.results import bits
from tests.reference.decoding_problems import Bigrams

pytestmark = [
    pytest.mark.usefixtures("core"),
    pytest.mark.filterwarnings(
        "ignore:(item .*)?emissions hold values", "ignore:(item .*)?the probabilities of a frame"
    ),
]

LENGTHS = (40, 0, 17, 1, 33, 40, 8, 25, 40)  # one item of each kind
beam_search: Any = ctckit.beam_search
greedy_decode: Any = ctckit.greedy_decode


def batch(classes: int, dtype: torch.dtype = torch.float32, beyond: float = torch.nan) -> Tensor:
    """(N, T, C), an item of each kind; beyond its length it has NaN."""
    x = torch.full((len(KINDS), max(LENGTHS), classes), beyond, dtype=dtype)
    for item, (kind, length) in enumerate(zip(KINDS, LENGTHS, strict=True)):
        x[item, :length] = emissions(kind, length, classes, seed=item).to(dtype)
    return x


def decoders(classes: int) -> dict[str, Callable[..., Any]]:
    bias = TokenBias(torch.linspace(-1, 1, classes).tolist())
    wide = {"beam_width": 24, "nbest": 24}
    return {
        "beam": lambda x, lengths=None, **o: beam_search(x, lengths, **wide, **o),
        "logits": lambda x, lengths=None, **o: beam_search(x, lengths, **wide, logits=True, **o),
        "thresholds": lambda x, lengths=None, **o: beam_search(
            x, lengths, **wide, beam_threshold=8.0, token_threshold=0.01, blank_threshold=0.9, **o
        ),
        "bias": lambda x, lengths=None, **o: beam_search(x, lengths, **wide, scorers=[bias], **o),
        "bigrams": lambda x, lengths=None, **o: beam_search(x, lengths, **wide, scorers=[Bigrams(classes)], **o),
        "widening": lambda x, lengths=None, **o: beam_search(x, lengths, beam_width=(4, 60), nbest=3, **o),
        "greedy": lambda x, lengths=None, **o: greedy_decode(x, lengths, rescore=True, **o),
        "greedy logits": lambda x, lengths=None, **o: greedy_decode(x, lengths, logits=True, **o),
    }


NAMES = tuple(decoders(2))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("classes", [6, 150])
def test_batches(classes: int, name: str) -> None:
    """An item alone, without padding, is decoded as in a batch, whatever is beyond its length."""
    decode, x = decoders(classes)[name], batch(classes)
    together = decode(x, list(LENGTHS))
    for item, length in enumerate(LENGTHS):
        assert bits(decode(x[item, :length])) == bits(together[item]), KINDS[item]
        assert bits(decode(x[item : item + 1], [length])) == [bits(together[item])]
    backwards = decode(x.flip(0), torch.tensor(LENGTHS).flip(0))
    assert bits(backwards[::-1]) == bits(together)
    for beyond in (torch.inf, -torch.inf, 0.0):
        assert bits(decode(batch(classes, beyond=beyond), torch.tensor(LENGTHS, dtype=torch.int32))) == bits(together)


@pytest.mark.parametrize("name", NAMES)
def test_threads(name: str) -> None:
    times = 20 if name != "bigrams" else 2
    decode, x = decoders(6)[name], batch(6).repeat(times, 1, 1)
    expected = bits(decode(x, LENGTHS * times))
    for threads in (2, 3, 4, 1):
        torch.set_num_threads(threads)
        assert bits(decode(x, LENGTHS * times)) == expected, threads


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("classes", [6, 17, 150])
def test_instruction_sets(classes: int, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exact scores, which the loss computes, are the same but for rounding."""
    if len(cpu.simd_levels()) == 1:
        pytest.skip(f"this processor, or this build, has {', '.join(cpu.simd_levels())} only")
    decode = decoders(classes)[name]
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        x = batch(classes, dtype)
        found = []
        for level in (level for level in SIMD_LEVELS if level in cpu.simd_levels()):
            monkeypatch.setenv("CTCKIT_SIMD", level)
            found.append(decode(x, LENGTHS))
        for other in found[1:]:
            assert all(same_but_for_rounding(*pair) for pair in zip(found[0], other, strict=True)), dtype


def same_but_for_rounding(one: ctckit.Decoding, other: ctckit.Decoding) -> bool:
    def rows(decoding: ctckit.Decoding) -> list[Any]:
        return sorted((h.tokens, h.beam_score or 0.0) for h in decoding.nbest)

    def exact(decoding: ctckit.Decoding) -> dict[Any, float]:
        return {h.tokens: h.acoustic_score or 0.0 for h in decoding.nbest}

    near = exact(one) == pytest.approx(exact(other), rel=1e-6, abs=1e-6)
    return rows(one) == rows(other) and near and (one.path_score, one.lost) == (other.path_score, other.lost)


def layouts(x: Tensor, lengths: tuple[int, ...]) -> Iterator[tuple[str, Tensor, bool]]:
    """Views of the same (N, T, C) numbers: a name, the view, and `batch_first`."""
    items, frames, classes = x.shape
    yield "time first", x.transpose(0, 1), False
    yield "time first, contiguous", x.transpose(0, 1).contiguous(), False
    yield "classes first", x.permute(2, 0, 1).contiguous().permute(1, 2, 0), True
    for step in (2, 3):
        room = torch.full((items, frames * step, classes * step), torch.nan, dtype=x.dtype)
        room[:, ::step, ::step] = x
        yield f"every {step}th", room[:, ::step, ::step], True
    room = torch.full((items + 2, frames + 5, classes + 3), torch.nan, dtype=x.dtype)
    room[1:-1, 2:-3, 1:-2] = x
    yield "inside", room[1:-1, 2:-3, 1:-2], True
    bytes_ = torch.zeros(x.numel() * x.element_size() + 16, dtype=torch.uint8)
    odd = bytes_[x.element_size() : -16 + x.element_size()].view(x.dtype).view(x.shape)
    odd.copy_(x)
    yield "beginning at an odd address", odd, True
    if x.dtype in (torch.float32, torch.float64):
        negative = torch.complex(torch.zeros_like(x), -x).conj().imag
        assert negative.is_neg()
        yield "a negative bit", negative, True
    yield "of no batch stride", x[:1].expand(items, -1, -1), True
    assert len(lengths) == items


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("classes", [6, 150])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_layouts(dtype: torch.dtype, classes: int, name: str) -> None:
    decode, x = decoders(classes)[name], batch(classes, dtype)
    expected = decode(x, LENGTHS)
    for layout, view, batch_first in layouts(x, LENGTHS):
        lengths = LENGTHS if "no batch" not in layout else (LENGTHS[0],) * len(LENGTHS)
        found = decode(view, lengths, batch_first=batch_first)
        assert bits(found) == (bits(expected) if lengths is LENGTHS else [bits(expected[0])] * len(LENGTHS)), layout
        if found[0].nbest and not name.startswith("greedy"):
            assert str(found[0].alignment) == str(expected[0].alignment), layout


@pytest.mark.parametrize("name", NAMES)
def test_flushed_denormals(name: str) -> None:
    decode = decoders(6)[name]
    x = torch.cat([batch(6, torch.float64), 1e-310 * batch(6, torch.float64)], 1)
    lengths = [40 + length for length in LENGTHS]
    expected = bits(decode(x, LENGTHS)), bits(decode(x.nan_to_num(0.0), lengths))
    torch.set_flush_denormal(True)
    try:
        found = bits(decode(x, LENGTHS)), bits(decode(x.nan_to_num(0.0), lengths))
    finally:
        torch.set_flush_denormal(False)
    assert found == expected


def test_masses_that_are_denormal() -> None:
    """Prefixes whose masses are denormal numbers are in the beam, also where torch flushes them."""
    x = torch.tensor([[0.0, -600.0, -610.0], [0.0, -torch.inf, -torch.inf], [0.0, -620.0, -605.0]], dtype=torch.float64)
    expected = bits(beam_search(x, beam_width=50, nbest=50))
    assert min(h.beam_score for h in beam_search(x, beam_width=50, nbest=50).nbest) < -1200
    torch.set_flush_denormal(True)
    try:
        assert bits(beam_search(x, beam_width=50, nbest=50)) == expected
    finally:
        torch.set_flush_denormal(False)


def test_many_python_threads_at_once() -> None:
    from concurrent.futures import ThreadPoolExecutor

    names = itertools.cycle(NAMES)
    jobs = [(name, classes) for name, classes in zip(names, (6, 150, 6, 9) * 8, strict=False)]

    def work(job: tuple[str, int]) -> Any:
        from ctckit import backends

        with backends.use("cpu"):
            return bits(decoders(job[1])[job[0]](batch(job[1]), LENGTHS))

    expected = {job: work(job) for job in set(jobs)}
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(work, jobs)) == [expected[job] for job in jobs]
