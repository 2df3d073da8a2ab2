"""A pytest plugin that hides packages, as if the environment had pytest, NumPy, torch, Triton and little else.

GPU machines often have only these: `python -m pytest -p tests.tools.few_packages`, with
PYTEST_DISABLE_PLUGIN_AUTOLOAD=1.
"""

from __future__ import annotations

import sys
from importlib.machinery import PathFinder
from typing import Any

MISSING = frozenset({
    "ctckit._core", "hypothesis", "matplotlib", "pandas", "praatio", "pyarrow", "pysubs2",
    "pytest_timeout", "safetensors", "selenium", "srt", "sybil", "textgrid", "tokenizers", "webvtt", "xdist",
})  # fmt: skip


class FewPackages(PathFinder):
    """Hides the packages of `MISSING`, even if they are installed."""

    @classmethod
    def find_spec(cls, fullname: str, path: Any = None, target: Any = None) -> Any:
        return None if fullname in MISSING else super().find_spec(fullname, path, target)


sys.meta_path[:] = [FewPackages if finder is PathFinder else finder for finder in sys.meta_path]
