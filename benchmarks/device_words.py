"""What the items of `benchmarks.device` share: where their tensors are, and what they say to the parent."""

from __future__ import annotations

import json
from typing import Any

import torch

from benchmarks.device_items import Settings


def say(**word: Any) -> None:
    """Send one line to the parent."""
    print("@" + json.dumps(word), flush=True)


def device(settings: Settings) -> str:
    """Where tensors are."""
    return "cpu" if settings.dry else "cuda"


def synchronize(settings: Settings) -> None:
    """Let the device finish."""
    if not settings.dry:
        torch.cuda.synchronize()
