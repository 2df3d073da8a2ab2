"""Pictures of CTC: the trellis it sums over, where a model's posteriors put each label, and alignments.

All functions draw on matplotlib ``Axes`` (their own, or one that is given) and return them, so that titles, sizes and
files remain the caller's business. matplotlib is imported when a picture is drawn and not before; it comes with
``pip install ctckit[plot]``.
"""

from ctckit.plot.alignment_picture import alignment
from ctckit.plot.posterior_picture import posteriors
from ctckit.plot.trellis_picture import trellis

__all__ = ["alignment", "posteriors", "trellis"]
