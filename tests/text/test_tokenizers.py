"""Tokenizers of other libraries: offsets, normalisation, lost characters, truncation, added tokens."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest

import ctckit
from ctckit import Vocabulary
from tests.tools.vocabularies import Lowering, Pieces, Slow, names, sources

tokenizers = pytest.importorskip("tokenizers")
UNK = "[UNK]"


def bpe(*tokens: str, unk: str | None = None, **options: Any) -> Any:
    """A tokenizer of single characters and pairs of them."""
    pairs = [(token[0], token[1]) for token in tokens if len(token) == 2]
    model = tokenizers.models.BPE({token: n for n, token in enumerate(tokens)}, pairs, unk_token=unk, **options)
    found = tokenizers.Tokenizer(model)
    found.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    return found


def wordpiece(*tokens: str) -> Any:
    names = {token: n for n, token in enumerate([UNK, "[PAD]", "[CLS]", "[SEP]", *tokens])}
    found = tokenizers.Tokenizer(tokenizers.models.WordPiece(names, unk_token=UNK))
    found.normalizer = tokenizers.normalizers.BertNormalizer()
    found.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    return found


# -------------------------------------------------------------------------------------------------------- normalisation


def test_words_stay_as_the_text_has_them() -> None:
    """A tokenizer that lower-cases and removes accents, with both Unicode forms of the text."""
    tokenizer = wordpiece("the", "cafe", "##s", ",", "hello")
    for form in ("NFC", "NFD"):
        text = unicodedata.normalize(form, "The CAFÉS,  Hello")
        found = Vocabulary(tokenizer).encode(text)
        assert [piece.text for piece in found.pieces] == ["the", "cafe", "##s", ",", "hello"]
        assert [piece.word for piece in found.pieces] == [0, 1, 1, 1, 2]
        assert found.words == text.split()
        assert [text[start:end] for start, end in found.spans] == found.words


def test_words_stay_also_without_places() -> None:
    found = Vocabulary(Lowering()).encode("AB  Cd")
    assert (found.ids, found.words) == ([5, 6, 4, 7, 8], ["AB", "Cd"])
    assert Vocabulary(Lowering()).encode("AB xCD7", unknown="skip").words == ["AB", "xCD7"]


def test_compatibility_forms() -> None:
    tokenizer = bpe("f", "i", "1", "2")
    tokenizer.normalizer = tokenizers.normalizers.NFKC()
    found = Vocabulary(tokenizer).encode("\ufb01 \uff11\u00b2")
    assert [piece.text for piece in found.pieces] == ["f", "i", "1", "2"]
    assert found.words == ["\ufb01", "\uff11\u00b2"]


# ------------------------------------------------------------------------------------------------------ what is unknown


def test_a_word_that_is_unknown_as_a_whole() -> None:
    vocabulary = Vocabulary(wordpiece("ab", "##c", "d"))
    assert names(vocabulary, "abc abx; d", unknown="skip") == ["ab", "##c", "d"]
    found = vocabulary.encode("abc abx; d", unknown={"words": "wildcard", "punctuation": "skip"})
    assert [(p.text, p.word) for p in found.pieces] == [("ab", 0), ("##c", 0), ("abx", 1), ("d", 2)]
    assert (found.words, found.dropped) == (["abc", "abx;", "d"], (";",))


def test_a_kind_that_is_left_out_may_make_the_rest_known() -> None:
    """ "ab7" is one unknown token, of which only the number is unknown."""
    vocabulary = Vocabulary(wordpiece("ab", "##c"))
    assert names(vocabulary, "ab7 abc", unknown={"numbers": "skip"}) == ["ab", "ab", "##c"]
    with pytest.raises(ctckit.ArgumentValueError, match="no token for 'abx'"):
        vocabulary.encode("abx7 ab", unknown={"numbers": "skip"})


def test_a_model_that_loses_what_it_does_not_know() -> None:
    """BPE without an unknown token drops unknown characters. Then offsets are wrong, and pairs span the gap."""
    vocabulary = Vocabulary(bpe("a", "b", "ab"))
    for text, at in (("xab", 0), ("abxab", 2), ("axb", 1), ("ab x", 3), ("ab a\u0301", 4)):
        with pytest.raises(ctckit.ArgumentValueError, match=f"at position {at} of the text"):
            vocabulary.encode(text)
    assert names(vocabulary, "axb ab x abx", unknown="skip") == ["ab", "ab", "ab"]
    assert [p.id for p in vocabulary.encode("axb", unknown="wildcard").pieces] == [0, None, 1]


def test_what_a_tokenizer_means_to_remove() -> None:
    tokenizer = bpe("a", "b")
    tokenizer.normalizer = tokenizers.normalizers.Sequence(
        [tokenizers.normalizers.NFD(), tokenizers.normalizers.StripAccents(), tokenizers.normalizers.Replace("-", "")]
    )
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Sequence(
        [tokenizers.pre_tokenizers.WhitespaceSplit(), tokenizers.pre_tokenizers.Punctuation("removed")]
    )
    found = Vocabulary(tokenizer).encode("á-b, ! a\u0301")
    assert [piece.text for piece in found.pieces] == ["a", "b", "a"]
    assert (found.words, found.dropped) == (["á-b,", "a\u0301"], ("!",))
    with pytest.raises(ctckit.ArgumentValueError, match="no token for 'x'"):
        Vocabulary(tokenizer).encode("a x")


def test_a_wildcard_beside_what_a_tokenizer_removes_is_its_word() -> None:
    found = Vocabulary(wordpiece("a", "b")).encode("a -\u200d b", unknown="wildcard")
    assert [(p.text, p.id is None, p.word) for p in found.pieces] == [("a", False, 0), ("-", True, 1), ("b", False, 2)]
    assert found.words == ["a", "-\u200d", "b"]


def test_the_blank_of_a_tokenizer() -> None:
    """A tokenizer that returns the blank for a character: the blank is no text."""

    class Dash(Slow):
        def get_vocab(self) -> dict[str, int]:
            return {"-": 0, "|": 1, "a": 2, "b": 3}

        def convert_tokens_to_ids(self, tokens: list[str]) -> list[int]:
            return [self.get_vocab()[token] for token in tokens]

        unk_token_id = None  # type: ignore[assignment]

    with pytest.raises(ctckit.ArgumentValueError, match=r"'-' .*at position 1 of the text, in 'a-b', is the blank"):
        Vocabulary(Dash()).encode("a-b")
    assert Vocabulary(Dash()).encode("a-b - a", unknown="skip").ids == [2, 3, 1, 2]
    assert [p.id for p in Vocabulary(Dash()).encode("a-b", unknown="wildcard").pieces] == [2, None, 3]


def test_a_letter_that_is_the_blank_in_the_other_case() -> None:
    class Letters(Lowering):
        pad_token_id = unk_token_id = None  # type: ignore[assignment]

        def get_vocab(self) -> dict[str, int]:
            return {"a": 0, "b": 1, "|": 2}

        def convert_tokens_to_ids(self, tokens: list[str]) -> list[int]:
            return [self.get_vocab()[token] for token in tokens]

    with pytest.raises(
        ctckit.ArgumentValueError, match=r"'A' .*is the blank, which no text holds \(the blank is class 0"
    ):
        Vocabulary(Letters()).encode("BA", blank=0)


def test_special_tokens_of_the_tokenizer() -> None:
    tokenizer = bpe("<pad>", "<x>", "a", "b", "<", "x", ">", unk="<pad>")
    tokenizer.add_special_tokens(["<x>"])
    with pytest.raises(ctckit.ArgumentValueError, match="'<x>' at position 2 of the text"):
        Vocabulary(tokenizer).encode("a <x> b")
    assert names(tokenizer, "a <x>b<x> x", unknown="skip") == ["a", "b", "x"]


# ----------------------------------------------------------------------------------------------------------------- ways


def test_truncation_and_padding_are_turned_off() -> None:
    tokenizer = bpe("a", "b", "[PAD]")
    tokenizer.enable_truncation(2)
    tokenizer.enable_padding(length=8, pad_id=2)
    assert names(tokenizer, "ab ba ab") == list("abbaab")
    assert len(tokenizer.encode("ab ba ab").ids) == 8  # the caller's tokenizer is unchanged


def test_starts_and_ends_of_sentences_are_no_text() -> None:
    class Framing:
        """An encode() that adds the start and end of a sentence."""

        def get_vocab(self) -> dict[str, int]:
            return {"[CLS]": 0, "[SEP]": 1, "a": 2, "b": 3, "?": 4}

        def encode(self, text: str) -> list[int]:
            return [0, *(self.get_vocab().get(sign, 4) for sign in text if sign != " "), 1]

        unk_token_id = 4

    vocabulary = Vocabulary(Framing(), blank=5)
    assert vocabulary.encode("ab b").ids == [2, 3, 3]
    assert vocabulary.encode("ab b").words == ["ab", "b"]
    assert vocabulary.encode("xab - b", unknown="skip").ids == [2, 3, 3]


def test_a_token_over_several_words() -> None:
    scores = [("<unk>", 0.0), ("a", -3.0), ("b", -3.0), ("a b", -1.0), (" ", -3.0)]
    tokenizer = tokenizers.Tokenizer(tokenizers.models.Unigram(scores, 0, byte_fallback=False))
    found = Vocabulary(tokenizer, word_separator="").encode("a  b a", unknown="skip")
    assert [piece.text for piece in found.pieces if piece.text.strip()] == ["a b", "a"]
    assert found.words == ["a  b", "a"]
    assert found.spans == [(0, 4), (5, 6)]
    found = Vocabulary(tokenizer, word_separator="").encode("b b a  b a")
    assert found.words == ["b", "b", "a  b", "a"]
    assert found.spans == [(0, 1), (2, 3), (4, 8), (9, 10)]


def test_a_token_over_several_words_of_the_caller() -> None:
    """Exactly the words that it covers are one."""
    vocabulary = Vocabulary(bpe("a", "b", "ab"))
    for text, words, right in (
        ("ab", ["a", "b"], ["ab"]),
        ("aab", ["a", "a", "b"], ["a", "ab"]),
        ("aba", ["a", "b", "a"], ["ab", "a"]),
        ("ab b", ["a", "b", "b"], ["ab", "b"]),
    ):
        found = vocabulary.encode(text, words=words)
        assert found.words == right
        assert [text[start:end] for start, end in found.spans] == right
        assert found.dropped == ()


def test_a_word_that_a_tokenizer_removes_is_no_part_of_its_neighbour() -> None:
    tokenizer = bpe("a", "b", "ab")
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Punctuation("removed")
    found = Vocabulary(tokenizer).encode("aab!a", words=["a", "a", "b", "!", "a"])
    assert (found.words, found.spans, found.dropped) == (["a", "ab", "a"], [(0, 1), (1, 3), (4, 5)], ("!",))


def test_a_bar_that_a_tokenizer_does_not_use() -> None:
    """The vocabulary has the token, but the tokenizer does not put it between words."""
    assert names(bpe("a", "b", "|"), "a b") == ["a", "b"]
    assert names(Slow(), "a b") == ["a", "|", "b"]


def test_a_bar_that_a_tokenizer_makes_of_each_space() -> None:
    tokenizer = bpe("a", "b", "|", "ab")
    tokenizer.pre_tokenizer = None
    tokenizer.normalizer = tokenizers.normalizers.Replace(" ", "|")
    found = Vocabulary(tokenizer).encode("ab a  ab")
    assert [(p.text, p.word) for p in found.pieces] == [("ab", 0), ("|", None), ("a", 1), ("|", None), ("ab", 2)]


def test_byte_level() -> None:
    tokenizer = tokenizers.ByteLevelBPETokenizer()
    lines = ["hello world the café 今天 天气", "hello hello world"] * 10
    tokenizer.train_from_iterator(lines, vocab_size=300, special_tokens=["<pad>", "<s>"], show_progress=False)
    names = tokenizer.get_vocab()
    for source in (tokenizer, tokenizer._tokenizer):
        vocabulary = Vocabulary(source)
        assert vocabulary.blank == 0
        found = vocabulary.encode("hello\n café  <s> 今天!", unknown="skip")
        assert found.words == ["hello", "café", "今天!"]
        assert found.ids == tokenizer.encode("hello café 今天!").ids
        assert found.dropped == ("<s>",)
        wild = vocabulary.encode("hello * world", wildcard="*")
        assert [p.id for p in wild.pieces] == [names["hello"], None, names["Ġworld"]]  # with the space before it
    row = [token for token, _ in sorted(names.items(), key=lambda item: item[1])]
    assert Vocabulary(row).encode("café 今天").words == ["café", "今天"]
    assert Vocabulary(row).encode_tokens(tokenizer.encode(" café 今天").ids).words == ["café", "今天"]


@pytest.mark.parametrize("scheme", ["always", "first", "never"])
def test_metaspace(scheme: str) -> None:
    """A word after a wildcard has its mark, whichever words the tokenizer marks."""
    rows = {token: n for n, token in enumerate(["<pad>", "<unk>", "▁", "a", "b", "▁a", "▁b", "ab", "▁ab"])}
    merges = [("▁", "a"), ("▁", "b"), ("a", "b"), ("▁a", "b")]
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(rows, merges, unk_token="<unk>"))  # noqa: S106
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace(prepend_scheme=scheme)
    vocabulary = Vocabulary(tokenizer)
    first = "ab" if scheme == "never" else "▁ab"
    for text in ("ab * ab ab", "ab *\nab  ab"):
        found = vocabulary.encode(text, wildcard="*")
        assert [p.text for p in found.pieces] == [first, "*", "▁ab", "▁ab"]
        assert [p.word for p in found.pieces] == [0, 1, 2, 3]
    assert [p.text for p in vocabulary.encode("a*b ab", wildcard="*").pieces] == [first[:-1], "*", "b", "▁ab"]
    assert [p.text for p in vocabulary.encode("<unk> ab ab", unknown="skip").pieces] == [first, "▁ab"]


def test_a_word_behind_a_wildcard_without_a_token_for_mark_and_letter() -> None:
    rows = {token: n for n, token in enumerate(["<pad>", "<unk>", "▁", "a", "b", "▁ab", "ab"])}
    model = tokenizers.models.BPE(rows, [("a", "b"), ("▁", "ab")], unk_token="<unk>")  # noqa: S106
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace(prepend_scheme="never")
    assert names(tokenizer, "a * ab ba", wildcard="*") == ["a", "*", "▁ab", "▁", "b", "a"]
    # Here the tokenizer puts the mark before each text, so a space would make a second mark.
    tokenizer.pre_tokenizer = None
    normalizers = tokenizers.normalizers
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    assert names(tokenizer, "a * ab ba", wildcard="*") == ["▁", "a", "*", "▁ab", "▁", "b", "a"]


def test_bytes_of_what_a_tokenizer_has_no_token_for() -> None:
    """Bytes are tokens of a character. The name of a byte in a text is not."""
    rows = {t: n for n, t in enumerate(["<unk>", *(f"<0x{b:02X}>" for b in range(256)), "▁", "▁a", "a"])}
    model = tokenizers.models.BPE(rows, [("▁", "a")], unk_token="<unk>", byte_fallback=True)  # noqa: S106
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    vocabulary = Vocabulary(tokenizer)
    found = vocabulary.encode("a é a\u2603")
    assert [p.text for p in found.pieces] == ["▁a", "▁", "<0xC3>", "<0xA9>", "▁a", "<0xE2>", "<0x98>", "<0x83>"]
    assert [p.word for p in found.pieces] == [0, 1, 1, 1, 2, 2, 2, 2]
    assert found.words == ["a", "é", "a\u2603"]
    assert vocabulary.encode("a <0xC3> a", unknown="skip").pieces == vocabulary.encode("a a").pieces
    with pytest.raises(ValueError, match="'<0xC3>' at position 2 of the text"):
        vocabulary.encode("a <0xC3>")


def test_sentencepiece() -> None:
    """The real library, if it is installed: its own offsets and control tokens."""
    processor = sources().get("sentencepiece")
    if processor is None:
        pytest.skip("sentencepiece is not installed")
    vocabulary = Vocabulary(processor)
    text = "ab cd abc"
    assert vocabulary.encode(text).ids == processor.encode(text)
    assert vocabulary.encode("ab,  cd <s> abc", unknown="skip").ids == processor.encode(text)
    assert vocabulary.encode("ab,  cd", unknown="skip").words == ["ab,", "cd"]
    pieces = [processor.id_to_piece(n) for n in range(processor.get_piece_size())]
    assert Vocabulary(pieces).encode(text).words == ["ab", "cd", "abc"]


def test_tokenizers_that_are_none() -> None:
    with pytest.raises(ctckit.ArgumentTypeError, match="vocabulary is a object, but must be a list of tokens"):
        Vocabulary(object())
    assert Vocabulary(Pieces()).blank is None
