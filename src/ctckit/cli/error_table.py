"""Error rates on the terminal: the totals, and the worst items with the differences marked."""

from __future__ import annotations

import math

from rich.table import Table
from rich.text import Text

from ctckit.cli.streams import plain, say
from ctckit.corpus import ErrorRates
from ctckit.corpus.error_rates import differences

__all__ = ["marked", "show_error_rates"]


def show_error_rates(rates: ErrorRates) -> None:
    """Print the error rates, and the worst items, to the standard error; nothing if no item has a reference."""
    if not rates.items:
        return
    items = f"{rates.items:,} item{'' if rates.items == 1 else 's'} with a text"
    totals = Table(items, "number", "errors", "error rate")
    for column in totals.columns[1:]:
        column.justify = "right"
    totals.add_row("words", f"{rates.words:,}", f"{rates.word_errors:,}", _percent(rates.wer))
    totals.add_row("characters", f"{rates.characters:,}", f"{rates.character_errors:,}", _percent(rates.cer))
    say(totals, soft_wrap=False)
    if not rates.worst:
        return
    worst = Table("worst items", "WER", "CER", "text in the manifest", "decoded", show_lines=True)
    for item in rates.worst:
        reference, decoded = marked(item.reference, item.decoded)
        worst.add_row(Text(plain(item.id)), _percent(item.wer), _percent(item.cer), reference, decoded)
    say(worst, soft_wrap=False)


def marked(reference: str, decoded: str) -> tuple[Text, Text]:
    """Mark what differs: in bold, and in brackets for those who see no bold."""
    left, right = Text(), Text()
    parts, between = differences(reference, decoded)
    for number, part in enumerate(parts):
        for text, said in ((left, part.reference), (right, part.decoded)):
            text.append(between if number else "")
            text.append(*((plain(said),) if part.same else (f"[{plain(said)}]", "bold red")))
    return left, right


def _percent(rate: float) -> str:
    return "-" if not math.isfinite(rate) else f"{100 * rate:.1f}%"
