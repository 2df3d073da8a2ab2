"""A file per item: its name, and which existing files it may replace."""

from __future__ import annotations

import os
import sys
import urllib.parse
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctckit import corpus
from ctckit.corpus.errors import ItemError
from ctckit.corpus.item_files import FileNames, digests_of, file_stem, write_files

# ---------------------------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("a b", "a b"), ("speaker 1/a.npy", "speaker 1%2Fa.npy"), (" +,=@()[]{}!#&'-_.~", " +,=@()[]{}!#&'-_.~"),
        (".", "%2E"), ("..", "%2E."), (".a", "%2Ea"), ("a.", "a."), ("%2F", "%252F"), ("\u00fc", "%C3%BC"),
        ("con", "%63on"), ("CON", "%43ON"), ("Aux.json", "%41ux.json"), ("lpt9.a.b", "%6Cpt9.a.b"),
        ("con1", "con1"), ("com", "com"), ("com12", "com12"), ("a.con", "a.con"), ("-con", "-con"),
    ],
)  # fmt: skip
def test_the_name_of_a_file(name: str, stem: str) -> None:
    assert file_stem(name) == stem


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60))
def test_a_name_tells_its_id(name: str) -> None:
    stem = file_stem(name)
    if len(stem) <= 200:
        assert urllib.parse.unquote(stem) == name
    assert not set(stem) & set('/\\:*?"<>|\0')
    assert len(stem) <= 200


def test_long_names_are_cut_and_told_apart() -> None:
    assert file_stem("a" * 200) == "a" * 200
    stems = {file_stem("a" * 200 + end) for end in ("", "a", "b", "aa")}
    assert len(stems) == 4
    assert all(stem.startswith("a" * 180) and len(stem) <= 200 for stem in stems)


def outcome(name: str, *files: tuple[str, str]) -> corpus.Outcome:
    return corpus.Outcome(name, 1, {}, files=files)


def test_names_that_are_alike() -> None:
    """The first item has the plain name; the others have a suffix that depends on the id only."""
    names = FileNames()
    stems = [names.reserve(name) for name in ("b", "a", "A", "c", "a b", "A b")]
    assert stems[:2] + stems[3:5] == ["b", "a", "c", "a b"]
    assert stems[2].startswith("A-")
    assert stems[5].startswith("A b-")
    assert len({stem.casefold() for stem in stems}) == 6
    for name, stem in zip(("b", "a", "A", "a b"), (*stems[:3], stems[4]), strict=True):
        files = [(f"{file_stem(name)}.json", "1"), (f"{file_stem(name)}.ctm", "2"), ("other", "3")]
        assert list(names.of(outcome(name, *files))) == [(f"{stem}.json", "1"), (f"{stem}.ctm", "2"), ("other", "3")]
    others = FileNames()
    assert [others.reserve(name) for name in ("a", "A")] == stems[1:3]


# ----------------------------------------------------------------------------------------------------- what is replaced

OF_THE_FORMAT = {
    "json": ['{"frames": 1, "tokens": [], "words": []}', '{"frames": 1, "tokens": [], "words": [], "more": 5}'],
    "TextGrid": ['File type = "ooTextFile"\n', '\n  File type = "ooTextFile"'],
    "srt": ["1\n00:00:00,000 --> 00:00:01,000\nhi\n", "\n12\n100:00:00,1 -->", "", " \n"],
    "vtt": ["WEBVTT\n", "WEBVTT - title\n\n"],
    "ctm": ["a 1 0.00 1.50 hi 0.9\n", "\na b 10.5 0.02 ", "", "\n"],
}
OF_NO_FORMAT = {
    "json": ["", "{}", "[1]", '["frames", "tokens", "words"]', '{"frames": 1, "tokens": []}', "{", "[" * 100_000],
    "TextGrid": ["", "text", 'x File type = "ooTextFile"'],
    "srt": ["text", "1\ntext", "a\n1\n00:00:00,000 -->", "1\n00:00:00.000 -->"],
    "vtt": ["", "text", "webvtt", " WEBVTT"],
    "ctm": ["text", "a 1 zero 1.5 hi", ";; a 1 0.00 1.50", "a 1 0 1 hi"],
    "doc": ["", "text"],
}


def cases(of: dict[str, list[str]]) -> list[tuple[str, str]]:
    return [(suffix, content) for suffix, contents in of.items() for content in contents]


@pytest.mark.parametrize(("suffix", "content"), cases(OF_THE_FORMAT), ids=lambda text: text[:20])
def test_a_file_of_the_format_is_replaced_when_asked_for(tmp_path: Path, suffix: str, content: str) -> None:
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(content.encode())
    with pytest.raises(ItemError, match="exists with other content: replace it with --overwrite, or name another") as e:
        write_files([(path.name, "new")], tmp_path, overwrite=False)
    assert e.value.kind == "exists"
    assert path.read_bytes() == content.encode()
    write_files([(path.name, "new")], tmp_path, overwrite=True)
    assert path.read_text() == "new"


@pytest.mark.parametrize(("suffix", "content"), cases(OF_NO_FORMAT), ids=lambda text: text[:20])
def test_another_file_is_never_replaced(tmp_path: Path, suffix: str, content: str) -> None:
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(content.encode())
    with pytest.raises(ItemError, match="exists and is not a file of that format: name another"):
        write_files([(path.name, "new")], tmp_path, overwrite=True)
    assert path.read_bytes() == content.encode()


@pytest.mark.parametrize("suffix", OF_NO_FORMAT)
def test_nor_is_one_that_is_no_text(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(b"WEBVTT \xff")
    with pytest.raises(ItemError, match="not a file of that format"):
        write_files([(path.name, "new")], tmp_path, overwrite=True)


def test_a_file_of_an_earlier_run_is_replaced(tmp_path: Path) -> None:
    """But only if nobody has changed it since."""
    first = outcome("a", ("a.json", "first"), ("a.ctm", "erste \u00e4"))
    ours = digests_of(first)
    write_files(first.files, tmp_path, overwrite=False)
    second = [("a.json", "second"), ("a.ctm", "zweite \u00e4")]
    with pytest.raises(ItemError):
        write_files(second, tmp_path, overwrite=False)
    write_files(second, tmp_path, overwrite=False, ours=ours)
    assert [(tmp_path / name).read_text(encoding="utf-8") for name in ("a.json", "a.ctm")] == [
        "second",
        "zweite \u00e4",
    ]
    with pytest.raises(ItemError):
        write_files(first.files, tmp_path, overwrite=False, ours=ours)


def test_what_earlier_runs_have_written_is_known() -> None:
    """Digests and names of files are stored in results on disk, so neither may ever change."""
    assert digests_of(outcome("a", ("a.json", "first"))) == ["a7937b64b8caa58f"]
    names = FileNames()
    assert [names.reserve(name) for name in ("a", "A")] == ["a", "A-559aead08264d579"]
    assert file_stem("a" * 201) == "a" * 180 + "-a92efd82109373e5"


def test_all_files_of_an_item_or_none(tmp_path: Path) -> None:
    (tmp_path / "a.ctm").write_text("by hand")
    with pytest.raises(ItemError):
        write_files([("a.json", "new"), ("a.ctm", "new")], tmp_path, overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.ctm"]


def test_a_file_that_is_right_is_left(tmp_path: Path) -> None:
    """Nothing is written, so its date stays."""
    write_files([("a.doc", "right")], tmp_path, overwrite=False)
    os.utime(tmp_path / "a.doc", ns=(0, 0))
    write_files([("a.doc", "right"), ("b.doc", "new")], tmp_path, overwrite=False)
    assert (tmp_path / "a.doc").stat().st_mtime_ns == 0
    assert (tmp_path / "b.doc").read_text() == "new"


@pytest.mark.skipif(sys.platform == "win32", reason="links")
def test_what_is_no_file_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "loop.json").symlink_to("loop.json")
    (tmp_path / "device.json").symlink_to("/dev/null")
    for name in ("folder.json", "loop.json", "device.json"):
        for overwrite in (False, True):
            with pytest.raises(ItemError, match="exists and is not a file: remove it, or name another folder") as error:
                write_files([(name, "new")], tmp_path, overwrite=overwrite)
            assert error.value.kind == "exists"
    (tmp_path / "loose.json").symlink_to("later.json")  # the target of the link is created
    write_files([("loose.json", "new")], tmp_path, overwrite=False)
    assert (tmp_path / "later.json").read_text() == "new"
    with pytest.raises(OSError, match="File name too long"):
        write_files([("a" * 300, "new")], tmp_path, overwrite=False)
