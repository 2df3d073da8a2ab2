"""pyctcdecode's language model: a KenLM n-gram model of words, its unigrams, and its weights."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from ctckit.compat.alphabet import Alphabet, checked_strings
from ctckit.decoding.lexicon import spelt_lexicon
from ctckit.decoding.ngram import NGram, numbers_of
from ctckit.decoding.scorers import Scored, ScorerKind
from ctckit.errors import ArgumentTypeError, ArgumentValueError, warn_user
from ctckit.reference.decoding import LARGEST
from ctckit.text.word_roles import word_roles

__all__ = ["LMState", "LanguageModel"]

_LN10: Final = math.log(10.0)
_NO_WORDS: Final = frozenset(("<s>", "</s>", "<unk>", "<UNK>"))
_NO_UNKNOWN: Final = -100.0  # log10 P(<unk>) of a model without <unk>, as KenLM has it
_ATTRIBUTES: Final = ("alpha", "beta", "unk_score_offset", "score_boundary")
_ATTRIBUTES_FILE: Final = "attrs.json"
_UNIGRAMS_FILE: Final = "unigrams.txt"


class LMState(NamedTuple):
    """What a language model remembers: the last words before what comes, at most one fewer than its order.

    It is what pyctcdecode's states mean, and no more: it does not hold the beam. `ctckit.Decoder.stream` does.
    """

    words: tuple[str, ...]
    """With ``<s>``, if the sentence begins so shortly before."""


class _Trie(NamedTuple):
    """Words and their spellings, in the core."""

    trie: Any
    words: list[str]


class LanguageModel:
    """An n-gram model of words with pyctcdecode's weights. They may be set at any time.

    A word gains ``alpha * ln P(word) + beta``, in nats. A word that is not among the unigrams, or that the model does
    not have, gains ``alpha * ln(10) * unk_score_offset`` as well.

    Args:
        kenlm_model: a `ctckit.NGram`, or the path of one: an ARPA file, plain or gzip, a probing binary of KenLM, or a
            file that `ctckit.NGram.save` has written.
        unigrams: the known words. None for the model's.
        alpha: weight of the model's log-probabilities.
        beta: nats for each word.
        unk_score_offset: of unknown words, decimal and before `alpha`.
        score_boundary: whether the words are a sentence, after ``<s>`` and before ``</s>``.

    Raises:
        OSError: if the file cannot be read.
        ArgumentTypeError: for an argument of the wrong type.
        ArgumentValueError: for a weight that is not finite; if the file is no model.
    """

    def __init__(
        self,
        kenlm_model: NGram | str | os.PathLike[str],
        unigrams: Collection[str] | None = None,
        alpha: float = 0.5,
        beta: float = 1.5,
        unk_score_offset: float = -10.0,
        score_boundary: bool = True,
    ) -> None:
        self.path = None if isinstance(kenlm_model, NGram) else os.fspath(kenlm_model)
        self.model = kenlm_model if isinstance(kenlm_model, NGram) else NGram(kenlm_model)
        self.alpha, self.beta, self.unk_score_offset = alpha, beta, unk_score_offset
        self.score_boundary = score_boundary
        self._unigrams = None if unigrams is None else set(checked_strings(unigrams, "unigrams"))
        self._check()
        self._words = [word for word in self.model if word not in _NO_WORDS]
        # Fewer words than the model's: those of the model that are not among them are unknown, too.
        known = None if self._unigrams is None else self._unigrams.intersection(self._words)
        if known is not None and not known:
            warn_user(
                f"{self.model!r} has none of the {len(self._unigrams or ()):,} unigrams: its own words are known "
                f"instead, as in pyctcdecode"
            )
        self._known = known if known and len(known) < len(self._words) else None
        self._tries: dict[tuple[Alphabet, bool], _Trie] = {}
        self._scorers: tuple[tuple[Any, ...], list[Any]] | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> LanguageModel:
        """Return a copy with weights of its own, and the same n-grams."""
        made = object.__new__(type(self))
        made.__dict__ |= self.__dict__ | {"_tries": {}, "_scorers": None}
        return made

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the n-grams, which another process reads from the file again.

        Raises:
            ArgumentValueError: if the model was not given by its path.
        """
        if self.path is None:
            raise ArgumentValueError(
                "a model that was not given by its path cannot be pickled: pass the path of its file"
            )
        return self.__dict__ | {"model": None, "_tries": {}, "_scorers": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Read the n-grams."""
        self.__dict__ |= state | {"model": NGram(state["path"])}

    @property
    def order(self) -> int:
        """How many words the longest n-grams have."""
        return self.model.order

    def reset_params(self, **params: float | bool | None) -> None:
        """Set some of `alpha`, `beta`, `unk_score_offset` and `score_boundary`; None leaves one as it is.

        Raises:
            ArgumentTypeError: for an argument of another name, and of the wrong type.
            ArgumentValueError: for a weight that is not finite.
        """
        before = {name: getattr(self, name) for name in _ATTRIBUTES}
        for name, value in params.items():
            if name not in _ATTRIBUTES:
                raise ArgumentTypeError(f"{name} is no parameter: the parameters are {', '.join(_ATTRIBUTES)}")
            if value is not None:
                setattr(self, name, value)
        try:
            self._check()
        except (ArgumentTypeError, ArgumentValueError):
            for name, value in before.items():
                setattr(self, name, value)
            raise

    def _check(self) -> None:
        for name in ("alpha", "beta", "unk_score_offset"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float, np.floating, np.integer)):
                raise ArgumentTypeError(f"{name} is {value!r}, a {type(value).__name__}, but must be a number")
            if not math.isfinite(value) or (name == "alpha" and value < 0):
                raise ArgumentValueError(
                    f"{name} is {value}, but must be a finite number{' from 0' * (name == 'alpha')}"
                )
        if not isinstance(self.score_boundary, bool):
            raise ArgumentTypeError(
                f"score_boundary is {self.score_boundary!r}, a {type(self.score_boundary).__name__}, but must be a bool"
            )
        offset, weight = self.unk_score_offset, self.alpha * _LN10
        if self.beta >= LARGEST or weight * offset >= LARGEST:
            raise ArgumentValueError(f"beta and alpha * ln(10) * unk_score_offset must be below {LARGEST:g} nats")

    # --------------------------------------------------------------------------------------------------------- scoring

    def scored(self, alphabet: Alphabet, start: LMState | None) -> Scored:
        """Return the scorers of words spelt in an alphabet, which follow the words of a state.

        Raises:
            ArgumentValueError: for an alphabet that does not show where words begin, and if it spells no word.
        """
        self._check()  # (attributes may have been set)
        key = (alphabet, self.alpha, self.beta, self.unk_score_offset, self.score_boundary)
        if self._scorers is None or self._scorers[0] != key:
            self._scorers = key, self._made(alphabet)
        scorers = self._scorers[1]
        if start is not None:
            scorers = [scorers[0].after(self._context(start)), *scorers[1:]]
        kinds: tuple[ScorerKind, ...] = tuple("lm" for _ in scorers)
        return Scored(scorers, kinds)

    def _made(self, alphabet: Alphabet) -> list[Any]:
        from ctckit import _core  # noqa: PLC0415  # it may be missing

        roles = word_roles(alphabet.vocabulary)
        if not roles.any():
            raise ArgumentValueError(
                "labels has no ' ' and no '▁', so that no words end, but the language model scores words"
            )
        weight = float(self.alpha)
        missing = weight * _LN10 * _NO_UNKNOWN if self.model.core.unknown < 0 else 0.0
        penalty = weight * _LN10 * float(self.unk_score_offset)

        def scorer(lm: NGram | None, *, known: bool, unknown: float, weight: float, bonus: float) -> Any:
            trie = self._trie(alphabet, known=known)
            numbers = [-1] * len(trie.words) if lm is None else numbers_of(lm, trie.words)
            return _core.WordScorer(
                trie.trie,
                None if lm is None else lm.core,
                np.array(numbers, np.int32),
                roles,
                weight,
                bonus,
                unknown,
                True,
                self.score_boundary,
            )

        own = 0.0 if self._known is not None else penalty
        found = [
            scorer(self.model, known=False, unknown=own + missing, weight=weight, bonus=float(self.beta)),
        ]
        if self._known is not None:
            found.append(scorer(None, known=True, unknown=penalty, weight=0.0, bonus=0.0))
        return found

    def _trie(self, alphabet: Alphabet, *, known: bool) -> _Trie:
        if (alphabet, known) not in self._tries:
            from ctckit import _core  # noqa: PLC0415  # it may be missing

            words: Iterable[str] = sorted(self._known or ()) if known else self._words
            name = "unigrams" if known else "the language model"
            spelt = spelt_lexicon(
                {word: [word] for word in words}, alphabet.vocabulary, alphabet.blank, name, is_given=False
            )
            self._tries[alphabet, known] = _Trie(_core.WordTrie(spelt.classes, spelt.lengths), spelt.words)
        return self._tries[alphabet, known]

    # ---------------------------------------------------------------------------------------------------------- states

    def get_start_state(self) -> LMState:
        """Return the state before the first word."""
        return LMState(("<s>",) if self.score_boundary and self.order > 1 else ())

    def state_after(self, words: Iterable[str], start: LMState | None = None) -> LMState:
        """Return the state after words that follow a state."""
        said = [*(self.get_start_state() if start is None else start).words, *words]
        return LMState(tuple(said[max(0, len(said) - self.order + 1) :]))

    def _context(self, state: LMState) -> int:
        if not isinstance(state, LMState):
            raise ArgumentTypeError(
                f"lm_start_state is a {type(state).__name__}, but must be a state that decode_beams has returned"
            )
        context = self.model.initial(bos=False)
        for word in checked_strings(state.words, "lm_start_state.words"):
            if word == "<s>":
                context = self.model.initial(bos=True)
                continue
            number = numbers_of(self.model, [word])[0]
            number = self.model.core.unknown if number < 0 else number
            context = 0 if number < 0 else self.model.core.step(context, number)[1]
        return context

    # ----------------------------------------------------------------------------------------------------------- files

    def save_to_dir(self, filepath: str | os.PathLike[str], unigram_encoding: str | None = None) -> None:
        """Write the files that pyctcdecode writes: attrs.json, unigrams.txt, and a copy of the model's file.

        Raises:
            ArgumentValueError: if the model was not given by its path.
            OSError: if a file cannot be written.
        """
        if self.path is None:
            raise ArgumentValueError(
                "a model that was not given by its path cannot be saved: pass the path of its file"
            )
        folder = Path(filepath)
        attributes = {name: getattr(self, name) for name in _ATTRIBUTES}
        (folder / _ATTRIBUTES_FILE).write_text(json.dumps(attributes), "utf-8")
        words = self._words if self._unigrams is None else sorted(self._unigrams)
        text = "".join(f"{word}\n" for word in words)
        (folder / _UNIGRAMS_FILE).write_text(text, unigram_encoding or "utf-8", newline="\n")
        shutil.copy2(self.path, folder / Path(self.path).name)

    @classmethod
    def load_from_dir(cls, filepath: str | os.PathLike[str], unigram_encoding: str | None = None) -> LanguageModel:
        """Read the files that `save_to_dir`, or pyctcdecode, has written.

        Raises:
            ArgumentValueError: if the folder does not hold these three files.
            OSError: if a file cannot be read.
        """
        folder = Path(filepath)
        files = {path.name for path in folder.iterdir() if not path.name.startswith((".", "__"))}
        models = files - {_ATTRIBUTES_FILE, _UNIGRAMS_FILE}
        if len(models) != 1 or len(files) != 3:
            raise ArgumentValueError(
                f"{folder} has the files {sorted(files)}, but must have {_ATTRIBUTES_FILE}, {_UNIGRAMS_FILE} and one "
                f"model"
            )
        attributes = json.loads((folder / _ATTRIBUTES_FILE).read_text("utf-8"))
        if set(attributes) != set(_ATTRIBUTES):
            raise ArgumentValueError(
                f"{folder / _ATTRIBUTES_FILE} has {sorted(attributes)}, but must have {_ATTRIBUTES}"
            )
        words = (folder / _UNIGRAMS_FILE).read_text(unigram_encoding or "utf-8").split()
        return cls(folder / models.pop(), words or None, **attributes)
