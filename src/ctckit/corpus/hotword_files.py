"""Files of hotwords: a phrase per line, with or without a weight of its own."""

from __future__ import annotations

import math
from pathlib import Path

from ctckit.corpus.errors import CorpusError

__all__ = ["read_hotwords"]


def read_hotwords(path: str | Path, weight: float) -> dict[str, float]:
    r"""Read phrases and their weights.

    A line is a phrase; or a phrase, a tab and its weight in nats. Empty lines do not count.

    Args:
        path: the file, in UTF-8, with or without a byte-order mark.
        weight: of the phrases without a weight of their own.

    Raises:
        CorpusError: if the file cannot be read, has no phrase, or has a line that is none; for a phrase that is there
            twice.

    Example:
        >>> import pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "names.txt"
        >>> _ = path.write_text("new york\nKwame\t12.5\n")
        >>> read_hotwords(path, 10.0)
        {'new york': 10.0, 'Kwame': 12.5}
    """
    try:
        text = Path(path).read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CorpusError(f"the hotwords {str(path)!r} are no text: byte {error.start} is not UTF-8") from None
    except OSError as error:
        raise CorpusError(f"the hotwords {str(path)!r} cannot be read: {error.strerror or error}") from error
    found: dict[str, float] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        where = f"line {number} of the hotwords {str(path)!r}"
        phrase, tab, said = line.rstrip().partition("\t")
        phrase = " ".join(phrase.split())
        if not phrase:
            raise CorpusError(f"{where} begins with a tab: a phrase comes first")
        if phrase in found:
            raise CorpusError(f"{where} has {phrase!r}, which an earlier line has")
        found[phrase] = _weight(said, where) if tab else weight
    if not found:
        raise CorpusError(f"the hotwords {str(path)!r} have no phrase: write one per line")
    return found


def _weight(said: str, where: str) -> float:
    try:
        weight = float(said)
    except ValueError:
        weight = math.nan
    if not math.isfinite(weight):
        raise CorpusError(f"{where} has {said!r} after its tab, but must have a weight in nats, a number")
    return weight
