"""Decode noisy letters with language models: an n-gram model, and a neural network that is trained here.

    python examples/neural_lm.py

takes less than a minute. English sentences are sent through a noisy channel (noisy_letters.py), which stands for a
recogniser. A decoder that looks at the letters alone misreads many. The program decodes the same frames with an n-gram
model of letters (`ctckit.Decoder(lm=...)`), with a GRU as a scorer of the search (`scorers=`), and by ranking lists of
hypotheses anew with the GRU (`Decoding.rerank`). It prints what each misreads.

Read from top to bottom: the n-gram model, the network, the scorer, decoding, the table.
"""

import argparse
import math
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, cast

import numpy as np
import torch
from noisy_letters import VOCABULARY, Channel, Heard, classes_of, hear, sentences
from rapidfuzz.distance import Levenshtein
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from tqdm import tqdm

import ctckit

ENDS = 0  # for the network the blank is the beginning and the end of a sentence
TUNING = 40  # sentences on which weights are chosen
LISTED = 64  # hypotheses that are ranked anew

Classes: TypeAlias = Sequence[int]  # of the letters of a text

# --- 1. The n-gram model of letters, as an ARPA file. -----------------------------------------------------------------


def write_arpa(texts: list[str], path: Path, order: int) -> None:
    """Write a model of letters, smoothed as by I. Witten and T. Bell (1991): counts and the shorter model in one.

    For words, lmplz of KenLM makes better ones of any size.
    """
    followers: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    for text in texts:
        row = ["<s>", *(VOCABULARY[number] for number in classes_of(text)), "</s>"]
        for at in range(1, len(row)):
            for start in range(max(0, at - order + 1), at + 1):
                followers[tuple(row[start:at])][row[at]] += 1
    tokens = [*VOCABULARY[1:], "</s>"]
    chances: dict[tuple[str, ...], float] = {}
    for context in sorted(followers, key=len):
        found = followers[context]
        total = found.total() + len(found)
        for token in found if context else tokens:
            ngram = (*context, token)
            shorter = chances[ngram[1:]] if context else 1 / len(tokens)
            chances[ngram] = (found[token] + len(found) * shorter) / total
    rows: list[list[str]] = [[] for _ in range(order)]
    rows[0].append(f"-99\t<s>\t{_back_off(followers[('<s>',)])}")
    for ngram, chance in chances.items():
        back_off = f"\t{_back_off(followers[ngram])}" if ngram in followers else ""
        rows[len(ngram) - 1].append(f"{math.log10(chance):.5f}\t{' '.join(ngram)}{back_off}")
    with path.open("w") as file:
        print("\\data\\", *(f"ngram {size}={len(lines)}" for size, lines in enumerate(rows, 1)), sep="\n", file=file)
        for size, lines in enumerate(rows, 1):
            print(f"\n\\{size}-grams:", *lines, sep="\n", file=file)
        print("\n\\end\\", file=file)


def _back_off(found: Counter[str]) -> str:
    return f"{math.log10(len(found) / (found.total() + len(found))):.5f}"


# --- 2. The network: from the letters so far to the probabilities of the next. ----------------------------------------


class LetterModel(nn.Module):
    """A GRU."""

    def __init__(self, features: int = 32, hidden: int = 128) -> None:
        super().__init__()
        self.embed = nn.Embedding(len(VOCABULARY), features)
        self.read = nn.GRU(features, hidden, batch_first=True)
        self.score = nn.Linear(hidden, len(VOCABULARY))

    def forward(self, letters: Tensor, hidden: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(N, S) letters -> (N, S, C) log-probabilities of those that follow, and the (N, hidden) state."""
        outputs, last = self.read(self.embed(letters), None if hidden is None else hidden[None])
        return self.score(outputs).log_softmax(2), last[0]

    def log_probs_of(self, texts: Sequence[Classes]) -> Tensor:
        """Return the log-probability of each text with its end, in nats: (N,)."""
        letters, following = padded(texts)
        return -nn.functional.nll_loss(self(letters)[0].transpose(1, 2), following, reduction="none").sum(1)


def padded(texts: Sequence[Classes]) -> tuple[Tensor, Tensor]:
    """Return the letters of each text and those that follow them, (N, S) each. Those of the padding are ignored."""
    pad = nn.utils.rnn.pad_sequence
    letters = pad([torch.tensor([ENDS, *text]) for text in texts], batch_first=True)
    following = pad([torch.tensor([*text, ENDS]) for text in texts], batch_first=True, padding_value=-100)
    return letters, following


@torch.inference_mode()
def bits(texts: Sequence[str], ngrams: ctckit.NGram, network: LetterModel) -> tuple[float, float]:
    """Return how many bits each model needs for a letter: the fewer, the better it knows the language."""
    nats = sum(len(text) + 1 for text in texts) * math.log(2)
    by_ngrams = sum(ngrams.score([VOCABULARY[number] for number in classes_of(text)]) for text in texts)
    return -by_ngrams / nats, -float(network.log_probs_of([*map(classes_of, texts)]).sum()) / nats


def train(texts: list[str], steps: int) -> LetterModel:
    """Train a network, as any other."""
    network = LetterModel()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min((step + 1) / 50, 1 - step / steps))
    # A batch has sentences of nearly the same length, so little is padded.
    by_length = [classes_of(text) for text in sorted(texts, key=len)]
    progress = tqdm(range(steps), desc="training", unit="batch", mininterval=0.5)
    for step in progress:
        first = int(torch.randint(max(1, len(texts) - 63), ()))
        letters, following = padded(by_length[first : first + 64])
        loss = nn.functional.nll_loss(network(letters)[0].transpose(1, 2), following)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), max_norm=1.0)
        optimizer.step()
        schedule.step()
        if step % 10 == 0:
            progress.set_postfix(bits=f"{loss.item() / math.log(2):.2f}", refresh=False)
    return network.eval()


# --- 3. The network as a scorer of the search. ------------------------------------------------------------------------


class NeuralScorer:
    """Adds ``weight`` * log-probability + ``bonus`` nats for each letter: see `ctckit.decoding.scorers`.

    The search knows a state by a number. Here it is a place in the list of steps, each from an older state by a letter.
    The network reads a letter when it is first asked what follows: of the steps that a search tries, it keeps few.
    """

    def __init__(self, network: LetterModel, weight: float, bonus: float) -> None:
        self.network, self.weight, self.bonus = network, weight, bonus

    def initial(self) -> int:
        """Forget all states. Each search begins here, and a decoder with such a scorer runs one search at a time."""
        self._steps = [(0, ENDS)]
        self._row_of: dict[int, int] = {}  # of states that the network has read
        self._hidden = torch.zeros(0, self.network.read.hidden_size)
        self._gains = torch.zeros(0, len(VOCABULARY))
        self._read([0])
        return 0

    def advance(self, states: np.ndarray, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the gains of letters after states, and the states after them: all new steps of a frame at once."""
        rows = self._read(states.tolist())
        first = len(self._steps)
        self._steps += zip(states.tolist(), tokens.tolist(), strict=True)
        gains = self.weight * self._gains[rows, torch.from_numpy(tokens).long()] + self.bonus
        return gains.double().numpy(), np.arange(first, len(self._steps), dtype=np.int32)

    def finish(self, states: np.ndarray) -> np.ndarray:
        """Return the gains of the end."""
        rows = self._read(states.tolist())
        gains: np.ndarray = (self.weight * self._gains[rows, ENDS]).double().numpy()
        return gains

    def largest_gain(self) -> float:
        """Return a bound of what a letter gains: log-probabilities are at most 0."""
        return max(0.0, self.bonus)

    @torch.inference_mode()
    def _read(self, states: list[int]) -> list[int]:
        """Return the rows of states. The network reads those that have none."""
        new = [state for state in dict.fromkeys(states) if state not in self._row_of]
        if new:
            before, letters = zip(*(self._steps[state] for state in new), strict=True)
            hidden = self._hidden[[self._row_of[state] for state in before]] if self._row_of else None
            log_probs, hidden = self.network(torch.tensor(letters)[:, None], hidden)
            self._row_of |= {state: len(self._row_of) + k for k, state in enumerate(new)}
            self._hidden = torch.cat([self._hidden, hidden])
            self._gains = torch.cat([self._gains, log_probs[:, 0]])
        return [self._row_of[state] for state in states]


# --- 4. Decoding. -----------------------------------------------------------------------------------------------------


class Weights(NamedTuple):
    """What a letter of a text gains: ``lm`` * log-probability + ``bonus``, in nats."""

    lm: float
    bonus: float


class Errors(NamedTuple):
    """What was misread, per letter and per word of the sentences."""

    letters: float
    words: float


def errors(found: list[str], texts: list[str]) -> Errors:
    """Count letters and words that are wrong, missing or inserted."""
    wrong = sum(map(Levenshtein.distance, found, texts))
    wrong_words = sum(Levenshtein.distance(one.split(), text.split()) for one, text in zip(found, texts, strict=True))
    return Errors(wrong / sum(map(len, texts)), wrong_words / sum(len(text.split()) for text in texts))


def decode(heard: Heard, **options: Any) -> list[ctckit.Decoding]:
    """Decode all sentences."""
    decoder = ctckit.Decoder(VOCABULARY, blank=0, **options)
    return cast("list[ctckit.Decoding]", decoder(heard.emissions, heard.frames))


def with_ngrams(heard: Heard, ngrams: ctckit.NGram, weights: Weights, **options: Any) -> list[ctckit.Decoding]:
    """Decode with the n-gram model, whose words are the letters of the vocabulary."""
    return decode(heard, lm=ngrams, lm_unit="token", lm_weight=weights.lm, word_bonus=weights.bonus, **options)


def reranked(
    found: list[ctckit.Decoding], network: LetterModel, weights: Weights, share: float = 1.0
) -> list[ctckit.Decoding]:
    """Rank each list of hypotheses anew. The network takes the n-gram model's place, by its share."""

    @torch.inference_mode()
    def gains(hypotheses: list[ctckit.Hypothesis]) -> Tensor:
        texts = [hypothesis.tokens for hypothesis in hypotheses]
        of_ngrams = torch.tensor([hypothesis.lm_score for hypothesis in hypotheses])
        lengths = torch.tensor([len(text) for text in texts])
        return weights.lm * network.log_probs_of(texts) + weights.bonus * lengths - of_ngrams

    return [one.rerank(gains, share) for one in found]


def best_weights(heard: Heard, ngrams: ctckit.NGram) -> Weights:
    """Try weights on sentences that are used for nothing else, and return those with the fewest errors."""
    choices = [Weights(lm, bonus) for lm in (0.6, 0.8, 1.0, 1.2, 1.4) for bonus in (1.0, 1.5, 2.0, 2.5)]
    return min(choices, key=lambda weights: errors(texts_of(with_ngrams(heard, ngrams, weights)), heard.texts))


def read_in_all_ways(
    heard: Heard, ngrams: ctckit.NGram, network: LetterModel, weights: Weights
) -> Iterator[tuple[str, Callable[[], list[ctckit.Decoding]]]]:
    """Name ways to decode, and how it is done."""
    wide = {"beam_width": LISTED, "nbest": LISTED}
    half = Weights(weights.lm / 2, weights.bonus / 2)
    yield "no model: greedy decoding", lambda: greedily(heard)
    yield "no model: beam search", lambda: decode(heard)
    yield f"its {LISTED} best, reranked by the GRU", lambda: reranked(decode(heard, **wide), network, weights)
    yield f"{ngrams.order}-gram", lambda: with_ngrams(heard, ngrams, weights)
    yield "GRU in the search", lambda: decode(heard, scorers=[NeuralScorer(network, *weights)])
    yield (
        f"{ngrams.order}-gram, its {LISTED} best reranked by both",
        lambda: reranked(with_ngrams(heard, ngrams, weights, **wide), network, weights, share=0.5),
    )
    yield (
        f"{ngrams.order}-gram and GRU in the search",
        lambda: with_ngrams(heard, ngrams, half, scorers=[NeuralScorer(network, *half)]),
    )


def greedily(heard: Heard) -> list[ctckit.Decoding]:
    """Take the best class of every frame, merge repeats, and drop blanks."""
    return cast("list[ctckit.Decoding]", ctckit.greedy_decode(heard.emissions, heard.frames, blank=0))


def texts_of(found: list[ctckit.Decoding]) -> list[str]:
    """Return the best texts."""
    return ["".join(VOCABULARY[token] for token in one.tokens).replace("|", " ") for one in found]


# --- 5. The table. ----------------------------------------------------------------------------------------------------


def report(rows: dict[str, tuple[Errors, float]]) -> Table:
    """Return the table of errors, and of the milliseconds that a sentence takes."""
    table = Table("decoded with", title="misread, of the letters and words of the test sentences")
    for heading in ("letters", "words", "ms per sentence"):
        table.add_column(heading, justify="right")
    for name, (wrong, seconds) in rows.items():
        table.add_row(name, f"{wrong.letters:.1%}", f"{wrong.words:.1%}", f"{1000 * seconds:.1f}")
    return table


def main(arguments: list[str] | None = None) -> None:
    """Read texts, train the models, choose weights, decode, report."""
    parser = argparse.ArgumentParser(description="Decode noisy letters with an n-gram model and a neural one.")
    parser.add_argument("--steps", type=int, default=500, help="training batches (default: %(default)s)")
    parser.add_argument("--test", type=int, default=60, help="sentences to decode (default: %(default)s)")
    parser.add_argument("--order", type=int, default=4, help="letters of the n-grams (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights and batches (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: %(default)s)")
    options = parser.parse_args(arguments)
    for name, least in (("steps", 1), ("test", 1), ("order", 2)):
        if getattr(options, name) < least:
            parser.error(f"--{name} is {getattr(options, name)}, but must be at least {least}")
    began = time.perf_counter()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    found = sentences()
    shuffled = [found[place] for place in np.random.default_rng(0).permutation(len(found))]
    test, others = shuffled[: options.test], shuffled[options.test :]
    tuning, training = others[:TUNING], others[TUNING:]
    print(
        f"{len(training):,} sentences to train on ({sum(map(len, training)):,} letters), {len(tuning)} to choose "
        f"weights, {len(test)} to decode"
    )
    with tempfile.TemporaryDirectory() as folder:
        write_arpa(training, Path(folder) / "letters.arpa", options.order)
        ngrams = ctckit.NGram(Path(folder) / "letters.arpa")
    network = train(training, options.steps)
    by_ngrams, by_network = bits(test, ngrams, network)
    print(f"bits per letter of the test sentences: {by_ngrams:.2f} by n-grams, {by_network:.2f} by the GRU")

    channel = Channel()
    weights = best_weights(hear(tuning, channel, seed=1), ngrams)
    print(f"weights with the fewest errors: {weights.lm} * log-probability + {weights.bonus} nats per letter")
    heard = hear(test, channel, seed=2)
    rows = {}
    for name, way in read_in_all_ways(heard, ngrams, network, weights):
        started = time.perf_counter()
        texts = texts_of(way())
        rows[name] = errors(texts, heard.texts), (time.perf_counter() - started) / len(test)
    Console().print(report(rows))
    print(f"all in {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
