"""Vocabularies in files: JSON, one token per line, a token and its class per line; and invalid files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import ctckit
from ctckit import Vocabulary

TOKENS = ["<blk>", "|", "A", "B", "C", "T"]
MARK = b"\xef\xbb\xbf"


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("mark", [b"", MARK], ids=["", "byte-order mark"])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("vocab.json", json.dumps(TOKENS)),
        ("vocab.json", json.dumps({token: n for n, token in enumerate(TOKENS)}, indent=1)),
        ("vocab", json.dumps(TOKENS)),
        ("list.txt", "\n".join(TOKENS)),
        ("list.txt", "\r\n".join(TOKENS) + "\r\n"),
        ("list.TXT", "\n".join(TOKENS) + "\n\n"),
        ("tokens.txt", "".join(f"{token} {n}\n" for n, token in enumerate(TOKENS))),
        ("tokens.txt", "\r\n".join(f"{token}\t{n}" for n, token in enumerate(TOKENS))),
        ("tokens.txt", "".join(f"{token}   {n} \n" for n, token in reversed(list(enumerate(TOKENS))))),
        ("tokens.txt", "".join(f"{token} {n}\n" for n, token in enumerate([*TOKENS, "#0", "#1"]))),
        ("tokens.txt", "#1 7\n#0 6\n" + "".join(f"{token} {n}\n" for n, token in enumerate(TOKENS))),
    ],
)
def test_files(tmp_path: Path, name: str, content: str, mark: bytes) -> None:
    path = written(tmp_path, name, mark + content.encode())
    for source in (path, str(path)):
        vocabulary = Vocabulary(source)
        assert vocabulary.ids == {token: n for n, token in enumerate(TOKENS)}
        assert (vocabulary.size, vocabulary.blank) == (6, 0)
        assert vocabulary.encode("CAT BAT").ids == [4, 2, 5, 1, 3, 2, 5]


def test_tokens_that_are_spaces(tmp_path: Path) -> None:
    """Lines are not stripped: a space, or a rare line separator, may be a token."""
    assert Vocabulary(written(tmp_path, "list.txt", "-\n \na\n")).ids == {"-": 0, " ": 1, "a": 2}
    assert Vocabulary(written(tmp_path, "list.txt", "-\n\u2028\na")).ids == {"-": 0, "\u2028": 1, "a": 2}
    assert Vocabulary(written(tmp_path, "list.txt", "\ufeffé\n-")).ids == {"é": 0, "-": 1}
    for line in ("  1", " 1", "1", " \t1"):  # sherpa reads a line with only a class as the space
        path = written(tmp_path, "tokens.txt", f"- 0\n{line}\na 2\nb 3\n")
        assert Vocabulary(path).ids == {"-": 0, " ": 1, "a": 2, "b": 3}
    assert Vocabulary(written(tmp_path, "tokens.txt", "- 0\n<space> 1\na 2\n")).encode("a a").ids == [2, 1, 2]


def test_digits_that_are_tokens(tmp_path: Path) -> None:
    assert Vocabulary(written(tmp_path, "list.txt", "-\n0\n1\n2\n")).ids == {"-": 0, "0": 1, "1": 2, "2": 3}
    assert Vocabulary(written(tmp_path, "tokens.txt", "- 0\n1 1\n0 2\n")).ids == {"-": 0, "1": 1, "0": 2}


@pytest.mark.parametrize("tokens", [["new york", "a"], ["a", "la la", "new york", "b", "c"], ["a b", "c", "d", "e"]])
def test_tokens_with_spaces_are_tokens_where_no_more_than_half_have_them(tmp_path: Path, tokens: list[str]) -> None:
    assert list(Vocabulary(written(tmp_path, "list.txt", "\n".join(tokens))).ids) == tokens
    with pytest.raises(ctckit.ArgumentValueError, match="but must have a token, or a token and its class, in each"):
        Vocabulary(written(tmp_path, "list.txt", "\n".join([*tokens, *(f"{n} {n}-th" for n in range(9))])))


def test_as_many_lines_with_a_number_as_without_are_tokens(tmp_path: Path) -> None:
    assert Vocabulary(written(tmp_path, "list.txt", "verse 1\nverse\n")).ids == {"verse 1": 0, "verse": 1}
    assert Vocabulary(written(tmp_path, "tokens.txt", "verse 1\nof 2\n 0\n")).ids == {"verse": 1, "of": 2, " ": 0}


def test_class_0_may_go_without_saying(tmp_path: Path) -> None:
    """As in ESPnet's units.txt, where class 0 is the blank."""
    vocabulary = Vocabulary(written(tmp_path, "units.txt", "<unk> 1\na 2\nb 3\n"))
    assert (vocabulary.ids, vocabulary.size) == ({"<unk>": 1, "a": 2, "b": 3}, 4)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("tokens.txt", "a 0\nb 1\na 2\n", "tokens.txt', which has 'a' a second time in line 3"),
        ("tokens.txt", "a 0\nb 1\nc 1\n", "has 'c' as class 1 in line 3, which is the class of 'b'"),
        ("tokens.txt", "a 0\nb -1\nc 1\n", "has 'b' as class -1 in line 2, but classes are numbered from 0"),
        ("tokens.txt", "a 0\nb 1\nc 5\n", "has no token for class 2, but one for class 5"),
        ("tokens.txt", "a 0\nb 2\nc 3\n", "has no token for class 1, but one for class 3"),
        ("dict.txt", "| 94802\nE 51860\nT 38431\n", "if its numbers are counts, as in a dict.txt of fairseq"),
        ("tokens.txt", "a 0\nb\nc 2\nd 3\n", "has no class in line 2, 'b', but other lines have one"),
        ("list.txt", "a\nb\na\n", "vocabulary has 'a' twice, as classes 0 and 2"),
        ("list.txt", "", "vocabulary is empty"),
        ("list.txt", MARK + b"\n\n", "vocabulary is empty"),
        ("list.txt", "aä".encode("latin-1"), "list.txt', which is not in UTF-8"),
        ("vocab.json", '["a"]'.encode("utf-16"), "vocab.json', which is not in UTF-8"),
        ("vocab.json", '{"b": 0, "a": 1, "a": 2}', "vocab.json', which has 'a' twice"),
        ("vocab.json", "[" * 100_000, "which is not a JSON file"),
        ("vocab.json", '{"a": 0', "which is not a JSON file: .*a file with a token per line must have the suffix .txt"),
        ("vocab.json", '"abc"', "which holds a str, but must hold a list of tokens"),
        ("vocab.json", "null", "which holds a NoneType"),
        ("tokenizer.json", '{"version": "1.0", "model": {"vocab": {"a": 0}}}', "read it with tokenizers.Tokenizer"),
        ("vocab.json", '{"a": 1e400}', r"vocabulary\['a'\] is inf"),
        ("vocab.json", "", "which is not a JSON file"),
        ("tokens.txt", "0 <blk>\n1 |\n2 A\n3 B\n", r"has '0 <blk>' in line 1, .*: write each class after its token"),
        ("tokens.txt", "<blk> 0\nA one\n| two\n", r"has 'A one' in line 2, but must have a token, or a token and its"),
        ("unigram.txt", "<unk>\t0\n▁A\t-1.5\nB\t-2.25\nC\t-3.0\n", r"has '▁A\\t-1.5' in line 2, but must have a token"),
    ],
)
def test_files_that_are_none(tmp_path: Path, name: str, content: str | bytes, message: str) -> None:
    with pytest.raises((ctckit.ArgumentValueError, ctckit.ArgumentTypeError), match=message):
        Vocabulary(written(tmp_path, name, content))


def test_paths_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        Vocabulary(tmp_path / "vocab.json")
    with pytest.raises(ctckit.ArgumentValueError, match="is a folder: name the file in it"):
        Vocabulary(tmp_path)
    with pytest.raises(ctckit.ArgumentValueError, match="is not a path"):
        Vocabulary("a\0b")
