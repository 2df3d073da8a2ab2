"""Which class is the blank: the one place that decides, from the caller, the vocabulary and the emissions."""

from __future__ import annotations

from typing import Protocol

from ctckit.errors import ArgumentValueError
from ctckit.lattice import as_int

__all__ = ["blank_of"]


class _Vocabulary(Protocol):
    """The members of a `ctckit.Vocabulary` that are read here."""

    blank: int | None
    blank_reason: str

    @property
    def size(self) -> int: ...

    def name(self, number: int) -> str: ...


def blank_of(vocabulary: _Vocabulary | None, classes: int | None, given: int | None) -> int:
    """Return the class of the blank.

    The first of these that applies:

    - the caller's class;
    - the vocabulary's (`Vocabulary.blank`);
    - the last class, if the emissions have one class more than the vocabulary (as for NeMo's models);
    - class 0.

    Args:
        vocabulary: the vocabulary; None if there is none.
        classes: number of classes of the emissions; None if it is not known.
        given: the caller's argument ``blank``; None if it was left out.

    Raises:
        ArgumentTypeError: if `given` is not an integer.
        ArgumentValueError: if `given` is negative, or contradicts the vocabulary.

    >>> from ctckit import Vocabulary
    >>> blank_of(Vocabulary(["a", "b", "<blank>"]), 3, None)
    2
    >>> blank_of(Vocabulary(["a", "b", "c"]), 4, None)
    3
    """
    said = None if vocabulary is None else vocabulary.blank
    if given is not None:
        given = as_int(given, "blank")
        if given < 0:
            raise ArgumentValueError(f"blank is {given}, but classes are numbered from 0")
        if vocabulary is not None and said is not None and given != said:
            raise ArgumentValueError(
                f"blank is {given} ({vocabulary.name(given)!r}), but {vocabulary.blank_reason}: leave blank= out, or, "
                f"if class {given} is the blank, say so with Vocabulary(..., blank={given})"
            )
        return given
    if said is not None:
        return said
    if vocabulary is not None and classes is not None and vocabulary.size and classes == vocabulary.size + 1:
        return classes - 1
    return 0
