"""The GPU kernels with large targets, batches, vocabularies and offsets."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ctckit.backends import LossOptions
from ctckit.lattice import gate
from tests.tools import cases, exact_answers
from tests.tools.triton_setup import (
    DEVICE,
    MARKS,
    check,
    expected,
    gpu,
    needs_gpu,
    needs_interpreter,
    needs_patience,
    problem,
    run,
)

pytestmark = MARKS


@needs_interpreter
def test_many_chunks_whatever_the_order_in_which_programs_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs start in reverse order; a program that waited for one that has not started would wait forever."""
    from triton.runtime.interpreter import interpreter_builder

    monkeypatch.setattr(gpu, "_chunk", lambda: 8)
    monkeypatch.setattr(gpu, "FRAMES_PER_BLOCK", 2)
    set_grid_idx = interpreter_builder.set_grid_idx

    def reversed_(x: int, y: int, z: int) -> None:
        set_grid_idx(interpreter_builder.grid_dim[0] - 1 - x, y, z)

    monkeypatch.setattr(interpreter_builder, "set_grid_idx", reversed_)
    case = cases.Case("eleven chunks", 84, 4, ((1, 2, 3, 1) * 20 + (2, 2), (3,) * 9), (84, 20))
    check(case, case.logits(torch.float64), logits=True)


@needs_patience
def test_more_than_4096_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    """With few more frames than labels."""
    if DEVICE == "cpu":
        monkeypatch.setattr(gpu, "_chunk", lambda: 2048)  # the interpreter takes as long for many lanes as for a few
    labels = 4100
    case = cases.Case("long target", labels + 5, 5, (tuple(1 + k % 4 for k in range(labels)),), (labels + 5,))
    arguments = case.padded(case.logits(torch.float32))
    error = exact_answers.errors(
        exact_answers.Result(*run(*problem(arguments))), exact_answers.exact(arguments, logits=True)
    )
    assert error.loss <= 2e-7
    assert error.gradient <= 1e-6


@needs_patience
def test_a_thousand_items(monkeypatch: pytest.MonkeyPatch) -> None:
    """Concatenated targets, whose lengths are checked in blocks; some are infeasible, some empty."""
    if DEVICE == "cpu":
        monkeypatch.setattr(gpu, "FRAMES_PER_BLOCK", 2)
    case = cases.random_case(3, 1000, 3, 2, seed=2)
    x, lattice = problem(cases.FORMS["concatenated"](case.padded(case.logits(torch.float32)), case))
    actual, right = run(x, lattice), expected(x, lattice, logits=True)
    torch.testing.assert_close(actual[0].double(), right[0], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(actual[1].double(), right[1], rtol=0, atol=1e-6)


@pytest.mark.parametrize("logits", [True, False], ids=["logits", "log_probs"])
def test_a_vocabulary_of_128_000(logits: bool) -> None:
    case = cases.Case("words", 5, 128_000, ((127_998, 3), (64_000, 64_000)), (5, 4), blank=127_999)
    x = case.logits(torch.float32)
    check(case, x if logits else x.log_softmax(2), logits=logits)


@needs_interpreter
@pytest.mark.parametrize("dim", [0, 1, 2], ids=["frames", "items", "classes"])
def test_offsets_beyond_2_to_the_31_elements(dim: int) -> None:
    case = cases.Case("far", 3, 4, ((1, 2), (2,), (1,)), (3, 3, 2), blank=3)
    strides = [16, 4, 1]
    strides[dim] = 2**30 + 8  # so that the stride itself fits 32 bits

    def far(values: Tensor) -> Tensor:
        import mmap

        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000  # MAP_NORESERVE: untouched pages take no memory
        memory = mmap.mmap(-1, 2 * 2**32, flags=flags)
        view = torch.frombuffer(memory, dtype=torch.float16).as_strided(values.shape, strides)
        return view.copy_(values)

    values = case.logits(torch.float16)
    for logits in (True, False):
        x, lattice = problem(case.padded(far(values if logits else values.log_softmax(2))))
        gradient = far(torch.zeros_like(values))
        loss = gpu.loss(
            x, lattice, LossOptions.of(x.dtype, logits=logits, reduction="none", zero_infinity=False), gradient
        )
        right = run(x.contiguous(), lattice, logits=logits)
        assert torch.equal(loss, right[0])
        assert torch.equal(gradient.contiguous(), right[1])
        gpu.scale_(gradient, torch.tensor(2.0))
        assert torch.equal(gradient.contiguous(), 2 * right[1])


@needs_gpu
@pytest.mark.parametrize(("N", "S"), [(1, 10_000), (1000, 100), (3, 1500)])
def test_many_chunks_at_once(N: int, S: int) -> None:
    """More programs than fit on the device at once: none may wait for one that cannot start."""
    T = 2 * S + 50
    x = torch.randn(T, N, 8, device=DEVICE)
    targets = torch.randint(1, 8, (N, S), device=DEVICE)
    emissions, lattice, _ = gate(x, targets, None, torch.full((N,), S, device=DEVICE), 0)
    first = run(emissions, lattice)
    assert first[0].isfinite().all()
    for _ in range(3):
        again = run(emissions, lattice)
        assert torch.equal(again[0], first[0])
        assert torch.equal(again[1], first[1])
