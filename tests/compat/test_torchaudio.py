"""The decoder with torchaudio's face."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import ctckit
from ctckit.compat.torchaudio import CTCDecoder, CTCDecoderLM, CTCDecoderLMState, CTCHypothesis, ctc_decoder
from tests.compat.sentences import ARPA, LETTERS, WORDS, heard
from tests.tools.arpa_files import random_model
from tests.tools.ngram_oracle import DictionaryModel
from tests.tools.text_oracle import text_score

pytestmark = pytest.mark.usefixtures("core")

TOKENS = ["-", "|", *LETTERS]
SMALL = ["-", "|", "a", "b", "c"]
LEXICON = {word: [f"{' '.join(word)} |"] for word in ("a", "ab", "ba", "cab", "bc", "cc")}
MODELS = (None, "own", "python")


def spoken(said: str, seed: int) -> Tensor:
    return torch.from_numpy(heard(said, seed)).log_softmax(1)


def random_emissions(frames: int, seed: int, classes: int = 5) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (2 * torch.randn(frames, classes, generator=generator, dtype=torch.float64)).log_softmax(1)


class PythonLM(CTCDecoderLM):
    """An ARPA file's model, one word at a time. It remembers what it was asked for."""

    def __init__(self, oracle: DictionaryModel, entry: Callable[[int], str]) -> None:
        self.oracle, self.entry = oracle, entry
        self.histories: dict[CTCDecoderLMState, list[str]] = {}
        self.steps: list[tuple[CTCDecoderLMState, int]] = []

    def start(self, start_with_nothing: bool) -> CTCDecoderLMState:
        assert not start_with_nothing
        state = CTCDecoderLMState()
        self.histories[state] = ["<s>"]
        return state

    def score(self, state: CTCDecoderLMState, usr_token_idx: int) -> tuple[CTCDecoderLMState, float]:
        self.steps.append((state, usr_token_idx))
        word = self.entry(usr_token_idx)
        after = state.child(usr_token_idx)
        self.histories[after] = [*self.histories[state], word]
        return after, self.oracle.word_log10(self.histories[state], word)

    def finish(self, state: CTCDecoderLMState) -> tuple[CTCDecoderLMState, float]:
        return state, self.oracle.word_log10(self.histories[state], "</s>")


def model(kind: str | None, arpa: str, folder: Path, entries: list[str]) -> Any:
    path = folder / "lm.arpa"
    path.write_text(arpa)
    (folder / "words.txt").write_text("\n".join(entries))
    if kind is None:
        return {"lm": None}
    if kind == "own":
        return {"lm": str(path)}
    return {"lm": PythonLM(DictionaryModel(arpa), entries.__getitem__), "lm_dict": str(folder / "words.txt")}


def test_a_hypothesis_has_torchaudio_s_form(tmp_path: Path) -> None:
    (tmp_path / "tokens.txt").write_text("\n".join(TOKENS))
    (tmp_path / "lexicon.txt").write_text("".join(f"{word}\t{' '.join(word)} |\n" for word in WORDS))
    (tmp_path / "lm.arpa").write_text(ARPA)
    lexicon, tokens, lm = (str(tmp_path / name) for name in ("lexicon.txt", "tokens.txt", "lm.arpa"))
    decoder = ctc_decoder(lexicon, tokens, lm, nbest=3)
    assert isinstance(decoder, CTCDecoder)
    results = decoder(torch.stack([spoken("the cat sat", 1)] * 2).float(), torch.tensor([21, 17]))
    assert [len(found) for found in results] == [3, 3]
    best = results[0][0]
    assert type(best) is CTCHypothesis
    assert CTCHypothesis._fields == ("tokens", "words", "score", "timesteps")
    assert best.words == ["the", "cat", "sat"]
    assert type(best.score) is float
    assert best.tokens.dtype == torch.int64
    assert best.timesteps.dtype == torch.int32
    assert "".join(decoder.idxs_to_tokens(best.tokens)) == "|the|cat|sat|"
    assert len(best.timesteps) == len(best.tokens)
    assert decoder.nbest == 3
    assert decoder.word_dict is not None
    assert decoder.word_dict.get_index("cat") == WORDS.index("cat")


def test_time_steps_are_frames() -> None:
    path = [0, 0, 4, 2, 2, 0, 3, 1, 1, 0]
    x = (12 * torch.eye(5)[path]).log_softmax(1)
    decoder = ctc_decoder(LEXICON, SMALL)
    (found,) = decoder(x[None])[0]
    assert (found.words, found.tokens.tolist()) == (["cab"], [1, 4, 2, 3, 1])
    assert found.timesteps.tolist() == [0, 2, 3, 6, 7]
    (found,) = decoder(x[None, :7])[0]  # nothing is said after the word: its end is the end
    assert (found.words, found.tokens.tolist()) == (["cab"], [1, 4, 2, 3, 1])
    assert found.timesteps.tolist() == [0, 2, 3, 6, 7]
    for labels, expected in (([], [1, 1]), ([0, 0], [1, 1]), ([0, 1, 0], [1, 1])):
        (found,) = ctc_decoder(None, SMALL)((12 * torch.eye(5)[labels]).reshape(1, -1, 5).log_softmax(2))[0]
        assert (found.words, found.tokens.tolist()) == ([], expected)
        assert found.timesteps.tolist() == ([1, 3] if 1 in labels else [0, len(labels)])


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("log_add", [False, True])
def test_scores_are_the_definition_s(kind: str | None, log_add: bool, tmp_path: Path) -> None:
    for seed in range(6):
        r = random.Random(seed)  # noqa: S311
        words = [*LEXICON, "<unk>"]
        arpa = random_model(r, [*LEXICON][: r.randint(3, 6)], r.randint(1, 3))
        oracle = DictionaryModel(arpa)
        weights: dict[str, Any] = {
            "lm_weight": (0.0, 1.0, 2.5)[seed % 3],
            "word_score": r.choice((0.0, 1.5, -1.0)),
            "sil_score": r.choice((0.0, 0.4, -0.6)),
            "unk_score": (-3.0, -math.inf)[seed % 2],
        }
        lm = model(kind, arpa, tmp_path, words)
        decoder = ctc_decoder(
            LEXICON, SMALL, **lm, **weights, log_add=log_add, nbest=3000, beam_size=3000, beam_threshold=math.inf
        )
        x = random_emissions(5, seed)
        biased = x.clone()
        biased[:, 1] += weights["sil_score"]
        results = decoder(x[None])[0]
        assert len(results) > 10
        is_closed = weights["unk_score"] == -math.inf
        assert len({tuple(found.words) for found in results}) == len(results) or not is_closed
        for found in results:
            rows = split(found.tokens.tolist())
            spelt = ["".join(SMALL[token] for token in row) for row in rows]
            assert found.words == [word if word in LEXICON else "<unk>" for word in spelt]
            acoustic = text_score(biased.tolist(), rows, 1, 0, best_path=not log_add)
            known = sum(word != "<unk>" for word in found.words)
            expected = weights["word_score"] * known
            if not is_closed:
                expected += weights["unk_score"] * (len(rows) - known)
            if kind is not None and weights["lm_weight"]:
                expected += weights["lm_weight"] * oracle.score(found.words) / math.log(10)
            assert found.score == pytest.approx(acoustic + expected, abs=2e-4), (seed, found.words)
        assert [found.score for found in results] == sorted((found.score for found in results), reverse=True)


def split(tokens: list[int]) -> list[list[int]]:
    rows: list[list[int]] = [[]]
    for token in tokens:
        if token == 1:
            rows.append([])
        else:
            rows[-1].append(token)
    return [row for row in rows if row]


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("log_add", [False, True])
def test_tokens_are_decoded_without_a_lexicon(kind: str | None, log_add: bool, tmp_path: Path) -> None:
    for seed in range(4):
        r = random.Random(seed)  # noqa: S311
        arpa = random_model(r, ["|", "a", "b"], r.randint(1, 3))  # "c" is not in the model
        oracle = DictionaryModel(arpa)
        weights: dict[str, Any] = {
            "lm_weight": r.choice((0.0, 1.5)),
            "sil_score": r.choice((0.0, -0.6)),
            "word_score": 7.0,
        }
        lm = model(kind, arpa, tmp_path, SMALL)
        x = random_emissions(5, seed)
        biased = x.clone()
        biased[:, 1] += weights["sil_score"]
        decoder = ctc_decoder(
            None, SMALL, **lm, **weights, log_add=log_add, nbest=3000, beam_size=3000, beam_threshold=math.inf
        )
        results = decoder(x[None])[0]
        assert len(results) == len(ctckit.beam_search(x, beam_width=3000, nbest=3000, rescore=False).nbest)  # type: ignore[union-attr]
        for found in results[:60]:
            tokens, starts = found.tokens.tolist(), found.timesteps.tolist()
            # The silences at both ends may be torchaudio's own.
            rows = {tuple(tokens[a : len(tokens) - b]) for a in (0, 1) for b in (0, 1)}
            scores = []
            for row in rows:
                acoustic = text_score(biased.tolist(), [row], None, 0, best_path=not log_add) if row else -math.inf
                if not row:
                    acoustic = float(biased[:, 0].sum())
                said = [SMALL[token] for token in row]
                lm_score = 0.0 if kind is None else weights["lm_weight"] * oracle.score(said) / math.log(10)
                scores.append(acoustic + lm_score)
            assert any(found.score == pytest.approx(score, abs=2e-4) for score in scores)
            assert starts == sorted(starts)
            assert starts[0] >= 0
            assert starts[-1] <= len(x)


def test_a_model_in_python_finds_what_a_file_does(tmp_path: Path) -> None:
    words = [*WORDS, "<unk>"]
    by_file = ctc_decoder(
        {word: f"{' '.join(word)} |" for word in WORDS}, TOKENS, **model("own", ARPA, tmp_path, words), nbest=5
    )
    lm = model("python", ARPA, tmp_path, words)
    by_calls = ctc_decoder({word: f"{' '.join(word)} |" for word in WORDS}, TOKENS, **lm, nbest=5)
    for seed in range(3):
        x = spoken("the dog sat on the mat", seed)[None]
        expected, found = by_file(x)[0][0], by_calls(x)[0][0]
        assert (found.words, found.tokens.tolist()) == (expected.words, expected.tokens.tolist())
        assert found.score == pytest.approx(expected.score, abs=1e-4)
    assert len(lm["lm"].steps) == len(set(lm["lm"].steps)) > 100  # each step is asked for once
    before = len(lm["lm"].steps)
    by_calls(x)
    assert len(lm["lm"].steps) > before  # and nothing is remembered for another call


@pytest.mark.parametrize("lexicon", [LEXICON, None])
@pytest.mark.parametrize("log_add", [False, True])
def test_pieces_are_the_same(lexicon: Any, log_add: bool, tmp_path: Path) -> None:
    (tmp_path / "lm.arpa").write_text(random_model(random.Random(3), [*LEXICON] if lexicon else SMALL[1:], 2))  # noqa: S311
    decoder = ctc_decoder(
        lexicon, SMALL, tmp_path / "lm.arpa", nbest=4, beam_size=20, log_add=log_add, sil_score=-0.3, unk_score=-5.0
    )
    for seed, size in ((0, 1), (1, 3), (2, 100)):
        x = random_emissions(12, seed)
        expected = decoder(x[None])[0]
        decoder.decode_begin()
        for chunk in x.split(size):
            decoder.decode_step(chunk)
        decoder.decode_step(x[:0])
        decoder.decode_end()
        found = decoder.get_final_hypothesis()
        assert [(a.words, a.score) for a in found] == [(a.words, a.score) for a in expected]
        for ours, theirs in zip(found, expected, strict=True):
            assert torch.equal(ours.tokens, theirs.tokens)
            assert torch.equal(ours.timesteps, theirs.timesteps)
        with pytest.raises(ValueError, match="the item has ended: call decode_begin before the next one"):
            decoder.decode_step(x)
    decoder.decode_begin()
    with pytest.raises(ValueError, match="the item has not ended: call decode_end first"):
        decoder.get_final_hypothesis()
    decoder.decode_end()
    (nothing,) = decoder.get_final_hypothesis()
    assert (nothing.words, nothing.tokens.tolist(), nothing.timesteps.tolist()) == ([], [1, 1], [0, 0])
    broken = random_emissions(4, 0)
    broken[1, 2] = torch.nan
    decoder.decode_begin()
    decoder.decode_step(broken[:1])
    with pytest.raises(ValueError, match="hold NaN in frame 0"):
        decoder.decode_step(broken[1:])
    for method, arguments in ((decoder.decode_step, (x,)), (decoder.decode_end, ())):
        with pytest.raises(ValueError, match="the item was ended by an error: call decode_begin before"):
            method(*arguments)
    decoder.decode_begin()
    with pytest.raises(ValueError, match="probabilities"):
        decoder.decode_step(x.exp())
    decoder.decode_begin()
    first, second, third = (x + 9).split(4)
    with pytest.warns(UserWarning, match="emissions hold"):
        decoder.decode_step(first)
    decoder.decode_step(second)  # it has said so
    decoder.decode_step(third)
    decoder.decode_end()


def test_batches_are_the_same() -> None:
    decoder = ctc_decoder(LEXICON, SMALL, nbest=3)
    batch = torch.stack([random_emissions(12, seed) for seed in range(4)])
    lengths = torch.tensor([12, 5, 9, 0])
    for x, length, found in zip(batch, lengths, decoder(batch, lengths), strict=True):
        (alone,) = decoder(x[None, :length])
        assert [(a.words, a.score) for a in found] == [(a.words, a.score) for a in alone]


def test_one_warning_for_values_that_are_no_log_probabilities() -> None:
    decoder = ctc_decoder(LEXICON, SMALL)
    x = random_emissions(6, 0)
    with pytest.warns(UserWarning, match="item 1: emissions hold") as caught:
        decoder(torch.stack([x, x + 9, x, x + 9]))
    assert len(caught) == 1
    assert caught[0].filename == __file__


def test_a_narrow_beam_of_a_closed_lexicon_still_finds_words() -> None:
    decoder = ctc_decoder({"cab": "c a b |", "abc": "a b c |"}, SMALL, beam_size=1)
    x = torch.tensor([[0.1, 0.1, 0.3, 0.1, 0.4], [0.1, 0.1, 0.4, 0.3, 0.1], [0.1, 0.1, 0.1, 0.1, 0.6]]).log()
    (found,) = decoder(x[None])[0]  # within "cab" at the end, if nothing is done
    assert found.score > -math.inf
    decoder.decode_begin()
    decoder.decode_step(x)
    decoder.decode_end()
    assert decoder.get_final_hypothesis()[0].score == found.score
    impossible = x.clone()
    impossible[1] = -torch.inf
    (found,) = decoder(impossible[None])[0]
    assert (found.words, found.tokens.tolist(), found.timesteps.tolist(), found.score) == ([], [], [], -math.inf)


def test_words_spelt_alike(tmp_path: Path) -> None:
    lexicon = {"see": "c a |", "sea": "c a |", "the": "b |"}
    x = (12 * torch.eye(5)[[3, 1, 4, 2, 1]]).log_softmax(1)[None]
    assert ctc_decoder(lexicon, SMALL)(x)[0][0].words == ["the", "see"]  # the first
    lines = ["\\data\\", "ngram 1=6", "ngram 2=2", "", "\\1-grams:"]
    lines += [f"-1.0\t{word}\t0.0" for word in ("<unk>", "<s>", "</s>", "see", "sea", "the")]
    lines += ["", "\\2-grams:", "-0.2\tthe sea", "-0.7\tthe see", "", "\\end\\", ""]
    (tmp_path / "lm.arpa").write_text("\n".join(lines))
    entries = ["see", "sea", "the", "<unk>"]
    (tmp_path / "words.txt").write_text("\n".join(entries))
    lm = PythonLM(DictionaryModel("\n".join(lines)), entries.__getitem__)
    for given in (lexicon, dict(reversed(lexicon.items()))):
        found = ctc_decoder(given, SMALL, tmp_path / "lm.arpa", nbest=3)(x)[0]
        assert found[0].words == ["the", "sea"]
        by_calls = ctc_decoder(given, SMALL, lm, tmp_path / "words.txt")(x)[0][0]
        assert by_calls.words == ["the", "sea"]
        assert by_calls.score == pytest.approx(found[0].score, abs=1e-4)


def test_several_spellings_and_names(tmp_path: Path) -> None:
    (tmp_path / "tokens.txt").write_text("-\n| SIL\n\na A\nb\nc\n")
    (tmp_path / "lexicon.txt").write_text("x A b SIL\nx c SIL\ny b b |\n")
    decoder = ctc_decoder(tmp_path / "lexicon.txt", tmp_path / "tokens.txt", nbest=9, sil_token="SIL")  # noqa: S106
    assert decoder.tokens_dict.entries == SMALL
    for path, words in (([2, 3, 1, 4], ["x", "x"]), ([3, 0, 3, 1, 2, 3], ["y", "x"])):
        assert decoder((12 * torch.eye(5)[path]).log_softmax(1)[None])[0][0].words == words


def test_pieces_that_begin_words_need_no_silence() -> None:
    tokens = ["-", "|", "▁a", "b", "▁c"]
    decoder = ctc_decoder({"ab": "▁a b", "c": "▁c", "cb": "▁c b"}, tokens)
    found = decoder((12 * torch.eye(5)[[2, 3, 4, 0, 4, 3]]).log_softmax(1)[None])[0][0]
    assert (found.words, found.tokens.tolist()) == (["ab", "c", "cb"], [1, 2, 3, 4, 4, 3, 1])


def test_models_without_unk(tmp_path: Path) -> None:
    arpa = random_model(random.Random(3), ["a", "ab"], 1, unknown=False)  # noqa: S311
    (tmp_path / "lm.arpa").write_text(arpa)
    oracle = DictionaryModel(arpa)
    for unk_score in (-math.inf, -4.0):
        decoder = ctc_decoder(
            LEXICON, SMALL, tmp_path / "lm.arpa", nbest=500, beam_size=9000, beam_threshold=math.inf,
            lm_weight=1.5, unk_score=unk_score,
        )  # fmt: skip
        x = random_emissions(5, 0)
        missing = 0
        for found in decoder(x[None])[0]:
            acoustic = text_score(x.tolist(), split(found.tokens.tolist()), 1, 0, best_path=True)
            # KenLM gives <unk> 10 to the power of -100 then.
            log10 = [oracle.log10.get((word,), -100.0) for word in [*found.words, "</s>"]]
            missing += -100.0 in log10
            expected = acoustic + 1.5 * sum(log10) + sum(unk_score for word in found.words if word == "<unk>")
            assert found.score == pytest.approx(expected, abs=1e-3), found.words
        assert missing


WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"tokens": []}, ValueError, "tokens has no entries"),
    ({"tokens": ["-", "|", "a", "a"]}, ValueError, "tokens has 'a' twice"),
    ({"tokens": 3}, TypeError, "tokens is a int, but must be a list of strings"),
    ({"blank_token": "_"}, ValueError, "tokens has no '_'"),
    ({"sil_token": " "}, ValueError, "tokens has no ' '"),
    ({"lexicon": {"ab": [[]]}}, ValueError, "the lexicon spells 'ab' without tokens"),
    ({"lexicon": {"ab": "a b"}}, ValueError, r"spells 'ab' without '\|' at the end"),
    ({"lexicon": {"ab": "a | b |"}}, ValueError, r"spells 'ab' with '\|' inside"),
    ({"lexicon": {"x": "x y |"}}, ValueError, "the vocabulary spells none of the 1 words of the lexicon"),
    ({"lexicon": 3}, TypeError, "lexicon is a int"),
    ({"lm": 3}, TypeError, "lm is a int, but must be a path, a ctckit.NGram, or an object with"),
    ({"lm": CTCDecoderLM}, TypeError, "lm is the class CTCDecoderLM"),
    ({"lm_dict": ["a"]}, TypeError, "lm_dict is a list, but must be the path of a file"),
    ({"nbest": 0}, ValueError, "nbest is 0"),
    ({"beam_size": 0}, ValueError, "beam_width is 0"),
    ({"beam_size_token": 0}, ValueError, "beam_size_token is 0"),
    ({"beam_threshold": -1.0}, ValueError, "beam_threshold is -1.0"),
    ({"lm_weight": math.inf}, ValueError, "lm_weight is inf, but must be a finite number"),
    ({"word_score": "1"}, TypeError, "word_score is '1', a str, but must be a number"),
    ({"word_score": 80.0}, ValueError, "word_score is 80.0, but must be below 75 nats"),
    (
        {"unk_score": 70.0, "word_score": -9.0},
        ValueError,
        r"unk_score is 70.0, but must be below word_score \+ 75 nats",
    ),
    ({"unk_score": math.nan}, ValueError, "unk_score is nan"),
    ({"sil_score": True}, TypeError, "sil_score is True, a bool"),
]


@pytest.mark.parametrize(("arguments", "error", "message"), WRONG)
def test_wrong_arguments(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        ctc_decoder(**{"lexicon": LEXICON, "tokens": SMALL, **arguments})


def test_more_wrong_arguments(tmp_path: Path) -> None:
    (tmp_path / "lm.arpa").write_text(ARPA)
    with pytest.raises(ValueError, match=r"lm_weight is -1\.0, but must be a number from 0 for an n-gram model"):
        ctc_decoder(LEXICON, SMALL, tmp_path / "lm.arpa", lm_weight=-1)
    (tmp_path / "words.txt").write_text("a\nab\n")
    with pytest.raises(ValueError, match="lm_dict has no 'ba'"):
        ctc_decoder(LEXICON, SMALL, CTCDecoderLM(), tmp_path / "words.txt")
    decoder = ctc_decoder(LEXICON, SMALL)
    x = random_emissions(5, 0)
    with pytest.raises(ValueError, match=r"emissions has shape \(5, 5\), but must be \(N, T, C\)"):
        decoder(x)
    with pytest.raises(ValueError, match=r"emissions has shape \(1, 5, 5\), but must be \(T, C\)"):
        decoder.decode_step(x[None])
    with pytest.raises(ValueError, match="emissions have 4 classes, but there are 5 tokens"):
        decoder(x[None, :, :4])
    with pytest.raises(ValueError, match="probabilities"):
        decoder(x.exp()[None])
    with pytest.raises(NotImplementedError):
        ctc_decoder(LEXICON, SMALL, CTCDecoderLM())(x[None])
    for method in ("score", "finish"):
        with pytest.raises(NotImplementedError):
            getattr(CTCDecoderLM(), method)(*(None, 0)[: 2 if method == "score" else 1])


def test_states_are_a_tree() -> None:
    state = CTCDecoderLMState()
    child = state.child(3)
    assert state.child(3) is child
    assert state.children == {3: child}
    assert state.compare(state) == 0
    assert state.compare(child) == -child.compare(state) != 0
