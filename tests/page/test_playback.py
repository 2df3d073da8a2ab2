"""The page in a browser: it plays, highlights the spoken word, and obeys the user."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ctckit.page import PageItem
from tests.page.alignments import alignment, tone
from tests.page.browser import Page, choose

pytest.importorskip("jinja2")


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


# Pixels between the middle of the current word and the middle of the space between player and details; null while no
# word is current.
OFF_CENTRE = """(() => {
  const box = (element) => element.getBoundingClientRect();
  const current = document.querySelector("[aria-current=true]");
  if (!current) return null;
  const word = box(current);
  const [top, bottom] = [box(document.querySelector(".player")).bottom, box(document.getElementById("detail")).top];
  return Math.abs((word.top + word.bottom) / 2 - (top + bottom) / 2);
})()"""


def is_centred(distance: float | None) -> bool:
    return distance is not None and distance < 16


@pytest.mark.usefixtures("narrow")
def test_the_current_word_is_centred_until_the_user_scrolls(show: Callable[..., Page]) -> None:
    page = show(PageItem(alignment(*["uncharacteristically"] * 80), "item"))
    page.run("document.querySelectorAll('#words button')[40].click(); document.getElementById('play').click()")
    hidden = "document.getElementById('follow').hidden"
    assert page.run(f"return {hidden}")
    index = "[...document.querySelectorAll('#words button')].findIndex((word) => word.ariaCurrent)"
    page.until(index, lambda number: number >= 42)  # the highlight went on
    page.until(OFF_CENTRE, is_centred)

    page.run("window.dispatchEvent(new WheelEvent('wheel', { deltaY: 900 })); scrollTo(0, 0)")
    at_first = page.until(index, lambda number: number >= 0)
    page.until(index, lambda number: number >= at_first + 2)
    assert page.run("return scrollY") < 20  # the rest of a smooth scroll
    assert not page.run(f"return {hidden}")
    assert page.until(OFF_CENTRE, lambda distance: distance is not None) > 400

    page.driver.find_element("id", "follow").click()
    page.until(hidden)
    page.until(OFF_CENTRE, is_centred)
    page.press("\ue00f")  # page down
    page.until(hidden, lambda hidden: not hidden)
    page.press(" ", " ")  # stop and play
    page.until(hidden)
    page.until(OFF_CENTRE, is_centred)
    page.press(" ")
