"""The option ``unknown``: the policy, its text form, and the kinds of characters."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

import ctckit
from ctckit.text.unknown import Unknown, UnknownPolicy, kinds_of


@pytest.mark.parametrize(
    ("value", "policy"),
    [
        ("skip", ("skip", "skip", "skip")),
        ({"numbers": "wildcard"}, ("raise", "wildcard", "raise")),
        ({"punctuation": "skip", "words": "wildcard"}, ("wildcard", "raise", "skip")),
        ({}, ("raise", "raise", "raise")),
        (UnknownPolicy("skip"), ("skip", "raise", "raise")),
    ],
)
def test_policies(value: Any, policy: tuple[str, str, str]) -> None:
    assert UnknownPolicy.of(value) == policy


def test_every_policy_is_read_as_it_is_written() -> None:
    choices: tuple[Unknown, ...] = ("raise", "wildcard", "skip")
    for policy in itertools.starmap(UnknownPolicy, itertools.product(choices, repeat=3)):
        assert UnknownPolicy.parse(str(policy)) == policy
    assert [str(UnknownPolicy.of(choice)) for choice in choices] == list(choices)
    assert str(UnknownPolicy("skip", "skip", "wildcard")) == "words=skip,numbers=skip,punctuation=wildcard"


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("wildcard", ("wildcard", "wildcard", "wildcard")),
        ("numbers=wildcard,punctuation=skip", ("raise", "wildcard", "skip")),
        (" words = skip , numbers=raise", ("skip", "raise", "raise")),
    ],
)
def test_policies_of_a_command_line(text: str, policy: tuple[str, str, str]) -> None:
    assert UnknownPolicy.parse(text) == policy


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        ("ignore", ValueError, "unknown is 'ignore', but must be one of 'raise', 'wildcard', 'skip'"),
        ({"digits": "skip"}, ValueError, "the key 'digits', but its keys must be some of 'words', 'numbers', 'punct"),
        ({"numbers": "drop"}, ValueError, r"unknown\['numbers'\] is 'drop'"),
        ({"numbers": None}, TypeError, r"unknown\['numbers'\] is None, a NoneType"),
        (None, TypeError, "unknown is None, a NoneType, but must be one of"),
        (["skip"], TypeError, "unknown is .'skip'., a list"),
    ],
)
def test_policies_that_are_none(value: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        UnknownPolicy.of(value)
    for call in (ctckit.Vocabulary(["a"]).encode, lambda text, **o: ctckit.align(None, text, ["a"], **o)):  # type: ignore[call-overload]
        with pytest.raises(error, match=message):
            call("a", unknown=value)


@pytest.mark.parametrize("text", ["", "numbers=drop", "digits=skip", "numbers=skip,skip", "numbers=skip,numbers=raise"])
def test_command_lines_that_are_none(text: str) -> None:
    with pytest.raises(ctckit.ArgumentValueError, match="unknown"):
        UnknownPolicy.parse(text)


def test_a_command_line_without_an_equals_sign() -> None:
    with pytest.raises(ctckit.ArgumentValueError, match=r"but 'skip' in it has no '=': write numbers=wildcard"):
        UnknownPolicy.parse("numbers=skip,skip")


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("3.14, 1,000", "3.14 1,000"),
        ("at 12:30.", "12:30"),
        ("-5 and +49", "-5 +49"),
        ("$5, 7 €, 50%.", "$5 7 50%"),
        ("1/2 (3)", "1/2 3"),
        ("3rd B2", "3 2"),
        ("\u0663\u066b\u0665 ½ \u2163", "\u0663\u066b\u0665 ½ \u2163"),
        ("a, b - c.", ""),
    ],
)
def test_numbers(text: str, numbers: str) -> None:
    kinds = kinds_of(text)
    found = "".join(sign if kind == "numbers" else " " for sign, kind in zip(text, kinds, strict=True))
    assert found.split() == numbers.split()


def test_words_and_punctuation() -> None:
    assert set(kinds_of("aéß日\u0301")) == {"words"}
    assert set(kinds_of("-\u2013'.,;!?¿…“”「。()&@ \u200b")) == {"punctuation"}
