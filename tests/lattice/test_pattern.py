"""Patterns: accepted elements, and graphs."""

from __future__ import annotations

import copy
import itertools
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ctckit import WILDCARD, Alternatives
from ctckit.lattice import may_skip, state_labels
from ctckit.lattice.pattern import Graph, compile_pattern


def arcs(graph: Graph) -> list[list[int]]:
    bounds = graph.offsets.tolist()
    return [graph.sources[a:b].tolist() for a, b in itertools.pairwise(bounds)]


@given(st.lists(st.integers(0, 3).filter(lambda label: label != 1), max_size=7))
def test_a_plain_row_is_the_lattice(labels: list[int]) -> None:
    """The same states in the same order, and arcs in the order of the tie rule: stay, step, skip."""
    graph = compile_pattern(labels, 4, blank=1)
    states = state_labels(torch.tensor(labels, dtype=torch.int64), 1)
    skip = may_skip(states, 1)
    assert graph.classes.equal(states)
    expected = [[s, *([s - 1] if s else []), *([s - 2] if skip[s] else [])] for s in range(len(states))]
    assert arcs(graph) == expected
    assert graph.initial.tolist() == [s < 2 for s in range(len(states))]
    assert graph.final.tolist() == ([len(states) - 2, len(states) - 1] if labels else [0])
    assert graph.tokens.tolist() == [s // 2 if s % 2 else -1 for s in range(len(states))]
    repeats = sum(a == b for a, b in itertools.pairwise(labels))
    assert graph.frames_needed() == len(labels) + repeats
    assert graph.matches_nothing == (not labels)


def test_a_tensor_is_a_row() -> None:
    for row in (torch.tensor([1, 2]), torch.tensor([1, 2], dtype=torch.uint8), (np.int64(1), 2)):
        assert compile_pattern(row, 3).classes.tolist() == [0, 1, 0, 2, 0]


def test_options_part_and_join() -> None:
    graph = compile_pattern([Alternatives([1], [2, 1]), 1], 3)
    #                               0  1  2  3  4  5  6  7
    assert graph.classes.tolist() == [0, 1, 2, 0, 1, 0, 1, 0]
    assert graph.tokens.tolist() == [-1, 0, 1, -1, 2, -1, 3, -1]
    # Both options end in 1: neither may be followed directly by the 1 after them.
    assert arcs(graph) == [[0], [1, 0], [2, 0], [3, 2], [4, 3, 2], [5, 1, 4], [6, 5], [7, 6]]
    assert graph.token_options == ((0, 0), (0, 1), (0, 1), (-1, -1))
    assert graph.empty_options == (-1,)


def test_an_empty_option_goes_around_the_blank_after_it() -> None:
    graph = compile_pattern([1, Alternatives([2], []), 1], 3)
    assert graph.classes.tolist() == [0, 1, 0, 2, 0, 1, 0]
    # The last 1 is entered from the blank after the 2, the 2, and the blank before it; not from the first 1.
    assert arcs(graph)[5] == [5, 4, 3, 2]
    assert graph.empty_options == (1,)


def test_free_ends_are_wildcards_that_may_be_left_out() -> None:
    graph = compile_pattern([1], 2, free_start=True, free_end=True)
    assert graph.classes.tolist() == [2, 0, 1, 0, 2]
    assert graph.tokens.tolist() == [-2, -1, 0, -1, -2]
    assert arcs(graph) == [[0], [1, 0], [2, 1, 0], [3, 2], [4, 3, 2]]
    assert graph.initial.tolist() == [True, True, True, False, False]
    assert graph.final.tolist() == [4, 3, 2]


def test_wildcards_never_merge() -> None:
    graph = compile_pattern([WILDCARD, WILDCARD], 2)
    assert arcs(graph)[3] == [3, 2, 1]
    assert graph.frames_needed() == 2


def test_equal_options_are_one() -> None:
    graph = compile_pattern([Alternatives([1], [], [1], [])], 2)
    assert graph.classes.tolist() == [0, 1, 0]
    assert graph.token_options == ((0, 0), (0, 2))
    assert graph.empty_options == (1,)


@pytest.mark.parametrize("pattern", [[], [Alternatives([])], [Alternatives([1], []), Alternatives([])]])
def test_what_may_match_nothing(pattern: Any) -> None:
    graph = compile_pattern(pattern, 2)
    assert graph.matches_nothing
    assert graph.frames_needed() == 0


def test_values_compare_copy_and_print() -> None:
    element = Alternatives([1, WILDCARD], 2, [])
    assert repr(element) == "Alternatives((1, WILDCARD), (2,), ())"
    assert element == Alternatives((1, WILDCARD), [2], ())
    assert element != Alternatives([2], [])
    assert len({element, Alternatives([1, WILDCARD], [2], [])}) == 1
    for clone in (copy.deepcopy([element, WILDCARD]), pickle.loads(pickle.dumps([element, WILDCARD]))):  # noqa: S301
        assert clone == [element, WILDCARD]
        assert clone[1] is WILDCARD


BAD: dict[str, tuple[Any, type[Exception], str]] = {
    "text": ("12", TypeError, r"pattern is a str, .* sequence of ints.*convert text"),
    "number": (7, TypeError, "pattern is a int"),
    "element of text": ([1, "2"], TypeError, r"pattern\[1\] is '2', a str, but must be an int, ctckit.WILDCARD"),
    "bool": ([True], TypeError, r"pattern\[0\] is True, a bool"),
    "float": ([1, 2, 1.0], TypeError, r"pattern\[2\] is 1.0, a float"),
    "list": ([[1]], TypeError, r"pattern\[0\] is \[1\], a list"),
    "table": (torch.ones(1, 2, dtype=torch.int64), TypeError, r"shape \(1, 2\).* one row"),
    "tensor of floats": (torch.ones(2), TypeError, "float32.*integers"),
    "too large": ([1, 3], ValueError, r"pattern\[1\] is 3, .* 0 to 2"),
    "negative": ([-1], ValueError, r"pattern\[0\] is -1"),
    "blank": ([1, 0], ValueError, r"pattern\[1\] is 0, which is the blank"),
    "in an option": ([1, Alternatives([1], [2, 5])], ValueError, r"pattern\[1\], option 1\[1\], is 5"),
    "blank in an option": ([Alternatives([0])], ValueError, r"pattern\[0\], option 0\[0\], is 0, which is the blank"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_patterns(name: str) -> None:
    pattern, error, says = BAD[name]
    with pytest.raises(error, match=says):
        compile_pattern(pattern, 3)


def test_labels_that_torch_func_transforms() -> None:
    rows = torch.tensor([[1, 2]])
    with pytest.raises(TypeError, match=r"pattern is transformed by torch.func .vmap, grad, jvp"):
        torch.func.vmap(lambda row: row + compile_pattern(row, 3).frames_needed())(rows)


def test_bad_options() -> None:
    with pytest.raises(ValueError, match="no options"):
        Alternatives()
    wrong: Any
    for wrong, says in (
        ("12", r"option 0\[0\] of Alternatives is '12', a str"),
        ([1, "a"], r"option 0\[1\] of Alternatives is 'a'"),
        ([Alternatives([1])], r"option 0\[0\] of Alternatives is Alternatives\(\(1,\)\)"),
        (None, "is None"),
    ):
        with pytest.raises(TypeError, match=says):
            Alternatives(wrong)
