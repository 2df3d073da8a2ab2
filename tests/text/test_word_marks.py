"""The marks of words that tokens have, and words of rows of tokens."""

from __future__ import annotations

import pytest

from ctckit.text.word_marks import WordMarks


@pytest.mark.parametrize(
    ("tokens", "start", "within", "continued", "end", "white_space"),
    [
        (["a", "b"], None, "", "", None, None),
        (["▁a", "b"], "▁", "", "", None, "▁"),
        (["Ġa", "b"], "Ġ", "", "", None, None),
        (["a", "##b"], None, "##", "", None, "▁"),  # a bare "▁" may start a word
        (["a", "b@@"], None, "", "@@", None, None),
        (["a", "b</w>"], None, "", "", "</w>", None),
        (["a", "b_"], None, "", "", "_", None),
        (["a", "b▁"], None, "", "", "▁", "▁"),
        # One kind of mark counts: starts before middles before ends.
        (["▁a", "##b", "c@@", "d</w>"], "▁", "", "", None, "▁"),
        (["##b", "c@@", "d</w>"], None, "##", "", None, "▁"),
        (["c@@", "d</w>"], None, "", "@@", None, None),
        (["a_", "b</w>"], None, "", "", "</w>", None),
    ],
)
def test_one_kind_of_mark(
    tokens: list[str], start: str | None, within: str, continued: str, end: str | None, white_space: str | None
) -> None:
    marks = WordMarks(tokens, byte_level=False)
    assert (marks.start, marks.within, marks.continued, marks.end) == (start, within, continued, end)
    assert marks.white_space == white_space
    assert bool(marks) == any((start, within, continued, end))


def test_byte_level_tokens_have_one_mark() -> None:
    marks = WordMarks(["▁a", "Ġb"], byte_level=True)
    assert (marks.start, marks.bare_start) == ("Ġ", "Ġ")


def test_a_token_loses_one_mark_at_its_start() -> None:
    marks = WordMarks(["▁", "a", "##b"], byte_level=False)
    assert [marks.strip(token) for token in ("##b", "▁b", "##▁b", "b##")] == ["b", "b", "▁b", "b##"]


def test_a_word_starts_after_a_bare_mark() -> None:
    marks = WordMarks(["▁", "a", "##b"], byte_level=False)
    row = ["a", "##b", "▁", "##b", "a"]
    assert [marks.starts_word(token, before) for token, before in zip(row, [None, *row], strict=False)] == [
        True, False, True, False, True,
    ]  # fmt: skip
