"""Tensors of other layouts: nested, sparse, quantized and meta: the right result, or an error with a remedy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import ctckit
from tests.lattice.every_function import FRAMES, LENGTHS, TARGETS, x

ctc_loss: Any = ctckit.ctc_loss
ctc_loss_with_logits: Any = ctckit.ctc_loss_with_logits


@pytest.mark.parametrize("layout", [torch.strided, torch.jagged], ids=str)
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_nested_tensors(layout: torch.layout) -> None:
    """The expression in the error gives the right loss."""
    parts, rows = [x[:12, 0], x[:10, 1]], [TARGETS[0], TARGETS[1, :2]]
    log_probs = torch.nested.nested_tensor(parts, layout=layout)
    targets = torch.nested.nested_tensor(rows, layout=layout)
    for place in range(4):
        arguments: list[Any] = [x, TARGETS, FRAMES, LENGTHS]
        arguments[place] = (log_probs, targets, targets, targets)[place]
        functions: tuple[Any, ...] = (ctc_loss, ctc_loss_with_logits, ctckit.posteriors, ctckit.check)
        for function in functions:
            with pytest.raises((ctckit.ArgumentTypeError, ctckit.ArgumentValueError)):
                function(*arguments)
    with pytest.raises(ctckit.ArgumentTypeError, match="log_probs is a nested tensor") as caught:
        ctc_loss(log_probs, TARGETS, None, LENGTHS)
    padded = advice(caught.value, "pad it with ", ", which gives", log_probs=log_probs)
    lengths = advice(caught.value, "input_lengths=", None, log_probs=log_probs)
    with pytest.raises(ctckit.ArgumentTypeError, match="targets is a nested tensor") as caught:
        ctc_loss(padded, targets, lengths, None)
    table = advice(caught.value, "pad it with ", ", and leave", targets=targets)
    want = ctc_loss(x, TARGETS, FRAMES, LENGTHS)
    assert torch.equal(ctc_loss(padded, table, lengths, None), want)
    with pytest.raises(ctckit.ArgumentTypeError, match=r"input_lengths is a nested tensor.*one number per item"):
        ctc_loss(padded, table, targets, None)


def advice(error: Exception, start: str, end: str | None, **names: Tensor) -> Any:
    code = str(error).partition(start)[2]
    return eval(code if end is None else code.partition(end)[0], {"torch": torch, **names})  # noqa: S307  # our own words


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
@pytest.mark.parametrize(
    ("place", "layout"), [*((place, "to_sparse") for place in range(4)), (1, "to_sparse_csr"), (0, "to_mkldnn")]
)
def test_layouts_that_are_not_dense(place: int, layout: str) -> None:
    arguments: list[Any] = [x, TARGETS, FRAMES, LENGTHS]
    arguments[place] = getattr(arguments[place], layout)()
    functions: tuple[Any, ...] = (ctckit.ctc_loss, ctckit.posteriors)
    for function in functions:
        with pytest.raises(ctckit.ArgumentTypeError, match=r"has layout .* convert it with \w+\.to_dense\(\)"):
            function(*arguments)
    arguments[place] = arguments[place].to_dense()
    assert torch.equal(ctc_loss(*arguments), ctc_loss(x, TARGETS, FRAMES, LENGTHS))


@pytest.mark.filterwarnings("ignore")  # torch says that it will drop quantized tensors
def test_quantized_tensors() -> None:
    quantized = torch.quantize_per_tensor(TARGETS.float(), 1.0, 0, torch.quint8)
    with pytest.raises(ctckit.ArgumentTypeError, match=r"use targets\.dequantize\(\)\.long\(\)"):
        ctc_loss(x, quantized, FRAMES, LENGTHS)
    assert torch.equal(quantized.dequantize().long(), TARGETS)
    with pytest.raises(ctckit.ArgumentTypeError, match=r"target_lengths\.dequantize\(\)\.long\(\)"):
        ctc_loss(x, TARGETS, FRAMES, quantized[0])
    with pytest.raises(ctckit.ArgumentTypeError, match=r"for example with log_probs\.dequantize\(\)"):
        ctc_loss(torch.quantize_per_tensor(x, 0.1, 0, torch.qint8), TARGETS, FRAMES, LENGTHS)
    with pytest.raises(ctckit.ArgumentTypeError, match=r"for example with log_probs\.real"):
        ctc_loss(x * 1j, TARGETS, FRAMES, LENGTHS)


def test_meta_tensors() -> None:
    """Meta emissions give a meta loss; meta targets or lengths beside real emissions raise."""
    loss = ctc_loss(x.to("meta"), TARGETS.to("meta"), FRAMES, [3, 2])
    assert (loss.device.type, loss.shape) == ("meta", ())
    with pytest.raises(ctckit.ArgumentValueError, match="targets is on meta, but log_probs is on cpu"):
        ctc_loss(x, TARGETS.to("meta"), FRAMES, LENGTHS)
    for place, name in ((2, "input_lengths"), (3, "target_lengths")):
        arguments: list[Any] = [x, TARGETS, FRAMES, LENGTHS]
        arguments[place] = arguments[place].to("meta")
        with pytest.raises(ctckit.ArgumentValueError, match=f"{name} is on the device meta.*that have numbers"):
            ctc_loss(*arguments)


META = torch.zeros(5, 3, device="meta")
NEED_NUMBERS: dict[str, tuple[str, Callable[[], object]]] = {
    "forced_align": ("log_probs", lambda: ctckit.forced_align(META[None], torch.tensor([[1]], device="meta"))),
    "check": ("emissions", lambda: ctckit.check(META, torch.tensor([1], device="meta"), 5, 1)),
    "check without emissions": ("targets", lambda: ctckit.check(None, torch.tensor([1], device="meta"), 5, 1)),
    "merge_tokens": ("tokens", lambda: ctckit.merge_tokens(META[:, 0].long(), torch.zeros(5))),
    "merge_tokens, scores": ("scores", lambda: ctckit.merge_tokens(torch.zeros(5).long(), META[:, 0])),
    "best_paths, wildcard": ("wildcard_score", lambda: ctckit.best_paths(x[:, 0], [1], wildcard_score=META[0, 0])),
    "best_paths": ("log_probs", lambda: ctckit.best_paths(META, [1])),
    "sample_paths": ("log_probs", lambda: ctckit.sample_paths(META, [1], 1)),
    "path_posteriors": ("log_probs", lambda: ctckit.path_posteriors(META, [1])),
    "posterior_path": ("log_probs", lambda: ctckit.posterior_path(META, [1])),
    "align": ("emissions", lambda: ctckit.align(META, [1])),
    "align, lengths": ("input_lengths", lambda: ctckit.align(x, [[1], [2]], input_lengths=FRAMES.to("meta"))),
    "align, priors": ("log_priors", lambda: ctckit.align(x[:, 0], [1], log_priors=META[0])),
}


@pytest.mark.parametrize("name", NEED_NUMBERS)
def test_meta_tensors_whose_numbers_are_needed(name: str) -> None:
    argument, call = NEED_NUMBERS[name]
    with pytest.raises(ctckit.ArgumentTypeError, match=f"{argument} is on the meta device, which holds no numbers"):
        call()
    assert ctckit.feasible(torch.tensor([[1]], device="meta"), torch.tensor([5], device="meta"), [1]).is_meta
