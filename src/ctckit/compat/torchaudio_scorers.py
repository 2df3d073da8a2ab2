"""What a torchaudio decoder knows: its tokens, the words of its lexicon, and the scorers that they and a model make."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from ctckit.backends import require_core
from ctckit.compat.alphabet import checked_strings
from ctckit.compat.custom_lm import LanguageModel, TokenLMScorer, WordLMScorer, WordTable
from ctckit.decoding.lexicon import Lexicon, read_lexicon, spelt_lexicon
from ctckit.decoding.ngram import NGram, numbers_of
from ctckit.decoding.scorers import Scorer, checked_scorers
from ctckit.errors import ArgumentTypeError, ArgumentValueError
from ctckit.reference.decoding import LARGEST
from ctckit.text.vocabulary import Vocabulary
from ctckit.text.word_roles import WordRole, word_roles

__all__ = ["Dictionary", "Knowledge", "WordSpellings", "knowledge_of"]

_LN10: Final = math.log(10.0)
_NO_UNKNOWN: Final = -100.0  # log10 P(<unk>) of a model without <unk>, as KenLM has it

Row = tuple[int, ...]


class Dictionary:
    """Entries by index, and back.

    Args:
        source: a file with a line for each index, which may name several entries; or a list of entries.
        name: of the argument, for messages.

    Raises:
        OSError: if the file cannot be read.
        ArgumentTypeError: for another source.
        ArgumentValueError: for an entry that occurs twice; without entries.
    """

    def __init__(self, source: str | os.PathLike[str] | Iterable[str], name: str) -> None:
        lines: list[list[str]]
        if isinstance(source, (str, os.PathLike)):
            lines = [line.split() for line in Path(source).read_text("utf-8-sig").splitlines() if line.strip()]
        else:
            lines = [[entry] for entry in checked_strings(source, name)]
        self._name = name
        self._indices: dict[str, int] = {}
        for index, line in enumerate(lines):
            for entry in line:
                if entry in self._indices:
                    raise ArgumentValueError(f"{name} has {entry!r} twice")
                self._indices[entry] = index
        if not lines:
            raise ArgumentValueError(f"{name} has no entries")
        self._entries = [line[0] for line in lines]

    @property
    def entries(self) -> list[str]:
        """The first entry of each index."""
        return list(self._entries)

    def index_size(self) -> int:
        """Return the number of indices."""
        return len(self._entries)

    def get_entry(self, index: int) -> str:
        """Return the entry of an index, the first if there are several."""
        return self._entries[index]

    def get_index(self, entry: str) -> int:
        """Return the index of an entry.

        Raises:
            ArgumentValueError: if there is none.
        """
        if entry not in self._indices:
            raise ArgumentValueError(f"{self._name} has no {entry!r}")
        return self._indices[entry]


class WordSpellings:
    """Finds the words in rows of classes.

    Args:
        lexicon: the words.
        roles: the `WordRole` of each class.
        lm: the model that says which of words spelt alike it is; None for the first.
        unk_word: what other words are called.
    """

    def __init__(self, lexicon: Lexicon, roles: Sequence[int], lm: NGram | _ByWords | None, unk_word: str) -> None:
        self._breaks = _classes(roles, WordRole.SEPARATES | WordRole.STARTS)
        self._separators, self._ends = _classes(roles, WordRole.SEPARATES), _classes(roles, WordRole.ENDS)
        self._lm, self._unk_word = lm, unk_word
        self._words: dict[Row, list[str]] = {}
        for word, row in zip(lexicon.words, rows_of(lexicon), strict=True):
            self._words.setdefault(row, []).append(word)
        if all(len(words) == 1 for words in self._words.values()):
            self._lm = None  # there is no choice

    def key(self, tokens: Sequence[int]) -> tuple[Row | str, ...]:
        """Return what tells the words of a row from those of others."""
        return tuple(self._words[row][0] if row in self._words else row for row in self._rows(tokens))

    def words(self, tokens: Sequence[int]) -> tuple[str, ...]:
        """Return the words of a row of classes."""
        found = []
        lm = self._lm
        state: Any = None if lm is None else lm.initial()
        for row in self._rows(tokens):
            words = self._words.get(row, [self._unk_word])
            word = words[0]
            if lm is not None:
                steps = {word: lm.advance(state, word) for word in words}
                word = max(words, key=lambda word, steps=steps: steps[word][0])  # type: ignore[misc]
                state = steps[word][1]
            found.append(word)
        return tuple(found)

    def _rows(self, tokens: Sequence[int]) -> list[Row]:
        """Split classes into words."""
        rows: list[list[int]] = [[]]
        for token in tokens:
            if token in self._breaks:
                rows.append([])
            if token not in self._separators:
                rows[-1].append(token)
            if token in self._ends:
                rows.append([])
        return [tuple(row) for row in rows if row]


class _ByWords:
    """A language model in Python, asked by words as an `NGram` is."""

    def __init__(self, lm: LanguageModel, words: Dictionary) -> None:
        self._lm, self._words = lm, words

    def initial(self) -> Any:
        return self._lm.start(False)

    def advance(self, state: Any, word: str) -> tuple[float, Any]:
        after, score = self._lm.score(state, self._words.get_index(word))
        return score, after


class Knowledge(NamedTuple):
    """What a decoder knows."""

    tokens: Dictionary
    words: Dictionary | None
    blank: int
    silence: int
    spellings: WordSpellings | None
    """None without a lexicon."""
    scorers: Callable[[], list[Scorer]]
    """Makes the scorers. Those in Python remember nothing yet."""


def knowledge_of(
    lexicon: Any,
    tokens: str | os.PathLike[str] | Sequence[str],
    lm: Any,
    lm_dict: Any,
    blank_token: str,
    sil_token: str,
    unk_word: str,
    *,
    lm_weight: float,
    word_score: float,
    unk_score: float,
) -> Knowledge:
    """Make what a decoder knows of the arguments of ``ctc_decoder``.

    Raises:
        OSError: as ``ctc_decoder``.
        ArgumentTypeError: as ``ctc_decoder``.
        ArgumentValueError: as ``ctc_decoder``.
    """
    entries = Dictionary(tokens, "tokens")
    blank, silence = entries.get_index(blank_token), entries.get_index(sil_token)
    if lm_dict is not None and not isinstance(lm_dict, (str, os.PathLike)):
        raise ArgumentTypeError(f"lm_dict is a {type(lm_dict).__name__}, but must be the path of a file")
    model = NGram(lm) if isinstance(lm, (str, os.PathLike)) else lm
    if not (model is None or isinstance(model, NGram)):
        missing = [name for name in ("start", "score", "finish") if not callable(getattr(model, name, None))]
        if missing or isinstance(model, type):
            what = f"the class {model.__name__}" if isinstance(model, type) else f"a {type(model).__name__}"
            raise ArgumentTypeError(
                f"lm is {what}, but must be a path, a ctckit.NGram, or an object with the methods start, score and "
                f"finish"
            )
    if isinstance(model, NGram) and lm_weight < 0:
        raise ArgumentValueError(f"lm_weight is {lm_weight}, but must be a number from 0 for an n-gram model")
    sil_token = entries.get_entry(silence)  # (it may have several names)
    names: list[str | None] = list(entries.entries)
    names[blank] = None
    if lexicon is None or (isinstance(lexicon, str) and not lexicon):
        return Knowledge(entries, None, blank, silence, None, _of_tokens(model, entries, lm_weight))
    vocabulary = Vocabulary(names, word_separator=sil_token, blank=blank)
    roles = word_roles(vocabulary)
    spelt = _spelt(lexicon, entries, vocabulary, roles, sil_token)
    words = Dictionary(lm_dict, "lm_dict") if lm_dict is not None else _words_of(spelt, unk_word)
    ngram = model if isinstance(model, NGram) else None
    if model is None or ngram is not None:
        fixed = [_word_scorer(spelt, ngram, roles, lm_weight, word_score, unk_score)]

        def scorers() -> list[Scorer]:
            return fixed

    else:
        indices = [words.get_index(word) for word in spelt.words]
        unknown = words.get_index(unk_word) if unk_score > -math.inf else -1
        table = WordTable(rows_of(spelt), indices, unknown, roles)

        def scorers() -> list[Scorer]:
            made = WordLMScorer(lm, table, weight=lm_weight, word_score=word_score, unk_score=unk_score)
            return checked_scorers([made])

    asked = model if model is None or ngram is not None else _ByWords(lm, words)
    spellings = WordSpellings(spelt, roles.tolist(), asked, unk_word)
    return Knowledge(entries, words, blank, silence, spellings, scorers)


def _classes(roles: Sequence[int], which: int) -> frozenset[int]:
    """Return the classes that have one of some roles."""
    return frozenset(number for number, role in enumerate(roles) if role & which)


def rows_of(lexicon: Lexicon) -> list[Row]:
    """Return the rows of a lexicon."""
    ends = np.cumsum(lexicon.lengths).tolist()
    classes = lexicon.classes.tolist()
    return [tuple(classes[end - length : end]) for end, length in zip(ends, lexicon.lengths.tolist(), strict=True)]


def _spelt(lexicon: Any, entries: Dictionary, vocabulary: Vocabulary, roles: Any, sil_token: str) -> Lexicon:
    """Spell the words of a lexicon, without the silence at their ends."""
    found: dict[str, list[str | list[str]]] = {}
    aliases: dict[str, str] = {}
    for word, spellings in read_lexicon(lexicon).items():
        for spelling in spellings:
            if spelling == word:  # the vocabulary spells it
                found.setdefault(word, []).append(spelling)
                continue
            tokens = spelling.split() if isinstance(spelling, str) else spelling
            row = [_name(token, entries, aliases) for token in tokens]
            if not row:
                raise ArgumentValueError(f"the lexicon spells {word!r} without tokens")
            inner = row[row[0] == sil_token : len(row) - (row[-1] == sil_token)]
            if sil_token in inner:
                raise ArgumentValueError(
                    f"the lexicon spells {word!r} with {sil_token!r} inside, which separates words: make it two words"
                )
            starts = roles[vocabulary.ids[row[0]]] if row[0] in vocabulary.ids else 0
            ends = roles[vocabulary.ids[row[-1]]] if row[-1] in vocabulary.ids else 0
            if not (starts & (WordRole.SEPARATES | WordRole.STARTS) or ends & (WordRole.SEPARATES | WordRole.ENDS)):
                raise ArgumentValueError(
                    f"the lexicon spells {word!r} without {sil_token!r} at the end, and its tokens do not show where a "
                    f"word begins: words that nothing separates cannot be told apart"
                )
            found.setdefault(word, []).append(inner)
    blank = vocabulary.blank
    return spelt_lexicon(found, vocabulary, -1 if blank is None else blank, "the lexicon", is_given=True)


def _name(token: str, entries: Dictionary, aliases: dict[str, str]) -> str:
    """Return the first token of a token's class."""
    if token not in aliases:
        try:
            aliases[token] = entries.get_entry(entries.get_index(token))
        except ArgumentValueError:
            aliases[token] = token  # (a warning will name the word)
    return aliases[token]


def _words_of(lexicon: Lexicon, unk_word: str) -> Dictionary:
    return Dictionary(dict.fromkeys([*lexicon.words, unk_word]), "lexicon")


def _word_scorer(
    lexicon: Lexicon, lm: NGram | None, roles: Any, weight: float, word_score: float, unk_score: float
) -> Any:
    require_core("lexicons")
    from ctckit import _core  # noqa: PLC0415  # it may be missing

    numbers = [-1] * len(lexicon.words) if lm is None else numbers_of(lm, lexicon.words)
    unknown = unk_score - word_score  # the core's bonus is for all words, torchaudio's for those of the lexicon
    if unknown >= LARGEST:
        raise ArgumentValueError(f"unk_score is {unk_score}, but must be below word_score + {LARGEST:g} nats")
    missing = weight * _NO_UNKNOWN if lm is not None and lm.core.unknown < 0 else 0.0
    return _core.WordScorer(
        _core.WordTrie(lexicon.classes, lexicon.lengths),
        None if lm is None else lm.core,
        np.array(numbers, dtype=np.int32),
        roles,
        weight / _LN10,
        word_score,
        unknown + missing,
        True,
        missing=missing,
    )


def _of_tokens(model: Any, entries: Dictionary, weight: float) -> Callable[[], list[Scorer]]:
    """Return what makes the scorers of tokens without a lexicon."""
    if model is None:
        return list
    if not isinstance(model, NGram):
        return lambda: checked_scorers([TokenLMScorer(model, weight)])
    from ctckit import _core  # noqa: PLC0415  # it may be missing

    numbers = np.array(numbers_of(model, entries.entries), dtype=np.int32)
    unknown = weight * _NO_UNKNOWN if model.core.unknown < 0 else 0.0
    fixed: Any = _core.TokenScorer(model.core, numbers, weight / _LN10, 0.0, unknown)
    return lambda: [fixed]
