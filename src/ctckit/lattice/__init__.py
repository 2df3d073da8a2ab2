r"""The topology of CTC, and the gate that checks all arguments.

Read this page first: it defines the paths that the library sums over, and the form of a batch.

**The problem.** A network reads T frames. For each frame t and class c it gives an emission ``x[t, c]``: the log of the
probability of class c. A target is a row of S labels, ``l[1] .. l[S]``, none of them the blank. An *alignment* is a
path of T classes that spells the target: first runs of equal classes are merged, then blanks are dropped. So
``a a - a b b`` spells ``a a b``. The likelihood of the target is the sum over its alignments of the product of their
probabilities. The CTC loss is minus its logarithm (Graves et al., 2006).

**The lattice.** The sum runs over paths through frames × states. The K = 2S + 1 states of a target are its labels, with
a blank before, between and after them::

    state      0      1      2      3      4     ...    2S - 1    2S
    class    blank   l[1]  blank   l[2]  blank   ...     l[S]    blank

A path starts in state 0 or 1, ends in state 2S - 1 or 2S, and takes one of three arcs per frame:

1. *stay*, s <- s: a label or a blank lasts one more frame;
2. *step*, s <- s - 1: from a blank to the label after it, or from a label to the blank after it;
3. *skip*, s <- s - 2: from a label straight to the next label, without a blank. The two must differ, because a run of
   equal labels would be merged into one. `may_skip` is this rule.

::

    state 0  blank   o--->o--->o--->o            horizontal: stay
                      \    \    \               one down:   step
    state 1  l[1]    o--->o--->o--->o            two down:   skip (label to label, if they differ)
                      \    \    \
    state 2  blank   o--->o--->o--->o
                      \    \    \
    state 3  l[2]    o--->o--->o--->o

So a target needs at least S frames, and one more for each pair of equal neighbours (`frames_needed`). With fewer frames
it is *infeasible*: no path exists, the likelihood is 0 and the loss is infinite.

**The gate.** Targets are padded, concatenated or unbatched; lengths are tensors, sequences, numbers or None. `gate`
turns the arguments into one `Lattice` and raises every error of type and shape. It reads no value, so it works under
``torch.compile``, ``torch.export`` and ``torch.func``. `validate` raises the errors of values, on the CPU. On other
devices, and in traced graphs, reading values would need a device sync: there `is_invalid` marks the items, and their
loss is NaN. No other module interprets a caller's formats.

The files:

- ``topology.py``: the batch, its states and arcs;
- ``arguments.py``: the gate; ``lengths.py`` and ``tensor_kinds.py``: the accepted forms of lengths and tensors;
- ``checks.py``: the rules for values, and their messages;
- ``pattern.py``: the graphs of patterns; ``chain.py``: patterns without alternatives;
- ``diagnosis.py`` and ``plausibility.py``: problems of targets and of emissions, for users.

References:
    A. Graves, S. Fernández, F. Gomez, J. Schmidhuber. Connectionist temporal classification: labelling unsegmented
    sequence data with recurrent neural networks. ICML 2006.
"""

from ctckit.lattice.arguments import checked_blank, gate, gate_emissions, gate_targets
from ctckit.lattice.checks import (
    Problem,
    bad_label,
    faults,
    is_invalid,
    item_name,
    no_path,
    too_few_frames,
    validate,
    validate_input_lengths,
)
from ctckit.lattice.lengths import Lengths, as_int
from ctckit.lattice.topology import PADDING, Lattice, frames_needed, may_skip, padded_labels, state_labels, tighten

__all__ = [
    "PADDING",
    "Lattice",
    "Lengths",
    "Problem",
    "as_int",
    "bad_label",
    "checked_blank",
    "faults",
    "frames_needed",
    "gate",
    "gate_emissions",
    "gate_targets",
    "is_invalid",
    "item_name",
    "may_skip",
    "no_path",
    "padded_labels",
    "state_labels",
    "tighten",
    "too_few_frames",
    "validate",
    "validate_input_lengths",
]
