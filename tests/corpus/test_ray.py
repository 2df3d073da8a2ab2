"""Ray Data on a local cluster: the same results as one process, none lost when workers die."""

from __future__ import annotations

import importlib.util
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tools import corpora

for needed in ("ray", "pyarrow", "pandas", "click", "rich"):
    if importlib.util.find_spec(needed) is None:  # importing Ray is slow, and only other processes need it
        pytest.skip(f"{needed} is not installed", allow_module_level=True)

MODEL = """
import os, pathlib, signal, time, torch
from tests.tools import corpora
def hear(path):
    folder = pathlib.Path(path).parent  # Ray processes have another current folder
    with open(folder / "pids", "a") as file:
        file.write(f"{os.getpid()}\\n")
    seed = int(pathlib.Path(path).stem)
    if seed == 5 and (folder / "poison").exists():
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.1)
    return torch.from_numpy(corpora.log_probs(corpora.TEXTS[seed % 8], seed))
"""

ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *sys.path]),
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "token",  # for the cluster of this test
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
}
ALIGN = (sys.executable, "-m", "ctckit.cli", "align", "corpus/items.jsonl", "--vocab", "corpus/vocab.json")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    corpora.write_corpus(tmp_path / "corpus", 40)
    (tmp_path / "listening.py").write_text(MODEL)
    lines = corpora.read_lines(tmp_path / "corpus" / "items.jsonl")
    for index, line in enumerate(lines):
        (tmp_path / f"{index}.wav").touch()
        line["audio"] = f"../{index}.wav"
        del line["emissions"]
    lines[7]["audio"] = "nowhere.wav"
    corpora.write_manifest(tmp_path / "corpus" / "audio.jsonl", lines)
    return tmp_path


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a Ray cluster on this machine with two processors, in its own process."""
    code = (
        "import sys, ray\n"
        "context = ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level='ERROR')\n"
        "print('address', context.address_info['address'], flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(  # noqa: S603  # our own code
        [sys.executable, "-c", code], env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as head:
        assert head.stdout is not None
        address = next(line.split()[1] for line in head.stdout if line.startswith("address"))
        yield address
        head.communicate()  # it ends when its input is closed


def align(folder: Path, *options: str) -> tuple[int, str]:
    done = subprocess.run(  # noqa: S603  # our own code
        [*ALIGN, *options], cwd=folder, env=ENVIRONMENT, check=False, capture_output=True, text=True
    )
    return done.returncode, done.stderr


def test_the_same_as_one_process(folder: Path, cluster: str) -> None:
    assert align(folder, "-o", "one.jsonl")[0] == 0
    code, message = align(folder, "-o", "ray.jsonl", "--ray-address", cluster)
    assert (code, message.splitlines()[-1].split(" in ")[0]) == (0, "aligned 40 items")
    assert (folder / "ray.jsonl").read_bytes() == (folder / "one.jsonl").read_bytes()


def test_decoding_is_the_same_as_in_one_process(folder: Path, cluster: str) -> None:
    pytest.importorskip("rapidfuzz")
    command = [*ALIGN[:3], "decode", *ALIGN[4:], "--beam", "4:32", "--nbest", "2", "--alignment"]
    for options in (("-o", "one.jsonl"), ("-o", "ray.jsonl", "--ray-address", cluster)):
        done = subprocess.run(  # noqa: S603  # our own code
            [*command, *options], cwd=folder, env=ENVIRONMENT, check=False, capture_output=True, text=True
        )
        assert (done.returncode, "40 items with a text" in done.stderr) == (0, True), done.stderr
    assert (folder / "ray.jsonl").read_bytes() == (folder / "one.jsonl").read_bytes()


def test_a_worker_that_is_killed_loses_nothing(folder: Path, cluster: str) -> None:
    """One worker is killed from outside by its process id; one item kills every worker that takes it."""
    assert align(folder, "-o", "one.jsonl")[0] == 0
    (folder / "poison").touch()
    (folder / "corpus" / "audio.jsonl").replace(folder / "corpus" / "items.jsonl")
    command = [*ALIGN, "-o", "ray.jsonl", "--ray-address", cluster, "--model", "listening:hear"]
    with subprocess.Popen(  # noqa: S603  # our own code
        command, cwd=folder, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True
    ) as run:
        pids = folder / "pids"
        end = time.monotonic() + 60
        while not (pids.exists() and pids.read_text().count("\n") >= 12):
            assert time.monotonic() < end
            time.sleep(0.02)
        for pid in dict.fromkeys(reversed(pids.read_text().split())):
            try:
                os.kill(int(pid), signal.SIGKILL)
            except ProcessLookupError:
                continue
            break
        else:
            pytest.fail("there was no worker to kill")
        _, message = run.communicate(timeout=120)
    assert run.returncode == 1, message
    faults = corpora.read_lines(folder / "ray.errors.jsonl")
    assert [(fault["id"], fault["kind"]) for fault in faults] == [("item 5", "worker"), ("item 7", "missing")]
    results = {entry["id"]: entry["words"] for entry in corpora.read_lines(folder / "ray.jsonl")}
    expected = {entry["id"]: entry["words"] for entry in corpora.read_lines(folder / "one.jsonl")}
    del expected["item 5"], expected["item 7"]
    assert results == expected
    assert list(results) == list(expected)


def test_bad_lines_are_faults(folder: Path, cluster: str) -> None:
    lines = corpora.read_lines(folder / "corpus" / "items.jsonl")[:6]
    lines[1]["id"], lines[2]["text"], lines[3]["frame_duration"] = "\ud800", "\udfff", 1e308
    bad = ["[" * 100_000, '{"id": "x", "emissions": "0.npy", "offset": 1e999}']
    corpora.write_manifest(folder / "corpus" / "items.jsonl", [*lines, *bad])
    assert align(folder, "-o", "one.jsonl")[0] == 1
    code, message = align(folder, "-o", "ray.jsonl", "--ray-address", cluster)
    assert (code, "aligned 3 items" in message, "Traceback" in message) == (1, True, False)
    for name in ("jsonl", "errors.jsonl"):
        assert (folder / f"ray.{name}").read_bytes() == (folder / f"one.{name}").read_bytes()


def test_a_changed_item_is_done_again(folder: Path, cluster: str) -> None:
    assert align(folder, "-o", "ray.jsonl", "--ray-address", cluster)[0] == 0
    lines = corpora.read_lines(folder / "corpus" / "items.jsonl")
    lines[17]["text"] = "dad"
    corpora.write_manifest(folder / "corpus" / "items.jsonl", lines)
    code, message = align(folder, "-o", "ray.jsonl", "--ray-address", cluster)
    assert (code, "1 redone because their inputs changed; 39 done before" in message) == (0, True)
    assert align(folder, "-o", "one.jsonl")[0] == 0
    assert (folder / "ray.jsonl").read_bytes() == (folder / "one.jsonl").read_bytes()


def test_mistakes(folder: Path, cluster: str) -> None:
    code, message = align(folder, "--ray-address", cluster, "--vocab", "nowhere.json")
    assert (code, "nowhere.json" in message) == (2, True), message
    assert "Traceback" not in message
