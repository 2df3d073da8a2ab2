"""NaN and infinity in the GPU kernels: the rule of tests/tools/nonfinite.py."""

from __future__ import annotations

import pytest

from ctckit.backends import use
from tests.tools.nonfinite import SITUATIONS, check_together
from tests.tools.triton_setup import DEVICE, MARKS

pytestmark = [*MARKS, pytest.mark.skipif(DEVICE != "cpu", reason="the situations are on the CPU")]

logits_or_not = pytest.mark.parametrize("logits", [False, True], ids=["log_probs", "logits"])


@logits_or_not
def test_every_situation(logits: bool) -> None:
    with use("triton"):
        check_together(list(SITUATIONS), 5, logits=logits)


@logits_or_not
def test_many_classes(logits: bool) -> None:
    names = ["NaN, label", "NaN, last class", "all -inf", "all -inf, and NaN there, another class"]
    with use("triton"):
        check_together(names, 1030, logits=logits)
