"""The beam searches of other libraries, which run in their own processes (`decoding` starts them).

Only NumPy and the peer are imported, and Python 3.9 is enough. All search without a language model and with the width
alone, unless the case or the name says that they are pruned. Each gets its emissions in the form that it takes,
prepared outside the timed call. A peer that answers in letters gets an alphabet of single letters without a space, so
that no words are told apart.
"""

# ruff: noqa: PLC0415 - only the peer that is measured is imported
# mypy: disable-error-code="import-not-found, import-untyped"

from __future__ import annotations

import importlib
import importlib.metadata
import itertools
import logging
import math
import string
from collections.abc import Callable, Generator, Iterable
from typing import Any, NamedTuple

import numpy as np

from benchmarks import cases, emission_sets, timing
from benchmarks.peer_calls import limit_threads

GIB = 8  # what a peer may have


class Search(NamedTuple):
    """How to search."""

    width: int
    prefix_nats: float | None = None  # prefixes that are so far below the best are left out
    class_nats: float | None = None  # classes whose log-probability is below this do not extend a prefix


# Decodes one item, and turns its result into classes: only the first is timed.
Prepared = tuple[Callable[[Any], Any], Callable[[Any], list[int]]]
Items = list[np.ndarray]  # log-probabilities (T, C), float32
Beam = dict[tuple[int, ...], tuple[float, float]]  # the mass of a prefix's paths that end in blank, and that do not
NEVER = 1e9  # nats: prunes nothing
PREFIX_NATS, CLASS_NATS = 10.0, -5.0  # pyctcdecode's default


def textbook(_: int, search: Search) -> Prepared:
    """The search as one would write it in Python: a dictionary of prefixes, for each frame a new one."""
    return lambda item: _textbook(np.exp(item.astype(np.float64)).tolist(), search.width), list


def _textbook(rows: list[list[float]], width: int) -> tuple[int, ...]:
    beam: Beam = {(): (1.0, 0.0)}
    for row in rows:
        found: Beam = {}
        for prefix, (blank, label) in beam.items():
            last = prefix[-1] if prefix else cases.BLANK
            more = found.get(prefix, (0.0, 0.0))
            found[prefix] = (blank + label) * row[0] + more[0], (label * row[last] if prefix else 0.0) + more[1]
            for c in range(1, len(row)):
                mass = (blank if c == last else blank + label) * row[c]
                longer = (*prefix, c)
                more = found.get(longer, (0.0, 0.0))
                found[longer] = more[0], more[1] + mass
        best = sorted(found, key=lambda prefix: -sum(found[prefix]))[:width]
        scale = 1 / sum(found[best[0]])
        beam = {prefix: (found[prefix][0] * scale, found[prefix][1] * scale) for prefix in best}
    return next(iter(beam))


def fast_ctc(module: str) -> Callable[[int, Search], Prepared]:
    """fast-ctc-decode and its fork: they take probabilities. They cannot leave out prefixes."""

    def prepare(classes: int, search: Search) -> Prepared:
        decode = importlib.import_module(module).beam_search
        alphabet = letters(classes)
        least = 0.0 if search.class_nats is None else min(math.exp(search.class_nats), 0.99 / classes)
        return lambda item: decode(item, alphabet, search.width, least), lambda result: classes_of(result[0], alphabet)

    return prepare


def flashlight(classes: int, search: Search) -> Prepared:
    """flashlight-text without a lexicon, adding paths up."""
    return _flashlight(classes, search.width, classes, NEVER if search.prefix_nats is None else search.prefix_nats)


def flashlight_pruned(classes: int, search: Search) -> Prepared:
    """The same, with 40 classes per frame and prefixes within 25 nats of the best."""
    return _flashlight(classes, search.width, 40, 25.0)


def _flashlight(classes: int, width: int, tokens: int, threshold: float) -> Prepared:
    from flashlight.lib.text import decoder as package

    options = package.LexiconFreeDecoderOptions(
        beam_size=width,
        beam_size_token=min(tokens, classes),
        beam_threshold=threshold,
        lm_weight=0.0,
        sil_score=0.0,
        log_add=True,
        criterion_type=package.CriterionType.CTC,
    )
    decoder = package.LexiconFreeDecoder(options, package.ZeroLM(), cases.BLANK, cases.BLANK, [])

    def to_classes(result: Any) -> list[int]:
        return [c for c, _ in itertools.groupby(result[0].tokens) if c > cases.BLANK]

    return lambda item: decoder.decode(item.ctypes.data, *item.shape), to_classes


def pyctcdecode(module: str) -> Callable[[int, Search], Prepared]:
    """pyctcdecode, and ctc-beam-decoder, which has its interface: the softmax is part of their call."""

    def prepare(classes: int, search: Search) -> Prepared:
        logging.getLogger(module).setLevel(logging.ERROR)  # it warns that the alphabet has no space
        alphabet = letters(classes)
        decoder = importlib.import_module(module).build_ctcdecoder(["", *alphabet[1:]])
        pruning = {
            "beam_prune_logp": -NEVER if search.prefix_nats is None else -search.prefix_nats,
            "token_min_logp": -NEVER if search.class_nats is None else search.class_nats,
        }

        def decode(item: np.ndarray) -> Any:
            return decoder.decode_beams(item, beam_width=search.width, **pruning)

        return decode, lambda result: classes_of(result[0][0], alphabet)

    return prepare


def pruned(prepare: Callable[[int, Search], Prepared]) -> Callable[[int, Search], Prepared]:
    """A peer that prunes, too, as pyctcdecode does by default."""
    return lambda classes, search: prepare(classes, search._replace(prefix_nats=PREFIX_NATS, class_nats=CLASS_NATS))


def letters(classes: int) -> str:
    """A letter for each class: short ones for few classes, as their users have."""
    few = string.ascii_letters + string.digits
    if classes <= len(few):
        return few[:classes]
    first = 0x4E00 if classes <= 20_000 else 0x20000  # Chinese, of 3 bytes; rarer Chinese, of 4
    return "".join(map(chr, range(first, first + classes)))


def classes_of(text: str, alphabet: str) -> list[int]:
    """The classes that a text stands for."""
    place = {letter: number for number, letter in enumerate(alphabet)}
    return [place[letter] for letter in text]


# name: (how to prepare it, the module that it needs, the distribution whose version is shown)
DECODERS: dict[str, tuple[Callable[[int, Search], Prepared], str, str]] = {
    "ctc-beam-decoder": (pyctcdecode("ctc_beam_decoder"), "ctc_beam_decoder", "ctc-beam-decoder"),
    "fast-ctc-decode": (fast_ctc("fast_ctc_decode"), "fast_ctc_decode", "fast-ctc-decode"),
    "fast-ctc-decoder": (fast_ctc("fast_ctc_decoder"), "fast_ctc_decoder", "fast-ctc-decoder"),
    "flashlight-text": (flashlight, "flashlight", "flashlight-text"),
    "pyctcdecode": (pyctcdecode("pyctcdecode"), "pyctcdecode", "pyctcdecode"),
    "textbook": (textbook, "numpy", "numpy"),
    "ctc-beam-decoder-pruned": (pruned(pyctcdecode("ctc_beam_decoder")), "ctc_beam_decoder", "ctc-beam-decoder"),
    "fast-ctc-decoder-pruned": (pruned(fast_ctc("fast_ctc_decoder")), "fast_ctc_decoder", "fast-ctc-decoder"),
    "flashlight-text-pruned": (flashlight_pruned, "flashlight", "flashlight-text"),
    "pyctcdecode-pruned": (pruned(pyctcdecode("pyctcdecode")), "pyctcdecode", "pyctcdecode"),
}
TAKES_PROBABILITIES = ("fast-ctc-decode", "fast-ctc-decoder", "fast-ctc-decoder-pruned")
CANNOT_PRUNE = ("textbook",)
PRUNE_CLASSES_ALONE = ("fast-ctc-decode", "fast-ctc-decoder")  # not prefixes


def prunes(peer: str) -> bool:
    """Whether a peer leaves out more than what the width does."""
    return peer.endswith("-pruned")


def serve(
    peer: str, case: dict[str, Any], search: tuple[int, float | None, float | None], count: int
) -> Generator[Any, dict[str, Any], None]:
    """Answer requests about the first items of one case.

    The first answer has a checksum of the emissions and the peer's version; all items have then been decoded once. A
    request without a message decodes them again and answers the seconds; {"classes": true} answers what was found.
    """
    yield from answers(*DECODERS[peer], case, search, count, takes_probabilities=peer in TAKES_PROBABILITIES)


def answers(
    prepare: Callable[[int, Search], Prepared],
    _: str,
    distribution: str,
    case: dict[str, Any],
    search: tuple[int, float | None, float | None],
    count: int,
    *,
    takes_probabilities: bool = False,
) -> Generator[Any, dict[str, Any], None]:
    """Answer requests about one decoder."""
    limit_threads(1)
    limit_memory()
    shape = cases.Case(**case)
    emissions = emission_sets.make(shape).first(count)
    decode, to_classes = prepare(shape.C, Search(*search))
    items = [np.exp(item) for item in emissions.items] if takes_probabilities else emissions.items
    results = decode_all(decode, items)
    version = f"{distribution} {importlib.metadata.version(distribution)}"
    message = yield {"checksum": emission_sets.checksum(emissions), "version": version}
    while True:
        if message:
            message = yield [list(map(int, to_classes(result))) for result in results]
        else:
            results, seconds = timing.awake(timing.Call(lambda: decode_all(decode, items)))
            message = yield seconds


def decode_all(decode: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
    """One item after another: most peers take no batch."""
    return [decode(item) for item in items]


def limit_memory() -> None:
    """An allocation beyond the limit fails, instead of taking the machine's memory."""
    try:
        import resource
    except ImportError:  # Windows
        return
    resource.setrlimit(resource.RLIMIT_AS, (GIB << 30, GIB << 30))
