"""Two pytest plugins: one records the tests that execute each line of a module, one runs a selection of tests."""

from __future__ import annotations

import ast
import multiprocessing.process
import sys
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest


class Record(NamedTuple):
    """The record of a run of all tests, for one module."""

    lines: dict[int, list[str]]
    """The ids of the tests that execute each line."""
    seconds: dict[str, float]
    """The duration of each test in seconds."""
    starting: list[str]
    """Tests that start processes, whose lines are not recorded: they may execute any line."""

    def tests(self, code: str, line: int) -> list[str]:
        """Return the tests that could detect a fault in a line, the fastest first."""
        first, in_function = _statement(code, line)
        if in_function:
            found = {test for number in range(first, line + 1) for test in self.lines.get(number, [])}
            found |= set(self.starting)
        else:
            found = set(self.seconds)
        return sorted(found, key=lambda test: (test in self.starting, self.seconds[test]))


def _statement(code: str, line: int) -> tuple[int, bool]:
    """Return the first line of the innermost statement at a line, and whether it is in a function body."""
    first, in_function = line, False
    for node in ast.walk(ast.parse(code)):  # outer nodes first
        if isinstance(node, ast.stmt) and node.end_lineno is not None and node.lineno <= line <= node.end_lineno:
            first = node.lineno
        if isinstance(node, (ast.FunctionDef, ast.Lambda)):
            body = node.body if isinstance(node.body, list) else [node.body]
            in_function |= body[0].lineno <= line <= (node.end_lineno or 0)
    return first, in_function


class Recorder:
    """Records the tests that execute each line of one file."""

    def __init__(self, path: str) -> None:
        import coverage

        self._path = path
        self._coverage = coverage.Coverage(data_file=None, include=[path], config_file=False)
        self._seconds: dict[str, float] = {}
        self._starting: set[str] = set()
        self._current = ""
        sys.addaudithook(self._audit)
        self._start: Any = multiprocessing.process.BaseProcess.start

    def pytest_sessionstart(self) -> None:
        """Start before the collection."""
        recorder = self

        def start(process: Any) -> None:
            recorder._starting.add(recorder._current)
            recorder._start(process)

        multiprocessing.process.BaseProcess.start = start  # type: ignore[assignment,method-assign]  # until this process ends
        self._coverage.start()

    def _audit(self, event: str, _: tuple[Any, ...]) -> None:
        if event in ("subprocess.Popen", "os.fork"):
            self._starting.add(self._current)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Record the running test."""
        self._current = item.nodeid
        self._coverage.switch_context(item.nodeid)
        begin = time.monotonic()
        result = yield
        self._seconds[item.nodeid] = time.monotonic() - begin
        return result

    def record(self) -> Record:
        """Return the record."""
        self._coverage.stop()
        by_line = self._coverage.get_data().contexts_by_lineno(self._path)
        lines = {line: [test for test in tests if test in self._seconds] for line, tests in by_line.items()}
        return Record(lines, self._seconds, sorted(self._starting & self._seconds.keys()))


class Chooser:
    """Runs the given tests, in the given order."""

    def __init__(self, tests: list[str]) -> None:
        self._places = {test: place for place, test in enumerate(tests)}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Deselect all other tests."""
        items[:] = sorted((i for i in items if i.nodeid in self._places), key=lambda i: self._places[i.nodeid])
