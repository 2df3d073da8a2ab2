"""What is said of language models that do not fit, and of files that are none."""

from __future__ import annotations

import gzip
import math
import random
import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

import ctckit
from ctckit.decoding.ngram import NGram
from tests.decoding.test_knowledge_errors import KENLM, TEXT, decoded, decoder, model, one_warning, saying
from tests.tools.ngram_oracle import DictionaryModel

pytestmark = pytest.mark.usefixtures("core")


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
        ("-1.5\tba", "-1.5\tba\t1e38", "line 10: it must have 1 word and a back-off weight"),
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
