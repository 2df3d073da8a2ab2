"""In CI a skipped test fails, unless its reason is on this list.

A test that is skipped by mistake (a tool is not installed, a name has changed) looks like a passing test. With CI=true
in the environment it fails instead. On a developer's machine a skip stays a skip, listed at the end of the run.
CTCKIT_ANY_SKIP=1 turns the policy off, for CI machines that lack tools of the tests.
"""

from __future__ import annotations

import os
import re
from collections.abc import Generator
from typing import NamedTuple

import pytest

from tests.tools.sanitizers import is_sanitized


class Allowed(NamedTuple):
    """A skip that CI accepts."""

    reason: str
    """Regular expression for the whole reason of the test."""
    why: str
    """The reason why CI cannot run the test."""
    sanitized: bool = False
    """Whether it applies to the sanitized core only."""


ALLOWED = (
    Allowed(r"needs a GPU", "CI has no GPU; benchmarks/device.sh runs these tests on one"),
    Allowed(r"takes minutes in the interpreter: .*", "too slow without a GPU; CTCKIT_SLOW_TESTS=1 runs them"),
    Allowed(r"minutes in plain torch", "the reference backend is too slow for long targets; the others run them"),
    Allowed(r"this processor, or this build, has [\w, ]+ only", "an instruction set that this processor lacks"),
    Allowed(r"(avx512|avx2|baseline) cannot run here", "an instruction set that this processor lacks"),
    Allowed(r"optax is not installed .*", "a peer of the benchmarks, which needs an environment of its own"),
    Allowed(
        r"(pyctcdecode|kenlm|flashlight|torchaudio|transformers) is not installed.*",
        "peers of ctckit.compat, which ask for an old numpy, or are built for minutes",
    ),
    Allowed(r"pocketsphinx is not installed: .*", "its wheel, with a language model, is as large as all others"),
    Allowed(r"no file system can be mounted here: .*", "only root may mount the small disk that is filled"),
    Allowed(r"sanitizers keep what is freed", "memory use is measured without sanitizers", sanitized=True),
    Allowed(r"no address space.*", "AddressSanitizer refuses allocations of many gigabytes", sanitized=True),
)
"""All skips that CI accepts."""


def is_active() -> bool:
    """Whether skips fail."""
    return os.environ.get("CI", "").lower() in ("1", "true") and not os.environ.get("CTCKIT_ANY_SKIP")


def is_allowed(reason: str) -> bool:
    """Whether CI accepts a skip for this reason."""
    entries = [entry for entry in ALLOWED if is_sanitized() or not entry.sanitized]
    return any(re.fullmatch(entry.reason, reason, re.DOTALL) for entry in entries)


def judge(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turn a skip that CI does not accept into a failure."""
    if not report.skipped or hasattr(report, "wasxfail") or not is_active():
        return
    _, _, message = report.longrepr if isinstance(report.longrepr, tuple) else ("", 0, str(report.longrepr))
    reason = message.removeprefix("Skipped: ")
    if not is_allowed(reason):
        report.outcome = "failed"
        report.longrepr = (
            f"{report.nodeid} is skipped in CI: {reason}\nInstall what it needs (.ci/run), or add the reason to "
            f"ALLOWED in tests/tools/skip_policy.py."
        )


# Outermost wrappers, so that they see the reports of pytest's own hooks for skips and expected failures.
@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    judge(report)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    judge(report)
    return report
