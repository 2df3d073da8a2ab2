"""align: wrong arguments, infeasible items, NaN, and nothing to align."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

import ctckit
from tests.alignment.emissions import LETTERS, noise
from tests.tools.aligned import align_batch
from tests.tools.aligned import align_one as align


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((noise(9), "ab"), {}, ValueError, "is a text, but vocabulary is None"),
        ((noise(9), ["a"]), {}, ValueError, "token 0 is 'a', a name, but vocabulary is None"),
        ((noise(9), ["a", "z"], LETTERS), {}, ValueError, "token 1 is 'z', which is not in the vocabulary"),
        ((noise(9), [2, 1.5], LETTERS), {}, TypeError, "token 1 is 1.5, a float"),
        ((noise(9), torch.tensor([1.0])), {}, TypeError, "tensor of shape .1,. and dtype torch.float32, but tokens"),
        ((noise(9), 5), {}, TypeError, "text_or_tokens is a int, but must be a str"),
        ((noise(9), [2, 10], LETTERS), {}, ValueError, "token 1 of the item, '<10>', is class 10, but emissions has"),
        ((noise(9), [2, 0], LETTERS), {}, ValueError, "token 1 of the item, '-', is class 0, the blank"),
        ((noise(9, items=2), "ab", LETTERS), {}, TypeError, "is a str, but emissions is a batch"),
        ((noise(9, items=2), ["ab"], LETTERS), {}, ValueError, "holds 1 item, but emissions is a batch of 2"),
        ((noise(9, items=2), ["a"] * 3, LETTERS), {}, ValueError, "holds 3 items, but emissions is a batch of 2"),
        ((noise(9, items=2), ["a"] * 2, LETTERS), {"words": [["a"]]}, ValueError, "words holds 1 item, but emissions"),
        ((noise(9, items=2), ["a"] * 2, LETTERS), {"words": [["a"]] * 3}, ValueError, "words holds 3 items, but"),
        ((noise(9, items=2), ["a", "Z"], LETTERS), {}, ValueError, "item 1: character 'Z'"),
        ((noise(9).numpy(), "a", LETTERS), {}, TypeError, "emissions is a ndarray"),
        ((noise(9)[None, None], "a", LETTERS), {}, ValueError, r"emissions has shape \(1, 1, 9, 10\)"),
        ((noise(9), "a", LETTERS), {"input_lengths": [10]}, ValueError, r"input_lengths\[0\] is 10"),
        ((noise(9), "a", LETTERS), {"blank": 10}, ValueError, "blank is 10"),
        ((noise(9), "a", LETTERS), {"method": "best"}, ValueError, "method is 'best', but must be 'viterbi' or"),
        ((noise(9), "a", LETTERS), {"unknown": "x"}, ValueError, "unknown is 'x'"),
        ((noise(9), "a", LETTERS), {"infeasible": "x"}, ValueError, "infeasible is 'x', but must be 'raise' or 'none'"),
        ((noise(9), "a", LETTERS), {"frame_duration": 0}, ValueError, "frame_duration is 0, but must be a positive"),
        ((noise(9), "a", LETTERS), {"frame_duration": "1"}, TypeError, "frame_duration is '1', a str"),
        ((noise(9), "a", LETTERS), {"offset": math.inf}, ValueError, "offset is inf"),
        ((noise(9), [2]), {"word_separator": "|"}, ValueError, "need a vocabulary, but vocabulary is None"),
        ((noise(9), "a", LETTERS), {"wildcard_score": math.nan}, ValueError, "wildcard_score is nan"),
        ((noise(9), "a", LETTERS), {"log_priors": [0.1]}, TypeError, "log_priors must be a floating-point tensor"),
        ((noise(9), "a", LETTERS), {"log_priors": torch.zeros(3)}, ValueError, r"log_priors has shape \(3,\)"),
        ((noise(9), "a", LETTERS), {"log_priors": torch.ones(10)}, ValueError, "log_priors holds NaN or values above"),
        (
            (noise(9), "a", LETTERS),
            {"log_priors": -torch.ones(10), "prior_weight": "1"},
            TypeError,
            "prior_weight is '1'",
        ),
    ],
)
def test_bad_input(arguments: tuple[Any, ...], options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        ctckit.align(*arguments, **options)


@pytest.mark.parametrize("options", [{}, {"method": "posterior"}], ids=str)
def test_too_few_frames(options: dict[str, Any]) -> None:
    """The error names the item, and the frames that it needs and has."""
    x = noise(9, items=3).log_softmax(2)
    with pytest.raises(ValueError, match=r"item 1 needs 7 frames.* has 4") as caught:
        ctckit.align(x, ["a", "aabbc", "a"], LETTERS, input_lengths=[9, 4, 9], blank=0, **options)
    assert "infeasible='none'" in str(caught.value)
    found = align_batch(x, ["a", "aabbc", "a"], LETTERS, input_lengths=[9, 4, 9], infeasible="none", **options)
    assert found[1] is None
    assert found[0] is not None


def test_too_few_frames_beside_a_pattern() -> None:
    """Items have their own numbers in messages, in both searches."""
    x = noise(4, items=2).log_softmax(2)
    with pytest.raises(ValueError, match="item 1 needs 5 frames"):
        ctckit.align(x, ["a*", "abcde"], LETTERS, wildcard="*")
    with pytest.raises(ValueError, match="item 1 needs 5 frames"):
        ctckit.align(x, ["a", "abcd*"], LETTERS, wildcard="*")


def test_the_item_that_holds_nan_is_named_by_its_own_number() -> None:
    """Items with and without a wildcard use different searches."""
    for texts, item in ((["a*", "ab"], 1), (["ab", "a*"], 1), (["a*", "b*"], 0), (["b", "a*", "ab"], 2)):
        x = noise(9, items=len(texts)).log_softmax(2)
        x[item, 2, 2] = torch.nan
        with pytest.raises(ValueError, match=rf"emissions of item {item} hold NaN"):
            ctckit.align(x, texts, LETTERS, wildcard="*")


def test_nothing_to_align_with() -> None:
    x = noise(5).log_softmax(1)
    x[2, 2] = torch.nan
    for text in ("ab", "a*"):
        with pytest.raises(ValueError, match=r"emissions of the item hold NaN or \+inf where its tokens need them"):
            align(x, text, LETTERS, wildcard="*")
    assert align(x, "b", LETTERS).tokens  # elsewhere it has no effect
    x = noise(5).log_softmax(1)
    x[:, 2] = -torch.inf
    with pytest.raises(ValueError, match="log-probabilities of -inf bar every path of the item through its 5 frames"):
        align(x, "a", LETTERS)
    with pytest.raises(ValueError, match="-inf bar every path of the item through its 5 frames"):
        align(x, "a*", LETTERS, wildcard="*")


def test_empty() -> None:
    """A transcript without tokens, an input without frames and a batch without items are valid."""
    silence = align(noise(5).log_softmax(1), "  ", LETTERS)
    assert (silence.tokens, silence.words, silence.frames) == ((), (), 5)
    assert silence.score == pytest.approx(float(noise(5).log_softmax(1)[:, 0].sum()))
    nothing = align(torch.zeros(0, 10), "", LETTERS)
    assert (nothing.tokens, nothing.frames, nothing.score) == ((), 0, 0.0)
    assert align_batch(torch.zeros(0, 5, 10), [], LETTERS) == []
    gone = align(noise(9), "xyz a", LETTERS, unknown="skip", logits=True)
    assert [word.text for word in gone.words] == ["a"]


def test_other_devices_and_graphs() -> None:
    x = noise(9).log_softmax(1).requires_grad_()
    assert align(x, "ab", LETTERS) == align(x.detach(), "ab", LETTERS)
