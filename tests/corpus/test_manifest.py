"""Manifests: how fields are read. A bad line is a fault of that line, and the good items are done."""

from __future__ import annotations

import codecs
import dataclasses
import json
import math
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ctckit import corpus
from tests.corpus.tasks import fault_of
from tests.tools import corpora

GOOD = {"id": "good", "emissions": "a.npy", "tokens": [1]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    np.save(tmp_path / "a.npy", np.log(np.full((9, 3), 1 / 3)))
    return tmp_path


def item(**fields: Any) -> str:
    return json.dumps({"id": "x", "emissions": "a.npy", "tokens": [1], **fields})


BAD_LINES: dict[str, tuple[str | bytes, str]] = {
    "half a surrogate pair in the id": (item(id="\ud800"), "its id has a lone surrogate"),
    "in the path": (item(emissions="\udfff.npy"), "its emissions has a lone surrogate"),
    "in the audio": (item(audio="a\udc00"), "its audio has a lone surrogate"),
    "in the text": (item(text="a\ud800b"), r"its text has a lone surrogate \(U\+D800, at character 1\)"),
    "in a token": (item(tokens=["a", "\ud83d"]), "its token 1 has a lone surrogate"),
    "in a default id": ('{"audio": "\\ud800", "tokens": [1]}', "its audio has a lone surrogate"),
    "deep list": ("[" * 100_000, "nested too deeply"),
    "deep object": ('{"a":' * 100_000, "nested too deeply"),
    "deep, and closed": ("[" * 100_000 + "]" * 100_000, "nested too deeply"),
    "infinite duration": ('{"id": "x", "emissions": "a.npy", "frame_duration": 1e999}', "duration is inf"),
    "NaN": (item(frame_duration=math.nan), "frame_duration is nan, but must be a positive, finite number of seconds"),
    "negative duration": (item(frame_duration=-0.02), "frame_duration is -0.02"),
    "no duration": (item(frame_duration=0), "frame_duration is 0.0"),
    "whole number beyond range": (item(frame_duration=10**400), "frame_duration is inf"),
    "infinite offset": (item(offset=-math.inf), "offset is -inf, but must be a finite number"),
    "NaN offset": (item(offset=math.nan), "offset is nan"),
    "true": (item(offset=True), "offset is a bool"),
    "too many digits": ('{"id": "x", "emissions": "a.npy", "offset": ' + "9" * 5000 + "}", "not valid JSON"),
    "class beyond 64 bits": (item(tokens=[1, 2**63]), "its token 1 is a number of 64 bits"),
    "NUL in the path": (item(emissions="a\0.npy"), "NUL"),
    "empty id": (item(id=""), "its id is empty"),
    "id true": (item(id=True), "its id is a bool, but must be a string"),
    "bytes": (b'{"id": "\xff"}', "not valid UTF-8"),
    "bytes in a name": (b'{"\xc3": 1}', "not valid UTF-8"),
    "null": ("null", "a JSON NoneType, but must be an object"),
    "class below 64 bits": (item(tokens=[-(2**63) - 1]), "its token 0 is a number of 64 bits"),
    "nothing": ("{}", r"neither emissions nor audio \(its fields: none\)"),
    "other fields": ('{"id": "x", "text": "a"}', r"neither emissions nor audio \(its fields: id, text\)"),
    "eight fields": (json.dumps(dict.fromkeys("abcdefgh")), r"\(its fields: a, b, c, d, e, f, g, h\)"),
    "many long ones": (json.dumps({n * 99: 1 for n in "abcdefghi"}), r"fields: a{40}, b{40}, .*, h{40}, \.\.\.\)"),
    "a mark in the middle": (b"\xef\xbb\xbf" + item().encode(), "not valid JSON"),
}  # fmt: skip


def write(path: Path, *lines: str | bytes) -> Path:
    path.write_bytes(b"\n".join(line if isinstance(line, bytes) else line.encode() for line in lines) + b"\n")
    return path


@pytest.mark.parametrize(
    "task", [corpus.AlignTask(), corpus.LossTask(), corpus.CheckTask()], ids=lambda t: type(t).__name__
)
@pytest.mark.parametrize("name", BAD_LINES)
def test_a_bad_line_is_a_fault_of_that_line(folder: Path, name: str, task: corpus.Task) -> None:
    line, message = BAD_LINES[name]
    manifest = write(folder / "m.jsonl", json.dumps(GOOD), line, item(id="last"))
    summary = corpus.process(task, manifest, folder / "o.jsonl")
    assert (summary.done, dict(summary.faults)) == (2, {"manifest": 1})
    assert [entry["id"] for entry in corpora.read_lines(folder / "o.jsonl")] == ["good", "last"]
    (fault,) = corpora.read_lines(folder / "o.errors.jsonl")
    assert (fault["id"], fault["line"], fault["kind"]) == ("line 2", 2, "manifest")
    assert re.search(message, fault["message"]), fault["message"]
    assert len(fault["message"]) < 400


BAD_ITEMS: dict[str, tuple[str | bytes, str]] = {
    "an end beyond range": (item(frame_duration=1e308), "time"),
    "an offset beyond range": (item(frame_duration=1e308, offset=1.7e308), "time"),
    "a long path": (item(emissions="a" * 5000 + ".npy"), "missing"),
    "a path of folders": (item(emissions="a/" * 3000 + ".npy"), "missing"),
    "a folder": (item(emissions="."), "missing"),
    "a class below 0": (item(tokens=[-1]), "label"),
    "the largest class": (item(tokens=[2**63 - 1]), "label"),
    "the smallest": (item(tokens=[-(2**63)]), "label"),
    "not there": (item(emissions="no.npy"), "missing"),
}


@pytest.mark.parametrize("name", BAD_ITEMS)
def test_a_bad_item_is_a_fault_of_that_item(folder: Path, name: str) -> None:
    line, kind = BAD_ITEMS[name]
    manifest = write(folder / "m.jsonl", json.dumps(GOOD), line)
    summary = corpus.process(corpus.AlignTask(), manifest, folder / "o.jsonl")
    assert (summary.done, dict(summary.faults)) == (1, {kind: 1})
    assert [entry["kind"] for entry in corpora.read_lines(folder / "o.errors.jsonl")] == [kind]


def test_bad_lines_are_faults_for_workers_too(folder: Path) -> None:
    lines = [line for line, _ in (*BAD_LINES.values(), *BAD_ITEMS.values())]
    lines = [line for line in lines if line != BAD_ITEMS["not there"][0]]
    lines = [
        line.replace(b'"x"', b'"x%d"' % n) if isinstance(line, bytes) else line.replace('"x"', f'"x{n}"')
        for n, line in enumerate(lines)
    ]
    manifest = write(folder / "m.jsonl", *lines, json.dumps(GOOD))
    outputs = []
    for workers in (1, 2):
        summary = corpus.process(corpus.AlignTask(), manifest, folder / f"{workers}.jsonl", workers=workers)
        assert (summary.done, summary.failed) == (1, len(lines))
        outputs.append([(folder / f"{workers}.{name}").read_bytes() for name in ("jsonl", "errors.jsonl")])
    assert outputs[0] == outputs[1]


def test_an_error_of_any_text_is_written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message of the user's model may have any characters."""
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    (folder / "rude.py").write_text('def hear(path): raise ValueError("\\ud800 \\0 \\n \\u2028")\n')
    (folder / "a.wav").touch()
    manifest = write(folder / "m.jsonl", '{"audio": "a.wav", "tokens": [1]}', json.dumps(GOOD))
    summary = corpus.process(corpus.LossTask(model="rude:hear"), manifest, folder / "o.jsonl")
    assert (summary.done, summary.failed) == (1, 1)
    (line,) = (folder / "o.errors.jsonl").read_text(encoding="utf-8").removesuffix("\n").split("\n")
    assert "\ud800 \0 \n \u2028" in json.loads(line)["message"]


def test_a_result_that_json_does_not_have_is_a_fault(folder: Path) -> None:
    class Odd(corpus.CheckTask):
        def _do(self, item: corpus.Item) -> corpus.Outcome:
            values: list[object] = [math.nan, {1, 2}, 1.0]
            return corpus.Outcome(item.id, item.line, {"value": values[item.line - 1]})

    manifest = write(folder / "m.jsonl", item(id="a"), item(id="b"), item(id="c"))
    summary = corpus.process(Odd(), manifest, folder / "o.jsonl")
    assert (summary.done, dict(summary.faults)) == (1, {"failed": 2})
    assert [entry["id"] for entry in corpora.read_lines(folder / "o.jsonl")] == ["c"]


def test_the_name_of_a_bad_line_is_no_id(folder: Path) -> None:
    manifest = write(folder / "items.jsonl", "{", item(id="line 1"), item(id="line 2"), item(id="line 2"))
    found = [(entry.id, entry.fault is None) for entry in corpus.read_manifest(manifest)]
    assert found == [("line 1", False), ("line 1", True), ("line 2", True), ("line 4", False)]


def test_an_item_is_a_value() -> None:
    """Items are comparable, hashable and immutable."""
    found = corpus.Item("a", 1, emissions="a.npy")
    assert {found, corpus.Item("a", 1, emissions="a.npy", offset=0.0)} == {found}
    assert not hasattr(found, "__dict__")  # memory: there may be millions of items
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.text = "b"  # type: ignore[misc]


@pytest.mark.parametrize("name", ["m.jsonl", "m.parquet", "folder", "folder.parquet", "/dev/null"])
def test_a_manifest_that_is_no_file(folder: Path, name: str) -> None:
    for made in ("folder", "folder.parquet"):
        (folder / made).mkdir()
    what = {"/": "is not a file", "f": "is a folder", "m": "does not exist"}[name[0]]
    if name == "/dev/null" and not Path(name).exists():
        pytest.skip("there is no such device")
    for read in (lambda path: list(corpus.read_manifest(path)), corpus.count_items):
        with pytest.raises(
            corpus.CorpusError, match=rf"{name}' {what}: name a file of JSON lines, or a .parquet file$"
        ):
            read(folder / name)


@pytest.mark.skipif(sys.platform != "linux", reason="a file that cannot be read")
def test_a_manifest_that_cannot_be_read() -> None:
    for read in (lambda path: list(corpus.read_manifest(path)), corpus.count_items):
        with pytest.raises(corpus.CorpusError, match=r"'/proc/self/mem' cannot be read: Input/output error$"):
            read("/proc/self/mem")


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_byte_order_mark(folder: Path, end: str) -> None:
    content = codecs.BOM_UTF8 + end.join([item(id="a"), "", " \t", item(id="b")]).encode()
    (folder / "m.jsonl").write_bytes(content)
    assert [found.id for found in corpus.read_manifest(folder / "m.jsonl")] == ["a", "b"]
    assert corpus.count_items(folder / "m.jsonl") == 2
    (folder / "m.jsonl").write_bytes(codecs.BOM_UTF8 + end.encode() + item(id="a").encode())
    assert [(found.id, found.line) for found in corpus.read_manifest(folder / "m.jsonl")] == [("a", 2)]
    assert corpus.count_items(folder / "m.jsonl") == 1


def test_utf_16_is_named(folder: Path) -> None:
    (folder / "m.jsonl").write_bytes(item().encode("utf-16"))
    for read in (lambda path: list(corpus.read_manifest(path)), corpus.count_items):
        with pytest.raises(corpus.CorpusError, match="is in UTF-16: save it in UTF-8"):
            read(folder / "m.jsonl")


def test_paths_are_relative_to_the_manifest(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "sub").mkdir()
    write(folder / "sub" / "m.jsonl", item(emissions="../a.npy", audio="b.wav"))
    for place, name in (
        (folder, "sub/m.jsonl"),
        (folder / "sub", "m.jsonl"),
        (folder, str(folder / "sub" / "m.jsonl")),
    ):
        monkeypatch.chdir(place)
        (found,) = corpus.read_manifest(name)
        assert found.emissions is not None
        assert Path(found.emissions).is_absolute()
        assert Path(found.emissions).resolve() == (folder / "a.npy").resolve()
        assert found.audio == str(folder / "sub" / "b.wav")
        assert corpus.LossTask()(found).fault is None


# ------------------------------------------------------------------------------------------------------------ Parquet


def write_parquet(path: Path, table: Any, **options: Any) -> Path:
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(table, path, **options)
    return path


def test_odd_rows_of_parquet(folder: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    rows = [
        {"id": "good", "emissions": "a.npy", "tokens": [1], "frame_duration": None},
        {"id": None, "emissions": None, "tokens": [1], "frame_duration": None},
        {"id": "null token", "emissions": "a.npy", "tokens": [1, None], "frame_duration": None},
        {"id": "negative", "emissions": "a.npy", "tokens": [1], "frame_duration": -1.0},
        {"id": "nan", "emissions": "a.npy", "tokens": [1], "frame_duration": math.nan},
        {"id": "empty", "emissions": "a.npy", "tokens": [], "frame_duration": 0.5},
        {"id": "good", "emissions": "a.npy", "tokens": [1], "frame_duration": None},
    ]
    path = write_parquet(folder / "m.parquet", pa.Table.from_pylist(rows))
    items = list(corpus.read_manifest(path))
    assert [found.line for found in items] == list(range(1, 8))
    assert [found.fault is None for found in items] == [True, False, False, False, False, True, False]
    summary = corpus.process(corpus.LossTask(), path, folder / "o.jsonl")
    assert (summary.done, dict(summary.faults)) == (2, {"manifest": 5})


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("binary", [b"a", b"\xff"]),
        ("timestamp", [0, 2**50]),
        ("decimal", None),
        ("struct", [{"a": 1}, None]),
    ],
)
def test_columns_of_another_type(folder: Path, kind: str, values: Any) -> None:
    pa = pytest.importorskip("pyarrow")
    from decimal import Decimal

    column = {
        "binary": lambda: pa.array(values, pa.binary()),
        "timestamp": lambda: pa.array(values, pa.timestamp("s")),
        "decimal": lambda: pa.array([Decimal("0.5"), Decimal("0.25")]),
        "struct": lambda: pa.array(values),
    }[kind]()
    table = pa.table({"id": ["a", "b"], "emissions": ["a.npy"] * 2, "tokens": [[1], [1]], "frame_duration": column})
    items = list(corpus.read_manifest(write_parquet(folder / "m.parquet", table)))
    assert [found.line for found in items] == [1, 2]
    assert items[0].fault is not None
    assert "frame_duration" in items[0].fault or "cannot be read" in items[0].fault


def test_bad_utf8_in_one_row_of_parquet(folder: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    text = pa.array([b"fine", b"\xff\xfe", b"too"], pa.binary()).view(pa.string())
    table = pa.table({"id": ["a", "b", "c"], "emissions": ["a.npy"] * 3, "text": text})
    items = list(corpus.read_manifest(write_parquet(folder / "m.parquet", table)))
    assert [found.fault is None for found in items] == [True, False, True]
    assert (items[1].id, items[1].line) == ("line 2", 2)
    assert "it cannot be read: UnicodeDecodeError" in str(items[1].fault)


def test_a_damaged_row_group_is_one_fault(folder: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    ids = [f"{n} {'x' * 50}" for n in range(400)]
    table = pa.table({"id": ids, "emissions": ["a.npy"] * 400, "tokens": [[1]] * 400})
    path = write_parquet(folder / "m.parquet", table, row_group_size=100, compression="zstd", use_dictionary=False)
    parquet = pytest.importorskip("pyarrow.parquet")
    chunk = parquet.ParquetFile(path).metadata.row_group(1).column(0)
    data = bytearray(path.read_bytes())
    start = chunk.data_page_offset
    data[start : start + chunk.total_compressed_size] = bytes(chunk.total_compressed_size)
    path.write_bytes(data)
    items = list(corpus.read_manifest(path))
    (bad,) = [found for found in items if found.fault is not None]
    assert bad.line == 101
    assert "rows 101 to 200 cannot be read" in str(bad.fault)
    assert [found.line for found in items if found.fault is None] == [*range(1, 101), *range(201, 401)]
    assert [found.id for found in items if found.fault is None] == [*ids[:100], *ids[200:]]


def test_parquet_without_our_columns(folder: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    path = write_parquet(folder / "m.parquet", pa.table({"sentence": ["a"]}))
    with pytest.raises(corpus.CorpusError, match="has none of the columns id, emissions, audio"):
        list(corpus.read_manifest(path))


def test_every_field_is_read(tmp_path: Path) -> None:
    line = {
        "id": 7, "emissions": "a.npz[x]", "audio": "a.wav", "text": "hi", "tokens": ["h", 3], "frame_duration": 0.02,
        "offset": 1, "speaker": "ignored",
    }  # fmt: skip
    item, other = corpus.read_manifest(corpora.write_manifest(tmp_path / "m.jsonl", [line, "", {"audio": "b.wav"}]))
    assert item == corpus.Item(
        "7", 1, str(tmp_path / "a.npz[x]"), str(tmp_path / "a.wav"), "hi", ("h", 3), frame_duration=0.02, offset=1
    )
    assert (other.id, other.line, other.audio) == ("b.wav", 3, str(tmp_path / "b.wav"))
    assert corpus.count_items(tmp_path / "m.jsonl") == 3 - 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"id": "a"', "not valid JSON"),
        ("[1]", "a JSON list, but must be an object"),
        ({"id": "a", "text": "hi"}, "neither emissions nor audio .its fields: id, text"),
        ({"emissions": 3}, "its emissions is a int, but must be a string"),
        ({"emissions": "a.npy", "text": ["a"]}, "its text is a list"),
        ({"emissions": "a.npy", "tokens": "abc"}, "its tokens must be a list"),
        ({"emissions": "a.npy", "tokens": [1.5]}, "its tokens must be a list"),
        ({"emissions": "a.npy", "frame_duration": "fast"}, "its frame_duration is a str"),
        ({"emissions": "a.npy", "id": ["x"]}, "its id is a list"),
        ({"emissions": "good.npy"}, "the id 'good.npy' is also that of line 1"),
    ],
)
def test_a_bad_line_is_an_item_with_a_fault(tmp_path: Path, line: Any, message: str) -> None:
    path = corpora.write_manifest(tmp_path / "m.jsonl", [{"emissions": "good.npy"}, line, {"emissions": "other.npy"}])
    good, bad, other = corpus.read_manifest(path)
    assert (good.fault, other.fault) == (None, None)
    assert (bad.id, bad.line) == ("line 2", 2)
    kind, words = fault_of(corpus.LossTask()(bad))
    assert kind == "manifest"
    assert re.search(message, words), words


def test_bad_bytes_are_a_fault_too(tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_bytes(b'{"id": "\xff"}\n')
    (item,) = corpus.read_manifest(tmp_path / "m.jsonl")
    assert item.fault is not None


def test_parquet_is_read_as_json_lines_are(manifest: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = corpora.read_lines(manifest)
    rows[1]["tokens"] = [1, 2]
    corpora.write_manifest(manifest, rows)
    parquet.write_table(
        pa.Table.from_pylist([{"tokens": None, **row} for row in rows]), manifest.with_suffix(".parquet")
    )
    assert list(corpus.read_manifest(manifest.with_suffix(".parquet"))) == list(corpus.read_manifest(manifest))
    assert corpus.count_items(manifest.with_suffix(".parquet")) == len(rows)


@pytest.mark.parametrize("name", ["nowhere.jsonl", "nowhere.parquet", "."])
def test_no_manifest(tmp_path: Path, name: str) -> None:
    with pytest.raises(corpus.CorpusError, match=r"does not exist|is a folder"):
        list(corpus.read_manifest(tmp_path / name))


def test_what_is_called_parquet_must_be(tmp_path: Path) -> None:
    (tmp_path / "m.parquet").write_text("{}")
    with pytest.raises(corpus.CorpusError, match=r"pip install|cannot be read"):
        list(corpus.read_manifest(tmp_path / "m.parquet"))
