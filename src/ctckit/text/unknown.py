"""The option ``unknown``: how to treat characters that a vocabulary lacks, in words, numbers and punctuation."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Final, Literal, NamedTuple, TypeAlias, cast, get_args

from ctckit.errors import ArgumentTypeError, ArgumentValueError

__all__ = ["Kind", "Unknown", "UnknownPolicy", "kinds_of"]

Unknown: TypeAlias = Literal["raise", "wildcard", "skip"]
"""How to treat characters that the vocabulary lacks."""

Kind: TypeAlias = Literal["words", "numbers", "punctuation"]
"""The kind of text that a character is part of."""

_CHOICES: Final = get_args(Unknown)
_KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

# Digits, the marks between digits (3.14, 1,000, 12:30, 1/2), and a sign or unit next to them (-5, $5, 50%).
_NUMBER: Final = re.compile(r"[-+\u2212±#]?[$£¥€₹]?\d(?:[\d.,:/'\u2019\u066b\u066c]*\d)?[$£¥€₹%‰°]*")


class UnknownPolicy(NamedTuple):
    """How to treat unknown characters of each kind.

    >>> UnknownPolicy.of({"numbers": "wildcard", "punctuation": "skip"})
    UnknownPolicy(words='raise', numbers='wildcard', punctuation='skip')
    """

    words: Unknown = "raise"
    """For letters, and for special names such as ``<unk>``."""
    numbers: Unknown = "raise"
    """For digits, and for the signs that belong to a number: ``3.14``, ``-5``, ``50%``."""
    punctuation: Unknown = "raise"
    """For everything else."""

    @classmethod
    def of(cls, value: str | Mapping[str, str] | UnknownPolicy) -> UnknownPolicy:
        """Read the argument ``unknown``: one choice for all kinds, or a mapping from kind to choice.

        A kind that a mapping leaves out is "raise".

        Raises:
            ArgumentTypeError: if it is neither.
            ArgumentValueError: for an unknown choice or kind.
        """
        if isinstance(value, UnknownPolicy):
            return value
        if isinstance(value, str):
            return _FOR_ALL.get(value) or cls(_choice(value, "unknown"))
        if not isinstance(value, Mapping):
            raise ArgumentTypeError(
                f"unknown is {value!r}, a {type(value).__name__}, but must be one of "
                f"{', '.join(map(repr, _CHOICES))}, or a dict of these for {', '.join(map(repr, _KINDS))}"
            )
        for kind in value:
            if kind not in _KINDS:
                raise ArgumentValueError(
                    f"unknown has the key {kind!r}, but its keys must be some of {', '.join(map(repr, _KINDS))}"
                )
        return cls(**{kind: _choice(choice, f"unknown[{kind!r}]") for kind, choice in value.items()})

    @classmethod
    def parse(cls, text: str) -> UnknownPolicy:
        """Read a policy from a command line: "skip", or "numbers=wildcard,punctuation=skip".

        Raises:
            ArgumentValueError: for anything else.

        >>> UnknownPolicy.parse("numbers=wildcard,punctuation=skip").words
        'raise'
        """
        if "=" not in text:
            return cls.of(text.strip())
        pairs: dict[str, str] = {}
        for part in text.split(","):
            kind, equals, choice = (piece.strip() for piece in part.partition("="))
            if not equals:
                raise ArgumentValueError(
                    f"unknown is {text!r}, but {part!r} in it has no '=': write numbers=wildcard,punctuation=skip"
                )
            if kind in pairs:
                raise ArgumentValueError(f"unknown is {text!r}, which names {kind!r} twice")
            pairs[kind] = choice
        return cls.of(pairs)

    def __str__(self) -> str:
        """Return the policy as `parse` reads it."""
        if self.words == self.numbers == self.punctuation:
            return self.words
        return ",".join(f"{kind}={choice}" for kind, choice in self._asdict().items() if choice != "raise")


_FOR_ALL: Final = {choice: UnknownPolicy(choice, choice, choice) for choice in _CHOICES}


def kinds_of(text: str) -> list[Kind]:
    """Return the kind of each character of a text.

    >>> kinds_of("a 3.5!")
    ['words', 'punctuation', 'numbers', 'numbers', 'numbers', 'punctuation']
    """
    kinds: list[Kind] = [_kind(character) for character in text]
    for match in _NUMBER.finditer(text):
        for at in range(*match.span()):
            kinds[at] = "numbers"
    return kinds


def _kind(character: str) -> Kind:
    category = unicodedata.category(character)[0]
    return "words" if category in "LM" else "numbers" if category == "N" else "punctuation"


def _choice(value: object, name: str) -> Unknown:
    if not isinstance(value, str):
        raise ArgumentTypeError(f"{name} is {value!r}, a {type(value).__name__}, but must be a str")
    if value not in _CHOICES:
        raise ArgumentValueError(f"{name} is {value!r}, but must be one of {', '.join(map(repr, _CHOICES))}")
    return cast("Unknown", value)
