"""The values that a page shows: times, tokens, lines and spaces; and values that are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ctckit import ArgumentTypeError, ArgumentValueError
from ctckit.page import PageItem, _for_the_page, write_page
from tests.page.alignments import alignment
from tests.tools.known_times import place, say

pytest.importorskip("jinja2")


def test_times_are_those_of_the_recording() -> None:
    """Times include the offset. A token has its own times and confidence. A word has all of its tokens."""
    values = {
        "text": "hi", "frames": 12, "frame_duration": 0.1, "offset": 5.0,
        "tokens": [
            {"text": "h", "start": 2, "end": 4, "confidence": 0.1},
            {"text": "i", "start": 5, "end": 9, "confidence": 0.2},
            {"text": "!", "start": 9, "end": 10, "confidence": 0.3},
        ],
        "words": [{"text": "hi", "start": 2, "end": 9, "tokens": [0, 2], "confidence": 0.9}],
    }  # fmt: skip
    shown = _for_the_page(PageItem(values))
    assert shown["duration"] == pytest.approx(6.2)
    (word,) = shown["words"]
    assert [word["start"], word["end"], word["confidence"]] == pytest.approx([5.2, 5.9, 0.9])
    assert word["tokens"] == [["h", pytest.approx(5.2), pytest.approx(5.4), 0.1], ["i", 5.5, pytest.approx(5.9), 0.2]]
    assert (shown["spaced"], shown["timed"], shown["step"], shown["audio"]) == (True, True, 0.1, None)


def test_times_without_seconds() -> None:
    """Frames of 20 ms, from 0, for the page's own clock."""
    shown = _for_the_page(PageItem({**alignment("a", duration=None), "offset": 7.0}))
    assert [shown["words"][0]["start"], shown["words"][0]["end"]] == pytest.approx([0.5, 1.3])
    assert shown["duration"] == pytest.approx(2.0)
    assert not shown["timed"]


def test_only_words_have_tokens() -> None:
    """The tokens of a word are optional. Rows of a page that shows tokens have none."""
    values = alignment("a", "b")
    del values["words"][0]["tokens"]
    assert [len(word["tokens"]) for word in _for_the_page(PageItem(values))["words"]] == [0, 1]
    tokens = [{**token, "tokens": [0, 1]} for token in values["tokens"]]
    shown = _for_the_page(PageItem({**values, "words": [], "tokens": tokens}))
    assert [word["tokens"] for word in shown["words"]] == [[], []]


def test_lines_and_spaces_of_the_page() -> None:
    found = say("今天 好\n天\n\n今").to_dict()
    shown = _for_the_page(PageItem(found))
    assert [word["text"] for word in shown["words"]] == ["今天", "好", "天", "今"]
    assert shown["lines"] == [2, 3]
    assert [word["space"] for word in shown["words"]] == [True] * 4
    given = _for_the_page(PageItem(place("今天。好 天", ["今天", "好", "天"]).to_dict()))
    assert [word["space"] for word in given["words"]] == [True, True, True]
    given = _for_the_page(PageItem(place("今天好 天", ["今天", "好", "天"]).to_dict()))
    assert [word["space"] for word in given["words"]] == [True, False, True]
    tokens = {**found, "words": []}
    assert _for_the_page(PageItem(tokens))["lines"] == [5, 7]  # 今, 天, |, 好, |, 天, |, 今
    assert not any(word["space"] for word in _for_the_page(PageItem(tokens))["words"])
    assert _for_the_page(PageItem(alignment("a", "b")))["lines"] == []
    spans = [{"start": 25, "end": 115}, {"start": 900, "end": 901}]  # the second has no word
    assert _for_the_page(PageItem({**alignment("a", "b"), "lines": spans}))["lines"] == []


def test_lines_begin_at_their_first_word() -> None:
    """Also if words have one frame and times are rounded. An empty line or one before the first word begins none."""
    frames = [{"text": "a", "start": at, "end": at + 1, "confidence": 0.5} for at in range(60)]
    values = {"text": "", "tokens": frames, "words": [], "frames": 60, "frame_duration": 0.1, "offset": 5.0}

    def found(*starts: int) -> list[int]:
        lines = [{"start": at, "end": at} for at in starts]
        return _for_the_page(PageItem({**values, "lines": lines}))["lines"]

    assert found(*range(60)) == list(range(1, 60))
    assert found(1, 2, 2, 7, 60) == [2, 7]
    assert found(0, 0, 1) == [1]
    assert found(30) == found() == []


def test_an_item_without_a_frame() -> None:
    shown = _for_the_page(PageItem({"text": "", "tokens": [], "frames": 0, "frame_duration": 0.1, "offset": 5.0}))
    assert (shown["words"], shown["duration"]) == ([], 5.0)


WORD = {"text": "a", "start": 0, "end": 1, "tokens": [0, 1], "confidence": 0.5}
TOKEN = {"text": "a", "start": 0, "end": 1, "id": 1, "confidence": 0.5}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tokens": None}, "'tokens' is None, but must be a list"),
        ({"tokens": "abc"}, "'tokens' is 'abc', but must be a list"),
        ({"tokens": [7]}, r"tokens\[0\] is 7, but must be an object"),
        ({"words": [{**WORD, "text": None}]}, r"words\[0\]: 'text' is None, but must be a text"),
        ({"words": [{**WORD, "text": 5}]}, r"words\[0\]: 'text' is 5"),
        ({"words": [WORD, {**WORD, "start": "x"}]}, r"words\[1\]: 'start' is 'x', but must be a whole number"),
        ({"words": [{**WORD, "start": 0.5}]}, "'start' is 0.5"),
        ({"words": [{**WORD, "start": True}]}, "'start' is True"),
        ({"words": [{**WORD, "start": -1}]}, "from frame -1 to 1"),
        ({"words": [{**WORD, "end": 10**400}]}, "'end' is 10+"),
        ({"words": [{**WORD, "start": 3, "end": 2}]}, "from frame 3 to 2"),
        ({"words": [{**WORD, "tokens": [0, 2]}]}, r"'tokens' is \[0, 2\], but must be two numbers from 0 to 1"),
        ({"words": [{**WORD, "tokens": [1, 0]}]}, r"'tokens' is \[1, 0\]"),
        ({"words": [{**WORD, "tokens": [0]}]}, r"'tokens' is \[0\]"),
        ({"words": [{**WORD, "tokens": "01"}]}, "'tokens' is '01'"),
        ({"words": [{**WORD, "confidence": 1.5}]}, "'confidence' is 1.5, but must be from 0 to 1"),
        ({"words": [{**WORD, "confidence": float("nan")}]}, "'confidence' is nan"),
        ({"words": [{**WORD, "confidence": "high"}]}, "'confidence' is 'high'"),
        ({"words": [{**WORD, "start": 5, "end": 6}, WORD]}, "its words do not start one after the other"),
        ({"frames": None}, "'frames' is None, but must be a whole number"),
        ({"frames": -1}, "'frames' is -1"),
        ({"frame_duration": 0}, "'frame_duration' is 0.0, but must be positive"),
        ({"frame_duration": -0.1}, "'frame_duration' is -0.1"),
        ({"frame_duration": float("inf")}, "'frame_duration' is inf, but must be a finite number"),
        ({"frame_duration": "0.02"}, "'frame_duration' is '0.02'"),
        ({"frame_duration": 1e15}, "a time is 1e.15 s, but must be below 100,000 hours"),
        ({"offset": float("nan")}, "'offset' is nan"),
        ({"offset": 1e15}, "a time is 1e.15 s"),
        ({"lines": 5}, "'lines' is 5, but must be a list"),
        ({"lines": [{"start": 0}]}, r"lines\[0\]: 'end' is missing"),
    ],
    ids=str,
)
def test_untrusted_values(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    """The message names the item and the value; nothing is written."""
    values = {"text": "a", "words": [WORD], "tokens": [TOKEN], "frames": 1, "frame_duration": 0.1, "offset": 0.0}
    write_page(tmp_path / "good.html", [PageItem(values, "good")])
    items = [PageItem(values, "good"), PageItem({**values, **change}, "bad <one>")]
    with pytest.raises(ArgumentValueError, match=f"item 'bad <one>' is no alignment that can be shown: .*{message}"):
        write_page(tmp_path / "page.html", items)
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize("key", ["tokens", "frames"])
def test_missing_values(key: str, tmp_path: Path) -> None:
    values = alignment("a")
    del values[key]
    with pytest.raises(ArgumentValueError, match=f"item 'x' is no .*: '{key}' is missing"):
        write_page(tmp_path / "page.html", [PageItem(values, "x")])
    values = alignment("a")
    del values["words"][0]["text"]
    with pytest.raises(ArgumentValueError, match=r"words\[0\]: 'text' is missing"):
        write_page(tmp_path / "page.html", [PageItem(values, "x")])


def test_untrusted_types(tmp_path: Path) -> None:
    for item, message in (
        (PageItem([1], "x"), "the alignment of a PageItem is a list, but must be a Mapping"),  # type: ignore[arg-type]
        (PageItem(alignment("a"), 5), "the name of a PageItem is a int, but must be a str"),  # type: ignore[arg-type]
    ):
        with pytest.raises(ArgumentTypeError, match=message):
            write_page(tmp_path / "page.html", [item])
