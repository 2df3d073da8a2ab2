"""The page: what is in the file; and in a browser, that it plays, shows what is spoken, and goes where it is told."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ctckit.page import PageItem, write_page

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
    """Write items to a page and open it; at the end, there must be nothing on the browser's console."""

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

    page.run("audio.currentTime = 0.4; document.getElementById('play').click()")
    page.until("document.querySelector('[aria-current=true]')?.textContent", lambda word: word == "one")
    page.until("document.querySelector('[aria-current=true]')?.textContent", lambda word: word == "two")
    assert 1.5 <= page.run("return audio.currentTime") < 2.3
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


def test_hostile_texts_are_shown_as_they_are(show: Callable[..., Page]) -> None:
    page = show(PageItem(alignment(HOSTILE), HOSTILE), title=HOSTILE)
    assert page.run("return document.title").startswith(HOSTILE[:20])
    assert page.run("return document.querySelector('#words button').textContent") == HOSTILE
    assert page.run("return document.getElementById('name').textContent") == HOSTILE
    assert page.run("return document.querySelectorAll('b').length") == 0


def test_light_and_dark(show: Callable[..., Page]) -> None:
    page = show(PageItem(alignment("one"), "item"))
    background = "getComputedStyle(document.body).backgroundColor"
    first = page.run(f"return {background}")
    page.run("document.getElementById('theme').click()")
    second = page.run(f"return {background}")
    page.run("document.getElementById('theme').click()")
    assert page.run(f"return {background}") == first != second
