"""How texts are spelt by vocabularies of every kind: what is left out, special names, white space, words."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ctckit
from ctckit import Vocabulary
from tests.tools.vocabularies import WHOLE_WORDS, sources

JUNK = "-~é7,"
SOURCES = pytest.mark.parametrize("name", list(sources()))
VOCABULARIES = {name: Vocabulary(source) for name, source in sources().items()}


def tokens(vocabulary: Any, text: str, **options: Any) -> list[tuple[str, int | None]]:
    return [(piece.text, piece.id) for piece in Vocabulary(vocabulary).encode(text, **options).pieces]


def names(vocabulary: Any, text: str, **options: Any) -> list[str]:
    return [piece.text for piece in Vocabulary(vocabulary).encode(text, **options).pieces]


# ------------------------------------------------------------------------------------------------- what is left out


def check_skipping(vocabulary: Vocabulary, text: str) -> None:
    """The tokens are those of the text without what is left out; the words are as the text has them."""
    found = vocabulary.encode(text, unknown="skip")
    clean = vocabulary.encode(re.sub(f"[{JUNK}]", "", text))
    kept = [match for match in re.finditer(r"\S+", text) if set(match[0]) - set(JUNK)]
    assert found.pieces == clean.pieces
    assert found.words == [match[0] for match in kept]
    assert found.spans == [match.span() for match in kept]
    assert found.dropped == tuple(re.findall(f"[{JUNK}]+", text))
    assert {piece.word for piece in found.pieces} - {None} == set(range(len(kept)))


@SOURCES
@pytest.mark.parametrize(
    "text",
    [
        "ab - cd",
        "- ab",
        "ab -",
        "- - ab - ~ cd - ~",
        "ab\t-\ncd",
        "-",
        "- ~",
        "ab, cd",
        "ab -cd",
        "é 7 ab é 7",
        " - ab",
    ],
)
def test_words_left_out_leave_nothing_behind(name: str, text: str) -> None:
    check_skipping(VOCABULARIES[name], text)


@SOURCES
@given(text=st.text(alphabet="abcd" + JUNK + "  \n", max_size=20))
def test_characters_left_out_leave_nothing_behind(name: str, text: str) -> None:
    if name in WHOLE_WORDS:
        text = re.sub("[é7]+", " é ", text)
    check_skipping(VOCABULARIES[name], text)


def test_what_is_left_out_is_not_there_by_literals() -> None:
    """No vocabulary judges itself: the rows in full."""
    assert names(sources()["list"], "- ab , c -", unknown="skip") == ["a", "b", "|", "c"]
    assert names(sources()["marked starts"], "-abc , -c", unknown="skip") == ["▁ab", "c", "▁c"]
    assert names(sources()["continuations"], "-abcd", unknown="skip") == ["a", "##bc", "##d"]
    assert names(sources()["ends"], "cab- , d", unknown="skip") == ["c", "ab</w>", "d</w>"]
    assert names(sources()["continued"], "cab- , d", unknown="skip") == ["c@@", "a@@", "b", "d"]
    assert names(sources()["slow tokenizer"], "- ab , c -", unknown="skip") == ["a", "b", "|", "c"]
    assert names(sources()["codes"], "- ab , c -", unknown="skip") == ["a", "b", " c"]


def test_nothing_is_left() -> None:
    transcript = Vocabulary(sources()["list"]).encode("xyz - XY", unknown="skip")
    assert (transcript.ids, transcript.words, transcript.dropped) == ([], [], ("xyz", "-", "XY"))
    assert transcript.is_lost
    assert not Vocabulary(sources()["list"]).encode(" \n", unknown="skip").is_lost


# ------------------------------------------------------------------------------------------------- white space, words


@SOURCES
def test_white_space_is_the_same_for_all(name: str) -> None:
    vocabulary = VOCABULARIES[name]
    expected = vocabulary.encode("ab cd ab")
    for text in (" ab  cd ab ", "ab\ncd\r\n\tab\n", "ab\u00a0cd\u3000ab", "\u2003ab \u2028 cd\x0bab\f"):
        found = vocabulary.encode(text)
        assert found.pieces == expected.pieces
        assert found.words == ["ab", "cd", "ab"]
        assert [text[start:end] for start, end in found.spans] == found.words
    assert vocabulary.encode(" \t\n").pieces == []


@SOURCES
def test_tokens_are_of_their_words(name: str) -> None:
    vocabulary = VOCABULARIES[name]
    transcript = vocabulary.encode("abcd d ba")
    for number, word in enumerate(["abcd", "d", "ba"]):
        row = [piece.text for piece in transcript.pieces if piece.word == number]
        assert re.sub(r"▁|##|</w>|_|@@| ", "", "".join(row)) == word


def test_words_of_the_caller() -> None:
    """For texts without spaces: a list, or a function."""
    source = ["<blank>", *"今天气很好我们"]
    vocabulary = Vocabulary(source)
    text = "今天天气很好。我们"
    kinds: list[Any] = [["今天", "天气", "很", "好", "我们"], ["今天", "天气", "很", "好", "。", "我们"]]
    for words in (*kinds, lambda _: kinds[0]):
        found = vocabulary.encode(text, words=words, unknown="skip")
        assert found.words == ["今天", "天气", "很", "好", "我们"]
        assert [piece.word for piece in found.pieces] == [0, 0, 1, 1, 2, 3, 4, 4]
        assert found.ids == vocabulary.encode(text, unknown="skip").ids
        assert found.spans == [(0, 2), (2, 4), (4, 5), (5, 6), (7, 9)]
        assert found.dropped == ("。",)
    assert Vocabulary(["-", "|", *"ab"]).encode("ab a", words=["a", "b", "a"]).ids == [2, 3, 1, 2]  # the space remains
    whole = Vocabulary(["-", "|", *"ab"]).encode("ab a", words=["ab a"])
    assert (whole.words, whole.ids) == (["ab a"], [2, 3, 1, 2])
    pairs = Vocabulary(["-", "今", "天", "今天", "天天", "气"])
    assert [p.text for p in pairs.encode("今天天气", words=["今", "天天", "气"]).pieces] == ["今", "天天", "气"]
    both = ["今", "天天", "*", "今天", "天"]  # other bounds behind the wildcard than before it
    assert [p.text for p in pairs.encode("今天天*今天天", words=both, wildcard="*").pieces] == both


@pytest.mark.parametrize(
    ("tokens", "right"),
    [
        (["▁ab", "▁c", "▁d", "c", "d"], ["▁ab", "c", "▁d"]),  # marks are for white space
        (["▁", "ab", "▁c", "c", "d", "▁d"], ["▁", "ab", "c", "▁d"]),
        (["ab", "ab</w>", "c", "c</w>", "d</w>"], ["ab", "c</w>", "d</w>"]),
        (["ab", "ab@@", "c", "c@@", "d"], ["ab@@", "c", "d"]),
        (["ab", "c", "##c", "##d", "d"], ["ab", "c", "d"]),  # but here they are for what begins no word
        (["▁", "ab", "##b", "##c", "##d"], ["ab", "##c", "▁", "##d"]),
    ],
)
def test_marks_of_words_of_the_caller(tokens: list[str], right: list[str]) -> None:
    found = Vocabulary(["<pad>", *tokens]).encode("abc d", words=["ab", "c", "d"])
    assert [piece.text for piece in found.pieces] == right
    assert found.words == ["ab", "c", "d"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ab...cd", ["ab", "...", "cd"]),
        ("..ab", ["..", "ab"]),
        ("ab. ..cd", ["ab", ".", "..", "cd"]),
        ("ab ...", ["ab", "..."]),
        ("a.. b.. ..", ["a", "..", "b", "..", ".."]),
    ],
)
def test_signs_between_words_of_the_caller_are_words(text: str, words: list[str]) -> None:
    vocabulary = Vocabulary(["-", *"abcd."])
    found = vocabulary.encode(text, words=re.findall("[a-d]+", text))
    assert found.words == [text[start:end] for start, end in found.spans] == words
    assert [piece.word for piece in found.pieces] == [n for n, word in enumerate(words) for _ in word]


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (["ab", "x"], ValueError, r"words\[1\] is 'x', which is not in the text after position 2"),
        (["b"], ValueError, r"words has no word for 'a' at position 0"),
        (["a", "b"], ValueError, r"words has no word for 'c' at position 3 of the text, before the end of the text"),
        (["c", "ab"], ValueError, r"words has no word for 'ab'"),
        ("ab c", TypeError, "words is a str, but must be a list"),
        (lambda _: None, TypeError, "words returned a NoneType"),
        ([1], TypeError, r"words\[0\] is 1, a int"),
    ],
)
def test_words_that_are_not_of_the_text(words: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        Vocabulary(["-", *"abc"]).encode("ab c", words=words)
    assert isinstance(caught.value, (ctckit.ArgumentTypeError, ctckit.ArgumentValueError))


# ------------------------------------------------------------------------------------------------------ special names

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
    assert vocabulary.encode("<nuk>").ids == [5, 3, 2, 4, 6]  # which is no name


def test_a_character_set_may_spell_a_name_that_it_has_not() -> None:
    characters = ["<blank>", *(chr(code) for code in range(33, 127))]
    assert names(characters, "<unk>") == list("<unk>")
    with pytest.raises(ValueError, match="'<blank>' at position 1 of the text"):
        Vocabulary(characters).encode("a<blank>")


def test_letters_alone_spell_no_name() -> None:
    """The brackets decide: with them it is a row of characters, and without them a name."""
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

    assert Vocabulary(Noise()).encode("a a").ids == [3, 1, 3]  # the separator is special, and still the separator
    with pytest.raises(ValueError, match=r"'\[noise\]' at position 2"):
        Vocabulary(Noise()).encode("a [noise] a")
    assert Vocabulary(Noise()).encode("a [noise] a", unknown="skip").ids == [3, 1, 3]
    # In a list it is a token like any other: a model may have learnt it.
    assert Vocabulary(["-", "|", "[noise]", "a"]).encode("a [noise] a").ids == [3, 1, 2, 1, 3]


# ------------------------------------------------------------------------------------------------------------ wildcards


def test_unknown_apart_for_words_numbers_and_punctuation() -> None:
    vocabulary = Vocabulary(["<pad>", "|", *"abc"])

    def spelt(text: str, **unknown: str) -> list[str]:
        return [piece.text for piece in vocabulary.encode(text, unknown=unknown).pieces]

    both = {"numbers": "wildcard", "punctuation": "skip"}
    assert spelt("ab, 3.5% - c!", **both) == ["a", "b", "|", "3.5%", "|", "c"]
    assert spelt("$5 (b) 1,000", **both) == ["$5", "|", "b", "|", "1,000"]
    assert spelt("a7b, -7", **both) == ["a", "7", "b", "|", "-7"]
    assert spelt("a é 7 !", words="skip", **both) == ["a", "|", "7"]
    assert spelt("é, 7", words="wildcard", numbers="skip", punctuation="skip") == ["é"]
    for text, unknown in (("é 7", both), ("7", {"words": "skip"}), ("a!", {"numbers": "skip"}), ("!", {})):
        with pytest.raises(ctckit.ArgumentValueError, match="is not in the vocabulary"):
            spelt(text, **unknown)


def test_a_wildcard_of_punctuation_is_no_part_of_a_word_at_its_ends() -> None:
    vocabulary = Vocabulary(["<pad>", "|", *"ab"])
    rows: dict[str, list[int | None]] = {
        '"ab,': [None, 0, 0, None],
        "a'b": [0, 0, 0],
        "ab7": [0, 0, 0],
        "7ab!": [0, 0, 0, None],
        "ab7!": [0, 0, 0],  # one wildcard, and a number in it
        "...": [0],
        "a - b": [0, None, 1, None, 2],
    }
    for text, words in rows.items():
        transcript = vocabulary.encode(text, unknown="wildcard")
        assert [piece.word for piece in transcript.pieces] == words
        assert transcript.words == text.split()
    asked = vocabulary.encode("ab*", wildcard="*")
    assert [piece.word for piece in asked.pieces] == [0, 0, 0]


@SOURCES
def test_neighbouring_unknown_tokens_are_one_wildcard(name: str) -> None:
    vocabulary = VOCABULARIES[name]
    found = vocabulary.encode("ab é7é ~~ cd", unknown="wildcard")
    assert [(p.text, p.word) for p in found.pieces if p.id is None] == [("é7é", 1), ("~~", 2)]
    assert found.words == ["ab", "é7é", "~~", "cd"]
    assert [p for p in found.pieces if p.word == 3] == [
        p._replace(word=3) for p in vocabulary.encode("ab cd").pieces if p.word == 1
    ]


@SOURCES
def test_wildcards_of_the_caller(name: str) -> None:
    vocabulary = VOCABULARIES[name]
    found = vocabulary.encode("ab * cd**", wildcard="*")
    assert [(p.text, p.word) for p in found.pieces if p.id is None] == [("*", 1), ("**", 2)]
    plain = [p.id for p in vocabulary.encode("ab cd").pieces if p.word is not None]
    if name not in (
        "ends",
        "trailing underscores",
        "ends as of SentencePiece",
        "continued",
    ):  # there a token before the end is another
        assert [p.id for p in found.pieces if p.id is not None and p.word is not None] == plain
    within = vocabulary.encode("a*c", wildcard="*").pieces
    assert [p.word for p in within] == [0] * len(within)
    assert not any(p.text.startswith(("▁", " ")) for p in within[2:])


def test_wildcards_within_words_keep_the_marks_right() -> None:
    assert names(sources()["ends"], "ab*b c", wildcard="*") == ["a", "b", "*", "b</w>", "c</w>"]
    assert names(sources()["continued"], "ab*b c", wildcard="*") == ["a@@", "b@@", "*", "b", "c"]
    assert names(sources()["continuations"], "ab*b c", wildcard="*") == ["a", "##b", "*", "##b", "c"]
    assert names(sources()["marked starts"], "ab*c c", wildcard="*") == ["▁ab", "*", "c", "▁c"]


@SOURCES
@pytest.mark.parametrize(
    "text", ["ab, cd", '"ab" cd', "ab (cd)", "!?ab cd", "ab \u2603 cd", "- ab cd\u2026", "\u00bfab cd?!"]
)
def test_wildcards_of_punctuation_leave_the_words_as_they_are(name: str, text: str) -> None:
    """Marks of words' starts and ends stay, as no wildcard at a word's edge is a part of it."""
    vocabulary = VOCABULARIES[name]
    found = vocabulary.encode(text, unknown={"punctuation": "wildcard"})
    spelt = [(p.text, p.id) for p in found.pieces if p.id is not None and p.word is not None]
    right = vocabulary.encode("* ab cd" if text[0] == "-" else "ab cd", wildcard="*")
    assert spelt == [(p.text, p.id) for p in right.pieces if p.id is not None and p.word is not None]
    assert any(p.id is None for p in found.pieces)


@SOURCES
@pytest.mark.parametrize("half", [chr(0xD800), chr(0xDFFF)])
def test_half_a_character_is_unknown(name: str, half: str) -> None:
    """A lone surrogate, which JSON can bring in, and which tokenizers refuse."""
    vocabulary = VOCABULARIES[name]
    with pytest.raises(ctckit.ArgumentValueError, match=ascii(half)[2:-1]):
        vocabulary.encode(f"ab {half}cd")
    check = vocabulary.encode(f"ab {half}cd", unknown="skip")
    assert (check.pieces, check.dropped) == (vocabulary.encode("ab cd").pieces, (half,))


@SOURCES
@pytest.mark.parametrize("sign", ["▁", "Ġ", "##", "@@", "</w>", "_"])
def test_marks_in_a_text_are_characters_like_others(name: str, sign: str) -> None:
    vocabulary = VOCABULARIES[name]
    expected = vocabulary.encode("ab cd")
    found = vocabulary.encode(f"ab {sign} cd", unknown="skip")
    assert found.pieces == expected.pieces
    assert found.words == ["ab", "cd"]
    if found.dropped:  # or it is white space there
        assert found.dropped == (sign,)
        with pytest.raises(ctckit.ArgumentValueError, match=r"has no token for|is not in the vocabulary"):
            vocabulary.encode(f"ab {sign} cd")


# ------------------------------------------------------------------------------------------------------------ alphabets


def test_byte_level_alphabets(tmp_path: Any) -> None:
    """A list, dict or vocab.json of byte-level BPE is read by its bytes, as GPT-2 writes them."""
    import json

    from ctckit.text.byte_level import bytes_of

    row = ["<pad>", *dict.fromkeys(bytes_of("".join(map(chr, range(0x20, 0x100))) + "今天气")[0]), "Ġcaf", "Ã©", "Ġä»Ĭ"]
    (tmp_path / "vocab.json").write_text(json.dumps({token: n for n, token in enumerate(row)}), encoding="utf-8")
    for source in (row, {token: n for n, token in enumerate(row)}, tmp_path / "vocab.json"):
        found = Vocabulary(source).encode("café 今天!")
        assert [p.text for p in found.pieces] == ["Ġcaf", "Ã©", "Ġä»Ĭ", "å", "¤", "©", "!"]
        assert [p.word for p in found.pieces] == [0, 0, 1, 1, 1, 1, 1]
        assert found.words == ["café", "今天!"]
    # And back: the words of a row of tokens.
    back = Vocabulary(row).encode_tokens(["Ġcaf", "Ã©", "Ġä»Ĭ", "å", "¤", "©"])
    assert back.words == ["café", "今天"]


def test_byte_level_alphabets_without_all_bytes() -> None:
    """A character is unknown as a whole, also where some of its bytes are tokens."""
    row = ["<pad>", "Ġ", "Ġa", "a", "Ã", "Ã©", "ä", "»"]
    assert names(row, "aé a", unknown="skip") == ["Ġa", "Ã©", "Ġa"]
    found = Vocabulary(row).encode("a今é", unknown="wildcard")
    assert [(p.text, p.id) for p in found.pieces] == [("Ġa", 2), ("今", None), ("Ã©", 5)]
    with pytest.raises(ValueError, match=r"character '今' .*at position 1 of the text"):
        Vocabulary(row).encode("a今")


def byte_signs() -> list[str]:
    from ctckit.text.byte_level import bytes_of

    # All bytes but those that UTF-8 never has, as GPT-2 writes them.
    return list(dict.fromkeys(bytes_of("".join(map(chr, [*range(0x800), *range(0x1000, 0x110000, 0x1000)])))[0]))


@pytest.mark.parametrize("added", [[], ["…"], ["今天"], ["<noise>", "▁"], ["Ġ今"], ["Ġthe"], ["▁a", "café", "été"]])
@pytest.mark.parametrize("text", ["今天…", "été 😀 今", "naïve “a” «b»", "abc"])
def test_byte_level_alphabets_with_added_tokens(added: list[str], text: str) -> None:
    """Bytes spell every text, also where some tokens beside them are written as text; these count, too."""
    vocabulary = Vocabulary(["<pad>", *dict.fromkeys(added + byte_signs())])
    found = vocabulary.encode(text)
    assert found.words == text.split()
    assert found.dropped == ()
    assert vocabulary.encode_tokens([p.text for p in found.pieces]).words == text.split()
    for token in added:  # its letters are in no other token
        used = token in [p.text for p in found.pieces]
        assert used == ((" " + text).find(token.replace("Ġ", " ")) >= 0)


def test_fold_case_of_byte_level_alphabets() -> None:
    """Letters have cases, not bytes: of "é", C3 A9, the byte E3 is no other case, though "ã" is that of "Ã"."""
    row = ["<pad>", "Ġ", "Ġa", "Ã©", "ã", "©", "Ġcaf", "Âµ", "İ"]
    found = Vocabulary(row, fold_case=True)
    assert [p.text for p in found.encode("CAFÉ A é").pieces] == ["Ġcaf", "Ã©", "Ġa", "Ġ", "Ã©"]
    with pytest.raises(ValueError, match="character 'è'"):
        found.encode("è")
    assert names([*row[:3], "ã", "©"], "é a", unknown="skip") == ["Ġa"]
    folding = Vocabulary([*row[:3], "ã", "©"], fold_case=True)
    assert folding.encode("é a", unknown="skip").dropped == ("é",)


def test_letters_that_look_like_bytes() -> None:
    """Maltese has the letter "Ġ"; and a list of Latin letters is no list of bytes."""
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
        (["▁a", "é"], "é", ["é"]),  # no token has the mark of a start, and bytes have none either
        (["a</w>", "a", "é"], "aé", ["a", "é"]),  # likewise of an end
        (["a</w>", "a", "é"], "éa", ["é", "a</w>"]),
        (["a@@", "a", "é"], "aé", ["a@@", "é"]),
    ],
)
def test_bytes_are_for_what_no_token_has_alone(tokens: list[str], text: str, right: list[str]) -> None:
    row = ["<unk>", *tokens, *(f"<0x{byte:02X}>" for byte in range(256))]
    assert names(row, text) == right
    assert [piece.text for piece in Vocabulary(row, fold_case=True).encode(text).pieces] == right


@pytest.mark.parametrize(
    ("tokens", "text", "right"),
    [
        (["a", "##b'"], "ab'", ["a", "##b'"]),
        (["a", "b", "'b@@"], "'ba", ["'b@@", "a"]),
        (["a", "'b</w>"], "a'b", ["a", "'b</w>"]),
        (["a", "#", "##"], "a##", ["a", "##"]),  # nothing is beside the mark
        (["a", "##'"], "a##'", ["a", "##'"]),  # no letter is beside it
        (["a", "@", "'@@"], "'@@a", ["'@@", "a"]),
    ],
)
def test_a_mark_is_beside_a_letter(tokens: list[str], text: str, right: list[str]) -> None:
    assert names(["<pad>", *tokens], text) == right


def test_a_missing_mark_is_less_than_a_missing_letter() -> None:
    assert names(["<pad>", "▁ab", "abc"], "abc", unknown="skip") == ["abc"]
    assert names(["<pad>", "a</w>", "ab", "b", "abc"], "abc", unknown="skip") == ["abc"]


def test_continuation_with_a_bare_start() -> None:
    row = ["<unk>", "▁", "##o", "##w", "##n", "we", "##e", "##d"]
    assert names(row, "we need now") == ["we", "▁", "##n", "##e", "##e", "##d", "▁", "##n", "##o", "##w"]
    found = Vocabulary(row).encode_tokens(["we", "▁", "##n", "##o", "we"])
    assert found.words == ["we", "no", "we"]


def test_hashes_are_no_marks_where_starts_are_marked() -> None:
    """Vocabularies of language models have "##" as text."""
    assert names(["<pad>", "▁a", "b", "##", "##b", "#"], "abb ab") == ["▁a", "b", "b", "▁a", "b"]


def test_ends_of_words_in_rows_of_tokens() -> None:
    assert Vocabulary(sources()["ends"]).encode_tokens(["a", "b</w>", "c</w>", "d"]).words == ["ab", "c", "d"]
    assert Vocabulary(sources()["continued"]).encode_tokens(["a@@", "b", "c", "d@@"]).words == ["ab", "c", "d"]
    assert Vocabulary(sources()["trailing underscores"]).encode_tokens(["a", "b_", "c_"]).words == ["ab", "c"]


def test_an_end_that_is_a_token_by_itself() -> None:
    assert names(["<pad>", "lo", "w", "er</w>", "</w>"], "lower low") == ["lo", "w", "er</w>", "lo", "w", "</w>"]


def test_the_longest_token_does_not_lead_astray() -> None:
    """Where the longest token leaves a rest that cannot be spelt, a shorter one is taken."""
    assert names(["-", "ab", "a", "bc"], "abc") == ["a", "bc"]
    assert names(["-", "ab", "a", "bc", "c"], "abc") == ["ab", "c"]
    assert names(["-", "ab", "a", "bc"], "abxabc", unknown="skip") == ["ab", "a", "bc"]
    # Then, too, a token with its mark comes before a mark and a token.
    assert names(["-", "▁", "▁ab", "▁a", "a", "bc"], "abc") == ["▁a", "bc"]
    assert names(["-", "abc", "ab", "cd</w>", "cd", "</w>"], "abcd") == ["ab", "cd</w>"]


@pytest.mark.parametrize(
    "signs",
    ["".join(map(chr, range(33, 127))), "0123456789abc!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", "xy|}{~^]\\[@?>=<&%$#"],
    ids=["ASCII", "string.printable", "any order"],
)
def test_the_bar_is_a_character_among_others(signs: str) -> None:
    for source in (["<blank>", *signs], {sign: n for n, sign in enumerate(signs, 1)}):
        vocabulary = Vocabulary(source)
        assert vocabulary.word_separator is None
        letters = "".join(sorted(set("xyab") & set(signs)))
        assert names(source, f"|{letters}||") == list(f"|{letters}||")
        assert vocabulary.encode("| |").words == ["|", "|"]
    assert Vocabulary([*signs, " "]).word_separator == " "
    assert Vocabulary([*signs], word_separator="|").word_separator == "|"


def test_the_bar_is_a_character_among_a_dozen_signs() -> None:
    signs = "#$%&*+/<=>@^"
    assert Vocabulary(["-", "|", *"ab", *signs]).word_separator is None
    assert Vocabulary(["-", "|", *"ab", *signs[1:]]).word_separator == "|"


def test_the_bar_is_a_space_among_letters() -> None:
    for extra in ("", "'", "'-.,?!", "äöüß&"):
        vocabulary = Vocabulary(["<pad>", "<s>", "</s>", "<unk>", "|", *"ETAON", *extra])
        assert vocabulary.word_separator == "|"
        assert names(vocabulary, "EAT|TEA  NO") == list("EAT|TEA|NO")


# ----------------------------------------------------------------------------------------------------- case and Unicode


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
    """It is left out, or a wildcard, as a whole: no "e" comes of "é", in either form."""
    row = ["<pad>", "|", *"cafebs"]
    for form in ("NFC", "NFD"):
        text = unicodedata.normalize(form, "cafés bé")
        found = Vocabulary(row).encode(text, unknown="skip")
        assert "".join(p.text for p in found.pieces) == "cafs|b"
        assert found.words == text.split()
        wild = Vocabulary(row).encode(text, unknown="wildcard")
        assert [p.id for p in wild.pieces] == [2, 3, 4, None, 7, 1, 6, None]
    # Marks that make no other letter are characters of their own: vowel points may be left out.
    arabic = unicodedata.normalize("NFD", "\u0643\u064e\u062a\u064e\u0628")
    assert names(["-", *"\u0643\u062a\u0628"], arabic, unknown="skip") == ["\u0643", "\u062a", "\u0628"]


def test_fold_case_takes_no_letter_for_another() -> None:
    def folded(tokens: list[str], text: str) -> list[str]:
        return [p.text for p in Vocabulary(["-", *tokens], fold_case=True).encode(text, unknown="skip").pieces]

    assert folded(["s", "ss", "ß"], "SS") == ["ss"]
    assert folded(["ß", "xx"], "ss") == []
    assert folded(["S", "SS"], "ß") == []
    assert folded(["ß"], "ẞ") == ["ß"]
    assert folded(["i", "\u0307"], "\u0130") == []  # İ is no i
    assert folded(["i", "\u0131"], "I\u0130") == ["\u0131", "i"]  # but here it is: Turkish
    assert folded(["I", "\u0130"], "\u0131i") == ["I", "\u0130"]
    assert folded([*"οδσς"], "ΟΔΟΣ") == [*"οδος"]
    assert folded([*"οδσς"], "ΣΟΔ") == [*"σοδ"]
    assert folded([*"ΟΔΣ"], "οδος") == [*"ΟΔΟΣ"]
    assert folded(["The", "the", "T", "h", "e"], "THE the The") == ["the", "the", "The"]
    assert folded(["Th", "e"], "tHe") == ["Th", "e"]
    assert folded(["The", "THE"], "the tHe") == ["THE", "THE"]  # all small, then all large, before a mixture
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
