"""Byte-level alphabets, and bytes as tokens for characters that no token has."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ctckit import Vocabulary
from ctckit.text.byte_level import bytes_of
from tests.tools.vocabularies import names


def test_byte_level_alphabets(tmp_path: Any) -> None:
    """A list, dict or vocab.json of byte-level BPE is read by its bytes, as GPT-2 writes them."""
    row = ["<pad>", *dict.fromkeys(bytes_of("".join(map(chr, range(0x20, 0x100))) + "今天气")[0]), "Ġcaf", "Ã©", "Ġä»Ĭ"]
    (tmp_path / "vocab.json").write_text(json.dumps({token: n for n, token in enumerate(row)}), encoding="utf-8")
    for source in (row, {token: n for n, token in enumerate(row)}, tmp_path / "vocab.json"):
        found = Vocabulary(source).encode("café 今天!")
        assert [p.text for p in found.pieces] == ["Ġcaf", "Ã©", "Ġä»Ĭ", "å", "¤", "©", "!"]
        assert [p.word for p in found.pieces] == [0, 0, 1, 1, 1, 1, 1]
        assert found.words == ["café", "今天!"]
    # The way back: the words of a row of tokens.
    back = Vocabulary(row).encode_tokens(["Ġcaf", "Ã©", "Ġä»Ĭ", "å", "¤", "©"])
    assert back.words == ["café", "今天"]


def test_byte_level_alphabets_without_all_bytes() -> None:
    """A character is unknown as a whole, even if some of its bytes are tokens."""
    row = ["<pad>", "Ġ", "Ġa", "a", "Ã", "Ã©", "ä", "»"]
    assert names(row, "aé a", unknown="skip") == ["Ġa", "Ã©", "Ġa"]
    found = Vocabulary(row).encode("a今é", unknown="wildcard")
    assert [(p.text, p.id) for p in found.pieces] == [("Ġa", 2), ("今", None), ("Ã©", 5)]
    with pytest.raises(ValueError, match=r"character '今' .*at position 1 of the text"):
        Vocabulary(row).encode("a今")


def byte_signs() -> list[str]:
    # All bytes but those that UTF-8 never has, as GPT-2 writes them.
    return list(dict.fromkeys(bytes_of("".join(map(chr, [*range(0x800), *range(0x1000, 0x110000, 0x1000)])))[0]))


@pytest.mark.parametrize("added", [[], ["…"], ["今天"], ["<noise>", "▁"], ["Ġ今"], ["Ġthe"], ["▁a", "café", "été"]])
@pytest.mark.parametrize("text", ["今天…", "été 😀 今", "naïve “a” «b»", "abc"])
def test_byte_level_alphabets_with_added_tokens(added: list[str], text: str) -> None:
    """Bytes spell every text. Further tokens that are written as text are used as well."""
    vocabulary = Vocabulary(["<pad>", *dict.fromkeys(added + byte_signs())])
    found = vocabulary.encode(text)
    assert found.words == text.split()
    assert found.dropped == ()
    assert vocabulary.encode_tokens([p.text for p in found.pieces]).words == text.split()
    for token in added:  # its letters are in no other token
        used = token in [p.text for p in found.pieces]
        assert used == ((" " + text).find(token.replace("Ġ", " ")) >= 0)


def test_fold_case_of_byte_level_alphabets() -> None:
    """Letters have cases, bytes have none: of "é", C3 A9, byte E3 is no other case, although "ã" is that of "Ã"."""
    row = ["<pad>", "Ġ", "Ġa", "Ã©", "ã", "©", "Ġcaf", "Âµ", "İ"]
    found = Vocabulary(row, fold_case=True)
    assert [p.text for p in found.encode("CAFÉ A é").pieces] == ["Ġcaf", "Ã©", "Ġa", "Ġ", "Ã©"]
    with pytest.raises(ValueError, match="character 'è'"):
        found.encode("è")
    assert names([*row[:3], "ã", "©"], "é a", unknown="skip") == ["Ġa"]
    folding = Vocabulary([*row[:3], "ã", "©"], fold_case=True)
    assert folding.encode("é a", unknown="skip").dropped == ("é",)


def test_letters_that_look_like_bytes() -> None:
    """Maltese has the letter "Ġ". A list of Latin letters is not a list of bytes."""
    assert names(["<pad>", "|", "Ġ", "a", "é"], "Ġa é") == ["Ġ", "a", "|", "é"]
    latin = [chr(sign) for sign in range(0x21, 0x180)]
    assert names(latin, "Ġénaïve…", unknown="skip") == [*"Ġénaïve"]


def test_bytes_for_what_no_token_has() -> None:
    row = ["<unk>", "▁", "▁a", "b", *(f"<0x{byte:02X}>" for byte in range(256))]
    assert names(row, "ab é") == ["▁a", "b", "▁", "<0xC3>", "<0xA9>"]
    with pytest.raises(ValueError, match="'<0xC3>' at position 1 of the text"):
        Vocabulary(["<unk>", "a", "<0xC3>"]).encode("a<0xC3>")


@pytest.mark.parametrize(
    ("tokens", "text", "right"),
    [
        (["▁", "▁a", "b"], "abé", ["▁a", "b", "<0xC3>", "<0xA9>"]),
        (["▁", "▁ab", "▁a", "bc"], "abc", ["▁ab", "<0x63>"]),  # the longest token first, as everywhere
        (["▁a"], "é", ["<0xC3>", "<0xA9>"]),
        (["▁a", "é"], "é", ["é"]),  # neither the token nor the bytes have the mark of a start
        (["a</w>", "a", "é"], "aé", ["a", "é"]),  # likewise the mark of an end
        (["a</w>", "a", "é"], "éa", ["é", "a</w>"]),
        (["a@@", "a", "é"], "aé", ["a@@", "é"]),
    ],
)
def test_bytes_are_for_what_no_token_has_alone(tokens: list[str], text: str, right: list[str]) -> None:
    row = ["<unk>", *tokens, *(f"<0x{byte:02X}>" for byte in range(256))]
    assert names(row, text) == right
    assert [piece.text for piece in Vocabulary(row, fold_case=True).encode(text).pieces] == right
