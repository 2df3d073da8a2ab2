"""The tasks that the tests of this folder run, and what they say of a fault."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ctckit import corpus

_MANIFEST = Path("corpus", "items.jsonl")  # the fixture `manifest`


def task(manifest: Path = _MANIFEST, **options: Any) -> corpus.AlignTask:
    return corpus.AlignTask(vocabulary=str(manifest.parent / "vocab.json"), frame_duration=0.02, **options)


def loss_task(manifest: Path = _MANIFEST, **options: Any) -> corpus.LossTask:
    return corpus.LossTask(vocabulary=str(manifest.parent / "vocab.json"), **options)


def fault_of(outcome: corpus.Outcome) -> tuple[str, str]:
    """The kind and the message of a fault."""
    assert outcome.fault is not None
    assert outcome.result is None
    return outcome.fault.kind, outcome.fault.message
