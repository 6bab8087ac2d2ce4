"""Whole files: where the client sends and fetches them, and how."""

import base64
import hashlib
import mimetypes
from datetime import datetime
from pathlib import PurePosixPath
from urllib.parse import quote

from msgspec import Struct
from starlette.concurrency import iterate_in_threadpool, run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from setpoint.artifacts.contract import ObjectStore
from setpoint.errors import Invalid
from setpoint.server.pieces import feed
from setpoint.server.wandb.runs.store import Content

OCTETS = "application/octet-stream"


class RunFile(Struct, frozen=True, kw_only=True):
    """A file as GraphQL tells of it."""

    id: str
    name: str
    direct_url: str
    size_bytes: int = 0
    md5: str | None = None  #: base 64
    updated_at: datetime | None = None
    upload_url: str | None = None
    upload_headers: tuple[str, ...] = ()
    upload_multipart_urls: None = None
    storage_path: str | None = None
    artifact: object = None

    @property
    def display_name(self) -> str:
        return self.name

    @property
    def digest(self) -> str | None:
        return self.md5

    @property
    def mimetype(self) -> str:
        return mimetypes.guess_type(self.name)[0] or OCTETS

    def url(self, upload: bool | None = None) -> str:  # noqa: FBT001 - the client's argument
        """Return where it is fetched; sent to the same address, it is replaced."""
        return (upload and self.upload_url) or self.direct_url


def run_url(base: str, entity: str, project: str, run: str, path: str) -> str:
    """Return where a file of a run is sent and fetched."""
    return f"{base}/files/{_quoted(entity)}/{_quoted(project)}/{_quoted(run)}/{quote(path)}"


def content_url(base: str, md5: str, name: str) -> str:
    """Return where content is sent and fetched, by its MD5 in base 64."""
    return f"{base}/artifactsV2/content/{hex_of(md5)}/{quote(name)}"


def _quoted(part: str) -> str:
    return quote(part, safe="")


def hex_of(md5: str) -> str:
    """Return an MD5 in base 64 as hex digits.

    Raises:
        Invalid: If it is no MD5.
    """
    try:
        found = base64.b64decode(md5, validate=True)
    except ValueError:
        found = b""
    if len(found) != hashlib.md5(usedforsecurity=False).digest_size:
        raise Invalid(f"{md5!r} is no MD5 in base 64")
    return found.hex()


def base64_of(md5: str) -> str:
    """Return an MD5 in hex digits as base 64."""
    try:
        return base64.b64encode(bytes.fromhex(md5)).decode()
    except ValueError:
        raise Invalid(f"{md5!r} is no MD5 in hex digits") from None


def safe(path: str) -> str:
    """Return a path under which a run may keep a file.

    Raises:
        Invalid: If it is empty, absolute, or leads out of its folder.
    """
    parts = PurePosixPath(path.replace("\\", "/")).parts
    if not parts or parts[0] == "/" or ".." in parts or "\0" in path:
        raise Invalid(f"{path!r} is no path of a file", hint="use a relative path without ..")
    return path


async def take(request: Request, store: ObjectStore, expected: str | None = None) -> Content:
    """Store a request's body in pieces, never whole in memory.

    Raises:
        Invalid: If its MD5 (base 64) is not the `expected` one; then nothing is kept.
    """
    digest = hashlib.md5(usedforsecurity=False)
    with store.incoming() as file:
        await feed(request, digest.update, file.write)
        md5 = base64.b64encode(digest.digest()).decode()
        if expected is not None and md5 != expected:
            raise Invalid(f"the bytes that arrived have the MD5 {md5}", hint="send them again")
        address, size = await run_in_threadpool(file.commit)
    return Content(md5=md5, address=address, size=size)


async def send(request: Request, store: ObjectStore, address: str, name: str) -> Response:
    """Send an object, or the range of it that is asked for."""
    size = await run_in_threadpool(store.size, address)
    start, stop = asked_range(request.headers.get("range"), size)
    headers = {
        "content-length": str(stop - start),
        "accept-ranges": "bytes",
        "content-disposition": f"attachment; filename*=UTF-8''{_quoted(PurePosixPath(name).name)}",
        "cache-control": "private, no-cache",
    }
    part = (start, stop) != (0, size)
    if part:
        headers["content-range"] = f"bytes {start}-{stop - 1}/{size}"
    status = 206 if part else 200
    if request.method == "HEAD":
        return Response(None, status, headers, OCTETS)
    pieces = iterate_in_threadpool(store.chunks(address, start, stop))
    return StreamingResponse(pieces, status, headers, OCTETS)


def asked_range(header: str | None, size: int) -> tuple[int, int]:
    """Return start and end of one range of bytes; of what cannot be read, the whole."""
    unit, _, text = (header or "").partition("=")
    first, dash, last = text.strip().partition("-")
    whole = 0, size
    if unit.strip() != "bytes" or not dash or "," in text:
        return whole
    if not first:
        return (max(0, size - int(last)), size) if last.isdecimal() and int(last) else whole
    if not first.isdecimal() or (last and not last.isdecimal()):
        return whole
    start = int(first)
    stop = min(int(last) + 1, size) if last else size
    return (start, stop) if start < stop else whole
