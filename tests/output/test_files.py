"""Files are written whole or not at all, and two names of one file are recognised."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctckit import files
from ctckit.files import partial_file, same_file, whole_file, write_whole

unix = pytest.mark.skipif(sys.platform == "win32", reason="links and modes")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("content", ["", "a\nb\n", "日本", b"\x00\xff\r\n"])
def test_the_content_is_all_there(tmp_path: Path, content: str | bytes) -> None:
    path = tmp_path / "a.txt"
    for before in (None, b"a much longer content than the new one"):
        if before is not None:
            path.write_bytes(before)
        write_whole(path, content)
        assert path.read_bytes() == (content if isinstance(content, bytes) else content.encode())
        assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("call", ["fsync", "replace", "write"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, error: BaseException
) -> None:
    path = tmp_path / "a.txt"

    def fail(*_: object, **__: object) -> None:
        raise error

    for before in (None, "old"):
        if before is not None:
            path.write_text(before)
        with monkeypatch.context() as patch:
            if call == "replace":
                patch.setattr(Path, "replace", fail)
            elif call == "fsync":
                patch.setattr(os, "fsync", fail)
            else:
                patch.setattr(files, "open", _opens_a_full_disk(error), raising=False)
            with pytest.raises(type(error)):
                write_whole(path, "new")
        assert names(tmp_path) == ([] if before is None else ["a.txt"])
        assert before is None or path.read_text() == before


def _opens_a_full_disk(error: BaseException) -> object:
    class File:
        def __init__(self, descriptor: int, _: str) -> None:
            self.descriptor = descriptor

        def __enter__(self) -> object:
            return self

        def __exit__(self, *_: object) -> None:
            os.close(self.descriptor)

        def write(self, data: bytes) -> None:
            os.write(self.descriptor, data[:1])
            raise error

        def flush(self) -> None:
            pass

    return File


def test_text_that_utf8_does_not_have_touches_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "\ud800")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_an_error_in_the_block_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(TypeError), whole_file(path) as file:
        file.writelines([b"half", None])  # type: ignore[list-item]
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match="it is a folder, but must be a file"):
        write_whole(tmp_path, "x")
    with pytest.raises(FileNotFoundError):
        write_whole(tmp_path / "no" / "a.txt", "x")


def test_all_is_on_the_disk_before_it_takes_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is renamed before it is saved may be empty after a power cut."""
    path, calls = tmp_path / "a.txt", []
    fsync, replace = os.fsync, Path.replace

    def save(descriptor: int) -> None:
        calls.append(f"save {os.fstat(descriptor).st_size} bytes")
        fsync(descriptor)

    def rename(partial: Path, target: Path) -> Path:
        calls.append("rename")
        return replace(partial, target)

    monkeypatch.setattr(os, "fsync", save)
    monkeypatch.setattr(Path, "replace", rename)
    write_whole(path, "all of it")
    assert calls == ["save 9 bytes", "rename"]


def test_what_a_kill_has_left_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    partial_file(path).write_text("half of an older and much longer content")
    write_whole(path, "x")
    assert path.read_text() == "x"
    assert names(tmp_path) == ["a.txt"]


@unix
def test_two_at_a_time(tmp_path: Path) -> None:
    """The writer that ends first has written the file. The other one raises an error and leaves the file alone."""
    path = tmp_path / "a.txt"
    path.write_text("old")
    partial = partial_file(path)

    def another_begins() -> None:
        partial.rename(tmp_path / "away")  # so that the inode number is not used again
        partial.write_text("sec")

    with pytest.raises(FileExistsError, match="another process writes to it at the same time"), whole_file(path):
        another_begins()
    assert (path.read_text(), partial.read_text()) == ("old", "sec")
    with pytest.raises(FileNotFoundError), whole_file(path):
        write_whole(path, "second")
    assert path.read_text() == "second"
    assert names(tmp_path) == ["a.txt", "away"]


@pytest.mark.parametrize("size", [2, 40, 200, 245, 246, 247, 248, 254, 255])
@pytest.mark.parametrize("letter", ["a", "ü"])
def test_long_names(tmp_path: Path, size: int, letter: str) -> None:
    """The name of the temporary file is that of the file, or a shorter one if it is too long for the file system."""
    path = tmp_path / (letter * (size // len(letter.encode())))
    other = path.with_name(path.name[:-1] + "b")
    try:
        path.touch()
    except OSError:
        pytest.skip("this file system has no such names")
    write_whole(path, "x")
    write_whole(other, "y")
    assert (path.read_text(), other.read_text()) == ("x", "y")
    assert partial_file(path) != partial_file(other)
    plain = f".{path.name}.partial"
    assert (partial_file(path).name == plain) == (len(os.fsencode(plain)) <= 255)


@unix
def test_a_link_stays_one_and_a_mode_too(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    real, link, loose = tmp_path / "folder" / "real", tmp_path / "link", tmp_path / "loose"
    real.write_text("old")
    real.chmod(0o640)
    link.symlink_to(real)
    write_whole(link, "new")
    assert link.is_symlink()
    assert real.read_text() == "new"
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    loose.symlink_to("folder/later")
    write_whole(loose, "made")
    assert (tmp_path / "folder" / "later").read_text() == "made"


@unix
@pytest.mark.parametrize("mask", [0, 0o022, 0o027, 0o077])
def test_the_mode_of_a_new_file(tmp_path: Path, mask: int) -> None:
    """The mode is that of any new file."""
    umask = os.umask(mask)
    try:
        write_whole(tmp_path / "fresh", "x")
        (tmp_path / "other").touch()
    finally:
        os.umask(umask)
    assert (tmp_path / "fresh").stat().st_mode == (tmp_path / "other").stat().st_mode


@unix
def test_what_is_no_file_is_not_replaced() -> None:
    write_whole("/dev/null", "x")
    assert Path("/dev/null").is_char_device()


@unix
def test_names_of_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").write_text("x")
    (tmp_path / "folder").mkdir()
    (tmp_path / "other").symlink_to("folder", target_is_directory=True)
    os.link("a", "hard")
    Path("soft").symlink_to("a")
    Path("loose").symlink_to("new")
    one: list[str | Path] = ["a", "./a", tmp_path / "a", "folder/../a", "hard", "soft", "other/../a"]
    for name in one:
        assert same_file("a", name)
        assert same_file(name, "a")
        assert not same_file(name, "new")
        assert not same_file("folder/a", name)
    for first, second in (
        ("new", "./new"), ("new", tmp_path / "new"), ("loose", "new"), ("folder/new", "other/new"),
        ("no/where", "no/../no/where"),
    ):  # fmt: skip
        assert same_file(first, second)
        assert same_file(second, first)
    (tmp_path / "copy").write_text("x")
    assert not same_file("a", "copy")
    assert same_file("new", "NEW") == (tmp_path / "A").exists()


def test_case_where_it_makes_no_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for answer in (True, False):
        monkeypatch.setattr(files, "_ignores_case", lambda _, answer=answer: answer)
        assert same_file(tmp_path / "New.é", tmp_path / "nEW.e\u0301") is answer
        assert same_file(tmp_path / "new", tmp_path / "new")
        assert not same_file(tmp_path / "new", tmp_path / "newer")


@unix
def test_whether_case_makes_a_difference(tmp_path: Path) -> None:
    """A folder is tested by its name in the other case; a folder without letters in its name, by its parent."""
    (tmp_path / "abc" / "1" / "2").mkdir(parents=True)
    folders = [tmp_path / "abc", tmp_path / "abc" / "1", tmp_path / "abc" / "1" / "2"]
    mixed = (tmp_path / "ABC").exists()
    assert [files._ignores_case(folder) for folder in folders] == [mixed] * 3
    if not mixed:
        (tmp_path / "ABC").mkdir()
        assert [files._ignores_case(folder) for folder in folders] == [False] * 3
        (tmp_path / "ABC").rmdir()
        (tmp_path / "ABC").symlink_to("abc")  # as on a file system that ignores case
        assert [files._ignores_case(folder) for folder in folders] == [True] * 3
        assert same_file(tmp_path / "abc" / "new", tmp_path / "abc" / "NEW")
    assert not files._ignores_case(Path("/"))


def test_names_that_no_file_has() -> None:
    for name in ("\0", "a" * 300, "a/" * 3000, ""):
        assert same_file(name, name)
        assert not same_file(name, name + "b")
        assert not same_file(name + "b", name)


@given(st.text(max_size=300), st.text(max_size=300))
def test_any_two_names_have_an_answer(a: str, b: str) -> None:
    assert same_file(a, a)
    assert same_file(a, b) == same_file(b, a)
