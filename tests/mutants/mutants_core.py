"""Mutation tests of the C++ core: applies the faults of ``mutants_core.txt``, one at a time, and runs the tests.

``make mutants-core``, or ``python -m tests.mutants.mutants_core [NAME ...]``. Each fault is applied to a copy of the
sources. The core is built for the baseline instruction set (with AddressSanitizer, if only that can detect it), and the
tests run until one fails. Surviving faults are listed: write a test that detects them.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_ROOT = Path(__file__).parents[2]
_LIST = Path(__file__).parent / "mutants_core.txt"
# The fastest tests first. The tests of threads take longest, so they run only for files that affect threads.
_TESTS = (
    "fuzz/test_fuzz",
    "alignment/test_forced",
    "alignment/test_forced_pruning",
    "alignment/test_forced_long_inputs",
    "alignment/test_patterns",
    "alignment/test_pattern_numerics",
    "alignment/test_pattern_arguments",
    "lattice/test_edges",
    "loss/test_memory",
    "alignment/test_occupancy",
    "loss/test_loss",
    "lattice/test_bad_input",
    "backends/test_numerics",
    "backends/test_simd",
)
_OF_THE_LOSS = (
    "fuzz/test_fuzz",
    "loss/test_tiles",
    "lattice/test_edges",
    "alignment/test_occupancy",
    "backends/test_numerics",
    "loss/test_memory",
    "loss/test_loss",
    "backends/test_simd",
    "loss/test_band",
)
_OF_DECODING = (
    "decoding/test_search",
    "decoding/test_search_scorers",
    "decoding/test_enumeration",
    "decoding/test_certificate",
    "decoding/test_rescoring",
    "decoding/test_greedy",
    "decoding/test_streams",
    "decoding/test_same_bits",
    "decoding/test_bad_values",
)
_DECODING = ("frame.hpp", "next_beam.hpp", "ranking.hpp", "tokens.hpp", "order.hpp", "row.hpp", "greedy.hpp",
             "kernels.inl", "prefix_tree.cpp", "search.cpp", "decode.cpp", "final_beam.cpp")  # fmt: skip
_OF_KNOWLEDGE = (
    "decoding/test_ngram",
    "decoding/test_model_errors",
    "decoding/test_knowledge_errors",
    "decoding/test_phrase_scorer",
    "decoding/test_word_scorer",
    "decoding/test_knowledge",
    "decoding/test_kenlm",
    "decoding/test_knowledge_beam",
)
_KNOWLEDGE = ("decoding/scorer.hpp", "decoding/phrase_scorer.cpp", "decoding/token_scorer.cpp",
              "decoding/word_scorer.cpp", "language/arpa.cpp", "language/ngram.cpp", "language/ngram_builder.cpp",
              "language/ngram_table.cpp", "language/ngram_table.hpp", "language/word_trie.cpp")  # fmt: skip
_OF_FILES = {
    **dict.fromkeys((f"decoding/{name}" for name in _DECODING), _OF_DECODING),
    **dict.fromkeys(_KNOWLEDGE, _OF_KNOWLEDGE),
    "decoding/scored_steps.hpp": ("decoding/test_search_scorers", *_OF_KNOWLEDGE),
    "language/kenlm.cpp": ("decoding/test_kenlm",),
    **dict.fromkeys(
        (
            "loss/item.hpp",
            "loss/walks.hpp",
            "lattice/forward_backward.hpp",
            "loss/occupancy.hpp",
            "loss/states.hpp",
            "lattice/emissions.hpp",
        ),
        _OF_THE_LOSS,
    ),
    **dict.fromkeys(("simd/softmax.hpp", "simd/exponential.hpp", "lattice/classes.hpp"), _OF_THE_LOSS),
    "lattice/checkpoints.hpp": (*_OF_THE_LOSS, "alignment/test_forced_pruning"),
    **dict.fromkeys(
        ("loss/band.hpp", "loss/forward_band.hpp", "loss/kept_segment.hpp"), ("loss/test_band", *_OF_THE_LOSS)
    ),
    "loss/gradient.hpp": (
        "fuzz/test_fuzz",
        "loss/test_memory",
        "alignment/test_occupancy",
        "lattice/test_edges",
        "loss/test_loss",
        "backends/test_simd",
        "backends/test_numerics",
    ),
    "base/workers.cpp": ("backends/test_threads",),
    "base/buffer.hpp": ("loss/test_memory", "backends/test_threads"),
    **dict.fromkeys(
        ("core.cpp", "base/schedule.cpp"),
        ("lattice/test_bad_input", "loss/test_loss", "fuzz/test_fuzz", "loss/test_memory", "backends/test_threads"),
    ),
    "lattice/target.hpp": ("lattice/test_rules", *_TESTS),
    **dict.fromkeys(
        ("alignment/best_path.hpp", "lattice/emission_table.hpp", "lattice/viterbi.hpp"),
        (
            "alignment/test_forced",
            "alignment/test_forced_pruning",
            "alignment/test_forced_long_inputs",
            "fuzz/test_fuzz",
        ),
    ),
    **dict.fromkeys(
        ("alignment/beam.hpp", "alignment/score_band.hpp"),
        ("alignment/test_forced_pruning", "alignment/test_forced_long_inputs"),
    ),
    **dict.fromkeys(
        ("graph/graph.hpp", "graph/best.cpp", "graph/sum.cpp"),
        (
            "alignment/test_patterns",
            "alignment/test_pattern_numerics",
            "alignment/test_pattern_arguments",
            "fuzz/test_fuzz",
        ),
    ),
    "simd/elements.hpp": ("backends/test_simd", *_TESTS),
    "bindings.cpp": (
        "lattice/test_tensor_kinds",
        "lattice/test_tensor_layouts",
        "lattice/test_tensor_memory",
        "loss/test_memory",
        "lattice/test_edges",
        "loss/test_loss",
    ),
}
_SECONDS = 1200  # seconds for the tests of one mutant: a hang is detected, too


class Mutant(NamedTuple):
    """A fault, from ``mutants_core.txt``."""

    name: str
    file: str
    sanitize: bool
    why: str
    old: str
    new: str
    equivalent: str
    """The reason why it changes no result; empty if it does."""


def mutants(text: str) -> Iterator[Mutant]:
    """Read the list of faults."""
    for block in re.split(r"^(?=\[)", text, flags=re.MULTILINE)[1:]:
        head, *lines = block.rstrip("\n").split("\n")
        match = re.fullmatch(r"\[([\w-]+)\] (\S+?)( \(sanitize\))?: (.+)", head)
        if match is None:
            raise ValueError(f"{_LIST.name}: cannot read {head!r}")
        name, file, sanitize, why = match.groups()
        parts = {mark: "\n".join(line[2:] for line in lines if line.startswith(mark)) for mark in "-+="}
        yield Mutant(name, file, sanitize is not None, why, parts["-"], parts["+"], parts["="])


class Tree:
    """A copy of the sources and tests, with one build folder."""

    def __init__(self, folder: Path, *, sanitize: bool) -> None:
        self._folder, self._sanitize = folder, sanitize
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("native", "src", "tests", "benchmarks"):
            _copy(_ROOT / name, folder / name)
        for name in ("CMakeLists.txt", "pyproject.toml"):
            shutil.copy2(_ROOT / name, folder / name)
        nanobind = subprocess.run(
            [sys.executable, "-m", "nanobind", "--cmake_dir"], capture_output=True, text=True, check=True
        ).stdout.strip()
        options = {
            "CMAKE_BUILD_TYPE": "Release",
            "CTCKIT_WIDE": "",
            "Python_EXECUTABLE": sys.executable,
            "nanobind_DIR": nanobind,
            "CTCKIT_SANITIZE": "address,undefined" if sanitize else "",
        }
        self._call("cmake", "-S", ".", "-B", "build", "-G", "Ninja", *(f"-D{k}={v}" for k, v in options.items()))

    def _call(self, *command: str) -> None:
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # CMake as in the build
        environment = os.environ | {"PATH": path}
        subprocess.run(command, cwd=self._folder, env=environment, check=True, stdout=subprocess.DEVNULL)  # noqa: S603

    def verdict(self, mutant: Mutant | None, tests: tuple[str, ...]) -> str:
        """Build with a fault, or without, and run the tests; return the test that detects it, or nothing."""
        path = self._folder / "native" / mutant.file if mutant else None
        try:
            if mutant and path:
                code = path.read_text(encoding="utf-8")
                if code.count(mutant.old) != 1:
                    raise ValueError(f"{mutant.name}: stands {code.count(mutant.old)} times in {mutant.file}, not once")
                path.write_text(code.replace(mutant.old, mutant.new), encoding="utf-8")
            try:
                self._call("cmake", "--build", "build")
            except subprocess.CalledProcessError as error:
                raise ValueError(f"{mutant.name if mutant else 'the core'} cannot be built") from error
            for module in (self._folder / "build").glob("_core*.so"):
                shutil.copy2(module, self._folder / "src" / "ctckit")
            for test in tests:
                if noticed := self._run(test):
                    return noticed
            return ""
        finally:
            if mutant and path:
                shutil.copy2(_ROOT / "native" / mutant.file, path)
                path.touch()

    def _run(self, test: str) -> str:
        environment = os.environ | {"PYTHONPATH": str(self._folder / "src")}
        if self._sanitize:
            libraries = (_library(name) for name in ("libasan.so", "libubsan.so", "libstdc++.so.6"))
            environment |= {
                "LD_PRELOAD": " ".join(libraries),
                "ASAN_OPTIONS": "abort_on_error=1:detect_leaks=0:verify_asan_link_order=0:allocator_may_return_null=1",
                "UBSAN_OPTIONS": "abort_on_error=1",
                "CTCKIT_SANITIZED": "1",
            }
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
        command += ["--capture=sys", f"tests/{test}.py"]
        try:
            done = subprocess.run(  # noqa: S603
                command,
                cwd=self._folder,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
                timeout=_SECONDS,
            )
        except subprocess.TimeoutExpired:
            return f"tests/{test}.py hangs"
        if done.returncode == 0:
            return ""
        failed = re.search(r"^FAILED (\S+)", done.stdout, flags=re.MULTILINE)
        return failed.group(1) if failed else f"tests/{test}.py ends with {done.returncode}"


def _copy(source: Path, target: Path) -> None:
    """Copy a folder; unchanged files keep their dates, so that little is rebuilt."""
    for file in source.rglob("*"):
        copy = target / file.relative_to(source)
        if not file.is_file() or "__pycache__" in file.parts:
            continue
        if not copy.exists() or copy.read_bytes() != file.read_bytes():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, copy)
            copy.touch()


def _library(name: str) -> str:
    return subprocess.run(  # noqa: S603
        [os.environ.get("CXX", "g++"), f"-print-file-name={name}"], capture_output=True, text=True, check=True
    ).stdout.strip()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="of these faults, or files, alone")
    parser.add_argument("--folder", type=lambda name: Path(name).resolve(), default=_ROOT / "build" / "mutants")
    parser.add_argument("--unchecked", action="store_true", help="do not first see the tests pass without a fault")
    options = parser.parse_args()
    chosen = [m for m in mutants(_LIST.read_text(encoding="utf-8")) if not m.equivalent]
    if options.names:
        chosen = [m for m in chosen if m.name in options.names or m.file in options.names]
    survivors = []
    for sanitize in (False, True):
        some = [m for m in chosen if m.sanitize == sanitize]
        if not some:
            continue
        tree = Tree(options.folder / ("sanitized" if sanitize else "plain"), sanitize=sanitize)
        if not options.unchecked and (failure := tree.verdict(None, _TESTS)):
            print(f"without a fault, {failure} fails")  # noqa: T201
            return 2
        for mutant in some:
            start = time.monotonic()
            noticed = tree.verdict(mutant, _OF_FILES.get(mutant.file, _TESTS))
            seconds = time.monotonic() - start
            print(f"{mutant.name} ({mutant.file}): {noticed or 'SURVIVES'} ({seconds:.0f} s)", flush=True)  # noqa: T201
            if not noticed:
                survivors.append(mutant)
    noticed_count = len(chosen) - len(survivors)
    print(f"{noticed_count} of {len(chosen)} faults noticed ({noticed_count / max(len(chosen), 1):.0%})")  # noqa: T201
    for mutant in survivors:
        print(f"  {mutant.name}, {mutant.file}: {mutant.why}")  # noqa: T201
    return 0 if len(survivors) * 10 <= len(chosen) else 1


if __name__ == "__main__":
    sys.exit(main())
