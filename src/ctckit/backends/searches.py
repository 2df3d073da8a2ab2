"""What a backend's decoders take and return."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, Protocol, TypeAlias

from torch import Tensor

from ctckit.reference.decoding import Scorer

__all__ = ["Certificate", "Found", "GreedyResult", "Scorers", "SearchOptions", "SearchResult", "SearchStream", "Status"]

Scorers: TypeAlias = Sequence[Scorer]

Status: TypeAlias = Literal["done", "not_finite", "no_mass"]
"""How a search ended: after the last frame; at a frame with NaN or +inf; at a frame after which no prefix has mass."""


class SearchOptions(NamedTuple):
    """Options of a beam search."""

    blank: int
    width: int
    """Most prefixes of the beam."""
    hypotheses: int
    """Most hypotheses that are returned."""
    logits: bool = False
    """Whether the emissions are logits, so that the search takes the log_softmax of each frame first."""
    rescore: bool = True
    """Whether acoustic scores are exact."""
    beam_threshold: float | None = None
    """In nats, see `ctckit.reference.decoding.beam_search`."""
    token_threshold: float | None = None
    blank_threshold: float | None = None


class Certificate(NamedTuple):
    """What is known of the labellings that a search has left out."""

    is_normalised: bool
    """Whether the probabilities of every frame add up to 1, within the tolerance."""
    lost: float | None
    """The share of the probability of all labellings that no prefix of the beam has; None if it is not known, because
    the emissions are too far from normalised."""
    is_proved: bool
    """Whether the best hypothesis is proved to be the most probable of all labellings."""


class Found(NamedTuple):
    """A hypothesis of a search."""

    tokens: tuple[int, ...]
    """Its classes."""
    beam_score: float
    """Log of its mass in the beam, with the scorers' gains, in nats."""
    acoustic_score: float
    """Log of its probability, exact with `SearchOptions.rescore`, else of its mass without the gains."""
    gains: tuple[float, ...]
    """Of each scorer, in nats: the sum over its tokens and the end."""


class SearchResult(NamedTuple):
    """The result of one item's beam search."""

    status: Status
    frame: int
    """The frame at which the search ended."""
    hypotheses: list[Found]
    """In the order of the beam, best first; empty unless `status` is "done"."""
    log_beam_mass: float
    """Log of the sum of all masses of the beam, in nats."""
    certify: Callable[[Sequence[float], float], Certificate] | None
    """Certifies the hypotheses of the given exact scores (of the first ones, in the order of the beam). The second
    argument is the tolerance of a frame's sum. None for streams, and with scorers."""


class GreedyResult(NamedTuple):
    """The result of one item's greedy decoding."""

    status: Status
    frame: int
    tokens: tuple[int, ...]
    path_score: float
    """Log-probability of the path, in nats."""
    acoustic_score: float | None
    """Log-probability of the tokens, if it was asked for."""


class SearchStream(Protocol):
    """A search that is fed piece by piece."""

    def push(self, emissions: Tensor) -> tuple[Status, int]:
        """Search (T, C) further frames, on the CPU. Return how the search stands, and the number of frames so far."""

    def best(self) -> tuple[int, ...]:
        """Return the tokens of the best prefix."""

    def stable(self) -> tuple[int, ...]:
        """Return the tokens that all prefixes of the beam start with."""

    def count_stable(self) -> int:
        """Return how many tokens `stable` has."""

    def finish(self, hypotheses: int) -> SearchResult:
        """End the search."""

    @property
    def memory(self) -> int:
        """Bytes that the search holds."""
