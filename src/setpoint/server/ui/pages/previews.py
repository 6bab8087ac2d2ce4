"""Files that runs left: sent as what they are, and looked at without being saved."""

import csv
import io
import itertools
import mimetypes
from typing import Any
from urllib.parse import quote

import msgspec
from markupsafe import Markup
from msgspec import Struct, field

from setpoint.artifacts.store import open_store
from setpoint.errors import NotFound, SetpointError
from setpoint.runs.entities import Artifact, Run
from setpoint.runs.service import ListArtifacts, artifacts
from setpoint.server.ui import markdown
from setpoint.server.ui.page import Ask, Download

_READ = 64 * 1024  #: bytes of a text that are shown
_ROWS, _COLUMNS = 50, 40  #: of a table that are shown
_IMAGES = {".png", ".jpg", ".jpeg", ".gif", ".webp", ".svg", ".avif", ".bmp"}
_SOUNDS = {".wav", ".mp3", ".ogg", ".flac", ".m4a"}
#: What a browser shows by itself, and can do no harm with under the policy below.
_INLINE = ("image/", "audio/", "video/", "text/plain", "application/pdf")
#: A file is nobody's page: it may run nothing and load nothing.
_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:"


class Preview(Struct, frozen=True, kw_only=True):
    """A file as a page shows it."""

    path: str
    url: str
    size: int
    kind: str  #: image, sound, table, markdown, text, none, missing
    text: str = ""
    html: Markup = field(default_factory=Markup)
    head: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    cut: bool = False  #: whether there is more of it


def file(ask: Ask) -> Download:
    """Send a file of a run."""
    run, path = ask.params["run"], ask.params["path"]
    found = _artifact(ask, run, path)
    store = open_store(ask.backend.settings)
    store.size(found.address)  # missing: said before anything is sent
    media = mimetypes.guess_type(path)[0] or "application/octet-stream"
    inline = media.startswith(_INLINE)
    how = "inline" if inline else "attachment"
    name = quote(path.rpartition("/")[2])
    return Download(
        media=media if inline else "application/octet-stream",
        parts=store.chunks(found.address),
        headers={
            "content-security-policy": _POLICY,
            "content-disposition": f"{how}; filename*=UTF-8''{name}",
            "content-length": str(found.size or store.size(found.address)),
            "cache-control": "private, max-age=60",
        },
    )


def _artifact(ask: Ask, run: str, path: str) -> Artifact:
    under = ask.call(artifacts, ListArtifacts(run=run, under=path)).artifacts
    found: Artifact | None = under.get(path)
    if found is None:
        raise NotFound(f"run {run} has no file {path!r}", hint="its page lists those it has")
    return found


def of(ask: Ask, run: Run, path: str, *, tail: bool = False) -> Preview:
    """Return a file of a run for a page; of a text its end, with `tail`."""
    url = f"/runs/{run.id}/files/{quote(path)}"
    return looked(ask, path, url, run.artifacts.get(path), tail=tail)


def looked(ask: Ask, path: str, url: str, found: Artifact | None, *, tail: bool = False) -> Preview:
    """Return any stored file for a page; None: there is no such file."""
    if found is None:
        return Preview(path=path, url=url, size=0, kind="missing")
    suffix = f".{path.rpartition('.')[2].lower()}"
    plain = Preview(path=path, url=url, size=found.size, kind="none")
    if suffix in _IMAGES:
        return msgspec.structs.replace(plain, kind="image")
    if suffix in _SOUNDS:
        return msgspec.structs.replace(plain, kind="sound")
    try:
        return _read(ask, found, plain, suffix, tail=tail)
    except SetpointError:  # its bytes are gone or corrupt: the link says so when it is followed
        return plain


def _read(ask: Ask, found: Artifact, plain: Preview, suffix: str, *, tail: bool) -> Preview:
    store = open_store(ask.backend.settings)
    size = store.size(found.address)
    start = max(0, size - _READ) if tail else 0
    content = b"".join(store.chunks(found.address, start, start + _READ))
    if b"\0" in content:
        return plain
    text = content.decode(errors="replace")
    cut = size > _READ
    if suffix in {".csv", ".tsv"}:
        return _table(plain, text, "\t" if suffix == ".tsv" else ",", cut=cut)
    if suffix == ".md":
        html = markdown.render(text)
        return msgspec.structs.replace(plain, kind="markdown", html=html, cut=cut)
    if suffix == ".json" and not cut:
        return _json(plain, text)
    return msgspec.structs.replace(plain, kind="text", text=text, cut=cut)


def _table(plain: Preview, text: str, mark: str, *, cut: bool) -> Preview:
    lines = csv.reader(io.StringIO(text), delimiter=mark)
    rows = [row[:_COLUMNS] for row in itertools.islice(lines, _ROWS + 2)]
    if not rows:
        return msgspec.structs.replace(plain, kind="text")
    more = cut or len(rows) > _ROWS + 1
    return msgspec.structs.replace(
        plain, kind="table", head=rows[0], rows=rows[1 : _ROWS + 1], cut=more
    )


def _json(plain: Preview, text: str) -> Preview:
    """Return JSON laid out; a table that was logged as a table."""
    try:
        value: Any = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return msgspec.structs.replace(plain, kind="text", text=text)
    match value:
        case {"columns": [*head], "data": [*rows]} if all(isinstance(row, list) for row in rows):
            return msgspec.structs.replace(
                plain,
                kind="table",
                head=[str(name) for name in head],
                rows=[[str(each) for each in row] for row in rows[:_ROWS]],
                cut=len(rows) > _ROWS,
            )
    laid = msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
    return msgspec.structs.replace(plain, kind="text", text=laid)
