"""Labels of pyctcdecode decoders."""

from __future__ import annotations

import random
from typing import Any

import pytest

from ctckit.compat.alphabet import Alphabet

UNKNOWN = "\N{DOUBLE QUESTION MARK}"
CASES: dict[str, tuple[list[str], list[str], bool]] = {
    "letters": (["", " ", "a"], ["", " ", "a"], False),
    "wav2vec 2.0": (
        ["<pad>", "<s>", "</s>", "<unk>", "|", "E", "T"],
        ["", "<s>", "</s>", UNKNOWN, " ", "E", "T"],
        False,
    ),
    "another style of names": (["[PAD]", "[UNK]", " ", "|"], ["", UNKNOWN, " ", "|"], False),
    "an underscore is the blank": (["a", "_", " "], ["a", "", " "], False),
    "an underscore beside a blank": (["a", "_", "", " "], ["a", "_", "", " "], False),
    "no blank": ([" ", "a"], [" ", "a", ""], False),
    "pieces": (["<unk>", "▁", "▁ab", "c"], ["▁" + UNKNOWN + "▁", "▁", "▁ab", "c", ""], True),
    "pieces and a pad": (["<pad>", "▁ab", "_"], ["", "▁ab", "_"], True),
    "word pieces": (
        ["[PAD]", "[UNK]", "[CLS]", "ab", "##c", "▁"],
        ["", "▁" + UNKNOWN + "▁", "[CLS]", "▁ab", "c", "▁"],
        True,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_labels(case: str) -> None:
    given, expected, is_bpe = CASES[case]
    alphabet = Alphabet.build_alphabet(given)
    assert (alphabet.labels, alphabet.is_bpe, alphabet.blank) == (expected, is_bpe, expected.index(""))
    assert alphabet.vocabulary.size == len(expected)
    again = Alphabet.loads(alphabet.dumps())
    assert (again.labels, again.is_bpe) == (expected, is_bpe)


def test_labels_are_pyctcdecode_s() -> None:
    theirs = pytest.importorskip("pyctcdecode.alphabet", reason="pyctcdecode is not installed: a peer of ctckit.compat")
    r = random.Random(0)  # noqa: S311
    names = ["", " ", "|", "_", "a", "b", "<pad>", "[PAD]", "<unk>", "[unk]", "<s>", "##a", "▁a", "▁", "ab", "-"]
    for _ in range(300):
        given = r.sample(names, r.randint(1, 8))
        try:
            expected = theirs.Alphabet.build_alphabet(given)
        except ValueError:
            with pytest.raises(ValueError, match="labels"):
                Alphabet.build_alphabet(given)
            continue
        if len(set(expected.labels)) < len(expected.labels) or expected.labels == [""]:
            continue  # two blanks, which pyctcdecode takes for one; or nothing else
        ours = Alphabet.build_alphabet(given)
        assert (ours.labels, ours.is_bpe) == (expected.labels, expected.is_bpe), given
        assert theirs.Alphabet.loads(ours.dumps()).labels == expected.labels


@pytest.mark.parametrize(
    ("labels", "tokens", "words", "numbers"),
    [
        (["", " ", "a", "b"], [1, 1, 2, 3, 1, 2, 1], ("ab", "a"), [None, None, 0, 0, None, 1, None]),
        (["", " ", "a", "b"], [], (), []),
        (["", "a", "b"], [1, 2, 1], ("aba",), [0, 0, 0]),
        (["▁a", "b", "▁", "▁b", ""], [1, 0, 1, 2, 1, 2, 3], ("b", "ab", "b", "b"), [0, 1, 1, None, 2, None, 3]),
        (["<unk>", "▁a", "b", ""], [1, 0, 2, 0], ("a", UNKNOWN, "b", UNKNOWN), [0, 1, 2, 3]),
        (["<pad>", "<s>", "|", "a"], [1, 3, 1, 3, 2, 1, 3], ("aa", "a"), [None, 0, None, 0, None, None, 1]),
    ],
)
def test_words(labels: list[str], tokens: list[int], words: tuple[str, ...], numbers: list[Any]) -> None:
    alphabet = Alphabet.build_alphabet(labels)
    assert alphabet.words(tokens) == words
    assert alphabet.word_numbers(tokens) == numbers


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        ("ab", TypeError, "labels is a str, but must be a list of strings"),
        (3, TypeError, "labels is a int"),
        (["a", 3], TypeError, r"labels\[1\] is 3, a int, but must be a str"),
        (["<pad>"], ValueError, "labels has nothing but the blank"),
        (["", "a", "a"], ValueError, r"labels\[2\] is 'a', which is another class, too"),
        (["▁a", "b c"], ValueError, r"labels\[1\] is 'b c', but labels with '▁' have no space"),
    ],
)
def test_wrong_labels(labels: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Alphabet.build_alphabet(labels)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[", "the alphabet is no JSON"),
        ("[]", "an alphabet is a JSON object with the keys labels and is_bpe"),
        ('{"labels": ["", "a"]}', "an alphabet is a JSON object"),
        ('{"labels": ["a"], "is_bpe": false}', "labels has no blank"),
    ],
)
def test_wrong_files(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Alphabet.loads(text)
