"""Names of tokens that are no text: the blank, padding, the unknown, starts and ends of sentences."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

__all__ = ["blank_name", "is_special_name"]

_BLANKS: Final[tuple[str, ...]] = (
    "<blank>",
    "<blk>",
    "[BLANK]",
    "<b>",
    "ε",
    "<eps>",
)  # in the order in which they count
_PADDING: Final[tuple[str, ...]] = ("<pad>", "[PAD]", "<PAD>")  # which many models have for the blank
_GREEK: Final = frozenset("αβγδζηθικλμνξοπρστυφχψω")

# What stands in the brackets, in lower case. "<|" ... "|>" are control tokens of language models.
_WORDS: Final = (
    "unk|unknown|s|/s|pad|bos|eos|sos|eot|sos/eos|cls|sep|mask|blank|blk|b|eps|epsilon|ctc|ctc_blank|oov|null|none"
)
_SPECIAL: Final = re.compile(rf"[<\[](?:{_WORDS})[>\]]|<\|[^<>|\s]+\|>", re.IGNORECASE)


def is_special_name(token: str) -> bool:
    """Tell whether a token's name says that it is no text.

    >>> [is_special_name(token) for token in ("<unk>", "[PAD]", "<space>", "a", "[")]
    [True, True, False, False, False]
    """
    return _SPECIAL.fullmatch(token) is not None


def blank_name(tokens: Iterable[str], *, padding: bool) -> str | None:
    """Give the token that is the blank by its name; None if there is none.

    Args:
        tokens: the vocabulary.
        padding: whether to look for a name of padding, rather than one of the blank itself.
    """
    have = frozenset(tokens)
    for name in _PADDING if padding else _BLANKS:
        if name in have and not (name == "ε" and have & _GREEK):  # there it is a letter
            return name
        folded = name.swapcase() if name.isascii() else name
        if folded in have:
            return folded
    return None
