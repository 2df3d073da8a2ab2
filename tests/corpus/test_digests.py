"""Digests of options and inputs: the changes that they detect, and those that they ignore."""

from __future__ import annotations

import dataclasses
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from ctckit.corpus import Item
from ctckit.corpus.digests import file_digest, inputs_digest, is_current, object_digest, short_digest, size_and_date

pytestmark = pytest.mark.usefixtures("here")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path("a.npy").write_bytes(b"emissions")
    Path("a.wav").write_bytes(b"audio")
    Path("ears.py").write_text("def hear(path): ...\ndef listen(path): ...\n")


def test_the_order_of_keys_does_not_count() -> None:
    first = short_digest({"a": 1, "b": [2, None]})
    assert re.fullmatch("[0-9a-f]{12}", first)
    assert short_digest({"b": [2, None], "a": 1}) == first
    assert short_digest({"a": 1, "b": [None, 2]}) != first


@pytest.mark.parametrize(
    ("then", "now", "expected"),
    [
        ("ab-12", "ab-12", True),
        ("ab-12", "ab-34", False),
        ("ab-12", "cd-12", False),
        ("ab-12", "ab-", True),  # the file is gone
        ("ab-12", "cd-", False),
        ("ab-", "ab-12", False),  # the file is new
        ("ab-", "ab-", True),
        ("", "ab-", False),
    ],
)
def test_whether_a_result_is_current(then: str, now: str, expected: bool) -> None:
    assert is_current(then, now) is expected


def _other_content(path: str) -> None:
    date = Path(path).stat().st_mtime_ns
    Path(path).write_bytes(Path(path).read_bytes() + b"more")
    os.utime(path, ns=(date, date))


def test_an_item_with_emissions() -> None:
    """Its audio, its line and the model do not count, nor does the spelling of its path."""
    item = Item("a", 1, emissions="a.npy", text="hi", frame_duration=0.02)
    now = inputs_digest(item, None)
    assert re.fullmatch("[0-9a-f]{12}-[0-9a-f]{12}", now)
    for same in ({"id": "b"}, {"line": 2}, {"audio": "a.wav"}, {"emissions": str(Path("a.npy").absolute())}):
        values: dict[str, Any] = same
        assert inputs_digest(dataclasses.replace(item, **values), "ears:hear") == now
    others: list[dict[str, Any]] = [
        {"text": "ho"}, {"text": None}, {"tokens": ("h", "i")}, {"tokens": ()}, {"frame_duration": 0.01},
        {"frame_duration": None}, {"offset": 1.0}, {"emissions": "b.npy"}, {"emissions": "a.npy[x]"},
    ]  # fmt: skip
    found = {now} | {inputs_digest(dataclasses.replace(item, **other), None) for other in others}
    assert len(found) == 1 + len(others)
    tokens = dataclasses.replace(item, tokens=(1,))  # tokens override the text
    assert inputs_digest(tokens, None) == inputs_digest(dataclasses.replace(tokens, text="ho"), None)
    _other_content("a.npy")
    assert inputs_digest(item, None).partition("-")[::2] == (
        now.partition("-")[0],
        short_digest(size_and_date("a.npy")),
    )
    assert inputs_digest(item, None) != now
    Path("a.npy").unlink()
    assert inputs_digest(item, None) == now.partition("-")[0] + "-"


def test_an_item_with_audio() -> None:
    """Path, size and date of the audio count, and the model and its source."""
    item = Item("a", 1, audio="a.wav", tokens=(1,))
    Path("b.wav").write_bytes(b"audio")
    os.utime("b.wav", ns=(0, Path("a.wav").stat().st_mtime_ns))
    now = inputs_digest(item, "ears:hear")
    assert inputs_digest(dataclasses.replace(item, audio=str(Path("a.wav").absolute())), "ears:hear") == now
    found = {now, inputs_digest(dataclasses.replace(item, audio="b.wav"), "ears:hear")}
    found |= {inputs_digest(item, model) for model in (None, "ears:listen", "math:sqrt")}
    _other_content("a.wav")
    found.add(inputs_digest(item, "ears:hear"))
    Path("ears.py").write_text("def hear(path): return 1\n")
    found.add(inputs_digest(item, "ears:hear"))
    assert len(found) == 7


def test_paths_that_are_not_files_have_no_digest() -> None:
    Path("folder").mkdir()
    for name in ("nowhere", "folder", "a\0b", "a" * 300):
        assert size_and_date(name) is None
        assert file_digest(name) is None
    if sys.platform == "linux":
        os.mkfifo("pipe")
        assert file_digest("pipe") is None  # and it does not wait for a writer
        assert file_digest("/proc/self/mem") is None  # a file that cannot be read
    assert object_digest("math:sqrt") is None


def test_the_digest_of_a_file_is_that_of_its_content() -> None:
    Path("copy.py").write_bytes(Path("ears.py").read_bytes())
    first = file_digest("ears.py")
    assert first == file_digest(Path("copy.py")) == object_digest("ears:hear") == object_digest("ears:listen")
    assert first != file_digest("a.npy")
    _other_content("ears.py")
    assert file_digest("ears.py") != first
