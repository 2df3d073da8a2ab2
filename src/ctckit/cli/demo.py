"""``ctckit demo``: a text as tones in noise, aligned with its letters. It needs no data."""

from __future__ import annotations

import tempfile
import wave
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console
from torch import Tensor

import ctckit
from ctckit.cli.page_file import refuse_other_files
from ctckit.corpus import CorpusError
from ctckit.page import PageItem, write_page

__all__ = ["VOCABULARY", "Recording", "emissions", "record", "show"]

VOCABULARY = ["-", "|", *"abcdefghijklmnopqrstuvwxyz"]
"""The blank, which silence matches best; the space; the letters."""

_RATE = 16_000  # samples per second
_HOP = 160  # samples per frame: 10 ms
_WINDOW = 640  # samples per window: 40 ms
_NOISE = 0.35
_PITCHES = 300.0 * 2.0 ** (np.arange(len(VOCABULARY) - 1) / 7)  # of the space and the letters, in Hz
_SHARPNESS = 30.0  # logit per relative energy


class Recording(NamedTuple):
    """A sound, and where each letter is in it."""

    samples: npt.NDArray[np.float64]
    """Samples from -1 to 1, 16,000 per second."""
    text: str
    """The text: letters and spaces."""
    starts: npt.NDArray[np.float64]
    """Start of each letter and each space, in seconds."""
    ends: npt.NDArray[np.float64]
    """End of each letter and each space, in seconds."""


def record(text: str, seed: int) -> Recording:
    """Make tones of a text in noise, each 60 to 220 ms long and followed by 20 to 60 ms of silence.

    Raises:
        CorpusError: for an empty text, or other characters than letters and spaces.
    """
    text = " ".join(text.lower().split())
    strange = sorted(set(text) - set(VOCABULARY) - {" "} | set(text) & {"-", "|"})
    if strange or not text:
        raise CorpusError(
            f"--text has {strange[0]!r}: use letters from a to z, and spaces" if strange else "--text is empty"
        )
    random = np.random.default_rng(seed)
    parts = [np.zeros(_RATE // 4)]
    starts, ends, at = [], [], len(parts[0])
    for letter in text:
        length, gap = int(random.uniform(0.06, 0.22) * _RATE), int(random.uniform(0.02, 0.06) * _RATE)
        envelope = np.minimum(1, np.minimum(np.arange(length), np.arange(length)[::-1]) / (0.01 * _RATE))
        pitch = _PITCHES[VOCABULARY.index("|" if letter == " " else letter) - 1]
        parts += [0.4 * envelope * np.sin(2 * np.pi * pitch * np.arange(length) / _RATE), np.zeros(gap)]
        starts.append(at / _RATE)
        ends.append((at + length) / _RATE)
        at += length + gap
    parts.append(np.zeros(_RATE // 4))
    sound = np.concatenate(parts)
    sound += _NOISE * 0.4 * random.standard_normal(len(sound))
    return Recording(np.clip(sound, -1, 1), text, np.array(starts), np.array(ends))


def emissions(samples: npt.NDArray[np.float64]) -> Tensor:
    """Return (T, C) log-probabilities from the relative energy at each pitch, in windows of 40 ms every 10 ms."""
    half = _WINDOW // 2
    padded = np.pad(samples, half)
    frames = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[_HOP // 2 :: _HOP] * np.hanning(_WINDOW)
    waves = np.exp(-2j * np.pi * np.outer(np.arange(_WINDOW), _PITCHES) / _RATE)
    energy = np.abs(frames @ waves) ** 2 / (_WINDOW * (frames**2).sum(1, keepdims=True) + 1e-9)
    logits = np.concatenate([np.full((len(energy), 1), 0.12), energy], axis=1) * _SHARPNESS
    return torch.from_numpy(logits).float().log_softmax(1)


def show(text: str, page: Path | None, seed: int) -> int:
    """Make the sound, align it, and print the alignment and its error."""
    if page is not None:
        refuse_other_files(page)
    console = Console(highlight=False, soft_wrap=True)
    recording = record(text, seed)
    heard = emissions(recording.samples)
    alignment = ctckit.align(heard, recording.text, VOCABULARY, frame_duration=_HOP / _RATE)
    console.print(
        f"{len(recording.samples) / _RATE:.1f} s of tones in noise, {len(heard)} frames, the text '{recording.text}'\n"
    )
    console.print(repr(alignment), markup=False)

    found = np.array([(token.start_time, token.end_time) for token in alignment.tokens])
    off = 1e3 * np.abs(found - np.stack([recording.starts, recording.ends], axis=1))
    start, end = off.mean(0)
    console.print(
        f"\n{len(off)} tokens are on average {start:.0f} ms off at their start and {end:.0f} ms at their end, at most "
        f"{off.max():.0f} ms; a frame is {1e3 * _HOP / _RATE:.0f} ms."
    )
    labels = torch.tensor([token.id for token in alignment.tokens])
    right = ctckit.ctc_loss(heard, labels, len(heard), len(labels)) / len(labels)
    wrong = ctckit.ctc_loss(heard, labels.flip(0), len(heard), len(labels)) / len(labels)
    console.print(f"The loss is {right:.2f} nats per label; with the text backwards it would be {wrong:.2f}.")
    if page is not None:
        with tempfile.TemporaryDirectory() as folder:
            sound = Path(folder) / "demo.wav"
            write_wav(sound, recording.samples)
            write_page(page, [PageItem(alignment.to_dict(), recording.text, sound)], title="ctckit demo")
        console.print(f"Open the page in a browser: {page}", markup=False)
    else:
        console.print("Add --html page.html to hear and see it.", markup=False)
    return 0


def write_wav(path: Path, samples: npt.NDArray[np.float64]) -> None:
    """Write samples as a WAV file with 16 bits per sample."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(_RATE)
        file.writeframes((32767 * samples).astype("<i2").tobytes())
