"""Names of special tokens in a text are unknown words, in vocabularies of every kind."""

from __future__ import annotations

import re

import pytest

import ctckit
from ctckit import Vocabulary
from tests.tools.vocabularies import names, sources, vocabularies

SOURCES = pytest.mark.parametrize("name", list(sources()))
VOCABULARIES = vocabularies()

NAMES = ["<unk>", "<s>", "</s>", "<pad>", "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "<blank>", "<blk>", "<mask>"]


@SOURCES
@pytest.mark.parametrize("special", [*NAMES, "<UNK>", "<|endoftext|>"])
def test_special_names_are_unknown_words(name: str, special: str) -> None:
    vocabulary = VOCABULARIES[name]
    with pytest.raises(ctckit.ArgumentValueError, match=re.escape(f"{special!r} at position 3 of the text, in")):
        vocabulary.encode(f"ab {special} cd")
    for text, clean in ((f"ab {special} cd", "ab cd"), (f"{special} ab", "ab"), (f"ab{special}", "ab")):
        found = vocabulary.encode(text, unknown="skip")
        assert found.pieces == vocabulary.encode(clean).pieces
        assert found.dropped == (special,)
    assert vocabulary.encode(special, unknown="skip").is_lost
    for text in (f"ab {special} cd", f"ab{special}cd"):
        wild = [piece for piece in vocabulary.encode(text, unknown="wildcard").pieces if piece.id is None]
        assert [piece.text for piece in wild] == [special]
    numbers = vocabulary.encode(f"ab {special} 7", unknown={"words": "skip", "numbers": "wildcard"})
    assert [piece.text for piece in numbers.pieces if piece.id is None] == ["7"]


def test_special_names_as_wildcards_in_full() -> None:
    vocabulary = Vocabulary({"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3, "|": 4, "A": 5, "C": 6, "T": 7})
    found = vocabulary.encode("CAT <unk> ACT<s>", unknown="wildcard")
    assert [piece.id for piece in found.pieces] == [6, 5, 7, 4, None, 4, 5, 6, 7, None]
    assert found.words == ["CAT", "<unk>", "ACT<s>"]
    assert [piece.word for piece in found.pieces] == [0, 0, 0, None, 1, None, 2, 2, 2, 2]


def test_special_names_in_the_other_case() -> None:
    vocabulary = Vocabulary(["<PAD>", "<UNK>", "U", "N", "K", "<", ">"], fold_case=True)
    with pytest.raises(ValueError, match="'<unk>' at position 0 of the text, in '<unk>', is the name of a special"):
        vocabulary.encode("<unk>")
    assert vocabulary.encode("<nuk>").ids == [5, 3, 2, 4, 6]  # not a special name


def test_a_character_set_may_spell_a_name_that_it_has_not() -> None:
    characters = ["<blank>", *(chr(code) for code in range(33, 127))]
    assert names(characters, "<unk>") == list("<unk>")
    with pytest.raises(ValueError, match="'<blank>' at position 1 of the text"):
        Vocabulary(characters).encode("a<blank>")


def test_letters_alone_spell_no_name() -> None:
    """The brackets decide: if they are tokens, the text is a row of characters; if not, it is a name."""
    without = Vocabulary(["-", *"unk"]).encode("nu <unk>", unknown="skip")
    assert ([p.text for p in without.pieces], without.dropped) == (["n", "u"], ("<unk>",))
    within = Vocabulary(["-", *"un<>"]).encode("nu <unk>", unknown="skip")
    assert ([p.text for p in within.pieces], within.dropped) == ([*"nu<un>"], ("k",))


def test_a_tokenizer_says_which_tokens_are_special() -> None:
    class Noise:
        all_special_tokens = ("[noise]", "|")
        unk_token_id = None

        def get_vocab(self) -> dict[str, int]:
            return {"-": 0, "|": 1, "[noise]": 2, "a": 3}

        def tokenize(self, text: str) -> list[str]:
            return [token.replace(" ", "|") for token in re.findall(r"\[noise\]|.", text)]

        def convert_tokens_to_ids(self, tokens: list[str]) -> list[int]:
            return [self.get_vocab()[token] for token in tokens]

    assert Vocabulary(Noise()).encode("a a").ids == [3, 1, 3]  # the separator is special, but is still used
    with pytest.raises(ValueError, match=r"'\[noise\]' at position 2"):
        Vocabulary(Noise()).encode("a [noise] a")
    assert Vocabulary(Noise()).encode("a [noise] a", unknown="skip").ids == [3, 1, 3]
    # In a list it is a token like any other, since a model may have learnt it.
    assert Vocabulary(["-", "|", "[noise]", "a"]).encode("a [noise] a").ids == [3, 1, 2, 1, 3]
