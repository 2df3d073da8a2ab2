"""What a decoder says of knowledge that it cannot use: hotwords, weights, lexicons, language models."""

from __future__ import annotations

import gzip
import math
import random
import re
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import ctckit
from ctckit.decoding.ngram import NGram
from tests.tools.ngram_oracle import DictionaryModel

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
        "no labelling that the lexicon, or another scorer, allows has a probability above 0 at the end: all that it "
        "needs is -inf"
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
        f"no labelling that the lexicon, or another scorer, allows has a probability above 0 {where}: all that it "
        f"needs is -inf"
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


# Language models.


def test_models_and_lexicons_that_do_not_meet(tmp_path: Path) -> None:
    lm = model(tmp_path, TEXT.replace("ab", "AB").replace("ba", "BA"))
    words = ["ab", "ba", *(f"{a}{b}n" for a in "abc" for b in "abcn")]
    named = r"has 1 of the 14 words of the lexicon \(7.1%\): it has them in upper case; others count as <unk>"
    with one_warning(f"lm.arpa.*{named}"):
        decoder(lm=lm, lexicon=words)
    others = [word for word in words[2:] if word != "can"]
    with one_warning(r"has 1 of the 11 words of the lexicon \(9.1%\); others count as <unk>$"):
        decoder(lm=lm, lexicon=["can", *others[:10]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        decoder(lm=lm, lexicon=["can", *others[:9]])  # a tenth


def test_a_model_and_a_vocabulary_that_do_not_meet(tmp_path: Path) -> None:
    lm = model(tmp_path, TEXT.replace("ab", "AB").replace("ba", "BA").replace("can", "CAN"))
    with pytest.raises(
        ctckit.ArgumentValueError, match=r"spells none of the 3 words of the language model, .* lower case"
    ):
        decoder(lm=lm)


def test_models_without_unk(tmp_path: Path) -> None:
    """A word that such a model lacks gains `unknown_score` in its place: it must not be better than one it has."""
    lm = model(tmp_path, TEXT.replace("1=6", "1=5").replace("-1.5\t<unk>\n", ""))
    named = r"has 2 of the 3 words of the lexicon \(66.7%\); it has no <unk>, so others gain unknown_score$"
    with one_warning(named):
        one = decoder(lm=lm, lexicon=["ab", "can", "b"], unknown_score=-3.0, word_bonus=0.25, lm_weight=0.5)
    oracle = DictionaryModel((tmp_path / "lm.arpa").read_text())
    scores = {h.text: h.lm_score for h in decoded(one, saying("ab", sure=2.0)).nbest}
    assert scores["ab"] == pytest.approx(0.25 + 0.5 * oracle.score(["ab"]), abs=1e-6)
    end = oracle.score([], bos=False)  # after a word that is none of the model's
    assert scores["b"] == pytest.approx(0.25 - 3.0 + 0.5 * end, abs=1e-6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        closed = decoder(lm=lm, lexicon=["ab", "can", "b"], unknown_score=-math.inf)
    assert decoded(closed, saying("b")).problem is not None


def test_models_without_the_beginning_or_the_end(tmp_path: Path) -> None:
    for left in ("<s>", "</s>"):
        lines = [line for line in TEXT.splitlines() if f"\t{left}" not in line]
        text = "\n".join(lines).replace("1=6", "1=5").replace("2=2", "2=1" if left == "<s>" else "2=2") + "\n"
        one = decoder(lm=model(tmp_path, text), word_bonus=0.0, lm_weight=1.0)
        oracle = DictionaryModel(text)
        expected = oracle.score(["ab", "ba"], bos=left != "<s>", eos=left != "</s>")
        found = decoded(one, saying("ab|ba"))
        assert found.text == "ab ba"
        assert found.lm_score == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("\t", " "),
        lambda text: text.replace("\t", "  \t "),
        lambda text: text.replace("\n", " \t\n"),
        lambda text: "\ufeff" + text,
        lambda text: "a note\n\n" + text + "more notes\n",
        lambda text: text.removesuffix("\n"),
        lambda text: text.replace("\n\n", "\n"),
        lambda text: text.replace("ngram 1=6", "ngram 1 = 6"),
        lambda text: text.replace("-2\t", "-2.0e+0\t"),
    ],
    ids=[
        "crlf",
        "spaces",
        "several",
        "trailing",
        "bom",
        "notes",
        "no-end-of-line",
        "no-blank-lines",
        "count",
        "exponent",
    ],
)
def test_ways_to_write_the_same_model(change: Callable[[str], str], tmp_path: Path) -> None:
    expected = model(tmp_path, TEXT)
    found = model(tmp_path, change(TEXT))
    assert (found.counts, list(found)) == (expected.counts, list(expected))
    for sentence in ("ab ba can", "other ab", ""):
        assert found.score(sentence) == expected.score(sentence)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("ngram 1=6\nngram 2=2\n", "", r"line 3: it must be a count such as \"ngram 1=5000\", but is \"\\1-grams:\""),
        ("ngram 2=2", "ngram 2=3", "line 17: there are 2 2-grams, but the file says 3"),
        ("ngram 1=6", "ngram 1=7", "line 13: there are 6 1-grams, but the file says 7"),
        ("ngram 1=6", "ngram 1=-6", "line 2: it must be a count"),
        ("ngram 1=6", "ngram 1=99999999999999999999999", "line 2: it must be a count"),
        ("ngram 1=6", "ngram 1=18446744073709551615", "line 13: there are 6 1-grams"),
        ("ab ba", "ab abba", 'line 14: the word "abba" is not among the 1-grams'),
        ("<s> ab", "ab ba", 'it lists "ab ba" twice'),
        ("-1.5\tba", "-1.5\tab", 'line 10: the word "ab" is there twice'),
        ("-1.5\tba", "-1.5\tba\t1e31", "line 10: it must have 1 word and a back-off weight"),
        ("-1.5\tba", "-1.5\tba\t-inf", "line 10: it must have 1 word and a back-off weight"),
        ("-1.5\tba", "1.5\tba", "line 10: it must begin with a logarithm"),
        ("\\2-grams:\n-0.5\tab ba\n-0.3\t<s> ab\n", "", r'line 14: it must be "\\2-grams:", but is "\\end\\"'),
    ],
)
def test_ill_formed_models(old: str, new: str, message: str, tmp_path: Path) -> None:
    assert old in TEXT
    with pytest.raises(ctckit.ArgumentValueError, match=f"lm.arpa is no n-gram model that can be read: {message}"):
        decoder(lm=model(tmp_path, TEXT.replace(old, new)))


def test_an_empty_section(tmp_path: Path) -> None:
    text = TEXT.replace("2=2", "2=0").replace("-0.5\tab ba\n-0.3\t<s> ab\n", "")
    lm = model(tmp_path, text)
    assert (lm.order, lm.counts) == (2, (6, 0))
    assert lm.score("ab ba") == pytest.approx(DictionaryModel(text).score(["ab", "ba"]), abs=1e-5)


def test_files_that_are_no_models(tmp_path: Path) -> None:
    path = tmp_path / "lm"
    with pytest.raises(FileNotFoundError):
        decoder(lm=path)
    with pytest.raises(OSError, match=re.escape(str(tmp_path))):
        decoder(lm=tmp_path)
    with pytest.raises(ctckit.ArgumentTypeError, match="lm is a int"):
        decoder(lm=3)
    noise = random.Random(1).randbytes(5000)  # noqa: S311
    for content in (b"", b"\n", noise, b"\0" * 3000, TEXT.encode("utf-16"), b"a" * (1 << 21)):
        path.write_bytes(content)
        with pytest.raises(ctckit.ArgumentValueError, match="is no n-gram model that can be read"):
            decoder(lm=path)


def test_damaged_compressed_files(tmp_path: Path) -> None:
    path, packed, r = tmp_path / "lm.gz", gzip.compress(TEXT.encode() * 30), random.Random(2)  # noqa: S311
    for _ in range(200):
        damaged = bytearray(packed)
        damaged[r.randrange(10, len(packed))] ^= 1 << r.randrange(8)
        path.write_bytes(damaged)
        try:
            NGram(path)
        except ctckit.ArgumentValueError as error:
            assert "is no n-gram model that can be read" in str(error)  # noqa: PT017  # some are read


def test_a_trie_of_kenlm_is_refused() -> None:
    with pytest.raises(ctckit.ArgumentValueError, match=r"trie of KenLM.*pass the ARPA file that it was made from"):
        decoder(lm=KENLM / "trie.bin")


def test_lone_surrogates_are_no_words(tmp_path: Path) -> None:
    lm = model(tmp_path, TEXT)
    assert "\ud800" not in lm
    assert lm.score(["a\udcff", "ab"]) == lm.score(["other", "ab"])
    with one_warning("does not spell 1 of the 2"):
        decoder(lm=lm, lexicon=["ab", "\ud800"])


def test_a_mapped_model_may_be_replaced(tmp_path: Path) -> None:
    lm = model(tmp_path, TEXT)
    lm.save(tmp_path / "own")
    mapped = NGram(tmp_path / "own")
    model(tmp_path, TEXT.replace("-0.3\t<s> ab", "-0.1\t<s> ab")).save(tmp_path / "own")
    assert mapped.score("ab") == lm.score("ab") != NGram(tmp_path / "own").score("ab")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems end a process otherwise")
def test_the_system_ends_a_process_whose_model_is_cut(tmp_path: Path) -> None:
    """As `ctckit.NGram` says: nothing can be done about it."""
    model(tmp_path, TEXT).save(tmp_path / "own")
    code = f"""
import os, ctckit
lm = ctckit.NGram({str(tmp_path / "own")!r})
os.truncate({str(tmp_path / "own")!r}, 0)
lm.score("ab")
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True)  # noqa: S603
    assert done.returncode < 0
