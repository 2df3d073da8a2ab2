"""The user's own functions and objects, such as models and tokenizers, named ``module:attribute``."""

from __future__ import annotations

import contextlib
import functools
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

from ctckit.corpus.errors import CorpusError

__all__ = ["load_object", "source_file"]


@functools.cache
def load_object(name: str, what: str) -> object:
    """Import ``module:attribute``, once per process.

    Args:
        name: ``module:attribute``. The module may be a file of the current folder.
        what: the use of the object, such as "model", for error messages.

    Raises:
        CorpusError: if the module cannot be imported, or has no such attribute.

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
            found: object = importlib.import_module(module)
    except (Exception, SystemExit) as error:
        raise CorpusError(f"{what} {name!r} cannot be imported: {type(error).__name__}: {error}") from error
    try:
        for part in attribute.split("."):
            found = getattr(found, part)
    except AttributeError:
        raise CorpusError(f"{what} is {name!r}, but the module {module!r} has no {attribute!r}") from None
    return found


def source_file(name: str) -> Path | None:
    """Return the Python file of ``module:attribute`` without importing it; None if it is not found.

    Args:
        name: as for `load_object`.
    """
    module = Path(*name.partition(":")[0].split("."))
    for folder in ("", *sys.path):
        for path in (folder / module.with_suffix(".py"), folder / module / "__init__.py"):
            with contextlib.suppress(OSError, ValueError):
                if path.is_file():
                    return path
    return None


@contextlib.contextmanager
def _current_folder_first() -> Iterator[None]:
    sys.path.insert(0, "")
    try:
        yield
    finally:
        sys.path.remove("")
