"""The arguments that the functions of `patterns` share: checked, and turned into what a backend takes, and back."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ctckit.backends import host_backend
from ctckit.errors import ArgumentTypeError, ArgumentValueError
from ctckit.lattice import gate
from ctckit.lattice.pattern import (
    BLANK,
    OUTSIDE,
    Alternatives,
    Graph,
    Pattern,
    Wildcard,
    checked_pattern,
    compile_pattern,
)
from ctckit.lattice.tensor_kinds import require_memory

_CPU = torch.device("cpu")


class Path(NamedTuple):
    """A path through a pattern: one state per frame."""

    states: Tensor
    """(T,) int64: state of the graph; -1 where there is no path."""
    tokens: Tensor
    """(T,) int64: which token of the pattern the frame belongs to, -1 for a blank, -2 before the pattern at a free
    start or after it at a free end. Tokens are counted through the pattern in order, those of every option included."""
    classes: Tensor
    """(T,) int64: class of the frame; C, the number of classes, for a wildcard and a free end."""
    scores: Tensor
    """(T,), dtype of the log-probabilities: that of the class in the frame, in nats. They can be differentiated."""
    total: float
    """The path's log-probability, summed in float64; -inf where there is no path."""
    options: tuple[int, ...]
    """For each `Alternatives` of the pattern, in order, the option that was taken; -1 where there is no path."""


class PathProblem:
    """The arguments that all functions share, checked; and what is made of them."""

    def __init__(
        self,
        log_probs: Tensor,
        pattern: Pattern,
        blank: int,
        free_start: bool,
        free_end: bool,
        wildcard_score: float | Tensor,
        infeasible: str,
    ) -> None:
        if infeasible not in ("raise", "blank"):
            raise ArgumentValueError(f"infeasible is {infeasible!r}, but must be 'raise' or 'blank'")
        if len(getattr(log_probs, "shape", (0, 0))) != 2:
            raise ArgumentValueError(
                f"log_probs has shape {tuple(log_probs.shape)}, but must be (T, C), one item: loop over a batch, and "
                f"cut each item to its length"
            )
        nothing = torch.empty(0, dtype=torch.int64, device=getattr(log_probs, "device", None))
        emissions, lattice, _ = gate(log_probs, nothing, None, None, blank, needs_numbers=True)
        require_memory(emissions, "log_probs")
        log_probs = emissions[:, 0]
        self.log_probs, self.blank, self.infeasible = log_probs, lattice.blank, infeasible
        self.frames, self.classes = log_probs.shape
        self.elements = checked_pattern(pattern, self.classes, self.blank)
        self.free_start, self.free_end = int(free_start), int(free_end)
        self.wildcard = _wildcard(wildcard_score, self.frames, log_probs)
        self._graph: Graph | None = None
        # The columns that count: the classes that the pattern names, with the wildcard last.
        named = {token for token in self._tokens() if not isinstance(token, Wildcard)} | {self.blank}
        self.has_wildcard = bool(free_start or free_end) or any(isinstance(token, Wildcard) for token in self._tokens())
        self.named = torch.tensor(sorted(named), device="cpu")
        chosen = log_probs.detach().index_select(1, self.named.to(log_probs.device)).to(_CPU)
        self.table = torch.cat((chosen, self.wildcard.detach().to(_CPU)[:, None]), 1)
        counted = self.table if self.has_wildcard else chosen
        self.unknown = not bool((counted < torch.inf).all())

    def _tokens(self) -> list[int | Wildcard]:
        tokens: list[int | Wildcard] = []
        for element in self.elements:
            if isinstance(element, Alternatives):
                tokens += (token for option in element.options for token in option)
            else:
                tokens.append(element)
        return tokens

    @property
    def graph(self) -> Graph:
        """Give the pattern's graph, made when it is first asked for."""
        if self._graph is None:
            self._graph = compile_pattern(
                self.elements, self.classes, self.blank, free_start=self.free_start > 0, free_end=self.free_end > 0
            )
        return self._graph

    def emissions(self) -> Tensor:
        """Give (T, U) float64: the classes that the pattern names, and last the wildcard."""
        return self.table.double()

    def columns(self) -> Graph:
        """Give the graph with each state's class replaced by its column of `emissions`."""
        return self.graph._replace(classes=torch.searchsorted(self.named, self.graph.classes))

    def posteriors(self) -> tuple[Tensor, float]:
        """Give the occupancy of the graph's states, and the log-likelihood."""
        if self.unknown:
            value, log_likelihood = (0.0, -torch.inf) if self.too_short() else (torch.nan, torch.nan)
            return torch.full(
                (self.frames, self.graph.classes.shape[0]), value, dtype=torch.float64, device="cpu"
            ), log_likelihood
        return host_backend().graph_posteriors(self.emissions(), self.columns())

    # ---- a plain row of labels and wildcards: the lattice of `ctckit.lattice` ---------------------------------------

    def is_linear(self) -> bool:
        """Tell whether the pattern is a plain row of labels and wildcards."""
        return bool(self.elements) and not any(isinstance(element, Alternatives) for element in self.elements)

    def best_linear_path(self) -> Path | None:
        """Find the best path by `Backend.best_path`, with the wildcard as one column of the emissions more.

        A free end is a wildcard there, and a frame more in which nothing but the wildcard is possible: so that frame,
        and it may be the only one, belongs to it. Neighbouring wildcards take columns in turn, because equal labels
        would have to have a blank between them.
        """
        free = [Wildcard.WILDCARD]
        tokens = [*free * self.free_start, *self._tokens(), *free * self.free_end]
        width = self.named.shape[0]
        column_of = {clazz: column for column, clazz in enumerate(self.named.tolist())}
        labels: list[int] = []
        for token in tokens:
            if not isinstance(token, Wildcard):
                labels.append(column_of[token])
            else:
                labels.append(width + 1 if labels and labels[-1] == width else width)
        x = self.table
        if max(labels) > width:
            x = torch.cat((x, x[:, -1:]), 1)
        outside = torch.full((1, x.shape[1]), -torch.inf, dtype=x.dtype, device="cpu")
        outside[:, width:] = 0
        x = torch.cat((outside[: self.free_start], x, outside[: self.free_end]))
        emissions, lattice, _ = gate(x, torch.tensor(labels, device="cpu"), None, None, column_of[self.blank])
        found = host_backend().best_path(emissions, lattice)
        total = found.totals.item()
        if total == -torch.inf:
            return None
        # The blank before a free start is reached by no path, and is no state of the pattern's graph.
        states = found.states[0, self.free_start :][: self.frames] - self.free_start
        position = torch.div(states - self.free_start, 2, rounding_mode="floor")
        in_label = (states - self.free_start) % 2 == 1
        position = torch.where(in_label, position, BLANK)
        count = len(self._tokens())
        outside_pattern = ((states == 0) & (self.free_start > 0)) | (in_label & (position == count))
        position = torch.where(outside_pattern, OUTSIDE, position)
        of_label = torch.tensor([self.classes if isinstance(t, Wildcard) else t for t in self._tokens()], device="cpu")
        classes = torch.where(position >= 0, of_label[position.clamp(min=0)], self.blank)
        classes = torch.where(outside_pattern, self.classes, classes)
        return self._path(states, position, classes, total, ())

    # ---- results ----------------------------------------------------------------------------------------------------

    def paths(self, states: Tensor, totals: list[float] | None) -> list[Path]:
        """Make paths of (k, T) states."""
        tokens, classes = self.graph.tokens[states], self.graph.classes[states]
        if totals is None:
            at = torch.searchsorted(self.named, classes)
            totals = self.emissions().gather(1, at.T).sum(0).tolist()
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

    def no_path(self, score: float) -> Path:
        """Give the path of blanks that says there is none, or none that can be told."""
        none = torch.full((self.frames,), -1, device=self.log_probs.device)
        scores = self.log_probs.new_full((self.frames,), score)
        alternatives = sum(isinstance(element, Alternatives) for element in self.elements)
        return Path(none, none, torch.full_like(none, self.blank), scores, score, (-1,) * alternatives)

    def too_short(self) -> bool:
        """Tell whether there are too few frames for any path, whatever the log-probabilities hold."""
        return self.graph.frames_needed() > self.frames

    def unknown_path(self) -> Path:
        """Give the path that says that none is best because of a NaN or +inf."""
        return self.infeasible_path() if self.too_short() else self.no_path(torch.nan)

    def infeasible_path(self) -> Path:
        """Give that path, or raise the error, as the caller said."""
        if self.infeasible == "blank":
            return self.no_path(-torch.inf)
        needed = self.graph.frames_needed()
        if needed > self.frames:
            raise ArgumentValueError(
                f"no path matches the pattern: it needs at least {needed} frames (one per label or wildcard, and one "
                f"between equal labels), but log_probs has {self.frames}: pass more frames, or infeasible='blank'"
            )
        raise ArgumentValueError(
            f"no path matches the pattern: it needs {needed} of the {self.frames} frames, but log_probs of -inf bar "
            f"every path: do not mask classes that the pattern needs, or pass infeasible='blank'"
        )


def _wildcard(score: float | Tensor, frames: int, log_probs: Tensor) -> Tensor:
    """Give the wildcard's score in each frame, (T,) in the dtype and on the device of the log-probabilities."""
    if isinstance(score, Tensor):
        require_memory(score, "wildcard_score")
        if score.shape not in ((), (frames,)):
            raise ArgumentValueError(
                f"wildcard_score has shape {tuple(score.shape)}, but must be one number, or one per frame, ({frames},)"
            )
        return score.to(log_probs).expand(frames)
    if isinstance(score, bool) or not isinstance(score, (int, float)):
        raise ArgumentTypeError(
            f"wildcard_score is a {type(score).__name__}, but must be a number or a tensor (T,), in nats"
        )
    return log_probs.new_full((frames,), score)
