"""MLflow's artifact store: files by path, sent and taken in pieces, whole or in ranges.

A client that says which digest its bytes have (``Content-Digest`` or ``Content-MD5``) is told
when they changed on their way, and nothing is kept.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from msgspec import field
from starlette.concurrency import iterate_in_threadpool, run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from setpoint.artifacts.contract import Incoming, ObjectStore
from setpoint.artifacts.store import open_store
from setpoint.runs.entities import Artifact
from setpoint.server.api import body
from setpoint.server.mlflow import files, multipart, render, runs, wire
from setpoint.server.mlflow.errors import Refused
from setpoint.server.mlflow.routing import BODY_LIMIT, Call, Endpoint, guarded
from setpoint.server.mlflow.wire import Message
from setpoint.server.pieces import feed

_BASE = "/api/2.0/mlflow-artifacts"
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_DIGEST = re.compile(r"(sha-256|sha-512)=:([^:]+):")


class ListRun(Message, frozen=True, kw_only=True):
    run_id: str = ""
    run_uuid: str = ""
    path: str = ""


class Presign(Message, frozen=True, kw_only=True):
    run_id: str = ""
    model_id: str = ""
    path: str = ""


class Begin(Message, frozen=True, kw_only=True):
    path: str = ""
    num_parts: int = 1


class Part(Message, frozen=True, kw_only=True):
    part_number: int = 0


class End(Message, frozen=True, kw_only=True):
    path: str = ""
    upload_id: str = ""
    parts: list[Part] = field(default_factory=list)


def list_run(call: Call, ask: ListRun) -> dict[str, Any]:
    """List a folder of a run's artifacts."""
    run = runs.find(call, ask.run_id or ask.run_uuid)
    folder = files.clean(ask.path)
    root = f"{run.experiment_id}/{run.id}/artifacts"
    entries = files.listing(call, f"{root}/{folder}" if folder else root)
    if [entry.name for entry in entries] == [folder.rpartition("/")[2]] and entries[0].size:
        entries = []  # of a file, MLflow lists nothing
    return {**listed(entries, folder), "root_uri": render.artifact_uri(run)}


def presign(_: Call, ask: Presign) -> dict[str, Any]:
    """Refuse, as MLflow's server does where it keeps the artifacts itself."""
    raise Refused(
        f"Presigned URLs for {ask.path!r} are not supported for runs with proxied artifact "
        "storage (artifact URI scheme: mlflow-artifacts). "
        "This endpoint requires a run with a direct cloud storage artifact URI."
    )


ENDPOINTS = (
    Endpoint("GET", "/mlflow/artifacts/list", ListRun, list_run),
    Endpoint("POST", "/mlflow/artifacts/presigned-upload-url", Presign, presign, ("path",)),
    Endpoint("POST", "/mlflow/artifacts/presigned-download-url", Presign, presign, ("path",)),
)


def routes() -> list[Route]:
    """Return the endpoints of the artifact store."""
    handlers = (
        ("GET", "/artifacts", _list),
        ("GET", "/artifacts/{path:path}", _send),
        ("PUT", "/artifacts/{path:path}", _take),
        ("DELETE", "/artifacts/{path:path}", _forget),
        ("GET", "/presigned/{path:path}", _address),
        ("POST", "/mpu/create/{path:path}", _begin),
        ("POST", "/mpu/create", _begin),
        ("PUT", "/mpu/part/{upload}/{number:int}", _take_part),
        ("POST", "/mpu/complete/{path:path}", _complete),
        ("POST", "/mpu/complete", _complete),
        ("POST", "/mpu/abort/{path:path}", _abort),
        ("POST", "/mpu/abort", _abort),
    )
    return [
        Route(f"{_BASE}{path}", guarded(handle), methods=[method])
        for method, path, handle in handlers
    ]


async def _list(request: Request) -> Response:
    path = files.clean(request.query_params.get("path", ""))
    found = await run_in_threadpool(files.listing, Call.of(request), path)
    return wire.answer(listed(found, ""))


def listed(found: list[files.Entry], folder: str) -> dict[str, Any]:
    """Return a listing as MLflow's message, its names within `folder`."""
    prefix = f"{folder}/" if folder else ""
    entries = [
        {"path": f"{prefix}{each.name}", "is_dir": True}
        if each.size is None
        else {"path": f"{prefix}{each.name}", "is_dir": False, "file_size": each.size}
        for each in found
    ]
    return wire.given(files=entries)


async def _send(request: Request) -> Response:
    """Send a file, or the part of it that a Range header asks for."""
    path, store = _asked(request)
    found = await run_in_threadpool(files.get, Call.of(request), path)
    if isinstance(found, bytes):
        return Response(found, media_type="application/octet-stream")
    size = await run_in_threadpool(store.size, found.address)
    wanted = _range(request.headers.get("range", ""), size)
    if wanted is None:
        return Response(status_code=416, headers={"content-range": f"bytes */{size}"})
    start, stop = wanted
    headers = {
        "content-disposition": f"attachment; filename*=UTF-8''{quote(path.rpartition('/')[2])}",
        "content-length": str(stop - start),
        "accept-ranges": "bytes",
        "etag": f'"{found.address}"',
    }
    if (start, stop) == (0, size):
        pieces, status = store.chunks(found.address), 200
    else:
        pieces, status = store.chunks(found.address, start, stop), 206
        headers["content-range"] = f"bytes {start}-{stop - 1}/{size}"
    # A small file that is corrupt is told before anything is sent.
    first = b"" if request.method == "HEAD" else await run_in_threadpool(next, pieces, b"")
    return StreamingResponse(
        iterate_in_threadpool(_from(first, pieces)),
        status,
        headers=headers,
        media_type="application/octet-stream",
    )


async def _take(request: Request) -> Response:
    path, store = _asked(request)
    if not path:
        raise Refused("Invalid path")
    with store.incoming() as file:
        await _receive(request, file)
        address, size = await run_in_threadpool(file.commit)
    artifact = Artifact(address=address, size=size)
    await run_in_threadpool(files.put, Call.of(request), path, artifact)
    return wire.answer({})


async def _forget(request: Request) -> Response:
    path, _ = _asked(request)
    if not path:
        raise Refused("Invalid path")
    await run_in_threadpool(files.forget, Call.of(request), path)
    return wire.answer({})


async def _address(request: Request) -> Response:
    """Tell where a file can be fetched in ranges by many connections at once: here."""
    path, store = _asked(request)
    found = await run_in_threadpool(files.get, Call.of(request), path)
    if isinstance(found, bytes):
        size = len(found)
    else:
        size = await run_in_threadpool(store.size, found.address)
    url = f"{_own(request)}/artifacts/{quote(path)}"
    return wire.answer({"url": url, "headers": {}, "file_size": size})


async def _begin(request: Request) -> Response:
    ask = wire.decode(await body(request, BODY_LIMIT), Begin)
    wire.require(ask, ("path",))
    if not 1 <= ask.num_parts <= multipart.MOST:
        raise Refused(f"num_parts must be between 1 and {multipart.MOST}.")
    _target(request, ask.path)
    upload = await run_in_threadpool(Call.of(request).write, multipart.begin)
    credentials = [
        {"url": f"{_own(request)}/mpu/part/{upload}/{number}", "part_number": number, "headers": {}}
        for number in range(1, ask.num_parts + 1)
    ]
    return wire.answer({"upload_id": upload, "credentials": credentials})


async def _take_part(request: Request) -> Response:
    call, objects = Call.of(request), open_store(request.app.state.backend.settings)
    upload, number = request.path_params["upload"], request.path_params["number"]
    await run_in_threadpool(call.read, lambda conn: multipart.require(conn, upload))
    with objects.incoming() as file:
        await _receive(request, file)
        address, _ = await run_in_threadpool(file.commit)
    note = lambda ctx: multipart.arrived(ctx, upload, number, address)  # noqa: E731
    await run_in_threadpool(call.write, note)
    await run_in_threadpool(files.require, objects, address)
    return Response(headers={"etag": f'"{address}"'})


async def _complete(request: Request) -> Response:
    ask = wire.decode(await body(request, BODY_LIMIT), End)
    wire.require(ask, ("path", "upload_id"))
    path = _target(request, ask.path)
    call, objects = Call.of(request), open_store(request.app.state.backend.settings)
    numbers = [part.part_number for part in ask.parts]

    def complete() -> None:
        parts = call.read(lambda conn: multipart.parts(conn, ask.upload_id, numbers))
        with objects.incoming() as file:
            for part in parts:
                for piece in objects.chunks(part):
                    file.write(piece)
            address, size = file.commit()
        files.put(call, path, Artifact(address=address, size=size))
        call.write(lambda ctx: multipart.end(ctx, ask.upload_id))

    await run_in_threadpool(complete)
    return wire.answer({})


async def _abort(request: Request) -> Response:
    ask = wire.decode(await body(request, BODY_LIMIT), End)
    wire.require(ask, ("path", "upload_id"))
    abort = lambda ctx: multipart.end(ctx, ask.upload_id)  # noqa: E731
    await run_in_threadpool(Call.of(request).write, abort)
    return wire.answer({})


async def _receive(request: Request, file: Incoming) -> None:
    """Write a request's body to a file.

    Raises:
        Refused: If the connection ends before the body, or its digest is another one.
    """
    check = _Check(request.headers)
    try:
        await feed(request, check.update, file.write)
    except ClientDisconnect:
        raise Refused("The connection ended before the file did; send it again.") from None
    check.verify()


class _Check:
    """The digests that a request's headers promise."""

    def __init__(self, headers: Headers) -> None:
        promised = dict(_DIGEST.findall(headers.get("content-digest", "")))
        if "content-md5" in headers:
            promised["md5"] = headers["content-md5"]
        self._promised = {
            name: (_bytes(value), hashlib.new(name.replace("-", "")))
            for name, value in promised.items()
        }

    def update(self, data: bytes | memoryview) -> None:
        for _, digest in self._promised.values():
            digest.update(data)

    def verify(self) -> None:
        for name, (promised, digest) in self._promised.items():
            if digest.digest() != promised:
                raise Refused(
                    f"The file's {name} digest is not the one its header says: "
                    "it changed on its way; send it again."
                )


def _bytes(value: str) -> bytes:
    try:
        return base64.b64decode(value.strip(), validate=True)
    except binascii.Error:
        raise Refused(f"The digest {value!r} is not base64") from None


def _range(header: str, size: int) -> tuple[int, int] | None:
    """Return the first byte and the one after the last; None if the file has none of them.

    What is no single range of bytes is ignored, as the standard asks: the whole file.
    """
    found = _RANGE.fullmatch(header.replace(" ", ""))
    if found is None or found.groups() == ("", ""):
        return 0, size
    first, last = found.groups()
    if not first:
        return (max(0, size - int(last)), size) if int(last) and size else None
    start, stop = int(first), min(size, int(last) + 1) if last else size
    return (start, stop) if start < stop else None


def _from(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from rest


def _target(request: Request, local: str) -> str:
    """Return the path of an upload: the address' folder and the name of the client's file."""
    folder = files.clean(request.path_params.get("path", ""))
    name = re.split(r"[/\\]", local)[-1]
    return files.clean(f"{folder}/{name}" if folder else name)


def _asked(request: Request) -> tuple[str, ObjectStore]:
    path = files.clean(request.path_params["path"])
    return path, open_store(request.app.state.backend.settings)


def _own(request: Request) -> str:
    return f"{request.url.scheme}://{request.url.netloc}{_BASE}"
