"""Cues: where they end, what they show, and that readers of their own get it back."""

from __future__ import annotations

import html
import itertools
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctckit import AlignedToken, AlignedWord, Alignment
from ctckit.output.line_breaks import breaks_line, ends_clause, ends_sentence, is_grapheme_boundary, split_gap
from ctckit.output.spans import Level
from tests.tools.known_times import place, say

srt = pytest.importorskip("srt")
webvtt = pytest.importorskip("webvtt")
regex = pytest.importorskip("regex")

CHINESE = "今天天气很好。我们去公园散步。晚上再一起吃饭。"
SENTENCES = ["今天天气很好。", "我们去公园散步。", "晚上再一起吃饭。"]


def cues(found: Alignment, **options: Any) -> list[tuple[str, float, float]]:
    """Read cues with another library."""
    return [
        (cue.content, round(cue.start.total_seconds(), 3), round(cue.end.total_seconds(), 3))
        for cue in srt.parse(found.to_srt(**options))
    ]


def texts(found: Alignment, **options: Any) -> list[str]:
    return [text for text, _, _ in cues(found, **options)]


# --------------------------------------------------------------------------------------------------- limits of a cue


def test_a_cue_may_be_as_long_as_it_may() -> None:
    """Characters count with the space; a duration or gap of exactly the limit is within it."""
    found = say("a b")  # a: 0.1 to 0.2 s; the space 0.6; b: 1.1 to 1.2
    assert texts(found, max_characters=2, max_gap=9) == ["a", "b"]
    assert texts(found, max_characters=3, max_gap=9) == ["a b"]
    assert texts(found, max_duration=1.1, max_gap=9) == ["a b"]
    assert texts(found, max_duration=1.099, max_gap=9) == ["a", "b"]
    assert texts(found, max_gap=0.9) == ["a b"]
    assert texts(found, max_gap=0.899) == ["a", "b"]


@pytest.mark.parametrize("frame_duration", [0.1, 0.02, 1 / 30, 0.04, 0.0125, 0.023219954648526078])
def test_limits_are_of_what_is_shown(frame_duration: float) -> None:
    """No bit of a float decides: whatever the frames, a limit that is the cue's own duration lets it be."""
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
    assert texts(say("abc defg", frame_duration=0.16)) == ["abc", "defg"]  # 5.76 s would do, but for the gap
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
    """The mark may be a token or be left out; the cue ends there, and shows it."""
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


# ----------------------------------------------------------------------------------------------- texts without spaces


def test_chinese_sentences() -> None:
    found = say(CHINESE, unheard="。", frame_duration=0.04, step=20)
    assert texts(found) == SENTENCES
    starts = [0, 6, 13]
    for (_, start, end), first, last in zip(cues(found), starts, [5, 12, 19], strict=True):
        assert start == pytest.approx(0.04 * (1 + 20 * first), abs=1e-3)
        assert end == pytest.approx(0.04 * (2 + 20 * last), abs=1e-3)


def test_marks_that_are_tokens() -> None:
    assert texts(say(CHINESE)) == SENTENCES


@pytest.mark.parametrize("pace", [1, 2, 5, 20])
@pytest.mark.parametrize(
    "text",
    [
        "今天天气很好我们去公园散步晚上再一起吃饭" * 4,
        "きょうはてんきがいいですねこうえんへいきましょう" * 4,
        "เมื่อวานนี้ฉันไปตลาดกับน้ำใจแล้วก็กลับบ้าน" * 4,
        "ພາສາລາວເປັນພາສາທີ່ໃຊ້ໃນປະເທດລາວ" * 4,
        "ខ្ញុំចូលចិត្តរៀនភាសាខ្មែរ" * 4,
        "helloworldhowareyoutoday" * 4,
        "안녕하세요오늘은날씨가좋네요" * 8,
    ],
)
def test_limits_hold_without_spaces(text: str, pace: int) -> None:
    """No cue is too long, none has a half character, and together they are the text."""
    found = place(text, [text], step=pace, frame_duration=0.04)
    for options in ({}, {"max_characters": 20}, {"max_duration": 4.5}):
        shown = cues(found, max_gap=9, **options)
        assert "".join(text for text, _, _ in shown) == text
        duration = options.get("max_duration", 6.0)
        # A word of a script with spaces is broken where it is longer than any word is: 42 characters, or 6 s.
        if text[0] == "h" or text[0] == "안":
            duration = 6.0
        assert max(end - start for _, start, end in shown) <= duration + 1e-9
        assert max(len(text) for text, _, _ in shown) <= max(options.get("max_characters", 84), 42 * (text[0] in "h안"))
        assert len(shown) > 1 or end_of(shown) <= duration
        at = 0
        for content, _, _ in shown[:-1]:
            at += len(content)
            assert at in graphemes(text)
            assert content[0] not in "ะาำๅๆາຳ"
            assert content[-1] not in "เแโใไເແໂໃໄ"


def graphemes(text: str) -> set[int]:
    return {match.start() for match in regex.finditer(r"\X", text)}


def end_of(shown: list[tuple[str, float, float]]) -> float:
    return shown[-1][2] - shown[0][1]


def test_a_pause_within_a_word() -> None:
    """Between tokens that follow each other closely, a pause is one as between words."""
    found = say("今天天气很好我们去", pauses={4: 10}, step=2)
    assert cues(found) == [("今天天气很", 0.1, 1.0), ("好我们去", 2.1, 2.8)]
    assert texts(found, max_gap=1.1) == ["今天天气很好我们去"]
    assert texts(found, max_gap=1.099) == ["今天天气很", "好我们去"]
    assert texts(say("今天", pauses={0: 30})) == ["今", "天"]


def test_slow_speech_is_no_pause() -> None:
    """A peaky model's tokens are a frame each: 0.8 s from token to token is slow speech, not eight pauses."""
    assert texts(say("今天天气很好", frame_duration=0.04, step=20)) == ["今天天气很好"]
    assert texts(say("今天天气很好", frame_duration=0.04, step=20, pauses={2: 30})) == ["今天天", "气很好"]
    # Longer than three times the usual gap, here 0.4 s, is one.
    assert texts(say("今天天气很好", frame_duration=0.04, step=11, pauses={2: 20})) == ["今天天气很好"]
    assert texts(say("今天天气很好", frame_duration=0.04, step=11, pauses={2: 21})) == ["今天天", "气很好"]
    # Longer than 2.5 times max_gap is a pause in any case: 1.5 s, but not 1.4.
    assert texts(say("今天天气", step=15)) == ["今天天气"]
    assert texts(say("今天天气", step=17)) == ["今", "天", "天", "气"]
    assert texts(say("今天", step=3), max_gap=0) == ["今", "天"]


def test_the_usual_gap_is_that_behind_the_last_letter() -> None:
    """Where words of several letters stand among characters, their own length is no gap."""
    found = say("abc天def气ghi好", step=3, pauses={3: 10})
    assert texts(found) == ["abc天", "def气ghi好"]


def test_pauses_of_words_with_spaces_stay_within_them() -> None:
    found = say("hello you", pauses={2: 20})
    assert texts(found) == ["hello", "you"]
    assert texts(found, max_gap=0.9, max_duration=99) == ["hello you"]


def test_a_full_cue_ends_after_a_comma() -> None:
    """In its second half; else at the longest gap there; else as late as it can."""
    assert texts(say("今天天气很好，我们去公园", unheard="，"), max_characters=10, max_duration=99) == [  # noqa: RUF001
        "今天天气很好，",  # noqa: RUF001
        "我们去公园",
    ]
    assert texts(say("今天天气很好我们去公园", pauses={6: 1}), max_characters=10, max_duration=99) == [
        "今天天气很好我",
        "们去公园",
    ]
    assert texts(say("今天天气很好我们去公园", pauses={1: 1}), max_characters=10, max_duration=99) == [
        "今天天气很好我们去公",
        "园",
    ]
    assert texts(say("今，天天气很好我们去公园", unheard="，"), max_characters=11, max_duration=99) == [  # noqa: RUF001
        "今，天天气很好我们去公",  # noqa: RUF001
        "园",
    ]
    assert texts(say("今天天气 很好我们去公园"), max_characters=8, max_gap=9, max_duration=99) == [
        "今天天气",
        "很好我们去公园",
    ]
    # White space counts for more than a gap.
    assert texts(say("今天天气 很好我们去公园", pauses={5: 1}), max_characters=8, max_gap=9, max_duration=99) == [
        "今天天气",
        "很好我们去公园",
    ]
    longer = say("今天天气 很好我们去公园", pauses={5: 8})
    assert texts(longer, max_characters=8, max_gap=9, max_duration=99) == ["今天天气", "很好我们去公园"]


def test_a_comma_in_the_first_half_of_a_full_cue_ends_nothing() -> None:
    assert texts(say("好，天天天"), max_characters=4, max_gap=9, max_duration=99) == ["好，天天", "天"]  # noqa: RUF001
    assert texts(say("天好，天天"), max_characters=4, max_gap=9, max_duration=99) == ["天好，", "天天"]  # noqa: RUF001


def test_scripts_may_mix() -> None:
    """Latin words and numbers stay whole, and nothing is broken before a closing or after an opening mark."""
    text = "我用Python写3.5行代码，「你好」（很好）。ラーメンとカレー"  # noqa: RUF001
    for limit, unheard in itertools.product(range(1, 30), ("，「」（）。.", "")):  # noqa: RUF001
        found = say(text, unheard=unheard)
        shown = texts(found, max_characters=limit, max_gap=99, max_duration=99)
        assert "".join(shown) == text
        assert all(one[0] not in "，」）。ーン" or one[0] == "ン" for one in shown)  # noqa: RUF001
        assert all(one[-1] not in "「（" for one in shown)  # noqa: RUF001
        for whole in ("Python", "3.5"):
            assert any(whole in one for one in shown), limit
        assert max(map(len, shown)) <= max(limit, 7)  # with a mark before or after Python


def test_graphemes_stay_whole() -> None:
    """Accents that are characters and tokens of their own; flags; families; Hangul in letters."""
    for text in (
        "e\u0301a\u0308o\u0302" * 20,
        "🇩🇪🇫🇷🇯🇵" * 9,
        "👨\u200d👩\u200d👧" * 12,
        "각" * 30,
        "न\u0940त\u093f" * 20,
    ):
        found = place(text, [text])
        for options in ({"max_characters": 43}, {"max_characters": 43, "max_duration": 0.1}):
            at = 0
            for one in texts(found, **options)[:-1]:
                at += len(one)
                assert at in graphemes(text), (text, at)
    found = say("ae\u0301e\u0301a")
    assert cues(found, level="tokens", max_characters=0) == [
        ("a", 0.1, 0.2), ("e\u0301", 0.6, 1.2), ("e\u0301", 1.6, 2.2), ("a", 2.6, 2.7),
    ]  # fmt: skip


def test_long_words_of_other_scripts() -> None:
    """A word of 42 characters and 6 s is a word, and stays; a longer one is a text without spaces."""
    assert texts(say("a" * 42, step=2, frame_duration=0.05), max_characters=5) == ["a" * 42]
    assert texts(say("ab" * 21 + "a", step=1, frame_duration=0.01), max_characters=5)[0] == "ababa"
    assert texts(say("ab", pauses={0: 54}), max_duration=1) == ["ab"]  # 0.1 to 6.1 s
    assert texts(say("ab", pauses={0: 55}), max_duration=1) == ["a", "b"]
    assert texts(say("ab", pauses={0: 80}), max_duration=9, max_gap=9) == ["ab"]


def test_a_full_stop_within_a_long_word() -> None:
    """It ends a sentence only where the word ends, as in an address."""
    text = "a" * 20 + "." + "b" * 60
    shown = texts(place(text, [text]), max_characters=43, max_duration=99)
    assert shown == [text[:43], text[43:]]


def test_given_words() -> None:
    """They are joined as the text has them, and broken only where they do not fit, or hold a sentence's end."""
    words = ["今天", "天气", "很好", "我们", "去", "公园", "散步", "晚上", "再", "一起", "吃饭"]
    found = place(CHINESE, words)
    assert texts(found, max_gap=9) == SENTENCES
    assert texts(found, max_characters=5, max_gap=9) == [
        "今天天气", "很好。", "我们去公园", "散步。", "晚上再一起", "吃饭。",
    ]  # fmt: skip
    assert texts(found, max_characters=1, max_gap=9)[:3] == ["今", "天", "天"]
    assert "今天<00:00:01.100>天气<00:00:02.100>很好。\n" in found.to_vtt(word_times=True, max_gap=9)
    assert texts(place(CHINESE, [CHINESE[:-1]]), max_gap=9) == SENTENCES
    two = place("今天。好天气", ["今天。好", "天气"])
    assert texts(two, max_gap=9) == ["今天。", "好天气"]
    assert texts(place("今天 天气", ["今天", "天气"]), max_gap=9) == ["今天 天气"]
    slow = ["今天天气", "好"]
    assert texts(place("今天天气好", slow), max_duration=1.0) == ["今天", "天气", "好"]
    assert texts(place("今天天气好", slow), max_duration=1.6) == ["今天天气", "好"]
    assert texts(place("今天天气好", slow, pauses={1: 30})) == ["今天", "天气好"]


def test_given_words_stay_whole_where_they_fit() -> None:
    """The last, too, and up to the limit itself; what spaces part may be broken."""
    found = place("今天好", ["今", "天好"])  # 天: 0.6 to 0.7 s; 好: 1.1 to 1.2
    assert texts(found, max_gap=9, max_characters=2) == ["今", "天好"]
    assert texts(found, max_gap=9, max_duration=0.6) == ["今", "天好"]
    assert texts(found, max_gap=9, max_duration=0.599) == ["今", "天", "好"]
    assert texts(place("今天天气", ["今天", "天气"]), max_gap=9, max_characters=3) == ["今天", "天气"]
    assert texts(say("今天 天气很好我们"), max_gap=9, max_characters=6, max_duration=99) == ["今天 天气很", "好我们"]


def test_a_vocabulary_without_words() -> None:
    """Tokens only: the text is found by them."""
    found = say(CHINESE, unheard="。")
    only_tokens = Alignment(found.text, found.tokens, (), -1.0, found.frames, 0.1)
    assert texts(only_tokens, max_gap=9) == SENTENCES
    assert texts(only_tokens, max_gap=9, level="tokens", max_duration=99) == [CHINESE.replace("。", "")]
    spaced = say("ab cd. ef", unheard=".")
    tokens = tuple(token for token in spaced.tokens if token.text != "|")
    assert texts(Alignment("ab cd. ef", tokens, (), -1.0, 99, 0.1), max_gap=9) == ["ab cd.", "ef"]
    assert texts(Alignment("nowhere", tokens, (), -1.0, 99, 0.1), max_gap=9, max_duration=99) == ["abcdef"]
    assert texts(Alignment("abc.", tokens, (), -1.0, 99, 0.1), max_gap=9, max_duration=99) == ["abc."]  # half of them
    assert texts(Alignment("ab.", tokens, (), -1.0, 99, 0.1), max_gap=9, max_duration=99) == ["abcdef"]
    assert texts(Alignment("a b c d e f", tokens, (), -1.0, 99, 0.1), max_gap=9, max_duration=99) == ["abcdef"]


def test_words_that_are_not_in_the_text() -> None:
    token = AlignedToken("a", 1, 0, 2, -0.5, None, 0.0, 0.2)
    after = AlignedToken("b", 1, 2, 3, -0.5, None, 0.2, 0.3)
    for spans in ((None, None), ((0, 1), (7, 8)), ((1, 2), (0, 1)), ((0, 0), (0, 1))):
        words = (
            AlignedWord("x.", 0, 2, -0.5, None, (token,), spans[0]),
            AlignedWord("y", 2, 3, -0.5, None, (after,), spans[1]),
        )
        found = Alignment("??", (token, after), words, -1.0, 3, 0.1)
        assert texts(found) == ["x.", "y"]


def test_words_that_are_not_in_the_text_have_spaces_between_them() -> None:
    words = place("x. yes no", ["x.", "yes", "no"]).words
    tokens = tuple(token for word in words for token in word.tokens)
    assert texts(Alignment("??", tokens, words, -1.0, 99, 0.1), max_gap=9) == ["x.", "yes no"]
    assert texts(Alignment("??", tokens, words, -1.0, 99, 0.1), max_gap=9, max_characters=5) == ["x.", "yes", "no"]


# --------------------------------------------------------------------------------------------------- what is left out


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("ab 12 cd", ["ab 12 cd"]),
        ("12 ab", ["12 ab"]),
        ("ab 12", ["ab 12"]),
        ("ab . cd", ["ab .", "cd"]),
        ("ab. - cd", ["ab.", "- cd"]),
        ("- ab. - cd.", ["- ab.", "- cd."]),
        ("« ab ! » cd", ["« ab ! »", "cd"]),
        ("ab, « cd »", ["ab, « cd »"]),
        ("¿ ab ? ¡ cd !", ["¿ ab ?", "¡ cd !"]),
        ("ab .\n12 cd", ["ab .", "12 cd"]),
        ("ab ? 12 ! cd", ["ab ?", "12 ! cd"]),
        ("(ab) (12) (cd.)", ["(ab) (12) (cd.)"]),
        ("  ab \t cd  ", ["ab cd"]),
    ],
)
def test_what_was_left_out_is_shown(text: str, right: list[str]) -> None:
    found = say(text, unheard="".join(set(text) - set("abcd \n\t")))
    assert texts(found, max_gap=9) == right
    timed = found.to_vtt(max_gap=9, word_times=True)
    assert [cue.text for cue in webvtt.from_string(timed)] == right


@pytest.mark.parametrize(
    ("before", "gap", "right"),
    [
        ("a", " ", 1), ("a", ", ", 2), ("a", "。", 1), ("a", "。「", 1), ("a", "」「", 1), ("a.", " - ", 1),
        ("a.", " » ", 3), ("a", " 1 ", 3), ("a", " '", 1), ("a", "...", 3), ("a.", "x", 0),
        ("a", "?!x", 2), ("a", "", 0), ("a", " « ", 1), ("a", " ¿ ", 1), ("a", " ( ", 1), ("a.", " ! ", 3),
    ],
)  # fmt: skip
def test_gaps(before: str, gap: str, right: int) -> None:
    assert split_gap(before, gap) == right


def test_closing_marks_behind_a_sentence_belong_to_it() -> None:
    assert [split_gap("No.", gap) for gap in (")", '"', ") ", '" (')] == [1, 1, 2, 2]


@pytest.mark.parametrize("text", ["ab", "", "e\u0301", "ะเ"])
def test_a_text_starts_and_ends_between_characters(text: str) -> None:
    assert is_grapheme_boundary(text, 0)
    assert is_grapheme_boundary(text, len(text))


def test_a_clause_ends_at_its_last_character() -> None:
    assert [ends_clause(text) for text in ("abc,", "abc, ", 'abc,"', "a,b", ",bc", "")] == [True] * 3 + [False] * 3


def test_ends() -> None:
    assert [ends_sentence(text) for text in ("", "a", ".", "a.b", "a.»", "a？』", "a.“")] == [  # noqa: RUF001
        False, False, True, False, True, True, True,
    ]  # fmt: skip
    assert [ends_clause(text) for text in ("", "a,", "a，」", "a、", "a.")] == [  # noqa: RUF001
        False, True, True, True, False,
    ]  # fmt: skip
    assert not breaks_line("ab", 1)
    assert not breaks_line("éb", 1)
    assert breaks_line("好b", 1)
    assert breaks_line("b好", 1)


# ------------------------------------------------------------------------------------------------------- time stamps


def stamps(found: Alignment, **options: Any) -> list[str]:
    return re.findall(r"<(00:[\d:.]+)>", found.to_vtt(word_times=True, max_gap=99, max_duration=999, **options))


def words_at(*times: tuple[float, float]) -> Alignment:
    tokens = tuple(AlignedToken("a", 1, n, n + 1, -0.5, None, *time) for n, time in enumerate(times))
    words = tuple(AlignedWord("a", t.start, t.end, -0.5, None, (t,)) for t in tokens)
    return Alignment(" ".join("a" * len(times)), tokens, words, -1.0, 99, 0.1)


def test_time_stamps_follow_one_another() -> None:
    """Each is behind the start of the cue and the stamp before it, and before the cue's end, to the millisecond."""
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
    """A cue that ends when it starts is never shown, and malformed in WebVTT."""
    for write in (Alignment.to_srt, Alignment.to_vtt):
        assert re.search(r"01[.,]000 --> 00:00:01[.,]001", write(words_at((1, 1))))
    assert len(list(webvtt.from_string(words_at((1, 1)).to_vtt()))) == 1


# ------------------------------------------------------------------------------------------------------- hostile texts

HOSTILE = [
    "<i>a</i>", "</b>", "<font color='x'>", "{\\an8}a", "{b}a{/b}", "a-->b", "-->", "a --> b", "&lt;", "&amp;",
    "42", "1\n2", "00:00:01,000 --> 00:00:02,000", "0:00:01.5 0:00:02.5", "WEBVTT", "NOTE a", "STYLE", "<c.x>a</c>",
    "<00:00:01.000>a", "\\N", "a\x00b", "a\x1bb", "\ufeffa", "a\ud800b", "a\u2028b", "a\u200bb", "😀",
    ";;", '"', "'", "\\",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts(text: str, tmp_path: Path) -> None:
    """One cue in, one out, for three readers, and nothing but control characters is replaced."""
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
    """Words of any characters, read again by two libraries: as many cues, in order, with all of the text."""
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
    """A token of a line end starts no line, and a cue of nothing but white space is none."""
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
