"""The options of ``ctckit decode``: the search, what is known beside the emissions, and tuning."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import click

from ctckit.cli.options import PATH, beam, options

__all__ = ["Wanted", "join_hotwords", "of_knowledge", "of_search", "of_tuning", "tuning_of"]

of_search = options(
    click.option(
        "--beam",
        "beam_width",
        default="16",
        show_default=True,
        metavar="N",
        callback=lambda _context, _parameter, value: beam(value),
        help="Number of prefixes that the search keeps. Or FIRST:LARGEST: it is doubled from the first until the best "
        "hypothesis is certified, or the largest is reached.",
    ),
    click.option("--nbest", type=int, default=1, show_default=True, metavar="N", help="Number of hypotheses per item."),
    click.option("--greedy", is_flag=True, help="Take the most probable class of each frame; no search."),
    click.option(
        "--beam-threshold", type=float, metavar="NATS", help="Prefixes that are by more below the best are dropped."
    ),
    click.option(
        "--token-threshold",
        type=float,
        metavar="PROBABILITY",
        help="In each frame, classes with a lower probability make no new prefix.",
    ),
    click.option(
        "--blank-threshold",
        type=float,
        metavar="PROBABILITY",
        help="In a frame whose blank has a higher probability, all prefixes stay as they are.",
    ),
    click.option(
        "--no-rescore",
        "rescore",
        is_flag=True,
        callback=lambda _context, _parameter, value: not value,
        help="Leave out exact scores, and with them the certificate.",
    ),
)
"""How the search goes."""

of_knowledge = options(
    click.option(
        "--lm",
        metavar="FILE",
        help="An n-gram language model: an ARPA file (or .gz), a file of `ctckit lm compile`, or a binary of KenLM in "
        "its probing format.",
    ),
    click.option(
        "--lm-unit",
        type=click.Choice(("word", "token")),
        default="word",
        show_default=True,
        help="What the words of --lm are: words, or tokens of the vocabulary.",
    ),
    click.option(
        "--lm-weight",
        type=float,
        default=0.5,
        show_default=True,
        metavar="WEIGHT",
        help="Weight of the log-probabilities of --lm.",
    ),
    click.option(
        "--word-bonus",
        type=float,
        default=1.5,
        show_default=True,
        metavar="NATS",
        help="Added to the score for each word, or for each token with --lm-unit token. Needs --lm.",
    ),
    click.option(
        "--unknown-score",
        type=float,
        default=-10.0,
        show_default=True,
        metavar="NATS",
        help="Added to the score for each word that --lm or --lexicon does not have; -inf forbids such words.",
    ),
    click.option(
        "--lexicon",
        metavar="FILE",
        help="The possible words, one per line; or a word and the tokens of a spelling. [default: the words of --lm, "
        "and others at --unknown-score]",
    ),
    click.option("--open-lexicon", is_flag=True, help="Words that are not in --lexicon are possible, too."),
    click.option(
        "--hotwords",
        metavar="FILE",
        help="Phrases that are expected, one per line; after a tab, the weight of the phrase in nats.",
    ),
    click.option("--hotword", "phrases", multiple=True, metavar="PHRASE", help="An expected phrase. May be repeated."),
    click.option(
        "--hotword-weight",
        type=float,
        default=10.0,
        show_default=True,
        metavar="NATS",
        help="Added to the score for each occurrence of a phrase that has no weight of its own.",
    ),
    click.option(
        "--fold-case",
        is_flag=True,
        help="Ignore the case of words and phrases where the vocabulary has one case only.",
    ),
)
"""What is known beside the emissions."""


def _span(_context: click.Context, _parameter: click.Parameter, value: str) -> tuple[float, float]:
    try:
        low, high = map(float, value.split(":"))
    except ValueError:
        raise click.BadParameter(f"{value!r} is not the lowest and the highest value, as in 0:3") from None
    return low, high


of_tuning = options(
    click.option(
        "--tune",
        is_flag=True,
        help="Find the --lm-weight, --word-bonus and --beam with the lowest error rate on the MANIFEST's texts, and "
        "print the command line with them. Writes no results.",
    ),
    click.option(
        "--tune-by",
        type=click.Choice(("wer", "cer")),
        default="wer",
        show_default=True,
        help="The error rate that --tune lowers: of words, or of characters.",
    ),
    click.option(
        "--tune-lm-weight",
        default="0:3",
        show_default=True,
        metavar="LOW:HIGH",
        callback=_span,
        help="The weights that --tune tries.",
    ),
    click.option(
        "--tune-word-bonus",
        default="-3:6",
        show_default=True,
        metavar="LOW:HIGH",
        callback=_span,
        help="The bonuses that --tune tries, in nats.",
    ),
    click.option(
        "--tune-plot",
        type=PATH,
        metavar="FILE",
        help="Draw the error rate over weight and bonus: a .svg, .png or .pdf file. Needs matplotlib.",
    ),
)
"""The search for weights."""


class Wanted(NamedTuple):
    """What is to be tuned, and how."""

    by: str
    lm_weights: tuple[float, float]
    word_bonuses: tuple[float, float]
    plot: Path | None


def join_hotwords(file: str | None, phrases: tuple[str, ...]) -> str | tuple[str, ...] | None:
    """Return the file of hotwords, or the phrases; None for neither."""
    if file is not None and phrases:
        raise click.UsageError("--hotwords and --hotword exclude each other: write the phrase into the file")
    return file if file is not None else phrases or None


def tuning_of(given: dict[str, Any]) -> Wanted | None:
    """Take the options of tuning out of all options; None without ``--tune``."""
    is_wanted = given.pop("tune")
    wanted = Wanted(
        given.pop("tune_by"), given.pop("tune_lm_weight"), given.pop("tune_word_bonus"), given.pop("tune_plot")
    )
    if not is_wanted:
        if wanted.plot is not None:
            raise click.UsageError("--tune-plot needs --tune")
        return None
    for name in ("output", "errors", "folder", "html"):
        if given[name] is not None:
            raise click.UsageError(f"--tune writes no results: leave out --{name}")
    return wanted
