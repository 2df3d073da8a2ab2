"""Teach a network to read lines of handwritten digits, and locate each digit in the picture.

    python examples/digits.py

takes about a minute. The network is trained on lines such as "4 0 7 1 1 9" and their digits, without their positions:
the CTC loss sums over all possible positions. `ctckit.greedy_decode` and `ctckit.Decoder` read other lines, and
`ctckit.posteriors` locates their digits. The lines are composed of single digits (digit_lines.py), so the true
positions are known, and the program measures the distance to them.

Read from top to bottom: the network, training, reading, locating, a picture.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple, cast

import numpy as np
import torch
from digit_lines import BLANK, HEIGHT, Batch, DigitLines, Line, collate, split
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rapidfuzz.distance import Levenshtein
from torch import Tensor, nn
from tqdm import tqdm

import ctckit
from ctckit import plot

TEST_LINES = 500
VOCABULARY = ["-", *"0123456789"]  # the token of each class; "-" stands for the blank

# --- 1. The network: from a picture to the scores of 11 classes in every pixel column. --------------------------------


class Reader(nn.Module):
    """Three convolutions turn pixels into features of a column; an LSTM reads the columns in both directions."""

    def __init__(self, features: int = 64, hidden: int = 64) -> None:
        super().__init__()
        # The height shrinks, 12 to 6 to 3 to 1. The width does not: frame t of the output is pixel column t.
        self.look = nn.Sequential(
            *(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d((2, 1))),
            *(nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d((2, 1))),
            *(nn.Conv2d(32, features, (HEIGHT // 4, 3), padding=(0, 1)), nn.BatchNorm2d(features), nn.ReLU()),
        )
        self.read = nn.LSTM(features, hidden, bidirectional=True, batch_first=True)
        self.score = nn.Linear(2 * hidden, 1 + 10)  # the blank and ten digits

    def forward(self, images: Tensor) -> Tensor:
        """(N, 1, HEIGHT, width) pictures -> (N, width, 11) logits. The loss includes log_softmax."""
        columns = self.look(images).squeeze(2).transpose(1, 2)
        logits: Tensor = self.score(self.read(columns)[0])
        return logits


# --- 2. Training: a loop like any other. ------------------------------------------------------------------------------


def train(lines: DigitLines, steps: int, device: str = "cpu") -> tuple[Reader, list[tuple[float, float]]]:
    """Train a new network. Return it, and the seconds of torch's loss and of ctckit's on every tenth batch."""
    network = Reader().to(device)
    ctc = ctckit.CTCWithLogitsLoss(blank=BLANK, batch_first=True)
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=0.01)
    # The learning rate grows over 100 steps and then falls to 0.
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min((step + 1) / 100, 1 - step / steps))
    seconds = []
    progress = tqdm(range(steps), desc="training", unit="batch", mininterval=0.5)
    for step in progress:
        batch = to(device, collate(lines.lines(32)))
        logits = network(batch.images)
        # All lines of a batch are padded to the longest. The loss ignores columns beyond the widths.
        loss = ctc(logits, batch.targets, batch.widths, batch.target_lengths)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), max_norm=1.0)
        optimizer.step()
        schedule.step()
        if step % 10 == 0:
            progress.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
            seconds.append(race(logits, batch, torch_first=step % 20 == 0))
    return network.eval(), seconds


def race(logits: Tensor, batch: Batch, *, torch_first: bool) -> tuple[float, float]:
    """Time torch's loss and ctckit's on one batch, from the logits to their gradient. Return the seconds of each."""

    def torch_loss(x: Tensor) -> Tensor:
        log_probs = x.log_softmax(2).transpose(0, 1)
        return nn.functional.ctc_loss(log_probs, batch.targets, batch.widths, batch.target_lengths)

    def ctckit_loss(x: Tensor) -> Tensor:
        return ctckit.ctc_loss_with_logits(x, batch.targets, batch.widths, batch.target_lengths, batch_first=True)

    seconds = {}
    for loss in (torch_loss, ctckit_loss) if torch_first else (ctckit_loss, torch_loss):
        x = logits.detach().requires_grad_()
        wait_for(x)
        start = time.perf_counter()
        loss(x).backward()
        wait_for(x)
        seconds[loss] = time.perf_counter() - start
    return seconds[torch_loss], seconds[ctckit_loss]


# --- 3. Reading, in two ways. -----------------------------------------------------------------------------------------


def read_greedily(logits: Tensor, batch: Batch) -> list[ctckit.Decoding]:
    """Take the best class of every column, merge repeats, and drop blanks."""
    found = ctckit.greedy_decode(logits, batch.widths, blank=BLANK, logits=True)
    return cast("list[ctckit.Decoding]", found)


def read(logits: Tensor, batch: Batch) -> list[ctckit.Decoding]:
    """Find the most probable texts: a beam search adds up all paths of a text, and the greedy reading is one path."""
    decoder = ctckit.Decoder(VOCABULARY, beam_width=16, nbest=5, blank=BLANK, logits=True)
    return cast("list[ctckit.Decoding]", decoder(logits, batch.widths))


def wrong(tokens: Sequence[int], line: Line) -> int:
    """Return how many digits of a reading are wrong, missing or inserted."""
    return Levenshtein.distance(tokens, [digit + 1 for digit in line.digits.tolist()])


def error_rate(readings: list[ctckit.Decoding], lines: list[Line]) -> float:
    """Return how many digits are wrong, missing or inserted, per digit of the lines."""
    errors = sum(wrong(reading.tokens, line) for reading, line in zip(readings, lines, strict=True))
    return errors / sum(len(line.digits) for line in lines)


# --- 4. Locating: given the digits of a line, where is each of them? --------------------------------------------------


def locate(logits: Tensor, batch: Batch) -> list[np.ndarray]:
    """Return, for each line, the probability of each of its states at each pixel column.

    The states of a line of S digits are: blank, first digit, blank, second digit, ..., last digit, blank. So the result
    for a line is (width, 2S + 1), and column 2s + 1 belongs to digit s. Probabilities per class would add up equal
    digits of a line.
    """
    lengths = batch.widths, batch.target_lengths
    occupancy = ctckit.posteriors(logits, batch.targets, *lengths, logits=True, batch_first=True, per_state=True)
    sizes = zip(*(length.tolist() for length in lengths), strict=True)
    return [line[:width, : 2 * s + 1].cpu().numpy() for line, (width, s) in zip(occupancy, sizes, strict=True)]


def centres(occupancy: np.ndarray) -> np.ndarray:
    """Return (S,): the expected position of each digit, the mean of the pixel columns weighted by its occupancy."""
    digits = occupancy[:, 1::2]
    middles = np.arange(len(digits)) + 0.5  # column 0 reaches from 0 to 1
    expected: np.ndarray = middles @ digits / digits.sum(0)
    return expected


def expected_spans(occupancy: np.ndarray) -> np.ndarray:
    """Return (S, 2): the posterior means of the pixel columns where the label of each digit begins and ends.

    A path never returns to an earlier state. So the begin of a digit is the number of columns in states before it.
    """
    spent = occupancy.sum(0).cumsum()
    return np.stack([spent[0:-1:2], spent[1::2]], axis=1)


class Result(NamedTuple):
    """The results on the test lines."""

    distances: np.ndarray  # (digits,) pixels between the expected and the true centre
    bounds: np.ndarray  # (digits, 2) pixels between begin and end of the label and the first and last column of ink
    greedy: list[ctckit.Decoding]  # the greedy readings, line by line
    readings: list[ctckit.Decoding]  # the most probable texts, line by line
    places: list[np.ndarray]  # the occupancy, line by line


@torch.inference_mode()
def evaluate(network: Reader, lines: list[Line], device: str = "cpu") -> Result:
    """Read lines of digits that are not in the training set, and locate their digits."""
    greedy, readings, places = [], [], []
    for start in range(0, len(lines), 50):
        batch = to(device, collate(lines[start : start + 50]))
        logits = network(batch.images)
        greedy += read_greedily(logits, batch)
        readings += read(logits, batch)
        places += locate(logits, batch)
    misses = [centres(place) - line.spans.mean(1) for place, line in zip(places, lines, strict=True)]
    distances = np.abs(np.concatenate(misses))
    found = np.concatenate([expected_spans(place) for place in places])
    bounds = np.abs(found - np.concatenate([line.spans for line in lines]))
    return Result(distances, bounds, greedy, readings, places)


# --- 5. The picture. --------------------------------------------------------------------------------------------------

CAPTION = """\
Bars: the probability that the digit is emitted in this column, given the digits of the line (white: the blank).
Numbers stand at the expected position of their digit. Shaded: the true position, which training does not use."""


def widest(lines: list[Line], count: int = 3, among: int = 50) -> list[int]:
    """Return the indices of the widest of the first lines, in their order: they fill the width of the picture."""
    by_width = sorted(range(min(among, len(lines))), key=lambda n: lines[n].image.shape[1])
    return sorted(by_width[-count:])


def least_sure(readings: list[ctckit.Decoding]) -> int:
    """Return the index of the line whose most probable text is least probable."""
    return min(range(len(readings)), key=lambda n: readings[n].confidence or 0.0)


def draw(lines: list[Line], readings: list[ctckit.Decoding], places: list[np.ndarray]) -> Figure:
    """Draw each line, below it the probability of each digit in each column, and the true positions as shaded spans.

    Below the last line stand its most probable texts.
    """
    width = max(line.image.shape[1] for line in lines)
    figure = Figure(figsize=(8, 2.4 + 210 / width * len(lines)), layout="constrained")
    figure.suptitle("Handwritten digits of the test set, read and located by CTC", x=0.012, ha="left", weight="bold")
    *rows, texts = figure.subplots(len(lines) + 1, height_ratios=[210 / width] * len(lines) + [1.2])
    for ax, line, reading, place in zip(rows, lines, readings, places, strict=True):
        plot.posteriors(place, line.digits, image=line.image, spans=line.spans, ax=ax)
        ax.set_title(f"read as {reading.text} ({verdict(reading.tokens, line)})", loc="left", size=9)
        ax.set_ylabel("occupancy", y=0.18, size=8)
        ax.tick_params(labelsize=8)
        ax.set_xlim(0, width)
        ax.set_xlabel("")
    rows[-1].set_xlabel("pixel column (= frame)", size=9)
    draw_texts(texts, readings[-1], lines[-1])
    figure.supxlabel(CAPTION, x=0.012, ha="left", size=8, color="dimgrey")
    return figure


def verdict(tokens: Sequence[int], line: Line) -> str:
    """Say how many digits are wrong."""
    errors = wrong(tokens, line)
    return f"{errors} wrong" if errors else "correct"


def draw_texts(ax: Axes, reading: ctckit.Decoding, line: Line) -> None:
    """Draw the most probable texts of a line as bars as long as their probabilities."""
    for row, text in enumerate(reading.nbest):
        probability = text.confidence or 0.0
        ax.barh(row, probability, height=0.7, color="tab:blue" if verdict(text.tokens, line) == "correct" else "silver")
        ax.text(probability + 0.01, row, f"{probability:.1%} ({verdict(text.tokens, line)})", va="center", size=8)
    ax.set_yticks(range(len(reading.nbest)), [text.text or "" for text in reading.nbest], size=8)
    ax.invert_yaxis()  # the most probable is on top
    ax.set_xlim(0, 1)
    ax.set_xticks([])
    ax.spines[["top", "right", "bottom"]].set_visible(False)
    ax.set_title("the most probable texts of this line, of which the network is least sure", loc="left", size=9)


# --- Devices, options, report. ----------------------------------------------------------------------------------------


def to(device: str, batch: Batch) -> Batch:
    """Move a batch to a device."""
    return Batch(*(tensor.to(device) for tensor in batch))


def wait_for(x: Tensor) -> None:
    """Synchronise with the GPU, so that the clock can be read."""
    if x.is_cuda:
        torch.cuda.synchronize(x.device)


def main(arguments: list[str] | None = None) -> None:
    """Train, evaluate, report, draw."""
    parser = argparse.ArgumentParser(description="Read handwritten digits with CTC, and locate them in the picture.")
    parser.add_argument("--steps", type=int, default=500, help="training batches (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights and training lines (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("out/digits.png"), help="picture file (default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, ... (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: %(default)s)")
    options = parser.parse_args(arguments)
    if options.steps < 1:
        parser.error(f"--steps is {options.steps}, but must be at least 1")
    began = time.perf_counter()
    torch.set_num_threads(options.threads)  # default 1: on a busy machine more threads mostly wait for each other
    torch.manual_seed(options.seed)

    for_training, for_test = split()
    print(f"training lines of {len(for_training)} handwritten digits, test lines of {len(for_test)} others")
    network, seconds = train(DigitLines(for_training, options.seed), options.steps, options.device)
    lines = DigitLines(for_test, seed=1).lines(TEST_LINES)  # the same for every --seed
    result = evaluate(network, lines, options.device)

    # Each pair of times is measured on the same logits, one right after the other. Medians ignore interruptions.
    theirs, ours = (median(column) for column in zip(*seconds, strict=True))
    near, far = np.percentile(result.distances, [50, 90])
    print(f"time inside the loss (logits to gradient, {options.threads} thread{'s' * (options.threads > 1)}):")
    print(f"    torch   {1e3 * theirs:7.3f} ms a batch {theirs * options.steps:8.3f} s for all {options.steps}")
    print(f"    ctckit  {1e3 * ours:7.3f} ms a batch {ours * options.steps:8.3f} s, {theirs / ours:.1f} times faster")
    misread = error_rate(result.readings, lines)
    proved = sum(reading.certified is True for reading in result.readings)
    print(f"digits misread on {len(lines)} test lines:")
    print(f"    greedy       {error_rate(result.greedy, lines):6.2%}")
    print(f"    beam search  {misread:6.2%}, and {proved} texts are proved to be the most probable ones")
    left, right = np.median(result.bounds, axis=0)
    print(f"distance of digits from their true centres: {near:.2f} pixels (median), {far:.2f} (90th percentile)")
    print(f"distance of labels from the ink (medians): {left:.2f} pixels at the begin, {right:.2f} pixels at the end")

    shown = [*widest(lines), least_sure(result.readings)]
    picture = draw([lines[n] for n in shown], [result.readings[n] for n in shown], [result.places[n] for n in shown])
    options.out.parent.mkdir(parents=True, exist_ok=True)
    picture.savefig(options.out, dpi=200)
    print(
        f"In {time.perf_counter() - began:.0f} s the network learnt to read with {misread:.1%} label errors "
        f"and to locate digits to {near:.1f} pixels (median): see {options.out}"
    )


if __name__ == "__main__":
    main()
