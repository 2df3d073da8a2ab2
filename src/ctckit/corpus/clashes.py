"""A check before any file is opened for writing: no output is an input, and no two outputs are the same file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from ctckit.corpus.errors import CorpusError
from ctckit.corpus.formats import named_format
from ctckit.corpus.item_files import FileNames
from ctckit.corpus.manifest import read_manifest
from ctckit.corpus.objects import source_file
from ctckit.corpus.results import lock_file, redone_file
from ctckit.corpus.tasks import Task
from ctckit.corpus.vocabularies import is_object
from ctckit.files import partial_file, real_path, same_file

__all__ = ["refuse_clashes"]


def refuse_clashes(task: Task, manifest: Path, outputs: Mapping[str, Path | None], folder: Path | None = None) -> None:
    """Raise an error if an output is an input, or two outputs are the same file.

    Args:
        task: a task, whose vocabulary, model and further files are inputs.
        manifest: an input.
        outputs: the files to write, by what they hold ("the results"); None for an output that is not written.
        folder: the folder for a file per item.

    Raises:
        CorpusError: if two files are the same. The message names both.
    """
    inputs = {"the manifest": manifest, **_inputs_of(task)}
    written = {what: path for what, path in outputs.items() if path is not None and not _is_device(path)}
    if (results := written.get("the results")) is not None:
        at = real_path(results)
        written |= {"the lock of the results": lock_file(at), "the new results of changed items": redone_file(at)}
    # A temporary file that a killed run left is deleted before the new one is made.
    written |= {
        f"the temporary file of {what}": partial_file(real_path(path))
        for what, path in outputs.items()
        if what in written and path is not None
    }
    named = list(inputs.items())
    for what, path in written.items():
        for other, its in named:
            if same_file(path, its):
                raise CorpusError(f"{what} and {other} are the same file, {str(path)!r}: name another file for {what}")
        named.append((what, path))
    if folder is not None:
        _refuse_item_files(task, manifest, dict(named), folder)


def _inputs_of(task: Task) -> dict[str, Path]:
    files: dict[str, Path] = {}
    if task.vocabulary is not None:
        path = source_file(task.vocabulary) if is_object(task.vocabulary) else Path(task.vocabulary)
        if path is not None:
            files["the vocabulary"] = path
    files |= {what: Path(path) for what, path in task.files().items()}
    if task.model is not None and (path := source_file(task.model)) is not None:
        files["the model"] = path
    return files


def _is_device(path: Path) -> bool:
    """Return whether a path is a pipe, a terminal or another device: writing to it destroys no file."""
    try:
        return path.exists() and not path.is_file() and not path.is_dir()
    except OSError:
        return False


def _refuse_item_files(task: Task, manifest: Path, named: Mapping[str, Path], folder: Path) -> None:
    taken: dict[str, str] = {}  # from case-folded names in the folder to what these files hold
    for what, path in named.items():
        if path.parent.exists() and folder.exists() and same_file(path.parent, folder):
            taken[path.name.casefold()] = what
    if folder.is_dir():
        files = {_identity(path): what for what, path in named.items()}
        files.pop(None, None)
        with os.scandir(folder) as entries:
            for entry in entries:
                use = files.get(_identity(Path(entry.path)))
                if use is not None:
                    taken[entry.name.casefold()] = use
    if not taken:
        return
    suffixes = [named_format(name).suffix for name in getattr(task, "formats", ())]
    names = FileNames()
    for item in read_manifest(manifest):
        if item.fault is not None:
            continue
        stem = names.reserve(item.id)
        for suffix in suffixes:
            name = f"{stem}.{suffix}".casefold()
            if name in taken:
                path = folder / f"{stem}.{suffix}"
                raise CorpusError(
                    f"the file of {item.id!r} and {taken[name]} are the same file, {str(path)!r}: name another folder"
                )


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_dev, state.st_ino
