"""Small corpora on disk: emissions that spell known texts, and their manifests."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

TOKENS = ["<pad>", "|", *"abcdefghijklmnopqrstuvwxyz"]
TEXTS = ("cab", "a bad cab", "dad", "egg and ham", "feed me", "bee", "hello world", "see")


def log_probs(text: str, seed: int, frames: int = 40) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Noise, with two clear frames for each character, each different from its neighbours."""
    x = np.random.default_rng(seed).normal(size=(frames, len(TOKENS)))
    path = np.zeros(frames, dtype=np.int64)
    for position, character in enumerate(text.replace(" ", "|")):
        path[3 * position + 1 : 3 * position + 3] = TOKENS.index(character)
    x[np.arange(frames), path] += 8
    result: np.ndarray[Any, np.dtype[np.float32]] = (x - np.log(np.exp(x).sum(1, keepdims=True))).astype(np.float32)
    return result


def write_corpus(folder: Path, count: int = 8) -> Path:
    """Write emissions, ``vocab.json`` and ``items.jsonl``; return the path of ``items.jsonl``."""
    folder.mkdir(exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({token: number for number, token in enumerate(TOKENS)}))
    lines = []
    for index in range(count):
        text = TEXTS[index % len(TEXTS)]
        np.save(folder / f"{index}.npy", log_probs(text, index))
        lines.append({"id": f"item {index}", "emissions": f"{index}.npy", "text": text})
    return write_manifest(folder / "items.jsonl", lines)


def write_manifest(path: Path, lines: list[Any]) -> Path:
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def change_line(manifest: Path, index: int, **fields: Any) -> None:
    """Set fields of one item of a manifest."""
    lines = read_lines(manifest)
    lines[index].update(fields)
    write_manifest(manifest, lines)


def read_texts(path: str) -> dict[str, str]:
    """The text of each item of a results file. Fails if an item is there twice, or a line is truncated."""
    lines = Path(path).read_bytes().splitlines(keepends=True)
    assert all(line.endswith(b"\n") for line in lines)
    entries = [json.loads(line) for line in lines]
    assert len({entry["id"] for entry in entries}) == len(entries), "an item is there twice"
    return {entry["id"]: entry["text"] for entry in entries}


def snapshot() -> dict[str, bytes]:
    """The content of each file below the current folder."""
    return {str(path): path.read_bytes() for path in Path().rglob("*") if path.is_file()}


def environment() -> dict[str, str]:
    """The environment for a Python process in which ``ctckit`` and ``tests`` can be imported."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])}


def is_running(pid: int) -> bool:
    """Whether a process exists and is not a zombie."""
    try:
        os.kill(pid, 0)
        stat = Path(f"/proc/{pid}/stat")
        return not stat.exists() or stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
