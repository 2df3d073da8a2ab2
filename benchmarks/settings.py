"""What a run measures: the choices of the command line."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.cases import CASES, Case
from benchmarks.decoding_calls import DECODERS
from benchmarks.peer_calls import PEERS as LOSSES_AND_ALIGNERS
from benchmarks.timing import Effort
from benchmarks.word_decoding_calls import DECODERS as DECODERS_OF_WORDS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


PEERS = {name: module for name, (_, module) in LOSSES_AND_ALIGNERS.items()}  # and the module that each needs
PEERS |= {name: module for name, (_, module, _) in (DECODERS | DECODERS_OF_WORDS).items()}
PEERS["kenlm"] = "kenlm"
Row = dict[str, Any]  # one measurement, as it stands in the results


class Settings(NamedTuple):
    """The choices, with peers as names and the interpreters that run them."""

    cases: Sequence[str]
    threads: Sequence[int]  # the first is the main one
    peers: Mapping[str, str]
    quick: bool = False
    ten_hours: bool = False

    @classmethod
    def of(cls, options: argparse.Namespace) -> Settings:
        """Read the settings from the parsed command line."""
        return cls(**{name: getattr(options, name) for name in cls._fields} | {"peers": parse_peers(options.peers)})

    def among(self, known: Mapping[str, Case]) -> list[Case]:
        """The cases of a question that were chosen."""
        return [case for name, case in known.items() if name in self.cases]

    def effort(self, seconds: float, least: int, most: int = 200) -> Effort:
        """So much, or one round in a quick run."""
        return Effort(0.0, 1) if self.quick else Effort(seconds, least, most)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that make the settings."""
    add, names = parser.add_argument, [*CASES]
    add("--quick", action="store_true", help="one round of each: does everything run?")
    add("--cases", nargs="+", choices=names, default=names, metavar="CASE", help=f"of: {', '.join(names)}")
    add("--threads", nargs="+", type=int, default=[1, 2], help="the first is the main one")
    peers_help = f"'auto' (those installed here), 'none', or NAME or NAME=/path/to/python, of: {', '.join(PEERS)}"
    add("--peers", nargs="+", default=["auto"], metavar="PEER", help=peers_help)
    add("--ten-hours", action="store_true", help="also align ten hours of audio in one piece: minutes")


def parse_peers(arguments: Sequence[str]) -> dict[str, str]:
    """Turn `optax k2=/path/python` into names and interpreters; `auto` and `none` are words."""
    chosen: dict[str, str] = {}
    for argument in arguments:
        name, _, python = argument.partition("=")
        if name == "auto":
            chosen |= {peer: sys.executable for peer, module in PEERS.items() if importlib.util.find_spec(module)}
        elif name in PEERS:
            chosen[name] = python or sys.executable
        elif name != "none":
            raise SystemExit(f"unknown peer {name!r}; known: {', '.join(PEERS)}, auto, none")
    return chosen
