"""Parts of error messages about characters that a vocabulary lacks: the place in the text, and a remedy."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection
from typing import Final, Literal

__all__ = ["excerpt", "hint", "named"]

_FORMS: Final[tuple[Literal["NFC", "NFD", "NFKC"], ...]] = ("NFC", "NFD", "NFKC")
_SIBLINGS: Final = (
    "'\u2019\u2018\u02bc\u00b4`\u2032\uff07\u201b",  # apostrophes
    '"\u201c\u201d\u201e\u00ab\u00bb\u2033',  # quotation marks
    "-\u2010\u2011\u2012\u2013\u2014\u2015\u2212\u00ad",  # hyphens, dashes, minus
    "\u0131i",
    "\u0259\u01dd",  # schwa, turned e
)


def excerpt(text: str, start: int, end: int) -> str:
    """Quote a part of a text, with up to 12 characters on each side."""
    first, last = max(0, start - 12), max(end, start + 1) + 12
    return repr(("..." if first > 0 else "") + text[first:last] + ("..." if last < len(text) else ""))


def named(part: str) -> str:
    """Quote a part of a text. A single letter also gets the Unicode names of its characters."""
    if len(part) > 1 and not any(unicodedata.combining(sign) or sign >= "\u1100" for sign in part[1:]):
        return repr(part)
    names = " + ".join(f"U+{ord(sign):04X}, {unicodedata.name(sign, 'unnamed')}" for sign in part[:4])
    return f"character {part!r} ({names})"


def hint(part: str, tokens: Collection[str], *, by_tokenizer: bool) -> str:
    """Return a hint at similar tokens that a vocabulary has for a part of a text; empty if it has none.

    >>> hint("A", {"a"}, by_tokenizer=False)
    " (it has 'a'; fold_case=True matches either case)"
    """

    def has(other: str) -> bool:
        return other != part and (other in tokens or (bool(other) and all(sign in tokens for sign in other)))

    fold = "write the text in this case" if by_tokenizer else "fold_case=True matches either case"
    for other in (part.lower(), part.upper()):
        if has(other):
            return f" (it has {other!r}; {fold})"
    for form in _FORMS:
        normal = unicodedata.normalize(form, part)
        for other in (normal, normal.lower(), normal.upper()) if normal != part else ():
            if has(other):
                also = "" if other == normal else f", as {other!r}; {fold}"
                return f" (it has it in the form {form}: unicodedata.normalize({form!r}, text){also})"
    for siblings in _SIBLINGS:
        for other in siblings if part in siblings else ():
            if has(other):
                return f" (it has {other!r}, U+{ord(other):04X}, {unicodedata.name(other)}, which is another character)"
    return ""
