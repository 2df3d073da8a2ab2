"""`benchmarks/device.sh` without a GPU: its arguments, its time, processes that hang or die, and one real item."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from benchmarks import device, device_process, device_programs
from benchmarks.device_items import Item, Settings, items

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]

# A worker without torch and without a device. The item's name chooses what it does.
WORKER = """
import json, os, subprocess, sys, time

def say(**word):
    print("@" + json.dumps(word), flush=True)

print("not for the parent", flush=True)
for line in sys.stdin:
    name = line.strip()
    say(step="begins", done=2.5)
    if "hangs" in name:
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
        say(step=f"{os.getpid()} {child.pid}")
        say(partial={"so far": 7})
        time.sleep(1000)
    if "talks" in name:
        while True:
            say(partial={"so far": 8})
            time.sleep(0.1)
    if "dies" in name:
        os._exit(3)
    if "breaks" in name:
        say(result={"failed": "the device is broken"}, broken=True)
    else:
        say(result={"ok": True, "process": os.getpid()}, broken=False)
"""


def item(name: str, limit: float = 20, needs: str | None = None) -> Item:
    return Item(name, limit, "none:none", (), needs)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[device.Run]:
    """A run of two minutes, whose worker is `WORKER`."""
    monkeypatch.setattr(device_process, "worker_command", lambda *_: [sys.executable, "-c", WORKER])
    monkeypatch.setattr(device, "LEAST", 0.5)
    made = device.Run(Settings(tmp_path, False, time.monotonic() + 120))
    yield made
    made.end_worker()


def is_alive(process: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def test_a_worker_that_hangs_is_ended_and_noted(run: device.Run, capsys: pytest.CaptureFixture[str]) -> None:
    for one in (item("good"), item("hangs", 1), item("needs it", needs="hangs"), item("next", needs="good")):
        if run.worker is not None:
            run.worker.is_new = False  # a new worker has 30 seconds more, to import torch
        run.do(one)
    found = run.results
    assert found["good"]["ok"]
    assert found["good"]["seconds of steps"] == {"begins": 2.5}
    assert found["hangs"]["failed"] == "hangs: no word within 1 s"
    assert found["hangs"]["ok"] is False
    assert found["hangs"]["so far"] == 7
    for process in map(int, found["hangs"]["steps"][-1]["step"].split()):
        assert not is_alive(process)
    assert found["needs it"]["left out"] == "'hangs' has not succeeded"
    assert found["next"]["ok"]
    assert found["next"]["process"] != found["good"]["process"]
    assert json.loads((run.settings.out / "device.json").read_text()) == found
    lines = (run.settings.out / "device.jsonl").read_text().splitlines()
    assert [json.loads(line)["item"] for line in lines] == list(found)
    shown = capsys.readouterr().out
    assert "not for the parent" in shown
    assert "hangs: no word within 1 s" in shown
    assert [line.split(": ")[1].split()[0] for line in run.summary()] == ["ok", "FAILED", "left", "ok"]


def test_a_smoke_item_that_hangs_has_a_second_longer_try(run: device.Run, capsys: pytest.CaptureFixture[str]) -> None:
    run.do(item("good"))
    start = time.monotonic()
    run.settings = run.settings._replace(end=start + 100)
    for name in ("smoke: hangs", "hangs"):
        run.worker = run.worker or device_process.Worker(run.settings)
        run.worker.is_new = False
        run.do(item(name, 0.6))
        assert run.results[name]["failed"].startswith("hangs")
    assert "smoke: hangs, first try" in capsys.readouterr().out


@pytest.mark.parametrize(("name", "reason"), [("dies", "its process ended with 3"), ("breaks", "the device is broken")])
def test_a_worker_that_dies_or_breaks_is_replaced(run: device.Run, name: str, reason: str) -> None:
    for one in (item("good"), item(name), item("next")):
        run.do(one)
    assert run.results[name]["failed"] == reason
    assert run.results["next"]["process"] != run.results["good"]["process"]


@pytest.mark.parametrize("name", ["hangs", "talks"])
def test_nothing_begins_or_goes_on_beyond_the_time(run: device.Run, name: str) -> None:
    run.do(item("good"))
    run.settings = run.settings._replace(end=time.monotonic() + 1.5)
    start = time.monotonic()
    run.do(item(name, 50))
    assert time.monotonic() - start < 15
    assert run.results[name]["left out"] == "no time is left"
    assert run.results[name]["so far"] in (7, 8)
    assert "ok" not in run.results[name]
    run.do(item("next"))
    assert run.results["next"]["left out"] == "no time is left"


def test_a_program_that_hangs_is_ended(tmp_path: Path) -> None:
    settings = Settings(tmp_path, False, time.monotonic() + 60)
    code = "import os, time; print(os.getpid(), flush=True); time.sleep(1000)"
    status, text = device_process.run_program(settings, [sys.executable, "-c", code], 3)
    assert status == "ended after 3 s"
    assert not is_alive(int(text))
    assert device_process.run_program(settings, [sys.executable, "-c", "print(5)"], 60) == (0, "5\n")


def test_what_an_outside_item_raises_is_its_result(run: device.Run) -> None:
    run.do(item("no such module")._replace(outside=True))
    assert run.results["no such module"]["failed"].startswith("ModuleNotFoundError")
    assert run.results["no such module"]["ok"] is False


def test_what_pytest_says_begins_with_its_last_line() -> None:
    text = """\
_____ test_of_sums _____
>       assert 2 == 3
E       assert 2 == 3

a.py:7: AssertionError
===== short test summary info =====
SKIPPED [1] a.py:9: needs a GPU
FAILED a.py::test_of_sums
ERROR b.py::test_of_files
1 failed, 5 passed, 1 skipped, 1 error in 0.1s
"""
    assert device_programs.in_short(text) == [
        "1 failed, 5 passed, 1 skipped, 1 error in 0.1s",
        "FAILED a.py::test_of_sums",
        "ERROR b.py::test_of_files",
        "E       assert 2 == 3",
    ]
    assert device_programs.in_short("") == []


@pytest.mark.parametrize("dry", [True, False])
def test_every_item_has_its_function_and_a_name_of_its_own(dry: bool) -> None:
    pytest.importorskip("triton", reason="Triton is not installed")
    importlib.import_module("tests.tools.triton_setup")  # turns the interpreter on, before anything imports the kernels
    listed = items(dry=dry)
    names = [one.name for one in listed]
    assert len(set(names)) == len(names)
    for i, one in enumerate(listed):
        assert one.needs is None or one.needs in names[:i]
        module, _, name = one.function.partition(":")
        assert callable(getattr(importlib.import_module(f"benchmarks.{module}"), name))
    assert "rows" not in names
    assert sum(name.startswith("row: ") for name in names) == (4 if dry else 10)


def shell(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in ("OUT", "PYTHONPATH")}
    return subprocess.run(  # noqa: S603
        ["bash", str(ROOT / "benchmarks" / "device.sh"), *arguments],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        env={**environment, "PYTHON": sys.executable, **more},
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["soon"], "'soon' is no number of seconds"),
        (["0"], "'0' is no number of seconds"),
        (["1.5"], "'1.5' is no number of seconds"),
        (["100", "--only", "nothing like it"], "no item's name holds 'nothing like it'; there are machine, smoke: one"),
        (["100", "--wet"], "unrecognized arguments: --wet"),
    ],
)
def test_wrong_arguments_are_an_error_of_usage(arguments: list[str], message: str) -> None:
    done = shell(*arguments)
    assert done.returncode == 2
    assert message in done.stderr


def test_one_item_in_the_interpreter(tmp_path: Path) -> None:
    """From another folder, with nothing but the checkout, as on a machine with a GPU."""
    pytest.importorskip("triton", reason="Triton is not installed")
    out = tmp_path / "made" / "out"
    done = shell("300", "--dry", "--only", "smoke: one", OUT=str(out))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"results go to {out}" in done.stdout
    found: dict[str, Any] = json.loads((out / "device.json").read_text())
    assert set(found) == {"smoke: one chunk"}
    assert found["smoke: one chunk"]["ok"]
    assert found["smoke: one chunk"]["gradient"] < 1e-6
    assert "smoke: one chunk: ok" in done.stdout


def test_without_a_folder_it_makes_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("OUT", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(device, "items", lambda dry: [item(f"dry: {dry}")])
    monkeypatch.setattr(device_process, "worker_command", lambda *_: [sys.executable, "-c", WORKER])
    assert device.main(["60", "--dry"]) == 0
    (folder,) = tmp_path.glob("ctckit-device-*")
    assert f"results go to {folder.resolve()}" in capsys.readouterr().out
    assert json.loads((folder / "device.json").read_text())["dry: True"]["ok"]
