"""The labels of a pyctcdecode decoder, and the vocabulary that they mean."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

from ctckit.errors import ArgumentTypeError, ArgumentValueError
from ctckit.text.vocabulary import Vocabulary

__all__ = ["Alphabet", "checked_strings"]

_MARK: Final = "▁"
_UNKNOWN: Final = "\N{DOUBLE QUESTION MARK}"
_MARKED_UNKNOWN: Final = f"{_MARK}{_UNKNOWN}{_MARK}"
_BLANK_NAME: Final = re.compile(r"[<\[]pad[>\]]", re.IGNORECASE)
_UNKNOWN_NAME: Final = re.compile(r"[<\[]unk[>\]]", re.IGNORECASE)
_SPECIAL_NAME: Final = re.compile(r"[<\[].+[>\]]")


class Alphabet:
    """Labels as pyctcdecode writes them: "" is the blank, " " stands between words, or "▁" begins them.

    Attributes:
        labels: the labels, one per class.
        is_bpe: whether they are word pieces, with "▁".
        blank: class of the blank.
        vocabulary: the same as a `ctckit.Vocabulary`.

    Args:
        labels: the labels, in this form.
        is_bpe: whether they are word pieces.

    Raises:
        ArgumentTypeError: if `labels` is not a list of strings.
        ArgumentValueError: for a label that occurs twice, and if none is the blank.

    Example:
        >>> alphabet = Alphabet.build_alphabet(["<pad>", "<unk>", "|", "a", "b"])
        >>> alphabet.labels, alphabet.blank
        (['', '⁇', ' ', 'a', 'b'], 0)
    """

    def __init__(self, labels: Sequence[str], is_bpe: bool) -> None:
        self.labels = checked_strings(labels, "labels")
        self.is_bpe = is_bpe
        seen: set[str] = set()
        for number, label in enumerate(self.labels):
            if label in seen:
                raise ArgumentValueError(f"labels[{number}] is {label!r}, which is another class, too")
            seen.add(label)
        if "" not in seen:
            raise ArgumentValueError("labels has no blank, '': make the alphabet with Alphabet.build_alphabet")
        if len(seen) == 1:
            raise ArgumentValueError("labels has nothing but the blank")
        self.blank = self.labels.index("")
        # (A name is one class's: "▁⁇▁" becomes the piece that begins the word "⁇".)
        names = [None if not label else label.removesuffix(_MARK) or label for label in self.labels]
        if len(set(names)) < len(names):
            names = [label or None for label in self.labels]
        separator = None if is_bpe else " " if " " in seen else ""
        self.vocabulary = Vocabulary(names, word_separator=separator, blank=self.blank)
        is_text = [name is not None and not self.vocabulary.is_special(name) for name in names]
        self._texts = [
            (label.replace(_MARK, " ") if is_bpe else label) if is_shown else ""
            for label, is_shown in zip(self.labels, is_text, strict=True)
        ]

    def words(self, tokens: Iterable[int]) -> tuple[str, ...]:
        """Return the words that classes spell; one word if no label shows where words begin.

        >>> Alphabet(["", " ", "a", "b"], is_bpe=False).words([1, 2, 3, 1, 1, 2])
        ('ab', 'a')
        """
        return tuple("".join([self._texts[token] for token in tokens]).split())

    def word_numbers(self, tokens: Iterable[int]) -> list[int | None]:
        """Return which word each class is part of, from 0; None for classes that are part of none.

        >>> Alphabet(["", " ", "a", "b"], is_bpe=False).word_numbers([1, 2, 3, 1, 1, 2])
        [None, 0, 0, None, None, 1]
        """
        found: list[int | None] = []
        word, is_open = -1, False
        for token in tokens:
            text = self._texts[token]
            is_word = bool(text.strip())
            if is_word and (text[0] == " " or not is_open):
                word += 1
            found.append(word if is_word else None)
            if text:
                is_open = text[-1] != " "
        return found

    @classmethod
    def build_alphabet(cls, labels: Sequence[str]) -> Alphabet:
        """Bring a model's labels to pyctcdecode's form, by its rules.

        "[pad]" or "<pad>" is the blank; else "_" among letters; else one more class at the end. "|" is the space if
        there is no " ". "[unk]" or "<unk>" becomes "⁇". Pieces with "##" become pieces with "▁".

        Raises:
            ArgumentTypeError: if `labels` is not a list of strings.
            ArgumentValueError: for a label that occurs twice; for a label with a space among pieces.
        """
        found = checked_strings(labels, "labels")
        is_bpe = any(label.startswith(("##", _MARK)) for label in found)
        if is_bpe:
            for number, label in enumerate(found):
                if " " in label:
                    raise ArgumentValueError(f"labels[{number}] is {label!r}, but labels with {_MARK!r} have no space")
            if any(label.startswith("##") for label in found):
                found = [_marked(label) for label in found]
        elif "|" in found and " " not in found:
            found[found.index("|")] = " "
        found = ["" if _BLANK_NAME.fullmatch(label) else label for label in found]
        if not is_bpe and "_" in found and "" not in found:
            found[found.index("_")] = ""
        if "" not in found:
            found.append("")
        unknown = _MARKED_UNKNOWN if is_bpe else _UNKNOWN
        return cls([unknown if _UNKNOWN_NAME.fullmatch(label) else label for label in found], is_bpe)

    def dumps(self) -> str:
        """Return the alphabet as JSON, as pyctcdecode writes it."""
        return json.dumps({"labels": self.labels, "is_bpe": self.is_bpe})

    @classmethod
    def loads(cls, text: str) -> Alphabet:
        """Read an alphabet from JSON.

        Raises:
            ArgumentValueError: if it is no alphabet.
        """
        try:
            values = json.loads(text)
        except ValueError as problem:
            raise ArgumentValueError(f"the alphabet is no JSON: {problem}") from None
        if not isinstance(values, dict) or set(values) != {"labels", "is_bpe"}:
            raise ArgumentValueError("an alphabet is a JSON object with the keys labels and is_bpe")
        return cls(values["labels"], bool(values["is_bpe"]))


def checked_strings(values: Any, name: str) -> list[str]:
    """Return a list of strings.

    Raises:
        ArgumentTypeError: if it is not one.
    """
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        raise ArgumentTypeError(f"{name} is a {type(values).__name__}, but must be a list of strings")
    found = list(values)
    for number, value in enumerate(found):
        if not isinstance(value, str):
            raise ArgumentTypeError(f"{name}[{number}] is {value!r}, a {type(value).__name__}, but must be a str")
    return found


def _marked(label: str) -> str:
    """Return a label with "##" within words as one with "▁" at their starts."""
    if label.startswith("##"):
        return label[2:]
    return label if not label or label == _MARK or _SPECIAL_NAME.fullmatch(label) else _MARK + label
