"""N-gram language models: ARPA files, and the library's own files, which are mapped."""

from __future__ import annotations

import gzip
import math
import mmap
import os
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Final

import numpy as np

from ctckit.backends import require_core
from ctckit.errors import ArgumentTypeError, ArgumentValueError
from ctckit.files import whole_file

__all__ = ["NGram", "numbers_of"]

_OWN: Final = b"ctclm\n\x1a\n"
_GZIP: Final = b"\x1f\x8b"
_KENLM: Final = b"mmap lm http://kheafield.com/code format version"
_PIECE: Final = 1 << 22  # bytes


class NGram:
    r"""A back-off n-gram model of words.

    Args:
        path: an ARPA file, plain or compressed by gzip; a file that `save` has written; or a binary of KenLM in its
            probing format. The last two are mapped into memory: they are ready at once, and processes share them.
            Such a file must not be cut while a model is open: the system ends a process that reads what is gone. To
            exchange it, write another one and rename it, as `save` does.

    Raises:
        OSError: if the file cannot be read.
        ArgumentValueError: if it is no such file, or is ill-formed: with the number of the line and what is wrong.

    Notes:
        A state is a number: the longest suffix of the words so far that the model can use. Scores are natural
        logarithms (ARPA files hold decimal ones).

        A model takes at most about 20 bytes per n-gram, in the file and in memory. A binary of KenLM is not converted:
        its n-grams are known by hashes alone. A query takes longer there, and each state that is reached takes about
        200 bytes.

    Example:
        >>> import pathlib, tempfile, ctckit
        >>> text = '''\\data\\
        ... ngram 1=4
        ... ngram 2=2
        ...
        ... \\1-grams:
        ... -1.0\t<unk>
        ... -99\t<s>\t-0.3
        ... -0.5\t</s>
        ... -0.7\ta\t-0.2
        ...
        ... \\2-grams:
        ... -0.1\t<s> a
        ... -0.4\ta a
        ...
        ... \\end\\
        ... '''
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "lm.arpa"
        >>> _ = path.write_text(text)
        >>> lm = ctckit.NGram(path)
        >>> round(lm.score("a a") / 2.302585, 3)  # -0.1 - 0.4 - 0.2 - 0.5
        -1.2
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        if not isinstance(path, (str, os.PathLike)):
            raise ArgumentTypeError(f"path is a {type(path).__name__}, but must be the path of a file")
        require_core("n-gram models")
        from ctckit import _core  # noqa: PLC0415  # it may be missing

        self._name = os.fspath(path)
        with Path(path).open("rb") as file:
            start = file.read(max(len(_OWN), len(_KENLM)))
            self._is_own = not start.startswith(_KENLM)
            try:
                if start.startswith((_OWN, _KENLM)):
                    image = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), dtype=np.uint8)
                else:
                    file.seek(0)
                    image = _read_arpa(file, is_compressed=start.startswith(_GZIP))
                self.core = _core.NGram(image)
            except (RuntimeError, EOFError, gzip.BadGzipFile, zlib.error) as problem:
                raise ArgumentValueError(f"{self._name} is no n-gram model that can be read: {problem}") from None
        self._image = image

    @property
    def order(self) -> int:
        """How many words the longest n-grams have."""
        return self.core.order

    @property
    def counts(self) -> tuple[int, ...]:
        """How many n-grams of each length there are, from 1."""
        return tuple(self.core.counts)

    def __contains__(self, word: object) -> bool:
        """Whether the model has a word."""
        return isinstance(word, str) and numbers_of(self, [word])[0] >= 0

    def __len__(self) -> int:
        """Return the number of words, with ``<s>``, ``</s>`` and ``<unk>``."""
        return self.core.words

    def __iter__(self) -> Iterator[str]:
        """Iterate over the words."""
        for number in range(len(self)):
            yield self.core.word(number).decode("utf-8", "replace")

    def __repr__(self) -> str:
        return f"NGram({self._name!r}: order {self.order}, {sum(self.counts):,} n-grams, {len(self):,} words)"

    def score(self, words: str | Iterable[str], *, bos: bool = True, eos: bool = True) -> float:
        """Return the log-probability of words, in nats.

        Args:
            words: a sequence of words, or a text of words between spaces.
            bos: whether they begin a sentence.
            eos: whether they end it.

        Raises:
            ArgumentTypeError: if one is no string.
        """
        if isinstance(words, str) and words.isascii():
            return self.core.score_text(words, bos, eos)
        if isinstance(words, str):
            words = words.split()
        listed = list(words)
        for place, word in enumerate(listed):
            if not isinstance(word, str):
                raise ArgumentTypeError(f"words[{place}] is {word!r}, a {type(word).__name__}, but must be a string")
        return self.core.score_words(listed, bos, eos)

    def initial(self, bos: bool = True) -> int:
        """Return the state before the first word: after the beginning of a sentence, or without a context."""
        return self._advance(0, self.core.begin)[1] if bos and self.core.begin >= 0 else 0

    def advance(self, state: int, word: str) -> tuple[float, int]:
        """Return the log-probability of a word after a state, in nats, and the next state.

        A word that the model does not have counts as ``<unk>``; its log-probability is -inf if the model has no
        ``<unk>``.

        Raises:
            ArgumentTypeError: if the word is no string.
            ArgumentValueError: if the state is no state of this model.
        """
        if not isinstance(word, str):
            raise ArgumentTypeError(f"word is {word!r}, a {type(word).__name__}, but must be a string")
        (number,) = numbers_of(self, [word])
        return self._advance(state, self.core.unknown if number < 0 else number)

    def _advance(self, state: int, number: int) -> tuple[float, int]:
        if number < 0:
            return -math.inf, 0
        try:
            return self.core.step(state, number)
        except ValueError:
            raise ArgumentValueError(f"state is {state}, but is no state of this model") from None

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a file that is ready at once when it is read again; an existing file is replaced when it is complete.

        Raises:
            OSError: if the file cannot be written.
            ArgumentValueError: for a model from a binary of KenLM, whose n-grams are known by hashes alone.
        """
        if not self._is_own:
            raise ArgumentValueError(f"{self._name} is a binary of KenLM: save the ARPA file that it was made from")
        with whole_file(path) as file:
            file.write(self._image.data)


def numbers_of(lm: NGram, words: list[str]) -> list[int]:
    """Return a model's numbers of words; -1 for those that it does not have."""
    try:
        return lm.core.find_all(words)
    except TypeError:  # a lone surrogate, which is no text, and in no file
        texts = [word.encode("utf-8", "ignore").decode() == word for word in words]
        return [lm.core.find(word) if is_text else -1 for word, is_text in zip(words, texts, strict=True)]


def _read_arpa(file: IO[bytes], *, is_compressed: bool) -> np.ndarray:
    from ctckit import _core  # noqa: PLC0415  # it may be missing

    reader = _core.ArpaReader()
    source: IO[bytes] = gzip.GzipFile(fileobj=file) if is_compressed else file  # type: ignore[assignment]
    while piece := source.read(_PIECE):
        reader.feed(piece)
    return reader.finish()
