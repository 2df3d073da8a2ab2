"""The library as a typed program uses it. mypy checks this file; nothing here needs to run."""

from __future__ import annotations

import torch
from torch import Tensor
from typing_extensions import assert_type

import ctckit

logits = torch.randn(50, 4, 20)
targets = torch.randint(1, 20, (4, 12))
lengths = torch.full((4,), 50)


def every_form_of_lengths() -> None:
    assert_type(ctckit.ctc_loss(logits, targets, lengths, lengths), Tensor)
    assert_type(ctckit.ctc_loss(logits, targets, (50, 50, 50, 50), [12, 12, 12, 12]), Tensor)
    assert_type(ctckit.ctc_loss(logits[:, 0], targets[0], 50, 12), Tensor)
    assert_type(ctckit.ctc_loss(logits, targets), Tensor)
    assert_type(ctckit.ctc_loss(logits, targets, None, None, 0, "sum", True, batch_first=False), Tensor)
    assert_type(ctckit.ctc_loss_with_logits(logits, targets), Tensor)
    assert_type(ctckit.ctc_loss_with_logits(logits, targets, inplace_grad=True, batch_first=True), Tensor)


def modules() -> None:
    loss: torch.nn.Module = ctckit.CTCLoss(blank=0, reduction="none", zero_infinity=True, batch_first=True)
    with_logits: torch.nn.Module = ctckit.CTCWithLogitsLoss(inplace_grad=True)
    loss(logits, targets, lengths, lengths)
    with_logits(logits, targets)


def posteriors_and_diagnosis() -> None:
    assert_type(ctckit.posteriors(logits, targets, logits=True, per_state=True), Tensor)
    assert_type(ctckit.feasible(targets, 50, [12, 12, 12, 12]), Tensor)
    problems = ctckit.check(None, targets, lengths, lengths)
    assert_type(problems, list[ctckit.Problem])
    assert_type(problems[0].message, str)


def alignments() -> None:
    vocabulary = ctckit.Vocabulary(["-", "a"], fold_case=True)
    found = ctckit.align(logits[:, 0], "a", vocabulary, logits=True, frame_duration=0.02, blank=None, words=["a"])
    assert_type(found, ctckit.Alignment)
    assert_type(ctckit.align(logits[:, 0], "a", vocabulary, infeasible="none"), ctckit.Alignment | None)
    batch = ctckit.align(logits, ["a"] * 4, vocabulary, batch_first=False, unknown={"numbers": "wildcard"})
    assert_type(batch, ctckit.Alignment | list[ctckit.Alignment])
    assert_type(ctckit.align(logits[:, 0], targets[0]), ctckit.Alignment | list[ctckit.Alignment])
    some = ctckit.align(logits, targets, batch_first=False, infeasible="none", words=str.split)
    assert_type(some, ctckit.Alignment | list[ctckit.Alignment | None] | None)
    assert_type(found.tokens[0], ctckit.AlignedToken)
    assert_type(found.words[0].confidence, float | None)
    assert_type(found.dropped, tuple[str, ...])
    assert_type(vocabulary.blank, int | None)
    assert_type(vocabulary.encode("a", words=list).spans, list[tuple[int, int]])
    assert_type(vocabulary.encode_tokens(["a", 1]).ids, list[int])
    assert_type(found.to_json(), str)
    assert_type(ctckit.posteriors(logits, targets, states=targets), Tensor)
    priors: torch.nn.Module = ctckit.LabelPriors(20, weight=0.3)
    assert_type(ctckit.label_priors(priors(logits)), Tensor)


def backends() -> None:
    with ctckit.backends.use("reference"):
        pass


def what_must_not_pass() -> None:
    ctckit.ctc_loss(logits, targets, lengths, lengths, 0, "mean", False, True)  # type: ignore[call-arg]  # keyword only
    ctckit.ctc_loss(logits, targets, "50", lengths)  # type: ignore[arg-type]
