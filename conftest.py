"""What holds for tests everywhere: the policy for skips, and that code of README.md and docs/*.md runs.

Each page has one namespace, read from top to bottom.
"""

from pathlib import Path

import pytest
from sybil import Sybil
from sybil.parsers.myst import PythonCodeBlockParser

pytest_plugins = ["skip_policy"]  # tests/skip_policy.py


@pytest.fixture
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an example writes must not stay in the repository."""
    monkeypatch.chdir(tmp_path)


pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser()],
    patterns=["README.md", "docs/*.md"],
    fixtures=["empty_folder"],
).pytest()
