"""The benchmarks run, and what they say is what they measured.

The runs here are single calls on the smallest shapes: they check the machinery, not speed.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from benchmarks import alignment, alignment_report, alignment_worker, cases, goals, markdown, peers, report
from benchmarks.timing import Effort

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def results_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One quick run of everything on two small cases, through the command line."""
    path = tmp_path_factory.mktemp("benchmarks") / "quick.json"
    command = [sys.executable, "-m", "benchmarks", "--quick", "--peers", "none"]
    command += ["--cases", "tiny", "tutorial", "--threads", "1", "2", "--out", str(path)]
    done = subprocess.run(  # noqa: S603 - ourselves
        command, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Speed against torch" in done.stdout
    return path


@pytest.fixture(scope="module")
def results(results_path: Path) -> report.Results:
    loaded: report.Results = json.loads(results_path.read_text())
    return loaded


def test_schema(results: report.Results) -> None:
    assert results["schema"] == 1
    assert results["failures"] == []
    assert {"cpu", "cores", "python", "versions", "commit", "date"} <= set(results["machine"])
    assert set(results["cases"]) == {"tiny", "tutorial"}
    for row in results["speed"]:
        assert {"case", "mode", "dtype", "threads", "pairs", "goal", "verdict"} <= set(row)
        for key in ("first_ms", "second_ms", "ratio"):
            assert 0 < row[key]["p20"] <= row[key]["p50"] <= row[key]["p80"]
    measured = {(row["mode"], row["dtype"], row["threads"]) for row in results["speed"]}
    assert measured == {
        ("logits", "float32", 1),
        ("logits", "float32", 2),
        ("logits", "float64", 1),
        ("logits", "bfloat16", 1),
        ("log_probs", "float32", 1),
        ("forward", "float32", 1),
        ("ceiling", "float32", 1),
    }
    assert [row["case"] for row in results["scaling"]] == ["tutorial"]  # tiny has one item
    assert {row["axis"] for row in results["growth"]} == {"T", "S", "C", "N"}


def test_accuracy_is_judged_against_float64(results: report.Results) -> None:
    errors = {(row["case"], row["who"], row["dtype"]): row for row in results["accuracy"]}
    assert ("tiny", "torch", "float64") not in errors  # it is the judge
    ours = errors["tutorial", "ctckit", "float32"]
    assert ours["gradient_error"] <= goals.GRADIENT_ERROR[0]
    assert ours["loss_error"] <= goals.LOSS_ERROR[0]
    assert errors["tutorial", "ctckit", "float64"]["gradient_error"] < 1e-12


def test_tables_have_a_row_for_each_case(results: report.Results) -> None:
    tables = report.tables(results)
    assert [row[0] for row in tables["speed"].rows] == ["tiny", "tutorial"]
    lines = tables["speed"].text().splitlines()
    assert lines[2].startswith("case")
    assert tables["speed"].markdown().startswith("| case | T, N, C, S |")


def test_markdown_is_filled_and_checked(results_path: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("Before.\n<!-- measured: speed -->\nold\n<!-- /measured -->\nAfter.\n")
    command = [str(results_path), "--into", str(page)]
    assert markdown.main([*command, "--check"]) == 1
    assert "old" in page.read_text()
    assert markdown.main(command) == 0
    filled = page.read_text()
    assert filled.startswith("Before.\n<!-- measured: speed -->\n\n| case |")
    assert filled.endswith("<!-- /measured -->\nAfter.\n")
    assert "old" not in filled
    assert markdown.main([*command, "--check"]) == 0


def test_documents_say_what_the_committed_results_say() -> None:
    committed = [ROOT / "benchmarks" / "results" / name for name in ("cpu.json", "alignment.json")]
    if not all(path.exists() for path in committed):
        pytest.skip("no committed results")
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    existing = [str(page) for page in pages if page.exists()]
    assert markdown.main([*map(str, committed), "--into", *existing, "--check"]) == 0


def test_alignment_is_measured_beside_a_peer_in_another_process(tmp_path: Path) -> None:
    path = tmp_path / "alignment.json"
    assert alignment.main(["--quick", "--peers", "numpy", "--threads", "1", "--out", str(path)]) == 0
    results = json.loads(path.read_text())
    rows = {row["case"]: row for row in results["alignment"]}
    assert set(rows) == {"word", "utterance"}
    assert all(row["same_paths"] == 1 and row["below_best"] == 0 for row in rows.values())
    assert [row["axis"] for row in results["growth"]] == ["T", "S"]
    assert results["long"][0]["mib_above_input"] < alignment_report.MEMORY_GOAL
    assert "| word | 200, 1, 32, 30 | 1 |" in markdown.blocks(results)["alignment"]


def test_an_aligner_that_fails_is_reported() -> None:
    if importlib.util.find_spec("ctc_segmentation") is not None:
        pytest.skip("ctc-segmentation is installed, so it does not fail")
    peers_of = peers.parse(["ctc-segmentation"], alignment_worker.PEERS)
    [row] = alignment.compare(alignment.CASES[:1], peers_of, [1], Effort(0.0, 1), 60.0)
    assert "ModuleNotFoundError" in row["problem"]


def test_an_unknown_block_is_an_error(results: report.Results) -> None:
    with pytest.raises(SystemExit, match="no results for the block 'sped'"):
        markdown.fill("<!-- measured: sped -->\n<!-- /measured -->", results)


@pytest.mark.parametrize(
    ("value", "verdict"), [(30.0, "must"), (60.0, "aim"), (29.9, "missed"), (float("nan"), "missed")]
)
def test_verdicts(value: float, verdict: str) -> None:
    assert goals.at_least(value, (30, 60)) == verdict
    assert goals.at_most(1 / value, (1 / 30, 1 / 60)) == verdict
    assert goals.at_least(value, None) == ""


@pytest.mark.parametrize("name", ["tiny", "near", "unequal", "trained", "batch-first"])
def test_inputs_are_reproducible_and_feasible(name: str) -> None:
    case = cases.CASES[name]
    inputs = cases.make(case)
    assert cases.checksum(inputs) == cases.checksum(cases.make(case))
    shape = (case.N, case.T, case.C) if case.batch_first else (case.T, case.N, case.C)
    assert inputs.logits.shape == shape
    assert inputs.input_lengths.max() == case.T
    for labels, frames, length in zip(inputs.targets, inputs.input_lengths, inputs.target_lengths, strict=True):
        target = labels[:length]
        assert (target > 0).all()
        assert (target < case.C).all()
        assert length + (target[1:] == target[:-1]).sum() <= frames


def test_a_trained_case_spells_its_target() -> None:
    case = cases.CASES["trained"]
    inputs = cases.make(case)
    best = inputs.logits[:, 0].argmax(axis=1)
    changes = best[np.flatnonzero(np.diff(best, prepend=-1))]
    assert (changes[changes != cases.BLANK] == inputs.targets[0]).all()


def test_peer_matches_float64() -> None:
    """One real peer, if it is installed, through its own process."""
    if importlib.util.find_spec("optax") is None:
        pytest.skip("optax is not installed (pip install -r benchmarks/peers.txt)")
    chosen = [cases.CASES["tiny"]]
    [row] = peers.measure(chosen, {"optax": sys.executable}, [1], Effort(0.0, 1))
    assert "problem" not in row
    assert row["gradient_error"] < 1e-5


def test_a_peer_that_fails_is_reported_and_does_not_end_the_others() -> None:
    if importlib.util.find_spec("k2") is not None:
        pytest.skip("k2 is installed, so it does not fail")
    chosen = [cases.CASES["tiny"], cases.CASES["tutorial"]]
    rows = list(peers.measure(chosen, {"k2": sys.executable}, [1], Effort(0.0, 1)))
    assert [row["case"] for row in rows] == ["tiny", "tutorial"]
    assert all("ModuleNotFoundError" in row["problem"] for row in rows)
