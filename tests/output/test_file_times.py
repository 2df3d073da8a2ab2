"""Times in files: all formats have the same milliseconds. Characters that a format cannot hold are replaced."""

from __future__ import annotations

import itertools
import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

import ctckit
from ctckit import AlignedToken, AlignedWord, Alignment
from ctckit.output.timestamps import clock, decimal, milliseconds
from tests.tools.known_times import place, say

srt = pytest.importorskip("srt")
webvtt = pytest.importorskip("webvtt")
praat = pytest.importorskip("praatio.textgrid")


def rows(written: str) -> list[tuple[int, int]]:
    """Return start and end of each line of CTM, in milliseconds."""
    times = [[Fraction(field) for field in line.split()[2:4]] for line in written.splitlines()]
    return [(int(1000 * start), int(1000 * (start + length))) for start, length in times]


def words_of(*frames: tuple[int, int], frame_duration: float, offset: float) -> Alignment:
    tokens = tuple(
        AlignedToken("a", 1, start, end, -0.5, None, offset + start * frame_duration, offset + end * frame_duration)
        for start, end in frames
    )
    words = tuple(AlignedWord("a", token.start, token.end, -0.5, None, (token,)) for token in tokens)
    return Alignment(" ".join("a" * len(frames)), tokens, words, -1.0, frames[-1][1] + 1, frame_duration, offset)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 3)), min_size=1, max_size=6),
    st.one_of(
        st.sampled_from([0.001, 0.0125, 0.02, 1 / 30, 0.04, 1 / 3, 1.0, 12345.678]),
        st.floats(0.001, 2.0, allow_nan=False),
    ),
    st.one_of(st.just(0.0), st.floats(0.0, 5000.0)),
)
@example([(0, 1), (0, 1), (0, 1)], 0.001, 0.0005)  # halves: if rounded to even, the second would last 0 ms
@example([(5, 1)], 1 / 30, 0.0)
def test_all_formats_have_the_same_times(gaps: list[tuple[int, int]], frame_duration: float, offset: float) -> None:
    at, frames = 0, []
    for gap, length in gaps:
        frames.append((at + gap, at + gap + length))
        at = frames[-1][1]
    found = words_of(*frames, frame_duration=frame_duration, offset=offset)
    right = [
        tuple(int((1000 * Fraction(time) + Fraction(1, 2)) // 1) for time in (word.start_time or 0, word.end_time or 0))
        for word in found.words
    ]
    written = rows(found.to_ctm())
    # 1000 times a float may round to a half although the time is a little less. Only then is it a millisecond more.
    assert all(
        abs(a - b) <= 1 for row, exact in zip(written, right, strict=True) for a, b in zip(row, exact, strict=True)
    )
    close = [time % 1 for word in found.words for time in (1000 * (word.start_time or 0), 1000 * (word.end_time or 0))]
    if all(abs(part - 0.5) > 1e-6 for part in close):
        assert written == right
    for cues in (srt.parse(found.to_srt(max_characters=0)), None):
        if cues is not None:
            assert [(ms(cue.start.total_seconds()), ms(cue.end.total_seconds())) for cue in cues] == written
    captions = webvtt.from_string(found.to_vtt(max_characters=0))
    assert [(ms(seconds(c.start)), ms(seconds(c.end))) for c in captions] == written
    intervals = read_textgrid(found)["words"]
    assert [(ms(start), ms(end)) for start, end, _ in intervals] == written
    # No word overlaps the next one, and no word is empty.
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(written))
    assert all(start < end for start, end in written)


def ms(time: float) -> int:
    return round(1000 * time)


def seconds(time: str) -> float:
    hours, minutes, rest = time.split(":")
    return 3600 * int(hours) + 60 * int(minutes) + float(rest)


def read_textgrid(found: Alignment) -> dict[str, list[tuple[float, float, str]]]:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.TextGrid"
        found.to_textgrid(path)
        grid = praat.openTextgrid(str(path), includeEmptyIntervals=False)
    return {name: [tuple(entry) for entry in grid.getTier(name).entries] for name in grid.tierNames}


def test_a_time_before_the_start() -> None:
    """CTM may have one. A half is rounded up."""
    found = words_of((0, 1), (1, 2), (2, 3), frame_duration=0.5, offset=-0.7505)
    assert [line.split()[2:4] for line in found.to_ctm().splitlines()] == [
        ["-0.750", "0.500"],
        ["-0.250", "0.500"],
        ["0.250", "0.500"],
    ]
    assert [milliseconds(time) for time in (-0.0015, -0.0005, -0.0004, 0.0005, 0.0015)] == [-1, 0, 0, 1, 2]


def test_words_that_touch() -> None:
    """A duration is the difference of the rounded times. Rounded separately, start 13 and duration 13 would pass 25."""
    found = words_of((1, 2), (2, 3), (3, 4), frame_duration=0.0125, offset=0.0)
    assert rows(found.to_ctm()) == [(13, 25), (25, 38), (38, 50)]


def test_digits() -> None:
    assert [decimal(time) for time in (0, 5, 999, 1000, -1, -1001)] == [
        "0.000", "0.005", "0.999", "1.000", "-0.001", "-1.001",
    ]  # fmt: skip
    assert [clock(time) for time in (0, 59_999, 60_000, 3_599_999, 3_600_000, 360_000_001)] == [
        "00:00:00.000", "00:00:59.999", "00:01:00.000", "00:59:59.999", "01:00:00.000", "100:00:00.001",
    ]  # fmt: skip


@pytest.mark.parametrize("duration", [1e9, 1e300])
def test_times_beyond_all_recordings(duration: float) -> None:
    found = words_of((1, 2), frame_duration=duration, offset=0.0)
    for write in (found.to_ctm, found.to_textgrid, found.to_srt, found.to_vtt):
        with pytest.raises(ctckit.ArgumentValueError, match=r"a time is .* s, but must be below 100,000 hours"):
            write()
    assert milliseconds(359_999_999.0) == 359_999_999_000


def test_short_frames_of_a_textgrid() -> None:
    """Below a millisecond, times have microseconds, so no label is lost. Below a microsecond an error is raised."""
    found = words_of((1, 2), (2, 3), (30, 40), frame_duration=1 / 16000, offset=0.0)
    assert [(round(start, 7), round(end, 7)) for start, end, _ in read_textgrid(found)["words"]] == [
        (0.000063, 0.000125), (0.000125, 0.000188), (0.001875, 0.0025),
    ]  # fmt: skip
    with pytest.raises(ctckit.ArgumentValueError, match="'a' lasts less than a microsecond"):
        words_of((1, 2), frame_duration=1e-8, offset=0.0).to_textgrid()


def test_spans_without_frames() -> None:
    """They are left out of a TextGrid. In CTM they last 0 s."""
    found = words_of((1, 1), (1, 3), frame_duration=0.1, offset=0.0)
    assert [(round(start, 3), round(end, 3)) for start, end, _ in read_textgrid(found)["tokens"]] == [(0.1, 0.3)]
    assert rows(found.to_ctm()) == [(100, 100), (100, 300)]


def test_a_recording_without_frames() -> None:
    empty = Alignment("", (), (), 0.0, 0, 0.1)
    assert empty.to_ctm() == ""
    assert empty.to_srt() == "\n"


def test_a_textgrid_ends_with_the_recording() -> None:
    found = say("ab", offset=2.0)
    written = found.to_textgrid()
    assert f"xmax = {2 + 0.1 * found.frames:.1f} \n" in written
    assert written.count("xmax = 3.2 ") == 5  # the grid, its tiers words and tokens, and the last interval of both
    assert written.startswith('File type = "ooTextFile"\nObject class = "TextGrid"\n\nxmin = 0 \n')


# ---------------------------------------------------------------------------------------------------------- characters

ODD = [
    '"', '""', 'a"b', "'", ";;", ";;a", "\\n", "a\x00b", "a\x1bb", "a\x7fb", "a\x80b", "a\ufffeb", "a\ud800", "\udfff",
    "😀", "<i>", "42", "-->", "é", "e\u0301", "\u202e", "\u200b", "\ufeff", "#", "%", "|", "{", "text", "=",
]  # fmt: skip


@pytest.mark.parametrize("text", ODD)
def test_odd_characters(text: str, tmp_path: Path) -> None:
    """Characters that UTF-8 and lines of text can hold come back. All others become U+FFFD."""
    found = place(f"x {text} y", ["x", text, "y"])
    right = re.sub("[\x00\x1b\x7f\x80\ud800-\udfff\ufffe]", "\ufffd", text)
    found.to_ctm(tmp_path / "a.ctm")
    lines = (tmp_path / "a.ctm").read_text(encoding="utf-8").splitlines()
    assert [line.split()[4] for line in lines] == ["x", right, "y"]
    assert not any(line.startswith(";;") for line in lines)
    assert [text for *_, text in read_textgrid(found)["words"]] == ["x", right, "y"]
    other = pytest.importorskip("textgrid")
    found.to_textgrid(tmp_path / "a.TextGrid")
    tier = other.TextGrid.fromFile(str(tmp_path / "a.TextGrid"))[0]
    assert [interval.mark for interval in tier if interval.mark] == ["x", right, "y"]
    assert Alignment.from_json(found.to_json(tmp_path / "a.json")) == found
    assert Alignment.from_json(tmp_path / "a.json") == found
    assert found.to_dataframe()["text"].tolist() == ["x", text, "y"]


@pytest.mark.parametrize("space", [" ", "\t", "\n", "\r\n", "\u2028", "\x85", "\x1c", "\u3000", " \n "])
def test_white_space_in_a_word(space: str) -> None:
    """The caller's words may have white space. No format reads it as the end of a line or field."""
    word = f"New{space}York"
    found = place(f"in {word} now", ["in", word, "now"])
    assert [line.split()[4] for line in found.to_ctm().splitlines()] == ["in", "New_York", "now"]
    assert [text for *_, text in read_textgrid(found)["words"]] == ["in", "New York", "now"]
    assert [cue.content for cue in srt.parse(found.to_srt(max_duration=99))] == ["in New York now"]
    assert [cue.text for cue in webvtt.from_string(found.to_vtt(max_duration=99))] == ["in New York now"]


def test_words_without_characters() -> None:
    tokens = tuple(
        AlignedToken(text, 1, n, n + 1, -0.5, None, float(n), n + 1.0) for n, text in enumerate(["", " ", "\n\t", "a"])
    )
    found = Alignment("a", tokens, (), -1.0, 4, 1.0)
    right = ["<empty>", "<space>", "<space>", "a"]
    assert [line.split()[4] for line in found.to_ctm().splitlines()] == right
    assert [text for *_, text in read_textgrid(found)["tokens"]] == right


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"recording": ";;a"}, "recording is ';;a', but in CTM a line that starts with ;; is a comment"),
        ({"recording": "a\x00"}, "recording is 'a.x00', but in CTM it must be one word"),
        ({"recording": "a\u2028b"}, "recording is"),
        ({"recording": " a"}, "recording is ' a'"),
        ({"recording": ""}, "recording is ''"),
        ({"channel": "a b"}, "channel is 'a b'"),
        ({"channel": "\ud800"}, "channel is"),
    ],
)
def test_names_of_ctm(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ctckit.ArgumentValueError, match=message):
        say("a").to_ctm(**options)
    assert say("a").to_ctm(recording="a;;b", channel=";;").startswith("a;;b ;; ")


# --------------------------------------------------------------------------------------------------------------- files


@pytest.mark.parametrize("write", ["to_json", "to_ctm", "to_textgrid", "to_srt", "to_vtt"])
def test_files_are_written_whole(write: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If writing fails, the old file stays, and no part of the new one is left."""
    path = tmp_path / "a.out"
    written = getattr(say("é b"), write)(path)
    assert path.read_bytes() == written.encode("utf-8")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="No space left"):
        getattr(say("c"), write)(path)
    assert path.read_bytes() == written.encode("utf-8")
    assert [file.name for file in tmp_path.iterdir()] == ["a.out"]


# ---------------------------------------------------------------------------------------------------------- JSON again


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"text": 5}, "'text' is 5, but must be a text"),
        ({"score": "low"}, "'score' is 'low', but must be a finite number"),
        ({"score": float("nan")}, "'score' is nan"),
        ({"frames": 1.5}, "'frames' is 1.5, but must be a whole number"),
        ({"frame_duration": [1]}, "'frame_duration' is"),
        ({"offset": None}, "'offset' is None"),
        ({"words": [{"text": "a"}]}, r"words\[0\]: 'tokens' is missing"),
        ({"words": [{"text": "a", "tokens": [1, 1]}]}, "a word has at least one token"),
        ({"words": [{"text": "a", "tokens": [0, 9]}]}, r"'tokens' is \[0, 9\], but must be two numbers from 0 to 1"),
        ({"tokens": [{}]}, r"tokens\[0\]: 'text' is missing"),
        ({"tokens": {}}, "'tokens' is {}, but must be a list"),
        ({"lines": [{"words": [0, 2]}]}, r"lines\[0\]: 'words' is \[0, 2\], but must be two numbers from 0 to 1"),
        ({"dropped": "abc"}, "'dropped' is 'abc', but must be a list of texts"),
        ({"dropped": [1]}, r"'dropped' is \[1\]"),
        ({"blank": "0"}, "'blank' is '0'"),
        ({"score": 2.0**53}, "'score' is 9007199254740992.0, but must be a finite number"),
        ({"score": -(2.0**53)}, "'score' is -9007199254740992.0"),
        ({"frames": 2**53}, "'frames' is 9007199254740992, but must be a whole number"),
        ({"text": list(range(99))}, r"'text' is \[0, 1, [0-9, ]+16\.\.\., but must be a text"),
    ],
    ids=str,
)
def test_values_that_are_no_alignment(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"this is not an alignment as to_json writes it: .*{message}"):
        Alignment.from_dict({**say("a").to_dict(), **change})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"confidence": -0.001}, "'confidence' is -0.001, but must be from 0 to 1"),
        ({"confidence": 1.001}, "'confidence' is 1.001"),
        ({"start": -1}, "it is from frame -1 to"),
        ({"start": 9, "end": 8}, "it is from frame 9 to 8, but must not end before it starts"),
        ({"span": [0, 2]}, r"'span' is \[0, 2\], but must be two numbers from 0 to 1"),  # the text has one character
        ({"span": [1, 0]}, r"'span' is \[1, 0\]"),
        ({"span": [-1, 1]}, r"'span' is \[-1, 1\]"),
    ],
    ids=str,
)
def test_values_that_are_no_word(change: dict[str, Any], message: str) -> None:
    values = say("a").to_dict()
    values["words"][0] |= change
    with pytest.raises(ValueError, match=rf"words\[0\]: {message}"):
        Alignment.from_dict(values)


def test_the_largest_and_smallest_values() -> None:
    values = say("a").to_dict() | {"score": 1 - 2.0**53}
    values["words"][0] |= {"confidence": 0, "start": 0, "end": 0, "span": [1, 1]}
    values["tokens"][0] |= {"confidence": 1}
    again = Alignment.from_dict(values)
    assert again.score == 1 - 2.0**53
    (word,) = again.words
    assert (word.confidence, word.start, word.end, word.span, word.tokens[0].confidence) == (0, 0, 0, (1, 1), 1)


def test_half_a_surrogate_pair_in_json(tmp_path: Path) -> None:
    """UTF-8 cannot hold it, so it is escaped. The same character is read again."""
    found = say("a\ud800b\udfff")
    written = found.to_json(tmp_path / "a.json")
    assert "a\\ud800b\\udfff" in written
    assert Alignment.from_json(tmp_path / "a.json") == found


def test_optional_values() -> None:
    """Files of versions without lines, spans and other fields."""
    values = say("ab\ncd é", unheard="é").to_dict()
    assert {"lines", "dropped"} <= set(values)
    for key in ("lines", "dropped", "blank"):
        values.pop(key, None)
    for word in values["words"]:
        del word["span"]
    again = Alignment.from_dict(values)
    assert (again.lines, again.dropped, again.blank) == ((), (), 0)
    assert [word.span for word in again.words] == [None, None]
    assert [word.text for word in again.words] == ["ab", "cd"]
    emissions = 9.0 * torch.eye(3)[[2, 0, 2]]
    other = ctckit.align(emissions, [0], blank=2, logits=True)
    assert isinstance(other, Alignment)
    assert Alignment.from_json(other.to_json()).blank == 2
