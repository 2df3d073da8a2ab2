"""The table that shows a decoding as text: a hypothesis per row."""

from __future__ import annotations

from typing import Protocol

__all__ = ["table"]

_SHOWN_ROWS = 12
_ROUNDING = 1e-11  # a lost share below this is a rounding error
_WIDTH = 60  # characters of a text


class _Hypothesis(Protocol):
    @property
    def tokens(self) -> tuple[int, ...]: ...
    @property
    def text(self) -> str | None: ...
    @property
    def score(self) -> float | None: ...
    @property
    def confidence(self) -> float | None: ...
    @property
    def rerank_score(self) -> float | None: ...


class _Decoding(Protocol):
    @property
    def nbest(self) -> tuple[_Hypothesis, ...]: ...
    @property
    def path_score(self) -> float | None: ...
    @property
    def lost(self) -> float | None: ...
    @property
    def certified(self) -> bool | None: ...
    @property
    def problem(self) -> str | None: ...


def table(decoding: _Decoding) -> str:
    """Return the text of `repr` of a `ctckit.Decoding`."""
    if decoding.problem is not None:
        return f"Decoding: no hypothesis: {decoding.problem}"
    facts = [f"{len(decoding.nbest)} hypothes{'is' if len(decoding.nbest) == 1 else 'es'}"]
    if decoding.path_score is not None:
        facts.append(f"path score {decoding.path_score:.2f} nats")
    if decoding.lost is not None:
        facts.append(f"lost {decoding.lost if decoding.lost > _ROUNDING else 0:.2g}")
    if decoding.certified is not None:
        facts.append("certified" if decoding.certified else "not certified")
    if any(hypothesis.rerank_score is not None for hypothesis in decoding.nbest):
        facts.append("reranked")
    lines = [f"Decoding: {', '.join(facts)}"]
    if any(hypothesis.score is not None for hypothesis in decoding.nbest):
        lines.append("     score  confidence  " + ("text" if decoding.nbest[0].text is not None else "tokens"))
    for hypothesis in decoding.nbest[:_SHOWN_ROWS]:
        score = "" if hypothesis.score is None else f"{hypothesis.score:10.2f}"
        confidence = "" if hypothesis.confidence is None else f"{hypothesis.confidence:10.2%}"
        shown = repr(hypothesis.text) if hypothesis.text is not None else " ".join(map(str, hypothesis.tokens))
        lines.append(f"{score}  {confidence}  {_cut(shown)}".rstrip())
    left_out = len(decoding.nbest) - _SHOWN_ROWS
    return "\n".join([*lines, *([f"  ... {left_out} more"] if left_out > 0 else [])])


def _cut(text: str) -> str:
    return text if len(text) <= _WIDTH else text[: _WIDTH - 1] + "…"
