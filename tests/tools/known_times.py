"""Alignments with known times: each character of a text is in a given frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

import ctckit
from ctckit import AlignedToken, AlignedWord, Alignment


def say(
    text: str,
    *,
    unheard: str = "",
    step: int = 5,
    pauses: Mapping[int, int] | None = None,
    frame_duration: float | None = 0.1,
    offset: float = 0.0,
) -> Alignment:
    """Align a text with an input that has its characters in order, in one frame each.

    Args:
        text: the transcript; white space has its own class.
        unheard: characters that the vocabulary lacks; they are skipped.
        step: frames from one character to the next. The first is in frame 1.
        pauses: how many frames more are between a character and the next, by the number of the former among those that
            are heard, white space included.
        frame_duration: as for `ctckit.align`.
        offset: as for `ctckit.align`.
    """
    heard = "|".join(filter(None, ("".join(c for c in word if c not in unheard) for word in text.split())))
    letters = ["<blank>", "|", *sorted(set(heard) - {"|"})]
    path = [0]
    for number, character in enumerate(heard):
        path += [letters.index(character), *[0] * (step - 1), *[0] * (pauses or {}).get(number, 0)]
    emissions = 9.0 * torch.nn.functional.one_hot(torch.tensor([*path, 0]), len(letters))
    found = ctckit.align(
        emissions, text, letters, logits=True, unknown="skip", frame_duration=frame_duration, offset=offset
    )
    assert isinstance(found, Alignment)
    return found


def place(
    text: str,
    words: Sequence[str],
    *,
    step: int = 5,
    pauses: Mapping[int, int] | None = None,
    frame_duration: float = 0.1,
) -> Alignment:
    """Make an alignment of given words of a text, with one frame per character, as in `say`."""
    tokens: list[AlignedToken] = []
    rows = []
    at, start = 0, 1
    for word in words:
        at = text.index(word, at)
        group = []
        for character in word:
            times = (start * frame_duration, (start + 1) * frame_duration)
            group.append(AlignedToken(character, 1, start, start + 1, -0.5, 0.5, *times))
            start += step + (pauses or {}).get(len(tokens), 0)
            tokens.append(group[-1])
        rows.append(AlignedWord(word, group[0].start, group[-1].end, -0.5, 0.5, tuple(group), (at, at + len(word))))
        at += len(word)
    return Alignment(text, tuple(tokens), tuple(rows), -1.0, start, frame_duration)
