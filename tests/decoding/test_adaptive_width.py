"""`beam_width=(first, largest)`: the beam is doubled for the items whose best hypothesis is not proved best."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

import ctckit
from ctckit.backends import cpu
from ctckit.decoding.scorers import TokenBias
from tests.decoding.problems import emissions
from tests.decoding.results import bits

pytestmark = pytest.mark.usefixtures("core")

beam_search: Any = ctckit.beam_search
LENGTHS = (30, 30, 30, 5, 0, 30)
X = torch.stack([emissions(kind, 30, 6, 3) for kind in ("sharp", "flat", "held", "held", "sharp", "uniform")])


@contextmanager
def searches(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[int, int]]]:
    """Width and number of items of each call of the backend."""
    calls: list[tuple[int, int]] = []
    search = cpu.beam_search

    def counted(x: Any, lengths: Any, options: Any, scorers: Any) -> Any:
        calls.append((options.width, x.shape[1]))
        return search(x, lengths, options, scorers)

    with monkeypatch.context() as patch:
        patch.setattr(cpu, "beam_search", counted)
        yield calls


@pytest.mark.parametrize("pair", [(8, 512), (1, 20), (3, 3), (2, 5)])
def test_each_item_is_that_of_its_last_width(monkeypatch: pytest.MonkeyPatch, pair: tuple[int, int]) -> None:
    with searches(monkeypatch) as calls:
        found = beam_search(X, LENGTHS, beam_width=pair)
        widths = []
        width = pair[0]
        while width < pair[1]:
            widths.append(width)
            width *= 2
        widths.append(pair[1])
        open_items = list(range(len(LENGTHS)))
        last = dict.fromkeys(open_items, pair[0])
        for number, width in enumerate(widths):
            plain = beam_search(X, LENGTHS, beam_width=width)
            if number:
                last.update(dict.fromkeys(open_items, width))
            open_items = [item for item in open_items if plain[item].certified is False]
        ours = [call for call in calls if call[1] <= len(LENGTHS)][: len(calls) - len(widths)]
    for item, decoding in enumerate(found):
        assert bits(decoding) == bits(beam_search(X[item], LENGTHS[item], beam_width=last[item])), item
    assert ours[0] == (pair[0], len(LENGTHS))
    assert [items for _, items in ours] == sorted([items for _, items in ours], reverse=True)


def test_only_what_needs_it_is_widened(monkeypatch: pytest.MonkeyPatch) -> None:
    with searches(monkeypatch) as calls:
        found = beam_search(X, LENGTHS, beam_width=(2, 64))
    assert calls[0] == (2, 6)
    assert [width for width, _ in calls] == [2, 4, 8, 16, 32, 64][: len(calls)]
    counts = [items for _, items in calls]
    assert counts == sorted(counts, reverse=True)
    assert counts[1] < counts[0]
    assert found[4].certified is True  # of no frames
    assert found[5].certified is False  # all labellings are alike
    with searches(monkeypatch) as calls:
        beam_search(X[4:5, :0], beam_width=(2, 64))
    assert calls == [(2, 1)]


@pytest.mark.parametrize(
    "options",
    [{"scorers": [TokenBias([0.0, 1.0])]}, {"rescore": False}, {"logits": False}],
    ids=["scorers", "not rescored", "not normalised"],
)
def test_where_nothing_can_be_proved_the_first_width_stays(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    x = X if "logits" not in options else X - 0.5
    with searches(monkeypatch) as calls:
        found = beam_search(x, LENGTHS, beam_width=(2, 64), **options)
    assert calls == [(2, 6)]
    assert bits(found) == bits(beam_search(x, LENGTHS, beam_width=2, **options))


def test_decoder_and_invalid_items(monkeypatch: pytest.MonkeyPatch) -> None:
    x = X.clone()
    x[1, 7, 2] = torch.nan
    decoder = ctckit.Decoder(list("-abcde"), beam_width=(2, 32), nbest=2, invalid="none")
    with searches(monkeypatch) as calls:
        found = decoder(x, LENGTHS)
    assert isinstance(found, list)
    assert found[1] is None
    assert len(calls) > 1
    assert bits(found[0]) == bits(decoder(x[0]))
    assert "(2, 32)" in repr(decoder)
    assert len(found[0].nbest) == 2  # type: ignore[union-attr]
