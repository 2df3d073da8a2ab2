"""``python -m ctckit`` prints versions and backends; with arguments, it is the command line."""

from __future__ import annotations

import os
import platform
import sys

import torch

import ctckit
from ctckit import backends


def report() -> str:
    """Describe the installation in a few lines."""
    lines = [
        f"ctckit {ctckit.__version__}, torch {torch.__version__}, Python {platform.python_version()}",
        f"platform: {platform.platform()}, {torch.get_num_threads()} threads",
    ]
    if backends.available("cpu"):
        from ctckit.backends import cpu  # noqa: PLC0415  # fails without the core

        levels = cpu.simd_levels()
        lines.append(f"core: {os.environ.get('CTCKIT_SIMD') or levels[0]} (this processor runs {', '.join(levels)})")
    else:
        lines.append("core: not available")
    devices = ["cpu", *(name for name in ("cuda", "mps", "xpu") if getattr(torch, name, None) and _present(name))]
    lines += [f"{device} tensors: backend {backends.name_for(torch.device(device))!r}" for device in devices]
    return "\n".join(lines)


def _present(device: str) -> bool:
    return bool(torch.get_device_module(device).is_available())


if __name__ == "__main__":
    if len(sys.argv) > 1:
        from ctckit.cli import main

        sys.exit(main())
    print(report())
