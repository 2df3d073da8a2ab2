"""`ctckit.Decoder` with the names, arguments and results of pyctcdecode.

.. code-block:: python

    from ctckit.compat.pyctcdecode import build_ctcdecoder  # was: from pyctcdecode import build_ctcdecoder
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np

from ctckit.compat.alphabet import Alphabet
from ctckit.compat.language_model import LanguageModel, LMState
from ctckit.compat.texts import Limits, ScoredText, TextSearch
from ctckit.decoding.hotwords import checked_hotwords, phrase_scorer
from ctckit.decoding.scorers import Scored
from ctckit.errors import ArgumentTypeError, warn_user
from ctckit.reference.decoding import LARGEST

__all__ = [
    "Alphabet",
    "BeamSearchDecoderCTC",
    "Frames",
    "LMState",
    "LanguageModel",
    "OutputBeam",
    "OutputBeamMPSafe",
    "WordFrames",
    "build_ctcdecoder",
]

Frames: TypeAlias = "tuple[int, int]"
"""The first frame of a word, and the one after its last."""
WordFrames: TypeAlias = "tuple[str, Frames]"
OutputBeam: TypeAlias = "tuple[str, LMState | None, list[WordFrames], float, float]"
"""Text, state of the language model, words with their frames, log-probability, and the score with all gains."""
OutputBeamMPSafe: TypeAlias = "tuple[str, list[WordFrames], float, float]"
"""The same without the state."""

_ALPHABET_FILE: Final = "alphabet.json"
_MODEL_FOLDER: Final = "language_model"
_MOST_HOTWORD: Final = LARGEST - 1.0  # nats


class BeamSearchDecoderCTC:
    """A decoder with pyctcdecode's methods; `build_ctcdecoder` makes one.

    Args:
        alphabet: the labels.
        language_model: the language model; None for none.

    Example:
        >>> import numpy as np
        >>> from ctckit.compat.pyctcdecode import build_ctcdecoder
        >>> decoder = build_ctcdecoder(["", " ", "a", "b"])
        >>> logits = 9.0 * np.eye(4)[[0, 2, 2, 0, 3, 1, 2, 0]]
        >>> decoder.decode(logits)
        'ab a'
        >>> decoder.decode_beams(logits)[0][2]
        [('ab', (1, 5)), ('a', (6, 7))]
    """

    def __init__(self, alphabet: Alphabet, language_model: LanguageModel | None = None) -> None:
        self._alphabet = alphabet
        self._lm = language_model
        self._search = TextSearch(alphabet)
        self._phrases: tuple[dict[str, float], Any] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is made again when it is needed."""
        return self.__dict__ | {"_phrases": None}

    @property
    def alphabet(self) -> Alphabet:
        """The labels."""
        return self._alphabet

    @property
    def language_model(self) -> LanguageModel | None:
        """The language model, None without one. Its weights may be set."""
        return self._lm

    def reset_params(
        self,
        alpha: float | None = None,
        beta: float | None = None,
        unk_score_offset: float | None = None,
        lm_score_boundary: bool | None = None,
    ) -> None:
        """Change weights of the language model; None leaves one as it is, and without a model there are none.

        Raises:
            ArgumentTypeError: as `LanguageModel`.
            ArgumentValueError: as `LanguageModel`.
        """
        if self._lm is not None:
            self._lm.reset_params(
                alpha=alpha, beta=beta, unk_score_offset=unk_score_offset, score_boundary=lm_score_boundary
            )

    def cleanup(self) -> None:
        """Do nothing: a model is freed with its decoder."""

    # -------------------------------------------------------------------------------------------------------- decoding

    def decode(
        self,
        logits: Any,
        beam_width: int = 100,
        beam_prune_logp: float = -10.0,
        token_min_logp: float = -5.0,
        hotwords: Iterable[str] | None = None,
        hotword_weight: float = 10.0,
        lm_start_state: LMState | None = None,
    ) -> str:
        """Return the best text: that of ``decode_beams(...)[0]``.

        Args:
            logits: (T, C) logits or log-probabilities, an array or a tensor. Never probabilities.
            beam_width: most prefixes of the beam.
            beam_prune_logp: prefixes that are worse than the best by more leave the beam, and the result.
            token_min_logp: classes below this log-probability make no new prefix, but the best class of a frame does.
            hotwords: phrases that gain `hotword_weight` for each of their words wherever the whole phrase occurs.
            hotword_weight: nats.
            lm_start_state: the state of the language model after the words before, from `decode_beams`. Only with a
                language model.

        Raises:
            ArgumentTypeError: for an argument of the wrong type.
            ArgumentValueError: for a wrong shape; for NaN, +inf and probabilities; for a hotword that the labels do not
                spell; for frames with no possible text.
        """
        return self._decoded(
            [logits], beam_width, beam_prune_logp, token_min_logp, hotwords, hotword_weight, lm_start_state
        )[0][0].text

    def decode_beams(
        self,
        logits: Any,
        beam_width: int = 100,
        beam_prune_logp: float = -10.0,
        token_min_logp: float = -5.0,
        prune_history: bool = False,  # noqa: ARG002  # their argument
        hotwords: Iterable[str] | None = None,
        hotword_weight: float = 10.0,
        lm_start_state: LMState | None = None,
    ) -> list[OutputBeam]:
        """Return all texts of the beam, the best first.

        Args:
            logits: as for `decode`, like the others.
            beam_width: as for `decode`.
            beam_prune_logp: as for `decode`.
            token_min_logp: as for `decode`.
            prune_history: has no effect: no prefix is dropped because it ends like another one.
            hotwords: as for `decode`.
            hotword_weight: as for `decode`.
            lm_start_state: as for `decode`.

        Returns:
            Tuples: the text; the state of the language model after it, None without a model; its words, each with its
            first frame and the one after its last; its log-probability; and that with what the language model and
            hotwords gain. A text's log-probability is the sum over the beam's
            ways to spell it, each with all its alignments if it is among the beam's 16 best, else with those that the
            search has kept.

        Raises:
            ArgumentTypeError: as `decode`.
            ArgumentValueError: as `decode`.
        """
        beams = self._decoded(
            [logits], beam_width, beam_prune_logp, token_min_logp, hotwords, hotword_weight, lm_start_state
        )[0]
        lm, frames = self._lm, self._search.word_frames(logits, beams)
        return [
            (
                beam.text,
                None if lm is None else lm.state_after(beam.words, lm_start_state),
                words,
                beam.acoustic_score,
                beam.score,
            )
            for beam, words in zip(beams, frames, strict=True)
        ]

    def decode_batch(
        self,
        pool: Any,
        logits_list: Sequence[Any] | np.ndarray,
        beam_width: int = 100,
        beam_prune_logp: float = -10.0,
        token_min_logp: float = -5.0,
        hotwords: Iterable[str] | None = None,
        hotword_weight: float = 10.0,
    ) -> list[str]:
        """Return the best text of each item.

        Args:
            pool: not used, with a warning; None for none. Items are decoded by ``torch.get_num_threads()`` threads.
            logits_list: the items' logits.
            beam_width: as for `decode`, like the others.
            beam_prune_logp: as for `decode`.
            token_min_logp: as for `decode`.
            hotwords: as for `decode`.
            hotword_weight: as for `decode`.

        Raises:
            ArgumentTypeError: as `decode`.
            ArgumentValueError: as `decode`.
        """
        _warn_of_pool(pool)
        found = self._decoded(
            list(logits_list), beam_width, beam_prune_logp, token_min_logp, hotwords, hotword_weight, None
        )
        return [beams[0].text for beams in found]

    def decode_beams_batch(
        self,
        pool: Any,
        logits_list: Sequence[Any] | np.ndarray,
        beam_width: int = 100,
        beam_prune_logp: float = -10.0,
        token_min_logp: float = -5.0,
        prune_history: bool = False,  # noqa: ARG002  # their argument
        hotwords: Iterable[str] | None = None,
        hotword_weight: float = 10.0,
    ) -> list[list[OutputBeamMPSafe]]:
        """Return all texts of each item, as `decode_beams` without the states of the language model.

        Args:
            pool: as for `decode_batch`.
            logits_list: as for `decode_batch`.
            beam_width: as for `decode`, like the others.
            beam_prune_logp: as for `decode`.
            token_min_logp: as for `decode`.
            prune_history: as for `decode_beams`.
            hotwords: as for `decode`.
            hotword_weight: as for `decode`.

        Raises:
            ArgumentTypeError: as `decode`.
            ArgumentValueError: as `decode`.
        """
        _warn_of_pool(pool)
        items = list(logits_list)
        found = self._decoded(items, beam_width, beam_prune_logp, token_min_logp, hotwords, hotword_weight, None)
        return [
            [
                (beam.text, words, beam.acoustic_score, beam.score)
                for beam, words in zip(beams, self._search.word_frames(logits, beams), strict=True)
            ]
            for logits, beams in zip(items, found, strict=True)
        ]

    def _decoded(
        self,
        logits_list: Sequence[Any],
        beam_width: int,
        beam_prune_logp: float,
        token_min_logp: float,
        hotwords: Iterable[str] | None,
        hotword_weight: float,
        lm_start_state: LMState | None,
    ) -> list[list[ScoredText]]:
        limits = Limits(beam_width, beam_prune_logp, token_min_logp).check()
        scored = self._scored(hotwords, hotword_weight, lm_start_state)
        return self._search.decode([self._search.checked(logits) for logits in logits_list], limits, scored)

    def _scored(self, hotwords: Iterable[str] | None, weight: float, start: LMState | None) -> Scored:
        found = Scored([], ()) if self._lm is None else self._lm.scored(self._alphabet, start)
        if hotwords is None:
            return found
        if isinstance(hotwords, str):
            raise ArgumentTypeError(f"hotwords is {hotwords!r}, but must be a list of phrases")
        phrases = checked_hotwords([phrase for phrase in hotwords if phrase.strip()], weight)
        # Each word of a phrase has the weight, as in pyctcdecode, which scores the words alone.
        for phrase, nats in phrases.items():
            phrases[phrase] = max(-_MOST_HOTWORD, min(nats * len(phrase.split()), _MOST_HOTWORD))
        if not phrases:
            return found
        if self._phrases is None or self._phrases[0] != phrases:
            self._phrases = phrases, phrase_scorer(phrases, self._alphabet.vocabulary, self._alphabet.blank)
        scorer: Any = self._phrases[1]
        return Scored([*found.scorers, scorer], (*found.kinds, "hotwords"))

    # ----------------------------------------------------------------------------------------------------------- files

    def save_to_dir(self, filepath: str | os.PathLike[str]) -> None:
        """Write the files that pyctcdecode writes: alphabet.json, and the folder language_model.

        Raises:
            ArgumentValueError: as `LanguageModel.save_to_dir`.
            OSError: if a file cannot be written.
        """
        folder = Path(filepath)
        (folder / _ALPHABET_FILE).write_text(self._alphabet.dumps(), "utf-8")
        if self._lm is not None:
            (folder / _MODEL_FOLDER).mkdir()
            self._lm.save_to_dir(folder / _MODEL_FOLDER)

    @classmethod
    def load_from_dir(
        cls, filepath: str | os.PathLike[str], unigram_encoding: str | None = None
    ) -> BeamSearchDecoderCTC:
        """Read the files that `save_to_dir`, or pyctcdecode, has written.

        Raises:
            ArgumentValueError: if they are ill-formed.
            OSError: if a file cannot be read.
        """
        folder = Path(filepath)
        alphabet = Alphabet.loads((folder / _ALPHABET_FILE).read_text("utf-8"))
        models = folder / _MODEL_FOLDER
        return cls(alphabet, LanguageModel.load_from_dir(models, unigram_encoding) if models.is_dir() else None)


def build_ctcdecoder(
    labels: Sequence[str],
    kenlm_model_path: str | os.PathLike[str] | None = None,
    unigrams: Collection[str] | None = None,
    alpha: float = 0.5,
    beta: float = 1.5,
    unk_score_offset: float = -10.0,
    lm_score_boundary: bool = True,
) -> BeamSearchDecoderCTC:
    """Make a decoder.

    Args:
        labels: the label of each class: see `Alphabet.build_alphabet`.
        kenlm_model_path: path of an n-gram model of words, see `LanguageModel`; None for none.
        unigrams: the known words; None for the model's. Only with a model.
        alpha: weight of the model's log-probabilities.
        beta: nats for each word.
        unk_score_offset: of unknown words, decimal and before `alpha`.
        lm_score_boundary: whether texts are sentences, after ``<s>`` and before ``</s>``.

    Raises:
        OSError: if the model cannot be read.
        ArgumentTypeError: for an argument of the wrong type.
        ArgumentValueError: for wrong labels and weights, and if the file is no model.
    """
    alphabet = Alphabet.build_alphabet(labels)
    if kenlm_model_path is None:
        if unigrams is not None:
            warn_user(
                "unigrams have no effect without kenlm_model_path, as in pyctcdecode: pass them as lexicon= to "
                "ctckit.Decoder"
            )
        return BeamSearchDecoderCTC(alphabet)
    lm = LanguageModel(kenlm_model_path, unigrams, alpha, beta, unk_score_offset, lm_score_boundary)
    return BeamSearchDecoderCTC(alphabet, lm)


def _warn_of_pool(pool: Any) -> None:
    if pool is not None:
        warn_user("pool is not used: items are decoded by torch.get_num_threads() threads of this process")
