"""Reads vocabularies from files: JSON, and text with one token per line.

A text file lists the tokens in the order of their classes. Or each line has a token and its class, as in ``tokens.txt``
of k2 and sherpa. A byte-order mark is ignored.
"""

from __future__ import annotations

import json
import re
from json import JSONDecodeError
from pathlib import Path
from typing import Any, Final

from ctckit.errors import ArgumentValueError

__all__ = ["content_of"]

_TOKEN_AND_CLASS: Final = re.compile(r"(.+?)[ \t]+([+-]?\d+)\s*")
_DISAMBIGUATION: Final = re.compile(r"#\d+")  # symbols of a lexicon, after the classes of the model


def content_of(path: Path) -> list[Any] | dict[str, Any]:
    """Read a list of tokens, or a dict from token to class, from a file.

    Raises:
        FileNotFoundError: if there is no such file.
        ArgumentValueError: if the file holds neither.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise FileNotFoundError(
            f"vocabulary is {str(path)!r}, but there is no such file (for a row of characters pass a list)"
        ) from None
    except UnicodeDecodeError as error:
        raise _fault(path, f"is not in UTF-8: {error}") from error
    except ValueError as error:  # a NUL in the path
        raise ArgumentValueError(f"vocabulary is {str(path)!r}, which is not a path: {error}") from None
    except IsADirectoryError:
        raise _fault(path, "is a folder: name the file in it, such as vocab.json or tokens.txt") from None
    if path.suffix.lower() == ".txt":
        return _tokens_of_lines(path, text)
    try:
        content = json.loads(text, object_pairs_hook=lambda pairs: _without_twins(path, pairs))
    except (JSONDecodeError, RecursionError) as error:
        raise _fault(
            path, f"is not a JSON file: {error} (a file with a token per line must have the suffix .txt)"
        ) from error
    if not isinstance(content, (dict, list)):
        raise _fault(
            path, f"holds a {type(content).__name__}, but must hold a list of tokens, or an object from token to class"
        )
    if isinstance(content, dict) and isinstance(content.get("model"), dict):
        raise _fault(path, "describes a tokenizer: read it with tokenizers.Tokenizer.from_file, and pass the tokenizer")
    return content


def _tokens_of_lines(path: Path, text: str) -> list[Any] | dict[str, Any]:
    # Not splitlines() or strip(): a space, or a rare line separator, may be a token.
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    matches = [_TOKEN_AND_CLASS.fullmatch(line) for line in lines]
    written = [number for number, line in enumerate(lines) if line.strip()]
    matching = sum(matches[number] is not None for number in written)
    if 2 * matching <= len(written):
        _refuse_columns(path, [(number, lines[number]) for number in written if matches[number] is None])
        return lines
    tokens: dict[str, Any] = {}
    owners: dict[int, str] = {}
    for number in written:
        match, line = matches[number], lines[number]
        if match is not None:
            token, value = match[1], int(match[2])
            token = " " if token.isspace() else token
        elif line.strip().isdecimal():
            token, value = " ", int(line)  # the token is a space, with no other before the class
        else:
            raise _fault(path, f"has no class in line {number + 1}, {line!r}, but other lines have one")
        if _DISAMBIGUATION.fullmatch(token):
            continue
        where = f"in line {number + 1}"
        if value < 0:
            raise _fault(path, f"has {token!r} as class {value} {where}, but classes are numbered from 0")
        if token in tokens:
            raise _fault(path, f"has {token!r} a second time {where}")
        if value in owners:
            raise _fault(path, f"has {token!r} as class {value} {where}, which is the class of {owners[value]!r}")
        tokens[token], owners[value] = value, token
    # Class 0 may be missing: in units.txt of ESPnet it is the blank, which is not listed.
    missing = next((number for number in range(1, max(owners, default=0)) if number not in owners), None)
    if missing is not None:
        raise _fault(
            path,
            f"has no token for class {missing}, but one for class {max(owners)}: if its numbers are counts, as in a "
            f"dict.txt of fairseq, pass a list of the tokens in the order of their classes",
        )
    return tokens


def _refuse_columns(path: Path, lines: list[tuple[int, str]]) -> None:
    """Refuse a file in which more than half of the lines hold several columns."""
    several = [(number, line) for number, line in lines if len(line.split()) > 1]
    if 2 * len(several) > len(lines):
        number, line = several[0]
        swapped = all(line.split()[0].isdigit() for _, line in several)
        remedy = ": write each class after its token" if swapped else ""
        raise _fault(
            path, f"has {line!r} in line {number + 1}, but must have a token, or a token and its class, in each{remedy}"
        )


def _without_twins(path: Path, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        twin = next(name for name in names if names.count(name) > 1)
        raise _fault(path, f"has {twin!r} twice")
    return content


def _fault(path: Path, what: str) -> ArgumentValueError:
    return ArgumentValueError(f"vocabulary is {str(path)!r}, which {what}")
