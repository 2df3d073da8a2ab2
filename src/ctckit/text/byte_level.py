"""Byte-level alphabets: one character for each of the 256 bytes, as in GPT-2's tokenizer.

Bytes that print in Latin-1 stand for themselves. The other bytes, in order, are the characters from U+0100 on: the
space is "Ġ", the line feed "Ċ". "é" has two bytes in UTF-8 and is written "Ã©".
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

__all__ = ["bytes_of", "is_byte_level", "is_written_as_text", "text_of"]

_PRINTED: Final = frozenset([*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)])
_OTHERS: Final = [byte for byte in range(256) if byte not in _PRINTED]
_CHARACTERS: Final = [chr(byte if byte in _PRINTED else 0x100 + _OTHERS.index(byte)) for byte in range(256)]
_BYTES: Final = {character: byte for byte, character in enumerate(_CHARACTERS)}


def bytes_of(text: str) -> tuple[str, list[int]]:
    """Write a text in characters for bytes. Also return, for each byte, the index of its character in the text.

    >>> bytes_of("né")
    ('nÃ©', [0, 1, 1])
    """
    written: list[str] = []
    places: list[int] = []
    for place, character in enumerate(text):
        encoded = character.encode("utf-8", "surrogatepass")
        written += [_CHARACTERS[byte] for byte in encoded]
        places += [place] * len(encoded)
    return "".join(written), places


def text_of(token: str) -> str:
    """Read characters for bytes as text. A character that is cut off becomes "\N{REPLACEMENT CHARACTER}".

    >>> text_of("ĠnÃ©")
    ' né'
    """
    if any(character not in _BYTES for character in token):
        return token
    return bytes(_BYTES[character] for character in token).decode("utf-8", "replace")


def is_byte_level(tokens: Collection[str]) -> bool:
    """Return whether tokens are written in characters for bytes.

    They are if all tokens are cut from text in UTF-8, and some token starts with "Ġ" or nearly all bytes are tokens. If
    nearly all bytes are tokens, a few tokens may be written as text: these were added later. Without a byte of a
    character beyond ASCII both readings are the same, and the result is False.
    """
    has_bytes = sum(token in _BYTES for token in tokens) > 200
    marked = has_bytes or any(len(token) > 1 and token[0] == "Ġ" for token in tokens)
    added = sum(is_written_as_text(token) for token in tokens)
    high = any(any(0x80 <= _BYTES.get(character, 0) < 0xC0 for character in token) for token in tokens)
    return marked and high and added <= (len(tokens) // 50 if has_bytes else 0)


def is_written_as_text(token: str) -> bool:
    """Return whether a token is written as text, not in characters for bytes.

    >>> is_written_as_text("Ã©"), is_written_as_text("été"), is_written_as_text("今")
    (False, True, True)
    """
    encoded = [_BYTES.get(character, -1) for character in token]
    return -1 in encoded or not _is_cut_from_utf8(bytes(encoded))


def _is_cut_from_utf8(encoded: bytes) -> bool:
    """Return whether bytes are a part of a text in UTF-8. Characters may be cut off at both ends."""
    if len(encoded) == 1:
        return True
    start = 0
    while start < min(3, len(encoded)) and 0x80 <= encoded[start] < 0xC0:
        start += 1
    try:
        encoded[start:].decode("utf-8")
    except UnicodeDecodeError as error:
        return error.reason == "unexpected end of data" and error.end == len(encoded) - start
    return True
