"""The backends: the C++ core for the CPU, Triton kernels for GPUs, plain torch for everything else.

A backend is a module with the functions of `Backend`; `ctckit.backends.reference` is the shortest. CONTRIBUTING.md
explains how to add one.

`use` forces a backend, for tests and comparisons. So does the environment variable ``CTCKIT_BACKEND``, which is read
when ctckit is imported.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from importlib import import_module
from typing import Final, NamedTuple, Protocol, cast

import torch
from torch import Tensor

from ctckit.backends.searches import GreedyResult, Scorers, SearchOptions, SearchResult, SearchStream
from ctckit.errors import ArgumentValueError
from ctckit.lattice import Lattice
from ctckit.lattice.pattern import Graph
from ctckit.reference import BestPath

__all__ = [
    "NAMES",
    "Backend",
    "LossOptions",
    "available",
    "backend_for",
    "host_backend",
    "name_for",
    "require_core",
    "use",
]

NAMES = ("cpu", "triton", "reference")
"""The backends, by the names of their modules."""


_MISSING = {
    "cpu": "ctckit's C++ core cannot be imported ({error}), so the slow reference backend is used. Reinstall ctckit "
    "with `pip install --force-reinstall --no-deps ctckit`, and report this if it persists.",
    "triton": "ctckit's GPU kernels cannot be imported ({error}), so the slow reference backend is used. Install "
    "Triton 3.4 or later; torch for Linux brings it from version 2.8 on.",
}


class LossOptions(NamedTuple):
    """Options of a loss."""

    logits: bool
    """Whether the emissions are logits, so that the loss takes the log_softmax of each frame first."""
    reduction: str
    """'none', 'mean' or 'sum'."""
    zero_infinity: bool
    """Whether infinite losses count as 0."""
    mean_gradient: bool
    """Whether a backend writes the derivative of the mean; else it writes the derivative of the sum over the items."""

    @classmethod
    def of(cls, dtype: torch.dtype, *, logits: bool, reduction: str, zero_infinity: bool) -> LossOptions:
        """Make the options for emissions of a dtype.

        A backend does not divide a derivative in float16: divided by the batch size it would underflow.

        >>> LossOptions.of(torch.float16, logits=True, reduction="mean", zero_infinity=False).mean_gradient
        False
        """
        return cls(logits, reduction, zero_infinity, reduction == "mean" and dtype != torch.float16)


class Backend(Protocol):
    """The functions of a backend. All arguments come from `ctckit.lattice.gate`.

    A function marked (optional) may be missing. It is called only on `host_backend`, so backends of other devices do
    not need it: tensors on other devices are copied to the CPU for it.
    """

    def empty_like(self, emissions: Tensor) -> Tensor:
        """Allocate a gradient, as `torch.empty_like` does."""

    def loss(
        self,
        emissions: Tensor,
        lattice: Lattice,
        options: LossOptions,
        gradient: Tensor | None,
    ) -> Tensor:
        """Return the loss, and write its derivative by the emissions to `gradient` unless that is None.

        The derivative is that of the mean if ``options.mean_gradient``, else that of the sum over the items.
        """

    def scale_(self, gradient: Tensor, scale: Tensor) -> Tensor:
        """Multiply a gradient in place by one number, or by one per item, (N, 1), and return it.

        A factor of 1, the common case, needs no write. Causes no device sync.
        """

    def posteriors(self, emissions: Tensor, lattice: Lattice, *, logits: bool, per_state: bool) -> Tensor:
        """Return the occupancy, (T, N, C), or (T, N, 2 * max_target + 1) if `per_state`."""

    def path_occupancy(self, emissions: Tensor, lattice: Lattice, states: Tensor, *, logits: bool) -> Tensor:
        """Return the occupancy of one state per frame, (N, T). States are (N, T) integers, negative for no state."""

    def best_path(self, log_probs: Tensor, lattice: Lattice) -> BestPath:
        """(optional) Return each item's most probable path; `ctckit.reference.best_path` defines the rule for ties."""

    def greedy_decode(
        self, emissions: Tensor, input_lengths: Tensor, blank: int, *, logits: bool, rescore: bool
    ) -> list[GreedyResult]:
        """(optional) Decode each item of (T, N, C) emissions by its most probable path."""

    def beam_search(
        self, emissions: Tensor, input_lengths: Tensor, options: SearchOptions, scorers: Scorers
    ) -> list[SearchResult]:
        """(optional) Search each item of (T, N, C) emissions; `ctckit.reference.decoding` defines the search."""

    def search_stream(self, classes: int, options: SearchOptions, scorers: Scorers) -> SearchStream:
        """(optional) Start a search that is fed piece by piece."""

    # The functions on graphs take emissions (T, U) in float64 on the CPU, without NaN or +inf, and a graph whose
    # classes are columns of the emissions.

    def best_graph_paths(self, emissions: Tensor, graph: Graph, k: int) -> tuple[Tensor, Tensor]:
        """(optional) Return the states of the k best paths, best first, (k, T) int64, and their values, (k,) float64.

        Fewer if fewer have a value above -inf. `ctckit.reference.best_graph_paths` defines the rule for ties.
        """

    def sample_graph_paths(self, emissions: Tensor, graph: Graph, uniforms: Tensor) -> tuple[Tensor, float]:
        """(optional) Return the states (n, T) int64 of n sampled paths, and the log-likelihood of the graph.

        ``uniforms[i, t]``, float64 in [0, 1), chooses the state of path i in frame t, from the last frame to the first.
        Without a path the states are -1.
        """

    def graph_posteriors(self, emissions: Tensor, graph: Graph) -> tuple[Tensor, float]:
        """(optional) Return the occupancy (T, K) float64 of the graph's states, and its log-likelihood."""


_forced: ContextVar[str | None] = ContextVar("ctckit_backend", default=None)
_forced_from_outside: Final = os.environ.get("CTCKIT_BACKEND")


def name_for(device: torch.device) -> str:
    """Return the name of the backend for a device.

    >>> with use("reference"):
    ...     name_for(torch.device("cpu"))
    'reference'
    """
    return _name_for(_forced.get() or _forced_from_outside, device.type)


def _name_for(forced: str | None, device_type: str) -> str:
    if forced:
        return _known(forced)
    if device_type == "cpu" and available("cpu"):
        return "cpu"
    if device_type == "cuda" and available("triton"):
        return "triton"
    return "reference"


def backend_for(device: torch.device) -> Backend:
    """Return the backend for a device."""
    return _chosen(_forced.get() or _forced_from_outside, device)


def host_backend() -> Backend:
    """Return the backend for the functions that always run on the CPU: the forced one, but the core for triton."""
    return _chosen_on_host(_forced.get() or _forced_from_outside)


@contextmanager
def use(name: str) -> Iterator[None]:
    """Force a backend within a ``with`` block, for this thread or task.

    Args:
        name: one of `NAMES`.

    Raises:
        ArgumentValueError: for another name.
        ImportError: if the backend cannot be imported.

    >>> import ctckit
    >>> with ctckit.backends.use("reference"):
    ...     ctckit.ctc_loss(torch.zeros(3, 2), torch.tensor([1]), 3, 1)
    tensor(-1.7918)
    """
    _known(name)
    import_module(f"ctckit.backends.{name}")
    token = _forced.set(name)
    try:
        yield
    finally:
        _forced.reset(token)


def require_core(what: str) -> None:
    """Raise an ImportError that names what only the C++ core can do, if the core cannot be imported."""
    try:
        import_module("ctckit._core")
    except ImportError as error:
        raise ImportError(
            f"{what} need ctckit's C++ core, which cannot be imported ({error}). Reinstall ctckit with `pip install "
            f"--force-reinstall --no-deps ctckit`"
        ) from error


@cache
def available(name: str) -> bool:
    """Whether a backend can be imported; warns, once, if it cannot."""
    try:
        import_module(f"ctckit.backends.{_known(name)}")
    except ImportError as error:
        warnings.warn(_MISSING[name].format(error=error), RuntimeWarning, stacklevel=2)
        return False
    return True


@cache
def _chosen(forced: str | None, device: torch.device) -> Backend:  # cached, because every call needs it
    name = _name_for(forced, device.type)
    if name == "cpu" and device.type != "cpu":
        raise ArgumentValueError(
            f"the backend 'cpu' is forced, but the tensors are on {device.type}: move them with .cpu()"
        )
    return cast("Backend", import_module(f"ctckit.backends.{name}"))


@cache
def _chosen_on_host(forced: str | None) -> Backend:
    name = _name_for(forced, "cpu")
    return _chosen("cpu" if name == "triton" else name, torch.device("cpu"))


def _known(name: str) -> str:
    if name not in NAMES:
        raise ArgumentValueError(f"there is no backend {name!r}: choose one of {', '.join(map(repr, NAMES))}")
    return name
