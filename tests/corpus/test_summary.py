"""What a run reports: counts, warnings, bad items. And the files that an interrupted run leaves."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from ctckit import corpus
from ctckit.corpus.pipeline import errors_file
from tests.tools import corpora

pytestmark = pytest.mark.usefixtures("here")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


class GivenOutcome(corpus.CheckTask):
    """A task whose outcome is given by the item's text."""

    def _do(self, item: corpus.Item) -> corpus.Outcome:
        said = json.loads(item.text or "")
        if "error" in said:
            raise ValueError(said["error"])
        return corpus.Outcome(item.id, item.line, **said)


def manifest(*items: dict[str, Any], first: int = 0) -> Path:
    lines = [
        {"id": f"{number}", "emissions": "no.npy", "text": json.dumps(said)} for number, said in enumerate(items, first)
    ]
    return corpora.write_manifest(Path("m.jsonl"), lines)


GOOD: dict[str, Any] = {"result": {}}
OTHER: dict[str, Any] = {"result": {"other": 1}}
BAD: dict[str, Any] = {"error": "bad"}


def test_counts() -> None:
    items = manifest(
        {"result": {"frames": 7, "dropped": ["a", "b"]}}, BAD, {"result": {"frames": 30}, "warnings": ["odd", "very"]},
        GOOD, {"result": {"dropped": ["c"]}, "warnings": ["odd"]}, BAD,
    )  # fmt: skip
    begin = time.perf_counter()
    with pytest.warns(corpus.ItemWarning):
        summary = corpus.process(GivenOutcome(), items, "o.jsonl")
    assert 0 < summary.seconds <= time.perf_counter() - begin
    assert (summary.done, summary.redone, summary.skipped, summary.failed) == (4, 0, 0, 2)
    assert (summary.frames, summary.dropped, summary.warned) == (37, 3, 2)
    assert dict(summary.faults) == {"failed": 2}
    items = manifest(OTHER, BAD, BAD, GOOD, GOOD, GOOD)
    summary = corpus.process(GivenOutcome(), items, "o.jsonl")
    assert (summary.done, summary.redone, summary.skipped, summary.failed) == (3, 2, 1, 2)
    assert (summary.frames, summary.dropped, summary.warned, summary.stale, summary.absent) == (0, 0, 0, 1, 0)


@pytest.mark.parametrize("output", ["o.jsonl", None])
def test_a_fault_says_no_more_than_there_is(output: str | None) -> None:
    corpus.process(GivenOutcome(), manifest(GOOD), output, errors="e.jsonl")
    summary = corpus.process(GivenOutcome(), manifest(BAD, BAD), output, errors="e.jsonl")
    assert (summary.failed, summary.stale) == (2, 0 if output is None else 1)
    kept = "bad (the result of its earlier inputs is kept)"
    messages = [entry["message"] for entry in corpora.read_lines(Path("e.jsonl"))]
    assert messages == (["bad", "bad"] if output is None else [kept, "bad"])


def test_the_first_item_that_looks_wrong_is_warned_of() -> None:
    """There is one warning, with the caller's line."""
    odd = {"result": {}, "warnings": ["it is odd", "it is loud"]}
    with pytest.warns(corpus.ItemWarning) as caught:
        corpus.process(GivenOutcome(), manifest(GOOD, odd, odd))
    assert [(str(entry.message), entry.filename) for entry in caught] == [("1: it is odd", __file__)]


@pytest.mark.parametrize("items", [(), (BAD, BAD)], ids=["none", "bad ones"])
def test_starting_anew_where_nothing_comes_of_it(items: tuple[dict[str, Any], ...]) -> None:
    """The run is complete, so it replaces the old results by none."""
    corpus.process(GivenOutcome(), manifest(GOOD, GOOD), "o.jsonl")
    corpus.process(GivenOutcome(), manifest(*items), "o.jsonl", overwrite=True)
    assert Path("o.jsonl").read_bytes() == b""


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_a_run_that_is_broken_off(error: type[BaseException]) -> None:
    """Its results are written, its bad items are listed, and the lock is released."""
    corpus.process(GivenOutcome(), manifest(GOOD, GOOD, GOOD), "o.jsonl")
    items = manifest(OTHER, BAD, OTHER)
    seen = []

    def stop(outcome: corpus.Outcome) -> None:
        seen.append(outcome.id)
        if len(seen) == 2:
            raise error

    with pytest.raises(error) as kept:
        corpus.process(GivenOutcome(), items, "o.jsonl", watch=(stop,))
    entries = corpora.read_lines(Path("o.jsonl"))
    assert [("other" in entry, entry.get("stale", False)) for entry in entries] == [
        (True, False), (False, True), (False, False),
    ]  # fmt: skip
    assert [entry["id"] for entry in corpora.read_lines(Path("o.errors.jsonl"))] == ["1"]
    assert corpus.process(GivenOutcome(), items, "o.jsonl").done == 1
    del kept


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("options", [{"vocabulary": "no.json"}, {"model": "no_such_module:f"}], ids=str)
def test_what_no_item_needs_must_be_there_all_the_same(workers: int, options: dict[str, Any]) -> None:
    """A bad vocabulary or model ends the run before the first item."""
    corpora.write_corpus(Path("corpus"), 2)
    lines = [{"emissions": f"corpus/{k}.npy", "tokens": [1]} for k in range(2)]
    items = corpora.write_manifest(Path("m.jsonl"), lines)
    with pytest.raises(corpus.CorpusError, match=r"no.json|no_such_module"):
        corpus.process(corpus.LossTask(**options), items, "o.jsonl", workers=workers)
    assert Path("o.jsonl").read_bytes() == b""


def test_one_process_unless_more_are_asked_for() -> None:
    processes = set()

    class Here(GivenOutcome):
        def _do(self, item: corpus.Item) -> corpus.Outcome:
            processes.add(os.getpid())
            return super()._do(item)

    items = manifest(GOOD, GOOD)
    assert corpus.process(Here(), items).done == len(list(corpus.run(Here(), corpus.read_manifest(items)))) == 2
    assert processes == {os.getpid()}


def test_the_folder_for_files_is_made() -> None:
    made = {"result": {}, "files": [["0.json", "{}"]]}
    assert corpus.process(GivenOutcome(), manifest(made), folder="a/b/c").done == 1
    assert Path("a/b/c/0.json").read_text() == "{}"


def test_where_faults_are_listed() -> None:
    Path("there.jsonl").touch()
    Path("folder").mkdir()
    for output, errors, expected in (
        ("new.jsonl", None, "new.errors.jsonl"),
        ("there.jsonl", None, "there.errors.jsonl"),
        ("new.jsonl", "mine", "mine"),
        (None, "mine", "mine"),
        (None, None, None),
        ("folder", None, None),
        (".", None, None),
        *((("/dev/null", None, None),) if sys.platform != "win32" else ()),
    ):
        found = errors_file(None if output is None else Path(output), None if errors is None else Path(errors))
        assert found == (None if expected is None else Path(expected)), (output, errors)
