"""Emissions of one item: from .npy, .npz and .safetensors files, or from its audio through the user's model."""

from __future__ import annotations

import contextlib
import functools
import importlib
import re
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ctckit.corpus.errors import CorpusError, ItemError
from ctckit.corpus.manifest import Item

__all__ = ["load_emissions", "load_object"]

_KEYED = re.compile(r"(?P<path>.*\.(?:npz|safetensors))\[(?P<key>[^\[\]]+)\]", re.IGNORECASE | re.DOTALL)


def load_emissions(item: Item, model: str | None = None) -> Tensor:
    """Load the emissions of an item.

    Args:
        item: what the manifest says. ``.npy`` files are mapped into memory, not read: what is not looked at stays on
            the disk.
        model: ``module:function``, which makes emissions of a path of audio: (T, C), a tensor or an array. It is
            imported once per process, the current folder included in the search, and called where an item has no
            emissions of its own.

    Returns:
        (T, C), float16, bfloat16, float32 or float64, on the CPU. A leading batch dimension of 1 is dropped.

    Raises:
        CorpusError: if the model cannot be imported, or is needed and not given.
        ValueError: if there is no such file or array, or it is no (T, C) of floating-point numbers.

    Example:
        >>> import pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "two.npz"
        >>> np.savez(path, a=np.zeros((7, 3)), b=np.zeros((9, 3)))
        >>> load_emissions(Item("b", 1, emissions=f"{path}[b]")).shape
        torch.Size([9, 3])
    """
    values = _from_file(item.emissions) if item.emissions is not None else _from_model(str(item.audio), model)
    if values.ndim == 3 and values.shape[0] == 1:
        values = values[0]
    if values.ndim != 2 or not values.is_floating_point():
        kind = str(values.dtype).removeprefix("torch.")
        raise ItemError(
            "emissions",
            f"its emissions are {kind} of shape {tuple(values.shape)}, but must be floating-point, (T, C): frames, "
            f"classes",
        )
    return values


def _from_file(source: str) -> Tensor:
    keyed = _KEYED.fullmatch(source)
    path, key = (Path(keyed["path"]), keyed["key"]) if keyed else (Path(source), None)
    suffix = path.suffix.lower()
    if not path.is_file():
        raise ItemError("missing", f"there is no file {str(path)!r} (paths are relative to the manifest's folder)")
    try:
        if suffix == ".npy":
            return _tensor(np.load(path, mmap_mode="r", allow_pickle=False), path)
        if suffix == ".npz":
            with np.load(path, allow_pickle=False) as archive:
                return _tensor(archive[_only(list(archive.files), key, path)], path)
        if suffix == ".safetensors":
            with _safetensors().safe_open(path, framework="pt") as archive:
                values: Tensor = archive.get_tensor(_only(list(archive.keys()), key, path))
                return values
    except (ItemError, CorpusError):
        raise
    except Exception as error:  # a torn zip file has a dozen ways to fail
        raise ItemError("unreadable", f"{str(path)!r} cannot be read: {type(error).__name__}: {error}") from error
    raise ItemError("unreadable", f"{str(path)!r} is no emissions file: it must be .npy, .npz or .safetensors")


def _only(names: list[str], key: str | None, path: Path) -> str:
    if key is None and len(names) == 1:
        return names[0]
    if key in names:
        return str(key)
    shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    what = f"has no array {key!r}" if key is not None else f"has {len(names)} arrays"
    raise ItemError("unreadable", f"{str(path)!r} {what}: name one as {path.name}[NAME], NAME being one of {shown}")


def _safetensors() -> Any:
    try:
        import safetensors  # noqa: PLC0415  # optional
    except ImportError as error:
        raise CorpusError("safetensors is not installed: pip install 'ctckit[corpus]'") from error
    return safetensors


def _tensor(values: Any, source: object) -> Tensor:
    array = np.asarray(values)
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    try:
        with warnings.catch_warnings():
            # torch warns of memory that must not be written to, which is what the map of a file is. None is.
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            return torch.from_numpy(array)
    except (TypeError, ValueError) as error:
        raise ItemError("emissions", f"{source} holds {array.dtype}, which torch cannot read: {error}") from error


def _from_model(audio: str, model: str | None) -> Tensor:
    if model is None:
        raise ItemError(
            "missing", "it has audio but no emissions: name a model that makes them, --model module:function"
        )
    function = load_object(model, "model")
    if not Path(audio).is_file():
        raise ItemError("missing", f"there is no file {audio!r} (paths are relative to the manifest's folder)")
    try:
        # What a model prints must not get between results on the standard output.
        with contextlib.redirect_stdout(sys.stderr), torch.no_grad():
            values = function(audio)
    except Exception as error:
        raise ItemError("model", f"{model} failed for {audio!r}: {type(error).__name__}: {error}") from error
    if isinstance(values, Tensor):
        return values.detach().cpu()
    return _tensor(values, model)


@functools.cache
def load_object(name: str, what: str) -> Any:
    """Import ``module:attribute``, once per process.

    Args:
        name: module and attribute; the module may be a file of the current folder.
        what: what it is for, in the message of an error.

    Raises:
        CorpusError: if there is no such thing, or its module cannot be imported.

    Example:
        >>> load_object("math:sqrt", "model")(9.0)
        3.0
    """
    module, colon, attribute = name.partition(":")
    if not (module and colon and attribute):
        raise CorpusError(
            f"{what} is {name!r}, but must be module:function, such as my_model:emissions for my_model.py"
        )
    try:
        with _current_folder_first():
            found = importlib.import_module(module)
    except Exception as error:
        raise CorpusError(f"{what} {name!r} cannot be imported: {type(error).__name__}: {error}") from error
    try:
        return functools.reduce(getattr, attribute.split("."), found)
    except AttributeError:
        raise CorpusError(f"{what} is {name!r}, but the module {module!r} has no {attribute!r}") from None


@contextlib.contextmanager
def _current_folder_first() -> Iterator[None]:
    sys.path.insert(0, "")
    try:
        yield
    finally:
        sys.path.remove("")
