r"""Patterns, which generalise targets, and their graphs.

A *pattern* is a row of elements. An element is one of:

- a label, an int, as in a plain target;
- `WILDCARD`: a run of at least one frame of any classes;
- `Alternatives`: one of several rows of labels and wildcards, of which one may be empty.

**The graph.** `ctckit.lattice` draws the states and arcs of a plain target. The graph of a pattern follows the same
rules:

- There is a blank before the first element, after the last, and between any two (inside an option, too).
- Every state has an arc to itself.
- A blank is entered from the states that end before it.
- A label is entered from the blank before it. It is also entered from the states that end before that blank, unless
  they are the same label.

A plain row of labels gets exactly the states and arcs of `ctckit.lattice`, in the same order. A wildcard is a state
with its own class, numbered C, one after the last class. It never merges with a neighbour, not even with another
wildcard.

Options branch at the blank before them and join at the blank after them::

    Alternatives([1], [2, 3])            ┌──────► 1 ───────┐
                                 blank ──┤                 ├──► blank
                                         └► 2 ► blank ► 3 ─┘

An *empty* option has no state. Skipping it reuses the blank before it, so no alignment is counted twice. Two equal
options of one element count once, as the first. (Readings of several elements may spell the same labels:
``Alternatives([1], [1, 2]), Alternatives([2], [])``. Each reading is counted.)

**Free ends.** A free start is an optional wildcard state before all others, without a blank before it: a path begins
there or in the usual states. A free end is an optional wildcard state after all others.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Final, NamedTuple, TypeAlias

import torch
from torch import Tensor

from ctckit.errors import ArgumentTypeError, ArgumentValueError
from ctckit.lattice.checks import bad_label
from ctckit.lattice.lengths import INTEGER_DTYPES, as_int
from ctckit.lattice.tensor_kinds import plain, present, require_numbers

__all__ = ["WILDCARD", "Alternatives", "Element", "Graph", "Pattern", "Token", "Wildcard", "compile_pattern"]

BLANK: Final = -1
"""A blank in `Graph.tokens`."""
OUTSIDE: Final = -2
"""A free start or a free end in `Graph.tokens`: frames before or after the pattern."""

_START: Final = -1  # among the sources of a state: before the first frame


class Wildcard(Enum):
    """The type of `WILDCARD`."""

    WILDCARD = "*"

    def __repr__(self) -> str:
        """Return the name by which it is imported."""
        return "WILDCARD"


WILDCARD: Final = Wildcard.WILDCARD
"""An element of a pattern that matches any run of at least one frame, of any classes."""

Token: TypeAlias = "int | Wildcard"  # noqa: S105  # no password


class Alternatives:
    """An element of a pattern that matches one of several options.

    Args:
        options: each a sequence of labels and wildcards, possibly empty; or one label or wildcard.

    Raises:
        ArgumentTypeError: for an option of another type.
        ArgumentValueError: without options.

    >>> Alternatives([7, 3], [12], [])
    Alternatives((7, 3), (12,), ())
    """

    __slots__ = ("options",)

    options: tuple[tuple[Token, ...], ...]

    def __init__(self, *options: Sequence[Token] | Token) -> None:
        if not options:
            raise ArgumentValueError(
                "Alternatives has no options, but must have at least one: pass [] for an empty option"
            )
        self.options = tuple(_option(option, f"option {number}") for number, option in enumerate(options))

    def __repr__(self) -> str:
        """Return the call that makes it."""
        return f"Alternatives({', '.join(map(repr, self.options))})"

    def __eq__(self, other: object) -> bool:
        """Compare the options, in order."""
        return isinstance(other, Alternatives) and self.options == other.options

    def __hash__(self) -> int:
        """Agree with equality."""
        return hash(self.options)


Element: TypeAlias = "int | Wildcard | Alternatives"
Pattern: TypeAlias = "Sequence[Element] | Tensor"


class Graph(NamedTuple):
    """The states and arcs of a pattern: K states, A arcs, P tokens; the tensors are int64, on the CPU.

    States are in topological order: arcs lead from earlier states, or from the state itself.
    """

    classes: Tensor
    """(K,): the class of each state; C, the number of classes, for a wildcard, a free start and a free end."""
    tokens: Tensor
    """(K,): the pattern's token of each state; -1 for a blank, -2 for a free start or end. The tokens are the pattern's
    elements in order, with an `Alternatives` replaced by the tokens of all its options."""
    sources: Tensor
    """(A,): the source states of the arcs. ``sources[offsets[s] : offsets[s + 1]]`` are those into state s, in order of
    preference among equally good ones: s itself, the blank before it, the states that end before that blank (first
    option first), and so on before an empty option."""
    offsets: Tensor
    """(K + 1,): the first arc into each state."""
    initial: Tensor
    """(K,) bool: the states in which a path may begin."""
    final: Tensor
    """(F,): the states in which a path may end, in order of preference."""
    matches_nothing: bool
    """Whether an input without frames matches the pattern."""
    token_options: tuple[tuple[int, int], ...]
    """(P,): for each token its `Alternatives` (from 0) and the option; (-1, -1) for a token outside of all."""
    empty_options: tuple[int, ...]
    """For each `Alternatives` its empty option, or -1."""

    def frames_needed(self) -> int:
        """Return the fewest frames that match the pattern.

        >>> compile_pattern([1, 1, Alternatives([2, 2], [3])], classes=4).frames_needed()
        4
        """
        if self.matches_nothing:
            return 0
        initial, sources, offsets = self.initial.tolist(), self.sources.tolist(), self.offsets.tolist()
        needed: list[int] = []
        for state, first in enumerate(initial):
            before = [needed[source] for source in sources[offsets[state] : offsets[state + 1]] if source != state]
            needed.append(1 if first else 1 + min(before))
        fewest: int = min(needed[state] for state in self.final.tolist())
        return fewest


def compile_pattern(
    pattern: Pattern, classes: int, blank: int = 0, *, free_start: bool = False, free_end: bool = False
) -> Graph:
    """Make the graph of a pattern.

    Args:
        pattern: ints, `WILDCARD` and `Alternatives` in a sequence, or a tensor (S,) of labels.
        classes: C, the number of classes.
        blank: class of the blank.
        free_start: whether the pattern may begin at any frame.
        free_end: whether the pattern may end at any frame.

    Returns:
        The `Graph`.

    Raises:
        ArgumentTypeError: for a pattern, or an element, of another type.
        ArgumentValueError: for a label that is no class, or the blank, with its position in the pattern.

    Example:
        >>> compile_pattern([1, 2], classes=3).classes
        tensor([0, 1, 0, 2, 0])
        >>> compile_pattern([1, WILDCARD], classes=3).classes  # 3 is the wildcard
        tensor([0, 1, 0, 3, 0])
    """
    elements = checked_pattern(pattern, classes, blank)
    builder = _Builder(classes, blank)
    outside = builder.add(classes, OUTSIDE, [_START]) if free_start else None
    ends = [_START] if outside is None else [outside, _START]
    before = [builder.add(blank, BLANK, ends), *ends]  # the states from which the next element is entered
    token_options: list[tuple[int, int]] = []
    empty_options: list[int] = []
    for element in elements:
        options = element.options if isinstance(element, Alternatives) else ((element,),)
        ends = []
        for number, option in enumerate(options):
            if option and option not in options[:number]:
                ends.append(_add_option(builder, option, len(token_options), before))
            number_of = (len(empty_options), number) if isinstance(element, Alternatives) else (-1, -1)
            token_options += [number_of] * len(option)
        emptiable = () in options
        if isinstance(element, Alternatives):
            empty_options.append(options.index(()) if emptiable else -1)
        earlier = before if emptiable else []
        before = [builder.add(blank, BLANK, ends), *ends, *earlier] if ends else earlier

    final = [state for state in before if state != _START]
    if free_end:
        # No arc from a free start to a free end: that is one run of frames outside the pattern, not two.
        skipped = outside, None if outside is None else _START
        final.insert(0, builder.add(classes, OUTSIDE, [state for state in before if state not in skipped]))
    else:
        final.sort(key=lambda state: builder.tokens[state] == BLANK)
    return Graph(
        torch.tensor(builder.classes, device="cpu"),
        torch.tensor(builder.tokens, device="cpu"),
        torch.tensor(builder.sources, device="cpu"),
        torch.tensor(builder.offsets, device="cpu"),
        torch.tensor(builder.initial, device="cpu"),
        torch.tensor(final, device="cpu"),
        _START in before,
        tuple(token_options),
        tuple(empty_options),
    )


class _Builder:
    """Builds a graph state by state."""

    def __init__(self, wildcard: int, blank: int) -> None:
        self.wildcard, self.blank = wildcard, blank
        self.classes: list[int] = []
        self.tokens: list[int] = []
        self.sources: list[int] = []
        self.offsets = [0]
        self.initial: list[bool] = []

    def add(self, clazz: int, token: int, before: Sequence[int]) -> int:
        """Add a state with arcs from the given states, except from those with which its label would merge."""
        state = len(self.classes)
        allowed = [source for source in before if source == _START or self._may_follow(clazz, source)]
        self.classes.append(clazz)
        self.tokens.append(token)
        self.initial.append(_START in allowed)
        self.sources += [state, *(source for source in allowed if source != _START)]
        self.offsets.append(len(self.sources))
        return state

    def _may_follow(self, clazz: int, source: int) -> bool:
        """Apply the skip rule of `ctckit.lattice.may_skip`; a wildcard merges with no label."""
        return clazz != self.classes[source] or clazz == self.wildcard


def _add_option(builder: _Builder, option: Sequence[Token], first: int, before: list[int]) -> int:
    """Add the states of one option; return the last."""
    state = _START
    for number, token in enumerate(option):
        if number > 0:
            before = [builder.add(builder.blank, BLANK, [state]), state]
        state = builder.add(builder.wildcard if isinstance(token, Wildcard) else token, first + number, before)
    return state


def checked_pattern(pattern: Pattern, classes: int, blank: int) -> list[Element]:
    """Check a pattern, and return its elements as ints and the types of this module."""
    rows = _rows(pattern)
    for position, element in enumerate(rows):
        if type(element) is int:
            _check_label(element, f"pattern[{position}]", classes, blank)
        elif isinstance(element, Alternatives):
            for number, option in enumerate(element.options):
                for place, token in enumerate(option):
                    if not isinstance(token, Wildcard):
                        _check_label(token, f"pattern[{position}], option {number}[{place}],", classes, blank)
    return rows


def _rows(pattern: Pattern) -> list[Element]:
    if isinstance(pattern, Tensor):
        pattern = plain(pattern, "pattern", "", needs_numbers=True)
        require_numbers((pattern,), "pattern")
        if pattern.ndim != 1 or pattern.dtype not in INTEGER_DTYPES:
            raise ArgumentTypeError(
                f"pattern is a tensor of shape {tuple(pattern.shape)} and dtype {pattern.dtype}, but must be one row "
                f"of integers (S,): pass one item's labels"
            )
        return list(present(pattern, "pattern").tolist())
    if isinstance(pattern, (str, bytes)) or not isinstance(pattern, Sequence):
        raise ArgumentTypeError(
            f"pattern is a {type(pattern).__name__}, but must be a sequence of ints, ctckit.WILDCARD and "
            f"ctckit.Alternatives, or a tensor of labels: convert text to labels first"
        )
    return [
        element if isinstance(element, (Wildcard, Alternatives)) else _label(element, f"pattern[{position}]")
        for position, element in enumerate(pattern)
    ]


def _option(option: Sequence[Token] | Token, name: str) -> tuple[Token, ...]:
    # `_label` raises for an option that is neither a sequence nor a label.
    row = option if isinstance(option, Sequence) and not isinstance(option, (str, bytes)) else (option,)
    return tuple(
        token if isinstance(token, Wildcard) else _label(token, f"{name}[{place}] of Alternatives")
        for place, token in enumerate(row)
    )


def _label(value: object, name: str) -> int:
    try:
        return as_int(value, name)
    except TypeError as error:
        allowed = "an int or ctckit.WILDCARD" if "Alternatives" in name else "an int, ctckit.WILDCARD or Alternatives"
        raise ArgumentTypeError(f"{name} is {value!r}, a {type(value).__name__}, but must be {allowed}") from error


def _check_label(label: int, name: str, classes: int, blank: int) -> None:
    if not bad_label(label, classes, blank):
        return
    if label == blank:
        raise ArgumentValueError(
            f"{name} is {label}, which is the blank, but a pattern holds labels only: leave blanks out, they are "
            f"allowed everywhere, or pass another blank"
        )
    raise ArgumentValueError(f"{name} is {label}, but labels must be classes of log_probs, 0 to {classes - 1}")
