"""`ctckit.reference` as a backend: any device, by autograd."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ctckit import reference
from ctckit.backends import LossOptions
from ctckit.backends.searches import (
    Certificate,
    Found,
    GreedyResult,
    Scorers,
    SearchOptions,
    SearchResult,
    Status,
)
from ctckit.errors import ArgumentValueError
from ctckit.lattice import Lattice, tighten, validate
from ctckit.reference import decoding

_AUTOGRAD: Any = torch._C.DispatchKey.AutogradFunctionality
_above: Any = torch._C._SetExcludeDispatchKeyGuard  # noqa: SLF001  # torch has no public name for it

empty_like = torch.empty_like
best_graph_paths = reference.best_graph_paths
sample_graph_paths = reference.sample_graph_paths
graph_posteriors = reference.graph_posteriors


def loss(emissions: Tensor, lattice: Lattice, options: LossOptions, gradient: Tensor | None) -> Tensor:
    """See `ctckit.backends.Backend.loss`."""
    lattice = _checked(emissions, lattice)
    if gradient is None:
        with torch.no_grad():
            return reference.reduce(
                reference.ctc(emissions, lattice, logits=options.logits),
                lattice,
                options.reduction,
                options.zero_infinity,
            )
    # Inside the operator of a traced graph the dispatcher skips autograd, which is needed here.
    with _above(_AUTOGRAD, False), torch.enable_grad():
        x = emissions.detach().requires_grad_()
        nll = reference.ctc(x, lattice, logits=options.logits)
        result = reference.reduce(nll, lattice, options.reduction, options.zero_infinity)
        # Infinite losses have the derivative 0, whether they count or not.
        (derivative,) = torch.autograd.grad((result if options.mean_gradient else nll).sum(), x)
    gradient.copy_(derivative)
    return result.detach()


def scale_(gradient: Tensor, scale: Tensor) -> Tensor:
    """See `ctckit.backends.Backend.scale_`."""
    return gradient.mul_(scale)


def posteriors(emissions: Tensor, lattice: Lattice, *, logits: bool, per_state: bool) -> Tensor:
    """See `ctckit.backends.Backend.posteriors`."""
    with torch.no_grad():
        lattice = _checked(emissions, lattice)
        per_class, states = reference.posteriors(emissions, lattice, logits=logits)
        return (states if per_state else per_class).to(emissions.dtype)


def path_occupancy(emissions: Tensor, lattice: Lattice, states: Tensor, *, logits: bool) -> Tensor:
    """See `ctckit.backends.Backend.path_occupancy`."""
    return reference.at_states(posteriors(emissions, lattice, logits=logits, per_state=True), states)


def best_path(log_probs: Tensor, lattice: Lattice) -> reference.BestPath:
    """See `ctckit.backends.Backend.best_path`."""
    validate(lattice, log_probs.shape[0], log_probs.shape[2])  # there is no answer for an invalid item
    return reference.best_path(log_probs, tighten(lattice))


def _checked(emissions: Tensor, lattice: Lattice) -> Lattice:
    """Check values where that needs no device sync; elsewhere invalid items become NaN."""
    if emissions.device.type == "cpu":
        validate(lattice, emissions.shape[0], emissions.shape[2])
        return tighten(lattice)
    return lattice


# ----------------------------------------------------------------------------------------------------------- decoding


def greedy_decode(
    emissions: Tensor, input_lengths: Tensor, blank: int, *, logits: bool, rescore: bool
) -> list[GreedyResult]:
    """See `ctckit.backends.Backend.greedy_decode`."""
    results = []
    for item, length in enumerate(input_lengths.tolist()):
        x = _log_probs(emissions[:length, item], logits=logits)
        status, frame = _finite(x)
        if status == "not_finite":
            results.append(GreedyResult(status, frame, (), math.nan, None))
            continue
        tokens, path_score = decoding.greedy(x, blank)
        exact = _log_likelihoods(x, [tokens], blank)[0] if rescore else None
        results.append(GreedyResult(status, frame, tokens, path_score, exact))
    return results


def beam_search(
    emissions: Tensor, input_lengths: Tensor, options: SearchOptions, scorers: Scorers
) -> list[SearchResult]:
    """See `ctckit.backends.Backend.beam_search`."""
    return [
        _search(emissions[:length, item], options, scorers, options.hypotheses)
        for item, length in enumerate(input_lengths.tolist())
    ]


def search_stream(classes: int, options: SearchOptions, scorers: Scorers) -> _Stream:
    """See `ctckit.backends.Backend.search_stream`."""
    return _Stream(classes, options, scorers)


class _Stream:
    """See `ctckit.backends.searches.SearchStream`. It searches all frames again whenever it is asked."""

    def __init__(self, classes: int, options: SearchOptions, scorers: Scorers) -> None:
        self._frames = torch.empty(0, classes, dtype=torch.float64, device="cpu")
        self._options, self._scorers = options._replace(rescore=False), scorers

    def push(self, emissions: Tensor) -> tuple[Status, int]:
        self._frames = torch.cat((self._frames, emissions.double()))
        result = self.finish(1)
        return result.status, result.frame

    def best(self) -> tuple[int, ...]:
        hypotheses = self.finish(1).hypotheses
        return hypotheses[0].tokens if hypotheses else ()

    def stable(self) -> tuple[int, ...]:
        beam = [found.tokens for found in self.finish(self._options.width).hypotheses]
        if not beam:
            return ()
        shared = 0
        while all(len(tokens) > shared and tokens[shared] == beam[0][shared] for tokens in beam):
            shared += 1
        return beam[0][:shared]

    def count_stable(self) -> int:
        return len(self.stable())

    def finish(self, hypotheses: int) -> SearchResult:
        return _search(self._frames, self._options, self._scorers, hypotheses)._replace(certify=None)

    @property
    def memory(self) -> int:
        return self._frames.nbytes


def _search(emissions: Tensor, options: SearchOptions, scorers: Scorers, hypotheses: int) -> SearchResult:
    x = _log_probs(emissions, logits=options.logits)
    status, frame = _finite(x)
    if status == "not_finite":
        return SearchResult(status, frame, [], -math.inf, None)

    def search(log_probs: Tensor) -> list[decoding.Entry]:
        return decoding.beam_search(
            log_probs,
            beam_width=options.width,
            blank=options.blank,
            scorers=scorers,
            beam_threshold=options.beam_threshold,
            token_threshold=options.token_threshold,
            blank_threshold=options.blank_threshold,
        )

    try:
        beam = search(x)
    except ArgumentValueError:  # far from normalised
        largest = x.amax(1, keepdim=True).clamp_min(torch.finfo(x.dtype).min)
        offset = float(largest.sum())
        beam = [entry._replace(score=entry.score + offset) for entry in search(x - largest)]
    if not beam:
        frame = next((t for t in range(len(x)) if not search(x[: t + 1])), len(x))
        return SearchResult("no_mass", frame, [], -math.inf, None)
    best = beam[:hypotheses]
    gains = [_gains(entry.tokens, scorers) for entry in best]
    scores = [entry.score - sum(gain) for entry, gain in zip(best, gains, strict=True)]
    if options.rescore:
        scores = _log_likelihoods(x, [entry.tokens for entry in best], options.blank)
    found = [
        Found(entry.tokens, entry.score, score, gain) for entry, score, gain in zip(best, scores, gains, strict=True)
    ]
    mass = float(torch.tensor([entry.score for entry in beam], dtype=torch.float64, device="cpu").logsumexp(0))

    def certify(exact: Sequence[float], tolerance: float) -> Certificate:
        sums = x.logsumexp(1)
        total = float(sums.sum())
        known = _log_likelihoods(x, [entry.tokens for entry in beam], options.blank)
        rest = max(0.0, 1 - sum(math.exp(score - total) for score in known))
        best = max(exact, default=-math.inf)
        is_proved = math.exp(best - total) > rest + 1e-12 and best >= max(known) - 1e-12
        lost = max(0.0, 1 - math.exp(mass - total))
        return Certificate(bool((sums.expm1().abs() <= tolerance).all()), lost, is_proved)

    return SearchResult("done", len(x), found, mass, None if scorers else certify)


def _log_probs(emissions: Tensor, *, logits: bool) -> Tensor:
    x = emissions.detach().cpu().double()
    if not logits or not len(x):
        return x
    possible = (x > -torch.inf).any(1, keepdim=True) | x.isnan().any(1, keepdim=True)
    return torch.where(possible, x.log_softmax(1), x)


def _finite(x: Tensor) -> tuple[Status, int]:
    bad = (x.isnan() | (x == torch.inf)).any(1).nonzero()
    if len(bad):
        return "not_finite", int(bad[0])
    empty = (x == -torch.inf).all(1).nonzero()
    return ("no_mass", int(empty[0])) if len(empty) else ("done", len(x))


def _gains(tokens: tuple[int, ...], scorers: Scorers) -> tuple[float, ...]:
    gains = []
    for scorer in scorers:
        states: Any = [scorer.initial()]
        total = 0.0
        for token in tokens:
            gain, states = scorer.advance(states, [token])
            total += float(gain[0])
        gains.append(total + float(scorer.finish(states)[0]))
    return tuple(gains)


def _log_likelihoods(x: Tensor, labellings: list[tuple[int, ...]], blank: int) -> list[float]:
    lengths = torch.full((len(labellings),), len(x), dtype=torch.int64, device="cpu")
    lattice = Lattice.of_rows(labellings, lengths, blank)
    return (-reference.ctc(x[:, None].expand(-1, len(labellings), -1), lattice, logits=False)).tolist()
