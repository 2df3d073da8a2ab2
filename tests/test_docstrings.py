"""The examples in the docstrings of the installed package do what they say."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import ctckit

MODULES = [module.name for module in pkgutil.walk_packages(ctckit.__path__, "ctckit.")]


@pytest.mark.parametrize("name", ["ctckit", *(name for name in MODULES if not name.endswith("__main__"))])
def test_examples(name: str) -> None:
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("ctckit"):
            raise
        pytest.skip(f"{error.name} is not installed")
    outcome = doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert outcome.failed == 0
