"""Pictures of CTC: the trellis that it sums over, the posteriors of a model, alignments, and error rates by weight.

Each function draws on matplotlib ``Axes``, new ones or those of its argument `ax`, and returns them. The caller adds
titles, sets sizes and saves files. matplotlib is imported when a picture is drawn. To install it:
``pip install ctckit[plot]``.
"""

from ctckit.plot.alignment_picture import alignment
from ctckit.plot.posterior_picture import posteriors
from ctckit.plot.trellis_picture import trellis
from ctckit.plot.tuning_picture import error_rates

__all__ = ["alignment", "error_rates", "posteriors", "trellis"]
