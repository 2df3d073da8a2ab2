"""The roles of classes in words, and the spellings of words: no spelling begins or ends a word within itself."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest

from ctckit import Vocabulary
from ctckit.text.word_roles import WordRole, word_roles

NONE, SEPARATES, STARTS, ENDS = 0, WordRole.SEPARATES, WordRole.STARTS, WordRole.ENDS

KINDS: dict[str, tuple[list[str], list[int]]] = {
    "letters": (["-", "|", "a", "b"], [NONE, SEPARATES, NONE, NONE]),
    "space": (["<pad>", " ", "a", "b"], [NONE, SEPARATES, NONE, NONE]),
    "named space": (["<pad>", "<space>", "a", "ab"], [NONE, SEPARATES, NONE, NONE]),
    "no space": (["-", "a", "b"], [NONE, NONE, NONE]),
    "pieces": (["-", "▁a", "a", "▁b", "b"], [NONE, STARTS, NONE, STARTS, NONE]),
    "bare mark": (["-", "▁", "▁a", "a", "b"], [NONE, SEPARATES, STARTS, NONE, NONE]),
    "byte level": (["<pad>", "Ġ", "Ġa", "a", "b"], [NONE, SEPARATES, STARTS, NONE, NONE]),
    "within": (["[PAD]", "a", "##a", "b", "##b"], [NONE, STARTS, NONE, STARTS, NONE]),
    "bare within": (["-", "▁", "a", "##a"], [NONE, SEPARATES, STARTS, NONE]),
    "endings": (["-", "a</w>", "a", "b</w>", "b"], [NONE, ENDS, NONE, ENDS, NONE]),
    "bare ending": (["-", "</w>", "a</w>", "a"], [NONE, SEPARATES, ENDS, NONE]),
    "underscores": (["-", "a_", "a", "b"], [NONE, ENDS, NONE, NONE]),
    "continued": (["-", "a@@", "a", "b@@", "b"], [NONE, NONE, ENDS, NONE, ENDS]),
    "special": (["<pad>", "▁a", "<unk>", "</s>", "<s>"], [NONE, STARTS, NONE, NONE, NONE]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_roles(kind: str) -> None:
    tokens, roles = KINDS[kind]
    blank = 0 if tokens[0] == "-" else None  # (a name that tells nothing)
    assert word_roles(Vocabulary(tokens, blank=blank)).tolist()[1:] == roles[1:]
    assert word_roles(Vocabulary(tokens, blank=blank)).dtype == "uint8"


def test_classes_without_a_token_have_no_role() -> None:
    vocabulary = Vocabulary({"<pad>": 0, " ": 3, "a": 5})
    assert word_roles(vocabulary).tolist() == [0, 0, 0, SEPARATES, 0, 0]


def test_a_separator_that_is_named() -> None:
    tokens = ["<pad>", "_", "a", "b"]
    assert not word_roles(Vocabulary(tokens)).any()
    assert word_roles(Vocabulary(tokens, word_separator="_")).tolist() == [NONE, SEPARATES, NONE, NONE]
    assert not word_roles(Vocabulary(["<pad>", "|", "a"], word_separator="")).any()


@pytest.mark.parametrize("kind", KINDS)
def test_marks_are_those_of_the_tokens(kind: str) -> None:
    vocabulary = Vocabulary(KINDS[kind][0])
    marks = vocabulary.marks
    assert [marks.start, marks.within, marks.continued, marks.end].count(None) >= 1
    assert sum(map(bool, (marks.start, marks.within, marks.continued, marks.end))) <= 1
    assert bool(marks) == (vocabulary.shows_words and vocabulary.word_separator is None)


def words_said(tokens: tuple[int, ...], names: list[str], roles: Any) -> list[str]:
    """Split a row of classes into words by their roles."""
    words = [""]
    for c in tokens:
        if roles[c] in (SEPARATES, STARTS):
            words.append("")
        if roles[c] != SEPARATES:
            words[-1] += names[c].replace("</w>", "").strip("▁Ġ#@_")
        if roles[c] == ENDS:
            words.append("")
    return [word for word in words if word]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("no space", "special")])
def test_every_spelling_is_the_word(kind: str) -> None:
    names, roles = KINDS[kind]
    vocabulary = Vocabulary(names, blank=0)
    found = 0
    for size in (1, 2, 3, 4):
        for letters in itertools.product("ab", repeat=size):
            word = "".join(letters)
            rows = vocabulary.word_spellings(word, most=9)
            assert len(set(rows)) == len(rows)
            for row in rows:
                assert words_said(row, names, roles) == [word], row
                assert not any(roles[c] == SEPARATES for c in row)
            if rows:  # fewer are the first of them
                assert vocabulary.word_spellings(word) == rows[:1]
            found += len(rows)
    assert found > 0


@pytest.mark.parametrize("kind", ["pieces", "bare mark", "within", "endings", "continued"])
def test_no_spelling_is_missing(kind: str) -> None:
    names, roles = KINDS[kind]
    vocabulary = Vocabulary(names, blank=0)
    for word in ("a", "ab", "ba", "aab"):
        rows = set(vocabulary.word_spellings(word, most=50))
        for size in range(1, len(word) + 1):
            for row in itertools.product(range(1, len(names)), repeat=size):
                parts = [names[c] for c in row]
                whole = {
                    "pieces": parts[0].startswith("▁"),
                    "within": True,
                    "endings": parts[-1].endswith("</w>"),
                    "continued": not parts[-1].endswith("@@"),
                }.get(kind, True)
                is_plain = all(roles[c] != SEPARATES for c in row)
                starts = kind != "within" or not parts[0].startswith("##")
                if is_plain and whole and starts and words_said(row, names, roles) == [word]:
                    assert row in rows, (word, parts)


@pytest.mark.parametrize(
    ("tokens", "word"),
    [
        (["-", "|", "a"], ""),
        (["-", "|", "a"], " "),
        (["-", "|", "a"], "a a"),
        (["-", "|", "a"], "|"),
        (["-", "|", "a"], "a|"),
        (["-", "|", "a"], "a|a"),
        (["-", "|", "a", "aa"], "a|a"),
        (["-", "|", "a"], "b"),
        (["-", "|", "a"], "-"),
        (["-", " ", "a"], "a\ta"),
        (["-", "▁a", "a"], "▁"),
        (["-", "▁a", "a"], "a▁a"),
        (["-", "▁", "▁a", "a"], "a▁a"),
        (["-", "a</w>", "b"], "ab"),
        (["-", "a@@", "b@@"], "a"),
    ],
)
def test_words_that_cannot_be_spelt(tokens: list[str], word: str) -> None:
    assert Vocabulary(tokens, blank=0).word_spellings(word, most=5) == []


def test_the_blank_is_in_no_spelling() -> None:
    vocabulary = Vocabulary(["a", "b", "ab", " "])
    assert vocabulary.word_spellings("ab", most=5) == [(2,), (0, 1)]
    assert vocabulary.word_spellings("ab", blank=0, most=5) == [(2,)]
    assert vocabulary.word_spellings("ab", blank=2, most=5) == [(0, 1)]


def test_spellings_of_the_fewest_tokens_first() -> None:
    r = random.Random(1)  # noqa: S311
    names = ["-", *{"▁" * r.randint(0, 1) + "".join(r.choices("ab", k=r.randint(1, 3))) for _ in range(20)}]
    vocabulary = Vocabulary(names, blank=0)
    for _ in range(50):
        word = "".join(r.choices("ab", k=r.randint(1, 8)))
        sizes = [len(row) for row in vocabulary.word_spellings(word, most=12)]
        assert sizes == sorted(sizes)


def test_letters_in_another_case() -> None:
    tokens = ["<pad>", "|", "A", "B"]
    assert Vocabulary(tokens).word_spellings("ab") == []
    assert Vocabulary(tokens, fold_case=True).word_spellings("aB") == [(2, 3)]
