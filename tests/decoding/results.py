"""Results of decoders as plain values, for comparisons to the bit."""

from __future__ import annotations

from typing import Any


def bits(decoding: Any, *, exact: bool = True) -> Any:
    """All that a decoding, or a list of them, says. With `exact` also what comes from exact scores."""
    if decoding is None:
        return None
    if isinstance(decoding, list):
        return [bits(one, exact=exact) for one in decoding]
    rows = [
        (hypothesis.tokens, number(hypothesis.beam_score), *([number(hypothesis.score)] if exact else []))
        for hypothesis in decoding.nbest
    ]
    facts = decoding.path_score, decoding.lost, *([decoding.acoustic_score, decoding.certified] if exact else [])
    return rows, decoding.problem, decoding.text, *map(number, facts)


def number(value: Any) -> Any:
    return value.hex() if isinstance(value, float) else value
