"""The command line on disks that fail or are full: no result is lost, doubled or truncated."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ctckit.cli import main
from tests.tools import corpora

for needed in ("click", "rich", "jinja2"):
    pytest.importorskip(needed)

from tests.tools import disk_faults  # noqa: E402  # needs them

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="calls are replaced, and disks made, as on Linux")

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = next(filter(None, map(shutil.which, (os.environ.get("CXX", "c++"), "g++", "clang++"))), None)
    if compiler is None:
        pytest.skip("there is no C++ compiler")
    path = tmp_path_factory.mktemp("library") / "disk_faults.so"
    source = ROOT / "tests" / "tools" / "disk_faults.cpp"
    options = ("-std=c++20", "-O1", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-shared", "-fPIC")
    subprocess.run([compiler, *options, source, "-o", path, "-ldl"], check=True)  # noqa: S603  # our own code
    return path


@pytest.mark.parametrize("scenario", ["fresh", "resumed", "overwritten"])
def test_a_fault_at_every_call(library: Path, tmp_path: Path, scenario: str) -> None:
    environment = {
        **os.environ,
        "LD_PRELOAD": str(library),
        "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),
    }
    run = subprocess.run(  # noqa: S603  # our own code
        [sys.executable, "-m", "tests.tools.disk_faults", scenario, tmp_path],
        env=environment, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert (run.stdout, run.returncode) == ("", 0), run.stdout + run.stderr


RESULTS, FAULTS = "out/words.jsonl", "out/words.errors.jsonl"
BEFORE = {"corpus/a.npy": b"1", "page.html": b"old", RESULTS: b'{"id": "a", "at": 1}\n'}
GOOD = {"corpus/a.npy": b"1", "page.html": b"new", RESULTS: b'{"id": "a", "at": 1}\n{"id": "b", "at": 2}\n'}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, None),
        ({"page.html": b"new"}, None),
        ({"files/.a.json.partial": b"x"}, None),
        ({"corpus/a.npy": b"2"}, "corpus/a.npy is not as it was"),
        ({"page.html": b"ne"}, "page.html is neither the old file nor the new one"),
        ({"page.html": None}, "page.html is lost"),
        ({"files/a.json": b"{"}, "files/a.json is there"),
        ({RESULTS: b""}, "results are lost"),
        ({RESULTS: GOOD[RESULTS] * 2}, "items have more than one result"),
        ({RESULTS: BEFORE[RESULTS] + b'{"id": "b", "at": 3}\n'}, "neither an old one nor a new one"),
        ({RESULTS: BEFORE[RESULTS] + b'{"id": "b"\n'}, "a line of the results is broken"),
    ],
    ids=str,
)
def test_damage_is_noticed(change: dict[str, bytes | None], expected: str | None) -> None:
    after = {name: content for name, content in {**BEFORE, **change}.items() if content is not None}
    found = list(disk_faults.damage(BEFORE, after, GOOD, keeps=True))
    assert any(expected in text for text in found) if expected else not found


@pytest.mark.parametrize(
    ("code", "log", "change", "expected"),
    [
        (2, "Error: no space", {}, None),
        (1, "", {"page.html": b"new", RESULTS: GOOD[RESULTS]}, None),
        (1, "", {}, "it says nothing of what is missing"),
        (2, "Traceback (most recent call last)", {}, "a traceback"),
        (3, "", {}, "its exit status is 3"),
        (2, "", {"files/.a.json.partial": b"x"}, "is left"),
        (2, "", {RESULTS: BEFORE[RESULTS] + b'{"id"'}, "a truncated line"),
    ],
)
def test_errors_are_judged(code: int, log: str, change: dict[str, bytes], expected: str | None) -> None:
    run = disk_faults.Run(code, log, 0)
    found = list(disk_faults.after_an_error(run, BEFORE, {**BEFORE, **change}, GOOD))
    assert any(expected in text for text in found) if expected else not found


def test_another_run_is_judged() -> None:
    run = disk_faults.Run(1, "", 0)
    swapped = b"".join(reversed(GOOD[RESULTS].splitlines(keepends=True)))
    assert not list(disk_faults.after_another_run(run, {**GOOD, RESULTS: swapped}, GOOD))
    for wrong in ({RESULTS: BEFORE[RESULTS]}, {"page.html": b"old"}, {"files/.a.json.partial": b"x"}):
        assert list(disk_faults.after_another_run(run, {**GOOD, **wrong}, GOOD))
    assert list(disk_faults.after_another_run(run._replace(code=2), GOOD, GOOD))


# -------------------------------------------------------------------------------------------------- a disk that is full


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB in memory."""
    folder = tmp_path / "disk"
    folder.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", 0, b"size=64k") != 0:
        pytest.skip(f"no file system can be mounted here: {os.strerror(ctypes.get_errno())}")
    try:
        yield folder
    finally:
        libc.umount2(os.fsencode(folder), 2)  # MNT_DETACH: once no file on it is open


@pytest.mark.parametrize("options", [(), ("--html", "page.html"), ("--format", "json", "--folder", "files")], ids=str)
def test_a_full_disk(
    small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...],
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """The disk has room for some of 40 results. With more room, the same command does the rest."""
    manifest = str(corpora.write_corpus(tmp_path / "corpus", 40))
    options = ("--vocab", str(tmp_path / "corpus" / "vocab.json"), "-q", "--frame-duration", "0.02", *options)
    command = ["align", manifest, "-o", "words.jsonl", *options]
    roomy = tmp_path / "roomy"
    roomy.mkdir()
    monkeypatch.chdir(roomy)
    assert main(command) == 0

    monkeypatch.chdir(small_disk)
    filler = Path("filler")
    filler.write_bytes(bytes(28 * 1024))
    capfd.readouterr()
    assert main(command) == 2
    message = capfd.readouterr().err
    assert "No space left on device" in message
    assert "Traceback" not in message
    lines = Path("words.jsonl").read_bytes().splitlines(keepends=True)
    assert 0 < len(lines) < 40
    complete = (roomy / "words.jsonl").read_bytes().splitlines(keepends=True)
    assert lines == complete[: len(lines)]
    for path in small_disk.rglob("*"):
        if path.is_file() and path != small_disk / filler and path.name != "words.jsonl":
            assert path.read_bytes() == (roomy / path.relative_to(small_disk)).read_bytes(), path

    filler.unlink()
    remount = ctypes.CDLL(None).mount
    assert remount(b"tmpfs", os.fsencode(small_disk), b"tmpfs", 32, b"size=4m") == 0  # MS_REMOUNT
    assert main(command) == 0
    for folder, other in ((roomy, small_disk), (small_disk, roomy)):
        for path in folder.rglob("*"):
            if path.is_file():
                assert path.read_bytes() == (other / path.relative_to(folder)).read_bytes(), path
    monkeypatch.chdir(tmp_path)
