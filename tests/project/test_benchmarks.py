"""The benchmarks run, and what they say is what they measured.

The runs here are single calls on the smallest shapes: they check the machinery, not speed.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from benchmarks import alignment, cases, device_tables, documents, goals, memory, peer_calls, peers, tables
from benchmarks.__main__ import main
from benchmarks.process import ROOT, Process, ProcessError
from benchmarks.questions import QUESTIONS
from benchmarks.settings import Settings, parse_peers
from benchmarks.timing import Call, Effort, compare

import ctckit

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from benchmarks.settings import Row


@pytest.fixture(scope="module")
def results_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One quick run of every question on small cases, through the command line."""
    path = tmp_path_factory.mktemp("benchmarks") / "quick.json"
    command = [sys.executable, "-m", "benchmarks", "--quick", "--peers", "numpy"]
    command += ["--cases", "tiny", "tutorial", "word", "--threads", "1", "2", "--out", str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603 - ourselves
    assert done.returncode == 0, done.stdout + done.stderr
    assert "speed: Speed against torch" in done.stdout
    return path


@pytest.fixture(scope="module")
def results(results_path: Path) -> documents.Results:
    loaded: documents.Results = json.loads(results_path.read_text())
    return loaded


def test_every_question_is_answered(results: documents.Results) -> None:
    assert results["schema"] == 2
    assert set(results["cases"]) == {"tiny", "tutorial", "word"}
    answers = results["questions"]
    assert list(answers) == list(QUESTIONS)
    for answer in answers.values():
        assert "failed" not in answer
        assert {"cpu", "cores", "python", "versions", "commit", "date"} <= set(answer["machine"])
    for row in answers["speed"]["rows"]:
        for key in ("first_ms", "second_ms", "ratio"):
            assert 0 < row[key]["p20"] <= row[key]["p50"] <= row[key]["p80"]
    assert {(row["mode"], row["dtype"], row["threads"]) for row in answers["speed"]["rows"]} == {
        ("logits", "float32", 1),
        ("logits", "float32", 2),
        ("logits", "float64", 1),
        ("logits", "bfloat16", 1),
        ("log_probs", "float32", 1),
        ("forward", "float32", 1),
        ("ceiling", "float32", 1),
    }
    assert [row["case"] for row in answers["scaling"]["rows"]] == ["tutorial"]  # tiny has one item
    assert [row["axis"] for row in answers["growth"]["rows"]] == ["T", "S", "C", "N"]
    assert [row["axis"] for row in answers["alignment-growth"]["rows"]] == ["T", "S"]
    [confidences] = answers["alignment-confidences"]["rows"]
    assert confidences["case"] == "word"
    if memory.HIGH_WATER_MARK.exists():
        assert 0 < confidences["peak_mib"] < 64
        assert 1 < answers["alignment-long"]["rows"][0]["mib_above_input"] < 1024


def test_accuracy_is_judged_against_float64(results: documents.Results) -> None:
    rows = results["questions"]["accuracy"]["rows"]
    errors = {(row["case"], row["who"], row["dtype"]): row for row in rows}
    assert ("tiny", "torch", "float64") not in errors  # the other results are compared with it
    ours = errors["tutorial", "ctckit", "float32"]
    assert ours["gradient_error"] <= goals.GRADIENT_ERROR.must
    assert ours["loss_error"] <= goals.LOSS_ERROR.must
    assert errors["tutorial", "ctckit", "float64"]["gradient_error"] < 1e-12


def test_a_peer_in_another_process_computes_the_same(results: documents.Results) -> None:
    [row] = results["questions"]["alignment"]["rows"]
    assert (row["peer"], row["case"], row["threads"]) == ("numpy", "word", 1)
    assert (row["same_paths"], row["below_best"]) == (1, 0)
    assert row["version"] == f"numpy {np.__version__}"
    assert row["ratio"]["p50"] == pytest.approx(row["first_ms"]["p50"] / row["second_ms"]["p50"])


@pytest.mark.skipif(not memory.HIGH_WATER_MARK.exists(), reason="memory is measured on Linux")
def test_memory_is_the_peak_of_a_fresh_process() -> None:
    with Process("benchmarks.memory:loss_peak", "trained", "ctckit", 1, seconds=120) as process:
        peak = process.ask()
    assert 1000 * 32 * 4 / 2**20 < peak < goals.MEMORY_PER_THREAD  # at least the gradient


def test_a_comparison_reports_the_times_of_its_calls() -> None:
    calls: list[float] = []

    def of(seconds: float) -> Call:
        return Call(lambda: seconds, lambda: calls.append(seconds))

    found = compare(of(0.006), of(0.002), Effort(0.0, 3))
    assert calls == [0.006, 0.002] * 5  # in turn: a pair for warm-up, three pairs, and a reset at the end
    assert found["pairs"] == 3
    assert (found["first_ms"]["p50"], found["second_ms"]["p50"]) == (6.0, 2.0)
    assert found["ratio"]["p50"] == pytest.approx(3.0)


def test_documents_are_filled_and_checked(results_path: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    block = "<!-- measured: {} -->\n{}<!-- /measured -->\n"
    page.write_text("Before.\n" + block.format("speed", "old\n") + block.format("speed goals", "") + "After.\n")
    command = ["write", "--results", str(results_path), "--into", str(page)]
    assert main([*command, "--check"]) == 1
    assert "old" in page.read_text()
    assert main(command) == 0
    plain, with_goals = page.read_text().split("<!-- /measured -->\n")[:2]
    assert plain.startswith("Before.\n<!-- measured: speed -->\n\n| case ")
    assert "old" not in plain
    assert not any(word in plain for word in ("must", "aim", "MISSED"))
    assert "| must |" in with_goals
    assert [line.split()[1] for line in plain.splitlines() if line.startswith("| t")] == ["tutorial", "tiny"]
    assert main([*command, "--check"]) == 0
    less = json.loads(results_path.read_text())
    del less["questions"]["peers"]
    known = documents.blocks(less)
    assert known["peers goals"] == known["peer-errors"] == known["machine peers"] == "Not measured yet.\n"
    page.write_text(block.format("sped", ""))
    with pytest.raises(SystemExit, match="no results for the block 'sped'"):
        main(command)


def test_documents_say_what_the_committed_results_say() -> None:
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    if not (documents.RESULTS / "cpu.json").exists():
        pytest.skip("no committed results")
    assert main(["write", "--check", "--into", *map(str, pages)]) == 0


def test_results_of_a_gpu_become_tables(tmp_path: Path) -> None:
    machine = {
        "name": "A",
        "multiprocessors": 2,
        "GiB": 3,
        "copy GB/s": 4.4,
        "torch": "5",
        "triton": "6",
        "python": "7",
    }
    kernels = {"sum_rows": 5.0, "walk_chunks": 70.0, "occupy": 60.0, "write_rows": 10.0, "prepare": 2.0, "all": 150.0}
    by_class = {"write_by_class" if name == "write_rows" else name: time for name, time in kernels.items()}
    times = {"eager": {"p50": 0.5}, "torch": {"p50": 1.25}, "kernels us": kernels, "peak bytes": 3 << 20}
    more = {"graph": {"ms": 0.16}, "cudnn": {"failed": "too many labels"}, "torch peak bytes": 9 << 20}
    results = {
        "machine": machine,
        "row: (9, 8, 7, 6) float32": times | more,
        "row: (9, 8, 7, 6) bfloat16": times | {"kernels us": by_class},
        "row: (1, 1, 1, 1) float32": {"left out": "no time is left"},
        "peers: (9, 8, 7, 6) float32": {"gradient error of ctckit": 1.2e-7, "gradient error of torch": 1e-3},
    }
    path = tmp_path / "device-a.json"
    path.write_text(json.dumps(results))
    found = device_tables.blocks(path)
    assert found["machine device-a"].startswith("Measured with A, 2 multiprocessors, 3 GiB, which copies 4 GB/s")
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in found["device-a speed"].splitlines()[2:4]]
    assert cells[0] == ["9, 8, 7, 6", "float32", "0.5", "1.25", "2.5x", "", "0.15", "0.16", "3", "9"]
    assert cells[1] == ["9, 8, 7, 6", "bfloat16", "0.5", "1.25", "2.5x", "", "0.15", "", "3", ""]
    for dtype in (" float32", "bfloat16"):
        row = f"| 9, 8, 7, 6 | {dtype} |        5 |          70 |     60 |       10 |            5 |"
        assert row in found["device-a kernels"]
    assert "| 1.2e-07 | 1.0e-03 |" in found["device-a errors"]


@pytest.mark.parametrize(
    ("value", "verdict"),
    [(30.0, "must"), (29.6, "must"), (60.0, "aim"), (29.4, "missed"), (float("nan"), "missed"), (None, "missed")],
)
def test_verdicts(value: float | None, verdict: str) -> None:
    assert goals.Goal(30, 60).verdict(value) == verdict
    assert goals.Goal(-30, -60, at_most=True).verdict(None if value is None else -value) == verdict


@pytest.mark.parametrize("name", ["tiny", "near", "unequal", "trained", "batch-first"])
def test_inputs_are_reproducible_and_feasible(name: str) -> None:
    case = cases.LOSSES[name]
    inputs = cases.make(case)
    assert cases.checksum(inputs) == cases.checksum(cases.make.__wrapped__(case))
    shape = (case.N, case.T, case.C) if case.batch_first else (case.T, case.N, case.C)
    assert inputs.logits.shape == shape
    assert inputs.input_lengths.max() == case.T
    for labels, frames, length in zip(inputs.targets, inputs.input_lengths, inputs.target_lengths, strict=True):
        target = labels[:length]
        assert (target > 0).all()
        assert (target < case.C).all()
        assert length + (target[1:] == target[:-1]).sum() <= frames


def test_a_trained_case_spells_its_target() -> None:
    inputs = cases.make(cases.LOSSES["trained"])
    best = inputs.logits[:, 0].argmax(axis=1)
    changes = best[np.flatnonzero(np.diff(best, prepend=-1))]
    assert (changes[changes != cases.BLANK] == inputs.targets[0]).all()


def test_confidences_are_those_of_align() -> None:
    case = cases.Case("small", 40, 1, 8, 9)
    log_probs = torch.from_numpy(cases.log_probs(case))
    target = torch.from_numpy(cases.make(case).targets)
    paths, _ = ctckit.forced_align(log_probs, target)
    per_frame = alignment._confidences_of(log_probs, target, paths)()[0]
    found = ctckit.align(log_probs[0], target[0])
    assert isinstance(found, ctckit.Alignment)
    for token in found.tokens:
        assert per_frame[token.start : token.end].mean().item() == pytest.approx(token.confidence)


def test_peers_that_need_too_much_get_no_long_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    met: dict[str, set[str]] = {}

    def meet(able: Mapping[str, str], chosen: Iterable[tuple[cases.Case, int]], *_: object, **__: object) -> list[Row]:
        met.update({case.name: set(able) for case, _ in chosen})
        return []

    monkeypatch.setattr(peers, "meet", meet)
    aligners = dict.fromkeys(peer_calls.ALIGNERS, "")
    assert not list(alignment.measure(Settings(["recording", "sure lecture", "sure hour"], [1], aligners)))
    assert met == {"recording": set(aligners), "sure lecture": {"torchaudio", "ctc-forced-aligner"}}


def test_peer_matches_float64() -> None:
    """One real peer, if it is installed, through its own process."""
    if importlib.util.find_spec("optax") is None:
        pytest.skip("optax is not installed (pip install -r benchmarks/peers.txt)")
    [row] = peers.measure(Settings(["tiny"], [1], parse_peers(["optax"]), quick=True))
    assert row["gradient_error"] < 1e-5


def test_a_peer_that_fails_is_reported_and_does_not_end_the_others() -> None:
    if importlib.util.find_spec("k2") is not None:
        pytest.skip("k2 is installed, so it does not fail")
    rows = list(peers.measure(Settings(["tiny", "tutorial"], [1], parse_peers(["k2"]), quick=True)))
    assert [row["case"] for row in rows] == ["tutorial", "tiny"]
    assert all("ModuleNotFoundError" in row["problem"] for row in rows)
    shown = [row | {"T, N, C, S": ""} for row in rows]
    assert [row["k2"] for row in tables.peers(shown).rows] == ["fails", "fails"]


@pytest.mark.parametrize(
    ("function", "argument", "reason"),
    [
        ("builtins:int", "x", "ValueError: invalid literal for int"),
        ("os:_exit", 3, "its process ended with 3"),
        ("time:sleep", 1000, "no answer within 1 s"),
    ],
)
def test_a_process_that_fails_dies_or_hangs_is_reported(function: str, argument: object, reason: str) -> None:
    start = time.monotonic()
    with Process(function, argument, seconds=1) as process, pytest.raises(ProcessError, match=reason):
        process.ask()
    assert time.monotonic() - start < 30
    assert process.process.poll() is not None


def test_an_unknown_peer_is_an_error() -> None:
    assert parse_peers(["k2=/opt/python", "none"]) == {"k2": "/opt/python"}
    with pytest.raises(SystemExit, match="unknown peer 'k3'"):
        parse_peers(["k3"])
