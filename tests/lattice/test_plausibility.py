"""Implausible emissions, and plausible ones that must not warn."""

from __future__ import annotations

import math
import warnings

import pytest
import torch

from ctckit.lattice.plausibility import implausible


def scores(frames: int, classes: int, *, seed: int = 0, by: float = 3.0) -> torch.Tensor:
    return by * torch.randn(frames, classes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def kinds(x: torch.Tensor, *, logits: bool = False, blank: int | None = None, named: int | None = None) -> list[str]:
    problems = implausible(x, logits=logits, blank=blank, classes_named=named)
    assert all(problem.item == 0 for problem in problems)
    return [problem.kind for problem in problems]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("classes", [2, 32, 1000, 6625])
@pytest.mark.parametrize("by", [0.0, 0.3, 3.0, 30.0])
def test_rounded_log_probabilities_are_fine(dtype: torch.dtype, classes: int, by: float) -> None:
    """Also if all classes have the same rounding error, and for float32 that was converted from float16."""
    x = scores(20, classes, by=by).log_softmax(1).to(dtype)
    assert kinds(x) == []
    if dtype != torch.bfloat16:
        assert kinds(x.half().float()) == []


def test_probabilities() -> None:
    x = scores(30, 7).softmax(1)
    for given in (x, x.float(), x.half()):
        for logits in (False, True):  # nor as logits
            (problem,) = implausible(given, logits=logits)
            assert problem.kind == "positive"
            assert "hold probabilities" in problem.message
    assert kinds(torch.zeros(0, 7)) == kinds(torch.zeros(3, 1), logits=True) == []


def test_logits() -> None:
    x = scores(30, 7)
    (problem,) = implausible(x, logits=False)
    assert problem.kind == "positive"
    assert "logits=True" in problem.message
    assert kinds(x, logits=True) == []
    (problem,) = implausible(x - 50, logits=False)  # logits, all below 0
    assert problem.kind == "unnormalised"
    assert "logits=True" in problem.message


@pytest.mark.parametrize("factor", [0.9, 0.98, 0.985, 1.015, 1.02, 1.5])
@pytest.mark.parametrize("frames", [1, 20, 256, 257, 300, 512, 513, 5000])
def test_sums_that_are_not_1(frames: int, factor: float) -> None:
    """Up to 256 frames are checked."""
    x = scores(frames, 7, by=0.1).log_softmax(1) + math.log(factor)
    (problem,) = implausible(x, logits=False)
    assert problem.kind == "unnormalised"
    looked_at = {300: 150, 257: 129, 512: 256, 513: 171, 5000: 250}.get(frames, frames)
    assert f"add up to {factor:.4g} instead of 1, in {looked_at} of {looked_at} frames" in problem.message


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("value", [10.0, 100.0, 1000.0, 20000.0])
def test_large_numbers_are_told_without_more_ado(value: float, dtype: torch.dtype) -> None:
    """Their exponentials overflow, without a warning of that."""
    x = torch.tensor([[0.0, -value], [value, 0.0]], dtype=dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert kinds(x) == ["positive"]
        assert kinds(x - 2 * value) == ["unnormalised"]
        assert kinds(x, logits=True) == []


def test_the_first_frame_that_does_not_add_up_is_told() -> None:
    x = scores(9, 7).log_softmax(1)
    x[2] += math.log(0.75)
    x[5] += math.log(0.5)
    (problem,) = implausible(x, logits=False)
    assert "add up to 0.75 instead of 1, in 2 of 9 frames" in problem.message


def test_frames_and_classes_exchanged() -> None:
    """A wrong dimension: each class adds up to 1 over the frames, but no frame does."""
    for size in (3, 7, 30):
        assert kinds(scores(size, size).log_softmax(0)) == ["unnormalised"]


def test_the_edge_of_what_is_rounding() -> None:
    for dtype, edge in ((torch.float64, 0.01), (torch.bfloat16, 0.049)):
        assert kinds(torch.full((3, 1), edge, dtype=dtype)) == kinds(torch.full((3, 1), -edge, dtype=dtype)) == []
        assert kinds(torch.full((3, 1), 1.1 * edge, dtype=dtype)) == ["positive"]
        assert kinds(torch.full((3, 1), -1.1 * edge, dtype=dtype)) == ["unnormalised"]


def test_logits_that_look_like_probabilities() -> None:
    """Probabilities are several classes, from 0 to 1, that add up to 1."""
    for row in ([1.0, 0.0], [0.0, 1.0, 0.0], [0.5, 0.5], [0.2, 0.3, 0.5]):
        assert kinds(torch.tensor([row] * 3), logits=True) == ["positive"]
    for row in ([1.0], [1.5, -0.5], [0.5, 1.0], [0.25, 0.25], [2.0, 0.0]):
        assert kinds(torch.tensor([row] * 3), logits=True) == []
    assert kinds(torch.tensor([[0.5, 0.5], [0.5, 0.75]]), logits=True) == []


def test_one_value_above_0_is_seen_in_any_frame() -> None:
    x = scores(5000, 7).log_softmax(1)
    assert kinds(x) == []
    x[4321, 3] = 0.5
    assert kinds(x) == ["positive"]


def test_what_is_passed_over() -> None:
    """`ctckit.check` reports NaN and infinities; with masked classes the others may add up to less than 1."""
    x = scores(9, 4).log_softmax(1)
    for value in (math.nan, math.inf, -math.inf):
        y = x.clone()
        y[2, 1] = value
        y[3] = value
        assert kinds(y) == []
    x[:, 2] = -math.inf
    assert kinds(x) == []
    assert kinds(torch.full((3, 4), math.nan)) == []


@pytest.mark.parametrize("other", [math.nan, math.inf, -math.inf])
def test_what_is_passed_over_hides_nothing(other: float) -> None:
    x = scores(9, 4).log_softmax(1)
    x[2, 1] = other
    for change, kind in ((5.0, "positive"), (math.log(1.5), "unnormalised"), (math.log(0.5), "unnormalised")):
        y = x.clone()
        y[7] = scores(1, 4, by=0.0).log_softmax(1) + change
        assert kinds(y) == [kind]
    if other == -math.inf:
        x[2, [0, 2, 3]] = math.log(0.5)  # three classes of 1/2 each, and one at -inf
        assert kinds(x) == ["unnormalised"]


def test_a_blank_that_never_wins() -> None:
    path = torch.tensor([4, 0, 4, 1, 4])
    x = (5.0 * torch.nn.functional.one_hot(path, 5)).log_softmax(1)
    (problem,) = implausible(x, logits=False, blank=2, classes_named=4)
    assert problem.kind == "blank"
    assert "class 2, the blank, is the most probable class of no frame" in problem.message
    assert "blank=4" in problem.message
    assert "is that of 3 of 5" in problem.message
    assert kinds(x[[0, 1]], blank=2, named=4) == kinds(x[[0, 3]], blank=0, named=4) == ["blank"]  # once each
    assert kinds(x[:0], blank=2, named=4) == []
    assert kinds(x, blank=-1, named=4) == kinds(x, blank=5, named=4) == []  # no class
    assert kinds(x, blank=0, named=4) == []  # it is the most probable once
    assert kinds(x, blank=2, named=5) == []  # every class has a name
    assert kinds(x, blank=4, named=4) == []
    assert kinds(x, blank=2) == kinds(x, named=4) == []
    assert kinds(x[1:2], blank=2, named=4) == []  # the unnamed class is never the most probable either


def test_numbers_of_classes() -> None:
    x = scores(9, 10).log_softmax(1)
    assert [kinds(x, named=named) for named in (8, 9, 10, 11)] == [["classes"], [], [], ["classes"]]
    messages = [implausible(x, logits=False, classes_named=named)[0].message for named in (8, 11)]
    assert "10 classes, more than the 8 of the vocabulary" in messages[0]
    assert "10 classes, fewer than the 11 of the vocabulary" in messages[1]
