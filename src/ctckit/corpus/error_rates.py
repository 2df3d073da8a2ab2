"""Word and character error rates: a decoded text beside the reference text of the manifest.

Texts are compared in the composed form of Unicode (NFC), with one space for each run of white space, and none at the
ends. Case and punctuation count. Words are what white space separates. Characters are code points, spaces among them.
The errors are the fewest substitutions, deletions and insertions that turn the reference into the decoded text.
"""

from __future__ import annotations

import heapq
import itertools
import math
import unicodedata
from typing import Any, NamedTuple

from ctckit.corpus.errors import CorpusError
from ctckit.corpus.outcomes import Outcome

__all__ = ["ComparedItem", "Difference", "ErrorRates", "compared_text", "comparison", "differences"]


def compared_text(text: str) -> str:
    r"""Return a text as it is compared.

    >>> compared_text(" two \n words ")
    'two words'
    """
    return " ".join(unicodedata.normalize("NFC", text).split())


def comparison(reference: str, decoded: str) -> dict[str, Any]:
    """Compare a decoded text with a reference.

    Returns:
        The field ``reference`` of a result: the reference as it is compared; its words and characters; the errors in
        words and in characters; and their rates `wer` and `cer`, which a reference without words does not have.

    Raises:
        CorpusError: if rapidfuzz is not installed.
    """
    distance = _levenshtein().distance
    reference, decoded = compared_text(reference), compared_text(decoded)
    words = reference.split()
    found: dict[str, Any] = {
        "text": reference,
        "words": len(words),
        "word_errors": distance(words, decoded.split()),
        "characters": len(reference),
        "character_errors": distance(reference, decoded),
    }
    if words:
        found |= {"wer": found["word_errors"] / len(words), "cer": found["character_errors"] / len(reference)}
    return found


class Difference(NamedTuple):
    """A part of a reference, and the part of a decoded text in its place."""

    reference: str
    decoded: str
    same: bool
    """Whether both are the same."""


def differences(reference: str, decoded: str) -> tuple[list[Difference], str]:
    """Return the parts in which a decoded text is the reference, and those in which it is not, in order.

    Parts are words; or characters, if one of the texts has a single word at most.

    Returns:
        The parts; and what is between two of them: a space or nothing.

    Raises:
        CorpusError: if rapidfuzz is not installed.
    """
    reference, decoded = compared_text(reference), compared_text(decoded)
    left, right = reference.split(), decoded.split()
    between = " "
    if min(len(left), len(right)) <= 1:
        left, right, between = list(reference), list(decoded), ""
    parts = [
        Difference(
            between.join(left[step.src_start : step.src_end]),
            between.join(right[step.dest_start : step.dest_end]),
            step.tag == "equal",
        )
        for step in _levenshtein().opcodes(left, right)
    ]
    return parts, between


class ComparedItem(NamedTuple):
    """An item with errors."""

    id: str
    reference: str
    decoded: str
    wer: float
    """Word error rate; infinite without words in the reference."""
    cer: float
    """Character error rate; infinite without words in the reference."""


class ErrorRates:
    """Adds up the errors of the results of `DecodeTask`.

    The rate of a whole corpus is its errors divided by the words or characters of its references: long items count for
    more than short ones. Errors are the fewest substitutions, deletions and insertions.

    Texts are compared in the composed form of Unicode (NFC), with one space for each run of white space, and none at
    the ends. Case and punctuation count. Words are what white space separates. Characters are code points, spaces among
    them.

    Args:
        worst: how many of the worst items are kept.

    Attributes:
        items: items with a reference.
        words: words of the references.
        word_errors: errors in words.
        characters: characters of the references.
        character_errors: errors in characters.

    Example:
        >>> rates = ErrorRates()
        >>> reference = {"text": "a b", "words": 2, "word_errors": 1, "characters": 3, "character_errors": 2}
        >>> rates.see(Outcome("item", 1, {"text": "a", "reference": reference}))
        >>> rates.wer, round(rates.cer, 3), rates.worst[0].decoded
        (0.5, 0.667, 'a')
    """

    def __init__(self, worst: int = 5) -> None:
        self.items = self.words = self.word_errors = self.characters = self.character_errors = 0
        self._most = worst
        self._worst: list[tuple[float, float, int, ComparedItem]] = []  # a heap, the least bad item first
        self._numbers = itertools.count(0, -1)

    def see(self, outcome: Outcome) -> None:
        """Add the result of an item, if it was compared with a reference."""
        if outcome.result is not None:
            self.add(outcome.id, outcome.result)

    def add(self, name: str, result: dict[str, Any]) -> None:
        """Add a result: one of `Outcome.result`, or a line of a results file."""
        found = result.get("reference")
        if found is None:
            return
        self.items += 1
        for field in ("words", "word_errors", "characters", "character_errors"):
            setattr(self, field, getattr(self, field) + found[field])
        if found["word_errors"] or found["character_errors"]:
            wer, cer = (
                _rate(found["word_errors"], found["words"]),
                _rate(found["character_errors"], found["characters"]),
            )
            item = ComparedItem(name, found["text"], result["text"], wer, cer)
            heapq.heappush(self._worst, (wer, cer, next(self._numbers), item))
            if len(self._worst) > self._most:
                heapq.heappop(self._worst)

    @property
    def wer(self) -> float:
        """Word error rate of all items; NaN without words."""
        return self.word_errors / self.words if self.words else math.nan

    @property
    def cer(self) -> float:
        """Character error rate of all items; NaN without characters."""
        return self.character_errors / self.characters if self.characters else math.nan

    @property
    def worst(self) -> list[ComparedItem]:
        """The items with the highest word error rates; of equal ones, those with the highest character error rates."""
        return [item for *_, item in sorted(self._worst, reverse=True)]


def _rate(errors: int, of: int) -> float:
    return errors / of if of else math.inf


def _levenshtein() -> Any:
    try:
        from rapidfuzz.distance import Levenshtein  # noqa: PLC0415  # optional
    except ImportError as error:
        raise CorpusError(
            "error rates are computed with rapidfuzz, which is not installed: pip install 'ctckit[corpus]', or decode "
            "without them (--no-error-rates)"
        ) from error
    return Levenshtein
