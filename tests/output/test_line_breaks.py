"""Where sentences, clauses, lines and characters end."""

from __future__ import annotations

import pytest

from ctckit.output.line_breaks import breaks_line, ends_clause, ends_sentence, is_grapheme_boundary, split_gap

pytest.importorskip("regex")


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
