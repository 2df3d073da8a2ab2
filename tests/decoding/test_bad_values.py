"""Emissions that no decoder can use, and those at the limits of numbers: nothing passes unseen."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import ctckit
from tests.decoding.problems import emissions
from tests.decoding.results import bits

beam_search: Any = ctckit.beam_search
greedy_decode: Any = ctckit.greedy_decode
INF = math.inf


def names(classes: int) -> list[str]:
    return ["-", *(f"▁{number}" for number in range(1, classes))]


DECODERS: dict[str, Callable[..., Any]] = {
    "beam_search": beam_search,
    "beam_search, logits": lambda *a, **o: beam_search(*a, logits=True, **o),
    "beam_search, thresholds": lambda *a, **o: beam_search(
        *a, **{"beam_threshold": 5.0, "token_threshold": 0.01, "blank_threshold": 0.5} | o
    ),
    "greedy_decode": greedy_decode,
    "greedy_decode, logits": lambda *a, **o: greedy_decode(*a, logits=True, **o),
    "Decoder": lambda x, *a, **o: ctckit.Decoder(names(x.shape[2 if x.ndim == 3 else 1]), **o)(x, *a),
}
every_decoder = pytest.mark.parametrize("name", DECODERS)


def batch(classes: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.stack([emissions("held", 24, classes, seed) for seed in range(4)]).to(dtype)


# ------------------------------------------------------------------------------------------------------ NaN and +inf


@every_decoder
@pytest.mark.parametrize(("value", "kind"), [(math.nan, "NaN"), (INF, r"\+inf")])
@pytest.mark.parametrize("classes", [1, 3, 8, 29, 150, 300])
def test_item_and_frame_are_named(backend: str, classes: int, value: float, kind: str, name: str) -> None:
    if backend == "reference" and classes > 8:
        return
    decode = DECODERS[name]
    x = batch(classes)
    for item, frame, c in ((0, 0, 0), (2, 13, classes - 1), (3, 23, classes // 2), (1, 5, classes // 3)):
        bad = x.clone()
        bad[item, frame, c] = value
        bad[item, frame + 1 :] = math.nan
        with pytest.raises(ValueError, match=f"item {item} hold {kind} in frame {frame}: .*ctckit.check"):
            decode(bad)
        with pytest.raises(ValueError, match=f"the item hold {kind} in frame {frame}: "):
            decode(bad[item])
        decode(bad[item, :frame])


@pytest.mark.parametrize("value", [math.nan, INF])
@pytest.mark.parametrize("classes", [4, 150])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_other_items_are_unharmed(core: None, dtype: torch.dtype, classes: int, value: float) -> None:
    del core
    x = batch(classes, dtype)
    bad = x.clone()
    bad[1, 20, classes - 1] = value
    bad[3, 0, 0] = value
    decoders: tuple[Callable[..., Any], ...] = (
        lambda y, n: beam_search(y, n, nbest=3, invalid="none"),
        lambda y, n: beam_search(y, n, beam_width=(2, 16), invalid="none"),
        ctckit.Decoder(names(classes), invalid="none"),
    )
    for decode in decoders:
        found, expected = decode(bad, [24, 24, 20, 24]), decode(x, [24, 24, 20, 24])
        assert [one is None for one in found] == [False, True, False, True]
        assert bits(found[0]) == bits(expected[0])
        assert bits(found[2]) == bits(expected[2])
        assert decode(bad[1], None) is None
        assert decode(bad[1:2, :20], None)[0] is not None


@pytest.mark.parametrize("classes", [4, 150])
@pytest.mark.parametrize("value", [math.nan, INF])
def test_where_no_prefix_looks(core: None, classes: int, value: float) -> None:
    """In a class, or after a frame, which the search would not need: all frames are read but those after the end."""
    del core
    x = torch.full((6, classes), -INF)
    x[:, 0] = 0.0
    for place in range(classes):
        bad = x.clone()
        bad[3, place] = value
        for options in (
            {},
            {"blank_threshold": 0.5},
            {"token_threshold": 0.9},
            {"beam_threshold": 0.1, "beam_width": 1},
        ):
            with pytest.raises(ValueError, match="in frame 3"):
                beam_search(bad, **options)


# --------------------------------------------------------------------------------------------------------- no mass


@every_decoder
def test_a_frame_of_minus_infinity(backend: str, name: str) -> None:
    decode = DECODERS[name]
    for classes in (1, 3, 150) if backend == "cpu" else (3,):
        x = batch(classes)
        x[1, 7] = -INF
        found = decode(x)
        none = found[1]
        assert (none.nbest, none.score, none.tokens, none.confidence) == ((), -INF, (), None)
        assert "no labelling has a probability above 0 after frame 7" in none.problem
        assert none.to_dict()["problem"] == none.problem
        assert bits(found[0]) == bits(decode(x[0]))
        assert found[2].problem is None
        assert decode(x[1, :7]).problem is None
        assert decode(torch.full((2, classes), -INF)).problem is not None


def test_thresholds_that_leave_nothing(backend: str) -> None:
    del backend
    x = torch.tensor([[-INF, math.log(0.5), math.log(0.5)], [0.0, -INF, -INF]])
    found = beam_search(x, token_threshold=0.6)
    assert found.nbest == ()
    assert "after frame 0 (or the thresholds left none)" in found.problem
    assert beam_search(x, token_threshold=0.49).problem is None
    lost = beam_search(torch.tensor([[-INF, 0.0], [-INF, 0.0]]), blank_threshold=0.0)
    assert lost.tokens == (1,)


# ------------------------------------------------------------------------------------------- no log-probabilities


@every_decoder
def test_probabilities_are_refused(backend: str, name: str) -> None:
    del backend
    x = batch(5).exp()
    for wrong in (x, x[0], x[:, :1], x.double()):
        with pytest.raises(ValueError, match="probabilities"):
            DECODERS[name](wrong)
    mixed = batch(5)
    mixed[2] = mixed[2].exp()
    with pytest.raises(ValueError, match="item 2: emissions hold probabilities"):
        DECODERS[name](mixed)


@pytest.mark.parametrize("decode", [beam_search, greedy_decode, ctckit.Decoder(names(5))])
def test_other_values_are_warned_of(backend: str, decode: Callable[[Tensor], Any]) -> None:
    """Once, and the warning names the caller's line."""
    del backend
    x = 3 * batch(5)[0] + 9
    with pytest.warns(
        UserWarning, match="log-probability is at most 0: if these are logits, pass logits=True"
    ) as warned:
        decode(x)
    assert len(warned) == 1
    assert warned[0].filename == __file__


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_good_values_are_not_warned_of(backend: str, dtype: torch.dtype) -> None:
    del backend
    for kind in ("sharp", "flat", "masked", "held", "uniform"):
        x = emissions(kind, 12, 6).to(dtype)
        for decode in (beam_search, greedy_decode):
            decode(x)
            decode(x[:0])
            decode(2 * x.clamp_min(-100) - 7, logits=True)


# ------------------------------------------------------------------------------------------------ limits of numbers


@pytest.mark.filterwarnings("ignore:emissions hold values", "ignore:the probabilities of a frame")
@pytest.mark.parametrize("classes", [3, 150])
@pytest.mark.parametrize("each", [1e30, -1e30, 3e38, -3e38, 700.0, -700.0, 710.0, -710.0, 1e-40, -1e-40, 1e-45])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_of_any_size(core: None, dtype: torch.dtype, each: float, classes: int) -> None:
    """Only differences within a frame decide."""
    del core
    x = emissions("held", 12, classes).to(dtype) if abs(each) < 1e4 else torch.zeros(12, classes, dtype=dtype)
    expected = beam_search(x, beam_width=4, nbest=4)
    for logits in (False, True):
        found = beam_search(x + each, beam_width=4, nbest=4, logits=logits)
        assert len(found.nbest) == 4
        assert abs(each) > 1e4 or found.tokens == expected.tokens  # of equal ones any may be the best after rounding
        assert all(math.isfinite(h.score) for h in found.nbest)
        assert math.isfinite(greedy_decode(x + each, logits=logits, rescore=True).score)
        if not logits:
            assert found.score == pytest.approx(expected.score + 12 * each, rel=1e-5, abs=1e-4)
        else:
            scores = [h.score for h in beam_search(x, beam_width=4, nbest=4, logits=True).nbest]
            assert [h.score for h in found.nbest] == pytest.approx(scores, rel=1e-4, abs=1e-3)


@pytest.mark.filterwarnings("ignore:emissions hold values", "ignore:the probabilities of a frame")
def test_the_extremes_of_float64(core: None) -> None:
    """Scores may overflow; nothing is raised, and the tokens are right."""
    del core
    most = torch.finfo(torch.float64).max
    for high, low in ((most, -most), (0.0, -most), (most, 0.0), (1e300, -1e300), (5e-324, -5e-324)):
        x = torch.full((5, 3), low, dtype=torch.float64)
        x[[0, 1, 2, 3, 4], [0, 1, 0, 2, 0]] = high
        for logits in (False, True):
            if high < 1:
                assert math.isfinite(beam_search(x, logits=logits).score)
            if high - low > 1:
                found = beam_search(x, nbest=3, logits=logits)
                assert found.tokens == (1, 2)
                assert greedy_decode(x, logits=logits).tokens == (1, 2)
                assert repr(found)


@pytest.mark.filterwarnings("ignore:emissions hold values")
@pytest.mark.usefixtures("core")
def test_a_long_signal_far_from_normalised() -> None:
    x = emissions("held", 3000, 4)
    expected = beam_search(x, beam_width=6)
    for each in (-650.0, 60.0):
        found = beam_search(x + each, beam_width=6)
        assert found.tokens == expected.tokens
        score = expected.nbest[0].beam_score + 3000 * each
        assert found.nbest[0].beam_score == pytest.approx(score, rel=1e-9)
