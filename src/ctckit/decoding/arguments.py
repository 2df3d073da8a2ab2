"""Checks of the arguments of decoders, and of the emissions' values."""

from __future__ import annotations

import warnings
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from torch import Tensor

from ctckit.backends.searches import SearchOptions, Status
from ctckit.errors import ArgumentTypeError, ArgumentValueError
from ctckit.lattice import Lengths, as_int, gate_emissions, item_name, validate_input_lengths
from ctckit.lattice.plausibility import are_probabilities, implausible
from ctckit.lattice.tensor_kinds import require_memory

__all__ = [
    "BeamWidth",
    "Emissions",
    "Invalid",
    "Pruning",
    "check_invalid",
    "check_plausible",
    "gate",
    "not_finite",
    "problem_of",
    "widths",
]

BeamWidth: TypeAlias = int | tuple[int, int]
"""How many prefixes are kept; or the first and the largest number."""

Invalid: TypeAlias = Literal["raise", "none"]

_MOST_WIDTH: Final = 1 << 20
_MOST_NATS: Final = 1e6


class Emissions(NamedTuple):
    """A batch of emissions on the CPU."""

    values: Tensor
    """(T, N, C)"""
    lengths: Tensor
    """(N,) int64."""
    batched: bool
    """Whether the caller's emissions had a batch dimension."""

    def item(self, index: int) -> Tensor:
        """Return the (T, C) emissions of an item, a view."""
        return self.values[: int(self.lengths[index]), index]


class Pruning(NamedTuple):
    """The thresholds of a search; None for none."""

    beam_threshold: float | None
    token_threshold: float | None
    blank_threshold: float | None

    def check(self) -> Pruning:
        """Check the thresholds, and return them as a search takes them.

        Raises:
            ArgumentTypeError: if one is no number.
            ArgumentValueError: if one is out of bounds.
        """
        given: tuple[Any, ...] = self
        for name, value in zip(self._fields, given, strict=True):
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise ArgumentTypeError(f"{name} is {value!r}, a {type(value).__name__}, but must be a number or None")
            if name == "beam_threshold" and not value > 0:
                raise ArgumentValueError(f"beam_threshold is {value}, but must be above 0 nats")
            if name != "beam_threshold" and not 0 <= value <= 1:
                raise ArgumentValueError(f"{name} is {value}, but a probability must be from 0 to 1")
        if self.beam_threshold is None or self.beam_threshold <= _MOST_NATS:
            return self
        return self._replace(beam_threshold=_MOST_NATS)  # an int may be too large for floats


def gate(log_probs: Any, input_lengths: Lengths, *, batch_first: bool) -> Emissions:
    """Check emissions and their lengths, and bring them to the CPU.

    Raises:
        ArgumentTypeError: as `ctckit.forced_align`.
        ArgumentValueError: as `ctckit.forced_align`.
    """
    if isinstance(input_lengths, Tensor):
        require_memory(input_lengths, "input_lengths")
        input_lengths = input_lengths.cpu()
    given: Any = log_probs
    if isinstance(given, Tensor) and given.device.type not in ("cpu", "meta"):
        given = given.detach().cpu()
    x, lengths, batched = gate_emissions(
        given, input_lengths, batch_first=batch_first, name="log_probs", needs_numbers=True
    )
    require_memory(x, "log_probs")
    if input_lengths is not None:
        validate_input_lengths(lengths, x.shape[0])
    return Emissions(x.detach(), lengths, batched)


def widths(beam_width: Any, nbest: Any) -> tuple[int, int, int]:
    """Check the width of the beam and the number of hypotheses. Return the first and the largest width, and `nbest`.

    Raises:
        ArgumentTypeError: if one is not an int, or the width not a pair of ints.
        ArgumentValueError: for a width below 1; for a first width above the largest; for more hypotheses than prefixes.
    """
    pair = beam_width if isinstance(beam_width, (tuple, list)) else (beam_width, beam_width)
    if len(pair) != 2:
        raise ArgumentValueError(
            f"beam_width is {beam_width!r}, but must be a number, or the first and the largest: (8, 512)"
        )
    first, largest = as_int(pair[0], "beam_width"), as_int(pair[1], "beam_width")
    if not 1 <= first <= largest <= _MOST_WIDTH:
        if first > largest:
            raise ArgumentValueError(f"beam_width is {beam_width!r}, but the first width must not exceed the largest")
        raise ArgumentValueError(f"beam_width is {beam_width!r}, but must be from 1 to {_MOST_WIDTH:,}")
    count = as_int(nbest, "nbest")
    if count < 1:
        raise ArgumentValueError(f"nbest is {count}, but there is at least one hypothesis")
    if count > first:
        raise ArgumentValueError(
            f"nbest is {count}, but a beam of {first} prefixes has no more hypotheses: pass beam_width={count} "
            f"(--beam {count})"
        )
    return first, largest, count


def check_invalid(invalid: str) -> None:
    """Check the choice of what to do with items that hold NaN or +inf."""
    if invalid not in ("raise", "none"):
        raise ArgumentValueError(f"invalid is {invalid!r}, but must be 'raise' or 'none'")


def not_finite(emissions: Emissions, item: int, frame: int, *, may_be_none: bool) -> ArgumentValueError:
    """Make the error for an item that holds NaN or +inf, from a frame on.

    Args:
        emissions: the batch.
        item: the item.
        frame: its first such frame.
        may_be_none: whether the caller has the argument ``invalid``.
    """
    row = emissions.values[frame, item]
    kind = "NaN" if bool(row.isnan().any()) else "+inf"
    other_remedy = ", or pass invalid='none'" if may_be_none else ""
    return ArgumentValueError(
        f"log_probs of {item_name(item, batched=emissions.batched)} hold {kind} in frame {frame}: look for an overflow "
        f"or a division by zero in the model (ctckit.check names all places){other_remedy}"
    )


def problem_of(
    status: Status, frame: int, options: SearchOptions | None, *, is_end: bool = False, is_scored: bool = False
) -> str | None:
    """Say in words why a search has no hypothesis; None if it has.

    Args:
        status: how the search ended.
        frame: the frame that has ended it.
        options: its options, if it has any.
        is_end: whether it ended after the last frame, by the gains of the end.
        is_scored: whether it had scorers: a lexicon, for example.
    """
    if status == "done":
        return None
    if status == "not_finite":
        return f"NaN or +inf in frame {frame}"
    thresholds = options is not None and (options.token_threshold or options.blank_threshold is not None)
    why = " (or the thresholds left none)" if thresholds else ""
    where = "at the end" if is_end else f"after frame {frame}"
    forbidden = ", or forbidden by the lexicon or another scorer" if is_scored else ""
    return f"no labelling has a probability above 0 {where}{why}: all that it needs is -inf{forbidden}"


def check_plausible(emissions: Emissions, item: int, score: float, *, logits: bool, level: int | None) -> bool:
    """Refuse probabilities, and warn of other values that are no log-probabilities.

    The score of the best hypothesis shows cheaply whether to look: it is below 0 unless some values are 0 or above.

    Args:
        emissions: the batch.
        item: the item.
        score: the score of its best hypothesis.
        logits: whether the emissions are logits.
        level: how many calls above this one the user's line is; None not to warn.

    Returns:
        Whether it has warned.

    Raises:
        ArgumentValueError: for probabilities in place of their logarithms.
    """
    if not logits and score < 0:
        return False
    x = emissions.item(item)
    if len(x) == 0 or (logits and float(x[0].amin()) < 0):
        return False
    where = f"item {item}: " if emissions.batched else ""
    problems = [problem for problem in implausible(x, logits=logits) if problem.kind in ("positive", "unnormalised")]
    if problems and are_probabilities(x):
        raise ArgumentValueError(where + problems[0].message)
    if problems and level is not None:
        warnings.warn(where + problems[0].message, UserWarning, stacklevel=level + 1)
    return bool(problems)
