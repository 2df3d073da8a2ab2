"""Alignments in the formats of other programs, read back with independent libraries."""

from __future__ import annotations

import copy
import itertools
import json
import pickle
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import ctckit
from ctckit import AlignedToken, AlignedWord, Alignment
from tests.tools.aligned import align_one as align

LETTERS = ["-", "|", *'abcdefghijklmnopqrstuvwxyz.,"&<>é']


def spoken(text: str, *, frame_duration: float | None = 0.1, offset: float = 0.0, pause: int = -1) -> Alignment:
    """Two frames per token, a blank after each, and eight more after the word number `pause`."""
    vocabulary = ctckit.Vocabulary(LETTERS)
    path = [0]
    for piece in vocabulary.encode(text).pieces:
        path += [piece.id or 0] * 2 + [0]
        if piece.word is None:
            path += [0] * 8 * (pause == 0)
            pause -= 1
    logits = 8.0 * torch.nn.functional.one_hot(torch.tensor(path), len(LETTERS))
    return align(logits, text, LETTERS, logits=True, frame_duration=frame_duration, offset=offset)


FOUND = spoken("ab c é", offset=1.5)
UNTIMED = spoken("ab c", frame_duration=None)
NAMELESS = align(torch.zeros(9, 5).log_softmax(1), [1, 2], frame_duration=0.1)


# ---------------------------------------------------------------------------------------------------------------- JSON


@pytest.mark.parametrize(
    "found", [FOUND, UNTIMED, NAMELESS, spoken(""), align(torch.zeros(9, 5), [1], logits=True, confidence=False)]
)
def test_json(found: Alignment, tmp_path: Path) -> None:
    written = found.to_json(tmp_path / "a.json", indent=1)
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == written
    for again in (
        Alignment.from_json(written),
        Alignment.from_json(tmp_path / "a.json"),
        Alignment.from_json(str(tmp_path / "a.json")),
        Alignment.from_dict(json.loads(found.to_json())),
        pickle.loads(pickle.dumps(found)),  # noqa: S301  # our own
        copy.deepcopy(found),
    ):
        assert again == found
        assert again.to_json(indent=1) == written
    assert "\n" not in found.to_json().rstrip("\n")


def test_json_says_all() -> None:
    values = json.loads(FOUND.to_json())
    assert list(values) == ["text", "score", "frames", "frame_duration", "offset", "words", "tokens"]
    assert [word["text"] for word in values["words"]] == ["ab", "c", "é"]
    assert [word["tokens"] for word in values["words"]] == [[0, 2], [3, 4], [5, 6]]
    assert values["words"][0]["start_time"] == values["tokens"][0]["start_time"] == 1.6
    assert "é" in FOUND.to_json()  # readable, not escaped


@pytest.mark.parametrize("text", ["{}", '{"tokens": [{}]}', '{"tokens": [], "words": [{"tokens": 3}]}'])
def test_what_is_no_alignment(text: str) -> None:
    with pytest.raises(ValueError, match="not an alignment as to_json writes it"):
        Alignment.from_json(text)


# ----------------------------------------------------------------------------------------------------------------- CTM


def test_ctm(tmp_path: Path) -> None:
    """Six columns: start and duration to a thousandth, and the confidence."""
    written = FOUND.to_ctm(tmp_path / "a.ctm", recording="talk", channel="A")
    assert (tmp_path / "a.ctm").read_text(encoding="utf-8") == written
    rows = [line.split(" ") for line in written.splitlines()]
    assert [row[:2] + row[4:5] for row in rows] == [["talk", "A", "ab"], ["talk", "A", "c"], ["talk", "A", "é"]]
    for row, word in zip(rows, FOUND.words, strict=True):
        assert float(row[2]) == pytest.approx(word.start_time)
        assert float(row[2]) + float(row[3]) == pytest.approx(word.end_time)
        assert float(row[5]) == pytest.approx(word.confidence, abs=1e-4)
    assert len(FOUND.to_ctm(level="tokens").splitlines()) == len(FOUND.tokens)
    assert len(NAMELESS.to_ctm().splitlines()) == 2
    spaces = align(torch.zeros(9, 3).log_softmax(1), "a a", ["-", "a", " "], frame_duration=0.1, confidence=False)
    assert [line.split()[4:] for line in spaces.to_ctm(level="tokens").splitlines()] == [["a"], ["<space>"], ["a"]]


# ------------------------------------------------------------------------------------------------------------ TextGrid


def test_textgrid(tmp_path: Path) -> None:
    """Read by another library, it has the words and tokens, and fills the recording."""
    pytest.importorskip("praatio")
    reader = pytest.importorskip("textgrid")
    found = spoken('a"b c', offset=0.5)
    found.to_textgrid(tmp_path / "a.TextGrid")
    grid = reader.TextGrid.fromFile(str(tmp_path / "a.TextGrid"))
    assert [tier.name for tier in grid] == ["words", "tokens"]
    end = 0.5 + 0.1 * found.frames
    levels: tuple[tuple[Any, ...], ...] = (found.words, found.tokens)
    for tier, rows in zip(grid, levels, strict=True):
        assert (tier.minTime, tier.maxTime) == (0, pytest.approx(end))
        filled: list[Any] = [interval for interval in tier if interval.mark]
        assert [interval.mark for interval in filled] == [row.text for row in rows]
        for interval, row in zip(filled, rows, strict=True):
            assert (interval.minTime, interval.maxTime) == (pytest.approx(row.start_time), pytest.approx(row.end_time))
        edges = [0.0, *(interval.maxTime for interval in tier)]
        assert [interval.minTime for interval in tier] == edges[:-1]
        assert edges[-1] == pytest.approx(end)
    assert [tier.name for tier in reader_of(NAMELESS, tmp_path)] == ["tokens"]


def test_a_textgrid_has_no_interval_for_a_token_without_frames(tmp_path: Path) -> None:
    pytest.importorskip("praatio")
    pytest.importorskip("textgrid")
    values = spoken("abc").to_dict()
    values["tokens"][1]["end"] = values["tokens"][1]["start"]
    values["tokens"][1]["end_time"] = values["tokens"][1]["start_time"]
    words, tokens = reader_of(Alignment.from_dict(values), tmp_path)
    assert [interval.mark for interval in words if interval.mark] == ["abc"]
    assert [interval.mark for interval in tokens if interval.mark] == ["a", "c"]


def reader_of(found: Alignment, folder: Path) -> list[Any]:
    import textgrid

    found.to_textgrid(folder / "b.TextGrid")
    return list(textgrid.TextGrid.fromFile(str(folder / "b.TextGrid")))


# ----------------------------------------------------------------------------------------------------------- subtitles


def test_srt(tmp_path: Path) -> None:
    pytest.importorskip("srt")
    reader = pytest.importorskip("pysubs2")
    found = spoken("ab c. <a> d & e", pause=3)
    written = found.to_srt(tmp_path / "a.srt")
    assert (tmp_path / "a.srt").read_text(encoding="utf-8") == written
    cues = list(reader.load(str(tmp_path / "a.srt"), keep_unknown_html_tags=True))
    assert [cue.text for cue in cues] == ["ab c.", "<a> d", "& e"]  # at the end of a sentence, and at a pause
    first, last = found.words[0], found.words[1]
    assert cues[0].start == pytest.approx(1000 * (first.start_time or 0), abs=1)
    assert cues[0].end == pytest.approx(1000 * (last.end_time or 0), abs=1)
    assert all(a.end <= b.start for a, b in itertools.pairwise(cues))


def test_vtt(tmp_path: Path) -> None:
    pytest.importorskip("webvtt")
    reader = pytest.importorskip("pysubs2")
    found = spoken("ab c d", offset=3600.0)
    found.to_vtt(tmp_path / "a.vtt")
    (cue,) = reader.load(str(tmp_path / "a.vtt"))
    assert cue.plaintext == "ab c d"
    assert cue.start == pytest.approx(1000 * (found.words[0].start_time or 0), abs=1)
    assert cue.end == pytest.approx(1000 * (found.words[-1].end_time or 0), abs=1)
    timed = found.to_vtt(word_times=True)
    assert "ab <01:00:01.000>c <01:00:01.600>d" in timed
    assert "&lt;a&gt; &amp;" in spoken("<a> &").to_vtt()
    assert timed.startswith("WEBVTT\n")


def test_cues_have_limits() -> None:
    srt = pytest.importorskip("srt")
    found = spoken("aa bb cc dd ee ff gg")
    for options, right in (
        ({"max_characters": 5, "max_duration": 99}, ["aa bb", "cc dd", "ee ff", "gg"]),
        ({"max_characters": 0, "max_duration": 99}, ["aa", "bb", "cc", "dd", "ee", "ff", "gg"]),
        ({"max_duration": 1.5}, ["aa bb", "cc dd", "ee ff", "gg"]),
        ({"max_gap": 0.0, "max_duration": 99}, ["aa", "bb", "cc", "dd", "ee", "ff", "gg"]),
        ({"max_gap": 9.0, "max_duration": 99}, ["aa bb cc dd ee ff gg"]),
    ):
        assert [cue.content for cue in srt.parse(found.to_srt(**options))] == right, options
    assert [cue.content for cue in srt.parse(NAMELESS.to_srt())] == ["12"]
    with pytest.raises(ValueError, match="max_gap is -1, but must not be negative"):
        found.to_srt(max_gap=-1)


# ---------------------------------------------------------------------------------------------------------- data frames


def test_dataframe() -> None:
    pd = pytest.importorskip("pandas")
    words, tokens = FOUND.to_dataframe(), FOUND.to_dataframe("tokens")
    assert words.columns.tolist() == ["text", "start", "end", "start_time", "end_time", "score", "confidence"]
    assert tokens.columns.tolist() == [*words.columns, "id", "word"]
    assert words["text"].tolist() == ["ab", "c", "é"]
    assert tokens["id"].tolist() == [token.id for token in FOUND.tokens]
    assert tokens["word"].fillna(-1).tolist() == [0, 0, -1, 1, -1, 2]
    assert tokens.groupby("word")["start"].min().tolist() == words["start"].tolist()
    assert UNTIMED.to_dataframe()["start_time"].isna().all()
    assert isinstance(spoken("").to_dataframe(), pd.DataFrame)
    assert spoken("").to_dataframe().dtypes["start"] == "int64"


# -------------------------------------------------------------------------------------------------------------- faults


def test_times_are_needed() -> None:
    pytest.importorskip("srt")
    pytest.importorskip("praatio")
    pytest.importorskip("webvtt")
    for write in (UNTIMED.to_ctm, UNTIMED.to_textgrid, UNTIMED.to_srt, UNTIMED.to_vtt):
        with pytest.raises(ValueError, match=r"has no times, and .* in seconds: pass the frame_duration to align\(\)"):
            write()
    early = spoken("ab", offset=-1.0)
    for write in (early.to_textgrid, early.to_srt, early.to_vtt):
        with pytest.raises(ValueError, match=r"offset is -1\.0"):
            write()


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="recording is 'a b', but in CTM"):
        FOUND.to_ctm(recording="a b")
    with pytest.raises(ValueError, match="channel is ''"):
        FOUND.to_ctm(channel="")
    with pytest.raises(ValueError, match="level is 'letters'"):
        FOUND.to_ctm(level="letters")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="level is 'words', but the alignment has no words"):
        NAMELESS.to_ctm(level="words")


@pytest.mark.parametrize(
    ("module", "call", "remedy"),
    [
        ("praatio", "to_textgrid", "ctckit.align."),
        ("srt", "to_srt", "ctckit.align."),
        ("webvtt", "to_vtt", "ctckit.align."),
        ("pandas", "to_dataframe", "pandas"),
    ],
)
def test_missing_libraries(module: str, call: str, remedy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=f"pip install {remedy}"):
        getattr(FOUND, call)()


# --------------------------------------------------------------------------------------------------------------- a look


def test_the_table() -> None:
    lines = repr(FOUND).splitlines()
    assert str(FOUND) == repr(FOUND)
    assert lines[0].startswith(f"Alignment: 3 words, 6 tokens in {FOUND.frames} frames (1.90 s), score -")
    assert [line.split()[0] for line in lines[2:]] == ["ab", "c", "é"]
    bars = [line.split()[-1] for line in lines[2:]]
    assert {len(bar) for bar in bars} == {40}
    for bar, word in zip(bars, FOUND.words, strict=True):
        first, last = bar.index("█"), bar.rindex("█") + 1
        assert first == pytest.approx(40 * word.start / FOUND.frames, abs=1)
        assert last == pytest.approx(40 * word.end / FOUND.frames, abs=1)
        assert set(bar[first:last]) == {"█"}  # the highest confidence


def test_the_table_of_other_alignments() -> None:
    assert "conf" not in repr(align(torch.zeros(9, 5), [1], logits=True, confidence=False))
    assert "from       to" in repr(UNTIMED)
    assert len(repr(spoken("")).splitlines()) == 1
    many = repr(spoken(" ".join("ab" for _ in range(99))))
    assert "... 75 more" in many
    assert len(many.splitlines()) == 27
    token = AlignedToken("漢字", 1, 0, 2, -0.5)
    odd = AlignedToken("\n", 2, 2, 3, -0.5, 0.1)
    word = AlignedWord("漢字", 0, 2, -0.5, None, (token,))
    shown = repr(Alignment("漢字", (token, odd), (word,), -1.0, 3)).splitlines()
    assert shown[2].startswith("  漢字  ")
    shown = repr(Alignment("", (token, odd), (), -1.0, 3)).splitlines()
    assert "'\\n'" in shown[3]
    assert shown[3].count("░") > 0


def rows_shown(count: int, *, frames: int | None = None, text: str = "a", length: int = 1) -> list[str]:
    """The rows of an alignment's table, for `count` words of one token each, `length` frames long."""
    tokens = tuple(AlignedToken(text or str(n), 1, n, n + length, -0.5) for n in range(count))
    words = tuple(AlignedWord(t.text, t.start, t.end, t.score, None, (t,)) for t in tokens)
    return repr(Alignment("", tokens, words, -1.0, count if frames is None else frames)).splitlines()[2:]


def test_long_tables_are_cut_in_their_middle() -> None:
    assert [line.split()[0] for line in rows_shown(25, text="")] == [str(n) for n in range(25)]
    cut = [line.split()[0] for line in rows_shown(26, text="")]
    assert cut == [*map(str, range(12)), "...", *map(str, range(14, 26))]
    assert rows_shown(26)[12] == "  ... 2 more"


def test_long_names_are_cut_in_tables() -> None:
    (row,) = rows_shown(1, text="x" * 24)
    assert row.split()[0] == "x" * 24
    (row,) = rows_shown(1, text="x" * 25)
    assert row.split()[0] == "x" * 23 + "…"


def test_bars_cover_the_frames() -> None:
    """The bar has 40 characters. A row fills at least one, up to the one in which its last frame ends."""
    assert [line.split()[-1].count("█") for line in rows_shown(1)] == [40]
    assert [line.split()[-1].index("█") for line in rows_shown(3, frames=1000)] == [0, 0, 0]
    assert [line.split()[-1].count("█") for line in rows_shown(3, frames=1000, length=0)] == [1, 1, 1]
    assert [line.split()[-1] for line in rows_shown(2, frames=80, length=2)] == ["█" + "·" * 39, "██" + "·" * 38]
    assert rows_shown(2, frames=1, length=0)[1].split()[-1] == "·" * 39 + "█"  # at the end of the input


def test_bars_are_darker_where_confident() -> None:
    for confidence, shade in ((0.0, "░"), (0.24, "░"), (0.25, "▒"), (0.5, "▓"), (0.74, "▓"), (0.75, "█"), (1.0, "█")):
        token = AlignedToken("a", 1, 0, 1, -0.5, confidence)
        assert repr(Alignment("a", (token,), (), -1.0, 1)).splitlines()[2].endswith(f"{confidence:5.0%}  {shade * 40}")
