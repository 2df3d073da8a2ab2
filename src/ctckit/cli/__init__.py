"""The command line, ``ctckit``, for whole data sets.

`ctckit.cli.app` has the commands; `ctckit.corpus` and `ctckit.page` do the work.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]

_NEEDED = {"click": "click", "rich": "rich", "jinja2": "jinja2"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: the arguments after the name of the program; None for those of this process.

    Returns:
        The exit code: 0 for no problem; 1 if items are bad; 2 if the run could not start or go on (a wrong option, a
        missing file, a full disk); 130 if it was interrupted; 141 if the reader of the output is gone.
    """
    try:
        from ctckit.cli.app import run  # noqa: PLC0415  # needs the extra "cli"
    except ModuleNotFoundError as error:
        if error.name not in _NEEDED:
            raise
        print(f"ctckit: the command line needs {error.name}: pip install 'ctckit[cli]'", file=sys.stderr)
        return 2
    return run(list(sys.argv[1:] if arguments is None else arguments))
