"""The page in a browser: texts, lines and directions, layout, and colours."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ctckit.page import PageItem
from tests.page.alignments import alignment
from tests.page.browser import Page, choose
from tests.tools.known_times import place, say

pytest.importorskip("jinja2")


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


def test_light_and_dark(show: Callable[..., Page]) -> None:
    page = show(PageItem(alignment("one"), "item"))
    background = "getComputedStyle(document.body).backgroundColor"
    first = page.run(f"return {background}")
    page.run("document.getElementById('theme').click()")
    second = page.run(f"return {background}")
    page.run("document.getElementById('theme').click()")
    assert page.run(f"return {background}") == first != second


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
