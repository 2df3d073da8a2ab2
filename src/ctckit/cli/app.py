"""The commands of ``ctckit``: options and help texts. `ctckit.cli.commands` runs them."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.text import Text

import ctckit
from ctckit.cli import commands
from ctckit.cli.streams import discard_stdout, escaped_output, say
from ctckit.corpus import FORMATS, AlignTask, CheckTask, CorpusError, LossTask, Task
from ctckit.corpus.archives import MAX_ARRAY_BYTES
from ctckit.text.unknown import UnknownPolicy

__all__ = ["run"]

_ALL_WELL, _BAD_ITEMS, _NOTHING_DONE, _PIPE_CLOSED, _INTERRUPTED = 0, 1, 2, 141, 130
_PATH = click.Path(path_type=Path)
_COUNT = click.IntRange(min=1)

_TaskT = TypeVar("_TaskT", bound=Task)

_EPILOG = """
\b
Exit codes:
  0    no problem
  1    some items are bad; they are listed, and the others are done
  2    the run could not start or go on: a wrong option, a missing file, a full disk
  130  interrupted; written results are kept
"""


def run(arguments: list[str]) -> int:
    """Run the command line, and return the exit code. A user's mistake is a message, not a traceback."""
    with escaped_output():
        return _run(arguments)


def _run(arguments: list[str]) -> int:
    try:
        code = ctckit_.main(arguments, prog_name="ctckit", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return _NOTHING_DONE
    except (click.Abort, KeyboardInterrupt):
        click.echo("\nInterrupted. Written results are kept: run the same command again to continue.", err=True)
        return _INTERRUPTED
    except SystemExit:  # click raises it when the reader of the output is gone, as in `ctckit loss ... | head`
        discard_stdout()
        return _PIPE_CLOSED
    except BrokenPipeError:
        discard_stdout()
        return _PIPE_CLOSED
    except (CorpusError, ImportError, OSError) as error:
        if isinstance(error, OSError):
            discard_stdout()  # the standard output may be the full disk
        say(Text(f"Error: {error}"))
        return _NOTHING_DONE
    return int(code or _ALL_WELL)


@click.group(
    name="ctckit",
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(ctckit.__version__, prog_name="ctckit")
def ctckit_() -> None:
    """Align whole data sets, measure their CTC loss, and find bad items.

    \b
    A manifest lists the items, one JSON object per line or one row of Parquet:
      {"id": "a1", "emissions": "a1.npy", "text": "hello world"}
    Emissions are a model's log-probabilities or logits, (T, C): frames, classes.

    \b
    Examples:
      ctckit demo                                              try it without any data
      ctckit check items.jsonl --vocab vocab.json              find bad items first
      ctckit align items.jsonl --vocab vocab.json -o words.jsonl
      python -m ctckit                                         show versions and backends
    """


def _options(*decorators: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda function: functools.reduce(lambda f, decorate: decorate(f), reversed(decorators), function)


def _unknown(value: str) -> dict[str, str]:
    try:
        return dict(UnknownPolicy.parse(value)._asdict())
    except (ValueError, TypeError) as error:
        raise click.BadParameter(str(error)) from None


# Options have the names of the fields of `Task`, or of the arguments of `process`.
_of_items = _options(
    click.argument("manifest", type=_PATH),
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
    click.option(
        "--max-array-bytes",
        type=_COUNT,
        default=MAX_ARRAY_BYTES,
        show_default=True,
        metavar="BYTES",
        help="Maximal size of an array in an .npz or .safetensors file.",
    ),
    click.option("--limit", type=_COUNT, metavar="N", help="Use only the first N items of the manifest."),
    click.option(
        "--workers",
        type=_COUNT,
        default=1,
        show_default=True,
        metavar="N",
        help="Number of processes, each with one thread. A process that dies is replaced.",
    ),
    click.option("--ray", is_flag=True, help="Run on Ray Data: on the current cluster, or a local one."),
    click.option("--ray-address", metavar="ADDRESS", help="Run on the Ray cluster at this address."),
    click.option("-q", "--quiet", is_flag=True, help="Show no progress bar and no summary."),
)

_to_a_file = _options(
    click.option(
        "-o",
        "--output",
        type=_PATH,
        metavar="FILE",
        help="Write results to this file, one line of JSON per item. If it exists, continue: unchanged items are "
        "skipped. [default: standard output]",
    ),
    click.option(
        "--errors", type=_PATH, metavar="FILE", help="List bad items here. [default: OUTPUT with .errors.jsonl]"
    ),
    click.option("--overwrite", is_flag=True, help="Start OUTPUT over, and replace files in --folder."),
    click.option("--wait", is_flag=True, help="Wait if another run writes to OUTPUT."),
)


@ctckit_.command(short_help="Find where each word and token is.", epilog=_EPILOG)
@_of_items
@_to_a_file
@click.option(
    "--frame-duration", type=float, metavar="SECONDS", help="Seconds per frame, for items without frame_duration."
)
@click.option("--free-start", is_flag=True, help="The text may begin later than the input.")
@click.option("--free-end", is_flag=True, help="The text may end earlier than the input.")
@click.option(
    "--wildcard-score",
    type=float,
    metavar="NATS",
    help="Score of a frame in a wildcard, or outside the text at a free end. [default: that of ctckit.align]",
)
@click.option(
    "--no-confidence",
    "confidence",
    is_flag=True,
    callback=lambda _context, _parameter, value: not value,
    help="Leave out confidences. Saves about a third of the time.",
)
@click.option(
    "--format",
    "formats",
    type=click.Choice(FORMATS),
    multiple=True,
    help="Also write a file per item into --folder. May be repeated.",
)
@click.option("--folder", type=_PATH, metavar="FOLDER", help="Folder for the files of --format.")
@click.option("--html", type=_PATH, metavar="FILE", help="Write a page that plays the audio and shows each word.")
@click.option(
    "--html-items", type=_COUNT, default=1, show_default=True, metavar="N", help="Number of items on the page."
)
@click.option(
    "--html-any-audio",
    is_flag=True,
    help="Embed audio from outside the manifest's folder, too. Only for manifests that you trust.",
)
def align(manifest: Path, **options: Any) -> int:
    """Find where each word and token of the MANIFEST's texts is.

    A result has words and tokens. Each has its start and end in frames (in seconds, too, if the duration of a frame is
    known), a score and a confidence. Bad items are listed with the reason, and the others are done.

    \b
    Fields of an item; one of emissions and audio is needed, the others are optional:
      id              unique name; by default the path of the emissions
      emissions       a.npy, a.npz[name] or a.safetensors[name]: (T, C)
      audio           input of --model, and the sound of --html
      text, tokens    the transcript: a string, or a list of tokens or classes
      frame_duration  seconds per frame
      offset          seconds at which the first frame starts
    Paths are relative to the manifest's folder.

    \b
    Examples:
      ctckit align items.jsonl --vocab vocab.json --frame-duration 0.02 -o words.jsonl --workers 8
      ctckit align items.parquet --vocab vocab.json --format textgrid --folder grids
      ctckit align items.jsonl --vocab vocab.json --model my_model:emissions --html page.html
      ctckit align items.jsonl --vocab vocab.json --ray-address auto -o words.jsonl
    """
    if bool(options["formats"]) != (options["folder"] is not None):
        missing, given = ("--folder", "--format") if options["formats"] else ("--format", "--folder")
        raise click.UsageError(f"{given} needs {missing}: one says which files to write, the other where")
    task, rest = _split(AlignTask, options)
    return commands.align(task, manifest, **rest)


@ctckit_.command(short_help="Measure the CTC loss of each item.", epilog=_EPILOG)
@_of_items
@_to_a_file
def loss(manifest: Path, **options: Any) -> int:
    """Measure the CTC loss of each item of the MANIFEST, in nats, and the mean.

    A high loss per label marks a text that does not belong to its audio. Items are as for `ctckit align`.

    \b
    Examples:
      ctckit loss items.jsonl --vocab vocab.json
      ctckit loss items.jsonl --vocab vocab.json -q | sort -t$'\\t' -k3 -gr | head    # the worst fits
    """
    task, rest = _split(LossTask, options)
    return commands.loss(task, manifest, **rest)


@ctckit_.command(short_help="Find bad items.", epilog=_EPILOG)
@_of_items
@click.option("-o", "--output", "errors", type=_PATH, metavar="FILE", help="Also list bad items here, as JSON lines.")
def check(manifest: Path, **options: Any) -> int:
    """Find the items of the MANIFEST that are invalid or cannot be aligned, and give the reason.

    \b
    It finds:
      lines that are not items, impossible durations, missing or truncated files, wrong shapes
      characters outside the vocabulary, labels outside the model, texts too long for their frames
      NaN, infinity, and emissions that are not log-probabilities
      a wrong blank, and emissions with fewer classes than the vocabulary

    The exit code is 1 if an item is bad, so a script can stop.

    \b
    Example:
      ctckit check items.jsonl --vocab vocab.json && python train.py
    """
    task, rest = _split(CheckTask, options)
    return commands.check(task, manifest, **rest)


@ctckit_.command(short_help="Compare the speed with torch on this machine.")
@click.option(
    "--seconds",
    type=click.FloatRange(min=0),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="Time to measure each shape.",
)
def bench(seconds: float) -> int:
    """Measure how fast ctckit is on this machine, against torch.

    Measures loss and gradient from logits, and alignment, on a few shapes, with one thread and with all threads. Times
    are medians; torch and ctckit run in turn.
    """
    from ctckit.cli import bench as measuring  # noqa: PLC0415

    return measuring.show(seconds)


@ctckit_.command(short_help="Try it without any data.")
@click.option("--html", type=_PATH, metavar="FILE", help="Write a page that plays the sound.")
@click.option("--text", default="she sells sea shells", show_default=True, help="The text: letters and spaces.")
@click.option("--seed", default=0, show_default=True, help="Seed of the durations and the noise.")
def demo(html: Path | None, text: str, seed: int) -> int:
    """Make a sound, find each letter and word in it, and print the error.

    Each letter is a tone with its own pitch and a random duration, in noise. The emissions come from the energy at each
    pitch, every 10 ms. The alignment gets only the emissions and the text.
    """
    from ctckit.cli import demo as demonstration  # noqa: PLC0415

    return demonstration.show(text, html, seed)


def _split(kind: type[_TaskT], options: dict[str, Any]) -> tuple[_TaskT, dict[str, Any]]:
    """Make a task of the options that are its fields; return the other options, too."""
    rest = dict(options)
    task = kind(**{field.name: rest.pop(field.name) for field in fields(kind) if field.name in rest})
    rest["ray"] = rest.pop("ray_address") or rest["ray"]
    return task, rest
