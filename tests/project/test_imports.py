"""The architecture in imports: a folder imports only folders below it, and no modules import each other in a circle."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[2] / "src" / "ctckit"

FLOORS = (
    ("errors", "files", "_core"),
    ("lattice",),
    ("reference",),
    ("backends",),
    ("loss", "text"),
    ("plot",),
    ("output",),
    ("alignment", "page"),
    ("decoding",),
    ("compat",),
    ("__init__",),
    ("corpus",),
    ("cli",),
    ("__main__",),
)
"""The folders and loose modules, from the ground up. `ctckit` itself, the public names, is ``__init__``."""

BY_TYPE = {("plot.alignment_picture", "output.spans")}
"""Imports upwards for the type checker alone."""

MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in ROOT.rglob("*.py")
}


def imports(module: str) -> Iterator[str]:
    """Every module of the package that a module imports, wherever in it."""
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} has a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if name == "ctckit":
                yield "__init__"
            elif name.startswith("ctckit."):
                below = name.removeprefix("ctckit.")
                parent = below.rpartition(".")[0]
                yield below if below in MODULES or below == "_core" else parent or "__init__"


def folder(module: str) -> str:
    return module.partition(".")[0]


def test_few_modules_are_loose() -> None:
    assert len(list(ROOT.glob("*.py"))) <= 5
    assert {folder(module) for module in MODULES} | {"_core"} == {name for floor in FLOORS for name in floor}


def test_imports_only_go_down() -> None:
    floor_of = {name: number for number, floor in enumerate(FLOORS) for name in floor}
    upward = {
        (module, target)
        for module in MODULES
        for target in imports(module)
        if folder(target) != folder(module) and floor_of[folder(target)] >= floor_of[folder(module)]
    }
    assert upward == BY_TYPE


def test_no_circle() -> None:
    graph = {
        module: {target for target in imports(module) if target != module and (module, target) not in BY_TYPE}
        for module in MODULES
    }
    # A folder re-exports names of its modules, so a module may import a name from its own folder.
    for module, targets in graph.items():
        targets.discard(folder(module))
    list(TopologicalSorter(graph).static_order())
