"""Paths through patterns: infeasible items, NaN, defaults and wrong arguments."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

import ctckit
from ctckit import WILDCARD, Alternatives


@pytest.mark.usefixtures("backend")
def test_too_few_frames() -> None:
    x = torch.zeros(3, 3)
    for call in (ctckit.best_paths, ctckit.posterior_path):
        with pytest.raises(ValueError, match="the item needs 4 frames, but has 3"):
            call(x, [1, 1, Alternatives([2], [1])])
    with pytest.raises(ValueError, match="the item needs 4 frames, but has 3"):
        ctckit.sample_paths(x, [1, 1, 2], 2)
    occupancy, log_likelihood, _ = ctckit.path_posteriors(x, [1, 1, 2])
    assert log_likelihood == -math.inf
    assert not occupancy.any()
    cases: list[tuple[list[Any], tuple[int, ...]]] = [([1, 1, 2], ()), ([1, 1, Alternatives([2])], (-1,))]
    for pattern, options in cases:
        path = ctckit.best_paths(x, pattern, infeasible="blank")[0]
        assert path.options == options
        assert path.total == -math.inf
        assert path.classes.tolist() == [0, 0, 0]
        assert path.states.tolist() == path.tokens.tolist() == [-1, -1, -1]
        assert path.scores.tolist() == [-math.inf] * 3
        assert len(ctckit.sample_paths(x, pattern, 2, infeasible="blank")) == 2
        assert ctckit.posterior_path(x, pattern, infeasible="blank").total == -math.inf


@pytest.mark.usefixtures("backend")
def test_barred_by_minus_infinity() -> None:
    x = torch.zeros(4, 3)
    x[:, 1] = -torch.inf
    patterns: list[list[Any]] = [[1], [Alternatives([1], [1, 2])]]
    for pattern in patterns:
        with pytest.raises(ValueError, match="log-probabilities of -inf bar every path of the item"):
            ctckit.best_paths(x, pattern)
    assert ctckit.best_paths(x, [Alternatives([1], [2])])[0].options == (1,)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.usefixtures("backend")
def test_nan(value: float) -> None:
    """It counts only in classes of the pattern and in the wildcard's scores."""
    x = torch.zeros(3, 4)
    x[1, 2] = value
    patterns: list[list[Any]] = [[2], [Alternatives([1], [2])]]
    for pattern in patterns:
        path = ctckit.best_paths(x, pattern, 2)[0]
        assert math.isnan(path.total)
        assert path.scores.isnan().all()
        assert path.states.tolist() == [-1] * 3
        assert math.isnan(ctckit.posterior_path(x, pattern).total)
        assert math.isnan(ctckit.sample_paths(x, pattern, 1)[0].total)
        occupancy, log_likelihood, _ = ctckit.path_posteriors(x, pattern)
        assert math.isnan(log_likelihood)
        assert occupancy.isnan().all()
    assert ctckit.best_paths(x, [1])[0].total == 0
    scores = torch.tensor([0.0, value, 0.0])
    assert math.isnan(ctckit.best_paths(x, [WILDCARD], wildcard_score=scores)[0].total)
    assert ctckit.best_paths(x, [1], wildcard_score=scores)[0].total == 0


@pytest.mark.parametrize("ends", [{"free_start": True}, {"free_end": True}, {}], ids=str)
@pytest.mark.usefixtures("backend")
def test_nan_in_the_score_of_a_free_end(ends: dict[str, bool]) -> None:
    """It counts where there is a free end or a wildcard, in the kernel of plain targets and in that of graphs."""
    x = torch.zeros(3, 3)
    for pattern in ([1], [Alternatives([1], [2])]):
        for k in (1, 2):
            found = ctckit.best_paths(x, pattern, k, wildcard_score=math.nan, **ends)  # type: ignore[arg-type]
            assert (len(found) == 1 and math.isnan(found[0].total)) == bool(ends)
        assert math.isnan(ctckit.posterior_path(x, pattern, wildcard_score=math.nan, **ends).total) == bool(ends)  # type: ignore[arg-type]


def test_nan_in_just_enough_frames() -> None:
    """The path is unknown (NaN); with one frame less there is none."""
    x = torch.full((3, 3), torch.nan)
    assert math.isnan(ctckit.best_paths(x, [1, 1])[0].total)
    assert ctckit.best_paths(x[:2], [1, 1], infeasible="blank")[0].total == -math.inf


def test_defaults() -> None:
    x = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    assert len(ctckit.best_paths(x, [1, WILDCARD, 2])) == 1
    for call in (ctckit.best_paths, ctckit.posterior_path, ctckit.path_posteriors):
        values, right = call(x, [1, WILDCARD, 2]), call(x, [1, WILDCARD, 2], blank=0, wildcard_score=0.0)
        assert repr(values) == repr(right)
    one = ctckit.sample_paths(x, [WILDCARD, 2], 1, generator=torch.Generator().manual_seed(1))
    right = ctckit.sample_paths(x, [WILDCARD, 2], 1, generator=torch.Generator().manual_seed(1), wildcard_score=0.0)
    assert repr(one) == repr(right)


BAD: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "array": ({"log_probs": [[0.0]]}, TypeError, "log_probs is a list"),
    "dtype": ({"log_probs": torch.zeros(3, 3, dtype=torch.int64)}, TypeError, "log_probs has dtype torch.int64"),
    "batch": ({"log_probs": torch.zeros(1, 3, 3)}, ValueError, r"shape \(1, 3, 3\), .*\(T, C\).*loop"),
    "blank": ({"blank": 3}, ValueError, "blank is 3"),
    "pattern": ({"pattern": "a"}, TypeError, "pattern is a str"),
    "label": ({"pattern": [1, 3]}, ValueError, r"pattern\[1\] is 3"),
    "blank label": ({"pattern": [2], "blank": 2}, ValueError, r"pattern\[0\] is 2, which is the blank"),
    "score": ({"wildcard_score": "0"}, TypeError, "wildcard_score is a str"),
    "scores": ({"wildcard_score": torch.zeros(2)}, ValueError, r"wildcard_score has shape \(2,\).*\(3,\)"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_arguments(name: str) -> None:
    changes, error, says = BAD[name]
    arguments: dict[str, Any] = {"log_probs": torch.zeros(3, 3), "pattern": [1]} | changes
    functions: tuple[Any, ...] = (ctckit.best_paths, ctckit.path_posteriors, ctckit.posterior_path)
    for function in functions:
        with pytest.raises(error, match=says):
            function(**arguments)
    with pytest.raises(error, match=says):
        ctckit.sample_paths(n=1, **arguments)


def test_a_generator_that_is_not_on_the_cpu() -> None:
    class Elsewhere:
        device = torch.device("cuda", 0)

    elsewhere: Any = Elsewhere()
    with pytest.raises(ctckit.ArgumentValueError, match=r"generator is on cuda:0, but must be on the CPU"):
        ctckit.sample_paths(torch.zeros(3, 2), [1], 1, generator=elsewhere)


def test_bad_numbers() -> None:
    x = torch.zeros(3, 3)
    for k in (0, -1):
        with pytest.raises(ValueError, match=rf"k is {k}, but must be at least 1"):
            ctckit.best_paths(x, [1], k)
        with pytest.raises(ValueError, match=f"n is {k}, but must be at least 1"):
            ctckit.sample_paths(x, [1], k)
    with pytest.raises(TypeError, match=r"k is 1\.5"):
        ctckit.best_paths(x, [1], 1.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"infeasible is 'skip'"):
        ctckit.best_paths(x, [1], infeasible="skip")  # type: ignore[arg-type]
