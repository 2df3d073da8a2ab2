"""The machine, the versions and the commit: what somebody needs to compare numbers."""

from __future__ import annotations

import datetime as dt
import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

import ctckit
from benchmarks.process import ROOT


def describe() -> dict[str, object]:
    """Describe this machine as it is now."""
    pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else None
    cpu = _cpuinfo()
    name = f"{cpu['model name']} (family {cpu.get('cpu family')}, model {cpu.get('model')})" if cpu else ""
    flags = cpu.get("flags", "").split()
    return {
        "cpu": name or _output("sysctl", "-n", "machdep.cpu.brand_string") or platform.processor(),
        "simd": next((name for name in ("avx512f", "avx2", "sse4_2") if name in flags), ""),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(pages / 2**30, 1) if pages else None,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {"ctckit": ctckit.__version__, "torch": torch.__version__, "numpy": np.__version__},
        "ctckit": _output(sys.executable, "-m", "ctckit").splitlines(),
        "commit": _output("git", "-C", str(ROOT), "describe", "--always", "--dirty"),
        "date": dt.datetime.now(dt.timezone.utc).strftime("%Y-%m-%d"),
        "load_before": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }


def _output(*command: str) -> str:
    """The output of a command, or nothing if it cannot be run."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return ""


def _cpuinfo() -> dict[str, str]:
    """Linux's facts on the processor, if they name its model. Virtual machines often hide all but family and number."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    return facts if "model name" in facts else {}
