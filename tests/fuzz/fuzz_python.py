"""Runs the fuzz targets of the Python code with Atheris, which keeps inputs that reach new code.

``make fuzz``, or ``python -m tests.fuzz.fuzz_python --seconds 600 manifest``. Each target is a module ``fuzz_NAME``
with a function `one`. It starts from the inputs in ``tests/fuzz/corpus/NAME`` and keeps new ones in
``build/fuzz/NAME``. A failure leaves its input in ``build/fuzz``; ``python -m tests.fuzz.fuzz_python NAME FILE`` runs
it again. ``test_fuzz_targets.py`` runs the kept inputs. Put the input of a fixed failure there.
"""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
import time
from pathlib import Path

TARGETS = ("manifest", "vocabulary")
_ROOT = Path(__file__).parents[2]


def main(arguments: list[str]) -> int:
    """Fuzz each target in its own process; divide the time equally."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"targets, of {', '.join(TARGETS)}; then FILEs")
    parser.add_argument("--seconds", type=float, default=60, help="in all (default: %(default)s)")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    names = [name for name in options.names if name in TARGETS] or list(TARGETS)
    files = [name for name in options.names if name not in TARGETS]
    if files:
        for file in files:
            importlib.import_module(f"tests.fuzz.fuzz_{names[0]}").one(Path(file).read_bytes())
        return 0
    if options.here:
        _fuzz(names[0], options.seconds)
    share = options.seconds / len(names)
    for name in names:
        start = time.monotonic()
        command = [sys.executable, "-m", "tests.fuzz.fuzz_python", name, "--here", "--seconds", str(share)]
        run = subprocess.run(command, check=False, capture_output=True, text=True, errors="replace")  # noqa: S603
        done = [line for line in run.stderr.splitlines() if line.startswith(("#", "Done"))]
        sys.stdout.write(f"{name}: {done[-1] if done else 'no runs'} ({time.monotonic() - start:.0f} s)\n")
        if run.returncode:
            sys.stdout.write(run.stdout[-10_000:] + run.stderr[-10_000:])
            return 1
    return 0


def _fuzz(name: str, seconds: float) -> None:
    import atheris

    with atheris.instrument_imports(include=["ctckit"]):
        one = importlib.import_module(f"tests.fuzz.fuzz_{name}").one
    found = _ROOT / "build" / "fuzz" / name
    found.mkdir(parents=True, exist_ok=True)
    flags = [
        f"-max_total_time={max(1, round(seconds))}", "-timeout=10", "-max_len=1024", "-seed=1", "-print_final_stats=0",
        f"-artifact_prefix={found.parent}/{name}-", str(found), str(_ROOT / "tests" / "fuzz" / "corpus" / name),
    ]  # fmt: skip
    atheris.Setup([sys.argv[0], *flags], one)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
