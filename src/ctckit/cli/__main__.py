"""``python -m ctckit.cli``: the command line if the script ``ctckit`` is not on the path."""

from __future__ import annotations

import sys

from ctckit.cli import main

if __name__ == "__main__":
    sys.exit(main())
