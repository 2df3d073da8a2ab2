"""ctckit's decoder inside ``transformers.Wav2Vec2ProcessorWithLM``.

The processor takes no other decoder than pyctcdecode's, so pyctcdecode must be installed; ``pip install --no-deps
pyctcdecode pygtrie`` is enough. kenlm is not needed, but for ``Wav2Vec2ProcessorWithLM.from_pretrained``.

.. code-block:: python

    from ctckit.compat.transformers import build_ctcdecoder  # was: from pyctcdecode import build_ctcdecoder

    processor = Wav2Vec2ProcessorWithLM(feature_extractor, tokenizer, build_ctcdecoder(labels, "4gram.arpa"))

A processor that has a decoder of pyctcdecode's takes ctckit's in its place: ``use_ctckit(processor)``.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from typing import Any

from ctckit.compat import pyctcdecode as ours
from ctckit.errors import ArgumentTypeError

try:
    from pyctcdecode import BeamSearchDecoderCTC as _Theirs
except ImportError as _problem:
    raise ModuleNotFoundError(
        "transformers' processor takes a decoder of pyctcdecode's class: pip install --no-deps pyctcdecode pygtrie",
        name=_problem.name,
    ) from _problem

__all__ = ["BeamSearchDecoderCTC", "build_ctcdecoder", "use_ctckit"]


class BeamSearchDecoderCTC(ours.BeamSearchDecoderCTC, _Theirs):  # type: ignore[misc]  # it has no types here
    """`ctckit.compat.pyctcdecode.BeamSearchDecoderCTC`, with what transformers looks for.

    Args:
        alphabet: the labels.
        language_model: the language model; None for none.
    """

    def __init__(self, alphabet: ours.Alphabet, language_model: ours.LanguageModel | None = None) -> None:
        ours.BeamSearchDecoderCTC.__init__(self, alphabet, language_model)
        # The processor reads the model, and sets its weights, through these.
        self._model_key = b"ctckit"
        self.model_container = {self._model_key: language_model}

    def decode_beams_batch(self, pool: Any, *args: Any, **options: Any) -> list[list[ours.OutputBeamMPSafe]]:
        """Decode a batch. `pool` is not used; the processor makes one itself, so there is no warning."""
        del pool
        return super().decode_beams_batch(None, *args, **options)


def build_ctcdecoder(
    labels: Sequence[str],
    kenlm_model_path: str | os.PathLike[str] | None = None,
    unigrams: Collection[str] | None = None,
    alpha: float = 0.5,
    beta: float = 1.5,
    unk_score_offset: float = -10.0,
    lm_score_boundary: bool = True,
) -> BeamSearchDecoderCTC:
    """Make a decoder: see `ctckit.compat.pyctcdecode.build_ctcdecoder`."""
    made = ours.build_ctcdecoder(labels, kenlm_model_path, unigrams, alpha, beta, unk_score_offset, lm_score_boundary)
    return BeamSearchDecoderCTC(made.alphabet, made.language_model)


def use_ctckit(processor: Any) -> None:
    """Put ctckit's decoder into a processor, in place of pyctcdecode's: with its labels, model, unigrams and weights.

    Args:
        processor: a ``Wav2Vec2ProcessorWithLM``.

    Raises:
        ArgumentTypeError: if it has no decoder of pyctcdecode's, or one of several models.
        OSError: if the model's file is no longer where it was.
    """
    theirs = getattr(processor, "decoder", None)
    if isinstance(theirs, BeamSearchDecoderCTC):
        return
    if not isinstance(theirs, _Theirs):
        raise ArgumentTypeError(
            f"processor is a {type(processor).__name__} with the decoder {type(theirs).__name__}, but must have a "
            f"decoder of pyctcdecode's"
        )
    alphabet = ours.Alphabet(theirs._alphabet.labels, theirs._alphabet.is_bpe)  # noqa: SLF001  # no public name
    lm = theirs._language_model  # noqa: SLF001
    if lm is None:
        processor.decoder = BeamSearchDecoderCTC(alphabet)
        return
    if not hasattr(lm, "_kenlm_model"):
        raise ArgumentTypeError(f"the decoder's language model is a {type(lm).__name__}, but must be one KenLM model")
    model = ours.LanguageModel(
        os.fsdecode(lm._kenlm_model.path),  # noqa: SLF001
        lm._unigram_set or None,  # noqa: SLF001
        lm.alpha,
        lm.beta,
        lm.unk_score_offset,
        lm.score_boundary,
    )
    processor.decoder = BeamSearchDecoderCTC(alphabet, model)
