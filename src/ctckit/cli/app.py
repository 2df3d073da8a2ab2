"""The commands: their options, and what they say. What they do is elsewhere."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.text import Text

import ctckit
from ctckit.cli import commands
from ctckit.cli.streams import any_character, give_up_stdout, say
from ctckit.corpus import FORMATS, AlignTask, CheckTask, CorpusError, LossTask
from ctckit.corpus.archives import MAX_ARRAY_BYTES
from ctckit.text.unknown import UnknownPolicy

__all__ = ["run"]

_ALL_WELL, _BAD_ITEMS, _NOTHING_DONE, _PIPE_CLOSED, _INTERRUPTED = 0, 1, 2, 141, 130
_PATH = click.Path(path_type=Path)

_EPILOG = """
\b
Exit codes: 0 all is well; 1 some items are bad (they are listed, the others are done);
2 nothing could be done: a wrong option, a file that does not exist; 130 interrupted.
What is installed, and what will compute: python -m ctckit
"""


def run(arguments: list[str]) -> int:
    """Run the command line, and return what to exit with. A user's mistake is a message, not a traceback."""
    with any_character():
        return _run(arguments)


def _run(arguments: list[str]) -> int:
    try:
        code = ctckit_.main(arguments, prog_name="ctckit", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return _NOTHING_DONE
    except (click.Abort, KeyboardInterrupt):
        click.echo("\nInterrupted. Results that were written are kept: the same command goes on from there.", err=True)
        return _INTERRUPTED
    except SystemExit:  # click's way to end when the reader of its output is gone, as in `ctckit loss ... | head`
        give_up_stdout()
        return _PIPE_CLOSED
    except BrokenPipeError:
        give_up_stdout()
        return _PIPE_CLOSED
    except (CorpusError, ImportError, OSError) as error:
        if isinstance(error, OSError):
            give_up_stdout()  # it may be the one that is full
        say(Text(f"Error: {error}"))
        return _NOTHING_DONE
    return int(code or _ALL_WELL)


@click.group(name="ctckit", epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(ctckit.__version__, prog_name="ctckit")
def ctckit_() -> None:
    """CTC for whole data sets: where each word is, how well a model fits, and which items are bad.

    \b
    A manifest lists the items, one JSON object per line (or one row of Parquet):
      {"id": "a1", "emissions": "a1.npy", "text": "hello world"}
    where emissions are a model's log-probabilities or logits, (T, C): frames, classes.

    \b
      ctckit demo                                    see it work, with nothing but this
      ctckit check items.jsonl --vocab vocab.json    find what is wrong before it costs a day
      ctckit align items.jsonl --vocab vocab.json -o words.jsonl
    """


def _options(*decorators: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda function: functools.reduce(lambda f, decorate: decorate(f), reversed(decorators), function)


def _unknown(value: str) -> dict[str, str]:
    try:
        return dict(UnknownPolicy.parse(value)._asdict())
    except (ValueError, TypeError) as error:
        raise click.BadParameter(str(error)) from None


_of_items = _options(
    click.argument("manifest", type=_PATH),
    click.option(
        "--vocab",
        metavar="FILE",
        help="Which class each token is: vocab.json (a list, or an object from token to class), tokens.txt, a .txt "
        "file with a token per line, or module:name of a tokenizer. Not needed where tokens are classes.",
    ),
    click.option("--blank", type=int, metavar="CLASS", help="Class of the blank. [default: what --vocab says, else 0]"),
    click.option("--logits", is_flag=True, help="Emissions are logits, not log-probabilities."),
    click.option(
        "--model",
        metavar="MODULE:FUNCTION",
        help="Makes emissions of an item's audio: called with its path, returns (T, C). Imported once per process; the "
        "module may be a file of this folder.",
    ),
    click.option(
        "--word-separator", metavar="TOKEN", help="Token for the space between words. [default: found in --vocab]"
    ),
    click.option("--fold-case", is_flag=True, help="Take one case for the other where --vocab has only that."),
    click.option(
        "--unknown",
        default="raise",
        show_default=True,
        metavar="CHOICE",
        callback=lambda _context, _parameter, value: _unknown(value),
        help="Characters that --vocab lacks: raise (the item is bad), wildcard (they match anything), skip (they are "
        "left out). Or apart: numbers=wildcard,punctuation=skip,words=raise.",
    ),
    click.option(
        "--max-array-bytes",
        type=click.IntRange(min=1),
        default=MAX_ARRAY_BYTES,
        show_default=True,
        metavar="BYTES",
        help="How large an array of an .npz or .safetensors file may be.",
    ),
    click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N items of the manifest."),
    click.option(
        "--workers",
        type=click.IntRange(min=1),
        default=1,
        show_default=True,
        metavar="N",
        help="Processes, each with one thread. One that dies is replaced, and nothing is lost.",
    ),
    click.option("--ray", is_flag=True, help="Work on Ray Data, on the cluster that is at hand or a local one."),
    click.option("--ray-address", metavar="ADDRESS", help="Work on the Ray cluster at this address."),
    click.option("-q", "--quiet", is_flag=True, help="No progress bar and no summary."),
)

_to_a_file = _options(
    click.option(
        "-o",
        "--output",
        type=_PATH,
        metavar="FILE",
        help="Write results here, a line of JSON per item as soon as it is done. Items that it has already are "
        "skipped, if they have not changed: the same command goes on where it was stopped. [default: standard output]",
    ),
    click.option(
        "--errors", type=_PATH, metavar="FILE", help="List bad items here. [default: OUTPUT with .errors.jsonl]"
    ),
    click.option("--overwrite", is_flag=True, help="Start OUTPUT anew, and replace files in --folder."),
    click.option("--wait", is_flag=True, help="If another run writes to OUTPUT, wait until it ends."),
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
    help="Score of a frame of a wildcard, or outside of the text at a free end. [default: that of ctckit.align]",
)
@click.option("--no-confidence", is_flag=True, help="Leave confidences out: about a third of the time.")
@click.option(
    "--format",
    "formats",
    type=click.Choice(FORMATS),
    multiple=True,
    help="Also write a file per item into --folder; may be repeated.",
)
@click.option("--folder", type=_PATH, metavar="FOLDER", help="Where --format writes.")
@click.option("--html", type=_PATH, metavar="FILE", help="Write a page that plays the audio and shows each word.")
@click.option(
    "--html-items", type=click.IntRange(min=1), default=1, show_default=True, metavar="N", help="How many it shows."
)
@click.option(
    "--html-any-audio",
    is_flag=True,
    help="Let the page hold audio from outside of the manifest's folder. For manifests that you trust.",
)
def align(manifest: Path, **options: Any) -> int:
    """Find where each word and token of the MANIFEST's texts is.

    Each result has words and tokens with start and end (in frames, and in seconds if the duration of a frame is known),
    score and confidence. A bad item is listed with the reason, and the others are done.

    \b
    Fields of an item, all optional but emissions or audio:
      id              name, unlike any other; by default the path of the emissions
      emissions       a.npy, a.npz[name] or a.safetensors[name], (T, C)
      audio           what --model reads where there are no emissions, and what --html plays
      text, tokens    what is said: a string, or a list of tokens or classes
      frame_duration  seconds per frame        offset   where the first frame starts, in seconds
    Paths are relative to the manifest.

    \b
    Examples:
      ctckit align items.jsonl --vocab vocab.json --frame-duration 0.02 -o words.jsonl --workers 8
      ctckit align items.parquet --vocab vocab.json --format textgrid --folder grids
      ctckit align items.jsonl --vocab vocab.json --model my_model:emissions --html page.html
      ctckit align items.jsonl --vocab vocab.json --ray-address auto -o words.jsonl
    """
    formats = options["formats"]
    if bool(formats) != (options["folder"] is not None):
        missing, given = ("--folder", "--format") if formats else ("--format", "--folder")
        raise click.UsageError(f"{given} needs {missing}: the formats to write, and where to, go together")
    task = AlignTask(
        **_of_task(options),
        frame_duration=options["frame_duration"],
        free_start=options["free_start"],
        free_end=options["free_end"],
        confidence=not options["no_confidence"],
        wildcard_score=options["wildcard_score"],
        formats=formats,
    )
    return commands.align(task, manifest, **_of_run(options))


@ctckit_.command(short_help="Measure the CTC loss of each item.", epilog=_EPILOG)
@_of_items
@_to_a_file
def loss(manifest: Path, **options: Any) -> int:
    """Measure the CTC loss of each item of the MANIFEST, in nats, and its mean.

    A high loss per label is the mark of a text that does not belong to its audio. Items are as for `ctckit align`.

    \b
    Examples:
      ctckit loss items.jsonl --vocab vocab.json
      ctckit loss items.jsonl --vocab vocab.json -q | sort -t$'\\t' -k3 -gr | head    the worst fits
    """
    return commands.loss(LossTask(**_of_task(options)), manifest, **_of_run(options))


@ctckit_.command(short_help="Find items that are invalid or cannot be aligned.", epilog=_EPILOG)
@_of_items
@click.option("-o", "--output", type=_PATH, metavar="FILE", help="Also write them here, a line of JSON per item.")
def check(manifest: Path, **options: Any) -> int:
    """Find the items of the MANIFEST that are invalid or cannot be aligned, and say why.

    Looks for lines that are no items, files that are missing or cannot be read, wrong shapes, characters and labels
    that the vocabulary or the model does not have, texts too long for their frames, NaN and infinity; and for what a
    person would see at once: emissions that are no log-probabilities, a blank that is another class, fewer classes than
    the vocabulary has. The exit code is 1 if there is any, so that a script can stop.

    \b
    Example:
      ctckit check items.jsonl --vocab vocab.json && python train.py
    """
    options["errors"] = options.pop("output")
    return commands.check(CheckTask(**_of_task(options)), manifest, **_of_run(options))


@ctckit_.command(short_help="Measure speed against torch on this machine.")
@click.option("--seconds", type=click.FloatRange(min=0), default=1.0, show_default=True, help="To measure each shape.")
def bench(seconds: float) -> int:
    """Measure how fast ctckit is on this machine, against torch.

    Loss and gradient from logits, and alignment, on a few shapes; medians of runs in turn, on one thread and on all.
    """
    from ctckit.cli import bench as measuring  # noqa: PLC0415

    return measuring.show(seconds)


@ctckit_.command(short_help="See it work: nothing else is needed.")
@click.option("--html", type=_PATH, metavar="FILE", help="Write a page that plays the demonstration's sound.")
@click.option("--text", default="she sells sea shells", show_default=True, help="What to say: letters and spaces.")
@click.option("--seed", default=0, show_default=True, help="Of the durations and the noise.")
def demo(html: Path | None, text: str, seed: int) -> int:
    """Make a sound, find each letter and word in it, and compare with where they are.

    Every letter is a tone of its own pitch and of random duration, in noise. The emissions are the strengths of the
    pitches in each 10 ms; the alignment sees those and the text, and nothing else.
    """
    from ctckit.cli import demo as demonstration  # noqa: PLC0415

    return demonstration.show(text, html, seed)


def _of_task(options: dict[str, Any]) -> dict[str, Any]:
    names = ("blank", "logits", "model", "word_separator", "fold_case", "unknown", "max_array_bytes")
    return {"vocabulary": options["vocab"], **{name: options[name] for name in names}}


def _of_run(options: dict[str, Any]) -> dict[str, Any]:
    names = (
        "output", "errors", "overwrite", "wait", "folder", "html", "html_items", "html_any_audio", "limit", "workers",
        "quiet",
    )  # fmt: skip
    return {
        "ray": options["ray_address"] or options["ray"],
        **{name: options[name] for name in names if name in options},
    }
