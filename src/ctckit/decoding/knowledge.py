"""What a decoder knows beside the emissions: a language model, a lexicon, and hotwords, as scorers of the core."""

from __future__ import annotations

import copy
import math
import os
from functools import cached_property, lru_cache
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import numpy as np

from ctckit.backends import require_core
from ctckit.decoding.hotwords import checked_hotwords, phrase_scorer
from ctckit.decoding.lexicon import Lexicon, read_lexicon, spelt_lexicon
from ctckit.decoding.ngram import NGram, numbers_of
from ctckit.decoding.scorers import Scored, Scorer, ScorerKind
from ctckit.errors import ArgumentTypeError, ArgumentValueError, warn_user
from ctckit.reference.decoding import LARGEST
from ctckit.text.vocabulary import Vocabulary
from ctckit.text.word_roles import word_roles

__all__ = ["Knowledge", "LMUnit", "Weights"]

LMUnit: TypeAlias = Literal["word", "token"]

_KEPT_PHRASES: Final = 8  # sets of hotwords whose scorers are kept
_FEW: Final = 0.1  # of a lexicon's words: so few in the model, and they do not fit each other


class Weights(NamedTuple):
    """How much knowledge counts, in nats."""

    lm_weight: float = 0.5
    word_bonus: float = 1.5
    unknown_score: float = -10.0
    hotword_weight: float = 10.0

    def check(self) -> Weights:
        """Check the weights.

        Raises:
            ArgumentTypeError: if one is no number.
            ArgumentValueError: for NaN, for infinities but an `unknown_score` of -inf, and for 75 nats or more.
        """
        given: tuple[Any, ...] = self
        for name, value in zip(self._fields, given, strict=True):
            if isinstance(value, bool) or not isinstance(value, (int, float, np.floating, np.integer)):
                raise ArgumentTypeError(f"{name} is {value!r}, a {type(value).__name__}, but must be a number")
            if name == "lm_weight" and not 0 <= value < math.inf:
                raise ArgumentValueError(f"lm_weight is {value}, but must be a number from 0")
            if not value < LARGEST or (value == -math.inf and name != "unknown_score"):
                raise ArgumentValueError(f"{name} is {value}, but must be a number below {LARGEST:g}")
        return Weights(*map(float, given))


class _Spelt(NamedTuple):
    """A lexicon in the core."""

    trie: Any
    numbers: Any
    """The model's word for each spelling; -1 for none."""


class Knowledge:
    """The scorers of a decoder.

    Args:
        vocabulary: the vocabulary.
        lm: an `ctckit.NGram`, the path of one, or None.
        lm_unit: what the model's words are.
        lexicon: what `read_lexicon` takes, or None.
        open_lexicon: whether words that are not in the lexicon are possible.
        hotwords: what `checked_hotwords` takes, or None.
        weights: how much each counts.
        scorers: the user's own.

    Raises:
        ArgumentTypeError: for arguments of the wrong type.
        ArgumentValueError: for arguments of a wrong value.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        *,
        lm: Any,
        lm_unit: Any,
        lexicon: Any,
        open_lexicon: bool,
        hotwords: Any,
        weights: Weights,
        scorers: list[Scorer],
    ) -> None:
        self._vocabulary, self._scorers = vocabulary, scorers
        self._weights = weights.check()
        self._open = open_lexicon
        self._lm = _model_of(lm)
        if lm_unit not in ("word", "token"):
            raise ArgumentValueError(f"lm_unit is {lm_unit!r}, but must be 'word' or 'token'")
        self._by_token = lm_unit == "token"
        needs_words = lexicon is not None or (self._lm is not None and not self._by_token)
        if needs_words and not self._roles.any():
            raise ArgumentValueError(
                "the vocabulary does not show where words begin: name the token for the space with "
                "Vocabulary(..., word_separator=), or score tokens with lm_unit='token'"
            )
        self._name = os.fspath(lexicon) if isinstance(lexicon, (str, os.PathLike)) else "the lexicon"
        self._entries = None if lexicon is None else read_lexicon(lexicon)
        self._hotwords = {} if hotwords is None else checked_hotwords(hotwords, self._weights.hotword_weight)
        self._of_blank: dict[int, list[tuple[ScorerKind, Any]]] = {}
        self._spelt: dict[int, _Spelt] = {}  # by the blank; shared by copies with other weights
        self._is_apart = False
        self._phrases = lru_cache(_KEPT_PHRASES)(self._phrase_scorer)

    @cached_property
    def _roles(self) -> Any:
        return word_roles(self._vocabulary)

    def reweighted(self, lm_weight: float, word_bonus: float, *, is_apart: bool = False) -> Knowledge:
        """Return the same with other weights. The model and what has been spelt are shared.

        Args:
            lm_weight: in place of the weight.
            word_bonus: in place of the bonus.
            is_apart: whether the bonus and the score of unknown words are counted as "other", so that the gain of "lm"
                is the weight times the model's log-probability.

        Raises:
            ArgumentTypeError: as `Weights.check`.
            ArgumentValueError: as `Weights.check`.
        """
        made = copy.copy(self)
        weights = self._weights._replace(lm_weight=lm_weight, word_bonus=word_bonus).check()
        vars(made).update(_weights=weights, _is_apart=is_apart, _of_blank={})
        return made

    def scored(self, blank: int, hotwords: Any = None) -> Scored:
        """Return the scorers for a blank.

        Args:
            blank: class of the blank.
            hotwords: those of one call; None for the decoder's.

        Raises:
            ArgumentTypeError: as `checked_hotwords`.
            ArgumentValueError: as `checked_hotwords`; for words and phrases that cannot be spelt.
        """
        if blank not in self._of_blank:
            self._of_blank[blank] = self._fixed(blank)
        found = list(self._of_blank[blank])
        phrases = self._hotwords if hotwords is None else checked_hotwords(hotwords, self._weights.hotword_weight)
        if phrases:
            found.append(("hotwords", self._phrases(tuple(phrases.items()), blank)))
        found += [("other", scorer) for scorer in self._scorers]
        return Scored([scorer for _, scorer in found], tuple(kind for kind, _ in found))

    def _phrase_scorer(self, phrases: tuple[tuple[str, float], ...], blank: int) -> Any:
        return phrase_scorer(dict(phrases), self._vocabulary, blank)

    def _fixed(self, blank: int) -> list[tuple[ScorerKind, Any]]:
        """Make the scorers that are the same for all calls."""
        found: list[tuple[ScorerKind, Any]] = []
        weights = self._weights
        of_model = weights._replace(word_bonus=0.0, unknown_score=0.0) if self._is_apart else weights
        if self._lm is not None and self._by_token:
            found.append(("lm", self._token_scorer(self._lm, of_model)))
            if self._is_apart:
                found.append(("other", self._token_scorer(self._lm, weights._replace(lm_weight=0.0))))
        if self._entries is not None or not (self._lm is None or self._by_token):
            lm = None if self._by_token else self._lm
            of_words = weights if lm is not None else weights._replace(word_bonus=0.0)
            if not self._is_apart:
                found.append(("lm", self._word_scorer(blank, lm, of_words)))
            else:
                if lm is not None:
                    found.append(("lm", self._word_scorer(blank, lm, of_model)))
                found.append(("other", self._word_scorer(blank, lm, of_words._replace(lm_weight=0.0))))
        return found

    def _token_scorer(self, lm: NGram, weights: Weights) -> Any:
        from ctckit import _core  # noqa: PLC0415  # it may be missing

        numbers = numbers_of(lm, [self._vocabulary.name(c) for c in range(self._vocabulary.size)])
        return _core.TokenScorer(
            lm.core, np.array(numbers, np.int32), weights.lm_weight, weights.word_bonus, weights.unknown_score
        )

    def _word_scorer(self, blank: int, lm: NGram | None, weights: Weights) -> Any:
        require_core("lexicons")
        from ctckit import _core  # noqa: PLC0415  # it may be missing

        if blank not in self._spelt:
            self._spelt[blank] = self._spelt_words(blank)
        spelt = self._spelt[blank]
        return _core.WordScorer(
            spelt.trie,
            None if lm is None else lm.core,
            spelt.numbers,
            self._roles,
            weights.lm_weight,
            weights.word_bonus,
            weights.unknown_score if self._open or self._entries is None else -math.inf,
            True,
            missing=weights.unknown_score,
        )

    def _spelt_words(self, blank: int) -> _Spelt:
        from ctckit import _core  # noqa: PLC0415  # it may be missing

        lm = None if self._by_token else self._lm
        is_given = self._entries is not None
        entries = {word: [word] for word in _words_of(lm)} if self._entries is None else self._entries
        lexicon = spelt_lexicon(
            entries, self._vocabulary, blank, self._name if is_given else "the language model", is_given=is_given
        )
        numbers = [-1] * len(lexicon.words) if lm is None else numbers_of(lm, lexicon.words)
        if lm is not None and is_given:
            _compare(lexicon, numbers, lm)
        return _Spelt(_core.WordTrie(lexicon.classes, lexicon.lengths), np.array(numbers, dtype=np.int32))


def _model_of(lm: Any) -> NGram | None:
    if lm is None or isinstance(lm, NGram):
        return lm
    if isinstance(lm, (str, os.PathLike)):
        return NGram(lm)
    raise ArgumentTypeError(
        f"lm is a {type(lm).__name__}, but must be a ctckit.NGram or the path of one: pass other models in scorers="
    )


def _words_of(lm: NGram | None) -> list[str]:
    return [word for word in lm or () if word not in ("<s>", "</s>", "<unk>", "<UNK>")]


def _compare(lexicon: Lexicon, numbers: list[int], lm: NGram) -> None:
    """Warn if a lexicon and a model hardly share a word, or if a model says nothing of words that it lacks."""
    words = dict(zip(lexicon.words, numbers, strict=True))
    known = sum(number >= 0 for number in words.values())
    has_unknown = lm.core.unknown >= 0
    if known >= (_FEW if has_unknown else 1) * len(words):
        return
    cause = ""
    for change, what in ((str.lower, "lower"), (str.upper, "upper")):
        if sum(number >= 0 for number in numbers_of(lm, list(map(change, words)))) > known:
            cause = f": it has them in {what} case"
    warn_user(
        f"{lm!r} has {known:,} of the {len(words):,} words of the lexicon ({known / len(words):.1%}){cause}; "
        f"{'others count as <unk>' if has_unknown else 'it has no <unk>, so others gain unknown_score'}"
    )
