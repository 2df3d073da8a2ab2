"""The beam searches of other libraries with a language model of words, which run in their own processes.

As in `decoding_calls`, only NumPy and the peer are imported. All search with the same objective: the emissions'
log-probability, 0.5 times the model's in natural logarithms, and 1.5 nats for each word. pyctcdecode and
ctc-beam-decoder charge for words that the model does not have, as ctckit does; flashlight finds words of its lexicon
alone.
"""

# ruff: noqa: PLC0415 - only the peer that is measured is imported
# mypy: disable-error-code="import-not-found, import-untyped"

from __future__ import annotations

import importlib
import itertools
import logging
import math
from collections.abc import Callable, Generator
from typing import Any

import numpy as np

from benchmarks import cases
from benchmarks.decoding_calls import NEVER, Prepared, Search, answers
from benchmarks.language import LETTERS, LM_WEIGHT, SEPARATOR, UNKNOWN_SCORE, WORD_BONUS, arpa_file, labels, language

UNKNOWN = "<unk>"


def flashlight(classes: int, search: Search) -> Prepared:
    """flashlight-text with a lexicon, adding paths up. Its weights are of decimal logarithms."""
    from flashlight.lib.text import decoder as package
    from flashlight.lib.text.decoder.kenlm import KenLM
    from flashlight.lib.text.dictionary import Dictionary

    words = language().words
    dictionary = Dictionary()
    for word in (*words, UNKNOWN):
        dictionary.add_entry(word)
    model = KenLM(str(arpa_file()), dictionary)
    trie = package.Trie(classes, SEPARATOR)
    start = model.start(False)
    for word in words:
        number = dictionary.get_index(word)
        score = model.score(start, number)[1]
        trie.insert([*(LETTERS.index(letter) + 2 for letter in word), SEPARATOR], number, score)
    trie.smear(package.SmearingMode.MAX)
    options = package.LexiconDecoderOptions(
        beam_size=search.width,
        beam_size_token=classes,
        beam_threshold=NEVER,
        lm_weight=LM_WEIGHT * math.log(10),
        word_score=WORD_BONUS,
        unk_score=-math.inf,
        sil_score=0.0,
        log_add=True,
        criterion_type=package.CriterionType.CTC,
    )
    unknown = dictionary.get_index(UNKNOWN)
    decoder = package.LexiconDecoder(options, trie, model, SEPARATOR, cases.BLANK, unknown, [], False)

    def to_classes(result: Any) -> list[int]:
        return [c for c, _ in itertools.groupby(result[0].tokens) if c > cases.BLANK] if result else []

    def decode(item: np.ndarray) -> Any:
        _ = dictionary  # which the model refers to
        return decoder.decode(item.ctypes.data, *item.shape)

    return decode, to_classes


def pyctcdecode(module: str) -> Callable[[int, Search], Prepared]:
    """pyctcdecode, and ctc-beam-decoder, which has its interface: the softmax is part of their call."""

    def prepare(_: int, search: Search) -> Prepared:
        logging.getLogger(module).setLevel(logging.ERROR)
        tokens = labels()
        decoder = importlib.import_module(module).build_ctcdecoder(
            ["", *tokens[1:]],
            kenlm_model_path=str(arpa_file()),
            unigrams=language().words,
            alpha=LM_WEIGHT,
            beta=WORD_BONUS,
            unk_score_offset=UNKNOWN_SCORE / (LM_WEIGHT * math.log(10)),  # decimal, and times alpha
        )

        def decode(item: np.ndarray) -> Any:
            return decoder.decode_beams(item, beam_width=search.width, beam_prune_logp=-NEVER, token_min_logp=-NEVER)

        return decode, lambda result: [tokens.index(letter) for letter in result[0][0]]

    return prepare


# name: (how to prepare it, the module that it needs, the distribution whose version is shown)
DECODERS: dict[str, tuple[Callable[[int, Search], Prepared], str, str]] = {
    "ctc-beam-decoder-lm": (pyctcdecode("ctc_beam_decoder"), "ctc_beam_decoder", "ctc-beam-decoder"),
    "flashlight-text-lm": (flashlight, "flashlight", "flashlight-text"),
    "pyctcdecode-lm": (pyctcdecode("pyctcdecode"), "kenlm", "pyctcdecode"),
}


def serve(
    peer: str, case: dict[str, Any], search: tuple[int, float | None, float | None], count: int
) -> Generator[Any, dict[str, Any], None]:
    """Answer requests about the first items of one case, as `decoding_calls.serve` does."""
    yield from answers(*DECODERS[peer], case, search, count)


def serve_model(path: str, sentences: list[str]) -> Generator[Any, dict[str, Any], None]:
    """Answer requests about kenlm: the seconds to load an ARPA file; {"score": true} the score and the seconds."""
    import kenlm

    from benchmarks import timing
    from benchmarks.peer_calls import limit_threads

    limit_threads(1)
    logging.disable()
    model = kenlm.Model(path)
    message = yield importlib.metadata.version("kenlm")

    def scores() -> list[float]:
        return [model.score(sentence) for sentence in sentences]

    while True:
        if message:
            found, seconds = timing.awake(timing.Call(scores))
            message = yield {"log10": sum(found), "seconds": seconds}
        else:
            _, seconds = timing.awake(timing.Call(lambda: kenlm.Model(path)))
            message = yield seconds
