"""Wrong arguments of the decoders: each is refused with a message that names it and its value."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

import ctckit
from ctckit import ArgumentTypeError, ArgumentValueError
from tests.decoding.problems import emissions
from tests.decoding.results import bits

beam_search: Any = ctckit.beam_search
greedy_decode: Any = ctckit.greedy_decode
X = emissions("held", 12, 4).float()
BATCH = torch.stack([X, X])
LETTERS = ["-", "a", "b", "c"]


def by_decoder(x: Any, lengths: Any = None, *, batch_first: bool = True, **options: Any) -> Any:
    return ctckit.Decoder(LETTERS, **options)(x, lengths, batch_first=batch_first)


EVERY: dict[str, Callable[..., Any]] = {"beam": beam_search, "greedy": greedy_decode, "Decoder": by_decoder}
every_decoder = pytest.mark.parametrize("name", EVERY)
searches = pytest.mark.parametrize("search", [beam_search, by_decoder])

WRONG_EMISSIONS: dict[str, tuple[Any, type[Exception], str]] = {
    "a list": ([[0.0, -1.0]], ArgumentTypeError, "log_probs"),
    "an array": (X.numpy(), ArgumentTypeError, "log_probs"),
    "None": (None, ArgumentTypeError, "log_probs"),
    "integers": (X.int(), ArgumentTypeError, "log_probs"),
    "complex": (X + 0j, ArgumentTypeError, "log_probs"),
    "one dimension": (X[0], ArgumentValueError, "log_probs"),
    "four dimensions": (BATCH[None], ArgumentValueError, "log_probs"),
    "no classes": (X[:, :0], ArgumentValueError, "log_probs"),
    "sparse": (X.to_sparse(), ArgumentTypeError, "log_probs"),
    "on meta": (X.to("meta"), ArgumentTypeError, "log_probs"),
}
WRONG_LENGTHS: dict[str, tuple[Any, type[Exception], str]] = {
    "too long": ([12, 13], ArgumentValueError, "13"),
    "negative": ([12, -1], ArgumentValueError, "-1"),
    "too few": ([12], ArgumentValueError, "input_lengths"),
    "too many": (torch.tensor([1, 2, 3]), ArgumentValueError, "input_lengths"),
    "floats": (torch.tensor([1.0, 2.0]), ArgumentTypeError, "input_lengths"),
    "a float": ([1.5, 2], ArgumentTypeError, "input_lengths"),
    "words": ("ab", ArgumentTypeError, "input_lengths"),
    "two dimensions": (torch.tensor([[1, 2]]), ArgumentValueError, "input_lengths"),
    "on meta": (torch.tensor([1, 2], device="meta"), ArgumentTypeError, "input_lengths"),
}


@every_decoder
@pytest.mark.parametrize("wrong", WRONG_EMISSIONS)
def test_emissions(backend: str, wrong: str, name: str) -> None:
    del backend
    value, error, message = WRONG_EMISSIONS[wrong]
    with pytest.raises(error, match=message):
        EVERY[name](value)


@every_decoder
@pytest.mark.parametrize("wrong", WRONG_LENGTHS)
def test_lengths(backend: str, wrong: str, name: str) -> None:
    del backend
    value, error, message = WRONG_LENGTHS[wrong]
    with pytest.raises(error, match=message):
        EVERY[name](BATCH, value)


@every_decoder
def test_fake_tensors_have_no_memory(backend: str, name: str) -> None:
    del backend
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        fake = torch.zeros(12, 4)
    with pytest.raises(ArgumentTypeError, match="log_probs"):
        EVERY[name](fake)


@every_decoder
def test_what_is_taken(backend: str, name: str) -> None:
    """Lengths of any kind, parameters, tensors of a graph, and no items at all."""
    del backend
    decode = EVERY[name]
    expected = bits(decode(BATCH, [12, 7]))
    for lengths in ((12, 7), torch.tensor([12, 7]), torch.tensor([12, 7], dtype=torch.uint8)):
        assert bits(decode(BATCH, lengths)) == expected
    leaf = BATCH.clone().requires_grad_()
    assert bits(decode(leaf, [12, 7])) == expected
    assert bits(decode(leaf * 1, [12, 7])) == expected
    assert bits(decode(torch.nn.Parameter(BATCH), [12, 7])) == expected
    with torch.inference_mode():
        assert bits(decode(BATCH.clone(), [12, 7])) == expected
    assert bits(decode(BATCH.transpose(0, 1), [12, 7], batch_first=False)) == expected
    assert decode(torch.zeros(0, 12, 4)) == []
    assert decode(torch.zeros(12, 0, 4), batch_first=False) == []
    assert decode(torch.zeros(0, 12, 4), []) == []
    (nothing,) = decode(torch.zeros(1, 0, 4))
    assert (nothing.tokens, nothing.problem) == ((), None)
    alone = decode(X, 7) if name != "Decoder" else decode(X, [7])
    assert bits(alone) == expected[1]


@pytest.mark.parametrize("decode", [beam_search, greedy_decode])
def test_blank(backend: str, decode: Callable[..., Any]) -> None:
    del backend
    for wrong, message in ((4, "blank=3"), (-1, "blank=3"), (100, "classes 0 to 3")):
        with pytest.raises(ArgumentValueError, match=message):
            decode(X, blank=wrong)
    for kind in (None, 1.0, "0", True):
        with pytest.raises(ArgumentTypeError, match="blank is"):
            decode(X, blank=kind)
    assert bits(decode(X, blank=np.int64(1))) == bits(decode(X, blank=1))
    assert decode(torch.zeros(5, 1)).tokens == ()


@searches
def test_widths(backend: str, search: Callable[..., Any]) -> None:
    del backend
    wrong: Any
    for wrong in (0, -1, 2**20 + 1, 10**30, (0, 4), (4, 2), (1, 2**20 + 1), (), (1,), (1, 2, 3)):
        with pytest.raises(ArgumentValueError, match="beam_width is"):
            search(X, beam_width=wrong)
    for wrong in (1.0, True, "8", None, (1, 2.5), (True, 4), {4}, Fraction(4)):
        with pytest.raises(ArgumentTypeError, match="beam_width is"):
            search(X, beam_width=wrong)
    for wrong in (0, -3):
        with pytest.raises(ArgumentValueError, match="nbest is"):
            search(X, nbest=wrong)
    for wrong in (True, 1.0, None, "1"):
        with pytest.raises(ArgumentTypeError, match="nbest is"):
            search(X, nbest=wrong)
    with pytest.raises(ArgumentValueError, match=r"nbest is 17.*beam_width=17"):
        search(X, nbest=17)
    with pytest.raises(ArgumentValueError, match="nbest is 5"):
        search(X, beam_width=(4, 8), nbest=5)
    assert len(search(X, beam_width=np.int32(5), nbest=np.int64(5)).nbest) == 5
    assert len(search(X, beam_width=[2, 4]).nbest) == 1


@pytest.mark.usefixtures("core")
def test_the_widest_beam() -> None:
    found = beam_search(X[:2], beam_width=2**20, nbest=2**20)
    assert len(found.nbest) == 1 + 3 + 3 * 2  # nothing, one label, two labels of different classes
    assert found.certified


@searches
def test_thresholds(backend: str, search: Callable[..., Any]) -> None:
    del backend
    for name, values in {
        "beam_threshold": (0, 0.0, -1.0, float("nan"), -float("inf")),
        "token_threshold": (-0.1, 1.1, float("nan"), float("inf"), 2),
        "blank_threshold": (-0.1, 1.1, float("nan"), -float("inf"), 7),
    }.items():
        for wrong in values:
            with pytest.raises(ArgumentValueError, match=f"{name} is {wrong}"):
                search(X, **{name: wrong})
        for kind in ("1", True, [0.5], Fraction(1, 2), torch.tensor(0.5)):
            with pytest.raises(ArgumentTypeError, match=f"{name} is "):
                search(X, **{name: kind})
    expected = bits(search(X))
    for nothing in ({"beam_threshold": float("inf")}, {"beam_threshold": 10**400}, {"token_threshold": 0}):
        assert bits(search(X, **nothing)) == expected
    assert bits(search(X, blank_threshold=1)) == expected
    assert bits(search(X, beam_threshold=np.float64(3.0))) == bits(search(X, beam_threshold=3.0))


@searches
def test_invalid(backend: str, search: Callable[..., Any]) -> None:
    del backend
    for wrong in ("skip", "", None, "None", 0):
        with pytest.raises(ArgumentValueError, match="invalid is"):
            search(X, invalid=wrong)


@pytest.mark.usefixtures("core")
def test_decoders() -> None:
    for wrong in (None, 3, 1.5):
        with pytest.raises((ArgumentTypeError, ArgumentValueError)):
            ctckit.Decoder(wrong)
    with pytest.raises((ArgumentTypeError, ArgumentValueError), match="frame_duration"):
        ctckit.Decoder(LETTERS, frame_duration=-0.02)
    with pytest.raises(ArgumentValueError, match="have 3 classes, but the vocabulary has class 3"):
        ctckit.Decoder(LETTERS)(X[:, :3])
    with pytest.raises(ArgumentValueError, match="blank is 9"):
        ctckit.Decoder(["a", "b"], blank=9)(X)
    with pytest.raises(ArgumentValueError, match="blank"):
        ctckit.Decoder(["a", "b"], blank=-1)
    assert "beam_width=16, nbest=1" in repr(ctckit.Decoder(LETTERS))


@pytest.mark.usefixtures("core")
def test_results_have_the_form_of_the_emissions() -> None:
    assert isinstance(beam_search(X), ctckit.Decoding)
    assert isinstance(beam_search(X[None]), list)
    assert isinstance(by_decoder(X), ctckit.Decoding)
    assert isinstance(by_decoder(X[None]), list)
    assert isinstance(greedy_decode(X), ctckit.Decoding)
    assert isinstance(greedy_decode(X[None]), list)


def test_remedies_are_arguments_of_the_call() -> None:
    """Only a search of whole items has `invalid`."""
    broken = torch.zeros(3, 2).log_softmax(1)
    broken[1, 0] = torch.nan
    decoder = ctckit.Decoder(["-", "a"])
    calls: dict[str, Callable[[], object]] = {
        "beam_search": lambda: ctckit.beam_search(broken),
        "Decoder": lambda: decoder(broken),
        "greedy_decode": lambda: ctckit.greedy_decode(broken),
        "Stream": lambda: decoder.stream().push(broken),
    }
    for name, call in calls.items():
        with pytest.raises(ValueError, match="hold NaN in frame 1: look for an overflow") as error:
            call()
        assert ("invalid=" in str(error.value)) == (name in {"beam_search", "Decoder"}), name
