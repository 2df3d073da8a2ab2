"""The text and the words of what was decoded, by the marks of each kind of vocabulary."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import ctckit
from ctckit.decoding.spelling import Spelling

pytestmark = pytest.mark.usefixtures("core")

LETTERS = ["<pad>", "<s>", "</s>", "<unk>", "|", "a", "b"]
PIECES = ["<blank>", "<unk>", "▁", "▁a", "b", "▁ab", "c"]
WORD_PIECES = ["[PAD]", "[UNK]", "[CLS]", "a", "##b", "c", "##c"]
BYTE_LEVEL = ["<pad>", "Ġ", "Ġa", "b", "Ã", "¤", "c"]
BYTES = ["<pad>", "<unk>", "▁a", "<0xC3>", "<0xA4>", "b"]
PLAIN = ["-", "a", "b", "ab"]

TEXTS: dict[str, tuple[list[str], list[str], str, tuple[str, ...]]] = {
    "separators": (LETTERS, ["a", "|", "a", "b"], "a ab", ("a", "ab")),
    "many separators": (LETTERS, ["|", "|", "a", "|", "|", "b", "|"], "a b", ("a", "b")),
    "only separators": (LETTERS, ["|", "|"], "", ()),
    "a space": (["-", " ", "a", "b"], [" ", "a", " ", " ", "b"], "a b", ("a", "b")),
    "equal letters": (LETTERS, ["a", "a", "b", "b"], "aabb", ("aabb",)),
    "special tokens": (LETTERS, ["<s>", "a", "b", "|", "a", "</s>"], "ab a", ("ab", "a")),
    "special tokens alone": (LETTERS, ["<s>", "</s>"], "", ()),
    "unknown": (LETTERS, ["a", "<unk>", "b", "|", "<unk>"], "a⁇b ⁇", ("a⁇b", "⁇")),
    "pieces": (PIECES, ["▁a", "b", "▁ab", "c"], "ab abc", ("ab", "abc")),
    "pieces, the mark alone": (PIECES, ["▁", "c", "▁", "▁a"], "c a", ("c", "a")),
    "pieces, first without a mark": (PIECES, ["b", "▁a"], "b a", ("b", "a")),
    "pieces, unknown": (PIECES, ["▁a", "<unk>", "▁", "<unk>"], "a⁇ ⁇", ("a⁇", "⁇")),
    "word pieces": (WORD_PIECES, ["a", "##b", "c", "##c", "a"], "ab cc a", ("ab", "cc", "a")),
    "word pieces, continued first": (WORD_PIECES, ["##b", "a"], "b a", ("b", "a")),
    "word pieces, unknown": (WORD_PIECES, ["[CLS]", "a", "[UNK]", "c"], "a ⁇ c", ("a", "⁇", "c")),
    "byte level": (BYTE_LEVEL, ["Ġa", "b", "Ã", "¤", "Ġ", "c"], "abä c", ("abä", "c")),
    "byte level, half a character": (BYTE_LEVEL, ["Ġa", "Ã", "Ġa"], "a\ufffd a", ("a\ufffd", "a")),
    "bytes": (BYTES, ["▁a", "<0xC3>", "<0xA4>", "b", "▁a"], "aäb a", ("aäb", "a")),
    "bytes, half a character": (BYTES, ["▁a", "<0xA4>", "b"], "a\ufffdb", ("a\ufffdb",)),
    "no marks": (PLAIN, ["a", "b", "ab"], "abab", ()),
    "nothing": (PLAIN, [], "", ()),
}


def emissions_of(vocabulary: ctckit.Vocabulary, tokens: list[str]) -> torch.Tensor:
    """Of the tokens for sure, with blanks around."""
    blank = vocabulary.blank or 0
    path = [blank]
    for token in tokens:
        path += [vocabulary.ids[token], blank]
    return (20.0 * torch.eye(vocabulary.size)[path]).log_softmax(1)


@pytest.mark.parametrize("name", TEXTS)
def test_texts(name: str) -> None:
    names, tokens, text, words = TEXTS[name]
    vocabulary = ctckit.Vocabulary(names)
    x = emissions_of(vocabulary, tokens)
    decoder = ctckit.Decoder(vocabulary, nbest=2)
    found: Any = decoder(x)
    assert (found.text, found.words) == (text, words)
    assert found.tokens == tuple(vocabulary.ids[token] for token in tokens)
    assert found.nbest[0].text == text
    assert Spelling(vocabulary).text_and_words(found.tokens) == (text, words)
    assert [token.id for token in found.alignment.tokens] == list(found.tokens)
    stream = decoder.stream()
    for chunk in x.split(1):
        stream.push(chunk)
        assert text.startswith(stream.stable_text) or "\ufffd" in stream.stable_text
    assert (stream.text, stream.finish().text) == (text, text)


def test_every_source_of_a_vocabulary() -> None:
    """A list, a dict, a vocabulary, and classes without a name."""
    x = (20.0 * torch.eye(4)[[0, 1, 0, 2, 0, 3, 0]]).log_softmax(1)
    for vocabulary in (["-", "a", "b"], {"-": 0, "b": 2, "a": 1}, ctckit.Vocabulary(["-", "a", "b"])):
        found: Any = ctckit.Decoder(vocabulary, blank=0)(x)
        assert found.text == "ab<3>"
        assert found.tokens == (1, 2, 3)


def test_the_blank() -> None:
    """The vocabulary's; else the last class if there is one more; else the first."""
    path = (20.0 * torch.eye(4)[[3, 0, 0, 3, 0, 1, 3]]).log_softmax(1)
    last: Any = ctckit.Decoder(["a", "b", "c"])(path)
    assert last.text == "aab"
    named: Any = ctckit.Decoder(["a", "b", "c", "<blank>"])(path)
    assert named.text == "aab"
    first: Any = ctckit.Decoder(["a", "b", "c", "d"])(path)
    assert first.text == "ddbd"
    given: Any = ctckit.Decoder(["a", "b", "c", "d"], blank=1)(path)
    assert given.text == "dadad"
    with pytest.raises(ValueError, match="blank"):
        ctckit.Decoder(["a", "<blank>"], blank=0)


def test_decoders_of_nothing_but_classes_have_no_text() -> None:
    x = (20.0 * torch.eye(3)[[0, 1, 2]]).log_softmax(1)
    for found in (ctckit.beam_search(x), ctckit.greedy_decode(x)):
        assert isinstance(found, ctckit.Decoding)
        assert (found.text, found.words) == (None, None)
        assert found.alignment.words == ()
