"""Upper and lower case, composed letters, and the hints of error messages about them."""

from __future__ import annotations

import unicodedata

import pytest

import ctckit
from ctckit import Vocabulary
from tests.tools.vocabularies import names


@pytest.mark.parametrize(
    ("source", "text", "hint"),
    [
        (["-", *"cafeé"], unicodedata.normalize("NFD", "café"), "form NFC"),
        (["-", *"cafe", "\u0301"], "café", "form NFD"),
        (["-", "한", "글"], unicodedata.normalize("NFD", "한글"), "form NFC"),
        (["-", "が"], unicodedata.normalize("NFD", "が"), "form NFC"),
        (["-", "é"], "E\u0301", "form NFC.*as 'é'; fold_case"),
        (["-", "A", "1"], "\uff21", "form NFKC"),
        (["-", *"fi"], "\ufb01", "form NFKC"),
        (["-", *"its'"], "it\u2019s", r"it has \"'\", U\+0027, APOSTROPHE"),
        (["-", *"its\u2019"], "it's", "it has '\u2019', U.2019, RIGHT SINGLE QUOTATION MARK"),
        (["<pad>", *"ab-"], "a\u2013b", r"it has '-', U\+002D, HYPHEN-MINUS"),
        (["<pad>", *'ab"'], "\u201cab", "QUOTATION MARK"),
        (["<pad>", *"ab."], "ab\u2026", "form NFKC"),
        (["<pad>", *"ab"], "aB", "it has 'b'; fold_case=True"),
        (["<pad>", *"AB"], "Ab", "it has 'B'; fold_case=True"),
    ],
)
def test_hints(source: list[str], text: str, hint: str) -> None:
    with pytest.raises(ctckit.ArgumentValueError, match=hint):
        Vocabulary(source).encode(text)


def test_a_decomposed_letter_is_one_letter() -> None:
    """It is left out, or becomes a wildcard, as a whole: "é" never becomes "e", in either form."""
    row = ["<pad>", "|", *"cafebs"]
    for form in ("NFC", "NFD"):
        text = unicodedata.normalize(form, "cafés bé")
        found = Vocabulary(row).encode(text, unknown="skip")
        assert "".join(p.text for p in found.pieces) == "cafs|b"
        assert found.words == text.split()
        wild = Vocabulary(row).encode(text, unknown="wildcard")
        assert [p.id for p in wild.pieces] == [2, 3, 4, None, 7, 1, 6, None]
    # Marks that compose with no letter are characters of their own: vowel points may be left out.
    arabic = unicodedata.normalize("NFD", "\u0643\u064e\u062a\u064e\u0628")
    assert names(["-", *"\u0643\u062a\u0628"], arabic, unknown="skip") == ["\u0643", "\u062a", "\u0628"]


def test_fold_case_takes_no_letter_for_another() -> None:
    def folded(tokens: list[str], text: str) -> list[str]:
        return [p.text for p in Vocabulary(["-", *tokens], fold_case=True).encode(text, unknown="skip").pieces]

    assert folded(["s", "ss", "ß"], "SS") == ["ss"]
    assert folded(["ß", "xx"], "ss") == []
    assert folded(["S", "SS"], "ß") == []
    assert folded(["ß"], "ẞ") == ["ß"]
    assert folded(["i", "\u0307"], "\u0130") == []  # İ is not i
    assert folded(["i", "\u0131"], "I\u0130") == ["\u0131", "i"]  # but in Turkish it is
    assert folded(["I", "\u0130"], "\u0131i") == ["I", "\u0130"]
    assert folded([*"οδσς"], "ΟΔΟΣ") == [*"οδος"]
    assert folded([*"οδσς"], "ΣΟΔ") == [*"σοδ"]
    assert folded([*"ΟΔΣ"], "οδος") == [*"ΟΔΟΣ"]
    assert folded(["The", "the", "T", "h", "e"], "THE the The") == ["the", "the", "The"]
    assert folded(["Th", "e"], "tHe") == ["Th", "e"]
    assert folded(["The", "THE"], "the tHe") == ["THE", "THE"]  # lower case, then upper case, then a mixture
    assert folded(["The", "THE", "the"], "tHe") == ["the"]
    assert folded(["▁the", "▁A"], "The a") == ["▁the", "▁A"]


def test_a_blank_that_is_a_letter() -> None:
    message = r"character 'a' .*is the blank, which no text holds \(the blank is class 0 by default: pass blank=\)"
    with pytest.raises(ctckit.ArgumentValueError, match=message):
        Vocabulary(["a", "b"]).encode("ba", blank=0)
    with pytest.raises(ctckit.ArgumentValueError, match=message.replace("'a'", "'A'")):
        Vocabulary(["a", "b"], fold_case=True).encode("BA", blank=0)
    with pytest.raises(ctckit.ArgumentValueError, match=r"\(the vocabulary was made with blank=1\)"):
        Vocabulary(["a", "b"], blank=1).encode("ba")
