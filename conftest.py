"""What holds for tests everywhere: the policy for skips, and that code of README.md and docs/*.md runs.

Each page has one namespace, read from top to bottom.

A machine with a GPU may have pytest and little else: without sybil the pages are left out, and without pytest-timeout
tests have no time limit. The header of the run says so.
"""

import importlib.util
from pathlib import Path

import pytest

pytest_plugins = ["tests.tools.skip_policy"]

HAS_SYBIL = importlib.util.find_spec("sybil") is not None


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Take pytest-timeout's setting where it is not there to take it."""
    if not pluginmanager.hasplugin("timeout"):
        parser.addini("timeout", "is left out: pytest-timeout is not installed", default="0")


def pytest_configure(config: pytest.Config) -> None:
    """Know pytest-timeout's marker, too."""
    if not config.pluginmanager.hasplugin("timeout"):
        config.addinivalue_line("markers", "timeout(seconds): is left out: pytest-timeout is not installed")


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Say what is left out."""
    lines = [] if HAS_SYBIL else ["sybil is not installed: the code of README.md and docs/*.md is not tested"]
    if not config.pluginmanager.hasplugin("timeout"):
        lines.append("pytest-timeout is not installed: tests have no time limit")
    return lines


@pytest.fixture
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an example writes must not stay in the repository."""
    monkeypatch.chdir(tmp_path)


if HAS_SYBIL:
    from sybil import Sybil
    from sybil.parsers.myst import PythonCodeBlockParser

    pytest_collect_file = Sybil(
        parsers=[PythonCodeBlockParser()],
        patterns=["README.md", "docs/*.md"],
        fixtures=["empty_folder"],
    ).pytest()
