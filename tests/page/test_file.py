"""The file of a page: it needs nothing else, texts are escaped, and it is written whole."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import html
import re
from pathlib import Path

import pytest

from ctckit.page import PageItem, _for_the_page, write_page
from tests.page.alignments import HOSTILE, alignment, tone

pytest.importorskip("jinja2")


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
