"""Binaries of KenLM. Those in kenlm/ are from its own build_binary (0.3.0), of model.arpa beside them."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest

from ctckit.decoding.ngram import NGram
from tests.tools.ngram_oracle import DictionaryModel

pytestmark = pytest.mark.usefixtures("core")

FOLDER = Path(__file__).parent / "kenlm"
ARPA = (FOLDER / "model.arpa").read_text()
PROBING = (FOLDER / "probing.bin").read_bytes()


def test_scores_are_those_of_the_arpa_file() -> None:
    lm, expected = NGram(FOLDER / "probing.bin"), DictionaryModel(ARPA)
    own = NGram(FOLDER / "model.arpa")
    assert (lm.order, lm.counts, set(lm)) == (own.order, own.counts, set(expected.words))
    words = [*(w for w in lm if w not in ("<s>", "</s>")), "never seen"]
    r = random.Random(0)  # noqa: S311
    for _ in range(500):
        sentence = r.choices(words, k=r.randint(0, 8))
        for bos in (True, False):
            for eos in (True, False):
                assert lm.score(sentence, bos=bos, eos=eos) == pytest.approx(
                    expected.score(sentence, bos=bos, eos=eos), abs=1e-5
                ), sentence


def test_a_state_is_what_the_model_can_use() -> None:
    """There is one for each context that an n-gram goes on from, or whose back-off weight counts, and no more."""
    lm, listed = NGram(FOLDER / "probing.bin"), DictionaryModel(ARPA)
    # (With an n-gram KenLM has those within it, too.)
    longer = {gram[begin:end] for gram in listed.log10 for end in range(1, len(gram)) for begin in range(end)}
    contexts = {gram for gram in [*listed.log10, *longer] if gram in longer or listed.back_off[gram] != 0}
    words = [w for w in lm if w not in ("<s>", "</s>")]
    r = random.Random(1)  # noqa: S311
    seen: dict[int, set[tuple[str, ...]]] = {}
    for _ in range(300):
        said: tuple[str, ...] = ("<s>",)
        state = lm.initial()
        for word in r.choices(words, k=12):
            said, state = (*said, word), lm.advance(state, word)[1]
            used = next((said[at:] for at in range(max(0, len(said) - 3), len(said)) if said[at:] in contexts), ())
            seen.setdefault(state, set()).add(used)
    assert len(seen) > 20
    assert all(len(used) == 1 for used in seen.values()), seen
    assert len({next(iter(used)) for used in seen.values()}) == len(seen)


def test_what_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"trie.*pass the ARPA file.*build_binary probing"):
        NGram(FOLDER / "trie.bin")
    with pytest.raises(ValueError, match="save the ARPA file"):
        NGram(FOLDER / "probing.bin").save(tmp_path / "x")
    for version in (b"4", b"6"):
        (tmp_path / "x").write_bytes(PROBING.replace(b"version 5", b"version " + version))
        with pytest.raises(ValueError, match="another version of KenLM's format than 5"):
            NGram(tmp_path / "x")
    changed = bytearray(PROBING)
    changed[100] = 0  # whether it has words
    (tmp_path / "x").write_bytes(changed)
    with pytest.raises(ValueError, match="does not hold its words"):
        NGram(tmp_path / "x")


def test_files_that_are_cut_off(tmp_path: Path) -> None:
    for size in range(52, len(PROBING), 3):
        (tmp_path / "x").write_bytes(PROBING[:size])
        with pytest.raises(ValueError, match=r"it ends at byte|cut off|another version"):
            NGram(tmp_path / "x")


def test_damaged_files_are_refused_or_read_within_their_bounds(tmp_path: Path) -> None:
    """Under sanitizers, a read outside the file is an error."""
    r = random.Random(2)  # noqa: S311
    for _ in range(400):
        damaged = bytearray(PROBING)
        for _ in range(r.choice((1, 5, 50))):
            damaged[r.randrange(56, len(damaged))] = r.choice((0, 1, 255, r.randrange(256)))
        (tmp_path / "x").write_bytes(damaged)
        try:
            lm = NGram(tmp_path / "x")
        except ValueError:
            continue
        score = lm.score(["w0", "w1", "w2", "w0", "w3", "w1"])
        assert isinstance(score, float)
        assert not math.isinf(score) or score
