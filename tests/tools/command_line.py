"""The command line on the corpus of `corpora.write_corpus` in the folder ``corpus``."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

from ctckit.cli import main

VOCAB = ("--vocab", "corpus/vocab.json")


def align(*options: str) -> int:
    """Run ``ctckit align`` in this process, quietly; return the exit code."""
    return main(["align", "corpus/items.jsonl", *VOCAB, "--frame-duration", "0.02", "-q", *options])


def run_alone(*arguments: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    """Run ``python -m ctckit`` in its own process, with options of subprocess.run; `env` adds variables."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **options.pop("env", {})}
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.run(  # noqa: S603  # our own code
        [sys.executable, "-m", "ctckit", *arguments], check=False, env=environment, **options
    )
