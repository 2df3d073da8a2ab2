"""On what was it measured?"""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def describe() -> dict[str, object]:
    """The processor, the versions and the commit: what somebody needs to compare numbers."""
    return {
        "cpu": _cpu(),
        "simd": _simd(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": _memory(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in ("ctckit", "torch", "numpy")},
        "ctckit": _output(sys.executable, "-m", "ctckit").splitlines(),
        "commit": _output("git", "-C", str(ROOT), "describe", "--always", "--dirty"),
        "date": dt.datetime.now(dt.timezone.utc).strftime("%Y-%m-%d"),
        "load_before": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }


def _output(*command: str) -> str:
    """What a command prints, or nothing if it cannot be run."""
    try:
        return subprocess.run(  # noqa: S603 - fixed commands
            command, capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def _cpuinfo() -> dict[str, str]:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}


def _cpu() -> str:
    """The model, with family and number: virtual machines often hide the model's full name."""
    info = _cpuinfo()
    if "model name" not in info:
        return _output("sysctl", "-n", "machdep.cpu.brand_string") or platform.processor()
    return f"{info['model name']} (family {info.get('cpu family')}, model {info.get('model')})"


def _simd() -> str:
    flags = _cpuinfo().get("flags", "").split()
    return next((name for name in ("avx512f", "avx2", "sse4_2") if name in flags), "")


def _memory() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, ValueError, OSError):
        return None
