"""The commands of ``ctckit``: options and help texts. `ctckit.cli.commands` runs them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
from rich.text import Text

import ctckit
from ctckit.cli import commands, language_models, tuning
from ctckit.cli.decode_options import join_hotwords, of_knowledge, of_search, of_tuning, tuning_of
from ctckit.cli.options import (
    PATH,
    frame_duration,
    of_items,
    of_runs,
    of_texts,
    split,
    to_a_file,
    to_a_page,
    to_item_files,
)
from ctckit.cli.streams import discard_stdout, escaped_output, say
from ctckit.corpus import AlignTask, CheckTask, CorpusError, DecodeTask, LossTask

__all__ = ["run"]

_ALL_WELL, _BAD_ITEMS, _NOTHING_DONE, _PIPE_CLOSED, _INTERRUPTED = 0, 1, 2, 141, 130
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
        code = ctckit_.main(arguments, prog_name="ctckit", standalone_mode=False, obj=tuple(arguments))
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
    """Align and decode whole data sets, measure their CTC loss, and find bad items.

    \b
    A manifest lists the items, one JSON object per line or one row of Parquet:
      {"id": "a1", "emissions": "a1.npy", "text": "hello world"}
    Emissions are a model's log-probabilities or logits, (T, C): frames, classes.

    \b
    Examples:
      ctckit demo                                              try it without any data
      ctckit check items.jsonl --vocab vocab.json              find bad items first
      ctckit align items.jsonl --vocab vocab.json -o words.jsonl
      ctckit decode items.jsonl --vocab vocab.json -o text.jsonl
      ctckit lm compile 4gram.arpa -o 4gram.ctclm              a language model for decode
      python -m ctckit                                         show versions and backends
    """


@ctckit_.command(short_help="Find where each word and token is.", epilog=_EPILOG)
@of_items
@of_texts
@of_runs
@to_a_file
@frame_duration
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
@to_item_files
@to_a_page
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
    task, rest = split(AlignTask, options)
    return commands.align(task, manifest, **rest)


@ctckit_.command(short_help="Turn emissions into text, and measure error rates.", epilog=_EPILOG)
@of_items
@of_runs
@to_a_file
@of_search
@of_knowledge
@of_tuning
@click.option("--alignment", is_flag=True, help="Add the times and confidences of words and tokens to the results.")
@frame_duration
@click.option(
    "--no-error-rates",
    "error_rates",
    is_flag=True,
    callback=lambda _context, _parameter, value: not value,
    help="Do not compare with the MANIFEST's texts.",
)
@click.option(
    "--worst",
    type=click.IntRange(min=0),
    default=5,
    show_default=True,
    metavar="N",
    help="Number of items with the highest error rates to show at the end.",
)
@to_item_files
@to_a_page
def decode(manifest: Path, **options: Any) -> int:
    """Turn the emissions of the MANIFEST's items into text.

    A result has the text, its words, its score in nats, its probability (confidence), and whether it is proved to be
    the most probable text (certified). If items have a text, the word and character error rates are printed at the end,
    and the worst items. Items are as for `ctckit align`; a text is not needed. --html implies --alignment.

    A language model, a lexicon and hotwords say what is likely beside the emissions. --tune finds the weights for a
    language model.

    \b
    Examples:
      ctckit decode items.jsonl --vocab vocab.json -o text.jsonl --workers 8
      ctckit decode items.jsonl --vocab vocab.json --beam 100 --nbest 5 -o text.jsonl
      ctckit decode items.jsonl --vocab vocab.json --beam 8:512 --html page.html
      ctckit decode items.jsonl --vocab vocab.json --greedy --format srt --folder subtitles
      ctckit decode items.jsonl --vocab vocab.json --lm 4gram.arpa --hotwords names.txt -o text.jsonl
      ctckit decode dev.jsonl --vocab vocab.json --lm 4gram.arpa --tune
    """
    options["alignment"] |= options["html"] is not None
    options["hotwords"] = join_hotwords(options["hotwords"], options.pop("phrases"))
    wanted = tuning_of(options)
    task, rest = split(DecodeTask, options)
    if wanted is not None:
        return tuning.tune_weights(task, manifest, wanted, click.get_current_context().obj, **rest)
    return commands.decode(task, manifest, **rest)


@ctckit_.command(short_help="Measure the CTC loss of each item.", epilog=_EPILOG)
@of_items
@of_texts
@of_runs
@to_a_file
def loss(manifest: Path, **options: Any) -> int:
    """Measure the CTC loss of each item of the MANIFEST, in nats, and the mean.

    A high loss per label marks a text that does not belong to its audio. Items are as for `ctckit align`.

    \b
    Examples:
      ctckit loss items.jsonl --vocab vocab.json
      ctckit loss items.jsonl --vocab vocab.json -q | sort -t$'\\t' -k3 -gr | head    # the worst fits
    """
    task, rest = split(LossTask, options)
    return commands.loss(task, manifest, **rest)


@ctckit_.command(short_help="Find bad items.", epilog=_EPILOG)
@of_items
@of_texts
@of_runs
@click.option("-o", "--output", "errors", type=PATH, metavar="FILE", help="Also list bad items here, as JSON lines.")
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
    task, rest = split(CheckTask, options)
    return commands.check(task, manifest, **rest)


@ctckit_.group(short_help="Prepare language models.")
def lm() -> None:
    """Prepare n-gram language models for `ctckit decode --lm`."""


@lm.command("compile", short_help="Write a model as a file that is ready at once.", epilog=_EPILOG)
@click.argument("model", type=PATH)
@click.option("-o", "--output", type=PATH, required=True, metavar="FILE", help="The file to write.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")
def compile_(model: Path, output: Path, *, quiet: bool) -> int:
    """Read a MODEL, an ARPA file (plain, or compressed by gzip), and write it as a file that is ready at once.

    The file is mapped into memory, so that several processes share it. It is replaced when the new one is complete.

    \b
    Example:
      ctckit lm compile 4gram.arpa.gz -o 4gram.ctclm
    """
    return language_models.compile_model(model, output, quiet=quiet)


@lm.command("info", short_help="Show what a model holds.", epilog=_EPILOG)
@click.argument("model", type=PATH)
def info(model: Path) -> int:
    """Read a MODEL, and print its order, words, n-grams and size."""
    return language_models.show_model(model)


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
@click.option("--html", type=PATH, metavar="FILE", help="Write a page that plays the sound.")
@click.option("--text", default="she sells sea shells", show_default=True, help="The text: letters and spaces.")
@click.option("--seed", default=0, show_default=True, help="Seed of the durations and the noise.")
def demo(html: Path | None, text: str, seed: int) -> int:
    """Make a sound, find each letter and word in it, and print the error.

    Each letter is a tone with its own pitch and a random duration, in noise. The emissions come from the energy at each
    pitch, every 10 ms. The alignment gets only the emissions and the text.
    """
    from ctckit.cli import demo as demonstration  # noqa: PLC0415

    return demonstration.show(text, html, seed)
