"""The benchmark of decoding: its emissions, what it says about hypotheses, and how it treats other decoders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from benchmarks import cases, decoding, decoding_calls, decoding_tables, documents, emission_sets, goals, memory, plots
from benchmarks.decoding_calls import DECODERS, Search
from benchmarks.language import LONGEST_WORD
from benchmarks.process import Process, ProcessError
from benchmarks.settings import Settings, parse_peers
from benchmarks.timing import Effort

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.settings import Row

PEER = parse_peers(["textbook"])


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def of(case: str, peers: dict[str, str] = PEER) -> Settings:
    return Settings([case], [1], peers, quick=True)


@pytest.mark.parametrize("case", cases.DECODING.values(), ids=lambda case: case.name)
def test_emissions_are_what_their_case_says(case: cases.Case) -> None:
    emissions = emission_sets.make(case)
    assert len(emissions.items) == len(emissions.targets) == case.N
    assert int(np.median([len(item) for item in emissions.items])) == case.T
    sizes = [len(target) for target in emissions.targets]
    if case.name in emission_sets.OF_WORDS:  # whole words, up to S labels
        assert case.S - LONGEST_WORD - 1 < min(sizes) <= max(sizes) <= case.S
    else:
        assert round(np.mean(sizes)) == case.S
    for item, target in zip(emissions.items, emissions.targets, strict=True):
        assert item.dtype == np.float32
        assert item.flags.c_contiguous
        assert item.shape[1] == case.C
        assert np.logaddexp.reduce(item.astype(np.float64), axis=1) == pytest.approx(0, abs=1e-5)
        assert all(0 < c < case.C for c in target)


@pytest.mark.parametrize(("name", "sure", "blank"), [("peaked letters", 0.7, 0.6), ("flat letters", 0.0, 0.4)])
def test_synthetic_models_are_as_sure_as_they_say(name: str, sure: float, blank: float) -> None:
    rows = np.concatenate(emission_sets.make(cases.DECODING[name]).items)
    assert (rows.max(axis=1) > np.log(0.99)).mean() == pytest.approx(sure, abs=0.1)
    assert (rows.argmax(axis=1) == cases.BLANK).mean() == pytest.approx(blank, abs=0.1)


def test_synthetic_emissions_are_reproducible() -> None:
    case = cases.DECODING["short letters"]
    first = emission_sets.checksum(emission_sets.make(case))
    assert emission_sets.checksum(emission_sets.make.__wrapped__(case)) == first
    assert emission_sets.checksum(emission_sets.make(case).first(2)) != first


def test_probabilities_and_errors_of_hypotheses() -> None:
    item = np.log(np.array([[0.5, 0.3, 0.2], [0.6, 0.1, 0.3]], dtype=np.float32))
    emissions = emission_sets.EmissionSet([item, item], [[1], [1, 2]])
    judged = decoding.judge(emissions, [[2], []])
    of_2, of_nothing = 0.5 * 0.3 + 0.2 * 0.6 + 0.2 * 0.3, 0.5 * 0.6
    assert judged.loss == pytest.approx(-np.log([of_2, of_nothing]).mean(), abs=1e-6)
    assert judged.error_rate == 1.0  # one replaced, two missing, of three


def test_the_textbook_adds_paths_up() -> None:
    rows = [[0.6, 0.4], [0.6, 0.4]]  # the best path is blank, blank; but three paths spell 1
    assert decoding_calls._textbook(rows, 1) == ()
    assert decoding_calls._textbook(rows, 2) == (1,)


def test_letters_name_classes() -> None:
    for classes in (32, 53, 6625, 32_000):
        alphabet = decoding_calls.letters(classes)
        assert len(set(alphabet)) == classes
        assert not any(letter.isspace() or letter in "|_#▁" for letter in alphabet)
        text = alphabet[3] + alphabet[classes - 1]
        assert decoding_calls.classes_of(text, alphabet) == [3, classes - 1]
        text.encode()


def test_a_run_measures_and_shows_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(decoding.WIDTHS, "short letters", (4,))
    monkeypatch.setattr(decoding, "REAL", ("short letters",))
    monkeypatch.setattr(decoding, "BATCHES", ("short letters",))
    monkeypatch.setattr(decoding, "BATCH_WIDTH", 2)
    settings = of("short letters")._replace(threads=[1, 2])
    rows = list(decoding.measure(settings))
    beside, alone, greedy, batch = rows
    assert (beside["peer"], beside["beam_width"], beside["counts"]) == ("textbook", 4, True)
    assert beside["version"] == f"numpy {np.__version__}"
    assert beside["worse_by"] == 0
    assert alone["call_ms"]["p50"] > 0
    assert beside["loss"] == alone["loss"] <= greedy["loss"]
    assert (alone["who"], greedy["who"], batch["who"], batch["threads"]) == (
        "without the exact score", "greedy", "batch", 2,
    )  # fmt: skip
    wider = list(decoding.widths(settings))
    assert [(row["who"], row["beam_width"]) for row in wider] == [("ctckit", 1), ("ctckit", 2), ("textbook", 4)]
    assert wider[0]["certified"] == 0.0
    assert all(row["ms"]["p50"] > 0 for row in wider)

    shape = {key: getattr(cases.DECODING["short letters"], key) for key in "TNCS"}
    answers = {"decoding": {"rows": rows}, "decoding-width": {"rows": wider}}
    results: documents.Results = {"cases": {"short letters": shape}, "questions": json.loads(json.dumps(answers))}
    shown = documents.tables(results)
    assert list(shown) == [
        "decoding", "decoding-peers", "decoding-probability", "decoding-greedy", "decoding-threads", "decoding-width",
    ]  # fmt: skip
    assert shown["decoding"].rows[0]["fastest peer"] == "textbook"
    assert shown["decoding-probability"].rows[0]["textbook"] == "+0.000"
    assert shown["decoding-width"].rows[0]["certified"] == "0%"
    assert "decoding: textbook, short letters, width 4" not in documents.summary(results)
    picture = tmp_path / "widths.png"
    if plots.draw(plots.widths, "decoding-width", results, picture):
        assert picture.stat().st_size > 1000


def test_a_peer_that_fails_is_not_asked_for_a_wider_beam(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    class NoProcess:
        def __init__(self, *serve: Any, **_: object) -> None:
            asked.append(serve[3].width)
            raise ProcessError("no answer within 40 s")

    monkeypatch.setattr(decoding, "Process", NoProcess)
    case, settings = cases.DECODING["short letters"], of("short letters", {"fast-ctc-decode": "python"})
    emissions, out = emission_sets.make(case).first(1), dict[str, str]()
    rows = [row for width in (1, 2) for row in decoding._beside(case, width, emissions, settings, Effort(0.0, 1), out)]
    assert asked == [1]
    assert [row["problem"] for row in rows] == ["at width 1: no answer within 40 s"] * 2
    shown = [row | {"T, N, C, S": ""} for row in rows]
    assert [row["width"] for row in decoding_tables.decoding_left_out(shown).rows] == ["1", "2"]


def test_which_peers_count() -> None:
    def row(peer: str, worse_by: float) -> Row:
        return {"peer": peer, "case": "any", "beam_width": 10, "ratio": {"p50": 40.0}, "worse_by": worse_by}

    rows = [row("equal", 0.0005), row("worse", -0.2), row("better", 0.2), row("quick-pruned", 0.0), {"problem": "no"}]
    few = list(decoding.judged(rows, cases.DECODING["peaked letters"]))
    assert [row.get("counts") for row in few] == [True, False, True, False, None]
    many = decoding.judged(rows, cases.DECODING["noisy lines"])
    assert [row.get("counts") for row in many] == [True, True, True, True, None]
    [only_worse] = decoding.judged(rows[1:2], cases.DECODING["peaked letters"])
    assert only_worse["counts"]
    judged = only_worse | {"case": "peaked letters"}
    assert goals.verdicts(goals.decoding(judged), judged) == {"ratio": "must", "worse_by": "must"}
    judged |= {"counts": False, "worse_by": 0.002}
    assert goals.verdicts(goals.decoding(judged), judged) == {"worse_by": "missed"}
    assert few[3]["is_comparable"] is False
    assert goals.decoding(few[3]) == {}
    rows = [row("ctc-beam-decoder", 0.0), row("fast-ctc-decoder", 0.0)]
    pruned = list(decoding.judged(rows, cases.DECODING["speech phones, pruned"]))
    assert [(row["counts"], row["does_less"]) for row in pruned] == [(True, False), (False, True)]
    slower = pruned[1] | {"ratio": {"p50": 0.9}}
    assert goals.verdicts(goals.decoding(slower), slower) == {"ratio": "missed", "worse_by": "must"}


@pytest.mark.parametrize("peer", [peer for peer in DECODERS if peer in parse_peers(["auto"])])
def test_decoders_that_are_installed_find_probable_hypotheses(peer: str) -> None:
    """Those that rank a prefix once find what the textbook finds; the others nearly so."""
    case = cases.DECODING["short letters"]
    emissions = emission_sets.make(case).first(2)
    prepare, _, distribution = DECODERS[peer]
    decode, to_classes = prepare(case.C, Search(8))
    items = [np.exp(item) if peer in decoding_calls.TAKES_PROBABILITIES else item for item in emissions.items]
    loss = decoding.judge(emissions, [list(map(int, to_classes(decode(item)))) for item in items]).loss
    ours = decoding.Ours(case, 8, emissions)()
    expected = decoding.judge(emissions, [result.tokens for result in ours])
    assert loss == pytest.approx(expected.loss, abs=1e-6 if distribution.startswith(("fast", "numpy")) else 1.5)


@pytest.mark.skipif(not memory.HIGH_WATER_MARK.exists(), reason="memory is measured on Linux")
def test_the_process_of_a_peer_is_limited() -> None:
    serve = "tests.project.test_benchmarks_decoding:allocate", decoding_calls.GIB + 1
    with Process(*serve, seconds=60) as process, pytest.raises(ProcessError, match="MemoryError"):
        process.ask()


def allocate(gib: int) -> int:
    decoding_calls.limit_memory()
    return len(bytearray(gib << 30))
