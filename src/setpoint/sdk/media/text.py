"""Texts."""

from setpoint.sdk.media.base import Drawn

_INSIDE = 10_000  #: characters that a manifest takes; a longer text is a file beside it


class Text:
    """A text: plain, or Markdown."""

    def __init__(self, text: str, *, markdown: bool = False) -> None:
        self._text = text
        self._markdown = markdown

    def drawn(self) -> Drawn:
        kind = {"format": "markdown" if self._markdown else "plain"}
        if len(self._text) <= _INSIDE:
            return Drawn(type="text", fields={**kind, "text": self._text})
        suffix = ".md" if self._markdown else ".txt"
        content = self._text.encode("utf-8", "replace")
        beginning = {"text": self._text[:_INSIDE]}
        return Drawn(type="text", fields={**kind, **beginning}, suffix=suffix, content=content)
