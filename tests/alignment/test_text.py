"""align: spans of tokens and words, and confidences against enumeration and samples."""

from __future__ import annotations

import itertools
import math
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import ctckit
from ctckit import WILDCARD, Alternatives, Vocabulary
from tests.tools import aligned, oracle
from tests.tools.aligned import align_batch
from tests.tools.aligned import align_one as align
from tests.tools.cases import random_case

if TYPE_CHECKING:
    from torch import Tensor

LETTERS = ["-", "|", *"abcdefgh"]


def sharp(path: list[int], classes: int = 10, by: float = 9.0) -> Tensor:
    """Logits of a nearly certain path."""
    return by * torch.nn.functional.one_hot(torch.tensor(path), classes).float()


def noise(frames: int, classes: int = 10, *, seed: int = 0, items: int | None = None) -> Tensor:
    shape = (frames, classes) if items is None else (items, frames, classes)
    return 2 * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def places(alignment: ctckit.Alignment) -> list[tuple[str, int, int]]:
    return [(token.text, token.start, token.end) for token in alignment.tokens]


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


# ------------------------------------------------------------------------------------------------------------- patterns


def test_wildcards() -> None:
    path = [2, 3, 7, 0, 8, 9, 7, 1, 4, 4]
    kinds: tuple[tuple[str, dict[str, Any]], ...] = (("ab* c", {"wildcard": "*"}), ("abÿ c", {"unknown": "wildcard"}))
    for text, options in kinds:
        found = align(sharp(path), text, LETTERS, logits=True, **options)
        assert places(found) == [("a", 0, 1), ("b", 1, 2), (text[2], 2, 7), ("|", 7, 8), ("c", 8, 10)]
        assert found.tokens[2].id is None
        assert found.tokens[2].score == -1.0  # the default
        assert align(sharp(path), text, LETTERS, logits=True, wildcard_score=0.0, **options).tokens[2].score == 0
        assert [word.text for word in found.words] == [text[:3], "c"]
    by_token = align(sharp(path), ["a", "b", WILDCARD, "|", "c"], LETTERS, logits=True)
    assert [(t.id, t.start, t.end) for t in by_token.tokens] == [(t.id, t.start, t.end) for t in found.tokens]
    penalised = align(sharp(path), "ab* c", LETTERS, logits=True, wildcard="*", wildcard_score=-100.0)
    assert len(penalised.tokens[2]) == 1


def test_neighbours_of_a_wildcard_keep_their_frames() -> None:
    """For a confident model and the default score: as in the alignment of the whole text (see docs/alignment.md)."""
    path = [0, 2, 2, 2, 0, 3, 3, 1, 1, 5, 5, 0, 6, 6, 6, 0, 1, 0, 4, 4, 4, 0]
    whole = align(sharp(path, by=4), "ab de c", LETTERS, logits=True)
    for text, options in (("ab * c", {"wildcard": "*"}), ("ab 12 c", {"unknown": {"numbers": "wildcard"}})):
        found = align(sharp(path, by=4), text, LETTERS, logits=True, **options)
        spans = [(word.start, word.end) for word in found.words]
        assert [spans[0], spans[2]] == [(whole.words[0].start, whole.words[0].end), (18, 21)]
        assert spans[1] == (9, 15)
    free = align(sharp(path, by=4), "de", LETTERS, logits=True, free_start=True, free_end=True)
    assert [(word.start, word.end) for word in free.words] == [(9, 15)]


def test_a_word_ends_before_a_wildcard_of_punctuation() -> None:
    path = [2, 0, 3, 0, *[0] * 60, 1, 0, 4, 0, 5, 0]
    found = align(sharp(path), "ab, cd", LETTERS, logits=True, unknown="wildcard")
    assert [(word.text, word.start, word.end) for word in found.words] == [("ab,", 0, 3), ("cd", 66, 69)]
    assert [token.text for token in found.words[0].tokens] == ["a", "b"]
    assert [token.text for token in found.tokens] == ["a", "b", ",", "|", "c", "d"]


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


def test_alternatives_before_other_labels() -> None:
    """Names and spans are those of the path, also after options of several tokens."""
    for seed in range(5):
        x = noise(8, 5, seed=seed).log_softmax(1)
        pattern: list[int | Alternatives] = [Alternatives([1, 4], [2]), 3, 1]
        found = align(x, pattern, ["-", "a", "b", "c", "d"], confidence=False)
        (path,) = ctckit.best_paths(x, pattern)
        assert found.score == pytest.approx(path.total)
        rows = [(0, 1), (1, 4), (2, 2), (3, 3), (4, 1)]  # indices of the tokens of all options, and their classes
        places_ = [(i, c, (path.tokens == i).nonzero()[:, 0]) for i, c in rows if (path.tokens == i).any()]
        expected = [("-abcd"[c], int(frames[0]), int(frames[-1]) + 1) for _, c, frames in places_]
        assert places(found) == expected


def test_the_wildcard_in_a_row_of_tokens() -> None:
    x = noise(12).log_softmax(1)
    found = align(x, ["*", "c"], LETTERS, wildcard="*")
    assert [(token.text, token.id) for token in found.tokens] == [("*", None), ("c", 4)]
    assert places(found) == places(align(x, [WILDCARD, "c"], LETTERS))


@pytest.mark.parametrize("ends", [(False, False), (True, False), (False, True), (True, True)], ids=str)
@pytest.mark.parametrize("pattern", [[2], [2, WILDCARD, 3, 3], [WILDCARD, WILDCARD, 4], [5, 5, WILDCARD]], ids=str)
def test_patterns_agree_with_their_graphs(pattern: list[Any], ends: tuple[bool, bool]) -> None:
    """A row with wildcards uses the search of plain rows; the pattern's graph, tested elsewhere, has the same path."""
    for seed in range(3):
        x = noise(12, seed=seed).log_softmax(1)
        options: dict[str, Any] = {"free_start": ends[0], "free_end": ends[1], "wildcard_score": -1.5}
        found = align(x, pattern, **options)
        (path,) = ctckit.best_paths(x, pattern, **options)
        occupancy = ctckit.path_posteriors(x, pattern, **options).occupancy.gather(1, path.states[:, None])[:, 0]
        assert found.score == pytest.approx(path.total, abs=1e-12)
        for number, token in enumerate(found.tokens):
            assert (path.tokens == number).nonzero()[:, 0].tolist() == list(range(token.start, token.end))
            share = float(occupancy[token.start : token.end].mean())
            assert token.confidence == pytest.approx(share, abs=1e-12)


def test_alternatives() -> None:
    path = [2, 3, 0, 1, 0, 4, 0, 5, 1, 6]
    tokens = [2, 3, 1, Alternatives([7, 8], [4, 5], [4]), 1, 6]
    found = align(sharp(path), tokens, LETTERS, logits=True)
    assert [token.text for token in found.tokens] == ["a", "b", "|", "c", "d", "|", "e"]
    assert [word.text for word in found.words] == ["ab", "cd", "e"]
    assert found.text == "ab cd e"


def test_free_ends() -> None:
    x = sharp([7, 8, 9, 0, 2, 3, 0, 4, 9, 8])
    found = align(x, "abc", LETTERS, logits=True, free_start=True, free_end=True)
    assert places(found) == [("a", 4, 5), ("b", 5, 6), ("c", 7, 8)]
    assert found.score == pytest.approx(-5, abs=0.1)  # five frames are outside
    assert align(x, "abc", LETTERS, logits=True, free_start=True, free_end=True, wildcard_score=0.0).score > -1
    assert align(x, "abc", LETTERS, logits=True).score < -30


def test_posterior_paths() -> None:
    x = noise(20, 4, seed=2).log_softmax(1)
    found = align(x, [1, 2, 3], method="posterior")
    path = ctckit.posterior_path(x, [1, 2, 3])
    assert found.score == pytest.approx(path.total)
    for number, token in enumerate(found.tokens):
        assert (path.tokens == number).nonzero()[:, 0].tolist() == list(range(token.start, token.end))
    best = align(x, [1, 2, 3])
    assert found.score <= best.score + 1e-12
    table = ctckit.posteriors(x, torch.tensor([1, 2, 3]), per_state=True)
    states = {kind: torch.zeros(20, dtype=torch.int64) for kind in "vp"}
    states["p"] = path.states
    paths, _ = ctckit.forced_align(x[None], torch.tensor([[1, 2, 3]]))
    seen = (torch.diff(paths[0], prepend=torch.tensor([0])) != 0) & (paths[0] != 0)
    states["v"] = 2 * seen.cumsum(0) - (paths[0] != 0).long()
    right = {kind: float(table.gather(1, s[:, None]).sum()) for kind, s in states.items()}
    assert right["p"] >= right["v"] - 1e-9  # frames right in expectation


def test_confidences_are_probabilities() -> None:
    """Confidences are at most 1, although rounded occupancies may add up to more than 1 in float64."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(200):
        x = 20 * torch.randn(12, 3, generator=generator, dtype=torch.float64)
        for token in align(x, [1, 2], logits=True).tokens:
            assert token.confidence is not None
            assert 0 <= token.confidence <= 1


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


# ------------------------------------------------------------------------------------------------------------ bad input


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


# ----------------------------------------------------------------------------------------------------------------- size


@pytest.mark.skipif("CTCKIT_SANITIZED" in os.environ, reason="sanitizers keep what is freed")
@pytest.mark.parametrize("wildcard", [False, True])
def test_a_long_recording_takes_no_table(wildcard: bool) -> None:
    """T = 12,000, S = 3,000: the table of occupancies would be 288 MB in float32."""
    pytest.importorskip("resource")
    pytest.importorskip("ctckit._core")
    code = f"""
import resource, torch, ctckit
x = torch.randn(12_000, 30).log_softmax(1)
tokens = torch.randint(1, 30, (3_000,)).tolist()
tokens[1_000] = ctckit.WILDCARD if {wildcard} else 1
ctckit.align(x[:600], tokens[900:1_100])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = ctckit.align(x, tokens)
assert len(found.tokens) == 3_000 and all(token.confidence is not None for token in found.tokens)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert float(done.stdout) < 100
