"""The options that commands share. They have the names of the fields of `Task`, or of the arguments of `process`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import click

from ctckit.corpus import FORMATS, Task
from ctckit.corpus.archives import MAX_ARRAY_BYTES
from ctckit.text.unknown import UnknownPolicy

__all__ = [
    "COUNT",
    "PATH",
    "beam",
    "frame_duration",
    "of_items",
    "of_runs",
    "of_texts",
    "options",
    "split",
    "to_a_file",
    "to_a_page",
    "to_item_files",
]

PATH = click.Path(path_type=Path)
COUNT = click.IntRange(min=1)

_TaskT = TypeVar("_TaskT", bound=Task)


def options(*decorators: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Join options to one decorator."""
    return lambda function: functools.reduce(lambda f, decorate: decorate(f), reversed(decorators), function)


def _unknown(value: str) -> dict[str, str]:
    try:
        return dict(UnknownPolicy.parse(value)._asdict())
    except (ValueError, TypeError) as error:
        raise click.BadParameter(str(error)) from None


def beam(value: str) -> int | tuple[int, int]:
    """Read the width of a beam: a number, or the first and the largest, as in 8:512."""
    try:
        first, *largest = map(int, value.split(":"))
    except ValueError:
        first, largest = 0, [0, 0]
    if len(largest) > 1:
        raise click.BadParameter(f"{value!r} is not a number, nor the first and the largest number, as in 8:512")
    return (first, largest[0]) if largest else first


of_items = options(
    click.argument("manifest", type=PATH),
    click.option(
        "--vocab",
        "vocabulary",
        metavar="FILE",
        help="The vocabulary: vocab.json (a list, or an object from token to class), tokens.txt, a .txt file with a "
        "token per line, or module:name of a tokenizer. Not needed if tokens are classes.",
    ),
    click.option(
        "--blank", type=int, metavar="CLASS", help="Class of the blank. [default: from the vocabulary, else 0]"
    ),
    click.option("--logits", is_flag=True, help="Emissions are logits, not log-probabilities."),
    click.option(
        "--model",
        metavar="MODULE:FUNCTION",
        help="Function from the path of an item's audio to its emissions, (T, C). The module may be a file of the "
        "current folder.",
    ),
    click.option("--word-separator", metavar="TOKEN", help="Token between words. [default: found in the vocabulary]"),
)
"""What the items of a manifest are."""

of_texts = options(
    click.option("--fold-case", is_flag=True, help="Ignore case where the vocabulary has one case only."),
    click.option(
        "--unknown",
        default="raise",
        show_default=True,
        metavar="CHOICE",
        callback=lambda _context, _parameter, value: _unknown(value),
        help="Characters outside the vocabulary: raise (the item is bad), wildcard (they match anything) or skip (they "
        "are left out). Or one choice per kind: numbers=wildcard,punctuation=skip",
    ),
)
"""How the texts of a manifest are spelt in tokens."""

of_runs = options(
    click.option(
        "--max-array-bytes",
        type=COUNT,
        default=MAX_ARRAY_BYTES,
        show_default=True,
        metavar="BYTES",
        help="Maximal size of an array in an .npz or .safetensors file.",
    ),
    click.option("--limit", type=COUNT, metavar="N", help="Use only the first N items of the manifest."),
    click.option(
        "--workers",
        type=COUNT,
        default=1,
        show_default=True,
        metavar="N",
        help="Number of processes, each with one thread. A process that dies is replaced.",
    ),
    click.option("--ray", is_flag=True, help="Run on Ray Data: on the current cluster, or a local one."),
    click.option("--ray-address", metavar="ADDRESS", help="Run on the Ray cluster at this address."),
    click.option("-q", "--quiet", is_flag=True, help="Show no progress bar and no summary."),
)
"""How much is done, and where."""

to_a_file = options(
    click.option(
        "-o",
        "--output",
        type=PATH,
        metavar="FILE",
        help="Write results to this file, one line of JSON per item. If it exists, continue: unchanged items are "
        "skipped. [default: standard output]",
    ),
    click.option(
        "--errors", type=PATH, metavar="FILE", help="List bad items here. [default: OUTPUT with .errors.jsonl]"
    ),
    click.option("--overwrite", is_flag=True, help="Start OUTPUT over, and replace files in --folder."),
    click.option("--wait", is_flag=True, help="Wait if another run writes to OUTPUT."),
)
"""The files of results and of bad items."""

to_item_files = options(
    click.option(
        "--format",
        "formats",
        type=click.Choice(FORMATS),
        multiple=True,
        help="Also write a file per item into --folder. May be repeated.",
    ),
    click.option("--folder", type=PATH, metavar="FOLDER", help="Folder for the files of --format."),
)
"""A file per item."""

to_a_page = options(
    click.option("--html", type=PATH, metavar="FILE", help="Write a page that plays the audio and shows each word."),
    click.option(
        "--html-items", type=COUNT, default=1, show_default=True, metavar="N", help="Number of items on the page."
    ),
    click.option(
        "--html-any-audio",
        is_flag=True,
        help="Embed audio from outside the manifest's folder, too. Only for manifests that you trust.",
    ),
)
"""A page."""

frame_duration = click.option(
    "--frame-duration", type=float, metavar="SECONDS", help="Seconds per frame, for items without frame_duration."
)


def split(kind: type[_TaskT], given: dict[str, Any]) -> tuple[_TaskT, dict[str, Any]]:
    """Make a task of the options that are its fields; return the other options, too."""
    if "formats" in given and bool(given["formats"]) != (given["folder"] is not None):
        missing, present = ("--folder", "--format") if given["formats"] else ("--format", "--folder")
        raise click.UsageError(f"{present} needs {missing}: one says which files to write, the other where")
    rest = dict(given)
    task = kind(**{field.name: rest.pop(field.name) for field in fields(kind) if field.name in rest})
    rest["ray"] = rest.pop("ray_address") or rest["ray"]
    return task, rest
