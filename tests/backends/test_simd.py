"""Every built instruction set, by name: hard inputs, agreement with each other, and the choice of one."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

import ctckit
from tests.backends.test_numerics import GRADIENT_LIMIT, LOSS_LIMIT, rounding_of
from tests.conftest import SIMD_LEVELS
from tests.fuzz import fuzz_core
from tests.tools.cases import EDGE_CASES, MIXED, Case, random_case
from tests.tools.exact_answers import errors, exact, run
from tests.tools.hard_inputs import HARD, judged


@pytest.mark.parametrize("logits", [True, False], ids=["logits", "log_probs"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("name", HARD)
def test_hard_numbers(simd: str, name: str, dtype: torch.dtype, logits: bool) -> None:
    arguments, answer = judged(name, dtype, logits=logits)
    found = errors(run(arguments, logits=logits), answer)
    limit = GRADIENT_LIMIT.get(dtype, HARD[name]().limit)
    assert found.loss <= LOSS_LIMIT[dtype]
    assert found.gradient <= limit * rounding_of(simd)


@pytest.mark.usefixtures("simd")
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["float16", "bfloat16"])
@pytest.mark.parametrize("case", [*EDGE_CASES, random_case(40, 3, 30, 9), random_case(40, 3, 300, 9)], ids=str)
def test_halves(case: Case, dtype: torch.dtype) -> None:
    arguments = case.padded(case.logits(dtype))
    answer, actual = exact(arguments, logits=True), run(arguments, logits=True)
    torch.testing.assert_close(actual.losses.double(), answer.losses, rtol=2e-7, atol=1e-6)
    torch.testing.assert_close(actual.gradient.double(), answer.gradient, rtol=GRADIENT_LIMIT[dtype], atol=1e-6)


@pytest.mark.usefixtures("simd")
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["float16", "bfloat16"])
def test_every_half_is_read_and_written_as_torch_does(dtype: torch.dtype) -> None:
    """Reads all 65,536 values, and rounds numbers from 0 to 1, with ties and denormals."""
    bits = torch.arange(2**16, dtype=torch.int32).to(torch.uint16).view(dtype)
    case = Case("", 1, 1, ((),) * 2**16, (1,) * 2**16)
    losses, _ = run(case.padded(bits[None, :, None]), logits=False)
    read = torch.where(bits == torch.inf, torch.nan, -bits.float())  # +inf is no probability
    assert torch.equal(losses.isnan(), read.isnan())
    assert torch.equal(losses.nan_to_num(7), read.nan_to_num(7))

    # The label is in the first of two frames, or in both: p = 1 / (1 + e^-x), from 1 to below the smallest half.
    x = torch.linspace(-20, 20, 20_001)
    case = Case("", 2, 2, ((1,),) * len(x), (2,) * len(x))
    probs = torch.zeros(2, len(x), 2)
    probs[0, :, 1] = x
    probs = probs.to(dtype)
    written = ctckit.posteriors(*case.padded(probs))
    in_float = ctckit.posteriors(*case.padded(probs.float()))
    assert in_float.min() < 1e-8
    assert torch.equal(written, in_float.to(dtype))


@pytest.mark.usefixtures("simd")
def test_fuzz() -> None:
    for number in range(1000, 1060):
        fuzz_core.check(fuzz_core.draw(number))


def test_levels_agree(core: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the rounding of the dtype, relative to the largest entry: sums have another order."""
    del core
    from ctckit.backends import cpu

    for name in ("random", "random, large vocabulary", "trained, margin 14", "a few improbable frames in a row"):
        for dtype, tolerance in ((torch.float32, 5e-7), (torch.float64, 1e-14)):
            arguments, _ = judged(name, dtype, logits=True)
            results = []
            for level in cpu.simd_levels():
                monkeypatch.setenv("CTCKIT_SIMD", level)
                results.append(run(arguments, logits=True))
            for result in results[1:]:
                torch.testing.assert_close(result.losses, results[0].losses, rtol=tolerance, atol=0)
                torch.testing.assert_close(result.gradient, results[0].gradient, rtol=0, atol=tolerance)


def test_the_choice(core: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read at every call. Without it the best is chosen; an unknown name is an error that lists the names."""
    del core
    from ctckit.backends import cpu

    levels = cpu.simd_levels()
    assert set(levels) <= set(SIMD_LEVELS)
    assert levels == [level for level in SIMD_LEVELS if level in levels], "best first"
    assert levels[-1] == "baseline"
    arguments = MIXED.padded(MIXED.logits())
    monkeypatch.delenv("CTCKIT_SIMD", raising=False)
    by_itself = run(arguments, logits=True)
    monkeypatch.setenv("CTCKIT_SIMD", levels[0])
    assert torch.equal(run(arguments, logits=True).gradient, by_itself.gradient)
    for name in ("avx1024", "AVX2", "sse"):
        monkeypatch.setenv("CTCKIT_SIMD", name)
        with pytest.raises(ValueError, match=name):
            ctckit.ctc_loss(*arguments)
    monkeypatch.setenv("CTCKIT_SIMD", "")
    assert torch.equal(run(arguments, logits=True).gradient, by_itself.gradient)


def test_the_report_names_the_levels(core: None) -> None:
    del core
    from ctckit.backends import cpu

    report = subprocess.run([sys.executable, "-m", "ctckit"], capture_output=True, text=True, check=True).stdout
    for level in cpu.simd_levels():
        assert level in report
