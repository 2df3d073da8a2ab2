"""The results file by itself: foreign lines, stopped runs, stale results, and the lock."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from ctckit.corpus import CorpusError, Outcome
from ctckit.corpus.results import ResultsFile, read_results, redone_file, result_line

DIGEST = "0123456789ab"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "o.jsonl"


def line(name: object, value: object = "old", *, options: object = DIGEST, **more: Any) -> str:
    return json.dumps({"id": name, "options": options, "inputs": "a-1", **more, "value": value}) + "\n"


def write(results: ResultsFile, name: str, value: str = "new") -> None:
    outcome = Outcome(name, 1, {"value": value}, inputs="b-2")
    results.write(outcome, result_line(outcome, DIGEST))


def stopped(path: Path, *names: str) -> None:
    """Redo items in a run that is stopped before it merges the files."""
    results = ResultsFile(path, DIGEST)
    for name in names:
        write(results, name)
    results.close()


def run(path: Path, *names: str, overwrite: bool = False) -> None:
    """Redo items in a run with no other items."""
    results = ResultsFile(path, DIGEST, overwrite=overwrite)
    for name in names:
        write(results, name)
    results.finish()
    results.close()


def values(path: Path) -> dict[str, str]:
    return {entry["id"]: entry["value"] for entry in map(json.loads, path.read_text().splitlines())}


# ----------------------------------------------------------------------------------------------------------- whose file

FOREIGN = {
    "text": "precious\n",
    "an id that is no text": line(5),
    "options that are no text": line("b", options=5),
    "options of another form": line("b", options="yes"),
    "options that are longer": line("b", options=DIGEST + "0"),
}


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN)
@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_line_that_is_no_result(path: Path, content: str, number: int) -> None:
    """The file is kept. If its first line is foreign, no lock file is created beside it."""
    before = "".join([line("x"), line("y")][: number - 1]) + content
    path.write_text(before)
    with pytest.raises(CorpusError, match=rf"o.jsonl' exists, but its line {number} is not a result of this command"):
        ResultsFile(path, DIGEST)
    assert path.read_text() == before
    if number == 1:
        assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN)
@pytest.mark.parametrize("results", ["", line("a"), None], ids=["empty", "results", "none"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_line_of_the_second_file_that_is_no_result(
    path: Path, content: str, results: str | None, overwrite: bool
) -> None:
    if results is not None:
        path.write_text(results)
    redone_file(path).write_text(line("a") + content)
    with pytest.raises(CorpusError, match=r"/.o.jsonl.redone' exists, but its line 2 is not a result of this command"):
        ResultsFile(path, DIGEST, overwrite=overwrite)
    assert redone_file(path).read_text() == line("a") + content


@pytest.mark.parametrize("second", [False, True])
def test_a_line_of_other_options(path: Path, second: bool) -> None:
    """The message names the file with the line."""
    path.write_text(line("a"))
    wrong = redone_file(path) if second else path
    wrong.write_text(line("a") + line("b", options="0" * 12))
    name = ".o.jsonl.redone" if second else "o.jsonl"
    with pytest.raises(CorpusError, match=rf"/{name}' holds results made with other options, .* \(line 2\)"):
        ResultsFile(path, DIGEST)


def test_folders_are_made(tmp_path: Path) -> None:
    run(tmp_path / "a" / "b" / "o.jsonl", "x")
    assert values(tmp_path / "a" / "b" / "o.jsonl") == {"x": "new"}


def test_results_are_read_but_for_those_of_earlier_inputs(path: Path) -> None:
    path.write_text(line("a") + line("b", stale=True) + line("c", stale=False))
    assert [entry["id"] for entry in read_results(path)] == ["a", "c"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [-float("inf")]])
def test_a_number_that_json_does_not_have(value: object) -> None:
    with pytest.raises(ValueError, match="JSON"):
        result_line(Outcome("a", 1, {"value": value}), DIGEST)


# ----------------------------------------------------------------------------------------------------------- one writer


def test_others_may_write_once_it_is_closed(path: Path) -> None:
    """Also after a file that could not be opened, and while a caller still holds the file or the error."""
    first = ResultsFile(path, DIGEST)
    with pytest.raises(CorpusError, match="another run writes to"):
        ResultsFile(path, DIGEST)
    first.close()
    path.write_text(line("a") + line("a"))
    with pytest.raises(CorpusError, match="twice") as kept:
        ResultsFile(path, DIGEST)
    second = ResultsFile(path, DIGEST, overwrite=True)
    second.close()
    del first, kept


# --------------------------------------------------------------------------------------------------- what is done again


def test_an_item_that_is_written_twice_is_there_once(path: Path) -> None:
    results = ResultsFile(path, DIGEST)
    for name, value in (("a", "first"), ("b", "first"), ("a", "second"), ("b", "second"), ("a", "third")):
        write(results, name, value)
    results.finish()
    results.close()
    assert values(path) == {"a": "third", "b": "second"}


def test_what_is_not_done_again_stays_byte_for_byte(path: Path) -> None:
    other = f'{{"inputs":"a-1","options":"{DIGEST}","id":"b","value":"\\u00fc"}}\n'
    marked = f'{{"stale":true,"options":"{DIGEST}","id":"c","value":"\\u00fc"}}\n'
    path.write_text(line("a") + other + marked + line("d"))
    run(path, "a", "d")
    assert path.read_text().splitlines(keepends=True)[1:3] == [other, marked]
    assert values(path) == {"a": "new", "b": "ü", "c": "ü", "d": "new"}


@pytest.mark.skipif(sys.platform != "linux", reason="asks the system what is open")
def test_files_are_closed_before_they_are_replaced(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows cannot replace or remove an open file."""

    def is_open(file: Path) -> bool:
        return any(os.path.realpath(link) == str(file) for link in Path("/proc/self/fd").iterdir())

    replaced = []
    replace, unlink = Path.replace, Path.unlink

    def watched_replace(partial: Path, target: Path) -> Path:
        replaced.append((target, is_open(target) or is_open(partial)))
        return replace(partial, target)

    def watched_unlink(file: Path, *, missing_ok: bool = False) -> None:
        if file.exists():
            replaced.append((file, is_open(file)))
        unlink(file, missing_ok=missing_ok)

    path.write_text(line("a") + line("b"))
    monkeypatch.setattr(Path, "replace", watched_replace)
    monkeypatch.setattr(Path, "unlink", watched_unlink)
    run(path, "a", "c")
    assert replaced == [(path, False), (redone_file(path), False)]


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_a_stopped_run_has_done_again(path: Path, overwrite: bool) -> None:
    """The next run merges it, even with other items only, or discards it if it starts over."""
    path.write_text(line("a") + line("b") + line("c"))
    stopped(path, "c", "a")
    assert values(path) == {"a": "old", "b": "old", "c": "old"}
    run(path, "d", overwrite=overwrite)
    assert not redone_file(path).exists()
    run(path)
    assert values(path) == ({"d": "new"} if overwrite else {"a": "new", "b": "old", "c": "new", "d": "new"})


def test_results_that_were_deleted_do_not_come_back(path: Path) -> None:
    path.write_text(line("a"))
    stopped(path, "a")
    path.unlink()
    run(path)
    assert not redone_file(path).exists()
    run(path)
    assert values(path) == {}


def test_a_line_that_was_deleted_after_it_was_done_again(path: Path) -> None:
    """The new result is nowhere else, so it is kept."""
    path.write_text(line("a") + line("b"))
    stopped(path, "a", "b")
    path.write_text(line("b"))
    run(path)
    assert values(path) == {"a": "new", "b": "new"}


# ---------------------------------------------------------------------------------- results that do not belong any more


def marked(path: Path) -> list[str]:
    return [entry["id"] for entry in map(json.loads, path.read_text().splitlines()) if entry.get("stale")]


def test_a_mark_stays_until_its_item_is_looked_at(path: Path) -> None:
    path.write_text(line("a", stale=True) + line("b") + line("c"))
    for names in ((), ("b",), ("b", "c")):
        run(path, *names)
        assert path.read_text().startswith(line("a", stale=True))
        assert marked(path) == ["a"]


def test_a_mark_stands_behind_what_names_the_result(path: Path) -> None:
    path.write_text(line("a") + line("b"))
    results = ResultsFile(path, DIGEST)
    results.stale.add("b")
    results.finish()
    results.close()
    assert path.read_text() == line("a") + line("b", stale=True)


@pytest.mark.parametrize("how", ["is done again", "was done again by a run that was stopped", "is as it was"])
def test_a_mark_goes_once_the_result_belongs(path: Path, how: str) -> None:
    """It does not come back when other items are redone."""
    path.write_text(line("a", stale=True) + line("b"))
    if how == "is done again":
        run(path, "a")
    elif how == "is as it was":
        results = ResultsFile(path, DIGEST)
        assert results.has("a", "a-1")
        results.finish()
        results.close()
        assert path.read_text() == line("a") + line("b")
    else:
        stopped(path, "a")
        run(path, "b")
    assert marked(path) == []
    run(path, "b")
    assert marked(path) == []


def test_what_a_stopped_run_has_done_again_may_be_marked_anew(path: Path) -> None:
    path.write_text(line("a", stale=True))
    stopped(path, "a")
    results = ResultsFile(path, DIGEST)
    results.stale.add("a")
    results.finish()
    results.close()
    assert marked(path) == ["a"]
    assert values(path) == {"a": "new"}


# -------------------------------------------------------------------------------------------------- a disk that is full


class HalfFull:
    """A file on a disk that is full after a few bytes."""

    def __init__(self, file: Any) -> None:
        self._file, self._took = file, False

    def write(self, data: memoryview) -> int:
        if self._took:
            raise OSError(28, "No space left on device")
        self._took = True
        return int(self._file.write(data[:5]))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", ["new", "a"])
def test_a_line_that_does_not_fit_is_cut_off(path: Path, name: str, overwrite: bool) -> None:
    path.write_text(line("a") + line("b"))
    results = ResultsFile(path, DIGEST, overwrite=overwrite)
    write(results, "b")
    write(results, "c")
    before = path.read_text()
    writer = results._lines if overwrite or name == "new" else results._redone
    assert writer is not None
    whole = writer._file
    writer._file = HalfFull(whole)  # type: ignore[assignment]
    with pytest.raises(CorpusError, match=r"o.jsonl': No space left on device; results already written are kept$"):
        write(results, name)
    assert path.read_text() == before
    writer._file = whole
    write(results, name)
    results.finish()
    results.close()
    kept = {} if overwrite else {"a": "old"}
    assert values(path) == kept | {"b": "new", "c": "new", name: "new"}
