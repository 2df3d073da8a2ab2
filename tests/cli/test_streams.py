"""The command line and the standard streams: no encoding, and no closed or full stream, ends a run."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tools import command_line, corpora

for needed in ("click", "rich", "jinja2"):
    pytest.importorskip(needed)
unix = pytest.mark.skipif(sys.platform == "win32", reason="links, descriptors")
pytestmark = pytest.mark.usefixtures("manifest")


ODD = {"id": "日本 \x1b[2J\t\n", "emissions": "0.npy", "text": "cab"}


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
@pytest.mark.parametrize("command", ["align", "loss", "check"])
def test_any_encoding(manifest: Path, encoding: str, command: str) -> None:
    corpora.write_manifest(manifest, [ODD, {**ODD, "id": "gone 日", "emissions": "no.npy"}])
    done = command_line.run_alone(command, str(manifest), *command_line.VOCAB, env={"PYTHONIOENCODING": encoding})
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr
    if command == "align":
        out = done.stdout.decode(encoding)
        assert json.loads(out)["id"] == ODD["id"]
    elif command == "loss":
        header, row = done.stdout.decode(encoding).splitlines()
        assert len(row.split("\t")) == len(header.split("\t"))
        assert "\x1b" not in row
    else:
        (row,) = done.stdout.decode(encoding).splitlines()
        assert row.split("\t")[1:3] == ["2", "missing"]


@pytest.mark.parametrize("locale", ["C", "POSIX"])
def test_a_locale_without_characters(manifest: Path, locale: str) -> None:
    corpora.write_manifest(manifest, [ODD])
    environment = {"LC_ALL": locale, "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    done = command_line.run_alone("align", str(manifest), *command_line.VOCAB, env=environment)
    assert (done.returncode, json.loads(done.stdout)["id"]) == (0, ODD["id"])


@unix
@pytest.mark.parametrize("closed", [(1,), (2,), (0, 1, 2)], ids=str)
@pytest.mark.parametrize("options", [(), ("-o", "o.jsonl", "--workers", "2")], ids=" ".join)
def test_closed_streams(closed: tuple[int, ...], options: tuple[str, ...]) -> None:
    """No file gets the descriptor of a closed stream, so no message is printed into the results."""
    close = " ".join({0: "<&-", 1: ">&-", 2: "2>&-"}[number] for number in closed)
    command = [sys.executable, "-m", "ctckit", "align", "corpus/items.jsonl", *command_line.VOCAB, *options]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(  # noqa: S602  # our own code
        f"{shlex.join(command)} {close}", shell=True, check=False, env=environment, capture_output=True
    )
    assert done.returncode == 0
    assert b"Traceback" not in done.stderr
    if options:
        assert [entry["id"] for entry in corpora.read_lines(Path("o.jsonl"))] == [f"item {k}" for k in range(8)]


@unix
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_full_streams() -> None:
    with Path("/dev/full").open("wb") as full:
        done = command_line.run_alone("align", "corpus/items.jsonl", *command_line.VOCAB, "-o", "o.jsonl", stderr=full)
        assert done.returncode == 0
        done = command_line.run_alone("align", "corpus/items.jsonl", *command_line.VOCAB, stdout=full)
        assert done.returncode == 2
        assert done.stderr == b"Error: [Errno 28] No space left on device\n"
    assert len(corpora.read_lines(Path("o.jsonl"))) == 8


def test_python_m() -> None:
    done = command_line.run_alone("check", "corpus/items.jsonl", *command_line.VOCAB)
    assert (done.returncode, done.stderr.split(b" (")[0]) == (0, b"8 good items, 0 bad")
    assert command_line.run_alone("check", "nowhere.jsonl").returncode == 2
    assert command_line.run_alone("--help").stdout.startswith(b"Usage: ctckit")
    report = command_line.run_alone()
    assert report.returncode == 0
    assert report.stdout.startswith(b"ctckit ")
    assert b"torch" in report.stdout
