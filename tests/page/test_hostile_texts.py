"""The page in a browser: no text is markup, and the policy blocks what is injected."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ctckit.page import PageItem, write_page
from tests.page.alignments import HOSTILE, alignment
from tests.page.browser import Page

pytest.importorskip("jinja2")


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
