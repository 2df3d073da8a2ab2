"""What a scorer in Python may forget: states that it returned before `initial` was last called."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import ctckit
from tests.decoding.problems import emissions

VOCABULARY = ["-", "|", "a", "b", "c"]


class Numbering:
    """Gives each step a new state, and knows those since `initial` alone. Labels cost 0.25 nats, and 0.5 at the end."""

    def __init__(self) -> None:
        self.calls = 0
        self.most = 0

    def initial(self) -> int:
        self.calls += 1
        self._depth = {1_000_000 * self.calls: 0}  # of the states that may come
        return 1_000_000 * self.calls

    def advance(self, states: Any, tokens: Any) -> Any:
        after = []
        for state in states.tolist():
            after.append(1_000_000 * self.calls + len(self._depth))
            self._depth[after[-1]] = self._depth[state] + 1
        self.most = max(self.most, len(self._depth))
        return np.full(len(tokens), -0.25), np.array(after, dtype=np.int64)

    def finish(self, states: Any) -> Any:
        return np.array([-0.5 * self._depth[state] for state in states.tolist()])

    def largest_gain(self) -> float:
        return 0.0


def decode(x: torch.Tensor, scorer: Numbering, **options: Any) -> Any:
    chosen: dict[str, Any] = {"beam_width": 8, "nbest": 4, "scorers": [scorer]} | options
    return ctckit.Decoder(VOCABULARY, **chosen)(x)


@pytest.mark.parametrize("options", [{}, {"rescore": False}, {"beam_width": (4, 16)}])
def test_items_one_after_the_other(backend: str, options: Any) -> None:
    del backend
    x = torch.stack([emissions("held", 20, 5, seed) for seed in range(4)])
    scorer = Numbering()
    found = decode(x, scorer, **options)
    for one in found:
        for hypothesis in one.nbest:
            gain = hypothesis.score - hypothesis.acoustic_score if hypothesis.exact else None
            assert gain is None or gain == pytest.approx(-0.75 * len(hypothesis.tokens))
    alone = [Numbering() for _ in x]
    for item, one, own in zip(x, found, alone, strict=True):
        assert decode(item, own, **options) == one
    assert scorer.most == max(own.most for own in alone)  # nothing is kept from item to item


@pytest.mark.usefixtures("core")
def test_streams_with_scorers_of_their_own() -> None:
    x = torch.stack([emissions("held", 20, 5, seed) for seed in range(3)])
    streams = [ctckit.Decoder(VOCABULARY, beam_width=8, nbest=4, scorers=[Numbering()]).stream() for _ in x]
    for chunks in zip(*(item.split(3) for item in x), strict=True):
        for stream, chunk in zip(streams, chunks, strict=True):
            stream.push(chunk)
    for item, stream in zip(x, streams, strict=True):
        assert stream.finish().nbest == decode(item, Numbering(), rescore=False).nbest
