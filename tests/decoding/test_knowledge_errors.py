"""What a decoder says of knowledge that it cannot use: hotwords, weights, lexicons."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import ctckit
from ctckit.decoding.ngram import NGram

pytestmark = pytest.mark.usefixtures("core")

LETTERS = ["-", "|", "a", "b", "c", "n"]
PIECES = ["-", "▁", "▁a", "a", "▁b", "b"]
KENLM = Path(__file__).parent / "kenlm"

TEXT = """\\data\\
ngram 1=6
ngram 2=2

\\1-grams:
-1.5\t<unk>
-99\t<s>\t-0.2
-1\t</s>
-2\tab\t-0.5
-1.5\tba
-0.7\tcan

\\2-grams:
-0.5\tab ba
-0.3\t<s> ab

\\end\\
"""


def decoder(names: list[str] = LETTERS, **options: Any) -> ctckit.Decoder:
    return ctckit.Decoder(names, **{"blank": 0, "beam_width": 200, "nbest": 200, **options})


def saying(text: str, names: list[str] = LETTERS, sure: float = 0.0) -> Tensor:
    """Emissions that say the tokens of a text, each for a frame; others have the probability 0, or e^-`sure`."""
    classes = [names.index(token) for token in text]
    x = torch.full((len(classes), len(names)), -sure if sure else -torch.inf)
    x[range(len(classes)), classes] = 0.0
    return x.log_softmax(1)


def decoded(one: ctckit.Decoder, x: Tensor, **options: Any) -> ctckit.Decoding:
    found = one(x, **options)
    assert isinstance(found, ctckit.Decoding)
    return found


def model(tmp_path: Path, text: str | bytes) -> NGram:
    path = tmp_path / "lm.arpa"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return NGram(path)


@contextmanager
def one_warning(pattern: str) -> Iterator[None]:
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        yield
    assert len(found) == 1, [str(one.message) for one in found]
    assert re.search(pattern, str(found[0].message)), str(found[0].message)
    assert found[0].filename == __file__


# Hotwords.


@pytest.mark.parametrize(
    ("names", "hotword", "message"),
    [
        (
            LETTERS,
            "ban é",
            r"hotwords has 'ban é': character 'é' \(U\+00E9.*position 4.*: correct the phrase, or leave it",
        ),
        (LETTERS, "B", r"hotwords has 'B': .*position 0"),
        (LETTERS, "a-b", "hotwords has 'a-b': .*is the blank"),
        (LETTERS, "a|b", r"does not spell 'a\|b' as one word"),
        (LETTERS, "|", r"does not spell '\|' as one word"),
        (PIECES, "a c", "hotwords has 'a c': .*'c'.*position 2"),
        (PIECES, "a▁b", "does not spell 'a▁b' as one word"),
        (["-", "a", "b"], "a c", "hotwords has 'a c': .*'c'.*position 2"),
        (LETTERS, "", "hotwords has '', but a phrase must have words"),
        (LETTERS, " \t", "a phrase must have words"),
    ],
)
def test_hotwords_that_cannot_be_spelt(names: list[str], hotword: str, message: str) -> None:
    for make in (
        lambda: decoder(names, hotwords=[hotword]),
        lambda: decoder(names)(torch.zeros(3, len(names)).log_softmax(1), hotwords=["a", hotword]),
        lambda: decoder(names).stream(hotwords={hotword: 1.0}),
    ):
        with pytest.raises(ctckit.ArgumentValueError, match=message) as error:
            make()
        assert "unknown=" not in str(error.value)


@pytest.mark.parametrize("weight", [math.nan, math.inf, -math.inf, 75.0, -75.0, 1e300])
def test_weights_of_hotwords(weight: float) -> None:
    for options in ({"hotwords": {"a": weight}}, {"hotwords": ["a"], "hotword_weight": weight}):
        with pytest.raises(ctckit.ArgumentValueError, match="hotword"):
            decoder(**options)


@pytest.mark.parametrize("weight", ["1", None, True, [1.0]])
def test_weights_of_another_type(weight: Any) -> None:
    with pytest.raises(ctckit.ArgumentTypeError, match=r"hotwords\['a'\] is "):
        decoder(hotwords={"a": weight})
    for name in ("lm_weight", "word_bonus", "unknown_score", "hotword_weight"):
        with pytest.raises(ctckit.ArgumentTypeError, match=f"{name} is "):
            decoder(**{name: weight})


@pytest.mark.parametrize("hotwords", ["ab", b"ab", 3, [b"ab"], {3: 1.0}])
def test_hotwords_of_another_type(hotwords: Any) -> None:
    with pytest.raises(ctckit.ArgumentTypeError, match="hotwords"):
        decoder(hotwords=hotwords)


def test_phrases_that_end_together_gain_less_than_75_nats() -> None:
    """It is said before the first item: a search could only stop in the middle."""
    phrases = ["c", "b c", "a b c"]
    said = saying("a|b|c", sure=9.0)
    for names in (LETTERS, ["-", "▁a", "▁b", "▁c", "a"], ["-", "c", "b", "a", " "]):
        with pytest.raises(ctckit.ArgumentValueError, match=r"phrases that may end together and gain .* nats"):
            decoder(names, hotwords=dict.fromkeys(phrases, 60.0))
    assert decoded(decoder(hotwords=dict.fromkeys(phrases, 20.0)), said).hotword_score == 60
    for hotword in ("n", "a b c", "can"):
        assert decoded(decoder(hotwords={hotword: 74.0}), said).hotword_score in (74, 222)


def test_no_hotwords() -> None:
    one = decoder(hotwords=["ab"])
    x = saying("ab", sure=3.0)
    assert decoded(one, x).hotword_score == 10
    nothing: list[Any] = [[], {}, ()]
    for none in nothing:
        assert decoded(one, x, hotwords=none).hotword_score == 0


# Weights.


@pytest.mark.parametrize("name", ["lm_weight", "word_bonus", "unknown_score", "hotword_weight"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 75.0])
def test_weights(name: str, value: float) -> None:
    if name == "unknown_score" and value == -math.inf:
        decoder(unknown_score=value)
        return
    options: dict[str, Any] = {name: value}
    with pytest.raises(ctckit.ArgumentValueError, match=f"{name} is {value}, but must be a number"):
        decoder(**options)


def test_a_model_without_weight_forbids_nothing(tmp_path: Path) -> None:
    """Some models give some words the probability 0; 0 times -infinity is 0."""
    text = (
        TEXT.replace("-1.5\t<unk>", "-inf\t<unk>").replace("-1\t</s>", "-inf\t</s>").replace("-0.7\tcan", "-inf\tcan")
    )
    x = saying("can|c", sure=1.0)
    found = decoded(decoder(lm=model(tmp_path, text), lm_weight=0.0, word_bonus=0.0), x)
    assert {one.text for one in found.nbest if one.lm_score == 0} > {"can"}
    by_token = decoded(decoder(lm=model(tmp_path, text), lm_weight=0.0, word_bonus=0.5, lm_unit="token"), x)
    assert all(one.lm_score == -9.5 * len(one.tokens) for one in by_token.nbest)
    closed = decoded(decoder(lm=model(tmp_path, text), lm_weight=0.5, word_bonus=0.0), x)
    assert closed.problem == (
        "no labelling has a probability above 0 at the end: all that it needs is -inf, or forbidden by the lexicon or "
        "another scorer"
    )


def test_a_word_of_almost_no_probability(tmp_path: Path) -> None:
    """What lookahead takes on the way to it comes back in one step, of fewer than 75 nats."""
    lm = model(tmp_path, TEXT.replace("-0.7\tcan", "-99\tcan"))
    x = saying("can|cab", sure=300.0)
    found = decoded(decoder(lm=lm, lm_weight=1.0, word_bonus=0.0, unknown_score=-10.0), x)
    assert found.text == "can cab"
    expected = NGram(tmp_path / "lm.arpa").score("can other") - 10.0
    assert found.lm_score == pytest.approx(expected)
    assert found.nbest[0].beam_score == pytest.approx(found.score, abs=1e-6)


# Lexicons.


def test_words_that_cannot_be_spelt_are_named_in_one_warning() -> None:
    words = ["ab", "é1", "é2", "é3", "é4", "é5", "é6", "can"]
    named = "'é1', 'é2', 'é3', 'é4', 'é5', ...$"
    with one_warning(f"does not spell 6 of the 8 words of the lexicon, which are left out: {named}"):
        one = decoder(lexicon=words)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert decoded(one, saying("can|ab")).text == "can ab"
        decoder(lexicon=["ab", "can"])


def test_the_case_of_words_that_cannot_be_spelt() -> None:
    with one_warning("1 of the 2 words of the lexicon, .*: 'CAN': the vocabulary has letters in lower case; pass Voc"):
        decoder(lexicon=["ab", "CAN"])
    with pytest.raises(
        ctckit.ArgumentValueError, match="spells none of the 2 words of the lexicon, such as 'AB', 'CAN': "
    ):
        decoder(lexicon=["AB", "CAN"])
    folded = ctckit.Vocabulary(LETTERS, fold_case=True)
    one = ctckit.Decoder(folded, blank=0, lexicon=["AB", "CAN"])
    assert decoded(one, saying("can")).text == "can"


@pytest.mark.parametrize(
    "spelling",
    ["q", "- a", "a - b", "a | b", ["a", "|", "b"], [""], [], "", "|", "| |"],
)
def test_spellings_that_are_no_word(spelling: Any) -> None:
    given = [spelling] if isinstance(spelling, list) else spelling
    with pytest.raises(ctckit.ArgumentValueError, match=r"spells none of the 1 words of the lexicon, such as 'ab'$"):
        decoder(lexicon={"ab": given})


@pytest.mark.parametrize("spelling", [["▁a", "▁b"], ["a", "▁", "b"], ["▁", "▁a", "▁b"]])
def test_spellings_in_pieces_that_are_no_word(spelling: list[str]) -> None:
    with pytest.raises(ctckit.ArgumentValueError, match="spells none"):
        decoder(PIECES, lexicon={"ab": [spelling]})
    with pytest.raises(ctckit.ArgumentValueError, match="spells none"):
        decoder(["-", "a</w>", "a", "b</w>", "b"], lexicon={"ab": [["a</w>", "b</w>"]]})


@pytest.mark.parametrize("spelling", ["a b", "a b |", "| a b", ["a", "b", "|"], [["a", "b"], "q"]])
def test_separators_at_the_ends_of_spellings(spelling: Any) -> None:
    given = spelling if isinstance(spelling, str) or isinstance(spelling[0], list) else [spelling]
    assert decoded(decoder(lexicon={"word": given}), saying("ab")).tokens == (2, 3)


@pytest.mark.parametrize("word", ["a|b", "|", "a|"])
def test_words_with_a_separator(word: str) -> None:
    with pytest.raises(ctckit.ArgumentValueError, match="spells none"):
        decoder(lexicon=[word])
    with one_warning(f"does not spell 1 of the 2 words of the lexicon, which are left out: '{re.escape(word)}'$"):
        one = decoder(lexicon=["a", word])
    assert decoded(one, saying("a")).text == "a"


@pytest.mark.parametrize(
    ("lexicon", "message"),
    [
        (3, "lexicon is a int, but must be a path"),
        (b"ab", "lexicon is a bytes"),
        ([3], r"lexicon\[0\] is a int"),
        ({3: "a"}, "the key 3 of lexicon is a int"),
        ({"a": 3}, r"lexicon\['a'\] is 3"),
        ({"a": [3]}, r"lexicon\['a'\] is \[3\]"),
        ({"a": [["b", 3]]}, r"lexicon\['a'\] is "),
    ],
)
def test_lexicons_of_another_type(lexicon: Any, message: str) -> None:
    with pytest.raises(ctckit.ArgumentTypeError, match=message):
        decoder(lexicon=lexicon)


@pytest.mark.parametrize(
    ("lexicon", "message"),
    [
        ([], "lexicon has no words"),
        ({}, "lexicon has no words"),
        (["a b"], "must be one word"),
        ([" "], "must be one word"),
    ],
)
def test_lexicons_of_wrong_values(lexicon: Any, message: str) -> None:
    with pytest.raises(ctckit.ArgumentValueError, match=message):
        decoder(lexicon=lexicon)


def test_a_lexicon_needs_words() -> None:
    for options in ({"lexicon": ["ab"]}, {"lm": KENLM / "model.arpa"}):
        with pytest.raises(ctckit.ArgumentValueError, match="vocabulary does not show where words begin"):
            decoder(["-", "a", "b"], **options)


@pytest.mark.parametrize(
    "content",
    [b"ab\ncan\n", b"\xef\xbb\xbfab\r\n\r\n  can \r\n", b"ab a b |\ncan\tc a n\ncan b\n", b"ab\nab\ncan"],
)
def test_lexicon_files(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_bytes(content)
    for name in (path, str(path)):
        one = decoder(lexicon=name)
        assert decoded(one, saying("can|ab")).text == "can ab"
        assert decoded(one, saying("ca")).problem is not None


def test_lexicon_files_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    with pytest.raises(FileNotFoundError):
        decoder(lexicon=path)
    with pytest.raises(OSError, match=re.escape(str(tmp_path))):
        decoder(lexicon=tmp_path)
    for content, message in (
        (b"", "words.txt has no words"),
        (b" \n\n", "has no words"),
        (b"ab\ncan\n\xffz\n", "line 3"),
    ):
        path.write_bytes(content)
        with pytest.raises(ctckit.ArgumentValueError, match=message):
            decoder(lexicon=path)
    path.write_text("ab\n\u00e9\n", encoding="utf-8")
    with one_warning(f"1 of the 2 words of {re.escape(str(path))}, which are left out: 'é'"):
        decoder(lexicon=path)


# Lexicons that make everything impossible.


@pytest.mark.parametrize(("said", "where"), [("bab", "after frame 0"), ("anna", "after frame 1"), ("ca", "at the end")])
def test_nothing_that_the_lexicon_allows(said: str, where: str) -> None:
    one = decoder(lexicon=["ab", "can"])
    batch = torch.stack([saying("can-"), saying(said.ljust(4, "-")), saying("ab--")])
    expected = (
        f"no labelling has a probability above 0 {where}: all that it needs is -inf, or forbidden by the lexicon or "
        f"another scorer"
    )
    found = one(batch)
    assert isinstance(found, list)
    assert [item and item.text for item in found] == ["can", "", "ab"]
    empty = found[1]
    assert empty is not None
    assert (empty.nbest, empty.score, empty.problem) == ((), -math.inf, expected)
    stream = one.stream()
    for frame in batch[1].split(1):
        stream.push(frame)
    assert stream.finish().problem == expected
    plain = decoded(decoder(), torch.full((2, 6), -torch.inf))
    assert plain.problem == "no labelling has a probability above 0 after frame 0: all that it needs is -inf"
