"""Names of special tokens, which are no text: blank, padding, unknown, sentence start and end, bytes."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

__all__ = ["blank_name", "find_special_names", "is_byte_name", "is_special_name", "text_of_byte_names"]

# The first of these that the vocabulary has is its blank.
_BLANKS: Final[tuple[str, ...]] = ("<blank>", "<blk>", "[BLANK]", "<b>", "ε", "<eps>", "<ctc_blank>", "[CTCblank]")
_PADDING: Final[tuple[str, ...]] = ("<pad>", "[PAD]", "<PAD>")  # the blank of many models
_GREEK: Final = frozenset("αβγδζηθικλμνξοπρστυφχψω")

_ANGLED: Final = (
    "unk|unknown|oov|pad|s|/s|bos|eos|sos|eot|sos/eos|cls|sep|mask|blank|blk|b|eps|epsilon|ctc|ctc_blank|"
    r"0x[0-9a-f]{2}|\|[^<>|\s]+\|"  # a byte; a control token of a language model
)
_SQUARE: Final = "unk|pad|cls|sep|mask|blank|ctcblank|bos|eos"
_BYTE: Final = re.compile(r"<0x[0-9a-f]{2}>", re.IGNORECASE)
_BYTES: Final = re.compile(rf"(?:{_BYTE.pattern})+", re.IGNORECASE)
_SPECIAL: Final = re.compile(rf"<(?:{_ANGLED})>|\[(?:{_SQUARE})\]", re.IGNORECASE)


def is_special_name(token: str) -> bool:
    """Return whether the name of a token is that of a special token.

    >>> [is_special_name(token) for token in ("<unk>", "[PAD]", "<space>", "<noise>", "a", "[")]
    [True, True, False, False, False, False]
    """
    return _SPECIAL.fullmatch(token) is not None


def is_byte_name(token: str) -> bool:
    """Return whether a token is one byte in UTF-8, for characters that no other token has.

    >>> is_byte_name("<0xE4>"), is_byte_name("<unk>")
    (True, False)
    """
    return _BYTE.fullmatch(token) is not None


def text_of_byte_names(text: str) -> str:
    """Replace runs of bytes' names by the characters that they are in UTF-8.

    >>> text_of_byte_names("<0xC3><0xA9>t<0xC3><0xA9>"), text_of_byte_names("<0xC3>")
    ('été', '\N{REPLACEMENT CHARACTER}')
    """
    return _BYTES.sub(
        lambda match: bytes(int(name[3:5], 16) for name in _BYTE.findall(match[0])).decode("utf-8", "replace"), text
    )


def find_special_names(text: str, special: Collection[str], characters: Collection[str]) -> list[tuple[int, int]]:
    """Find the special names in a text: the start and end of each.

    The names in `special` count everywhere, also within a word. Other names that `is_special_name` knows count as well,
    unless all their signs are in `characters` and so can be spelt.
    """
    folded = {name.casefold() for name in special}
    found = {
        match.span()
        for match in _SPECIAL.finditer(text)
        if match[0].casefold() in folded or not all(sign in characters for sign in match[0] if not sign.isalnum())
    }
    names = sorted((name for name in special if name and name in text), key=len, reverse=True)
    if names:
        found |= {match.span() for match in re.finditer("|".join(map(re.escape, names)), text)}
    return sorted(found)


def blank_name(tokens: Collection[str], *, padding: bool) -> str | None:
    """Return the token that is the blank by its name; None if there is none.

    In a vocabulary with other Greek letters, "ε" is a letter.

    Args:
        tokens: the vocabulary.
        padding: whether to look for names of padding, instead of names of the blank.
    """
    for name in _PADDING if padding else _BLANKS:
        if name in tokens and not (name == "ε" and any(letter in tokens for letter in _GREEK)):
            return name
        if name.isascii() and name.swapcase() in tokens:
            return name.swapcase()
    return None
