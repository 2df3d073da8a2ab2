"""What other programs say about the kernels on a device: sanitizers, new processes, the project's own tests."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.device_items import ROOT, Result, Settings
from benchmarks.device_process import end, environment, run_program, worker_command

TESTS = tuple(f"test_{name}.py" for name in ("kernels", "calls", "sizes", "accuracy", "scratch", "reductions"))


def sanitizer(settings: Settings, tool: str) -> Result:
    """Run all kernels under a tool of compute-sanitizer."""
    program = shutil.which("compute-sanitizer") or "/usr/local/cuda/bin/compute-sanitizer"
    if settings.dry or not Path(program).exists():
        return {"left out": "needs a GPU" if settings.dry else "compute-sanitizer is not installed"}
    log = settings.out / f"{tool}.txt"
    command = [program, "--tool", tool, "--error-exitcode", "9", "--print-limit", "20", "--log-file", str(log)]
    # Each tensor has an allocation of its own, or what lies beyond one would be another's.
    seconds = min(75 if tool == "memcheck" else 60, settings.left)
    alone = {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
    code, text = run_program(settings, [*command, *worker_command(settings, "sanitized")], seconds, alone)
    lines = (log.read_text() if log.exists() else text).splitlines()
    return {"exit": code, "says": lines[-3:], "ok": code == 0}


def first_call(settings: Settings) -> Result:
    """Time the first step of a process in seconds: with an empty folder of compiled kernels, and with a full one."""
    result: Result = {"ok": True}
    with tempfile.TemporaryDirectory() as folder:
        for name in ("compiling", "compiled"):
            more = {"TRITON_CACHE_DIR": folder}
            code, text = run_program(settings, worker_command(settings, "first"), min(55, settings.left), more)
            found = [json.loads(line[1:])["result"] for line in text.splitlines() if line.startswith("@")]
            result[name] = found[-1] if found else {"exit": code, "says": text.splitlines()[-4:]}
            result["ok"] &= bool(found)
    return result


class Build:
    """The compiled core, built beside what is measured: a few of the tests compare with it."""

    def __init__(self, settings: Settings) -> None:
        self.folder = tempfile.TemporaryDirectory()
        source, self.site = Path(self.folder.name, "source"), Path(self.folder.name, "site")
        ignored = shutil.ignore_patterns(".git", ".venv", "build", "results")
        shutil.copytree(ROOT, source, ignore=ignored)
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-build-isolation", "--no-deps"]
        command += ["--target", str(self.site), str(source)]
        self.process = subprocess.Popen(  # noqa: S603 - pip
            ["nice", "-n", "15", *command],  # noqa: S607
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env=environment(settings),
        )

    def found(self, seconds: float) -> Path | None:
        """Return the folder that it was installed to, if that is done within so many seconds."""
        try:
            return self.site if self.process.wait(max(0.1, seconds)) == 0 else None
        except subprocess.TimeoutExpired:
            return None

    def end(self) -> None:
        """End it, and remove its files."""
        end(self.process)
        self.folder.cleanup()


def own_tests(settings: Settings, build: Build | None = None) -> Result:
    """Run the tests of the kernels."""
    if settings.dry or importlib.util.find_spec("pytest") is None:
        return {"left out": "needs a GPU" if settings.dry else "pytest is not installed"}
    site = build.found(min(60, settings.left - 60)) if build else None
    paths = [str(site)] if site else []
    more = {"PYTHONPATH": os.pathsep.join([*paths, environment(settings)["PYTHONPATH"]])}
    command = [sys.executable, "-m", "pytest", "-q", "--maxfail=10", "-p", "no:cacheprovider"]
    code, text = run_program(
        settings, [*command, *(f"tests/backends/triton/{name}" for name in TESTS)], min(240, settings.left), more
    )
    (settings.out / "pytest.txt").write_text(text)
    return {"core built": site is not None, "exit": code, "says": in_short(text), "ok": code == 0}


def in_short(text: str) -> list[str]:
    """Return what a run of pytest says, in short: its last line, the tests that failed, and why.

    The parent prints the start of a result, so the most telling comes first.
    """
    lines = [line[:200] for line in text.splitlines() if line.strip()]
    failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    return [*lines[-1:], *failed[:12], *[line for line in lines if line.startswith("E  ")][:6]]
