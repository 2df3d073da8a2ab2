"""Scorers that do not keep to the protocol: what they do wrong is said, and by which of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import ctckit
from ctckit import ArgumentTypeError, ArgumentValueError
from ctckit.decoding.scorers import TokenBias
from tests.decoding.problems import emissions

beam_search: Any = ctckit.beam_search
X = emissions("flat", 6, 4)


class Plain:
    """Gains nothing. Its methods are replaced in the tests."""

    def initial(self) -> Any:
        return 0

    def advance(self, states: Any, tokens: Any) -> Any:
        return np.zeros(len(tokens)), states

    def finish(self, states: Any) -> Any:
        return np.zeros(len(states))

    def largest_gain(self) -> Any:
        return 0.0


def fails(*_: Any) -> Any:
    raise KeyError("missing")


WRONG: dict[str, tuple[str, Callable[..., Any], type[Exception], str]] = {
    "no pair": ("advance", lambda s, _: np.zeros(len(s)), ArgumentTypeError, "advance must return a pair"),
    "a list": ("advance", lambda s, _: [np.zeros(len(s)), s], ArgumentTypeError, "advance must return a pair"),
    "None": ("advance", lambda *_: None, ArgumentTypeError, "advance must return a pair"),
    "too few gains": ("advance", lambda s, _: (np.zeros(len(s) - 1), s), ArgumentValueError, "gains of shape"),
    "a number": ("advance", lambda s, _: (0.0, s), ArgumentValueError, r"gains of shape \(\)"),
    "two dimensions": ("advance", lambda s, _: (np.zeros((len(s), 1)), s), ArgumentValueError, "gains of shape"),
    "too many states": ("advance", lambda s, _: (np.zeros(len(s)), [0, *s]), ArgumentValueError, "states of shape"),
    "NaN": ("advance", lambda s, _: (np.full(len(s), np.nan), s), ArgumentValueError, "the gain nan"),
    "+inf": ("advance", lambda s, _: (np.full(len(s), np.inf), s), ArgumentValueError, "the gain inf"),
    "75": ("advance", lambda s, _: (np.full(len(s), 75.0), s), ArgumentValueError, "below 75 nats"),
    "words": ("advance", lambda s, _: (["a"] * len(s), s), ArgumentTypeError, "an array of numbers"),
    "float states": ("advance", lambda s, _: (np.zeros(len(s)), s + 0.5), ArgumentTypeError, "a whole number of 32"),
    "long states": ("advance", lambda s, _: (np.zeros(len(s)), s.astype(np.int64) + 2**31), ArgumentValueError, "2147"),
    "low states": ("advance", lambda s, _: (np.zeros(len(s)), s - 2.0**31 - 1), ArgumentTypeError, "32 bits"),
    "huge states": ("advance", lambda s, _: (np.zeros(len(s)), [10**30] * len(s)), ArgumentTypeError, "32 bits"),
    "an error": ("advance", fails, KeyError, "missing"),
    "end, NaN": ("finish", lambda s: np.full(len(s), np.nan), ArgumentValueError, "finish returned the gain nan"),
    "end, +inf": ("finish", lambda s: np.full(len(s), np.inf), ArgumentValueError, "finish returned the gain inf"),
    "end, shape": ("finish", lambda s: np.zeros(len(s) + 1), ArgumentValueError, "finish returned gains of shape"),
    "end, None": ("finish", lambda *_: None, (ArgumentTypeError, ArgumentValueError), "finish returned"),  # type: ignore[dict-item]
    "end, an error": ("finish", fails, KeyError, "missing"),
    "initial, too large": ("initial", lambda: 2**31, ArgumentValueError, "initial returned the state 2147483648"),
    "initial, float": ("initial", lambda: 0.5, ArgumentTypeError, "initial returned"),
    "initial, None": ("initial", lambda: None, ArgumentTypeError, "initial returned"),
    "initial, an error": ("initial", fails, KeyError, "missing"),
    "bound, NaN": ("largest_gain", lambda: math.nan, ArgumentValueError, "largest_gain returned NaN"),
    "bound, None": ("largest_gain", lambda: None, ArgumentTypeError, "largest_gain returned None"),
    "bound, an error": ("largest_gain", fails, KeyError, "missing"),
}


@pytest.mark.usefixtures("core")
@pytest.mark.parametrize("name", WRONG)
def test_wrong_results(name: str) -> None:
    method, function, error, message = WRONG[name]
    scorer = Plain()
    setattr(scorer, method, function)
    expected = beam_search(X, scorers=[Plain()]).tokens
    for decode in (
        lambda s: beam_search(X, scorers=[TokenBias([0.0]), s]),
        lambda s: beam_search(torch.stack([X, X]), scorers=[Plain(), s]),
        lambda s: ctckit.Decoder(["-", "a", "b", "c"], scorers=[Plain(), s])(X),
        lambda s: stream_of(ctckit.Decoder(["-", "a", "b", "c"], scorers=[Plain(), s])),
    ):
        with pytest.raises(error, match=message) as raised:
            decode(scorer)
        assert error is KeyError or "scorers[1]" in str(raised.value)
        assert beam_search(X, scorers=[Plain()]).tokens == expected  # an error leaves nothing behind


def stream_of(decoder: ctckit.Decoder) -> Any:
    stream = decoder.stream()
    stream.push(X)
    return stream.finish()


def test_what_is_no_scorer(backend: str) -> None:
    del backend
    for wrong in ("abc", Plain(), 3, None, {Plain()}):
        with pytest.raises(ArgumentTypeError, match="must be a list or tuple of scorers"):
            beam_search(X, scorers=wrong)
    with pytest.raises(ArgumentTypeError, match=r"scorers\[1\] is a int without the method initial"):
        beam_search(X, scorers=[Plain(), 3])
    for method in ("initial", "advance", "finish", "largest_gain"):
        scorer = Plain()
        setattr(scorer, method, None)
        with pytest.raises(ArgumentTypeError, match=rf"scorers\[0\] is a Plain without the method {method}"):
            beam_search(X, scorers=[scorer])
    with pytest.raises(ArgumentTypeError, match=r"scorers\[0\] is the class Plain: pass an object"):
        beam_search(X, scorers=[Plain])
    with pytest.raises(ArgumentTypeError, match="must be a list or tuple"):
        ctckit.Decoder(["-", "a"], scorers="ab")  # type: ignore[arg-type]


@pytest.mark.usefixtures("core")
def test_what_is_taken() -> None:
    """Lists, tensors, arrays of other dtypes and strides."""
    expected = beam_search(X, scorers=[Plain()]).tokens
    for advance in (
        lambda s, _: ([0] * len(s), [7] * len(s)),
        lambda s, _: (torch.zeros(len(s)), torch.zeros(len(s), dtype=torch.int64)),
        lambda s, _: (np.zeros(2 * len(s), np.float16)[::2], np.zeros(2 * len(s), np.uint8)[::2]),
    ):
        scorer: Any = Plain()
        scorer.advance = advance
        assert beam_search(X, scorers=[scorer]).tokens == expected


@pytest.mark.usefixtures("core")
def test_labellings_that_are_barred() -> None:
    scorer: Any = Plain()
    scorer.advance = lambda s, _: (np.full(len(s), -np.inf), s)
    assert beam_search(X, scorers=[scorer]).tokens == ()
    scorer.finish = lambda s: np.full(len(s), -np.inf)
    found = beam_search(X, scorers=[scorer])
    assert (found.nbest, found.score) == ((), -math.inf)
    assert found.problem is not None
    forbidden = beam_search(X, scorers=[TokenBias([-math.inf, -math.inf, 0.0, -math.inf])])
    assert set(forbidden.tokens) <= {2}


def test_biases(backend: str) -> None:
    del backend
    for wrong in ([[0.0]], 3.0, np.zeros((2, 2))):
        with pytest.raises(ArgumentValueError, match="biases has shape"):
            TokenBias(wrong)  # type: ignore[arg-type]
    for kind in ("abc", [None, "a"], [[1.0], [1.0, 2.0]]):
        with pytest.raises(ArgumentTypeError, match="biases is"):
            TokenBias(kind)  # type: ignore[arg-type]
    for value in (math.nan, math.inf, 75.0):
        with pytest.raises(ArgumentValueError, match=rf"biases\[1\] is {value}"):
            TokenBias([0.0, value])
    assert beam_search(X, scorers=[TokenBias([])]).tokens == beam_search(X, rescore=False).tokens
