"""The emissions of one item: from a .npy, .npz or .safetensors file, or from its audio by the user's model."""

from __future__ import annotations

import contextlib
import sys
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ctckit.corpus.archives import MAX_ARRAY_BYTES, open_archive, split_key
from ctckit.corpus.errors import CorpusError, ItemError
from ctckit.corpus.manifest import Item
from ctckit.corpus.objects import load_object

__all__ = ["load_emissions"]


def load_emissions(item: Item, model: str | None = None, *, max_array_bytes: int = MAX_ARRAY_BYTES) -> Tensor:
    """Load the emissions of an item.

    Args:
        item: the item. ``.npy`` files are mapped into memory, so only the pages that are used are read.
        model: ``module:function`` of a function from the path of audio to emissions, (T, C), a tensor or an array. It
            is called for items without emissions. The module is imported once per process and may be a file of the
            current folder.
        max_array_bytes: maximal size of an array in an ``.npz`` or ``.safetensors`` file, in bytes. A small compressed
            file can expand beyond memory.

    Returns:
        (T, C), float16, bfloat16, float32 or float64, on the CPU. A leading batch dimension of 1 is dropped.

    Raises:
        CorpusError: if the model cannot be imported.
        ValueError: if the file, the array or a needed model is missing, or the emissions are not (T, C) of
            floating-point numbers.

    Example:
        >>> import pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "two.npz"
        >>> np.savez(path, a=np.zeros((7, 3)), b=np.zeros((9, 3)))
        >>> load_emissions(Item("b", 1, emissions=f"{path}[b]")).shape
        torch.Size([9, 3])
    """
    if item.emissions is not None:
        values = _from_file(item.emissions, max_array_bytes)
    else:
        values = _from_model(str(item.audio), model)
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


def _from_file(source: str, limit: int) -> Tensor:
    path, key = split_key(source)
    suffix = path.suffix.lower()
    if not _is_file(path):
        raise ItemError("missing", f"there is no file {str(path)!r} (paths are relative to the manifest's folder)")
    try:
        if suffix == ".npy":
            return _tensor(np.load(path, mmap_mode="r", allow_pickle=False), path)
        if suffix in (".npz", ".safetensors"):
            archive = open_archive(path)
            return _tensor(archive.read(_only(archive.names, key, path), limit), path)
    except ItemError as error:
        raise ItemError(error.kind, str(error).replace("its array", f"in {str(path)!r}, the array")) from error
    except CorpusError:
        raise
    except Exception as error:  # a damaged zip file raises many types of exceptions
        raise ItemError("unreadable", f"{str(path)!r} cannot be read: {type(error).__name__}: {error}") from error
    raise ItemError("unreadable", f"{str(path)!r} is not a file of emissions: it must be .npy, .npz or .safetensors")


def _is_file(path: str | Path) -> bool:
    try:
        return Path(path).is_file()
    except (OSError, ValueError):  # too long a name, or a NUL in it
        return False


def _only(names: list[str], key: str | None, path: Path) -> str:
    if key is None and len(names) == 1:
        return names[0]
    if key in names:
        return str(key)
    shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    what = f"has no array {key!r}" if key is not None else f"has {len(names)} arrays"
    raise ItemError("unreadable", f"{str(path)!r} {what}: name one as {path.name}[NAME], where NAME is one of {shown}")


def _tensor(values: object, source: object) -> Tensor:
    if isinstance(values, Tensor):
        return values.detach().cpu()
    array = np.asarray(values)
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    try:
        with warnings.catch_warnings():
            # torch warns of read-only memory, such as a mapped file. Nothing writes to it.
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            return torch.from_numpy(array)
    except (TypeError, ValueError) as error:
        raise ItemError("emissions", f"{source} holds {array.dtype}, which torch cannot read: {error}") from error


def _from_model(audio: str, model: str | None) -> Tensor:
    if model is None:
        raise ItemError("missing", "it has audio but no emissions: name a model for them, --model module:function")
    function = load_object(model, "model")
    if not callable(function):
        raise CorpusError(f"model {model!r} is a {type(function).__name__}, but must be a function")
    if not _is_file(audio):
        raise ItemError("missing", f"there is no file {audio!r} (paths are relative to the manifest's folder)")
    try:
        # Output of the model must not mix with results on the standard output.
        with contextlib.redirect_stdout(sys.stderr), torch.no_grad():
            values = function(audio)
    except (Exception, SystemExit) as error:
        raise ItemError("model", f"{model} failed for {audio!r}: {type(error).__name__}: {error}") from error
    return _tensor(values, model)
