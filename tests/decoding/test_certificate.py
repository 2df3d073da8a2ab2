"""The certificate: what pruning has lost, and whether the best hypothesis is proved to be the most probable."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

import ctckit
from ctckit import backends
from ctckit.decoding.scorers import TokenBias
from tests.decoding.problems import emissions
from tests.tools import decode_oracle

beam_search: Any = ctckit.beam_search

OPTIONS: tuple[dict[str, Any], ...] = (
    {"beam_width": 1},
    {"beam_width": 2},
    {"beam_width": 4, "nbest": 3},
    {"beam_width": 300},
    {"beam_width": 300, "beam_threshold": 0.5},
    {"beam_width": 300, "token_threshold": 0.2},
    {"beam_width": 300, "blank_threshold": 0.4},
    {"beam_width": 5, "beam_threshold": 2.0, "token_threshold": 0.1, "blank_threshold": 0.6},
)


def problems() -> Iterator[tuple[Tensor, int]]:
    """Emissions that add up to 1, and their blank."""
    for classes, kind, seed in itertools.product((2, 3, 4), ("sharp", "flat", "masked", "uniform", "held"), range(6)):
        yield emissions(kind, 5 if classes < 4 else 4, classes, seed), seed % classes
    for seed in range(20):  # few labellings, two of which are nearly equal
        x = emissions("held", 4, 3, seed)
        x[:, 2] = x[:, 1] + 1e-9 * torch.randn(4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        yield x.log_softmax(1), 0


def test_never_a_false_proof(backend: str) -> None:
    del backend
    proved: dict[int, int] = dict.fromkeys(range(len(OPTIONS)), 0)
    doubtful = 0
    for x, blank in problems():
        scores = decode_oracle.acoustic_scores(x.tolist(), x.shape[1], blank)
        best = max(scores.values())
        for number, options in enumerate(OPTIONS):
            found = beam_search(x, blank=blank, **options)
            if found.problem is not None:
                assert found.certified is None or found.certified is False
                continue
            is_best = scores[found.tokens] > best - 1e-12
            assert found.certified is not None
            assert is_best or not found.certified, (x, options)
            proved[number] += found.certified
            doubtful += not is_best
    assert all(proved.values())
    assert doubtful > 20


@pytest.mark.parametrize("logits", [False, True], ids=["log_probs", "logits"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_never_a_false_proof_of_other_dtypes(backend: str, dtype: torch.dtype, logits: bool) -> None:
    """The numbers of the dtype are what is judged."""
    del backend
    proved = 0
    for x, blank in problems():
        y = (x.clamp_min(-30) if logits else x).to(dtype)
        rows = (y.double().log_softmax(1) if logits else y.double()).tolist()
        scores = decode_oracle.acoustic_scores(rows, x.shape[1], blank)
        for options in OPTIONS[1:4]:
            found = beam_search(y, blank=blank, logits=logits, **options)
            if found.certified:
                proved += 1
                assert scores[found.tokens] > max(scores.values()) - 1e-12
    assert proved > 50


def test_what_is_lost(backend: str) -> None:
    """1 minus the probability of the paths that are left, by enumeration."""
    del backend
    for x, blank in itertools.islice(problems(), 40):
        for options in OPTIONS:
            names = {"beam_threshold", "token_threshold", "blank_threshold"}
            given = {name: value for name, value in options.items() if name in names}
            kept = decode_oracle.beam(x.tolist(), x.shape[1], blank, options["beam_width"], **given)
            if not kept:
                continue
            left = math.fsum(math.exp(score) for _, score in kept)
            found = beam_search(x, blank=blank, **options)
            if x.std() > 0.01:  # the oracle may keep any of equal ones
                assert found.lost == pytest.approx(max(0.0, 1 - left), abs=1e-12)


@pytest.mark.parametrize("classes", [5, 140])
def test_what_is_lost_does_not_depend_on_how_classes_are_read(core: None, classes: int) -> None:
    """Of few classes all are summed in the search; of many, and with a threshold, when the certificate is asked for."""
    del core
    x = emissions("held", 30, 5)
    wide = torch.full((30, classes), -math.inf, dtype=torch.float64)
    wide[:, :5] = x
    for width in (1, 4, 20):
        expected = beam_search(x, beam_width=width)
        for y, threshold in ((wide, None), (x, 1e-300), (wide, 1e-300)):
            found = beam_search(y, beam_width=width, token_threshold=threshold)
            assert found.lost == pytest.approx(expected.lost, abs=1e-12)
            assert found.certified == expected.certified
            assert 0 < found.lost < 1


def test_easy_cases(backend: str) -> None:
    del backend
    sure = (12.0 * torch.eye(4)[[0, 1, 1, 0, 2, 3, 0]]).log_softmax(1)
    for options in OPTIONS:
        found = beam_search(sure, **options)
        assert (found.tokens, found.certified) == ((1, 2, 3), True)
        assert found.lost < 0.01
    assert beam_search(sure.double()[:0]).certified is True
    assert beam_search(torch.zeros(4, 1)).certified is True
    whole = beam_search(emissions("flat", 4, 3), beam_width=1000)
    assert whole.certified is True
    assert whole.lost == pytest.approx(0, abs=1e-12)


def test_certain_frames_are_of_no_account(core: None) -> None:
    """Ten thousand frames in which all labellings but one have no probability."""
    del core
    x = torch.full((10_000, 3), -math.inf, dtype=torch.float64)
    x[:, 0] = 0.0
    x[5000] = torch.tensor([0.3, 0.5, 0.2], dtype=torch.float64).log()
    found = beam_search(x, beam_width=2)
    assert (found.tokens, found.certified) == ((1,), True)
    assert found.lost == pytest.approx(0.2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_proof_is_closer_than_rounding(core: None, dtype: torch.dtype) -> None:
    """(1,) has a little more than half of the mass, and the other half is lost. Exact scores are float64."""
    del core
    for logit, expected in ((1e-6, True), (0.0, False)):
        x = torch.tensor([[0.0, logit]], dtype=dtype)
        assert beam_search(x, beam_width=1, logits=True).certified is expected
    close = torch.tensor([[0.0, 2e-12]], dtype=torch.float64)  # within the slack of 4e-12
    assert beam_search(close, beam_width=1, logits=True).certified is False


def test_where_nothing_can_be_said(backend: str) -> None:
    del backend
    x = emissions("sharp", 6, 4)
    assert beam_search(x).certified is not None
    off = x.clone()
    off[3] += 0.01
    unnormalised = beam_search(off)
    assert unnormalised.certified is None
    assert unnormalised.lost is not None
    scored = beam_search(x, scorers=[TokenBias([0.0] * 4)])
    assert (scored.certified, scored.lost) == (None, None)
    plain = beam_search(x, rescore=False)
    assert plain.certified is None
    assert plain.lost == beam_search(x).lost
    greedy: Any = ctckit.greedy_decode(x, rescore=True)
    assert (greedy.certified, greedy.lost) == (None, None)
    stream = ctckit.Decoder(["-", "a", "b", "c"]).stream()
    stream.push(x)
    streamed = stream.finish()
    assert (streamed.certified, streamed.lost) == (None, None)


def test_tolerance_of_the_dtypes(backend: str) -> None:
    """Half a percent more than 1 is rounding in float16 and bfloat16, not in float32."""
    del backend
    x = emissions("sharp", 6, 4).log_softmax(1) + 0.005
    for dtype, known in ((torch.float16, True), (torch.bfloat16, True), (torch.float32, False), (torch.float64, False)):
        assert (beam_search(x.to(dtype)).certified is not None) == known, dtype


@pytest.mark.filterwarnings("ignore:emissions hold values", "ignore:the probabilities of a frame")
@pytest.mark.parametrize("classes", [4, 140])
@pytest.mark.parametrize("offset", [-5.0, 3.0, 40.0, -500.0])
@pytest.mark.parametrize("threshold", [None, 1e-300])
def test_the_share_of_what_is_not_normalised(core: None, threshold: float | None, offset: float, classes: int) -> None:
    """What is lost is a share of all, whatever the sums of frames are."""
    del core
    x = emissions("flat", 6, classes)
    found = beam_search(x + offset, beam_width=3, token_threshold=threshold)
    assert found.certified is None
    assert found.lost == pytest.approx(beam_search(x, beam_width=3).lost, abs=1e-9)


@pytest.mark.filterwarnings("ignore:emissions hold values", "ignore:the probabilities of a frame")
@pytest.mark.parametrize("classes", [4, 140])
@pytest.mark.parametrize("offset", [100.0, 800.0, 1e30, -600.0, -1e30])
def test_nothing_is_said_of_what_is_far_from_normalised(core: None, classes: int, offset: float) -> None:
    del core
    found = beam_search(emissions("flat", 6, classes) + offset, beam_width=3)
    assert (found.certified, found.lost) == (None, None)
    assert found.problem is None


def test_backends_agree() -> None:
    """On what is lost, and on what is proved but within rounding."""
    for x, blank in problems():
        for options in OPTIONS:
            found = []
            for name in ("cpu", "reference"):
                if not backends.available(name):
                    pytest.skip("the core is not built")
                with backends.use(name):
                    one = beam_search(x, blank=blank, **options)
                    found.append((one.tokens, one.certified, one.lost))
            assert found[0][:2] == found[1][:2], (x, options)
            assert found[0][2] == pytest.approx(found[1][2], abs=1e-12)
