"""align: spans of tokens and words, and confidences against enumeration and samples."""

from __future__ import annotations

import itertools
import math
import re
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import ctckit
from ctckit import Vocabulary
from tests.alignment.emissions import LETTERS, noise, places, sharp
from tests.tools import aligned, oracle
from tests.tools.aligned import align_batch
from tests.tools.aligned import align_one as align
from tests.tools.cases import random_case
from tests.tools.peak_memory import peak_of

# -------------------------------------------------------------------------------------------------------------- results


def test_spans_words_and_times() -> None:
    path = [0, 2, 2, 3, 0, 3, 1, 1, 4, 0, 0, 1, 2]
    found = align(sharp(path), "abb c a", LETTERS, logits=True, frame_duration=0.5, offset=10)
    assert places(found) == [
        ("a", 1, 3), ("b", 3, 4), ("b", 5, 6), ("|", 6, 8), ("c", 8, 9), ("|", 11, 12), ("a", 12, 13),
    ]  # fmt: skip
    assert [(word.text, word.start, word.end, len(word.tokens)) for word in found.words] == [
        ("abb", 1, 6, 3), ("c", 8, 9, 1), ("a", 12, 13, 1),
    ]  # fmt: skip
    assert [(word.start_time, word.end_time) for word in found.words] == [(10.5, 13.0), (14.0, 14.5), (16.0, 16.5)]
    assert [(token.start_time, token.end_time) for token in found.tokens][:2] == [(10.5, 11.5), (11.5, 12.0)]
    assert (found.text, found.frames, found.frame_duration, found.offset) == ("abb c a", 13, 0.5, 10)
    assert [token.id for token in found.tokens] == [2, 3, 3, 1, 4, 1, 2]
    assert len(found.words[0]) == 5


@pytest.mark.usefixtures("backend")
def test_it_is_forced_align() -> None:
    """The path, its scores and their sum, for every spelling."""
    x = noise(40).log_softmax(1)
    ids = [2, 2, 5, 1, 3, 9]
    paths, scores = ctckit.forced_align(x[None], torch.tensor([ids]))
    spans = ctckit.merge_tokens(paths[0], scores[0])
    for tokens in (ids, torch.tensor(ids), torch.tensor(ids).int().numpy(), ["a", "a", "d", "|", "b", "h"], "aad bh"):
        found = align(x, tokens, LETTERS)
        assert [(t.id, t.start, t.end) for t in found.tokens] == [(s.token, s.start, s.end) for s in spans]
        assert [t.score for t in found.tokens] == pytest.approx([s.score for s in spans], abs=1e-12)
        assert found.score == pytest.approx(float(scores.sum()), abs=1e-9)
        assert [word.text for word in found.words] == ["aad", "bh"]
    bare = align(x, ids)
    assert places(bare) == [(str(t.id), t.start, t.end) for t in found.tokens]
    assert bare.words == ()


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("target", [(1,), (1, 2), (2, 2), (1, 2, 1), ()])
def test_confidence_is_what_enumeration_says(target: tuple[int, ...]) -> None:
    """The mean, over the span, of the probability that a path is at the token in that frame."""
    x = noise(6, 3, seed=3).log_softmax(1)
    answer = oracle.answer(oracle.weights(x.tolist()), 3, target, 0)
    found = align(x, list(target))
    assert len(found.tokens) == len(target)
    for number, token in enumerate(found.tokens):
        expected = answer.state_occupancy[token.start : token.end, 2 * number + 1].mean()
        assert token.confidence == pytest.approx(expected, abs=1e-9)


def test_confidence_is_calibrated() -> None:
    """Over paths sampled given the transcript, the token's mean fraction of its span is its confidence, within five
    standard errors."""
    x = noise(20, 5, seed=1).log_softmax(1) / 2
    ids = [1, 2, 2, 3, 1]
    paths = ctckit.sample_paths(x, ids, 4000, generator=torch.Generator().manual_seed(0))
    samples = torch.stack([path.tokens for path in paths])
    with pytest.warns(UserWarning, match=r"add up to \d\.\d+ instead of 1"):
        found = align(x, ids)
    for number, token in enumerate(found.tokens):
        shares = (samples[:, token.start : token.end] == number).double().mean(1)
        assert token.confidence is not None
        assert abs(float(shares.mean()) - token.confidence) < 5 * float(shares.std()) / math.sqrt(len(paths)) + 1e-9
        assert 0.05 < token.confidence < 0.999  # there is doubt to be calibrated


def test_words_weigh_their_tokens_by_frames() -> None:
    found = align(noise(60), "abc dd", LETTERS, logits=True)
    for word in found.words:
        frames = sum(len(token) for token in word.tokens)
        assert word.score == pytest.approx(sum(len(t) * t.score for t in word.tokens) / frames)
        assert word.confidence == pytest.approx(sum(len(t) * (t.confidence or 0) for t in word.tokens) / frames)


def test_without_confidence() -> None:
    found = align(noise(30), "ab c", LETTERS, logits=True, confidence=False)
    rows: list[ctckit.AlignedToken | ctckit.AlignedWord] = [*found.tokens, *found.words]
    assert {row.confidence for row in rows} == {None}
    assert {row.start_time for row in rows} == {None}


@given(st.text(alphabet="abc ", max_size=8), st.integers(12, 30), st.integers(0, 100))
def test_properties(text: str, frames: int, seed: int) -> None:
    """Spans are in order, do not overlap and cover each token once; the path is no likelier than all paths together."""
    x = noise(frames, seed=seed).log_softmax(1)
    found = align(x, text, LETTERS)
    assert found.words == tuple(found.words)
    assert [token.id for token in found.tokens] == Vocabulary(LETTERS).encode(text).ids
    assert all(token.start < token.end for token in found.tokens)
    assert all(a.end <= b.start for a, b in itertools.pairwise(found.tokens))
    assert all(0 <= (token.confidence or 0) <= 1 for token in found.tokens)
    ids = torch.tensor([token.id for token in found.tokens], dtype=torch.int64)
    assert found.score <= -float(ctckit.ctc_loss(x, ids, frames, len(ids), reduction="sum")) + 1e-9


# -------------------------------------------------------------------------------------------------------------- batches


@pytest.mark.usefixtures("core")  # in the reference, rounding depends on the width of the batch
@pytest.mark.parametrize("options", [{}, {"free_start": True}, {"method": "posterior"}, {"wildcard": "*"}], ids=str)
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_a_batch_is_a_loop(options: dict[str, Any], dtype: torch.dtype) -> None:
    """To the bit, in any layout, padded or not, also beside infeasible items."""
    texts = ["abc de", "a", "hhh", "", "ab cd ef gh" * 3, "fd"]
    if "wildcard" in options:
        texts[2] = "h*h"
    lengths = [23, 9, 24, 5, 24, 24]
    x = noise(24, items=6).log_softmax(2).to(dtype)
    x[5, 3, 5] = torch.nan
    options = options | {"infeasible": "none"}
    batch = align_batch(x, texts, LETTERS, input_lengths=lengths, **options)
    assert [item is None for item in batch] == [False, False, False, False, True, True]
    turned = x.transpose(0, 1)
    assert batch == align_batch(
        turned, texts, LETTERS, input_lengths=torch.tensor(lengths), batch_first=False, **options
    )
    for item, text in enumerate(texts):
        one = ctckit.align(x[item, : lengths[item]].contiguous(), text, LETTERS, **options)
        assert one == batch[item]


def test_padded_tokens() -> None:
    x = noise(12, items=2)
    both = align_batch(x, torch.tensor([[2, 3, 4], [5, -100, -100]]), LETTERS, logits=True)
    assert both == align_batch(x, [[2, 3, 4], ["d"]], LETTERS, logits=True)


def test_many_cases_agree_with_posteriors() -> None:
    case = random_case(50, 5, 20, 12, seed=4)
    x, targets, lengths, target_lengths, blank = case.padded(case.logits().log_softmax(2))
    table = ctckit.posteriors(x, targets, lengths, target_lengths, blank, per_state=True)
    rows = [list(target) for target in case.targets]
    found = align_batch(x, rows, input_lengths=lengths, blank=blank, batch_first=False, infeasible="none")
    for item, one in enumerate(found):
        for number, token in enumerate(one.tokens if one else ()):
            expected = table[token.start : token.end, item, 2 * number + 1].mean()
            assert token.confidence == pytest.approx(float(expected), abs=1e-12)


# ----------------------------------------------------------------------------------------------- texts and vocabularies


def test_what_is_left_out_is_listed() -> None:
    found = align(noise(40), "a- - bc <unk>", ["<blank>", *LETTERS[1:], "<unk>"], logits=True, unknown="skip")
    assert found.dropped == ("-", "-", "<unk>")
    assert [word.text for word in found.words] == ["a-", "bc"]
    assert ctckit.Alignment.from_json(found.to_json()) == found
    assert "dropped" not in align(noise(9), "ab", LETTERS, logits=True).to_dict()


def test_nothing_is_left_of_a_text() -> None:
    for text in ("XYZ", "- -", "<unk>"):
        with pytest.raises(ctckit.ArgumentValueError, match=r"nothing is left of the text .*left out"):
            align(noise(9), text, LETTERS, logits=True, unknown="skip", infeasible="none")
    with pytest.raises(ctckit.ArgumentValueError, match="item 1: nothing is left of the text 'XY'"):
        align(noise(9, items=2), ["a", "XY"], LETTERS, logits=True, unknown="skip")
    for text in ("", " \n", "|"):
        assert align(noise(9), text, LETTERS, logits=True, unknown="skip").tokens == ()


def test_an_error_of_the_callers_function_stays_what_it_is() -> None:
    x = torch.zeros(2, 4, 3).log_softmax(2)
    with pytest.raises(UnicodeEncodeError):
        ctckit.align(x, ["a", "a"], ["-", "a", "b"], words=lambda text: [f"{text}\u4eca".encode("ascii").decode()])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("1 2 3 4 5", "'1 2 3 4 5': '1', '2', '3', '4', '5' had to be left out"),
        ("1 2 3 4 5 6", "'1 2 3 4 5 6': '1', '2', '3', '4', '5', ... had to be left out"),
        ("1" * 52, f"'{'1' * 52}': '{'1' * 52}' had to be left out"),
        ("1" * 53, f"'{'1' * 52}...': '{'1' * 53}' had to be left out"),
    ],
)
def test_what_is_lost_is_told_in_short(text: str, says: str) -> None:
    with pytest.raises(ctckit.ArgumentValueError, match=f"nothing is left of the text {re.escape(says)}"):
        align(noise(9), text, LETTERS, unknown="skip")


def test_words_of_the_caller() -> None:
    x = sharp([2, 0, 3, 4, 0, 5])
    for words in (["ab", "cd"], lambda text: [text[:2], text[2:]]):
        found = align(x, "abcd", LETTERS, logits=True, words=words)
        assert [(word.text, word.start, word.end) for word in found.words] == [("ab", 0, 3), ("cd", 3, 6)]
    batch = torch.stack([x, x, x])
    per_item: list[Any] = [["ab", "cd"], None, list]
    for words, expected in ((per_item, [2, 1, 4]), (list, [4, 4, 4])):
        both = align_batch(batch, ["abcd"] * 3, LETTERS, logits=True, words=words)
        assert [len(one.words) for one in both] == expected
    with pytest.raises(ctckit.ArgumentValueError, match="words holds 2 items, but emissions is a batch of 3"):
        align_batch(batch, ["abcd"] * 3, LETTERS, logits=True, words=["ab", "cd"])
    with pytest.raises(ctckit.ArgumentValueError, match="words is given, but text_or_tokens is a row of tokens"):
        align(x, ["a", "b"], LETTERS, logits=True, words=["ab"])
    with pytest.raises(ctckit.ArgumentTypeError, match="wildcard is 1, a int"):
        align(x, "a", LETTERS, logits=True, wildcard=1)


def test_the_blank_is_taken_from_the_vocabulary() -> None:
    path = [4, 0, 4, 1, 4]
    last = ["a", "b", "c", "d", "<blank>"]
    assert places(align(sharp(path, 5), "ab", last, logits=True)) == [("a", 1, 2), ("b", 3, 4)]
    after = align(sharp(path, 5), "ab", last[:4], logits=True)  # one class more than tokens, as in NeMo
    assert (places(after), after.blank) == ([("a", 1, 2), ("b", 3, 4)], 4)
    assert ctckit.Alignment.from_json(after.to_json()) == after
    made = Vocabulary(last, blank=2)
    assert align(sharp([2, 0, 2, 1, 2], 5), "ab", made, logits=True).blank == 2
    with pytest.raises(
        ctckit.ArgumentValueError, match=r"blank is 0 \('a'\), but the vocabulary has '<blank>' as class 4"
    ):
        align(sharp(path, 5), "ab", last, logits=True, blank=0)
    with pytest.raises(ctckit.ArgumentValueError, match=r"blank, which no text holds \(the blank is class 0"):
        align(sharp(path, 5), "ab", [*"abcde"], logits=True)
    with pytest.raises(ctckit.ArgumentValueError, match=r"the blank, which no transcript holds \(the blank is class 0"):
        align(sharp(path, 5), ["a"], [*"abcde"], logits=True)
    assert align(sharp([0, 1, 0]), [1], logits=True).blank == 0  # classes: without a vocabulary it is class 0


def test_more_and_fewer_classes_than_the_vocabulary() -> None:
    x = noise(9).log_softmax(1)
    with pytest.raises(ctckit.ArgumentValueError, match=r"emissions have 10 classes, but the vocabulary has class 11"):
        align(x, "a", [*LETTERS, "y", "z"])
    with pytest.warns(UserWarning, match="emissions have 10 classes, more than the 8 of the vocabulary"):
        align(x, "a", LETTERS[:8])
    assert align(x, "a", LETTERS[:9], blank=0).tokens
    # A tokenizer's special tokens after all others need no classes.
    assert align(x, "a", [*LETTERS, "<s>", "</s>"]).tokens


def test_implausible_emissions_warn_once() -> None:
    x = torch.stack([noise(9).log_softmax(1), noise(9).softmax(1), noise(9) + 5])
    with pytest.warns(UserWarning, match="item 1: emissions hold probabilities, not") as caught:
        align_batch(x, ["a"] * 3, LETTERS)
    assert len(caught) == 1
    assert caught[0].filename == aligned.__file__  # the line that called align
    with pytest.warns(UserWarning, match=r"^(?!item).*logits=True"):  # a batch of one item
        align(noise(9), "a", LETTERS)
    align(noise(9).log_softmax(1).half(), "a", LETTERS)  # rounded, and no warning


def test_a_blank_after_the_last_token() -> None:
    """The emissions have one class more than the vocabulary, as in NeMo."""
    emissions = 9.0 * torch.eye(4)[[3, 0, 3, 1, 1, 3, 2, 3, 3]]
    found = align(emissions, "ab c", ["a", "b", " "], logits=True, unknown="skip")
    assert found.blank == 3
    assert places(found)[:2] == [("a", 1, 2), ("b", 3, 5)]
    (found,) = align_batch(emissions[:, None], ["ab"], ["a", "b", "c"], logits=True, batch_first=False)
    assert (found.blank, places(found)) == (3, [("a", 1, 2), ("b", 3, 5)])


# --------------------------------------------------------------------------------------------------------------- priors


def test_priors_move_the_path_and_not_the_scores() -> None:
    """With priors, a blank slightly above the label in its second frame loses; scores stay the model's."""
    probs = torch.tensor([[0.9, 0.1], [0.1, 0.9], [0.55, 0.45], [0.9, 0.1]], dtype=torch.float64)
    x = probs.log()
    priors = ctckit.label_priors(x)
    plain, adjusted = align(x, [1]), align(x, [1], log_priors=priors, prior_weight=0.5)
    assert (places(plain), places(adjusted)) == ([("1", 1, 2)], [("1", 1, 3)])
    assert adjusted.score == pytest.approx(math.log(0.9 * 0.9 * 0.45 * 0.9))
    assert adjusted.tokens[0].score == pytest.approx((math.log(0.9) + math.log(0.45)) / 2)
    with pytest.warns(UserWarning, match=r"values up to 0\.\d+, but a log-probability is at most 0"):
        by_hand = align(x - 0.5 * priors, [1])
    assert places(by_hand) == places(adjusted)
    assert by_hand.tokens[0].confidence == pytest.approx(adjusted.tokens[0].confidence)
    assert align(x, [1], log_priors=priors, prior_weight=0.0) == plain
    assert align(x, [1], log_priors=torch.zeros(2)) == plain  # probabilities of 1, the largest prior


# ----------------------------------------------------------------------------------------------------------------- size


@pytest.mark.parametrize("wildcard", [False, True])
def test_a_long_recording_takes_no_table(wildcard: bool) -> None:
    """T = 12,000, S = 3,000: the table of occupancies would be 288 MB in float32."""
    pytest.importorskip("ctckit._core")
    given = f"""
x = torch.randn(12_000, 30).log_softmax(1)
tokens = torch.randint(1, 30, (3_000,)).tolist()
tokens[1_000] = ctckit.WILDCARD if {wildcard} else 1
def align(frames, tokens):
    found = ctckit.align(frames, tokens)
    assert len(found.tokens) == len(tokens) and all(token.confidence is not None for token in found.tokens)
    return found
align(x[:600], tokens[900:1_100])
"""
    assert peak_of("align(x, tokens)", given) < 100
