"""The command line, ``ctckit``: what whole data sets need, without a program.

The commands are in `ctckit.cli.app`; what they do is in `ctckit.corpus` and `ctckit.page`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]

_NEEDED = {"click": "click", "rich": "rich", "jinja2": "jinja2"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: what follows the name of the program; None for those of this process.

    Returns:
        What to exit with: 0 if all is well; 1 if items are bad; 2 if nothing could be done (a wrong option, a file that
        does not exist); 130 if it was interrupted.
    """
    try:
        from ctckit.cli.app import run  # noqa: PLC0415  # needs the extra
    except ModuleNotFoundError as error:
        if error.name not in _NEEDED:
            raise
        print(f"ctckit: the command line needs {error.name}: pip install 'ctckit[cli]'", file=sys.stderr)
        return 2
    return run(list(sys.argv[1:] if arguments is None else arguments))
