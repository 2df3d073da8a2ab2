"""A decoding on a page: its reference, its error rates and its hypotheses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ctckit.page import PageItem, _for_the_page
from tests.page.alignments import HOSTILE, alignment
from tests.page.browser import Page, choose

pytest.importorskip("jinja2")


def hypothesis(text: str, score: float | None, confidence: float | None) -> dict[str, Any]:
    values = {"text": text, "score": score, "confidence": confidence}
    return {name: value for name, value in values.items() if value is not None}


def item(*rows: dict[str, Any], name: str = "a", **fields: Any) -> PageItem:
    decoding = {**rows[0], **({"nbest": list(rows)} if len(rows) > 1 else {}), **fields}
    return PageItem(alignment(*rows[0]["text"].split()), name, decoding=decoding)


REFERENCE = {"text": "a bat", "words": 2, "word_errors": 1, "wer": 0.5, "cer": 0.2}


def test_what_is_shown_of_a_decoding() -> None:
    shown = _for_the_page(item(hypothesis("a b", -0.5, 0.6), hypothesis("a", None, None), reference=REFERENCE))
    assert shown["hypotheses"] == [["a b", -0.5, 0.6], ["a", None, None]]
    assert shown["reference"] == ["a bat", 0.5, 0.2]
    shown = _for_the_page(item(hypothesis("a b", -0.5, 0.6), reference={"text": ""}))
    assert (shown["hypotheses"], shown["reference"]) == ([], ["", None, None])
    shown = _for_the_page(PageItem(alignment("a")))
    assert (shown["hypotheses"], shown["reference"]) == ([], None)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"nbest": 5}, "its decoding: 'nbest' is 5, but must be a list"),
        ({"nbest": [{}]}, "'text' is missing"),
        ({"nbest": [{"text": "a", "score": "x"}]}, "'score' is 'x', but must be a finite number"),
        ({"nbest": [{"text": "a", "confidence": 2}]}, "'confidence' is 2"),
        ({"reference": "a"}, "the reference of its decoding is 'a', but must be an object"),
        ({"reference": {"text": 5}}, "'text' is 5, but must be a text"),
        ({"reference": {"text": "a", "wer": float("inf")}}, "'wer' is inf, but must be a finite number"),
    ],
)
def test_values_are_checked(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match="item 'a' is no alignment that can be shown") as caught:
        _for_the_page(item(hypothesis("a", -0.5, 0.6), **fields))
    assert message in str(caught.value)
    with pytest.raises(ValueError, match="its decoding is 'text'"):
        _for_the_page(PageItem(alignment("a"), "a", decoding="text"))  # type: ignore[arg-type]


def text_of(page: Page, selector: str) -> list[str]:
    return [element.text for element in page.driver.find_elements("css selector", selector)]


def test_in_the_browser(show: Callable[..., Page]) -> None:
    several = item(hypothesis("a bad", -0.5, 0.6), hypothesis(HOSTILE, -1.25, 0.29), reference=REFERENCE)
    page = show(several, item(hypothesis("a", None, None), name="b"), PageItem(alignment(), "silence", decoding={}))
    assert text_of(page, "#words button") == ["a", "bad"]
    assert text_of(page, "#decoding h3, #decoding p") == [
        "Reference · word error rate 50.0% · character error rate 20.0%", "a bat"
    ]  # fmt: skip
    rows = [text_of(page, f"#decoding tbody tr:nth-child({number}) td") for number in (1, 2)]
    assert rows[0] == ["a bad", "-0.50", "60%"]
    assert (rows[1][0][:9], rows[1][1:]) == ("</script>", ["-1.25", "29%"])
    for index in (1, 2):
        choose(page, index)
        assert not page.driver.find_element("css selector", "#decoding").is_displayed()
    assert text_of(page, "#words button") == []
    choose(page, 0)
    assert page.driver.find_element("css selector", "#decoding").is_displayed()
