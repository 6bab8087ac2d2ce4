"""The card of a version: read, changed beside how it will look, and taken along."""

import re
from typing import Any
from urllib.parse import quote

from setpoint.errors import Invalid
from setpoint.models.cards.service import Card, ShowCard, WriteCard, show, write
from setpoint.server.ui import markdown, words
from setpoint.server.ui.page import Answer, Ask, Download, Page, Redirect

#: Ways to take a card along, with their media types.
_SAVED = {"md": "text/markdown; charset=utf-8", "html": "text/html; charset=utf-8"}


def card(ask: Ask) -> Answer:
    """Show the card of a version; with ``?edit`` its makers' words, to be changed."""
    wanted = ask.query.get("saved", "")
    cmd = ShowCard(model=ask.params["model"], number=ask.params["number"], html=wanted == "html")
    found: Card = ask.call(show, cmd)
    if wanted in _SAVED:
        return _file(found, wanted)
    return _page(found, found.words, editing="edit" in ask.query)


def change(ask: Ask) -> Answer:
    """Keep what the form holds, or show how it will look."""
    model, number = ask.params["model"], ask.params["number"]
    said, what = ask.form.get("words", "").replace("\r\n", "\n"), ask.form.get("do", "")
    if what == "preview":
        return _page(ask.call(show, ShowCard(model=model, number=number)), said, editing=True)
    if what != "save":
        raise Invalid(f"a card cannot be changed by {what!r}", hint="save or preview")
    ask.call(write, WriteCard(model=model, number=number, words=said.strip()))
    return Redirect(to=f"/models/{quote(model)}/{number}/card")


def _file(found: Card, wanted: str) -> Download:
    content = found.html if wanted == "html" else found.markdown
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", found.model).strip("-") or "model"
    return Download(
        media=_SAVED[wanted],
        parts=iter([content.encode()]),
        name=f"{name}-{found.number}.{wanted}",
    )


def _page(found: Card, said: str, *, editing: bool) -> Page:
    values: dict[str, Any] = {"card": found, "words": said, "editing": editing}
    if editing:
        values["html"] = markdown.render(said, person=words.person)
    else:
        values["html"] = markdown.render(_below_its_title(found.markdown), person=words.person)
    return Page(
        template="card.html",
        title=f"Card of {found.model} v{found.number}",
        active="Models",
        values=values,
    )


def _below_its_title(text: str) -> str:
    """Return a card without its first line, which the page says itself."""
    return text.partition("\n")[2]
