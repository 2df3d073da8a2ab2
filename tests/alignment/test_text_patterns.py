"""align: wildcards, alternatives, free ends and posterior paths."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import ctckit
from ctckit import WILDCARD, Alternatives
from tests.alignment.emissions import LETTERS, noise, places, sharp
from tests.tools.aligned import align_one as align


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


def test_the_wildcard_in_a_row_of_tokens() -> None:
    x = noise(12).log_softmax(1)
    found = align(x, ["*", "c"], LETTERS, wildcard="*")
    assert [(token.text, token.id) for token in found.tokens] == [("*", None), ("c", 4)]
    assert places(found) == places(align(x, [WILDCARD, "c"], LETTERS))


def test_alternatives() -> None:
    path = [2, 3, 0, 1, 0, 4, 0, 5, 1, 6]
    tokens = [2, 3, 1, Alternatives([7, 8], [4, 5], [4]), 1, 6]
    found = align(sharp(path), tokens, LETTERS, logits=True)
    assert [token.text for token in found.tokens] == ["a", "b", "|", "c", "d", "|", "e"]
    assert [word.text for word in found.words] == ["ab", "cd", "e"]
    assert found.text == "ab cd e"


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
