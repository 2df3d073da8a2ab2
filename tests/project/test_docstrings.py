"""The examples in the docstrings of the installed package do what they say."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
from typing import Any

import pytest

import ctckit


class Finder(doctest.DocTestFinder):
    """A finder that also finds functions behind decorators of another module."""

    def _from_module(self, module: Any, object: Any) -> bool:  # noqa: A002  # as in the standard library
        return bool(super()._from_module(module, inspect.unwrap(object)))  # type: ignore[misc]


MODULES = [module.name for module in pkgutil.walk_packages(ctckit.__path__, "ctckit.")]


@pytest.mark.parametrize("name", ["ctckit", *(name for name in MODULES if not name.endswith("__main__"))])
def test_examples(name: str) -> None:
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("ctckit"):
            raise
        pytest.skip(f"{error.name} is not installed")
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    for test in Finder().find(module, name):
        runner.run(test)
    assert runner.summarize(verbose=False).failed == 0


def test_every_public_function_has_an_example() -> None:
    tested = {
        test.name for name in MODULES if not name.startswith("ctckit.cli") for test in found(name) if test.examples
    }
    functions = {name for name in ctckit.__all__ if inspect.isfunction(getattr(ctckit, name))}
    assert functions <= {name.rpartition(".")[2] for name in tested}


def found(name: str) -> list[doctest.DocTest]:
    try:
        return Finder().find(importlib.import_module(name), name)
    except ModuleNotFoundError:
        return []
