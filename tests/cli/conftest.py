"""Fixtures of the tests of the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tools import corpora


@pytest.fixture
def manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A manifest of 8 items, ``corpus/items.jsonl``, below the current folder, which is empty otherwise."""
    monkeypatch.chdir(tmp_path)
    return corpora.write_corpus(tmp_path / "corpus").relative_to(tmp_path)
