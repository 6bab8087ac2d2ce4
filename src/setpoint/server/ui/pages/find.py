"""Finding things by id or name, and saying so where there is nothing."""

from urllib.parse import urlencode

from setpoint.control.why import Why, trace
from setpoint.errors import NotFound
from setpoint.server.ui import queries
from setpoint.server.ui.page import Ask, Page, Redirect, Table

_PATHS = {"run": "/runs/", "rel": "/releases/", "alm": "/alarms/"}
_ID_LENGTH = 26


def search(ask: Ask) -> Page | Redirect:
    """Go to what is named, or list what matches."""
    text = ask.query.get("q", "").strip()
    prefix, _, rest = text.partition("_")
    if prefix in _PATHS and len(rest) == _ID_LENGTH:
        return Redirect(to=f"{_PATHS[prefix]}{text}")
    found = ask.read(queries.ids_like, text) if text else []
    if len(found) == 1:
        return Redirect(to=found[0][2])
    if text and not found and _traced(ask, text):
        return Redirect(to=f"/why?{urlencode({'id': text})}")
    return Page(
        template="search.html",
        title="Search",
        active="",
        values={"text": text, "found": found},
        tables={
            "found": Table(columns=["kind", "name", "path"], rows=[list(each) for each in found])
        },
    )


def _traced(ask: Ask, text: str) -> bool:
    """Tell whether the text is an id that only the record knows, as a prediction's."""
    try:
        ask.call(trace, Why(id=text))
    except NotFound:
        return False
    return True


def missing(ask: Ask) -> Page:
    """Say that there is no such page."""
    raise NotFound(f"there is no page {ask.path}", hint="search with the / key, or start over")
