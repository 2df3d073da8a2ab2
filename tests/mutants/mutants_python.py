"""Mutation tests of the Python code: makes small faults, one at a time, and runs the tests.

``make mutants-python``, or ``python -m tests.mutants.mutants_python lattice/pattern``. Cosmic Ray's operators (and one
that deletes a statement) make the faults in a copy of the package. pyproject.toml names the tests of each module; of
these, the tests that execute the faulty line run until one fails. Surviving faults are listed with their lines: write
a test that detects them. If no test can, put the line into ``mutants_equivalent.txt`` with the reason.
``--share 0.2`` tries a fifth of the faults, and ``--most 60`` at most 60 per module, the same ones each time.
"""

from __future__ import annotations

import argparse
import ast
import compileall
import contextlib
import gc
import importlib.util
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests.mutants.tests_of_lines import Chooser, Record, Recorder

_ROOT = Path(__file__).parents[2]
_EQUIVALENT = Path(__file__).parent / "mutants_equivalent.txt"
_OPERATORS = (
    "AddNot", "ExceptionReplacer", "NumberReplacer", "ReplaceAndWithOr", "ReplaceOrWithAnd", "ReplaceBreakWithContinue",
    "ReplaceContinueWithBreak", "ReplaceFalseWithTrue", "ReplaceTrueWithFalse", "ReplaceUnaryOperator_Delete_Invert",
    "ReplaceUnaryOperator_Delete_Not", "ReplaceUnaryOperator_Delete_USub", "ZeroIterationForLoop",
    "ReplaceBinaryOperator_Add_Sub", "ReplaceBinaryOperator_Sub_Add", "ReplaceBinaryOperator_Mul_FloorDiv",
    "ReplaceBinaryOperator_FloorDiv_Mul", "ReplaceBinaryOperator_Div_Mul", "ReplaceBinaryOperator_Mod_Add",
    "ReplaceBinaryOperator_BitAnd_BitOr", "ReplaceBinaryOperator_BitOr_BitAnd", "ReplaceComparisonOperator_Eq_NotEq",
    "ReplaceComparisonOperator_NotEq_Eq", "ReplaceComparisonOperator_Lt_LtE", "ReplaceComparisonOperator_LtE_Lt",
    "ReplaceComparisonOperator_Gt_GtE", "ReplaceComparisonOperator_GtE_Gt", "ReplaceComparisonOperator_Is_IsNot",
    "ReplaceComparisonOperator_IsNot_Is",
)  # fmt: skip
# Options for a fast start: no rewritten assertions, because their messages are not used.
_PYTEST = ("-x", "-q", "--assert=plain", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:anyio")
# Imported once for all faults: imports of the package and its tests, and of torch in deterministic mode.
_SLOW = (
    "torch", "torch.testing", "torch._inductor", "torch.fx.experimental.proxy_tensor", "numpy", "hypothesis",
    "hypothesis.strategies", "pytest", "_pytest.pytester", "pytest_timeout", "sybil.integration.pytest", "typer",
    "rich", "pandas", "tokenizers", "sentencepiece", "transformers", "pyarrow", "selenium.webdriver", "jinja2",
    "coverage", "asyncio",
)  # fmt: skip


class Mutant(NamedTuple):
    """A module with one fault."""

    operator: str
    line: int
    text: str
    """The line with the fault."""
    code: str


def mutants(code: str) -> Iterator[Mutant]:
    """Yield every fault of a module, except faults in annotations."""
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator

    seen = {_meaning(code)}
    faulty = [
        (name, mutated) for name in _OPERATORS for mutated in _all(mutate_code, get_operator(f"core/{name}"), code)
    ]
    faulty += [("LeaveOut", mutated) for mutated in _without_statements(code)]
    for name, mutated in faulty:
        try:
            meaning = _meaning(mutated)
        except SyntaxError:  # for example the star of a signature, mutated as a product
            continue
        if meaning in seen:
            continue
        seen.add(meaning)
        pairs = enumerate(zip(code.splitlines(), mutated.splitlines(), strict=False), 1)
        line, text = next((number, new.strip()) for number, (old, new) in pairs if old != new)
        yield Mutant(name, line, text, mutated)


def _all(mutate: Any, operator: Any, code: str) -> Iterator[str]:
    occurrence = 0
    while (mutated := mutate(code, operator(), occurrence)) is not None:
        yield mutated
        occurrence += 1


def _without_statements(code: str) -> Iterator[str]:
    lines = code.splitlines(keepends=True)
    for node in ast.walk(ast.parse(code)):
        if not isinstance(node, (ast.Expr, ast.AugAssign, ast.Raise, ast.Assign)):
            continue
        is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        is_name = isinstance(node, ast.Assign) and isinstance(node.targets[0], (ast.Name, ast.Tuple))
        if not (is_text or is_name):
            assert node.end_lineno is not None
            first = lines[node.lineno - 1]
            left_out = first[: node.col_offset] + "pass\n"
            yield "".join([*lines[: node.lineno - 1], left_out, *lines[node.end_lineno :]])


class _Plain(ast.NodeTransformer):
    """Removes annotations."""

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:  # the name is ast's
        node.returns = None
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:  # likewise
        node.annotation = ast.Constant(value=None)
        return self.generic_visit(node)


def _meaning(code: str) -> str:
    return ast.dump(_Plain().visit(ast.parse(code)))


class Place:
    """A copy of the package, whose modules can be replaced, and the tests that run on it."""

    def __init__(self, folder: Path) -> None:
        spec = importlib.util.find_spec("ctckit")
        assert spec is not None
        assert spec.origin is not None
        self.folder = folder
        self.log = folder / "log"
        shutil.copytree(Path(spec.origin).parent, folder / "ctckit", ignore=shutil.ignore_patterns("__pycache__"))
        # Compiled once, before the faults: bytecode would confuse two faults of the same length within one second.
        sys.pycache_prefix = str(folder / "compiled")
        for place in (folder / "ctckit", _ROOT / "tests", _ROOT / "conftest.py"):
            compile_all = compileall.compile_dir if place.is_dir() else compileall.compile_file
            compile_all(place, quiet=1)

    def record(self, module: str, arguments: list[str]) -> Record:
        """Run all tests without a fault, and return the tests that execute each line."""
        recorder = Recorder(str(self.folder / "ctckit" / module))
        kept = self.folder / "record"
        if self._fork(arguments, recorder, 600, lambda: kept.write_text(json.dumps(recorder.record()))) != 0:
            raise SystemExit(f"{module}: the tests fail without a fault:\n{self.log.read_text()[-3000:]}")
        lines, seconds, starting = json.loads(kept.read_text())
        return Record({int(line): tests for line, tests in lines.items()}, seconds, starting)

    def sees(self, module: str, code: str, arguments: list[str], tests: list[str], seconds: float) -> bool:
        """Whether one of the tests fails, or takes too long, with this code in place of the module's."""
        path = self.folder / "ctckit" / module
        original = path.read_text(encoding="utf-8")
        path.write_text(code, encoding="utf-8")
        files = {test.partition("::")[0] for test in tests}
        try:
            arguments = [argument for argument in arguments if not argument.endswith(".py") or argument in files]
            return self._fork(arguments, Chooser(tests), seconds) != 0
        finally:
            path.write_text(original, encoding="utf-8")

    def _fork(
        self, arguments: list[str], plugin: object, seconds: float, then: Callable[[], object] = lambda: None
    ) -> int:
        """Run tests in a fork of this process, which has imported all slow modules, but not ctckit."""
        pid = os.fork()
        if pid == 0:
            self._test(arguments, plugin, then)
        return _wait(pid, seconds)

    def _test(self, arguments: list[str], plugin: object, then: Callable[[], object]) -> None:
        import pytest

        code = 3
        try:
            os.setsid()
            log = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(log, 1)
            os.dup2(log, 2)
            sys.dont_write_bytecode = True
            sys.path.insert(0, str(self.folder))
            os.environ.update(
                PYTHONPATH=os.pathsep.join([str(self.folder), os.environ.get("PYTHONPATH", "")]),
                PYTHONDONTWRITEBYTECODE="1",
            )
            code = int(pytest.main([*_PYTEST, f"--basetemp={self.folder / 'scratch'}", *arguments], plugins=[plugin]))
            then()
        except BaseException:  # noqa: BLE001  # printed; the forked process must exit here
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)


def _wait(pid: int, seconds: float) -> int:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return -1


def test_module(place: Place, module: str, tests: list[str], share: float, most: int) -> tuple[int, int]:
    """Try the faults of one module; return the numbers of detected faults and of all faults."""
    code = (place.folder / "ctckit" / module).read_text(encoding="utf-8")
    equivalent = _equivalent(module)
    start = time.monotonic()
    record = place.record(module, tests)
    chosen = [mutant for mutant in mutants(code) if mutant.text not in equivalent]
    count = min(most, max(1, round(share * len(chosen))))
    if count < len(chosen):
        chosen = random.Random(0).sample(chosen, count)  # noqa: S311  # no secret
    caught = 0
    for mutant in sorted(chosen, key=lambda mutant: mutant.line):
        able = record.tests(code, mutant.line)
        limit = 4 * sum(record.seconds[test] for test in able) + 10
        if able and place.sees(module, mutant.code, tests, able, limit):
            caught += 1
        else:
            print(f"  {module}:{mutant.line}: {mutant.operator} survives: {mutant.text}", flush=True)
    seconds = time.monotonic() - start
    print(
        f"{module}: {caught} of {len(chosen)} caught ({100 * caught / len(chosen):.0f} %, {seconds:.0f} s)", flush=True
    )
    return caught, len(chosen)


def _equivalent(module: str) -> set[str]:
    """Faulty lines that no test can detect: ``MODULE: LINE`` each, after a comment with the reason."""
    lines = _EQUIVALENT.read_text(encoding="utf-8").splitlines()
    return {line.removeprefix(f"{module}: ") for line in lines if line.startswith(f"{module}: ")}


def _configured() -> dict[str, list[str]]:
    tomllib: Any = importlib.import_module("tomllib")  # since Python 3.11
    settings = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    modules: dict[str, list[str]] = settings["tool"]["ctckit"]["mutants"]
    return modules


def main(arguments: list[str]) -> int:
    """Try the faults of the given modules, or of all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="MODULE", help="such as corpus/results; default: all")
    parser.add_argument("--share", type=float, default=1, help="of the faults to try (default: all)")
    parser.add_argument("--most", type=int, default=sys.maxsize, help="faults of a module to try (default: all)")
    options = parser.parse_args(arguments)
    configured = _configured()
    for name in options.names:
        if name not in configured:
            parser.error(f"no tests are named for {name} in pyproject.toml: choose some of {', '.join(configured)}")
    _import_what_is_slow()
    total = [0, 0]
    with tempfile.TemporaryDirectory(prefix="ctckit-mutants-") as folder:
        place = Place(Path(folder))
        for name in options.names or configured:
            numbers = test_module(place, f"{name}.py", configured[name], options.share, options.most)
            for index, number in enumerate(numbers):
                total[index] += number
    print(f"Python mutants: {total[0]} of {total[1]} caught ({100 * total[0] / total[1]:.0f} %)")
    return 0


def _import_what_is_slow() -> None:
    for name in _SLOW:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    gc.freeze()  # or every fork's garbage collections would traverse it


if __name__ == "__main__":
    os.chdir(_ROOT)
    sys.exit(main(sys.argv[1:]))
