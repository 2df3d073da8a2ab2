"""Where a text is split into cues: in scripts without spaces, in words given by the caller, around marks left out."""

from __future__ import annotations

import itertools

import pytest

from ctckit import AlignedToken, AlignedWord, Alignment
from tests.tools.known_times import place, say
from tests.tools.subtitle_cues import cues, texts

pytest.importorskip("srt")
webvtt = pytest.importorskip("webvtt")
regex = pytest.importorskip("regex")

CHINESE = "今天天气很好。我们去公园散步。晚上再一起吃饭。"
SENTENCES = ["今天天气很好。", "我们去公园散步。", "晚上再一起吃饭。"]


# ------------------------------------------------------------------------------------------------- texts without spaces


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
    """No cue is too long, none cuts a character, and together they are the text."""
    found = place(text, [text], step=pace, frame_duration=0.04)
    for options in ({}, {"max_characters": 20}, {"max_duration": 4.5}):
        shown = cues(found, max_gap=9, **options)
        assert "".join(text for text, _, _ in shown) == text
        duration = options.get("max_duration", 6.0)
        # A word of a script with spaces is broken only if it is longer than 42 characters or 6 s.
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
    """Between tokens that follow each other closely, a pause counts as it does between words."""
    found = say("今天天气很好我们去", pauses={4: 10}, step=2)
    assert cues(found) == [("今天天气很", 0.1, 1.0), ("好我们去", 2.1, 2.8)]
    assert texts(found, max_gap=1.1) == ["今天天气很好我们去"]
    assert texts(found, max_gap=1.099) == ["今天天气很", "好我们去"]
    assert texts(say("今天", pauses={0: 30})) == ["今", "天"]


def test_slow_speech_is_no_pause() -> None:
    """The tokens of a peaky model last one frame: 0.8 s from token to token is slow speech, not a pause."""
    assert texts(say("今天天气很好", frame_duration=0.04, step=20)) == ["今天天气很好"]
    assert texts(say("今天天气很好", frame_duration=0.04, step=20, pauses={2: 30})) == ["今天天", "气很好"]
    # A gap longer than 3 times the usual one, here 0.4 s, is a pause.
    assert texts(say("今天天气很好", frame_duration=0.04, step=11, pauses={2: 20})) == ["今天天气很好"]
    assert texts(say("今天天气很好", frame_duration=0.04, step=11, pauses={2: 21})) == ["今天天", "气很好"]
    # A gap longer than 2.5 times max_gap is always a pause: 1.5 s, but not 1.4 s.
    assert texts(say("今天天气", step=15)) == ["今天天气"]
    assert texts(say("今天天气", step=17)) == ["今", "天", "天", "气"]
    assert texts(say("今天", step=3), max_gap=0) == ["今", "天"]


def test_the_usual_gap_is_that_behind_the_last_letter() -> None:
    """The length of a word of several letters is not part of the gap."""
    found = say("abc天def气ghi好", step=3, pauses={3: 10})
    assert texts(found) == ["abc天", "def气ghi好"]


def test_pauses_of_words_with_spaces_stay_within_them() -> None:
    found = say("hello you", pauses={2: 20})
    assert texts(found) == ["hello", "you"]
    assert texts(found, max_gap=0.9, max_duration=99) == ["hello you"]


def test_a_full_cue_ends_after_a_comma() -> None:
    """In its second half, else at the longest gap there, else as late as possible."""
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
    # White space comes before a gap.
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
    """Latin words and numbers stay whole. No cue starts with a closing mark or ends with an opening mark."""
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
    """Accents that are separate characters and tokens; flags; families; Hangul in letters."""
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
    """A word of 42 characters and 6 s stays whole. A longer one is a text without spaces."""
    assert texts(say("a" * 42, step=2, frame_duration=0.05), max_characters=5) == ["a" * 42]
    assert texts(say("ab" * 21 + "a", step=1, frame_duration=0.01), max_characters=5)[0] == "ababa"
    assert texts(say("ab", pauses={0: 54}), max_duration=1) == ["ab"]  # 0.1 to 6.1 s
    assert texts(say("ab", pauses={0: 55}), max_duration=1) == ["a", "b"]
    assert texts(say("ab", pauses={0: 80}), max_duration=9, max_gap=9) == ["ab"]


def test_a_full_stop_within_a_long_word() -> None:
    """It ends a sentence only at the end of the word, as in an address."""
    text = "a" * 20 + "." + "b" * 60
    shown = texts(place(text, [text]), max_characters=43, max_duration=99)
    assert shown == [text[:43], text[43:]]


# -------------------------------------------------------------------------------------------------- words of the caller


def test_given_words() -> None:
    """They are joined as in the text, and broken only if they do not fit or hold the end of a sentence."""
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
    """Also the last one, and up to the limit itself. Words between spaces may be broken."""
    found = place("今天好", ["今", "天好"])  # 天: 0.6 to 0.7 s; 好: 1.1 to 1.2
    assert texts(found, max_gap=9, max_characters=2) == ["今", "天好"]
    assert texts(found, max_gap=9, max_duration=0.6) == ["今", "天好"]
    assert texts(found, max_gap=9, max_duration=0.599) == ["今", "天", "好"]
    assert texts(place("今天天气", ["今天", "天气"]), max_gap=9, max_characters=3) == ["今天", "天气"]
    assert texts(say("今天 天气很好我们"), max_gap=9, max_characters=6, max_duration=99) == ["今天 天气很", "好我们"]


def test_a_vocabulary_without_words() -> None:
    """Only tokens are known. They are found in the text."""
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


# ------------------------------------------------------------------------------------------------------------- left out


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
