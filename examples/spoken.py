"""Spoken sentences, with the known time of every phoneme.

eSpeak NG is a speech synthesiser. It converts text to phonemes and phonemes to sound, and reports the first sample of
each phoneme. Here it speaks random sentences in several voices. Training does not use the times of the phonemes; they
only measure the error afterwards.

To install eSpeak NG: `pip install 'ctckit[demo]'` (the package espeakng-loader has the library and its data), or from
the system (Debian: libespeak-ng1).
"""

import ctypes
import ctypes.util
import importlib
import math
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

import ctckit

BLANK = 0  # class 0 is the blank, class p + 1 is the phoneme p
RATE = 22050  # samples per second of eSpeak NG
HOP = 220  # samples per frame: 10 ms
MELS = 40
SECONDS_PER_FRAME = HOP / RATE
STRESS = dict.fromkeys([0x2C8, 0x2CC])  # deletes the two stress marks of IPA

# --- Sentences. -------------------------------------------------------------------------------------------------------

NAMES = (
    "Alice Bob Carla David Emma Frank Grace Hugo Ingrid Jack Kate Leo Maya Noah Olivia Peter Quentin Ruth Sophie Tom"
)
VERBS = "bought carried counted drew found gave heard kept liked lost made moved opened paid saw sold threw took washed"
WHICH = (
    "big blue broken cheap clean dark early fresh green happy heavy little long new old quick quiet red small yellow"
)
WHAT = "apples books boxes bridges cakes chairs children cups doors dogs fish flowers houses keys letters maps mice"
WHAT += " pictures rooms sheep ships songs stones tables things towers watches windows"
WHERE = "at home,by the river,in the garden,in June,near the village,on Thursday,outside,over there,this morning,"
WHERE += "under the bridge,with joy,without a pause,every year,before lunch,after school,in the zoo,for a while"


def sentence(random: np.random.Generator) -> str:
    """Return a random sentence of five to eight words, such as "Ruth threw 38 quiet mice"."""
    number = str(random.integers(2, 100))
    words = [*(str(random.choice(kind.split())) for kind in (NAMES, VERBS)), number]
    words += [str(random.choice(kind.split())) for kind in (WHICH, WHAT)]
    if random.random() < 0.5:
        words.append(str(random.choice(WHERE.split(","))))
    return " ".join(words)


# --- The voice. -------------------------------------------------------------------------------------------------------

# American English in voices of eSpeak NG, without those that whisper, croak or imitate a robot. The sets are disjoint.
TRAINING_VOICES = ["m1", "m2", "m3", "m4", "m7", "f1", "f2", "f4", "Andy", "Alex", "Annie", "Lee", "Mario", "Michael"]
TEST_VOICES = ["m5", "m6", "f3", "f5", "Denis"]


class Utterance(NamedTuple):
    """One spoken sentence."""

    text: str
    wave: np.ndarray  # (samples,) float32, -1 to 1
    sound: Tensor  # (T, MELS) features of its frames
    phonemes: list[str]  # S phonemes in IPA, without stress marks
    spans: np.ndarray  # (S, 2) float64: begin and end of each phoneme in seconds
    words: list[tuple[str, int, int]]  # each word of the text, its first phoneme, and the phoneme after its last


class NoSpeechError(RuntimeError):
    """eSpeak NG is not installed, or does not start."""


class _Name(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    """`espeak_EVENT` of eSpeak NG's speak_lib.h."""

    _fields_ = (
        ("type", ctypes.c_int),  # 0 ends a list of events, 7 is a phoneme
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),  # of the word, in characters, counted from 1
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),  # milliseconds
        ("sample", ctypes.c_int),  # the same in samples
        ("user_data", ctypes.c_void_p),
        ("id", _Name),  # a phoneme's name; empty for a pause
    )


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


class Speaker:
    """eSpeak NG, through its C interface. The library has one state per process: make one `Speaker`."""

    def __init__(self) -> None:
        library, data = _find_espeak()
        self._espeak = library
        synchronous, phoneme_events, as_ipa, do_not_exit = 2, 0x0001, 0x0002, 0x8000
        if library.espeak_Initialize(synchronous, 0, data, phoneme_events | as_ipa | do_not_exit) != RATE:
            raise NoSpeechError(f"eSpeak NG does not start with the data of {data!r}")
        self._sound: list[np.ndarray] = []
        self._events: list[tuple[int, int, str]] = []
        self._callback = _Callback(self._receive)  # keeps it alive: C has only a pointer to it
        library.espeak_SetSynthCallback(self._callback)

    def _receive(self, wave: Any, samples: int, events: Any) -> int:
        if wave and samples:
            self._sound.append(np.ctypeslib.as_array(wave, (samples,)).copy())
        for event in events:
            if event.type == 0:
                break
            if event.type == 7:
                name = event.id.string.decode(errors="ignore")  # eight bytes at most
                self._events.append((event.sample, event.text_position, name.translate(STRESS)))
        return 0  # 0 continues, 1 stops

    def say(self, text: str, voice: str = "m1", rate: int = 170, pitch: int = 50) -> Utterance:
        """Speak a text: ``rate`` in words per minute, ``pitch`` from 0 to 100."""
        self._sound.clear()
        self._events.clear()
        self._espeak.espeak_SetVoiceByName(f"en-us+{voice}".encode())
        for parameter, value in ((1, rate), (3, pitch)):
            self._espeak.espeak_SetParameter(parameter, value, 0)
        utf8 = text.encode() + b"\0"
        self._espeak.espeak_Synth(utf8, len(utf8), 0, 1, 0, 1, None, None)  # from character 0 to the end; UTF-8

        wave = np.concatenate(self._sound).astype(np.float32) / 2**15
        samples = np.array([event[0] for event in self._events] + [len(wave)])
        spoken = [i for i, event in enumerate(self._events) if event[2]]
        spans = np.stack([samples[spoken], samples[np.array(spoken) + 1]], axis=1) / RATE
        phonemes = [self._events[i][2] for i in spoken]
        # An event has a position in the text. Words that are spoken together ("of the") stay one word.
        places = [text.count(" ", 0, self._events[i][1] - 1) for i in spoken]
        firsts = [i for i, place in enumerate(places) if i == 0 or place != places[i - 1]]
        written, bounds = text.split(" "), [*(places[i] for i in firsts), text.count(" ") + 1]
        names = [" ".join(written[a:b]) for a, b in pairwise(bounds)]
        words = [(name, a, b) for name, (a, b) in zip(names, pairwise([*firsts, len(spoken)]), strict=True)]
        return Utterance(text, wave, log_mel(torch.from_numpy(wave)), phonemes, spans, words)


def _find_espeak() -> tuple[Any, bytes | None]:
    """Return the library, and the folder of its data, or None for the default folder of the library."""
    try:
        loader = importlib.import_module("espeakng_loader")
        return ctypes.CDLL(loader.get_library_path()), str(Path(loader.get_data_path()).parent).encode()
    except (ImportError, OSError, RuntimeError):
        name = ctypes.util.find_library("espeak-ng")
    if name is None:
        raise NoSpeechError("eSpeak NG is not installed: pip install espeakng-loader")
    return ctypes.CDLL(name), None


def utterances(
    speaker: Speaker, count: int, voices: list[str], seed: int, avoid: set[str] | None = None
) -> list[Utterance]:
    """Speak ``count`` different random sentences, except those in ``avoid``, by ``voices`` in turn."""
    random = np.random.default_rng(seed)
    said = set(avoid or ())
    result: list[Utterance] = []
    while len(result) < count:
        text = sentence(random)
        if text not in said:
            said.add(text)
            voice = voices[len(result) % len(voices)]
            result.append(
                speaker.say(text, voice, rate=int(random.integers(130, 220)), pitch=int(random.integers(30, 70)))
            )
    return result


# --- Features. --------------------------------------------------------------------------------------------------------


def log_mel(wave: Tensor, fft: int = 512) -> Tensor:
    """(samples,) -> (frames, MELS): the logarithm of the energy in mel bands, with mean 0 and standard deviation 1.

    Frame t covers the samples from t * HOP to (t + 1) * HOP. Its window of 23 ms is centred on their middle.
    """
    padded = torch.nn.functional.pad(wave, ((fft - HOP) // 2, fft))
    spectrum = torch.stft(padded, fft, HOP, window=torch.hann_window(fft), center=False, return_complex=True)
    power = spectrum[:, : -(-len(wave) // HOP)].abs().square()
    log_power = (_bands(fft) @ power + 1e-4).log().T
    return (log_power - log_power.mean()) / log_power.std()


@cache
def _bands(fft: int) -> Tensor:
    """(MELS, fft // 2 + 1): the weight of each frequency in each band."""
    # Triangles on the mel scale: each begins at the middle of the previous one, and ends at the middle of the next.
    hertz = torch.linspace(0, RATE / 2, fft // 2 + 1)
    corners = 700 * (10 ** (torch.linspace(0, 2595 * math.log10(1 + 8000 / 700), MELS + 2) / 2595) - 1)
    rise = (hertz - corners[:-2, None]) / (corners[1:-1] - corners[:-2])[:, None]
    fall = (corners[2:, None] - hertz) / (corners[2:] - corners[1:-1])[:, None]
    return torch.minimum(rise, fall).clamp(min=0)


# --- Alignments. -----------------------------------------------------------------------------------------------------


def in_words(alignment: ctckit.Alignment, utterance: Utterance) -> ctckit.Alignment:
    """Return the alignment of a row of phonemes with the words of the utterance added."""
    words = []
    for text, first, last in utterance.words:
        tokens = alignment.tokens[first:last]
        frames = [len(token) for token in tokens]
        score = float(np.average([token.score for token in tokens], weights=frames))
        confidence = float(np.average([token.confidence or 0.0 for token in tokens], weights=frames))
        words.append(ctckit.AlignedWord(text, tokens[0].start, tokens[-1].end, score, confidence, tokens))
    return replace(alignment, text=utterance.text, words=tuple(words))


def the_truth(utterance: Utterance, frames: int) -> ctckit.Alignment:
    """Return the times of the synthesiser, rounded to frames, as an alignment."""
    bounds = (utterance.spans / SECONDS_PER_FRAME).round().astype(int).tolist()
    tokens = tuple(
        ctckit.AlignedToken(
            phoneme, position + 1, start, end, 0.0, 1.0, start * SECONDS_PER_FRAME, end * SECONDS_PER_FRAME
        )
        for position, (phoneme, (start, end)) in enumerate(zip(utterance.phonemes, bounds, strict=True))
    )
    truth = ctckit.Alignment(utterance.text, tokens, (), 0.0, frames, SECONDS_PER_FRAME)
    return in_words(truth, utterance)
