"""Whole data sets: align, measure or check the items of a manifest, in one process, in many, or on a Ray cluster.

A *manifest* lists the items (`read_manifest`); a *task* says what to do with one (`AlignTask`, `LossTask`,
`CheckTask`); `run` does it with all of them and yields one `Outcome` per item, in the manifest's order, however many
processes take part. `process` also writes them to files as they come, and goes on where an earlier run was stopped.
The command line is made of these.

An item that cannot be done is an outcome too, with a `Fault` that says why; the others are not touched by it. What
stops a whole run (a manifest that does not exist, a model that cannot be imported) is a `CorpusError`.

>>> import json, tempfile, pathlib, numpy as np
>>> folder = pathlib.Path(tempfile.mkdtemp())
>>> np.save(folder / "a.npy", np.log([[0.1, 0.8, 0.1], [0.8, 0.1, 0.1], [0.1, 0.1, 0.8]]))
>>> _ = (folder / "items.jsonl").write_text(json.dumps({"id": "a", "emissions": "a.npy", "tokens": [1, 2]}))
>>> for outcome in run(LossTask(), read_manifest(folder / "items.jsonl")):
...     print(outcome.id, round(outcome.result["loss"], 3))
a 0.422
"""

from ctckit.corpus.emissions import load_emissions
from ctckit.corpus.errors import CorpusError, ItemWarning
from ctckit.corpus.manifest import Item, count_items, read_manifest
from ctckit.corpus.outcomes import Fault, Outcome
from ctckit.corpus.pipeline import Summary, process, run
from ctckit.corpus.tasks import FORMATS, AlignTask, CheckTask, LossTask, Task

__all__ = [
    "FORMATS",
    "AlignTask",
    "CheckTask",
    "CorpusError",
    "Fault",
    "Item",
    "ItemWarning",
    "LossTask",
    "Outcome",
    "Summary",
    "Task",
    "count_items",
    "load_emissions",
    "process",
    "read_manifest",
    "run",
]
