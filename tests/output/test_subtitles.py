"""Cues: their limits and times, and hostile texts, read again with other libraries."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctckit import AlignedToken, AlignedWord, Alignment
from ctckit.output.spans import Level
from tests.tools.known_times import place, say
from tests.tools.subtitle_cues import cues, texts

srt = pytest.importorskip("srt")
webvtt = pytest.importorskip("webvtt")
pytest.importorskip("regex")


# ------------------------------------------------------------------------------------------------------ limits of a cue


def test_a_cue_may_be_as_long_as_it_may() -> None:
    """Spaces count as characters. A duration or gap of exactly the limit is within it."""
    found = say("a b")  # a: 0.1 to 0.2 s; the space 0.6; b: 1.1 to 1.2
    assert texts(found, max_characters=2, max_gap=9) == ["a", "b"]
    assert texts(found, max_characters=3, max_gap=9) == ["a b"]
    assert texts(found, max_duration=1.1, max_gap=9) == ["a b"]
    assert texts(found, max_duration=1.099, max_gap=9) == ["a", "b"]
    assert texts(found, max_gap=0.9) == ["a b"]
    assert texts(found, max_gap=0.899) == ["a", "b"]


@pytest.mark.parametrize("frame_duration", [0.1, 0.02, 1 / 30, 0.04, 0.0125, 0.023219954648526078])
def test_limits_are_of_what_is_shown(frame_duration: float) -> None:
    """Rounding errors do not matter: a cue as long as the limit is within it, for any frame duration."""
    found = say("a b", frame_duration=frame_duration, offset=1 / 3)
    ((_, start, end),) = cues(found, max_gap=99)
    assert texts(found, max_duration=round(end - start, 3), max_gap=99) == ["a b"]
    assert texts(found, max_duration=round(end - start, 3) - 0.001, max_gap=99) == ["a", "b"]


def test_the_length_of_a_cue_is_that_of_all_its_words() -> None:
    found = say("aa bb cc dd ee")
    assert texts(found, max_characters=8, max_gap=9, max_duration=99) == ["aa bb cc", "dd ee"]
    assert texts(found, max_characters=7, max_gap=9, max_duration=99) == ["aa bb", "cc dd", "ee"]
    assert [end - start for _, start, end in cues(found, max_gap=9, max_duration=99)] == [pytest.approx(6.6)]


def test_default_limits() -> None:
    """84 characters, 6 s, 0.6 s."""
    words = " ".join(["abcdef"] * 13)  # 12 are 83 characters
    assert texts(say(words, step=1, frame_duration=0.01)) == [" ".join(["abcdef"] * 12), "abcdef"]
    assert texts(say("abc defg", frame_duration=0.16)) == ["abc", "defg"]  # 5.76 s fits, the gap does not
    assert texts(say("abc defg", frame_duration=0.16), max_gap=9) == ["abc defg"]
    assert texts(say("abc defg", frame_duration=0.17), max_gap=9) == ["abc", "defg"]


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("a. b", ["a.", "b"]),
        ("a! b", ["a!", "b"]),
        ("a? b", ["a?", "b"]),
        ("a… b", ["a…", "b"]),
        ('a." b', ['a."', "b"]),
        ("a.) b", ["a.)", "b"]),
        ("a.” b", ["a.”", "b"]),
        ("a.»' b", ["a.»'", "b"]),
        ("a, b", ["a, b"]),
        ("a; b", ["a; b"]),
        ("3.5 b", ["3.5 b"]),
        ("a.b c", ["a.b c"]),
        ("a؟ b", ["a؟", "b"]),
        ("a۔ b", ["a۔", "b"]),  # noqa: RUF001
        ("a। b", ["a।", "b"]),
        ("a። b", ["a።", "b"]),
    ],
)
@pytest.mark.parametrize("heard", [False, True])
def test_sentences(text: str, right: list[str], heard: bool) -> None:
    """The mark may be a token or be left out. The cue ends after it, and shows it."""
    unheard = "" if heard else "".join(set(text) - set("abc 35"))
    assert texts(say(text, unheard=unheard), max_gap=9) == right


@pytest.mark.parametrize("name", ["max_characters", "max_duration", "max_gap"])
def test_bad_limits(name: str) -> None:
    options: dict[str, Any]
    for value, error in ((-1, ValueError), (float("nan"), ValueError), ("5", TypeError), (True, TypeError)):
        options = {name: value}
        with pytest.raises(error, match=f"{name} is"):
            say("a").to_srt(**options)
    assert texts(say("a b"), **{name: float("inf")}, max_gap=9) if name != "max_gap" else True


# ---------------------------------------------------------------------------------------------------------- time stamps


def stamps(found: Alignment, **options: Any) -> list[str]:
    return re.findall(r"<(00:[\d:.]+)>", found.to_vtt(word_times=True, max_gap=99, max_duration=999, **options))


def words_at(*times: tuple[float, float]) -> Alignment:
    tokens = tuple(AlignedToken("a", 1, n, n + 1, -0.5, None, *time) for n, time in enumerate(times))
    words = tuple(AlignedWord("a", t.start, t.end, -0.5, None, (t,)) for t in tokens)
    return Alignment(" ".join("a" * len(times)), tokens, words, -1.0, 99, 0.1)


def test_time_stamps_follow_one_another() -> None:
    """Each is after the start of the cue and the stamp before it, and before the end of the cue, to the millisecond."""
    assert stamps(words_at((0, 1), (1, 2), (2, 3))) == ["00:00:01.000", "00:00:02.000"]
    assert stamps(words_at((1, 2), (1, 3), (2, 4))) == ["00:00:02.000"]
    assert stamps(words_at((1, 2), (1.0004, 3))) == []
    assert stamps(words_at((1, 2), (1.0006, 3))) == ["00:00:01.001"]
    assert stamps(words_at((1, 2), (1.5, 2), (1.5001, 2), (2, 2))) == ["00:00:01.500"]


def test_a_time_is_rounded() -> None:
    found = words_at((1.0005, 2.0004))
    assert cues(found) == [("a", 1.001, 2.0)]
    assert "00:00:01.001 --> 00:00:02.000" in found.to_vtt()
    assert cues(words_at((3599.9996, 3600.1))) == [("a", 3600.0, 3600.1)]
    assert "01:00:00.000 --> 01:00:00.100" in words_at((3599.9996, 3600.1)).to_vtt()
    assert "100:00:01,000 --> 100:00:02,000" in words_at((360001, 360002)).to_srt()


def test_a_cue_lasts_a_millisecond_at_least() -> None:
    """A cue that ends when it starts is never shown, and is invalid in WebVTT."""
    for write in (Alignment.to_srt, Alignment.to_vtt):
        assert re.search(r"01[.,]000 --> 00:00:01[.,]001", write(words_at((1, 1))))
    assert len(list(webvtt.from_string(words_at((1, 1)).to_vtt()))) == 1


# -------------------------------------------------------------------------------------------------------- hostile texts


HOSTILE = [
    "<i>a</i>", "</b>", "<font color='x'>", "{\\an8}a", "{b}a{/b}", "a-->b", "-->", "a --> b", "&lt;", "&amp;",
    "42", "1\n2", "00:00:01,000 --> 00:00:02,000", "0:00:01.5 0:00:02.5", "WEBVTT", "NOTE a", "STYLE", "<c.x>a</c>",
    "<00:00:01.000>a", "\\N", "a\x00b", "a\x1bb", "\ufeffa", "a\ud800b", "a\u2028b", "a\u200bb", "😀",
    ";;", '"', "'", "\\",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts(text: str, tmp_path: Path) -> None:
    """One cue is written, and three readers find one. Only control characters are replaced."""
    pysubs2 = pytest.importorskip("pysubs2")
    found = say(f"x {text} y")
    right = " ".join(re.sub("[\x00\x1b\ud800]", "\ufffd", f"x {text} y").split())
    limits: dict[str, Any] = {"max_characters": 999, "max_duration": 999.0, "max_gap": 999.0}
    levels: tuple[Level | None, ...] = (None, "lines")
    for level in levels:
        if level == "lines" and found.lines:
            continue
        found.to_srt(tmp_path / "a.srt", **limits, level=level)
        assert (tmp_path / "a.srt").read_text(encoding="utf-8").count("-->") == 1
        (cue,) = srt.parse((tmp_path / "a.srt").read_text(encoding="utf-8"))
        assert cue.content.replace("\u200b", "") == right.replace("\u200b", "")
        (event,) = pysubs2.load(str(tmp_path / "a.srt"), keep_unknown_html_tags=True)
        assert event.text.replace("\u200b", "") == right.replace("\u200b", "")
        found.to_vtt(tmp_path / "a.vtt", **limits, word_times=True, level=level)
        (caption,) = webvtt.read(str(tmp_path / "a.vtt"))
        assert html.unescape(caption.text) == right


def test_vtt_escapes_what_it_must_and_no_more() -> None:
    assert "x &lt;&amp;&gt;\"' y\n" in say("x <&>\"' y").to_vtt(max_gap=9)


@settings(max_examples=150, deadline=None)
@given(st.text(min_size=1, max_size=12), st.booleans())
def test_any_text_comes_back(text: str, spaced: bool) -> None:
    """Words of any characters: two libraries read all of the text again, in order."""
    text = " ".join(text) if spaced else text
    words = text.split()
    if not words:
        return
    found = place(text, words)
    shown = "".join(cue.text for cue in webvtt.from_string(found.to_vtt(max_gap=0)))
    right = re.sub("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]", "\ufffd", "".join(words))
    assert "".join(html.unescape(shown).split()) == right
    shown = "".join(cue.content for cue in srt.parse(found.to_srt(max_gap=0)))
    assert "".join(shown.replace("\u200b", "").split()) == right.replace("\u200b", "")


def test_tokens_with_white_space() -> None:
    """A token of a line end starts no line in a cue. A cue of white space only is left out."""
    token = [
        AlignedToken(text, 1, n, n + 1, -0.5, None, n, n + 1.0) for n, text in enumerate(["a", "\n", "\n", "b", " "])
    ]
    found = Alignment("a\n\nb ", tuple(token), (), -1.0, 5, 1.0)
    assert texts(found, level="tokens", max_gap=9) == ["a  b"]
    assert texts(found, level="tokens", max_characters=0) == ["a", "b"]
    assert found.to_srt(level="tokens", max_characters=0).splitlines()[4] == "2"


def test_nothing_is_said() -> None:
    empty = Alignment("", (), (), 0.0, 5, 0.1)
    assert empty.to_srt() == "\n"
    assert list(webvtt.from_string(empty.to_vtt())) == []
    assert empty.to_srt(level="lines") == "\n"
