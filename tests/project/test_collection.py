"""The tests of the GPU kernels can be collected, and run, with only pytest, NumPy, torch and Triton."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run_pytest(*arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": path}
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_ADDOPTS", "TRITON_INTERPRET"):
        environment.pop(name, None)
    command = [sys.executable, "-m", "pytest", "-p", "tests.tools.few_packages", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment)  # noqa: S603


def test_the_tests_of_the_kernels_need_few_packages() -> None:
    if importlib.util.find_spec("triton") is None:
        pytest.skip("Triton is not installed")
    files = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("tests/backends/triton/test_*.py"))
    collected = run_pytest("--collect-only", "-q", *files)
    assert collected.returncode == 0, collected.stdout[-3000:] + collected.stderr[-3000:]
    assert {line.split("::")[0] for line in collected.stdout.splitlines() if "::" in line} == set(files)

    ran = run_pytest("tests/backends/triton/test_kernels.py", "-k", "scale_in_place or reductions", "-v")
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-3000:]
    assert "3 passed" in ran.stdout
    assert "sybil is not installed: the code of README.md and docs/*.md is not tested" in ran.stdout
    assert "pytest-timeout is not installed" in ran.stdout


def test_with_sybil_the_pages_are_tested() -> None:
    pytest.importorskip("sybil")
    collected = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--collect-only", "-q", "docs/numerics.md"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert collected.returncode == 0, collected.stdout
    assert "docs/numerics.md" in collected.stdout
