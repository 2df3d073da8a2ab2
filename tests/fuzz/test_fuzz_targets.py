"""The fuzz targets of the Python code on their kept inputs, without the fuzzer."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from tests.fuzz import fuzz_python

KEPT = [path for name in fuzz_python.TARGETS for path in sorted((Path(__file__).parent / "corpus" / name).iterdir())]


@pytest.mark.parametrize("path", KEPT, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_kept_inputs(path: Path) -> None:
    importlib.import_module(f"tests.fuzz.fuzz_{path.parent.name}").one(path.read_bytes())


def test_every_target_has_inputs() -> None:
    assert {path.parent.name for path in KEPT} == set(fuzz_python.TARGETS)
