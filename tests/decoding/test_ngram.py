"""N-gram models against a dictionary; what is wrong with a file; saved models."""

from __future__ import annotations

import gzip
import itertools
import math
import random
from pathlib import Path

import pytest

import ctckit
from ctckit.decoding.ngram import NGram
from tests.tools.ngram_oracle import DictionaryModel


def random_arpa(r: random.Random, order: int, *, holes: float, unknown: bool = True) -> str:
    """Some n-grams of some words. With holes, shorter n-grams within longer ones may be missing."""
    words = [f"w{k}" for k in range(r.randint(1, 6))]
    sections: list[list[tuple[str, ...]]] = [[(w,) for w in (*["<unk>"] * unknown, "<s>", "</s>", *words)]]
    for length in range(2, order + 1):
        firsts, lasts = ["<s>", *words], ["</s>", *words]
        every = [
            (first, *middle, last)
            for first, last in itertools.product(firsts, lasts)
            for middle in itertools.product(words, repeat=length - 2)
        ]
        chosen = r.sample(every, r.randint(0, min(len(every), 12)))
        sections.append(chosen)
    if holes == 0:
        for k in range(order - 1, 1, -1):
            sections[k - 1] = list(dict.fromkeys([*sections[k - 1], *(g[:-1] for g in sections[k])]))
    for section in sections:
        r.shuffle(section)
    lines = ["", "\\data\\", *(f"ngram {k}={len(s)}" for k, s in enumerate(sections, 1)), ""]
    for k, section in enumerate(sections, 1):
        lines.append(f"\\{k}-grams:")
        for gram in section:
            weight = r.choice((0.0, -r.uniform(0, 2), r.uniform(0, 1)))
            has_weight = k < order and r.random() < 0.8
            lines.append(f"{-r.uniform(0, 4):.6f}\t{' '.join(gram)}" + (f"\t{weight:.6f}" if has_weight else ""))
        lines.append("")
    return "\n".join([*lines, "\\end\\", ""])


def model(tmp_path: Path, text: str) -> NGram:
    path = tmp_path / "lm.arpa"
    path.write_text(text, encoding="utf-8")
    return NGram(path)


@pytest.mark.parametrize("order", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("holes", [0.0, 1.0])
def test_scores_are_those_of_a_dictionary(order: int, holes: float, tmp_path: Path) -> None:
    r = random.Random(order)  # noqa: S311
    for _ in range(60):
        text = random_arpa(r, order, holes=holes, unknown=r.random() < 0.8)
        lm, expected = model(tmp_path, text), DictionaryModel(text)
        assert lm.order == order
        words = [*(w for w in lm if w not in ("<s>", "</s>")), "never seen"]
        for _ in range(30):
            sentence = r.choices(words, k=r.randint(0, 8))
            bos, eos = r.random() < 0.5, r.random() < 0.5
            score = expected.score(sentence, bos=bos, eos=eos)
            assert lm.score(sentence, bos=bos, eos=eos) == pytest.approx(score, rel=2e-7, abs=1e-5), (text, sentence)


def test_a_state_forgets_what_the_model_cannot_use(tmp_path: Path) -> None:
    text = random_arpa(random.Random(3), 3, holes=0.0)  # noqa: S311
    lm = model(tmp_path, text)
    states = set()
    words = [w for w in lm if w not in ("<s>", "</s>")]
    for sentence in itertools.product(words, repeat=3):
        state = lm.initial()
        for word in sentence:
            state = lm.advance(state, word)[1]
        states.add(state)
    assert len(states) <= 1 + sum(lm.counts[:-1])


@pytest.mark.parametrize("order", [1, 3])
def test_saved_and_compressed_models_are_the_same(order: int, tmp_path: Path) -> None:
    text = random_arpa(random.Random(7), order, holes=1.0)  # noqa: S311
    lm = model(tmp_path, text)
    (tmp_path / "lm.gz").write_bytes(gzip.compress(text.replace("\n", "\r\n").encode()))
    lm.save(tmp_path / "lm.ctclm")
    lm.save(tmp_path / "lm.ctclm")  # replaced
    for name in ("lm.gz", "lm.ctclm"):
        other = NGram(tmp_path / name)
        assert (other.order, other.counts, list(other)) == (lm.order, lm.counts, list(lm))
        for sentence in (["w0"], ["w1", "w0", "w1"], []):
            assert other.score(sentence) == lm.score(sentence)


GOOD = """\\data\\
ngram 1=3
ngram 2=1

\\1-grams:
-1\t<s>
-1\t</s>
-2\tto\t-0.5

\\2-grams:
-0.5\tto to

\\end\\
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("\\data\\", "data", r"no line \"\\data\\\""),
        ("\\end\\\n", "", r"ends without the line \"\\end\\\""),
        ("ngram 2=1", "ngram 2=2", r"line 13: there are 1 2-grams, but the file says 2"),
        ("ngram 1=3", "ngram 1=x", r"line 2: it must be a count"),
        ("ngram 2=1", "ngram 3=1", r"line 3: it has the count of 3-grams"),
        ("-2\tto", "0.5\tto", r'line 8: it must begin with a logarithm of a probability.*"0.5"'),
        ("-2\tto", "nan\tto", r"line 8: it must begin with a logarithm"),
        ("-2\tto", "-2to", r"line 8: it must begin with a logarithm"),
        ("-2\tto\t-0.5", "-2", r"line 8: it has fewer than 1 words"),
        ("-2\tto\t-0.5", "-2\tto\tx", r'line 8: it must have 1 word and a back-off weight, but has "x"'),
        ("-2\tto\t-0.5", "-2\tto\t-0.5\t1", r"line 8: it has more than 1 words and a back-off weight"),
        ("-2\tto", "-2\t<s>", r'line 8: the word "<s>" is there twice'),
        ("to to", "to be", r'line 11: the word "be" is not among the 1-grams'),
        ("to to", "to", r"line 11: it has fewer than 2 words"),
        ("\\2-grams:", "\\3-grams:", r"line 10: it must be \"\\2-grams:\""),
    ],
)
def test_ill_formed_files(old: str, new: str, message: str, tmp_path: Path) -> None:
    assert model(tmp_path, GOOD).counts == (3, 1)
    with pytest.raises(ctckit.ArgumentValueError, match=message):
        model(tmp_path, GOOD.replace(old, new, 1))


def test_an_ngram_that_is_there_twice(tmp_path: Path) -> None:
    text = GOOD.replace("2=1", "2=2").replace("-0.5\tto to", "-0.5\tto to\n-0.6\tto to")
    with pytest.raises(ctckit.ArgumentValueError, match='it lists "to to" twice'):
        model(tmp_path, text)


def test_cut_files(tmp_path: Path) -> None:
    for end in range(len(GOOD) - 1):
        with pytest.raises(ctckit.ArgumentValueError):
            model(tmp_path, GOOD[:end])
    packed = gzip.compress(GOOD.encode())
    for end in range(0, len(packed) - 1, 7):
        (tmp_path / "lm.gz").write_bytes(packed[:end])
        with pytest.raises(ctckit.ArgumentValueError):
            NGram(tmp_path / "lm.gz")
    lm = model(tmp_path, GOOD)
    lm.save(tmp_path / "whole")
    image = (tmp_path / "whole").read_bytes()
    for end in (0, 5, 20, 100, len(image) - 1):
        (tmp_path / "cut").write_bytes(image[:end])
        with pytest.raises(ctckit.ArgumentValueError):
            NGram(tmp_path / "cut")


def test_damaged_files_are_read_within_bounds(tmp_path: Path) -> None:
    """Whatever a file holds: an error, or wrong numbers."""
    r = random.Random(1)  # noqa: S311
    lm = model(tmp_path, random_arpa(r, 3, holes=0.0))
    lm.save(tmp_path / "whole")
    image = (tmp_path / "whole").read_bytes()
    for _ in range(300):
        damaged = bytearray(image)
        for _ in range(r.randint(1, 8)):
            damaged[r.randrange(len(image))] = r.choice((0, 1, 127, 255, r.randrange(256)))
        (tmp_path / "damaged").write_bytes(damaged)
        try:
            other = NGram(tmp_path / "damaged")
        except ctckit.ArgumentValueError:
            continue
        assert isinstance(other.score(["w0", "w1", "w0"]), float)
        assert len(list(other)) == len(other)


def test_words_and_states_of_another_kind(tmp_path: Path) -> None:
    lm = model(tmp_path, GOOD)
    assert "to" in lm
    assert "be" not in lm
    assert math.isinf(lm.score("be"))
    with pytest.raises(ctckit.ArgumentTypeError, match="word is 3"):
        lm.advance(0, 3)  # type: ignore[arg-type]
    for state in (-1, 99, 2**40):
        with pytest.raises(ctckit.ArgumentValueError, match="no state of this model"):
            lm.advance(state, "to")


def test_many_words_are_found(tmp_path: Path) -> None:
    """Some of them share a place of the table."""
    words = [f"w{k}" for k in range(3000)]
    text = "\n".join(["\\data\\", "ngram 1=3000", "", "\\1-grams:", *(f"-{k}\t{w}" for k, w in enumerate(words))])
    lm = model(tmp_path, f"{text}\n\n\\end\\\n")
    assert [lm.score([word], bos=False, eos=False) for word in words] == pytest.approx(
        [-k * math.log(10) for k in range(3000)]
    )
    assert not any(f"v{k}" in lm for k in range(3000))
