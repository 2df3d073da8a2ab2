"""Lines of a transcript: their text, their spans, and their form in each format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import ctckit
from ctckit import AlignedLine, AlignedToken, AlignedWord, Alignment
from ctckit.output.lines import line_ranges, lines_of, places_in
from tests.tools.known_times import say

POEM = "ab cd\nef. gh\n\nij"
LINES = ["ab cd", "ef. gh", "ij"]

# The first character is in frame 1, and each next one 5 frames later, including spaces and line ends.
FRAMES = [(1, 22), (31, 52), (61, 67)]


def poem() -> Alignment:
    return say(POEM, unheard=".", offset=1.0)


# ------------------------------------------------------------------------------------------------------------ the lines


def test_lines_have_text_times_and_words() -> None:
    found = poem()
    assert [line.text for line in found.lines] == LINES
    assert [(line.start, line.end) for line in found.lines] == FRAMES
    assert [[word.text for word in line.words] for line in found.lines] == [["ab", "cd"], ["ef.", "gh"], ["ij"]]
    for line in found.lines:
        assert line.start_time == pytest.approx(1.0 + 0.1 * line.start)
        assert line.end_time == pytest.approx(1.0 + 0.1 * line.end)
        assert len(line) == line.end - line.start
    assert tuple(word for line in found.lines for word in line.words) == found.words


def test_scores_are_means_over_frames() -> None:
    """Two words of 1 and 3 frames: the mean over frames differs from the mean over words."""
    probs = torch.full((8, 4), 0.1)
    for frame, (token, p) in enumerate(
        [(0, 0.7), (2, 0.6), (1, 0.7), (3, 0.5), (3, 0.4), (3, 0.6), (1, 0.7), (2, 0.7)]
    ):
        probs[frame] = (1 - p) / 3
        probs[frame, token] = p
    found = ctckit.align(probs.log(), "a b\na", ["-", " ", "a", "b"])
    assert isinstance(found, Alignment)
    line, _ = found.lines
    assert [(token.start, token.end) for token in found.tokens] == [(1, 2), (2, 3), (3, 6), (6, 7), (7, 8)]
    right = torch.tensor([0.6, 0.5, 0.4, 0.6]).log().mean().item()
    assert line.score == pytest.approx(right, abs=1e-6)
    first, second = found.words[:2]
    assert first.confidence is not None
    assert second.confidence is not None
    assert line.confidence == pytest.approx((first.confidence + 3 * second.confidence) / 4)
    unsure = ctckit.align(probs.log(), "a b\na", ["-", " ", "a", "b"], confidence=False)
    assert isinstance(unsure, Alignment)
    assert [line.confidence for line in unsure.lines] == [None, None]
    assert [line.start_time for line in unsure.lines] == [None, None]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\v", "\f", "\x85", "\u2028", "\u2029", "\n\n\r\n", " \t\n "])
def test_all_line_ends(end: str) -> None:
    found = say(f"{end}ab c{end}d{end}")
    assert [line.text for line in found.lines] == ["ab c", "d"]
    assert [len(line.words) for line in found.lines] == [2, 1]


def test_one_line_ending_is_one() -> None:
    """A carriage return and a line feed are one line end, not a blank line between two."""
    assert line_ranges("a\r\nb\n\rc") == [(0, 1), (3, 4), (6, 7)]
    assert line_ranges(" \n\t") == []
    assert line_ranges("") == []


@pytest.mark.parametrize("text", ["", "ab", "ab cd", "\nab\r\n", "ab\tcd", "  \n"])
def test_a_single_line_is_none(text: str) -> None:
    found = say(text) if text.strip() else say("a")
    assert found.lines == ()
    assert "lines" not in found.to_dict()


def test_lines_of_which_nothing_is_left() -> None:
    """They are missing. A line that keeps one word is present with its whole text."""
    found = say("ab\n12\n3 cd 4\n5", unheard="12345")
    assert [(line.text, [word.text for word in line.words]) for line in found.lines] == [
        ("ab", ["ab"]),
        ("3 cd 4", ["cd"]),
    ]
    one = say("12\nab\n", unheard="12")
    assert [line.text for line in one.lines] == ["ab"]


def test_equal_lines_and_words_are_told_apart() -> None:
    found = say("la la\nla\nla la")
    assert [len(line.words) for line in found.lines] == [2, 1, 2]
    assert [line.start for line in found.lines] == [1, 31, 46]


def test_a_word_that_is_part_of_one_left_out() -> None:
    """Words are at their own places, not at the first place with the same letters."""
    words = (AlignedWord("a", 0, 1, -1.0, None, (AlignedToken("a", 1, 0, 1, -1.0),), (5, 6)),)
    (line,) = lines_of("1a1\n\na", words, [])
    assert line.text == "a"


def test_lines_without_words() -> None:
    """Without words, the tokens are found in the text. Tokens of white space are in no line."""
    names = ["今", "天", "\n", "天", "好", " "]
    tokens = [AlignedToken(name, 1, 2 * n, 2 * n + 1, -n, 0.5, n, n + 0.5) for n, name in enumerate(names)]
    assert [
        (line.text, line.start, line.end, line.start_time, line.end_time, line.score, line.words)
        for line in lines_of("今天\n天好 ", [], tokens)
    ] == [("今天", 0, 3, 0, 1.5, -0.5, ()), ("天好", 6, 9, 3, 4.5, -3.5, ())]
    unknown = AlignedToken("?", None, 3, 4, -1.0)  # not in the text: it is in the line of the token before it
    assert [line.end for line in lines_of("今天\n好", [], [*tokens[:2], unknown, tokens[4]])] == [4, 9]

    first = lines_of("今天\n好", [], [unknown, tokens[1], tokens[4]])  # or before all others: in the first line
    assert [(line.start, line.end) for line in first] == [(3, 3), (8, 9)]


def test_what_reaches_over_two_lines_is_in_its_first() -> None:
    """A token may span a line end, and so may a word that the caller names."""
    tokens = [AlignedToken("a\nb", 1, 0, 2, -1.0), AlignedToken("c", 2, 2, 3, -1.0)]
    words = [AlignedWord(token.text, token.start, token.end, -1.0, None, (token,)) for token in tokens]
    spans = [(0, 3), (4, 5)]
    placed = [AlignedWord(w.text, w.start, w.end, -1.0, None, w.tokens, s) for w, s in zip(words, spans, strict=True)]
    for some in ([], words, placed):
        found = lines_of("a\nb\nc", some, tokens)
        assert [(line.text, line.start, line.end) for line in found] == [("a", 0, 2), ("c", 2, 3)]


def test_a_word_with_the_white_space_before_it() -> None:
    """It is in the line of its first character, not in that of the white space."""
    tokens = [AlignedToken(name, n, n, n + 1, -1.0) for n, name in enumerate("ab")]
    words = [
        AlignedWord(f" {token.text}", token.start, token.end, -1.0, None, (token,), span)
        for token, span in zip(tokens, [(0, 2), (3, 5)], strict=True)
    ]
    assert [(line.text, line.start) for line in lines_of(" a\n b", words, tokens)] == [("a", 0), ("b", 1)]


def test_lines_without_words_in_json() -> None:
    tokens = (AlignedToken("今", 1, 0, 2, -1.0), AlignedToken("天", 2, 2, 3, -1.0))
    found = Alignment("今\n天", tokens, (), -2.0, 3, lines=lines_of("今\n天", [], tokens))
    assert [(line.text, line.words) for line in found.lines] == [("今", ()), ("天", ())]
    assert [line["words"] for line in found.to_dict()["lines"]] == [[0, 0], [0, 0]]
    assert Alignment.from_json(found.to_json()) == found


def test_rows_of_tokens_have_no_lines() -> None:
    found = ctckit.align(torch.zeros(9, 4).log_softmax(1), [1, 2])
    assert isinstance(found, Alignment)
    assert found.lines == ()


# ----------------------------------------------------------------------------------------------------- names in a text


@pytest.mark.parametrize(
    ("text", "names", "right"),
    [
        ("Hello", ["he", "llo"], [(0, 2), (2, 5)]),
        ("hello you", ["▁hel", "lo", "▁you"], [(0, 3), (3, 5), (6, 9)]),
        ("a ▁a", ["▁a"], [(0, 1)]),
        ("unable", ["un", "##able"], [(0, 2), (2, 6)]),
        ("low", ["lo", "w</w>"], [(0, 2), (2, 3)]),
        ("今。天", ["今", "天"], [(0, 1), (2, 3)]),
        ("aba", ["b", "b"], [(1, 2), None]),
        ("ab", ["a", "<unk>", "b"], [(0, 1), None, (1, 2)]),
        ("", ["a"], [None]),
        ("a", [], []),
        # Byte-level: 好 is E5 A5 BD, é is C3 A9.
        ("好é", ["å¥", "½", "Ã©"], [(0, 1), (0, 1), (1, 2)]),
        ("é", ["ĠÃ©"], [(0, 1)]),
        (" é", ["ĠÃ©"], [(0, 2)]),
        ("é a", ["ĠÃ", "©", "Ġa"], [(0, 1), (0, 1), (1, 3)]),
        ("é", ["Ã", "©", "Ã"], [None, None, None]),  # one byte too many, which is not a space
        ("İx", ["İ", "x"], [(0, 1), (1, 2)]),  # İ in lower case is two characters
    ],
)
def test_places(text: str, names: list[str], right: list[tuple[int, int] | None]) -> None:
    assert places_in(text, names) == right


# -------------------------------------------------------------------------------------------------------------- formats


def test_json_has_the_lines(tmp_path: Path) -> None:
    found = poem()
    values = json.loads(found.to_json(tmp_path / "a.json"))
    assert [line["text"] for line in values["lines"]] == LINES
    assert [line["words"] for line in values["lines"]] == [[0, 2], [2, 4], [4, 5]]
    assert [word["span"] for word in values["words"]] == [[0, 2], [3, 5], [6, 9], [10, 12], [14, 16]]
    assert values["lines"][1]["start_time"] == found.lines[1].start_time
    again = Alignment.from_json(tmp_path / "a.json")
    assert again == found
    assert again.lines[1].words[0] is again.words[2]
    assert again.to_json() == found.to_json()


def test_data_frames_have_the_lines() -> None:
    pytest.importorskip("pandas")
    found = poem()
    lines, words, tokens = (found.to_dataframe(level) for level in ("lines", "words", "tokens"))
    assert lines["text"].tolist() == LINES
    assert lines["start"].tolist() == [line.start for line in found.lines]
    assert lines["end_time"].tolist() == [line.end_time for line in found.lines]
    assert lines.columns.tolist() == ["text", "start", "end", "start_time", "end_time", "score", "confidence"]
    assert words["line"].tolist() == [0, 0, 1, 1, 2]
    assert tokens["line"].fillna(-1).tolist() == [0, 0, -1, 0, 0, -1, 1, 1, -1, 1, 1, -1, 2, 2]
    assert say("ab cd").to_dataframe("lines")["text"].tolist() == ["ab cd"]


def test_a_textgrid_has_the_lines(tmp_path: Path) -> None:
    pytest.importorskip("praatio")
    reader = pytest.importorskip("textgrid")
    poem().to_textgrid(tmp_path / "a.TextGrid")
    grid = reader.TextGrid.fromFile(str(tmp_path / "a.TextGrid"))
    assert [tier.name for tier in grid] == ["lines", "words", "tokens"]
    filled = [interval for interval in grid[0] if interval.mark]
    assert [interval.mark for interval in filled] == LINES
    assert [(interval.minTime, interval.maxTime) for interval in filled] == [(1.1, 3.2), (4.1, 6.2), (7.1, 7.7)]


def test_a_cue_for_each_line() -> None:
    """The limits do not apply to lines. Each line is a cue, with all its sentences and pauses."""
    srt, webvtt = pytest.importorskip("srt"), pytest.importorskip("webvtt")
    found = say("ab.  cd\nef gh\n- 7\nij", unheard=".-7", pauses={1: 90})
    limits: dict[str, Any] = {"max_characters": 1, "max_duration": 0.1, "max_gap": 0.0}
    cues = list(srt.parse(found.to_srt(level="lines", **limits)))
    assert [cue.content for cue in cues] == ["ab. cd", "ef gh", "ij"]
    assert [(cue.start.total_seconds(), cue.end.total_seconds()) for cue in cues] == [
        (0.1, 11.2),
        (12.1, 14.2),
        (15.1, 15.7),
    ]
    timed = found.to_vtt(level="lines", word_times=True)
    assert "ab. <00:00:10.600>cd\n" in timed
    assert "ef <00:00:13.600>gh\n" in timed
    assert [cue.text for cue in webvtt.from_string(timed)] == ["ab. cd", "ef gh", "ij"]


def test_a_cue_shows_all_of_its_line() -> None:
    """Also characters that were left out, in a line that is not the first, or that occurs twice."""
    srt = pytest.importorskip("srt")
    found = say("ab\n- cd 7 !\n- cd 7 !\n(e)", unheard="-7!()")
    assert [cue.content for cue in srt.parse(found.to_srt(level="lines"))] == ["ab", "- cd 7 !", "- cd 7 !", "(e)"]
    assert "- cd <" not in found.to_vtt(level="lines", word_times=True)


@pytest.mark.parametrize("span", [None, (0, 1), (3, 10)], ids=["none", "of another line", "of two lines"])
@pytest.mark.parametrize("text", ["ab cd\n- ef gh", "another text"])
def test_words_in_lines_that_somebody_else_has_written(text: str, span: tuple[int, int] | None) -> None:
    """Words with an unknown or wrong place, and all words of a line that the text lacks, are searched in their line."""
    pytest.importorskip("webvtt")
    found = say("ab cd\n- ef gh", unheard="-")
    values = json.loads(found.to_json())
    values["text"] = text
    for word in values["words"][2:]:
        word.pop("span") if span is None else word.update(span=span)
    again = Alignment.from_json(json.dumps(values))
    right = found.to_vtt(level="lines", word_times=True)
    assert "- ef <00:00:04.600>gh" in right
    assert again.to_vtt(level="lines", word_times=True) == right


def test_a_text_of_one_line_is_one_cue() -> None:
    srt = pytest.importorskip("srt")
    assert [cue.content for cue in srt.parse(say("ab. cd ", unheard=".").to_srt(level="lines"))] == ["ab. cd"]
    names = ctckit.align(torch.zeros(9, 5).log_softmax(1), [1, 2], frame_duration=0.1)
    assert isinstance(names, Alignment)
    assert [cue.content for cue in srt.parse(names.to_srt(level="lines"))] == ["1 2"]
    assert say("ab").to_vtt(level="lines").count("-->") == 1


def test_the_only_line_leaves_separators_out() -> None:
    pytest.importorskip("pandas")
    scores = {"|": -9.0, "a": -1.0, "b": -3.0}
    tokens = [AlignedToken(name, 1, n, n + 1, scores[name], 0.5, n, n + 1.0) for n, name in enumerate("|a|b|")]
    words = tuple(AlignedWord(token.text, token.start, token.end, 0, 0.5, (token,)) for token in tokens[1:4:2])
    line = Alignment(" a b ", tuple(tokens), words, -1.0, 5, 1.0).to_dataframe("lines")
    assert line["score"].tolist() == [-2.0]
    assert line[["text", "start", "end", "start_time", "end_time"]].iloc[0].tolist() == ["a b", 1, 4, 1.0, 4.0]


def test_no_confidence_and_none_at_all() -> None:
    """A confidence of 0 is a number, and counts as 0."""
    for confidences, right in (((0.0, 0.5), 0.125), ((0.0, 0.0), 0.0), ((None, None), None)):
        tokens = [AlignedToken("a", 1, 0, 3, -1.0, confidences[0]), AlignedToken("b", 2, 3, 4, -1.0, confidences[1])]
        lines = lines_of("ab\nb", [], [*tokens, AlignedToken("b", 2, 4, 5, -1.0, 1.0)])
        assert lines[0].confidence == right


def test_word_times_in_lines_without_spaces() -> None:
    pytest.importorskip("webvtt")
    timed = say("今天。\n好", unheard="。").to_vtt(level="lines", word_times=True)
    assert "今<00:00:00.600>天。\n" in timed


def test_ctm_has_no_lines() -> None:
    with pytest.raises(ValueError, match="level is 'lines', but CTM has one word per line"):
        poem().to_ctm(level="lines")


def test_the_table_counts_lines() -> None:
    assert repr(poem()).startswith("Alignment: 3 lines, 5 words, ")
    assert repr(say("ab")).startswith("Alignment: 1 word, ")


def test_lines_of_a_batch() -> None:
    emissions = 9.0 * torch.eye(4)[torch.tensor([[0, 2, 0, 1, 3, 3], [0, 2, 2, 0, 3, 0]])]
    found = ctckit.align(emissions, ["a\nb", "ab"], ["-", " ", "a", "b"], logits=True)
    assert isinstance(found, list)
    assert [len(one.lines) for one in found] == [2, 0]
    assert isinstance(found[0].lines[0], AlignedLine)
