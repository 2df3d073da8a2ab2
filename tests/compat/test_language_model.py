"""pyctcdecode's language model and weights, against the definition on every text of some frames."""

from __future__ import annotations

import copy
import math
import pickle
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ctckit
from ctckit.compat.pyctcdecode import LanguageModel, LMState, build_ctcdecoder
from tests.tools.arpa_files import random_model
from tests.tools.ngram_oracle import DictionaryModel
from tests.tools.text_oracle import text_score

pytestmark = pytest.mark.usefixtures("core")

LABELS = ["", " ", "a", "b", "c"]
WORDS = ["a", "ab", "ba", "cab", "bc", "cc"]
NO_LIMITS: dict[str, Any] = {"beam_width": 3000, "beam_prune_logp": -math.inf, "token_min_logp": -math.inf}


def log_probs(frames: int, seed: int) -> np.ndarray:
    x = 2.0 * np.random.default_rng(seed).standard_normal((frames, len(LABELS)))
    result: np.ndarray = x - np.log(np.exp(x).sum(1, keepdims=True))
    return result


def gain(
    words: list[str], oracle: DictionaryModel, known: set[str], weights: dict[str, Any], before: tuple[str, ...] | None
) -> float:
    """What words gain by the definition of `LanguageModel`."""
    is_sentence = weights["lm_score_boundary"]
    said = [*(before if before is not None else ("<s>",) * is_sentence), *words]
    first = len(said) - len(words)
    has_unknown = "<unk>" in oracle.words
    log10 = 0.0
    for k in range(first, len(said)):
        is_in_model = said[k] in oracle.words or has_unknown
        log10 += oracle.word_log10(said[:k], said[k]) if is_in_model else -100.0  # as KenLM has it
    if is_sentence:
        log10 += oracle.word_log10(said, "</s>")
    log10 += weights["unk_score_offset"] * sum(word not in known for word in words)
    total: float = weights["alpha"] * log10 * math.log(10) + weights["beta"] * len(words)
    return total


@pytest.mark.filterwarnings("ignore:.*has none of the .* unigrams")
@pytest.mark.parametrize("unknown", [True, False])
@pytest.mark.parametrize("seed", range(12))
def test_scores_are_the_definition_s(seed: int, unknown: bool, tmp_path: Path) -> None:
    r = random.Random(seed)  # noqa: S311
    arpa = random_model(r, WORDS[: r.randint(2, 6)], r.randint(1, 3), unknown=unknown)
    (tmp_path / "lm.arpa").write_text(arpa)
    oracle = DictionaryModel(arpa)
    of_model = set(oracle.words) - {"<s>", "</s>", "<unk>"}
    unigrams = (None, [*WORDS, "other"], r.sample(WORDS, 2), [*r.sample(sorted(of_model), 1), "other"])[seed % 4]
    known = of_model if unigrams is None else of_model & set(unigrams) or of_model
    weights: dict[str, Any] = {
        "alpha": r.choice((0.0, 0.5, 1.3)),
        "beta": r.choice((0.0, 1.5, -1.0)),
        "unk_score_offset": r.choice((-10.0, -2.0, 0.3)),
        "lm_score_boundary": bool(seed % 3),
    }
    decoder = build_ctcdecoder(LABELS, tmp_path / "lm.arpa", unigrams, **weights)
    before = None if seed % 2 else tuple(r.choices([*WORDS, "<unk>"], k=oracle.order - 1))
    x = log_probs(5, seed)
    beams = decoder.decode_beams(x, **NO_LIMITS, lm_start_state=None if before is None else LMState(before))
    assert len(beams) > 100
    for text, state, _, acoustic, score in beams:
        words = text.split()
        expected = gain(words, oracle, known, weights, before)
        # (One text may have many spellings. They gain the same, so that the sum has it, too.)
        assert score - acoustic == pytest.approx(expected, abs=2e-4), text
        said = [*(before if before is not None else ("<s>",) * weights["lm_score_boundary"]), *words]
        assert state == LMState(tuple(said[len(said) - min(len(said), oracle.order - 1) :]))
    # The best texts are exact: all spellings, and all their alignments.
    for text, _, _, acoustic, _ in beams[:3]:
        rows = [[LABELS.index(letter) for letter in word] for word in text.split()]
        assert acoustic == pytest.approx(text_score(x.tolist(), rows, 1, 0), abs=1e-4)
    assert [beam[4] for beam in beams] == sorted((beam[4] for beam in beams), reverse=True)


def test_chunks_go_on(tmp_path: Path) -> None:
    arpa = random_model(random.Random(1), WORDS, 3)  # noqa: S311
    (tmp_path / "lm.arpa").write_text(arpa)
    decoder = build_ctcdecoder(LABELS, tmp_path / "lm.arpa")
    assert decoder.language_model is not None
    spoken = 12.0 * np.eye(5)
    text, state, _, _, score = decoder.decode_beams(spoken[[3, 2, 1, 0]])[0]  # "ba "
    assert (text, state) == ("ba", LMState(("<s>", "ba")))
    text, state, _, acoustic, score = decoder.decode_beams(spoken[[0, 4, 0, 4]], lm_start_state=state)[0]  # "cc"
    assert (text, state) == ("cc", LMState(("ba", "cc")))
    oracle = DictionaryModel(arpa)
    log10 = oracle.word_log10(["<s>", "ba"], "cc") + oracle.word_log10(["ba", "cc"], "</s>")
    assert score - acoustic == pytest.approx(0.5 * math.log(10) * log10 + 1.5, abs=1e-5)


def test_weights_may_be_set(tmp_path: Path) -> None:
    arpa = random_model(random.Random(2), WORDS, 2)  # noqa: S311
    (tmp_path / "lm.arpa").write_text(arpa)
    x = log_probs(20, 3)
    decoder = build_ctcdecoder(LABELS, tmp_path / "lm.arpa")
    first = decoder.decode_beams(x)
    decoder.reset_params(alpha=1.5, beta=-0.5)
    decoder.reset_params(unk_score_offset=-2.0, lm_score_boundary=False)
    other = build_ctcdecoder(LABELS, tmp_path / "lm.arpa", None, 1.5, -0.5, -2.0, False)
    assert decoder.decode_beams(x) == other.decode_beams(x) != first
    assert decoder.language_model is not None
    decoder.language_model.alpha = 0.5
    decoder.reset_params(None, 1.5, -10.0, True)
    assert decoder.decode_beams(x) == first
    with pytest.raises(ValueError, match="beta is inf, but must be a finite number"):
        decoder.reset_params(alpha=2.0, beta=math.inf)
    assert decoder.decode_beams(x) == first
    decoder.language_model.alpha = "much"  # type: ignore[assignment]
    with pytest.raises(TypeError, match="alpha is 'much', a str, but must be a number"):
        decoder.decode(x)
    build_ctcdecoder(LABELS).reset_params(alpha=1.0)  # as in pyctcdecode: there is nothing to set


def test_copies_and_pickles(tmp_path: Path) -> None:
    (tmp_path / "lm.arpa").write_text(random_model(random.Random(2), WORDS, 2))  # noqa: S311
    x = log_probs(20, 3)
    decoder = build_ctcdecoder(LABELS, tmp_path / "lm.arpa")
    expected = decoder.decode_beams(x, hotwords=["cab"])
    for made in (copy.deepcopy(decoder), pickle.loads(pickle.dumps(decoder))):  # noqa: S301
        assert made.decode_beams(x, hotwords=["cab"]) == expected
        made.reset_params(alpha=0.1)
        assert made.decode_beams(x, hotwords=["cab"]) != expected
    assert decoder.decode_beams(x, hotwords=["cab"]) == expected
    lm = LanguageModel(ctckit.NGram(tmp_path / "lm.arpa"))
    with pytest.raises(ValueError, match="was not given by its path cannot be pickled"):
        pickle.dumps(lm)


def test_folders(tmp_path: Path) -> None:
    (tmp_path / "lm.arpa").write_text(random_model(random.Random(2), WORDS, 2))  # noqa: S311
    x = log_probs(20, 3)
    (tmp_path / "2").mkdir()
    for number, arguments in enumerate([(None,), (tmp_path / "lm.arpa", ["a", "cab"], 0.7, 1.0, -3.0, False)]):
        decoder = build_ctcdecoder(LABELS, *arguments)  # type: ignore[arg-type]
        folder = tmp_path / str(number)
        folder.mkdir()
        decoder.save_to_dir(folder)
        again = type(decoder).load_from_dir(folder)
        assert again.decode_beams(x) == decoder.decode_beams(x)
    files = {path.name for path in (tmp_path / "1" / "language_model").iterdir()}
    assert files == {"attrs.json", "unigrams.txt", "lm.arpa"}
    (tmp_path / "1" / "language_model" / "attrs.json").write_text('{"alpha": 1}')
    with pytest.raises(ValueError, match=r"attrs.json has \['alpha'\], but must have"):
        type(decoder).load_from_dir(tmp_path / "1")
    (tmp_path / "1" / "language_model" / "lm.arpa").unlink()
    with pytest.raises(ValueError, match=r"but must have attrs\.json, unigrams\.txt and one model"):
        type(decoder).load_from_dir(tmp_path / "1")
    shutil.rmtree(tmp_path / "0")
    with pytest.raises(FileNotFoundError):
        type(decoder).load_from_dir(tmp_path / "0")
    lm = LanguageModel(tmp_path / "lm.arpa", ["a", "cab", "\N{DEGREE SIGN}"])
    lm.save_to_dir(tmp_path / "2", "utf-16")
    assert (tmp_path / "2" / "unigrams.txt").read_text("utf-16").split() == ["a", "cab", "\N{DEGREE SIGN}"]
    assert LanguageModel.load_from_dir(tmp_path / "2", "utf-16").order == 2
    unnamed = LanguageModel(ctckit.NGram(tmp_path / "lm.arpa"))
    with pytest.raises(ValueError, match="was not given by its path cannot be saved"):
        unnamed.save_to_dir(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"alpha": -0.5}, ValueError, "alpha is -0.5, but must be a finite number from 0"),
        ({"beta": math.nan}, ValueError, "beta is nan, but must be a finite number"),
        ({"beta": True}, TypeError, "beta is True, a bool, but must be a number"),
        ({"beta": 80.0}, ValueError, "must be below 75 nats"),
        ({"unk_score_offset": 80.0}, ValueError, "must be below 75 nats"),
        ({"lm_score_boundary": 1}, TypeError, "score_boundary is 1, a int, but must be a bool"),
        ({"unigrams": "ab"}, TypeError, "unigrams is a str, but must be a list of strings"),
        ({"unigrams": [b"ab"]}, TypeError, r"unigrams\[0\] is b'ab', a bytes"),
    ],
)
def test_wrong_weights(arguments: dict[str, Any], error: type[Exception], message: str, tmp_path: Path) -> None:
    (tmp_path / "lm.arpa").write_text(random_model(random.Random(2), WORDS, 2))  # noqa: S311
    with pytest.raises(error, match=message):
        build_ctcdecoder(LABELS, tmp_path / "lm.arpa", **arguments)


def test_other_errors(tmp_path: Path) -> None:
    (tmp_path / "lm.arpa").write_text(random_model(random.Random(2), WORDS, 2))  # noqa: S311
    x = log_probs(5, 0)
    with pytest.raises(ValueError, match="labels has no ' ' and no '▁'"):
        build_ctcdecoder(["", "a", "b"], tmp_path / "lm.arpa").decode(x[:, :3])
    with pytest.warns(UserWarning, match="has none of the 1 unigrams: its own words are known instead"):
        build_ctcdecoder(LABELS, tmp_path / "lm.arpa", ["other"])
    with pytest.warns(UserWarning, match="unigrams have no effect without kenlm_model_path"):
        build_ctcdecoder(LABELS, unigrams=["a"])
    decoder = build_ctcdecoder(LABELS, tmp_path / "lm.arpa")
    with pytest.raises(
        TypeError, match="lm_start_state is a tuple, but must be a state that decode_beams has returned"
    ):
        decoder.decode(x, lm_start_state=("a",))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"lm_start_state.words\[0\] is 3"):
        decoder.decode(x, lm_start_state=LMState((3,)))  # type: ignore[arg-type]
    assert decoder.language_model is not None
    with pytest.raises(TypeError, match="gamma is no parameter: the parameters are alpha, beta"):
        decoder.language_model.reset_params(gamma=1.0)
