"""The first 300 problems of `fuzz_core`, and a test that its comparisons notice wrong answers."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.fuzz import fuzz_core
from tests.tools.exact_answers import Result, run

pytestmark = pytest.mark.usefixtures("core")

BATCHES = 12
SIZE = 25


@pytest.mark.parametrize("batch", range(BATCHES))
def test_problems(batch: int) -> None:
    for number in range(batch * SIZE, (batch + 1) * SIZE):
        problem = fuzz_core.draw(number)
        try:
            fuzz_core.check(problem)
        except AssertionError as error:
            pytest.fail(f"{problem}: {error}")


def test_a_number_determines_its_problem() -> None:
    for number in (3, 7):
        one, other = fuzz_core.draw(number), fuzz_core.draw(number)
        assert str(one) == str(other)
        assert one.case == other.case
        assert torch.equal(one.x.nan_to_num(7), other.x.nan_to_num(7))


@pytest.mark.parametrize("field", ["losses", "gradient"])
@pytest.mark.parametrize("spoiled", ["off", "nan", "inf"])
def test_wrong_answers_are_noticed(monkeypatch: pytest.MonkeyPatch, field: str, spoiled: str) -> None:
    wrong = {"off": 1e-2, "nan": torch.nan, "inf": torch.inf}[spoiled]

    def spoil(*arguments: Any, **options: Any) -> Result:
        result = run(*arguments, **options)
        getattr(result, field).view(-1)[0] += wrong
        return result

    problem = next(problem for problem in map(fuzz_core.draw, range(1000)) if is_plain(problem))
    fuzz_core.check(problem)
    monkeypatch.setattr(fuzz_core, "run_on_dirty_memory", spoil)
    with pytest.raises(AssertionError):
        fuzz_core.check(problem)


def is_plain(problem: fuzz_core.Problem) -> bool:
    """Whether every value counts, and an error of 1e-2 is above the tolerance."""
    x = problem.x
    return x.numel() > 0 and float(x.abs().max()) < 100 and all(problem.case.feasible)  # a NaN is not below 100
