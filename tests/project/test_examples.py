"""The examples run, their data and error measures are right, and their pictures are readable."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ctckit

for needed in ("sklearn", "tqdm", "matplotlib", "rapidfuzz"):
    pytest.importorskip(needed)

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def digit_lines(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(EXAMPLES)
    return importlib.import_module("digit_lines")


@pytest.fixture
def digits(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(EXAMPLES)
    return importlib.import_module("digits")


def test_training_and_test_digits_are_different_images(digit_lines: Any) -> None:
    training, test = digit_lines.split()

    assert sorted([*training, *test]) == list(range(1797))
    assert 0.15 < len(test) / 1797 < 0.25
    pictures = digit_lines.load_digits().images
    assert not {pictures[i].tobytes() for i in training} & {pictures[i].tobytes() for i in test}


def test_spans_are_the_columns_with_ink(digit_lines: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    training, _ = digit_lines.split()
    maker = digit_lines.DigitLines(training, seed=0)
    monkeypatch.setattr(maker, "noise", 0.0)
    for line in maker.lines(50):
        inside = np.zeros(line.image.shape[1], dtype=bool)
        for start, end in line.spans:
            assert not inside[start:end].any()  # spans do not overlap
            inside[start:end] = True
        assert (line.image.any(axis=0) == inside).all()
        assert (line.spans[1:, 0] >= line.spans[:-1, 1]).all()  # they are in order
        assert len(line.digits) == len(line.spans)


def test_every_span_shows_its_digit(digit_lines: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pixels of each span are an image of this digit in the data set."""
    _, test = digit_lines.split()
    data = digit_lines.load_digits()
    known = {}
    for i in test:
        image = data.images[i].astype(np.float32) / 16
        known[image[:, image.any(axis=0)].tobytes()] = data.target[i]
    maker = digit_lines.DigitLines(test, seed=0)
    monkeypatch.setattr(maker, "noise", 0.0)
    tops = set()
    for line in maker.lines(20):
        for digit, (start, end) in zip(line.digits, line.spans, strict=True):
            piece = line.image[:, start:end]
            found = {top: known.get(piece[top : top + 8].tobytes()) for top in range(len(piece) - 7)}
            assert digit in found.values()
            tops |= {top for top, shown in found.items() if shown == digit}
    assert len(tops) == digit_lines.HEIGHT - 7  # all heights occur


def test_a_batch_holds_its_lines(digit_lines: Any) -> None:
    lines = digit_lines.DigitLines(np.arange(100), seed=0).lines(3)

    batch = digit_lines.collate(lines)

    assert batch.images.shape == (3, 1, digit_lines.HEIGHT, max(line.image.shape[1] for line in lines))
    for n, line in enumerate(lines):
        width = batch.widths[n]
        assert torch.equal(batch.images[n, 0, :, :width], torch.from_numpy(line.image))
        assert not batch.images[n, 0, :, width:].any()
        assert (batch.targets[n, : batch.target_lengths[n]] - 1).tolist() == line.digits.tolist()


def test_lines_are_the_same_for_the_same_seed(digit_lines: Any) -> None:
    one, same, other = (digit_lines.DigitLines(np.arange(100), seed=seed).line() for seed in (3, 3, 4))

    assert np.array_equal(one.image, same.image)
    assert one.image.shape != other.image.shape or not np.array_equal(one.image, other.image)


def test_reading_merges_repeats_and_drops_blanks_within_the_width(digits: Any) -> None:
    best = torch.tensor([[0, 4, 4, 0, 4, 8, 0, 1], [2, 2, 2, 9, 9, 9, 9, 9]])
    logits = 20.0 * torch.nn.functional.one_hot(best, 11)
    nothing = torch.empty(0)

    batch = digits.Batch(nothing, torch.tensor([8, 3]), nothing, nothing)

    assert [reading.tokens for reading in digits.read_greedily(logits, batch)] == [(4, 4, 8, 1), (2,)]
    readings = digits.read(logits, batch)
    assert [reading.text for reading in readings] == ["3370", "1"]
    assert all(reading.certified for reading in readings)


def test_a_digit_is_located_at_the_mean_of_its_columns(digits: Any, digit_lines: Any) -> None:
    """If the scores are certain of one column per digit, the expected position is the middle of that column."""
    lines = digit_lines.DigitLines(np.arange(100), seed=0).lines(4)
    batch = digit_lines.collate(lines)
    best = torch.zeros(batch.images.shape[0], batch.images.shape[3], dtype=torch.int64)
    for n, line in enumerate(lines):
        best[n, line.spans.mean(1).astype(int)] = torch.from_numpy(line.digits + 1)
    logits = 50 * torch.nn.functional.one_hot(best, 11).float()

    places = digits.locate(logits, batch)

    for line, place in zip(lines, places, strict=True):
        assert place.shape == (line.image.shape[1], 2 * len(line.digits) + 1)
        np.testing.assert_allclose(place.sum(1), 1, atol=1e-5)
        middles = line.spans.mean(1).astype(int)
        np.testing.assert_allclose(digits.centres(place), middles + 0.5, atol=1e-3)
        np.testing.assert_allclose(digits.expected_spans(place), np.stack([middles, middles + 1], axis=1), atol=1e-3)


def test_a_short_run_reports_and_draws(
    digits: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(digits, "TEST_LINES", 50)
    picture = tmp_path / "new folder" / "digits.png"

    digits.main(["--steps", "3", "--out", str(picture)])

    report = capsys.readouterr().out.splitlines()
    at = report.index("digits misread on 50 test lines:")
    assert "greedy" in report[at + 1]
    assert "beam search" in report[at + 2]
    assert "%" in report[at + 1]
    assert "%" in report[at + 2]
    assert any("from the ink" in line and "pixels" in line for line in report)
    assert any("torch" in line and "ms" in line for line in report)
    assert report[-1].endswith(str(picture))
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_the_picture_uses_its_width(digits: Any, digit_lines: Any) -> None:
    """Each line covers 90% of its axes, and the axes 85% of the figure: the rest is the vertical axis. Below are the
    texts of the last line, with their probabilities.
    """
    _, for_test = digit_lines.split()
    lines = digit_lines.DigitLines(for_test, seed=1).lines(50)
    shown = [lines[n] for n in digits.widest(lines)]
    assert len(shown) == 3
    assert min(line.image.shape[1] for line in shown) >= sorted(line.image.shape[1] for line in lines)[-3]
    places = [np.full((line.image.shape[1], 2 * len(line.digits) + 1), 0.1) for line in shown]
    rows = [2.0 * torch.nn.functional.one_hot(torch.from_numpy(np.repeat(line.digits + 1, 2)), 11) for line in shown]
    decoder = ctckit.Decoder(digits.VOCABULARY, nbest=5, logits=True)
    readings: list[Any] = [decoder(row) for row in rows]

    figure = digits.draw(shown, readings, places)

    figure.draw_without_rendering()
    *drawn, texts = figure.axes
    assert len(drawn) == 3
    assert [label.get_text() for label in texts.get_yticklabels()] == [one.text for one in readings[-1].nbest]
    lengths = [bar.get_width() for bar in texts.patches]
    np.testing.assert_allclose(lengths, [one.confidence for one in readings[-1].nbest])
    assert all(text.get_text().startswith(f"{size:.1%}") for text, size in zip(texts.texts, lengths, strict=True))
    for ax in drawn:
        left, right, *_ = ax.images[0].get_extent()
        (x0, _), (x1, _) = ax.transData.transform([(left, 0), (right, 0)])
        assert x1 - x0 >= 0.9 * ax.get_window_extent().width
        assert ax.get_window_extent().width >= 0.85 * figure.bbox.width
    # Fewer lines than are wanted.
    assert digits.widest(lines[:2]) == [0, 1]


def test_the_least_sure_line_is_shown(digits: Any) -> None:
    decoder = ctckit.Decoder(["-", "a"], nbest=2)
    readings = [decoder(torch.tensor([[p, 1 - p]]).log()) for p in (0.1, 0.45, 0.8)]

    assert digits.least_sure(readings) == 1


def test_training_is_repeatable_and_moves_every_weight(digits: Any, digit_lines: Any) -> None:
    outcomes = []
    for _ in range(2):
        torch.manual_seed(0)
        untrained = digits.Reader()
        torch.manual_seed(0)
        network, seconds = digits.train(digit_lines.DigitLines(np.arange(100), seed=0), steps=2)
        assert len(seconds) == 1
        assert min(seconds[0]) > 0
        outcomes.append(list(network.parameters()))
        assert all(not torch.equal(a, b) for a, b in zip(untrained.parameters(), outcomes[-1], strict=True))
    assert all(torch.equal(a, b) for a, b in zip(*outcomes, strict=True))


def test_too_few_steps_are_refused(digits: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        digits.main(["--steps", "0"])
    assert "--steps is 0, but must be at least 1" in capsys.readouterr().err


@pytest.fixture
def spoken(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(EXAMPLES)
    return importlib.import_module("spoken")


@pytest.fixture
def speaker(spoken: Any) -> Any:
    try:
        return spoken.Speaker()
    except spoken.NoSpeechError as error:
        pytest.skip(str(error))


@pytest.fixture
def speech(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(EXAMPLES)
    pytest.importorskip("jinja2")
    return importlib.import_module("speech")


def test_a_sentence_is_spoken_with_its_phonemes_in_order(speaker: Any) -> None:
    utterance = speaker.say("Ruth saw 38 mice", "m1")

    seconds = len(utterance.wave) / 22050
    assert 0.8 < seconds < 3
    assert 0.05 < np.abs(utterance.wave).max() <= 1
    assert utterance.phonemes[:3] == ["ɹ", "uː", "θ"]  # noqa: RUF001
    assert utterance.phonemes[-3:] == ["m", "aɪ", "s"]  # noqa: RUF001
    starts, ends = utterance.spans.T
    assert (starts <= ends).all()
    assert (ends[:-1] <= starts[1:]).all()
    assert starts[0] >= 0
    assert ends[-1] <= seconds
    assert [word for word, _, _ in utterance.words] == ["Ruth", "saw", "38", "mice"]
    assert [first for _, first, _ in utterance.words[1:]] == [last for _, _, last in utterance.words[:-1]]
    assert utterance.words[-1][2] == len(utterance.phonemes)


def test_a_hiss_is_where_its_span_says(speaker: Any) -> None:
    """The energy of "s" is at high frequencies, that of vowels at low ones: the times match the sound."""
    utterance = speaker.say("Sophie saw", "m1")
    for phoneme, (start, end) in zip(utterance.phonemes, (utterance.spans * 22050).astype(int), strict=True):
        if phoneme in ("s", "ɔː"):
            power = np.abs(np.fft.rfft(utterance.wave[start:end])) ** 2
            hertz = np.fft.rfftfreq(end - start, 1 / 22050)
            share = power[hertz > 3000].sum() / power.sum()
            assert share > 0.5 if phoneme == "s" else share < 0.2, phoneme


def test_training_and_test_share_neither_sentences_nor_voices(spoken: Any, speaker: Any) -> None:
    training = spoken.utterances(speaker, 30, spoken.TRAINING_VOICES, seed=1)
    texts = {utterance.text for utterance in training}
    again = spoken.utterances(speaker, 30, spoken.TEST_VOICES, seed=1, avoid=texts)

    assert len(texts) == 30
    assert not texts & {utterance.text for utterance in again}
    assert not set(spoken.TRAINING_VOICES) & set(spoken.TEST_VOICES)


@pytest.mark.parametrize("frame", [0, 1, 7, 19])
def test_features_see_a_click_in_its_frame(spoken: Any, frame: int) -> None:
    wave = torch.zeros(20 * spoken.HOP)
    wave[frame * spoken.HOP + spoken.HOP // 2] = 1.0

    sound = spoken.log_mel(wave)

    assert sound.shape == (20, spoken.MELS)
    assert sound.mean(1).argmax() == frame


def test_features_of_a_tone_peak_in_its_band(spoken: Any) -> None:
    times = torch.arange(spoken.RATE) / spoken.RATE
    peaks = []
    for hertz in (300, 1000, 3000):
        tone = torch.where(times < 0.5, 0.0, torch.sin(2 * torch.pi * hertz * times))
        sound = spoken.log_mel(tone)
        peaks.append(int((sound[75] - sound[25]).argmax()))
        assert abs(float(sound.mean())) < 1e-4

    mel = [2595 * np.log10(1 + hertz / 700) for hertz in (300, 1000, 3000, 8000)]
    np.testing.assert_allclose(peaks, [(spoken.MELS + 1) * x / mel[3] - 1 for x in mel[:3]], atol=0.75)


def test_sure_emissions_put_starts_and_ends_where_they_are(speech: Any) -> None:
    """If the scores are certain of the frames of two phonemes, the posterior means are these frames."""
    path = torch.tensor([[0, 1, 1, 1, 0, 2, 2, 0]])
    scores = (50.0 * torch.nn.functional.one_hot(path, 3)).log_softmax(2)
    batch = speech.Batch(torch.empty(0), torch.tensor([8]), torch.tensor([[1, 2]]), torch.tensor([2]))

    (spans,) = speech.expected_spans(scores, batch)

    np.testing.assert_allclose(spans, [[1, 4], [5, 7]], atol=1e-4)


def test_the_picture_of_speech_explains_its_lines_and_colours(speech: Any, spoken: Any) -> None:
    """Each entry of the legend looks like what it explains; dotted lines are at the true starts."""
    path = torch.tensor([0, 1, 1, 1, 0, 2, 2, 0, 3, 3])
    emissions = (9.0 * torch.nn.functional.one_hot(path, 4)).log_softmax(1)
    phonemes, frame = ["a", "k", "u"], spoken.SECONDS_PER_FRAME
    spans = np.array([[0.0, 4.0], [4.0, 7.0], [7.0, 10.0]]) * frame
    words = [("ak", 0, 2), ("u", 2, 3)]
    utterance = spoken.Utterance("ak u", np.zeros(10 * spoken.HOP), torch.empty(0), phonemes, spans, words)
    found = ctckit.align(emissions, phonemes, ["-", *phonemes], word_separator="", frame_duration=frame)

    figure = speech.draw(utterance, {"one": (spoken.in_words(found, utterance), emissions)})

    figure.draw_without_rendering()
    (legend,) = figure.legends
    assert figure.bbox.fully_containsx(legend.get_window_extent().x1)
    truth, picture = figure.axes
    assert not legend.get_window_extent().overlaps(picture.get_tightbbox())
    samples = dict(zip([text.get_text() for text in legend.get_texts()], legend.legend_handles, strict=True))
    starts, best, cells, token = samples.values()
    assert list(samples) == [
        "true start of a phoneme",
        "best path through phonemes and blank",
        "probability of each phoneme in each frame (white 0, blue 1)",
        "span of a phoneme: one colour per phoneme, pale if uncertain",
    ]
    dotted = [line for line in picture.lines if line.get_linestyle() == starts.get_linestyle() != "-"]
    np.testing.assert_allclose([line.get_xdata()[0] for line in dotted], spans[:, 0])
    assert {line.get_color() for line in dotted} == {starts.get_color()}
    (drawn,) = [line for line in picture.lines if line.get_label() == "path"]
    assert (drawn.get_color(), drawn.get_linestyle()) == (best.get_color(), best.get_linestyle())
    assert cells.get_facecolor() == pytest.approx(picture.images[0].to_rgba(np.ones((1, 1)))[0, 0])
    assert token is not None
    names = [text.get_text() for text in picture.texts if text.get_visible()]
    assert {"a", "k", "u", "ak"} <= set(names)
    assert not truth.get_xlabel()


def test_phonemes_misread_are_counted_for_both_ways_of_reading(speech: Any) -> None:
    """The best path of the first item says nothing, its most probable phonemes are those spoken."""
    log_probs = torch.tensor([[[0.6, 0.4, 0.0], [0.6, 0.4, 0.0]], [[0.0, 0.0, 1.0], [0.0, 1.0, 0.0]]]).log()
    batch = speech.Batch(torch.empty(0), torch.tensor([2, 2]), torch.tensor([[1, 0], [1, 2]]), torch.tensor([1, 2]))

    assert speech.misread(log_probs, batch).tolist() == [3, 2]


@pytest.mark.usefixtures("speaker")
def test_a_short_run_with_speech_reports_draws_and_writes_a_page(
    speech: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(speech, "TRAINING_SENTENCES", 60)
    monkeypatch.setattr(speech, "TEST_SENTENCES", 6)

    speech.main(["--steps", "2", "--out", str(tmp_path)])

    report = capsys.readouterr().out.splitlines()
    assert sum("best path" in line for line in report) == 2
    assert report[1].endswith("phonemes misread")
    assert report[2].split()[-2:] == ["greedy", "beam"]
    assert report[-1].endswith("speech.html")
    assert (tmp_path / "speech.png").read_bytes().startswith(b"\x89PNG")
    assert "data:audio/" in (tmp_path / "speech.html").read_text(encoding="utf-8")
    assert len(list((tmp_path / "speech").glob("*.wav"))) == len(list((tmp_path / "speech").glob("*.json"))) == 5


def test_without_a_synthesiser_the_demo_says_so(
    speech: Any, spoken: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def nothing() -> None:
        raise spoken.NoSpeechError("eSpeak NG is not installed: pip install espeakng-loader")

    monkeypatch.setattr(spoken, "_find_espeak", nothing)

    speech.main(["--out", str(tmp_path)])

    assert capsys.readouterr().out == "speech skipped: eSpeak NG is not installed: pip install espeakng-loader\n"
