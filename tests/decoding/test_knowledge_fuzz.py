"""Files of language models and lexicons with any fault: an error that names the line, or what the file says."""

from __future__ import annotations

import math
import re
import tempfile
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

import ctckit
from ctckit.decoding.lexicon import read_lexicon, spelt_lexicon
from ctckit.decoding.ngram import NGram
from tests.decoding.test_knowledge_errors import TEXT
from tests.tools.ngram_oracle import DictionaryModel

pytestmark = pytest.mark.usefixtures("core")

LINES = TEXT.splitlines()
FIELDS = ["-1", "0", "-inf", "nan", "1e400", "-0.5", "ab", "ba", "can", "<s>", "</s>", "<unk>", "é", "ngram", "1=6"]
FIELDS += ["2=2", "\\1-grams:", "\\2-grams:", "\\3-grams:", "\\data\\", "\\end\\", "", "-0.3\t<s> ab", "-1\tba\t0.5"]
WHOLE = r"it has no line|it ends without the line|it lists \".+\" twice|it has no words"  # errors of no single line


FOLDER = tempfile.TemporaryDirectory()


def file(content: bytes) -> Path:
    path = Path(tempfile.mkdtemp(dir=FOLDER.name)) / "file"  # never the same: a file may be mapped still
    path.write_bytes(content)
    return path


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """The text of a model with a few fields or lines changed."""
    lines = list(LINES)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(lines) - 1))
        kind = draw(st.sampled_from(["field", "line", "drop", "twice", "swap", "cut", "append"]))
        if kind == "field" and lines[at].split():
            fields = re.split(r"(\s)", lines[at])
            fields[draw(st.integers(0, len(fields) - 1))] = draw(st.sampled_from(FIELDS))
            lines[at] = "".join(fields)
        elif kind == "append":
            lines[at] += draw(st.sampled_from([" ", "\t"])) + draw(st.sampled_from(FIELDS))
        elif kind == "line":
            lines.insert(at, draw(st.sampled_from(FIELDS)))
        elif kind == "drop" and len(lines) > 1:
            del lines[at]
        elif kind == "twice":
            lines.insert(at, lines[at])
        elif kind == "swap":
            other = draw(st.integers(0, len(lines) - 1))
            lines[at], lines[other] = lines[other], lines[at]
        elif kind == "cut":
            lines[at] = lines[at][: draw(st.integers(0, len(lines[at])))]
    return draw(st.sampled_from(["\n", "\r\n"])).join(lines)


@settings(max_examples=400, deadline=None)
@example(TEXT)
@example("\ufeff" + TEXT)
@given(damaged())
def test_models_with_a_fault(text: str) -> None:
    try:
        lm = NGram(file(text.encode()))
    except ctckit.ArgumentValueError as error:
        problem = str(error).split("can be read: ", 1)[1]
        line = re.match(r"line (\d+): ", problem)
        assert line or re.match(WHOLE, problem), problem  # some are read
        assert line is None or 1 <= int(line[1]) <= text.count("\n") + 1
        return
    oracle = DictionaryModel(text.removeprefix("\ufeff").split("\\data\\", 1)[1].split("\\end\\")[0])
    assert list(lm) == oracle.words
    for sentence in (["ab", "ba", "can"], ["<s>", "ab"], ["never seen", "ba"], []):
        expected = oracle.score(sentence, bos="<s>" in oracle.words, eos="</s>" in oracle.words)
        found = lm.score(sentence, eos="</s>" in oracle.words)
        assert found == pytest.approx(expected, rel=1e-6, abs=1e-4)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_models_of_any_bytes(content: bytes) -> None:
    with pytest.raises(ctckit.ArgumentValueError, match="is no n-gram model that can be read"):
        NGram(file(content))


@pytest.mark.parametrize("name", ["probing.bin", "own"])
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_binaries_with_a_fault(name: str, data: st.DataObject) -> None:
    """They may say anything, but are never read beyond their ends, whatever is asked."""
    source = Path(__file__).parent / "kenlm"
    if name == "own":
        path = file(b"")
        NGram(source / "model.arpa").save(path)
        content = bytearray(path.read_bytes())
    else:
        content = bytearray((source / name).read_bytes())
    for at in data.draw(st.lists(st.integers(0, len(content) - 1) | st.integers(0, 200), max_size=6)):
        content[at] = data.draw(st.integers(0, 255))
    end = data.draw(st.just(len(content)) | st.integers(0, len(content)))
    try:
        lm = NGram(file(bytes(content[:end])))
    except ctckit.ArgumentValueError:
        return
    assert len([*lm]) == len(lm)
    assert isinstance("w1" in lm, bool)
    numbers = st.integers(-(2**40), 2**40) | st.integers(-3, 40)
    for _ in range(8):
        state, word = data.draw(numbers), data.draw(numbers)
        try:
            gain, after = lm.core.step(state, word)
        except ValueError:
            continue
        assert isinstance(gain, float)
        lm.advance(after, "w2")
    assert isinstance(lm.score(["w1", "w5", "w3", "other"]), float)


ENTRIES = st.lists(
    st.lists(st.sampled_from(["a", "ab", "é", "|", "-", "q", "can", "\ufeff", "\x1c"]), max_size=4).map(" ".join),
    max_size=6,
)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60) | ENTRIES.map(lambda lines: "\n".join(lines).encode()))
def test_lexicons_of_any_content(content: bytes) -> None:
    vocabulary = ctckit.Vocabulary(["-", "|", "a", "b", "c", "n"], blank=0)
    path = file(content)
    try:
        entries = read_lexicon(path)
    except ctckit.ArgumentValueError as error:
        assert re.search(r"line \d+ is not UTF-8|has no words", str(error))  # noqa: PT017
        return
    assert all(len(word.split()) == 1 for word in entries)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            lexicon = spelt_lexicon(entries, vocabulary, 0, str(path), is_given=True)
        except ctckit.ArgumentValueError as error:
            assert f"spells none of the {len(entries)} words of {path}" in str(error)  # noqa: PT017
            return
        decoder: Any = ctckit.Decoder(vocabulary, lexicon=path)
    assert bool(said) == (len({*lexicon.words}) < len(entries))
    assert lexicon.lengths.sum() == len(lexicon.classes)
    assert lexicon.lengths.min() > 0
    assert not {0, 1} & {*lexicon.classes.tolist()}
    assert math.isfinite(decoder(torch.zeros(12, 6).log_softmax(1)).score)
