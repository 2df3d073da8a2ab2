"""The page of ``--html``: the items on it, the file that it may replace, and the audio that it may embed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ctckit.corpus import CorpusError, Item, Outcome, read_manifest
from ctckit.corpus.results import read_results
from ctckit.errors import ArgumentValueError
from ctckit.page import PageItem, write_page

__all__ = ["PageFile", "refuse_other_files"]

_MARK = b'<meta name="generator" content="ctckit">'


def refuse_other_files(path: Path) -> None:
    """Raise an error if a file exists that is not a page of this program.

    Raises:
        CorpusError: if it does. The message names the file.
    """
    try:
        if path.is_dir():
            raise CorpusError(f"the page cannot be written to {str(path)!r}: it is a folder")
        if not path.is_file():
            return
        with path.open("rb") as file:
            beginning = file.read(4096)
    except OSError as error:
        raise CorpusError(f"the page cannot be written to {str(path)!r}: {error.strerror or error}") from error
    if beginning and _MARK not in beginning:
        raise CorpusError(f"{str(path)!r} exists, but is not a page of this program: name another file, or delete it")


class PageFile:
    """The first results, for the page: alignments, or decodings with one.

    Those of an earlier run are read from the results file.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.alignments: dict[str, dict[str, Any] | None] = {}

    def see(self, outcome: Outcome) -> None:
        """Add the result of an item done."""
        if outcome.result is not None and len(self.alignments) < self.count:
            self.alignments[outcome.id] = outcome.result

    def skip(self, item: Item) -> None:
        """Add an item with a result of an earlier run."""
        if len(self.alignments) < self.count:
            self.alignments[item.id] = None

    def write(self, path: Path, manifest: Path, output: Path | None, *, any_audio: bool) -> list[str] | None:
        """Write the page.

        Args:
            path: file to write.
            manifest: the manifest, which names the audio.
            output: the results file, for results of earlier runs.
            any_audio: whether to embed audio from outside the manifest's folder, too.

        Returns:
            For each audio file that is left out, the reason. None if there is no alignment to show, and no page.
        """
        wanted = {name for name, alignment in self.alignments.items() if alignment is None}
        if wanted and output is not None:
            self.alignments |= {entry["id"]: entry for entry in read_results(output) if entry["id"] in wanted}
        audio = dict.fromkeys(self.alignments) | self._audio(manifest)
        left_out: list[str] = []
        shown = []
        for name, alignment in self.alignments.items():
            if alignment is not None:
                allowed = _allowed(audio[name], manifest, left_out, any_audio=any_audio)
                decoding = alignment if "alignment" in alignment else None
                shown.append(PageItem(alignment.get("alignment", alignment), name, allowed, decoding))
        if not shown:
            return None
        title = manifest.stem if len(shown) > 1 else f"{manifest.stem}: {shown[0].name}"
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            write_page(path, shown, title=title)
        except ArgumentValueError as error:
            raise CorpusError(
                f"the page cannot be written: {error}; delete the line of this item in {str(output)!r}"
            ) from error
        return left_out

    def _audio(self, manifest: Path) -> dict[str, str | None]:
        audio: dict[str, str | None] = {}
        if self.alignments:
            for item in read_manifest(manifest):
                if item.id in self.alignments:
                    audio[item.id] = item.audio
                    if len(audio) == len(self.alignments):
                        break
        return audio


def _allowed(audio: str | None, manifest: Path, left_out: list[str], *, any_audio: bool) -> str | None:
    """Return the path of the audio if it may be embedded; None otherwise."""
    if audio is None:
        return None
    path = Path(audio).resolve()
    if not any_audio and not path.is_relative_to(manifest.resolve().parent):
        left_out.append(f"{audio!r} is outside the manifest's folder (--html-any-audio embeds it)")
    elif not path.is_file():
        left_out.append(f"{audio!r} is not a file")
    else:
        return audio
    return None
