"""The page: the content of the file; in a browser, that it plays, highlights the spoken word, and obeys the user."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import html
import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ctckit import ArgumentTypeError, ArgumentValueError
from ctckit.page import PageItem, _for_the_page, write_page
from tests.tools.known_times import place, say

pytest.importorskip("jinja2")

HOSTILE = "</script><script>document.title='broken'</script><b>&amp;'\"\u2028"


def alignment(*words: str, duration: float | None = 0.02, confidence: float | None = 0.9) -> dict[str, Any]:
    """One word every 50 frames, 40 frames long, the first from frame 25."""
    rows, tokens = [], []
    for index, word in enumerate(words):
        start, end = 50 * index + 25, 50 * index + 65
        span = {"start": start, "end": end, "score": -0.1, "confidence": confidence}
        rows.append({"text": word, "tokens": [index, index + 1], **span})
        tokens.append({"text": word, "id": 1, **span})
    return {
        "text": " ".join(words), "words": rows, "tokens": tokens, "frames": 50 * len(words) + 50,
        "frame_duration": duration, "offset": 0.0, "score": -1.0,
    }  # fmt: skip


def tone(path: Path, seconds: float = 4.0) -> Path:
    pytest.importorskip("rich")
    import numpy as np

    from ctckit.cli.demo import write_wav

    write_wav(path, 0.3 * np.sin(np.arange(int(16_000 * seconds)) * 0.2))
    return path


def test_the_file_needs_nothing_else(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    write_page(page, [PageItem(alignment("one"), "item", tone(tmp_path / "a.wav"))], title="Title")
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"https?:|//[a-z]+\.|@import|<link[^>]*href=\"(?!data:)", text)
    assert all(source.startswith("data:") for source in re.findall(r"src=\"([^\"]*)", text))
    assert text.count("data:audio/wav;base64,UklGR") == 1


def test_texts_are_escaped(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    write_page(page, [PageItem(alignment(HOSTILE), HOSTILE)], title=HOSTILE)
    text = page.read_text(encoding="utf-8")
    assert "<script>document" not in text
    assert text.count("<script") == text.count("</script>") == 2
    assert "<b>" not in text


def test_what_cannot_be_shown(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing to show"):
        write_page(tmp_path / "page.html", [])
    with pytest.raises(FileNotFoundError):
        write_page(tmp_path / "page.html", [PageItem(alignment("a"), "a", tmp_path / "nowhere.wav")])


def test_times_are_those_of_the_recording() -> None:
    """Times include the offset. A token has its own times and confidence. A word has all of its tokens."""
    values = {
        "text": "hi", "frames": 12, "frame_duration": 0.1, "offset": 5.0,
        "tokens": [
            {"text": "h", "start": 2, "end": 4, "confidence": 0.1},
            {"text": "i", "start": 5, "end": 9, "confidence": 0.2},
            {"text": "!", "start": 9, "end": 10, "confidence": 0.3},
        ],
        "words": [{"text": "hi", "start": 2, "end": 9, "tokens": [0, 2], "confidence": 0.9}],
    }  # fmt: skip
    shown = _for_the_page(PageItem(values))
    assert shown["duration"] == pytest.approx(6.2)
    (word,) = shown["words"]
    assert [word["start"], word["end"], word["confidence"]] == pytest.approx([5.2, 5.9, 0.9])
    assert word["tokens"] == [["h", pytest.approx(5.2), pytest.approx(5.4), 0.1], ["i", 5.5, pytest.approx(5.9), 0.2]]
    assert (shown["spaced"], shown["timed"], shown["step"], shown["audio"]) == (True, True, 0.1, None)


def test_times_without_seconds() -> None:
    """Frames of 20 ms, from 0, for the page's own clock."""
    shown = _for_the_page(PageItem({**alignment("a", duration=None), "offset": 7.0}))
    assert [shown["words"][0]["start"], shown["words"][0]["end"]] == pytest.approx([0.5, 1.3])
    assert shown["duration"] == pytest.approx(2.0)
    assert not shown["timed"]


def test_only_words_have_tokens() -> None:
    """The tokens of a word are optional. Rows of a page that shows tokens have none."""
    values = alignment("a", "b")
    del values["words"][0]["tokens"]
    assert [len(word["tokens"]) for word in _for_the_page(PageItem(values))["words"]] == [0, 1]
    tokens = [{**token, "tokens": [0, 1]} for token in values["tokens"]]
    shown = _for_the_page(PageItem({**values, "words": [], "tokens": tokens}))
    assert [word["tokens"] for word in shown["words"]] == [[], []]


def test_lines_and_spaces_of_the_page() -> None:
    found = say("今天 好\n天\n\n今").to_dict()
    shown = _for_the_page(PageItem(found))
    assert [word["text"] for word in shown["words"]] == ["今天", "好", "天", "今"]
    assert shown["lines"] == [2, 3]
    assert [word["space"] for word in shown["words"]] == [True] * 4
    given = _for_the_page(PageItem(place("今天。好 天", ["今天", "好", "天"]).to_dict()))
    assert [word["space"] for word in given["words"]] == [True, True, True]
    given = _for_the_page(PageItem(place("今天好 天", ["今天", "好", "天"]).to_dict()))
    assert [word["space"] for word in given["words"]] == [True, False, True]
    tokens = {**found, "words": []}
    assert _for_the_page(PageItem(tokens))["lines"] == [5, 7]  # 今, 天, |, 好, |, 天, |, 今
    assert not any(word["space"] for word in _for_the_page(PageItem(tokens))["words"])
    assert _for_the_page(PageItem(alignment("a", "b")))["lines"] == []
    spans = [{"start": 25, "end": 115}, {"start": 900, "end": 901}]  # the second has no word
    assert _for_the_page(PageItem({**alignment("a", "b"), "lines": spans}))["lines"] == []


def test_lines_begin_at_their_first_word() -> None:
    """Also if words have one frame and times are rounded. An empty line or one before the first word begins none."""
    frames = [{"text": "a", "start": at, "end": at + 1, "confidence": 0.5} for at in range(60)]
    values = {"text": "", "tokens": frames, "words": [], "frames": 60, "frame_duration": 0.1, "offset": 5.0}

    def found(*starts: int) -> list[int]:
        lines = [{"start": at, "end": at} for at in starts]
        return _for_the_page(PageItem({**values, "lines": lines}))["lines"]

    assert found(*range(60)) == list(range(1, 60))
    assert found(1, 2, 2, 7, 60) == [2, 7]
    assert found(0, 0, 1) == [1]
    assert found(30) == found() == []


def test_an_item_without_a_frame() -> None:
    shown = _for_the_page(PageItem({"text": "", "tokens": [], "frames": 0, "frame_duration": 0.1, "offset": 5.0}))
    assert (shown["words"], shown["duration"]) == ([], 5.0)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.wav", "audio/wav"), ("a.FLAC", "audio/flac"), ("a.opus", "audio/ogg"), ("a.Ogg", "audio/ogg"),
        ("a.m4a", "audio/mp4"), ("a.mp3", "audio/mpeg"), ("a.recorded", "audio/wav"), ("a", "audio/wav"),
    ],
)  # fmt: skip
def test_audio_of_any_format(tmp_path: Path, name: str, kind: str) -> None:
    """The suffix of the name gives the media type; unknown suffixes are WAV."""
    (tmp_path / name).write_bytes(b"\0\xff sound")
    shown = _for_the_page(PageItem(alignment("a"), audio=str(tmp_path / name)))
    assert shown["audio"] == f"data:{kind};base64,AP8gc291bmQ="


def test_a_title_that_utf8_does_not_have(tmp_path: Path) -> None:
    write_page(tmp_path / "page.html", [PageItem(alignment("a"))], title="a\ud800b")
    assert "<title>a\ufffdb</title>" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_a_page_item_is_a_value() -> None:
    item = PageItem(alignment("a"))
    assert not hasattr(item, "__dict__")
    with pytest.raises(dataclasses.FrozenInstanceError):
        item.name = "b"  # type: ignore[misc]


WORD = {"text": "a", "start": 0, "end": 1, "tokens": [0, 1], "confidence": 0.5}
TOKEN = {"text": "a", "start": 0, "end": 1, "id": 1, "confidence": 0.5}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tokens": None}, "'tokens' is None, but must be a list"),
        ({"tokens": "abc"}, "'tokens' is 'abc', but must be a list"),
        ({"tokens": [7]}, r"tokens\[0\] is 7, but must be an object"),
        ({"words": [{**WORD, "text": None}]}, r"words\[0\]: 'text' is None, but must be a text"),
        ({"words": [{**WORD, "text": 5}]}, r"words\[0\]: 'text' is 5"),
        ({"words": [WORD, {**WORD, "start": "x"}]}, r"words\[1\]: 'start' is 'x', but must be a whole number"),
        ({"words": [{**WORD, "start": 0.5}]}, "'start' is 0.5"),
        ({"words": [{**WORD, "start": True}]}, "'start' is True"),
        ({"words": [{**WORD, "start": -1}]}, "from frame -1 to 1"),
        ({"words": [{**WORD, "end": 10**400}]}, "'end' is 10+"),
        ({"words": [{**WORD, "start": 3, "end": 2}]}, "from frame 3 to 2"),
        ({"words": [{**WORD, "tokens": [0, 2]}]}, r"'tokens' is \[0, 2\], but must be two numbers from 0 to 1"),
        ({"words": [{**WORD, "tokens": [1, 0]}]}, r"'tokens' is \[1, 0\]"),
        ({"words": [{**WORD, "tokens": [0]}]}, r"'tokens' is \[0\]"),
        ({"words": [{**WORD, "tokens": "01"}]}, "'tokens' is '01'"),
        ({"words": [{**WORD, "confidence": 1.5}]}, "'confidence' is 1.5, but must be from 0 to 1"),
        ({"words": [{**WORD, "confidence": float("nan")}]}, "'confidence' is nan"),
        ({"words": [{**WORD, "confidence": "high"}]}, "'confidence' is 'high'"),
        ({"words": [{**WORD, "start": 5, "end": 6}, WORD]}, "its words do not start one after the other"),
        ({"frames": None}, "'frames' is None, but must be a whole number"),
        ({"frames": -1}, "'frames' is -1"),
        ({"frame_duration": 0}, "'frame_duration' is 0.0, but must be positive"),
        ({"frame_duration": -0.1}, "'frame_duration' is -0.1"),
        ({"frame_duration": float("inf")}, "'frame_duration' is inf, but must be a finite number"),
        ({"frame_duration": "0.02"}, "'frame_duration' is '0.02'"),
        ({"frame_duration": 1e15}, "a time is 1e.15 s, but must be below 100,000 hours"),
        ({"offset": float("nan")}, "'offset' is nan"),
        ({"offset": 1e15}, "a time is 1e.15 s"),
        ({"lines": 5}, "'lines' is 5, but must be a list"),
        ({"lines": [{"start": 0}]}, r"lines\[0\]: 'end' is missing"),
    ],
    ids=str,
)
def test_untrusted_values(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    """The message names the item and the value; nothing is written."""
    values = {"text": "a", "words": [WORD], "tokens": [TOKEN], "frames": 1, "frame_duration": 0.1, "offset": 0.0}
    write_page(tmp_path / "good.html", [PageItem(values, "good")])
    items = [PageItem(values, "good"), PageItem({**values, **change}, "bad <one>")]
    with pytest.raises(ArgumentValueError, match=f"item 'bad <one>' is no alignment that can be shown: .*{message}"):
        write_page(tmp_path / "page.html", items)
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize("key", ["tokens", "frames"])
def test_missing_values(key: str, tmp_path: Path) -> None:
    values = alignment("a")
    del values[key]
    with pytest.raises(ArgumentValueError, match=f"item 'x' is no .*: '{key}' is missing"):
        write_page(tmp_path / "page.html", [PageItem(values, "x")])
    values = alignment("a")
    del values["words"][0]["text"]
    with pytest.raises(ArgumentValueError, match=r"words\[0\]: 'text' is missing"):
        write_page(tmp_path / "page.html", [PageItem(values, "x")])


def test_untrusted_types(tmp_path: Path) -> None:
    for item, message in (
        (PageItem([1], "x"), "the alignment of a PageItem is a list, but must be a Mapping"),  # type: ignore[arg-type]
        (PageItem(alignment("a"), 5), "the name of a PageItem is a int, but must be a str"),  # type: ignore[arg-type]
    ):
        with pytest.raises(ArgumentTypeError, match=message):
            write_page(tmp_path / "page.html", [item])


def test_the_page_is_written_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If writing fails, the old page stays as it was, and there is no partial file."""
    page = tmp_path / "page.html"
    write_page(page, [PageItem(alignment("one"), "item")])
    before = page.read_bytes()

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="No space left"):
        write_page(page, [PageItem(alignment("two"), "item")])
    assert page.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_the_policy_names_style_and_script(tmp_path: Path) -> None:
    """The policy allows the style and script of the page, by their digests, and data in the file, and nothing else."""
    page = tmp_path / "page.html"
    write_page(page, [PageItem(alignment("one"), "item")])
    text = page.read_text(encoding="utf-8")
    policy = re.search(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">', text)
    assert policy is not None
    assert policy.start() < text.index("<style")
    rules = dict(rule.split(" ", 1) for rule in html.unescape(policy[1]).split("; "))
    for name, tag in (("style-src", "style"), ("script-src", "script")):
        content = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        assert len(content) == 1
        digest = base64.b64encode(hashlib.sha256(content[0].encode()).digest()).decode()
        assert rules.pop(name) == f"'sha256-{digest}'"
    assert rules == {
        "default-src": "'none'", "img-src": "data:", "media-src": "data: blob:", "base-uri": "'none'",
        "form-action": "'none'",
    }  # fmt: skip
    assert not re.search(r"\son[a-z]+=|\sstyle=|javascript:", text[: text.index("<script")])


# --------------------------------------------------------------------------------------------------------- a browser

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--mute-audio",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--window-size=1100,800",
    "--autoplay-policy=no-user-gesture-required",
)  # fmt: skip


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    webdriver = pytest.importorskip("selenium.webdriver")
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    chromedriver = shutil.which("chromedriver")
    if browser is None or chromedriver is None:
        pytest.skip("there is no Chromium, or no chromedriver")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(chromedriver))
    yield driver
    driver.quit()


class Page:
    """A page in the browser."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def run(self, script: str) -> Any:
        return self.driver.execute_script(script)

    def until(self, script: str, good: Callable[[Any], bool] = bool) -> Any:
        end = time.monotonic() + 10
        while not good(value := self.run(f"return {script}")):
            assert time.monotonic() < end, f"{script} is still {value}"
            time.sleep(0.02)
        return value

    def press(self, *keys: str) -> None:
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.driver).send_keys(*keys).perform()

    def click_word(self, index: int) -> None:
        self.driver.find_elements("css selector", "#words button")[index].click()

    def current_word(self) -> str | None:
        value: str | None = self.run("return document.querySelector('[aria-current=true]')?.textContent ?? null")
        return value

    def position(self) -> float:
        return float(self.run("return Number(document.getElementById('seek').value)"))


@pytest.fixture
def show(driver: Any, tmp_path: Path) -> Iterator[Callable[..., Page]]:
    """Write items to a page and open it. The test fails if the browser logs a message."""

    def show(*items: PageItem, title: str = "Test") -> Page:
        write_page(tmp_path / "page.html", items, title=title)
        driver.get((tmp_path / "page.html").as_uri())
        return Page(driver)

    driver.get_log("browser")
    yield show
    assert driver.get_log("browser") == []


def test_the_highlight_follows_the_audio(show: Callable[..., Page], tmp_path: Path) -> None:
    page = show(PageItem(alignment("one", "two", "three"), "item", tone(tmp_path / "a.wav")))
    page.until("audio.readyState", lambda state: state >= 1)
    assert page.run("return audio.duration") == pytest.approx(4.0)
    words = {0.1: None, 0.6: "one", 1.4: None, 1.51: "two", 2.29: "two", 2.4: None, 2.6: "three", 3.9: None}
    for seconds, word in words.items():
        page.run(f"audio.currentTime = {seconds}")
        page.until(f"Number(document.getElementById('seek').value) === {seconds} && !audio.seeking")
        assert page.current_word() == word, seconds

    # The page itself records the highlighted words: requests of the driver take too long.
    page.run("""
      window.seen = [];
      const note = (changes) => changes.forEach(({ target }) => {
        if (target.ariaCurrent) seen.push([target.textContent, audio.currentTime]);
      });
      new MutationObserver(note).observe(document.getElementById("words"), { subtree: true, attributes: true });
      audio.currentTime = 0.4;
      document.getElementById("play").click();
    """)
    seen = page.until("window.seen", lambda seen: len(seen) >= 2)
    assert [word for word, _ in seen[:2]] == ["one", "two"]
    assert 0.5 <= seen[0][1] < 1.3
    assert 1.5 <= seen[1][1] < 2.3
    assert page.run("return document.getElementById('play').getAttribute('aria-label')") == "Stop"
    page.press(" ")
    page.until("audio.paused")


def test_a_click_on_a_word_goes_there(show: Callable[..., Page], tmp_path: Path) -> None:
    page = show(PageItem(alignment("one", "two", "three"), "item", tone(tmp_path / "a.wav")))
    page.until("audio.readyState", lambda state: state >= 1)
    page.click_word(1)
    assert page.until("audio.currentTime", lambda now: now > 0) == pytest.approx(1.5)
    assert page.current_word() == "two"
    assert "1.500 \u2013 2.300 s" in page.run("return document.getElementById('detail').textContent")
    assert "90%" in page.run("return document.getElementById('detail').textContent")
    box = page.run("const b = strip.getBoundingClientRect(); return [b.x, b.y, b.width, b.height]")
    from selenium.webdriver.common.action_chains import ActionChains

    strip = page.driver.find_element("id", "strip")
    ActionChains(page.driver).move_to_element_with_offset(strip, round(box[2] / 4), 0).click().perform()
    assert page.until("audio.currentTime", lambda now: now > 2.5) == pytest.approx(3.0, abs=0.02)


def test_the_waveform_is_drawn(show: Callable[..., Page], tmp_path: Path) -> None:
    """A loud second half: there the strip has more of the wave's colour."""
    import numpy as np

    from ctckit.cli.demo import write_wav

    samples = np.sin(np.arange(64_000) * 0.2) * np.where(np.arange(64_000) < 32_000, 0.05, 0.8)
    write_wav(tmp_path / "a.wav", samples)
    page = show(PageItem(alignment("one", "two"), "item", tmp_path / "a.wav"))
    count = """(() => {
      const w = strip.width, h = strip.height, data = strip.getContext('2d').getImageData(0, 0, w, h).data;
      const wanted = getComputedStyle(document.documentElement).getPropertyValue('--wave').trim();
      const rgb = [1, 3, 5].map((i) => parseInt(wanted.slice(i, i + 2), 16));
      const halves = [0, 0];
      for (let y = 0; y < h; y++) for (let x = 0; x < w; x++)
        if (rgb.every((c, i) => data[4 * (y * w + x) + i] === c)) halves[x < w / 2 ? 0 : 1]++;
      return halves;
    })()"""
    quiet, _ = page.until(count, lambda halves: halves[1] > 3 * halves[0])
    assert quiet > 0


def test_without_audio_there_is_a_clock(show: Callable[..., Page]) -> None:
    page = show(PageItem(alignment("one", "two", "three"), "item"))
    assert "no audio" in page.run("return document.getElementById('facts').textContent")
    page.run("seek.value = 1.6; seek.dispatchEvent(new Event('input'))")
    assert page.current_word() == "two"
    page.run("seek.value = 3.9; seek.dispatchEvent(new Event('input'))")
    assert page.current_word() is None
    page.press(" ")
    page.until("Number(document.getElementById('seek').value)", lambda position: position == pytest.approx(4.0))
    page.until("document.getElementById('play').getAttribute('aria-label')", lambda label: label == "Play")
    page.press(" ")  # from the start again
    page.until("document.querySelector('[aria-current=true]')?.textContent", lambda word: word == "one")
    page.press(" ")


def test_keys(show: Callable[..., Page]) -> None:
    from selenium.webdriver.common.keys import Keys

    values = alignment("one", "two", "three")
    values["words"][2]["confidence"] = 0.2
    page = show(PageItem(values, "item"))
    seen = []
    for key in (Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_LEFT, "n", Keys.HOME):
        page.press(key)
        seen.append(page.current_word())
    assert seen == ["one", "two", "one", "three", None]
    assert page.position() == 0
    focused = "document.activeElement.textContent"
    assert page.run(f"return {focused}") == "three"
    # One stop of the tab key for all words.
    assert page.run("return [...document.querySelectorAll('#words button')].map((b) => b.tabIndex)") == [-1, -1, 0]
    assert page.run("return document.querySelectorAll('#words button.unsure').length") == 1


def choose(page: Page, index: int) -> None:
    page.run(
        f"const list = document.getElementById('items'); list.selectedIndex = {index};"
        f"list.dispatchEvent(new Event('change'))"
    )


def test_several_items_frames_and_tokens(show: Callable[..., Page], tmp_path: Path) -> None:
    """With audio, then one without seconds, then one without words or confidences; and an empty one."""
    no_words = {**alignment("a", "b", confidence=None), "words": []}
    items = [
        PageItem(alignment("one"), "first", tone(tmp_path / "a.wav")),
        PageItem(alignment("x", "y", duration=None), "second"),
        PageItem(no_words, "third"),
        PageItem(alignment(), "fourth"),
    ]
    page = show(*items)
    choose(page, 1)
    page.click_word(1)
    assert page.current_word() == "y"
    assert "frames 75 \u2013 115" in page.run("return document.getElementById('detail').textContent")
    choose(page, 2)
    assert page.run("return document.querySelectorAll('#words button').length") == 2
    assert "2 tokens" in page.run("return document.getElementById('facts').textContent")
    choose(page, 3)
    assert page.run("return document.querySelectorAll('#words button').length") == 0
    assert page.run("return document.getElementById('name').textContent") == "fourth"


@pytest.fixture
def narrow(driver: Any) -> Iterator[None]:
    """Emulate a telephone with a screen of 390 x 844 pixels."""
    metrics = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    yield
    driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.usefixtures("narrow")
def test_nothing_is_wider_than_390_pixels(show: Callable[..., Page]) -> None:
    """Names, words and titles are long, and a word has many tokens."""
    values = alignment("one", "uncharacteristically" * 4, *["three"] * 40, confidence=0.3)
    values["words"][0]["tokens"] = [0, 42]
    name = "A recording with a very long name, " * 4
    page = show(PageItem(values, name), PageItem(values, "x" * 99), title="A page with a very long title " * 4)
    for item in (0, 1):
        choose(page, item)
        page.click_word(0)
        assert page.run("return [innerWidth, document.documentElement.scrollWidth]") == [390, 390]
        wide = page.run("""
          return [...document.querySelectorAll("body *:not(td):not(tr):not(tbody)")].filter((element) => {
            const box = element.getBoundingClientRect();
            return box.width > 0 && (box.left < 0 || box.right > 390);
          }).map((element) => element.outerHTML);
        """)
        assert wide == []


# Pixels between the middle of the current word and the middle of the space between player and details.
OFF_CENTRE = """(() => {
  const box = (element) => element.getBoundingClientRect();
  const word = box(document.querySelector("[aria-current=true]"));
  const [top, bottom] = [box(document.querySelector(".player")).bottom, box(document.getElementById("detail")).top];
  return Math.abs((word.top + word.bottom) / 2 - (top + bottom) / 2);
})()"""


@pytest.mark.usefixtures("narrow")
def test_the_current_word_is_centred_until_the_user_scrolls(show: Callable[..., Page]) -> None:
    page = show(PageItem(alignment(*["uncharacteristically"] * 80), "item"))
    page.run("document.querySelectorAll('#words button')[40].click(); document.getElementById('play').click()")
    hidden = "document.getElementById('follow').hidden"
    assert page.run(f"return {hidden}")
    index = "[...document.querySelectorAll('#words button')].findIndex((word) => word.ariaCurrent)"
    page.until(index, lambda number: number >= 42)  # the highlight went on
    page.until(OFF_CENTRE, lambda distance: distance < 16)

    page.run("window.dispatchEvent(new WheelEvent('wheel', { deltaY: 900 })); scrollTo(0, 0)")
    at_first = page.run(f"return {index}")
    page.until(index, lambda number: number >= at_first + 2)
    assert page.run("return scrollY") < 20  # the rest of a smooth scroll
    assert not page.run(f"return {hidden}")
    assert page.run(f"return {OFF_CENTRE}") > 400

    page.driver.find_element("id", "follow").click()
    page.until(hidden)
    page.until(OFF_CENTRE, lambda distance: distance < 16)
    page.press("\ue00f")  # page down
    page.until(hidden, lambda hidden: not hidden)
    page.press(" ", " ")  # stop and play
    page.until(hidden)
    page.until(OFF_CENTRE, lambda distance: distance < 16)
    page.press(" ")


def test_what_is_unsure_does_not_depend_on_colour(show: Callable[..., Page]) -> None:
    """Below 50%: a dotted underline in the text, the strip and the tokens, and words for screen readers."""
    values = alignment("one", "two", "three", "four")
    for row, confidence in enumerate((0.9, 0.49, 0.5, 0.1)):
        values["words"][row]["confidence"] = values["tokens"][row]["confidence"] = confidence
    page = show(PageItem(values, "item"), PageItem(alignment("sure"), "second"), PageItem(alignment(), "third"))
    words = page.driver.find_elements("css selector", "#words button")
    assert [word.accessible_name for word in words] == ["one", "two, unsure", "three", "four, unsure"]
    assert [word.get_attribute("title") for word in words] == [
        "confidence 90%", "unsure: confidence 49%", "confidence 50%", "unsure: confidence 10%",
    ]  # fmt: skip
    assert [word.value_of_css_property("text-decoration-style") for word in words] == ["solid", "dotted"] * 2
    legend = page.driver.find_element("css selector", ".legend")
    assert "dotted underline: unsure, below 50%" in legend.text
    sample = legend.find_element("css selector", "u")
    assert sample.value_of_css_property("text-decoration-style") == "dotted"

    # Dark dots on the strip: some at the bottom of the two unsure words, none in the others.
    dots = page.run("""
      const y = 24 * devicePixelRatio, high = 3 * devicePixelRatio, wide = strip.width;
      const { data } = strip.getContext("2d").getImageData(0, y, wide, high);
      const isDark = (k) => data[4 * k + 3] && data[4 * k] + data[4 * k + 1] + data[4 * k + 2] < 250;
      const dark = [...Array(wide * high).keys()].filter(isDark).map((k) => 5 * (k % wide) / wide);  // seconds
      return [0.5, 1.5, 2.5, 3.5].map((start) => dark.filter((t) => start < t && t < start + 0.8).length);
    """)
    assert [count > 20 for count in dots] == [False, True, False, True]

    page.driver.find_element("id", "unsure").click()
    assert page.run("return document.getElementById('unsure').textContent") == "2 unsure"
    assert page.current_word() == "two"
    assert "unsure: confidence 49%" in page.run("return document.getElementById('detail').textContent")
    assert page.run("return document.querySelector('#detail td').className") == "unsure"
    page.driver.find_element("id", "unsure").click()
    assert page.current_word() == "four"
    page.click_word(2)
    assert page.run("return document.querySelectorAll('#detail .unsure').length") == 0
    for item in (1, 2):
        choose(page, item)
        assert page.run("return document.getElementById('unsure').hidden")


def test_hostile_texts_are_shown_as_they_are(show: Callable[..., Page]) -> None:
    page = show(PageItem(alignment(HOSTILE), HOSTILE), title=HOSTILE)
    assert page.run("return document.title").startswith(HOSTILE[:20])
    assert page.run("return document.querySelector('#words button').textContent") == HOSTILE
    assert page.run("return document.getElementById('name').textContent") == HOSTILE
    assert page.run("return document.querySelectorAll('b').length") == 0


HOSTILE_TEXTS = [
    "</script><script>window.broken=1</script>", "<!--<script>", "]]>", "<img src=x onerror=window.broken=1>",
    "\u2028\u2029", "a\x00b", "a\ud800b", "&lt;b&gt;", "{{ 7 * 7 }}", "{% include 'x' %}", "\\u003c", "${1}", "`",
    "</title><b>x</b>", "__proto__", "javascript:window.broken=1", "😀", "\u202egnp.exe",
]  # fmt: skip


def test_nothing_in_a_text_is_markup(show: Callable[..., Page]) -> None:
    """As word, token, name and title."""
    for text in HOSTILE_TEXTS:
        page = show(PageItem(alignment(text), text), PageItem(alignment("b"), text), title=text)
        page.click_word(0)
        for where in ("#words button", "#name", "#detail td", "#items option:last-child"):
            # As JSON, since lone surrogates do not come through the driver.
            shown = page.run(f"return JSON.stringify(document.querySelector('{where}').textContent)")
            assert json.loads(shown) == text
        assert page.run("return document.querySelectorAll('script').length") == 2
        assert (
            page.run("return document.querySelectorAll('img, iframe, h1 *, #words b, .line > :not(button)').length")
            == 0
        )
        assert page.run("return window.broken === undefined")


def test_the_policy_holds(driver: Any, tmp_path: Path) -> None:
    """Injected scripts do not run, nothing is loaded from the network, and the browser reports each violation."""
    write_page(tmp_path / "page.html", [PageItem(alignment("one"), "item")])
    driver.get((tmp_path / "page.html").as_uri())
    blocked = driver.execute_async_script("""
      const done = arguments[0], seen = [];
      document.addEventListener("securitypolicyviolation", (event) => seen.push(event.effectiveDirective));
      const script = document.createElement("script");
      script.textContent = "window.broken = 1";
      document.body.append(script);
      const box = document.createElement("div");
      box.innerHTML = '<img src="http://127.0.0.1:9/x.png"><b style="color: red" onclick="window.broken = 1">x</b>'
        + '<iframe src="http://127.0.0.1:9/"></iframe>';
      document.body.append(box);
      box.querySelector("b").click();
      const style = document.createElement("link");
      style.rel = "stylesheet";
      style.href = "http://127.0.0.1:9/x.css";
      document.head.append(style);
      const sound = document.createElement("audio");
      sound.src = "http://127.0.0.1:9/x.wav";
      document.body.append(sound);
      sound.load();
      fetch("http://127.0.0.1:9/").catch(() => {});
      setTimeout(() => done([...new Set(seen)].sort()), 500);
    """)
    driver.get_log("browser")
    assert blocked == [
        "connect-src", "frame-src", "img-src", "media-src", "script-src-attr", "script-src-elem", "style-src-attr",
        "style-src-elem",
    ]  # fmt: skip
    assert driver.execute_script("return window.broken === undefined")


def order(page: Page) -> list[list[str]]:
    """Return the words of each line, from left to right as they stand on the screen."""
    lines: list[list[str]] = page.run(
        "return [...document.querySelectorAll('#words .line')].map((line) => [...line.children].sort((a, b) =>"
        "a.getBoundingClientRect().left - b.getBoundingClientRect().left).map((button) => button.textContent))"
    )
    return lines


def test_right_to_left(show: Callable[..., Page]) -> None:
    """Words stand from right to left, and the left arrow goes to the next one."""
    from selenium.webdriver.common.keys import Keys

    page = show(PageItem(alignment("שלום", "OK.", "עולם!"), "פריט"))
    assert order(page) == [["עולם!", "OK.", "שלום"]]
    assert page.run("return [...document.querySelectorAll('#words button')].map((b) => b.dir)") == ["auto"] * 3
    direction = "getComputedStyle(document.querySelectorAll('#words button')[{}]).direction"
    assert [page.run(f"return {direction.format(i)}") for i in range(3)] == ["rtl", "ltr", "rtl"]
    assert page.run("return getComputedStyle(document.getElementById('name')).direction") == "rtl"
    seen = []
    for key in (Keys.ARROW_LEFT, Keys.ARROW_LEFT, Keys.ARROW_RIGHT, Keys.ARROW_LEFT, Keys.ARROW_LEFT, Keys.ARROW_LEFT):
        page.press(key)
        seen.append(page.current_word())
    assert seen == ["שלום", "OK.", "שלום", "OK.", "עולם!", "עולם!"]


def test_lines_on_the_page(show: Callable[..., Page]) -> None:
    """Each line of the transcript has its own line and direction. The arrow keys follow the direction of the word."""
    from selenium.webdriver.common.keys import Keys

    page = show(PageItem(say("ab cd\n\nשלום עולם\nef").to_dict(), "item"))  # noqa: RUF001
    assert order(page) == [["ab", "cd"], ["עולם", "שלום"], ["ef"]]
    tops = page.run("return [...document.querySelectorAll('.line')].map((line) => line.getBoundingClientRect().top)")
    assert tops == sorted(set(tops))
    assert len(tops) == 3
    seen = []
    for key in (
        Keys.ARROW_RIGHT,
        Keys.ARROW_RIGHT,
        Keys.ARROW_RIGHT,
        Keys.ARROW_LEFT,
        Keys.ARROW_LEFT,
        Keys.ARROW_RIGHT,
    ):
        page.press(key)
        seen.append(page.current_word())
    assert seen == ["ab", "cd", "שלום", "עולם", "ef", "ef"]


def test_spaces_on_the_page(show: Callable[..., Page]) -> None:
    """Words without a space between them in the text have none on the page. A selection is the text."""
    page = show(PageItem(place("今天好 天", ["今天", "好", "天"]).to_dict(), "item"))
    assert page.run("return document.querySelector('.line').textContent.trim()") == "今天好 天"
    page = show(PageItem(alignment("one", "two"), "item"))
    assert page.run("return document.querySelector('.line').textContent.trim()") == "one two"


def test_light_and_dark(show: Callable[..., Page]) -> None:
    page = show(PageItem(alignment("one"), "item"))
    background = "getComputedStyle(document.body).backgroundColor"
    first = page.run(f"return {background}")
    page.run("document.getElementById('theme').click()")
    second = page.run(f"return {background}")
    page.run("document.getElementById('theme').click()")
    assert page.run(f"return {background}") == first != second
