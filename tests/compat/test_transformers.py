"""The decoder inside transformers' processor."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.compat.sentences import ARPA, LETTERS, heard

pytestmark = [
    pytest.mark.usefixtures("core"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
]

REASON = "is not installed: a peer of ctckit.compat"
LABELS = ["<pad>", "<s>", "</s>", "<unk>", "|", *LETTERS]
SAID = "the cat sat on the mat"


@pytest.fixture
def compat() -> Any:
    pytest.importorskip("pyctcdecode", reason=f"pyctcdecode {REASON}")
    from ctckit.compat import transformers

    return transformers


@pytest.fixture
def parts(tmp_path: Path) -> tuple[Any, Any, Any]:
    """transformers' processor, a feature extractor and a tokenizer."""
    transformers = pytest.importorskip("transformers", reason=f"transformers {REASON}")
    (tmp_path / "vocab.json").write_text(json.dumps({label: k for k, label in enumerate(LABELS)}))
    tokenizer = transformers.Wav2Vec2CTCTokenizer(str(tmp_path / "vocab.json"))
    return transformers.Wav2Vec2ProcessorWithLM, transformers.Wav2Vec2FeatureExtractor(), tokenizer


def logits(said: str, seed: int) -> np.ndarray:
    known = heard(said, seed)
    x = np.full((len(known), len(LABELS)), -5.0)
    x[:, 0], x[:, 4], x[:, 5:] = known[:, 0], known[:, 1], known[:, 2:]
    return x


def test_the_processor_decodes(compat: Any, parts: tuple[Any, Any, Any], tmp_path: Path) -> None:
    processor_type, features, tokenizer = parts
    (tmp_path / "lm.arpa").write_text(ARPA)
    decoder = compat.build_ctcdecoder(LABELS, tmp_path / "lm.arpa")
    processor = processor_type(features, tokenizer, decoder)
    x = logits(SAID, 3)
    text, _, words, acoustic, score = decoder.decode_beams(x)[0]
    found = processor.decode(x, output_word_offsets=True)
    assert (found.text, found.logit_score, found.lm_score) == (text, acoustic, score)
    assert text == SAID
    expected = [{"word": word, "start_offset": a, "end_offset": b} for word, (a, b) in words]
    assert found.word_offsets == expected
    padded = np.full((2, len(x) + 5, len(LABELS)), -100.0)  # as transformers pads logits
    padded[0, : len(x)], padded[1, : len(x) - 6] = x, x[:-6]
    both = processor.batch_decode(padded, num_processes=1, n_best=2, output_word_offsets=True)
    assert both.text[0][0] == text
    assert both.text[1] == [beam[0] for beam in decoder.decode_beams(x[:-6])[:2]]
    assert both.word_offsets[0][0] == expected
    hot = processor.decode(x, hotwords=["catch"], hotword_weight=30.0, beam_width=50, alpha=0.8, beta=0.5)
    assert (processor.language_model.alpha, processor.language_model.beta) == (0.8, 0.5)
    assert hot.text == decoder.decode(x, 50, hotwords=["catch"], hotword_weight=30.0)


def test_processors_are_saved_and_changed(compat: Any, parts: tuple[Any, Any, Any], tmp_path: Path) -> None:
    pytest.importorskip("kenlm", reason=f"kenlm {REASON}")
    processor_type, features, tokenizer = parts
    (tmp_path / "lm.arpa").write_text(ARPA)
    decoder = compat.build_ctcdecoder(LABELS, tmp_path / "lm.arpa", alpha=0.7)
    folder = tmp_path / "saved"
    processor_type(features, tokenizer, decoder).save_pretrained(folder)
    again = processor_type.from_pretrained(folder, beta=1.0)  # with a decoder of pyctcdecode's
    assert type(again.decoder).__module__.startswith("pyctcdecode")
    compat.use_ctckit(again)
    assert type(again.decoder) is compat.BeamSearchDecoderCTC
    made = again.decoder
    compat.use_ctckit(again)
    assert again.decoder is made
    decoder.reset_params(beta=1.0)
    x = logits(SAID, 4)
    assert made.decode_beams(x) == decoder.decode_beams(x)
    assert compat.BeamSearchDecoderCTC.load_from_dir(folder).decode(x) == SAID


def test_a_decoder_of_pyctcdecode_s_without_a_model(compat: Any) -> None:
    import pyctcdecode

    class Processor:
        decoder: Any = pyctcdecode.build_ctcdecoder(["<pad>", "|", "a", "b"])

    processor = Processor()
    compat.use_ctckit(processor)
    assert type(processor.decoder) is compat.BeamSearchDecoderCTC
    assert isinstance(processor.decoder, pyctcdecode.BeamSearchDecoderCTC)
    assert processor.decoder.decode(9.0 * np.eye(4)[[2, 3, 1, 0, 2]]) == "ab a"
    with pytest.raises(TypeError, match="processor is a int with the decoder NoneType, but must have a decoder"):
        compat.use_ctckit(3)


def test_without_pyctcdecode(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib
    import sys

    monkeypatch.setitem(sys.modules, "pyctcdecode", None)
    monkeypatch.delitem(sys.modules, "ctckit.compat.transformers", raising=False)
    with pytest.raises(ModuleNotFoundError, match="pip install --no-deps pyctcdecode pygtrie"):
        importlib.import_module("ctckit.compat.transformers")
