"""Alignments and a recording to show on a page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

HOSTILE = "</script><script>document.title='broken'</script><b>&amp;'\"\u2028"


def alignment(*words: str, duration: float | None = 0.02, confidence: float | None = 0.9) -> dict[str, Any]:
    """One word every 50 frames, 40 frames long, the first from frame 25."""
    rows, tokens = [], []
    for index, word in enumerate(words):
        start, end = 50 * index + 25, 50 * index + 65
        span = {"start": start, "end": end, "score": -0.1, "confidence": confidence}
        rows.append({"text": word, "tokens": [index, index + 1], **span})
        tokens.append({"text": word, "id": 1, **span})
    return {
        "text": " ".join(words), "words": rows, "tokens": tokens, "frames": 50 * len(words) + 50,
        "frame_duration": duration, "offset": 0.0, "score": -1.0,
    }  # fmt: skip


def tone(path: Path, seconds: float = 4.0) -> Path:
    pytest.importorskip("rich")
    import numpy as np

    from ctckit.cli.demo import write_wav

    write_wav(path, 0.3 * np.sin(np.arange(int(16_000 * seconds)) * 0.2))
    return path
