"""Runs the command line on a disk that fails at every call in turn, and checks the files that are left.

``python -m tests.tools.disk_faults SCENARIO FOLDER`` with the library of ``disk_faults.cpp`` in LD_PRELOAD prints one
line per problem. For each call that changes a file, separate runs fail there: with an I/O error, with a disk that is
full from there on, and with the end of the process. Then:

- files of the user are unchanged, and results of earlier runs are kept;
- a file under its final name is complete: the old one or the new one;
- no item has two results, and after an error (not a kill) no line is truncated and no temporary file is left;
- the message of an error is no traceback, and a run that reports success has done all items;
- the same command, run again on a good disk, gives exactly the files of a run without faults.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch

import ctckit.cli.app  # imported here, once, instead of in each forked process
import ctckit.page  # noqa: F401
from ctckit.cli import main
from tests.tools import corpora

_COUNT, _FAIL, _FULL, _KILL = range(4)
_KINDS = {
    "I/O error": (_FAIL, errno.EIO),
    "no space": (_FULL, errno.ENOSPC),
    "kill": (_KILL, 0),
}
_RESULTS = Path("out/words.jsonl")
_FAULTS = Path("out/words.errors.jsonl")
_COMMAND = (
    "align", "corpus/items.jsonl", "--vocab", "corpus/vocab.json", "-o", str(_RESULTS), "--format", "json",
    "--folder", "files", "--html", "page.html", "-q", "--frame-duration", "0.02",
)  # fmt: skip
_NORMAL = 1  # the exit status of a run with a bad item


class Scenario(NamedTuple):
    """A command, and the files before it runs."""

    prepare: Callable[[Path], None]
    """Prepares a folder that has the user's files."""
    options: tuple[str, ...] = ()
    keeps: bool = True
    """Whether earlier results stay."""


def user_files(folder: Path) -> None:
    """Write a corpus of three good items and a bad one, and an unrelated file."""
    folder.mkdir()
    corpora.write_corpus(folder / "corpus", 3)
    lines = corpora.read_lines(folder / "corpus" / "items.jsonl")
    lines.insert(1, {"id": "bad", "emissions": "nowhere.npy", "text": "cab"})
    corpora.write_manifest(folder / "corpus" / "items.jsonl", lines)
    for other in ("out", "files"):
        (folder / other).mkdir()
        (folder / other / "precious.txt").write_text("precious")


def an_earlier_run(folder: Path) -> None:
    """Leave the files of a run that was killed after two items, and an old page; one item's text has changed since."""
    manifest = folder / "corpus" / "items.jsonl"
    now = manifest.read_bytes()
    lines = corpora.read_lines(manifest)
    lines[0]["text"] = "dad"
    corpora.write_manifest(manifest, lines)
    _run(folder, (*_COMMAND, "--limit", "3"))
    manifest.write_bytes(now)
    with (folder / _RESULTS).open("ab") as file:
        file.write(b'{"id": "item 2", "opt')


def results_of_other_options(folder: Path) -> None:
    """Leave the results of a run with another frame duration."""
    _run(folder, (*_COMMAND, "--frame-duration", "0.5"))


SCENARIOS = {
    "fresh": Scenario(lambda _: None),
    "resumed": Scenario(an_earlier_run),
    "overwritten": Scenario(results_of_other_options, ("--overwrite",), keeps=False),
}


def _run(folder: Path, command: tuple[str, ...], number: int = 0, kind: tuple[int, int] = (_COUNT, 0)) -> Run:
    """Run the command line in a fork of this process whose disk fails at the given call."""
    log, calls = folder.with_suffix(".log"), folder.with_suffix(".calls")
    calls.unlink(missing_ok=True)
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            os.chdir(folder)
            output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(output, 1)
            os.dup2(output, 2)
            library = ctypes.CDLL(None)
            library.disk_faults_arm(os.fsencode(folder) + b"/", ctypes.c_long(number), *kind)
            code = main(list(command))
            library.disk_faults_count.restype = ctypes.c_long
            calls.write_text(str(library.disk_faults_count()))
            sys.stdout.flush()
            sys.stderr.flush()
        except BaseException:  # noqa: BLE001  # printed; the forked process must exit here
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    return Run(
        os.waitstatus_to_exitcode(status),
        log.read_text(encoding="utf-8", errors="replace"),
        int(calls.read_text()) if calls.exists() else 0,
    )


class Run(NamedTuple):
    code: int
    log: str
    calls: int


def _state(folder: Path) -> dict[str, bytes]:
    """Every file and its content; the content may name the folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes().replace(os.fsencode(folder), b"/folder")
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _whole_lines(content: bytes) -> list[bytes]:
    return [line for line in content.splitlines(keepends=True) if line.endswith(b"\n")]


def _ids(lines: list[bytes]) -> list[str]:
    return [json.loads(line)["id"] for line in lines]


def damage(before: dict[str, bytes], after: dict[str, bytes], good: dict[str, bytes], *, keeps: bool) -> Iterator[str]:
    """The damage that no fault may do."""
    results = str(_RESULTS)
    for name, content in before.items():
        if name not in good and not name.endswith(".partial"):
            yield f"{name} is not there after a good run"
        elif name.startswith("corpus/") or name.endswith("precious.txt"):
            if after.get(name) != content:
                yield f"{name} is not as it was"
        elif name not in after and name not in (results, str(_FAULTS)):
            yield f"{name} is lost"
    for name, content in after.items():
        if name not in good:
            if not (Path(name).name.startswith(".") or name == str(_FAULTS)):  # the next run removes it
                yield f"{name} is there, which no good run leaves"
        elif name not in (results, str(_FAULTS)) and content not in (good[name], before.get(name)):
            yield f"{name} is neither the old file nor the new one"
    lines = _whole_lines(after.get(results, b""))
    try:
        ids = _ids(lines)
    except (ValueError, KeyError):
        yield "a line of the results is broken"
        return
    if len(set(ids)) != len(ids):
        yield f"items have more than one result: {ids}"
    known = {*_whole_lines(good[results]), *_whole_lines(before.get(results, b""))}
    if not known.issuperset(lines):
        yield "a result is neither an old one nor a new one"
    if keeps:
        lost = set(_ids(_whole_lines(before.get(results, b"")))) - set(ids)
        if lost:
            yield f"results are lost: {sorted(lost)}"


def after_an_error(
    run: Run, before: dict[str, bytes], after: dict[str, bytes], good: dict[str, bytes]
) -> Iterator[str]:
    """Problems after an error, as opposed to a kill."""
    if "Traceback" in run.log:
        yield f"it ended with a traceback: {run.log[-1500:]}"
    for name, content in after.items():
        if name.endswith(".partial"):
            yield f"{name} is left"
        if name.endswith(".jsonl") and content and not content.endswith(b"\n") and content != before.get(name):
            yield f"{name} has a truncated line"
    if run.code not in (_NORMAL, 2):
        yield f"its exit status is {run.code}"
    if run.code == _NORMAL and after != good:
        told = after.get(str(_FAULTS), b"") + run.log.encode()
        missing = set(_ids(_whole_lines(good[str(_RESULTS)]))) - set(_ids(_whole_lines(after.get(str(_RESULTS), b""))))
        silent = [item for item in missing if item.encode() not in told]
        if silent or not (missing or run.log):
            yield f"it says nothing of what is missing: {silent or sorted(k for k in good if after.get(k) != good[k])}"


def after_another_run(run: Run, after: dict[str, bytes], good: dict[str, bytes]) -> Iterator[str]:
    if run.code != _NORMAL:
        yield f"run again, it ends with {run.code}: {run.log[-500:]}"
    for name in sorted(after.keys() | good.keys()):
        if name == str(_RESULTS):  # possibly in another order
            if sorted(_whole_lines(after.get(name, b""))) != sorted(_whole_lines(good[name])):
                yield "run again, the results are others"
        elif after.get(name) != good.get(name):
            what = "is left" if name not in good else "is missing" if name not in after else "is another"
            yield f"run again, {name} {what}"


def problems(scenario: Scenario, folder: Path) -> Iterator[str]:
    """Yield the problems, for every call and every kind of fault."""
    command = (*_COMMAND, *scenario.options)
    work, template = folder / "work", folder / "template"  # all runs use one folder, because results depend on paths
    user_files(work)
    shutil.copytree(work, template)
    yield from (f"a good run: {text}" for text in after_another_run(_run(work, command), {}, {}))
    good = _state(work)
    _restore(work, template)
    scenario.prepare(work)
    shutil.rmtree(template)
    shutil.copytree(work, template)
    before = _state(work)
    run = _run(work, command)
    yield from (f"without a fault: {text}" for text in after_another_run(run, _state(work), good))
    if len(_whole_lines(good[str(_RESULTS)])) != 3 or run.calls < 10:
        yield f"the run does too little: {run.calls} calls, {sorted(good)}"
    recovered: set[frozenset[tuple[str, bytes]]] = set()  # states from which another run has been tried
    for kind, fault in _KINDS.items():
        for number in range(1, run.calls + 1):
            _restore(work, template)
            disturbed = _run(work, command, number, fault)
            after = _state(work)
            found = list(damage(before, after, good, keeps=scenario.keeps))
            if kind == "kill":
                if disturbed.code != -9:
                    found.append(f"it was not killed, but ended with {disturbed.code}")
            else:
                found += after_an_error(disturbed, before, after, good)
            left = frozenset((re.sub(r"[0-9a-f]{16}", "", name), content) for name, content in after.items())
            if left not in recovered:
                recovered.add(left)
                found += after_another_run(_run(work, command), _state(work), good)
            yield from (f"{kind} at call {number} of {run.calls}: {text}" for text in found)


def _restore(work: Path, template: Path) -> None:
    shutil.rmtree(work)
    shutil.copytree(template, work)  # dates, too


if __name__ == "__main__":
    torch.set_num_threads(1)
    for problem in problems(SCENARIOS[sys.argv[1]], Path(sys.argv[2]).resolve()):
        sys.stdout.write(problem + "\n")
        sys.stdout.flush()
