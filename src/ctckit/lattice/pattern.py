r"""What may be aligned beside a plain row of labels: patterns, and the graphs that they become.

A *pattern* is a row of elements, of three kinds:

- a label, an int, as in a plain target;
- `WILDCARD`: a run, of at least one frame, of anything;
- `Alternatives`: one of several rows of labels and wildcards, of which one may be empty.

**The graph.** `ctckit.lattice` draws the states and arcs of a plain target. A pattern has more general ones, made by
the same rules: a blank before the first element, after the last, and between any two (inside an option, too); every
state has an arc to itself; a blank is entered from what ends before it; a label is entered from the blank before it,
and straight from what ends before that blank, unless this is the same label. A plain row of labels gets exactly the
states and arcs of `ctckit.lattice`, in the same order. A wildcard is a state of a class of its own, numbered C, one
after the last; it never merges with what is beside it, not even with another wildcard.

Options part at the blank before them and join at the blank after them::

    Alternatives([1], [2, 3])            ┌──────► 1 ───────┐
                                 blank ──┤                 ├──► blank
                                         └► 2 ► blank ► 3 ─┘

An *empty* option has no state. What could lead to the blank after it leads on from the blank before it instead: so a
run of blanks is in one state, not divided between two in every possible way, and no alignment is counted twice. Two
options of one element that are equal are one reading, the first. (Readings that differ by more than one element may
well spell the same labels: ``Alternatives([1], [1, 2]), Alternatives([2], [])``. Each is counted.)

**Free ends.** A free start is a wildcard state before everything else that may be left out, without a blank before it:
a path begins there, or as ever. A free end is likewise one after everything else.
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
"""Stands in `Graph.tokens` for a blank."""
OUTSIDE: Final = -2
"""Stands in `Graph.tokens` for what precedes the pattern at a free start, or follows it at a free end."""

_START: Final = -1  # among the sources of a state: before the first frame


class Wildcard(Enum):
    """The type of `WILDCARD`."""

    WILDCARD = "*"

    def __repr__(self) -> str:
        """Give the name by which it is imported."""
        return "WILDCARD"


WILDCARD: Final = Wildcard.WILDCARD
"""An element of a pattern that any run, of at least one frame, of any classes matches."""

Token: TypeAlias = "int | Wildcard"  # noqa: S105  # no password


class Alternatives:
    """An element of a pattern that is read in one of several ways.

    Args:
        options: each a sequence of labels and wildcards, possibly empty; or one label or wildcard.

    Raises:
        ArgumentTypeError: if an option is or holds something else.
        ArgumentValueError: if there is no option.

    >>> Alternatives([7, 3], [12], [])
    Alternatives((7, 3), (12,), ())
    """

    __slots__ = ("options",)

    options: tuple[tuple[Token, ...], ...]

    def __init__(self, *options: Sequence[Token] | Token) -> None:
        if not options:
            raise ArgumentValueError(
                "Alternatives has no options, but must have at least one: pass [] for nothing at all"
            )
        self.options = tuple(_option(option, f"option {number}") for number, option in enumerate(options))

    def __repr__(self) -> str:
        """Write it as Python would."""
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

    A state comes after all states that it is entered from, but for itself.
    """

    classes: Tensor
    """(K,): the class of each state; that of a wildcard, and of a free end, is C, the number of classes."""
    tokens: Tensor
    """(K,): which of the pattern's tokens a state is; -1 for a blank, -2 for a free start or end. The tokens are the
    pattern's elements in order, with an `Alternatives` replaced by the tokens of all its options."""
    sources: Tensor
    """(A,): where arcs come from. Those into state s are ``sources[offsets[s] : offsets[s + 1]]``, in the order in
    which one is preferred where several are equally good: from s itself, from the blank before it, from what ends
    before that (first option first), and so on before an empty option."""
    offsets: Tensor
    """(K + 1,)."""
    initial: Tensor
    """(K,) bool: where a path may begin."""
    final: Tensor
    """(F,): states in which a path may end, in order of preference."""
    matches_nothing: bool
    """Whether no frame at all matches the pattern."""
    token_options: tuple[tuple[int, int], ...]
    """(P,): the `Alternatives` (from 0) that a token is in, and the option; (-1, -1) for a token of none."""
    empty_options: tuple[int, ...]
    """For each `Alternatives` its empty option, -1 if it has none."""

    def frames_needed(self) -> int:
        """Give the fewest frames that match the pattern.

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
        free_end: whether it may end at any frame.

    Returns:
        The `Graph`.

    Raises:
        ArgumentTypeError: if the pattern is or holds something else.
        ArgumentValueError: if a label is no class, or the blank, naming its place in the pattern.

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
    before = [builder.add(blank, BLANK, ends), *ends]  # what an element can be entered from
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
        # Not from a free start straight into a free end: that is one run of frames outside the pattern, not two.
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
    """A graph in the making."""

    def __init__(self, wildcard: int, blank: int) -> None:
        self.wildcard, self.blank = wildcard, blank
        self.classes: list[int] = []
        self.tokens: list[int] = []
        self.sources: list[int] = []
        self.offsets = [0]
        self.initial: list[bool] = []

    def add(self, clazz: int, token: int, before: Sequence[int]) -> int:
        """Add a state that is entered from those given, except where the label would merge with one of them."""
        state = len(self.classes)
        allowed = [source for source in before if source == _START or self._may_follow(clazz, source)]
        self.classes.append(clazz)
        self.tokens.append(token)
        self.initial.append(_START in allowed)
        self.sources += [state, *(source for source in allowed if source != _START)]
        self.offsets.append(len(self.sources))
        return state

    def _may_follow(self, clazz: int, source: int) -> bool:
        """Give the skip rule of `ctckit.lattice.may_skip`; no label merges with a wildcard."""
        return clazz != self.classes[source] or clazz == self.wildcard


def _add_option(builder: _Builder, option: Sequence[Token], first: int, before: list[int]) -> int:
    """Add the states of one option, and return its last."""
    state = _START
    for number, token in enumerate(option):
        if number > 0:
            before = [builder.add(builder.blank, BLANK, [state]), state]
        state = builder.add(builder.wildcard if isinstance(token, Wildcard) else token, first + number, before)
    return state


def checked_pattern(pattern: Pattern, classes: int, blank: int) -> list[Element]:
    """Return the elements of a pattern as Python's own ints and the types of this module, all labels valid."""
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
    # What is neither a sequence nor a label, `_label` will complain of.
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
