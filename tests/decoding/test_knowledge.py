"""Decoders with language models, lexicons and hotwords, against the definition on every labelling."""

from __future__ import annotations

import itertools
import math
import random
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

import ctckit
from tests.decoding.problems import emissions
from tests.decoding.test_ngram import random_arpa
from tests.tools.ngram_oracle import DictionaryModel

pytestmark = pytest.mark.usefixtures("core")

LETTERS = ["-", "|", "a", "b"]
PIECES = ["-", "▁a", "a", "▁b", "b", "ab"]
BARE = ["-", "▁", "a", "▁b", "b"]
WITHIN = ["-", "a", "##a", "b", "##b"]
ENDINGS = ["-", "a</w>", "a", "b</w>", "b"]
CONTINUED = ["-", "a@@", "a", "b@@", "b"]
VOCABULARIES = {
    "letters": LETTERS,
    "pieces": PIECES,
    "bare": BARE,
    "within": WITHIN,
    "endings": ENDINGS,
    "continued": CONTINUED,
}

Words = list[tuple[int, ...]]


def words_of(tokens: tuple[int, ...], names: list[str]) -> Words:
    """The classes of each word, without separators and bare marks."""
    rows: Words = [()]
    for c in tokens:
        name = names[c]
        starts = name in ("|", "▁") or name.startswith("▁") or (names is WITHIN and not name.startswith("##"))
        if starts:
            rows.append(())
        if name not in ("|", "▁"):
            rows[-1] += (c,)
        if name.endswith("</w>") or (names is CONTINUED and not name.endswith("@@")):
            rows.append(())
    return [row for row in rows if row]


def spellings(word: str, names: list[str]) -> set[tuple[int, ...]]:
    """Every row of classes that is the word."""
    found = set()
    for size in range(1, len(word) + 1):
        for row in itertools.product(range(1, len(names)), repeat=size):
            parts = [names[c] for c in row]
            if any(part in ("|", "▁") for part in parts):
                continue
            text = "".join(part.strip("▁#@").removesuffix("</w>") for part in parts)
            if text == word and is_one_word(parts, names):
                found.add(row)
    return found


def is_one_word(parts: list[str], names: list[str]) -> bool:
    if names is PIECES:
        return parts[0].startswith("▁") and not any(part.startswith("▁") for part in parts[1:])
    if names is BARE:  # a mark may come before
        return not any(part.startswith("▁") for part in parts[1:])
    if names is WITHIN:
        return not parts[0].startswith("##") and all(part.startswith("##") for part in parts[1:])
    if names is ENDINGS:
        return parts[-1].endswith("</w>") and not any(part.endswith("</w>") for part in parts[:-1])
    if names is CONTINUED:
        return not parts[-1].endswith("@@") and all(part.endswith("@@") for part in parts[:-1])
    return True


class Setting(NamedTuple):
    """What a decoder knows."""

    names: list[str]
    lexicon: list[str] | None
    is_open: bool
    lm: DictionaryModel | None
    hotwords: dict[str, float]
    weight: float
    bonus: float
    unknown: float


def gains(tokens: tuple[int, ...], setting: Setting) -> tuple[float, float]:
    """What the words and the hotwords of a labelling gain."""
    names = setting.names
    words = words_of(tokens, names)
    known = setting.lexicon
    if known is None and setting.lm is not None:
        known = [word for word in setting.lm.words if word not in ("<s>", "</s>", "<unk>")]
    by_words = 0.0
    if known is not None:
        rows = {row: word for word in known for row in spellings(word, names)}
        said = [rows.get(word) for word in words]
        is_open = setting.lexicon is None or setting.is_open
        by_words = sum(0.0 if word is not None else setting.unknown if is_open else -math.inf for word in said)
        if setting.lm is not None and by_words > -math.inf:
            by_words += setting.weight * setting.lm.score([word or "<unk>" for word in said])
            by_words += setting.bonus * len(said)
    by_phrases = 0.0
    for phrase, weight in setting.hotwords.items():
        parts = [spellings(word, names) for word in phrase.split()]
        for at in range(len(words) - len(parts) + 1):
            by_phrases += weight * all(word in part for word, part in zip(words[at:], parts, strict=False))
    return by_words, by_phrases


@pytest.mark.parametrize("kind", VOCABULARIES)
def test_scores_are_the_definition_s(kind: str, tmp_path: Path) -> None:
    names = VOCABULARIES[kind]
    r = random.Random(kind)  # noqa: S311
    every = ["".join(row) for size in (1, 2, 3) for row in itertools.product("ab", repeat=size)]
    scored = 0
    for seed in range(24):
        lm_text = random_arpa(r, r.randint(1, 3), holes=0.0)
        for k, word in enumerate(r.sample(every, 6)):
            for end in ("\t", " ", "\n"):
                lm_text = lm_text.replace(f"w{k}{end}", f"{word}{end}")
        path = tmp_path / f"{seed}.arpa"
        path.write_text(lm_text)
        phrases = [" ".join(r.choices(every[:6], k=r.randint(1, 2))) for _ in range(r.randint(1, 4))]
        setting = Setting(
            names,
            r.sample(every, r.randint(1, 8)) if seed % 3 else None,
            is_open=bool(seed & 1),
            lm=DictionaryModel(lm_text) if seed % 4 else None,
            hotwords={phrase: r.choice((1.0, 3.5, -2.0)) for phrase in phrases} if seed % 5 else {},
            weight=r.choice((0.0, 0.5, 1.7)),
            bonus=r.uniform(-1, 1),
            unknown=r.choice((-2.5, 1.0, -math.inf)) if seed & 2 else -10.0,
        )
        x = emissions("flat", 4, len(names), seed)
        options: dict[str, Any] = {"beam_width": 4000, "nbest": 4000, "blank": 0}
        plain: Any = ctckit.Decoder(names, **options)(x)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*(does not spell|words of the lexicon)")
            decoder: Any = ctckit.Decoder(
                names,
                **options,
                lm=None if setting.lm is None else path,
                lm_weight=setting.weight,
                word_bonus=setting.bonus,
                unknown_score=setting.unknown,
                lexicon=setting.lexicon,
                open_lexicon=setting.is_open,
                hotwords=setting.hotwords or None,
            )
            found = {one.tokens: one for one in decoder(x).nbest}
        for one in plain.nbest:
            by_words, by_phrases = gains(one.tokens, setting)
            if by_words == -math.inf:
                assert one.tokens not in found
                continue
            scored += 1
            got = found[one.tokens]
            assert got.lm_score == pytest.approx(by_words, abs=1e-5), (one.text, setting)
            assert got.hotword_score == pytest.approx(by_phrases, abs=1e-9), (one.text, setting)
            assert got.score == pytest.approx(one.score + by_words + by_phrases, abs=1e-5)
        assert len(found) <= len(plain.nbest)
        assert [one.score for one in decoder(x).nbest] == sorted((one.score for one in found.values()), reverse=True)
    assert scored > 500


def test_models_of_tokens(tmp_path: Path) -> None:
    names = ["-", "w0", "w1", "w2"]  # a vocabulary that shows no words
    r = random.Random(1)  # noqa: S311
    for seed in range(20):
        text = random_arpa(r, r.randint(1, 4), holes=0.0)
        path = tmp_path / f"{seed}.arpa"
        path.write_text(text)
        oracle = DictionaryModel(text)
        weight, bonus, unknown = r.choice((0.5, 1.5)), r.uniform(-1, 1), r.uniform(-3, 0)
        x = emissions("flat", 4, 4, seed)
        options: dict[str, Any] = {"beam_width": 4000, "nbest": 4000, "blank": 0}
        plain: Any = ctckit.Decoder(names, **options)(x)
        decoder: Any = ctckit.Decoder(
            names, **options, lm=path, lm_unit="token", lm_weight=weight, word_bonus=bonus, unknown_score=unknown
        )
        found = {one.tokens: one for one in decoder(x).nbest}
        assert len(found) == len(plain.nbest)
        for one in plain.nbest:
            said = [names[c] for c in one.tokens]
            expected = weight * oracle.score(said) + bonus * len(said)
            expected += unknown * sum(word not in oracle.words for word in said)
            assert found[one.tokens].lm_score == pytest.approx(expected, abs=1e-5)


def test_batches_threads_and_streams_are_the_same(tmp_path: Path) -> None:
    r = random.Random(2)  # noqa: S311
    text = random_arpa(r, 3, holes=0.0)
    for k, word in enumerate(["a", "b", "ab", "ba", "aab", "bb"]):
        for end in ("\t", " ", "\n"):
            text = text.replace(f"w{k}{end}", f"{word}{end}")
    (tmp_path / "lm.arpa").write_text(text)
    decoder = ctckit.Decoder(LETTERS, beam_width=20, nbest=5, lm=tmp_path / "lm.arpa", hotwords={"ab": 2.0, "a b": 3.0})
    x = torch.stack([emissions("flat", 30, 4, seed) for seed in range(7)])
    together = decoder(x)
    assert isinstance(together, list)
    for item, expected in zip(x, together, strict=True):
        one: Any = decoder(item)
        assert [h.score for h in one.nbest] == [h.score for h in expected.nbest]  # type: ignore[union-attr]
        stream = decoder.stream()
        for chunk in item.split(7):
            stream.push(chunk)
        streamed = stream.finish()
        by_beam = sorted(one.nbest, key=lambda h: -h.beam_score)
        assert [h.tokens for h in streamed.nbest] == [h.tokens for h in by_beam]
        assert [h.beam_score for h in streamed.nbest] == [h.beam_score for h in by_beam]
