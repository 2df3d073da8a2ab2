"""The paths of one item through a pattern, for the functions of `patterns` and for `ctckit.align`."""

from __future__ import annotations

import math
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from ctckit.backends import host_backend
from ctckit.lattice import no_path
from ctckit.lattice.chain import Chain, chain_of
from ctckit.lattice.pattern import Alternatives, Element, Graph, Token, Wildcard, compile_pattern

__all__ = ["Path", "PathProblem"]

_CPU = torch.device("cpu")


class Path(NamedTuple):
    """A path through a pattern: one state per frame."""

    states: Tensor
    """(T,) int64: the state of the graph in each frame; -1 without a path."""
    tokens: Tensor
    """(T,) int64: the token of the pattern in each frame; -1 for a blank, -2 for a free start or end. Tokens are
    numbered through the pattern in order, including the tokens of every option."""
    classes: Tensor
    """(T,) int64: the class of each frame; C, the number of classes, for a wildcard and a free start or end."""
    scores: Tensor
    """(T,), dtype of the log-probabilities: the log-probability of that class in that frame, in nats. They can be
    differentiated."""
    total: float
    """The path's log-probability, summed in float64; -inf without a path."""
    options: tuple[int, ...]
    """For each `Alternatives` of the pattern, in order, the option of the path; -1 without a path."""


class PathProblem:
    """One item and its pattern, with checked arguments; finds the paths and their posteriors.

    The search runs on the CPU, in float64, on the columns of the pattern's classes and of the wildcard.
    """

    def __init__(
        self,
        log_probs: Tensor,
        elements: list[Element],
        wildcard: Tensor,
        blank: int,
        *,
        free_start: bool,
        free_end: bool,
    ) -> None:
        """Store checked arguments.

        Args:
            log_probs: (T, C), on any device.
            elements: the result of `checked_pattern`.
            wildcard: (T,) the wildcard's score in each frame, in the dtype and on the device of the log-probabilities.
            blank: class of the blank.
            free_start: whether the pattern may begin at any frame.
            free_end: whether the pattern may end at any frame.
        """
        self.log_probs, self.elements, self.wildcard, self.blank = log_probs, elements, wildcard, blank
        self.frames, self.classes = log_probs.shape
        self.free_start, self.free_end = free_start, free_end
        self.tokens = _tokens_of(elements)
        named = {token for token in self.tokens if not isinstance(token, Wildcard)} | {blank}
        self.named = torch.tensor(sorted(named), device="cpu")
        self.chosen = log_probs.detach().index_select(1, self.named.to(log_probs.device)).to(_CPU)
        self.scores_of_wildcard = wildcard.detach().to(_CPU)

    @cached_property
    def unknown(self) -> bool:
        """Whether a NaN or +inf is among the values that the pattern needs, so that no path is best."""
        if not bool((self.chosen < torch.inf).all()):
            return True
        has_wildcard = self.free_start or self.free_end or any(isinstance(t, Wildcard) for t in self.tokens)
        return has_wildcard and not bool((self.scores_of_wildcard < torch.inf).all())

    @cached_property
    def graph(self) -> Graph:
        """The pattern's graph."""
        return compile_pattern(
            self.elements, self.classes, self.blank, free_start=self.free_start, free_end=self.free_end
        )

    @property
    def is_chain(self) -> bool:
        """Whether the pattern has elements and no alternatives, so that it is a plain target with wildcards."""
        return bool(self.elements) and not any(isinstance(element, Alternatives) for element in self.elements)

    @cached_property
    def chain(self) -> Chain:
        """The plain target of such a pattern."""
        column_of = {clazz: column for column, clazz in enumerate(self.named.tolist())}
        return chain_of(
            [token if isinstance(token, Wildcard) else column_of[token] for token in self.tokens],
            self.chosen,
            self.scores_of_wildcard,
            column_of[self.blank],
            free_start=self.free_start,
            free_end=self.free_end,
        )

    def _emissions(self) -> Tensor:
        """Return (T, U) float64: the columns of the pattern's classes, and last the wildcard's."""
        return torch.cat((self.chosen, self.scores_of_wildcard[:, None]), 1).double()

    def _columns(self) -> Graph:
        """Return the graph with each state's class replaced by its column of `_emissions`."""
        return self.graph._replace(classes=torch.searchsorted(self.named, self.graph.classes))

    # ---- questions --------------------------------------------------------------------------------------------------

    def best_paths(self, k: int) -> list[Path]:
        """Find the k best paths, best first; none if no path exists, one of NaN if a value is NaN or +inf."""
        if k == 1 and self.is_chain:
            return self._best_chain_path()
        if self.unknown:
            return self._unknown_paths(1)
        states, totals = host_backend().best_graph_paths(self._emissions(), self._columns(), k)
        return self._paths(states, totals.tolist())

    def sample_paths(self, n: int, generator: torch.Generator | None) -> list[Path]:
        """Draw n paths; none if no path exists, n of NaN if a value is NaN or +inf."""
        if self.unknown:
            return self._unknown_paths(n)
        uniforms = torch.rand(n, self.frames, generator=generator, dtype=torch.float64, device="cpu")
        states, log_likelihood = host_backend().sample_graph_paths(self._emissions(), self._columns(), uniforms)
        return [] if log_likelihood == -torch.inf else self._paths(states, None)

    @cached_property
    def posteriors(self) -> tuple[Tensor, float]:
        """The occupancy of the graph's states, (T, K) float64, and the log-likelihood."""
        if self.unknown:
            value, log_likelihood = (0.0, -torch.inf) if self.is_too_short() else (torch.nan, torch.nan)
            states = self.graph.classes.shape[0]
            return torch.full((self.frames, states), value, dtype=torch.float64, device="cpu"), log_likelihood
        return host_backend().graph_posteriors(self._emissions(), self._columns())

    def posterior_paths(self) -> list[Path]:
        """Find the path with the most frames right in expectation; none if no path exists, one of NaN as above."""
        if self.unknown:
            return self._unknown_paths(1)
        occupancy, log_likelihood = self.posteriors
        if log_likelihood == -torch.inf:
            return []
        gains = torch.where(occupancy == 0, -torch.inf, occupancy)  # excludes paths of probability 0
        graph = self.graph._replace(classes=torch.arange(gains.shape[1], device="cpu"))
        states, _ = host_backend().best_graph_paths(gains, graph, 1)
        return self._paths(states, None)

    def path_occupancy(self, path: Path) -> Tensor:
        """Return (T,) the occupancy of the path's state in each frame, in the dtype of the log-probabilities."""
        return self.posteriors[0].to(self.log_probs.dtype).gather(1, path.states.to(_CPU)[:, None])[:, 0]

    def chain_path_occupancy(self, path: Path) -> Tensor:
        """Return the same by the kernel of plain targets, without the table of all states; only if `is_chain`."""
        chain = self.chain
        # The plain target has one state more than the pattern's graph: state 0, a blank before the free start.
        before, after = chain.frames.start, chain.emissions.shape[0] - chain.frames.stop
        row = torch.nn.functional.pad(path.states.to(_CPU) + before, (before, after), value=-1)[None]
        occupancy = host_backend().path_occupancy(chain.emissions, chain.lattice, row, logits=False)
        return occupancy[0, chain.frames]

    # ---- results ----------------------------------------------------------------------------------------------------

    def _best_chain_path(self) -> list[Path]:
        chain = self.chain
        found = host_backend().best_path(chain.emissions, chain.lattice)
        total = found.totals.item()
        if total == -torch.inf:
            return []
        if math.isnan(total):  # a NaN or +inf is among the values that the pattern needs
            return [self.blank_path(torch.nan)]
        class_of = [self.classes if isinstance(token, Wildcard) else token for token in self.tokens]
        class_of += [self.classes, self.blank]  # the last two, for OUTSIDE and BLANK
        states = found.states[0, chain.frames]
        tokens = torch.tensor(chain.tokens, device="cpu")[states]
        classes = torch.tensor([class_of[token] for token in chain.tokens], device="cpu")[states]
        # No path reaches the blank before a free start, and the pattern's graph has no such state.
        states = states - int(self.free_start)
        return [self._path(states, tokens, classes, total, ())]

    def _paths(self, states: Tensor, totals: list[float] | None) -> list[Path]:
        """Make paths of (k, T) states."""
        tokens, classes = self.graph.tokens[states], self.graph.classes[states]
        if totals is None:
            at = torch.searchsorted(self.named, classes)
            totals = self._emissions().gather(1, at.T).sum(0).tolist()
        rows = zip(states, tokens, classes, totals, strict=True)
        return [self._path(s, t, c, total, self._options(t)) for s, t, c, total in rows]

    def _options(self, tokens: Tensor) -> tuple[int, ...]:
        chosen = list(self.graph.empty_options)
        if chosen:
            for token in tokens.unique().tolist():
                alternatives, option = self.graph.token_options[token] if token >= 0 else (-1, -1)
                if alternatives >= 0:
                    chosen[alternatives] = option
        return tuple(chosen)

    def _path(self, states: Tensor, tokens: Tensor, classes: Tensor, total: float, options: tuple[int, ...]) -> Path:
        device = self.log_probs.device
        states, tokens, classes = states.to(device), tokens.to(device), classes.to(device)
        of_class = self.log_probs.gather(1, classes.clamp(max=self.classes - 1)[:, None])[:, 0]
        scores = torch.where(classes == self.classes, self.wildcard, of_class)
        return Path(states, tokens, classes, scores, total, options)

    def blank_path(self, score: float = -torch.inf) -> Path:
        """Return the path of blanks that stands for no path (score -inf), or for an unknown one (NaN)."""
        none = torch.full((self.frames,), -1, device=self.log_probs.device)
        scores = self.log_probs.new_full((self.frames,), score)
        alternatives = sum(isinstance(element, Alternatives) for element in self.elements)
        return Path(none, none, torch.full_like(none, self.blank), scores, score, (-1,) * alternatives)

    def _unknown_paths(self, n: int) -> list[Path]:
        return [] if self.is_too_short() else [self.blank_path(torch.nan)] * n

    def is_too_short(self) -> bool:
        """Whether there are too few frames for any path, whatever the log-probabilities."""
        return self.graph.frames_needed() > self.frames

    def why_no_path(self, item: int = 0, *, batched: bool = False) -> str:
        """Return the message why no path fits."""
        return no_path(item, self.frames, self.graph.frames_needed(), batched=batched).message


def _tokens_of(elements: list[Element]) -> list[Token]:
    """List the tokens of a pattern in order, including the tokens of every option."""
    tokens: list[Token] = []
    for element in elements:
        if isinstance(element, Alternatives):
            tokens += (token for option in element.options for token in option)
        else:
            tokens.append(element)
    return tokens
