"""Whole data sets: align, decode, measure or check the items of a manifest, in one process, in many, or on Ray.

A *manifest* lists the items (`read_manifest`). A *task* says what to do with one item (`AlignTask`, `DecodeTask`,
`LossTask`, `CheckTask`). `run` does a task with all items and yields one `Outcome` per item, in the manifest's order,
for any number of processes. `process` also writes the outcomes to files as they come, and resumes an earlier run. The
command line is made of these functions. `tune` finds the weights of a language model.

A bad item is an outcome too, with a `Fault` that gives the reason; the other items are done. An error that stops the
whole run is a `CorpusError`: a manifest that does not exist, a model that cannot be imported.

>>> import json, tempfile, pathlib, numpy as np
>>> folder = pathlib.Path(tempfile.mkdtemp())
>>> np.save(folder / "a.npy", np.log([[0.1, 0.8, 0.1], [0.8, 0.1, 0.1], [0.1, 0.1, 0.8]]))
>>> _ = (folder / "items.jsonl").write_text(json.dumps({"id": "a", "emissions": "a.npy", "tokens": [1, 2]}))
>>> for outcome in run(LossTask(), read_manifest(folder / "items.jsonl")):
...     print(outcome.id, round(outcome.result["loss"], 3))
a 0.422
"""

from ctckit.corpus.decode_task import DecodeTask
from ctckit.corpus.emissions import load_emissions
from ctckit.corpus.error_rates import ErrorRates
from ctckit.corpus.errors import CorpusError, ItemWarning
from ctckit.corpus.formats import FORMATS
from ctckit.corpus.manifest import Item, count_items, read_manifest
from ctckit.corpus.outcomes import Fault, Outcome
from ctckit.corpus.pipeline import Summary, process, run
from ctckit.corpus.tasks import AlignTask, CheckTask, LossTask, Task
from ctckit.corpus.tuning import ErrorCounts, Tuning, tune

__all__ = [
    "FORMATS",
    "AlignTask",
    "CheckTask",
    "CorpusError",
    "DecodeTask",
    "ErrorCounts",
    "ErrorRates",
    "Fault",
    "Item",
    "ItemWarning",
    "LossTask",
    "Outcome",
    "Summary",
    "Task",
    "Tuning",
    "count_items",
    "load_emissions",
    "process",
    "read_manifest",
    "run",
    "tune",
]
