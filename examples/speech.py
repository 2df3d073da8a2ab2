"""Teach a network the phonemes of speech, and measure how exactly it finds when each was spoken.

    python examples/speech.py

takes about two minutes. A synthesiser (spoken.py) speaks sentences and reports when every phoneme begins and ends. The
network is trained on the sound and the phonemes, without their times: the CTC loss sums over all possible times. Then
`ctckit.align` finds when each phoneme was spoken, in other sentences and other voices, and the program compares this
with the times of the synthesiser. It also reads these sentences, by `ctckit.greedy_decode` and `ctckit.beam_search`.

The network is trained twice: as usual, and with label priors (Huang et al. 2024, arXiv 2406.02560). As usual, a phoneme
has one or two frames, and the blank has the others. With label priors, a phoneme has all frames in which it sounds.

Read from top to bottom: the network, training, aligning, reading, measuring, a picture, a page with sound.
"""

import argparse
import time
import wave
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.legend_handler import HandlerTuple
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from rapidfuzz.distance import Levenshtein
from spoken import (
    BLANK,
    MELS,
    RATE,
    SECONDS_PER_FRAME,
    TEST_VOICES,
    TRAINING_VOICES,
    NoSpeechError,
    Speaker,
    Utterance,
    in_words,
    the_truth,
    utterances,
)
from torch import Tensor, nn
from tqdm import tqdm

import ctckit
from ctckit import plot
from ctckit.page import PageItem, write_page

TRAINING_SENTENCES, TEST_SENTENCES = 800, 150
PRIOR_WEIGHT = 0.2

# --- 1. The network: from sound to log-probabilities of the phonemes in every frame of 10 ms. -------------------------


class Listener(nn.Module):
    """Four convolutions, the later ones dilated. An output depends on 33 frames (330 ms) around its own."""

    def __init__(self, classes: int, features: int = 96) -> None:
        super().__init__()
        self.hear = nn.Sequential(
            *(nn.Conv1d(MELS, features, 5, padding=2), nn.BatchNorm1d(features), nn.ReLU()),
            *(nn.Conv1d(features, features, 5, padding=2), nn.BatchNorm1d(features), nn.ReLU()),
            *(nn.Conv1d(features, features, 5, padding=4, dilation=2), nn.BatchNorm1d(features), nn.ReLU()),
            *(
                nn.Dropout(0.1),
                nn.Conv1d(features, features, 5, padding=8, dilation=4),
                nn.BatchNorm1d(features),
                nn.ReLU(),
            ),
            *(nn.Dropout(0.1), nn.Conv1d(features, classes, 1)),
        )

    def forward(self, sound: Tensor) -> Tensor:
        """(N, T, MELS) features -> (N, T, C) log-probabilities."""
        log_probs: Tensor = self.hear(sound.transpose(1, 2)).transpose(1, 2).log_softmax(2)
        return log_probs


class Batch(NamedTuple):
    """Several utterances, padded to the longest."""

    sound: Tensor  # (N, T, MELS)
    frames: Tensor  # (N,)
    targets: Tensor  # (N, S), padded with the blank
    target_lengths: Tensor  # (N,)


def collate(spoken: list[Utterance], vocabulary: list[str]) -> Batch:
    """Convert phonemes to classes, and pad."""
    sound = [utterance.sound for utterance in spoken]
    targets = [torch.tensor([vocabulary.index(phoneme) for phoneme in utterance.phonemes]) for utterance in spoken]
    pad = nn.utils.rnn.pad_sequence
    lengths = [torch.tensor([len(row) for row in rows]) for rows in (sound, targets)]
    return Batch(
        pad(sound, batch_first=True), lengths[0], pad(targets, batch_first=True, padding_value=BLANK), lengths[1]
    )


# --- 2. Training, with a layer for the label priors before the loss. Weight 0 leaves the log-probabilities unchanged. -


def train(
    spoken: list[Utterance], vocabulary: list[str], weight: float, steps: int
) -> tuple[Listener, ctckit.LabelPriors]:
    """Train a network and the priors of its classes."""
    network, priors = Listener(len(vocabulary)), ctckit.LabelPriors(len(vocabulary), weight)
    ctc = ctckit.CTCLoss(blank=BLANK, batch_first=True)
    optimizer = torch.optim.AdamW(network.parameters(), lr=4e-3, weight_decay=0.01)
    # The learning rate grows over 50 steps and then falls to 0.
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min((step + 1) / 50, 1 - step / steps))
    progress = tqdm(range(steps), desc=f"training, priors weighted {weight}", unit="batch", mininterval=0.5)
    for step in progress:
        priors.weight = weight * min(1, step / 100)  # an untrained network needs no priors
        batch = collate([spoken[i] for i in torch.randint(len(spoken), (16,))], vocabulary)
        log_probs = network(batch.sound + 0.2 * torch.randn_like(batch.sound))  # noise against overfitting
        scores = priors(log_probs, batch.frames, batch_first=True)
        loss = ctc(scores, batch.targets, batch.frames, batch.target_lengths)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), max_norm=1.0)
        optimizer.step()
        schedule.step()
        if step % 10 == 0:
            progress.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
    return network.eval(), priors.eval()


# --- 3. Aligning: given the phonemes of a sentence, when was each spoken? ---------------------------------------------


def expected_spans(scores: Tensor, batch: Batch) -> list[np.ndarray]:
    """Return, for each utterance, (S, 2): the posterior means of the frames where each phoneme begins and ends.

    The states of S phonemes are blank, first, blank, second, ..., blank, and a path never returns to an earlier state.
    So the begin of phoneme s is the number of frames in states before it. Its expectation is the sum of their
    occupancies.
    """
    lengths = batch.frames, batch.target_lengths
    occupancy = ctckit.posteriors(scores, batch.targets, *lengths, batch_first=True, per_state=True)
    result = []
    for item, (frames, phonemes) in enumerate(zip(*(length.tolist() for length in lengths), strict=True)):
        spent = occupancy[item, :frames, : 2 * phonemes + 1].double().sum(0).cumsum(0)
        result.append(torch.stack([spent[0:-1:2], spent[1::2]], dim=1).numpy())
    return result


# --- 4. Reading: which phonemes, if the sentence is not known? --------------------------------------------------------


def misread(log_probs: Tensor, batch: Batch) -> np.ndarray:
    """Return how many phonemes are wrong, missing or inserted: (2,), for greedy decoding and for beam search.

    The greedy reading is the best class of every frame, without repeats and blanks. The beam search looks for the most
    probable phonemes: it adds up all paths that spell them.
    """
    greedy = ctckit.greedy_decode(log_probs, batch.frames, blank=BLANK)
    beam = ctckit.beam_search(log_probs, batch.frames, beam_width=16, blank=BLANK)
    spoken = [row[:length] for row, length in zip(batch.targets.tolist(), batch.target_lengths, strict=True)]
    readings = [cast("list[ctckit.Decoding]", found) for found in (greedy, beam)]
    return np.array([sum(map(Levenshtein.distance, (one.tokens for one in found), spoken)) for found in readings])


# --- 5. Measuring the errors. -----------------------------------------------------------------------------------------


class Result(NamedTuple):
    """The results on the test sentences."""

    misread: np.ndarray  # (2,) phonemes misread per phoneme spoken: greedily, and by beam search
    best_path: np.ndarray  # (phonemes, 2) seconds from the true starts and ends to those of the best path
    expected: np.ndarray  # (phonemes, 2) seconds from the true starts and ends to the posterior means
    alignments: list[ctckit.Alignment]
    emissions: list[Tensor]  # (T, C) log-probabilities


@torch.inference_mode()
def evaluate(network: Listener, priors: ctckit.LabelPriors, spoken: list[Utterance], vocabulary: list[str]) -> Result:
    """Read and align sentences that are not in the training set."""
    errors, alignments, means, emissions = np.zeros(2), [], [], []
    for start in range(0, len(spoken), 50):
        some = spoken[start : start + 50]
        batch = collate(some, vocabulary)
        log_probs = network(batch.sound)
        found = ctckit.align(
            log_probs,
            [utterance.phonemes for utterance in some],
            vocabulary,
            word_separator="",
            input_lengths=batch.frames,
            blank=BLANK,
            frame_duration=SECONDS_PER_FRAME,
            log_priors=priors.log_priors,
            prior_weight=priors.weight,
        )
        of_batch = cast("list[ctckit.Alignment]", found)
        alignments += [in_words(alignment, utterance) for alignment, utterance in zip(of_batch, some, strict=True)]
        means += expected_spans(priors(log_probs, batch.frames, batch_first=True), batch)
        emissions += [row[:frames] for row, frames in zip(log_probs, batch.frames.tolist(), strict=True)]
        errors += misread(log_probs, batch)
    truth = np.concatenate([utterance.spans for utterance in spoken])
    best_path = np.array([(token.start_time, token.end_time) for found in alignments for token in found.tokens])
    expected = np.concatenate(means) * SECONDS_PER_FRAME
    return Result(errors / len(truth), best_path - truth, expected - truth, alignments, emissions)


def milliseconds(late: np.ndarray) -> np.ndarray:
    """Return absolute errors in milliseconds, for signed errors in seconds."""
    distances: np.ndarray = 1000 * np.abs(late)
    return distances


def report(results: dict[str, Result]) -> None:
    """Print the table."""
    print(f"{'':31} {'starts are off by':>23} {'within':>14} {'ends are off by':>23} {'phonemes misread':>17}")
    errors = f"{'median':>11} {'mean':>11}"
    print(f"{'':31} {errors} {'20 ms':>7} {'50 ms':>6} {errors} {'greedy':>9} {'beam':>7}")
    for name, result in results.items():
        for method, late in (("best path", result.best_path), ("posterior mean", result.expected)):
            starts, ends = milliseconds(late).T
            shares = f"{np.mean(starts <= 20):7.0%} {np.mean(starts <= 50):6.0%}"
            row = f"{name:15} {method:15} {np.median(starts):8.1f} ms {starts.mean():8.1f} ms {shares}"
            row += f" {np.median(ends):8.1f} ms {ends.mean():8.1f} ms"
            greedy, beam = result.misread
            print(f"{row} {greedy:9.1%} {beam:7.1%}")


# --- 6. A picture: the true spans, and below them each alignment, with lines at the true starts. ----------------------

TRUE_START: dict[str, Any] = {"color": "black", "linewidth": 0.8, "linestyle": (0, (2, 3)), "alpha": 0.7}


def draw(utterance: Utterance, results: dict[str, tuple[ctckit.Alignment, Tensor]]) -> Figure:
    """Draw one utterance: the sound with the true spans, below it each result with its emissions, and a legend."""
    figure = Figure(figsize=(12, 3.5 + 4 * len(results)), layout="constrained")
    figure.suptitle("A sentence of the test set in a new voice, aligned by CTC", x=0.012, ha="left", weight="bold")
    rows = figure.subplots(1 + len(results), sharex=True, height_ratios=[2.0] + [4.0] * len(results))
    first, *others = rows
    frames = next(iter(results.values()))[0].frames
    plot.alignment(the_truth(utterance, frames), waveform=utterance.wave, ax=first)
    first.set_title("true spans, from the synthesiser", loc="left", size=10)
    for ax, (name, (alignment, emissions)) in zip(others, results.items(), strict=True):
        plot.alignment(alignment, emissions, ax=ax)
        late = [token.start_time for token in alignment.tokens] - utterance.spans[:, 0]
        ax.set_title(f"{name}: starts are off by {milliseconds(late).mean():.0f} ms (mean)", loc="left", size=10)
        for start in utterance.spans[:, 0]:
            ax.axvline(start, **TRUE_START)
    for ax in rows[:-1]:
        ax.set_xlabel("")
    add_legend(figure, others[-1])
    return figure


def add_legend(figure: Figure, ax: Axes) -> None:
    """Explain the lines and colours of an alignment on emissions."""
    fills = [np.asarray(span.get_facecolor()) for span in ax.collections]
    spans = [to_hex(fill[0], keep_alpha=True) for fill in fills if len(fill)]
    entries: dict[str, Artist | tuple[Artist, ...]] = {
        "true start of a phoneme": Line2D([], [], **TRUE_START),
        "best path through phonemes and blank": next(line for line in ax.lines if line.get_label() == "path"),
        "probability of each phoneme in each frame (white 0, blue 1)": Patch(color=ax.images[0].get_cmap()(1.0)),
        "span of a phoneme: one colour per phoneme, pale if uncertain": tuple(Patch(color=span) for span in spans[:3]),
    }
    samples, texts = cast("list[Artist]", [*entries.values()]), [*entries]
    side_by_side = {tuple: HandlerTuple(ndivide=None, pad=0)}
    figure.legend(samples, texts, loc="outside lower left", ncols=2, frameon=False, handler_map=side_by_side)


# --- 7. A page that plays the sound and highlights each word as it is spoken. -----------------------------------------


def write_sounds(folder: Path, spoken: list[Utterance], alignments: list[ctckit.Alignment]) -> list[PageItem]:
    """Write the sound and alignment of some utterances, as WAV and JSON; return them as items of a page."""
    folder.mkdir(parents=True, exist_ok=True)
    items = []
    for number, (utterance, alignment) in enumerate(zip(spoken, alignments, strict=True), start=1):
        sound = folder / f"{number}.wav"
        with wave.open(str(sound), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)  # bytes
            file.setframerate(RATE)
            file.writeframes((utterance.wave * (2**15 - 1)).astype("<i2").tobytes())
        alignment.to_json(folder / f"{number}.json", indent=1)
        items.append(PageItem(alignment.to_dict(), utterance.text, sound))
    return items


# --- Options and report. ----------------------------------------------------------------------------------------------


def main(arguments: list[str] | None = None) -> None:
    """Speak, train, evaluate, report, draw."""
    parser = argparse.ArgumentParser(description="Align speech with CTC, and measure how exactly.")
    parser.add_argument("--steps", type=int, default=600, help="training batches (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights and batches (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder of the results (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: %(default)s)")
    options = parser.parse_args(arguments)
    if options.steps < 1:
        parser.error(f"--steps is {options.steps}, but must be at least 1")
    began = time.perf_counter()
    torch.set_num_threads(options.threads)
    try:
        speaker = Speaker()
    except NoSpeechError as error:
        print(f"speech skipped: {error}")
        return
    training = utterances(speaker, TRAINING_SENTENCES, TRAINING_VOICES, seed=1)
    test = utterances(speaker, TEST_SENTENCES, TEST_VOICES, seed=2, avoid={utterance.text for utterance in training})
    vocabulary = ["-", *sorted({phoneme for utterance in training for phoneme in utterance.phonemes})]
    seconds = sum(len(utterance.wave) for utterance in training) / RATE
    print(
        f"{len(training)} sentences in {len(TRAINING_VOICES)} voices to train on ({seconds / 60:.0f} minutes, "
        f"{len(vocabulary) - 1} phonemes), {len(test)} others in {len(TEST_VOICES)} other voices to test"
    )
    results = {}
    for name, weight in (("as usual", 0.0), ("label priors", PRIOR_WEIGHT)):
        torch.manual_seed(options.seed)
        results[name] = evaluate(*train(training, vocabulary, weight, options.steps), test, vocabulary)
    report(results)

    shown = results["label priors"]
    options.out.mkdir(parents=True, exist_ok=True)
    pairs = {name: (result.alignments[0], result.emissions[0]) for name, result in results.items()}
    draw(test[0], pairs).savefig(options.out / "speech.png", dpi=150)
    items = write_sounds(options.out / "speech", test[: len(TEST_VOICES)], shown.alignments[: len(TEST_VOICES)])
    write_page(options.out / "speech.html", items, title="Sentences of the test set, aligned by CTC")
    usual, priors = (np.median(milliseconds(result.best_path), axis=0) for result in results.values())
    print(
        f"In {time.perf_counter() - began:.0f} s two networks learnt when phonemes begin and end. Median errors are "
        f"{usual[0]:.0f} and {usual[1]:.0f} ms as usual, {priors[0]:.0f} and {priors[1]:.0f} ms with label priors: "
        f"see {options.out / 'speech.png'}, listen to {options.out / 'speech.html'}"
    )


if __name__ == "__main__":
    main()
