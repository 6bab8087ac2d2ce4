"""The client's addresses."""

import logging
import zlib
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from setpoint.artifacts.contract import ObjectStore
from setpoint.artifacts.store import open_store
from setpoint.core.clock import to_micros
from setpoint.core.operations import Context, operation
from setpoint.db.group import GroupCommit
from setpoint.db.local import LocalBackend
from setpoint.errors import Invalid, NotFound, SetpointError
from setpoint.runs import service
from setpoint.runs.commands import FindExperiment, ListArtifacts, Log
from setpoint.runs.entities import Artifact
from setpoint.server import problems
from setpoint.server.api import body
from setpoint.server.wandb import files
from setpoint.server.wandb.artifacts import store as store_artifacts
from setpoint.server.wandb.asked import Question
from setpoint.server.wandb.runs import changes as changing_runs
from setpoint.server.wandb.runs import store as store_runs
from setpoint.server.wandb.runs import stream
from setpoint.server.wandb.runs.history import dumps
from setpoint.server.wandb.runs.store import Content
from setpoint.server.wandb.scope import ENTITY, Scope

if TYPE_CHECKING:
    from setpoint.server.wandb.graphql import Answer

#: Bytes of one document or one part of a stream, unpacked.
_LIMIT = 64 * 1024 * 1024

T = TypeVar("T")
Handler = Callable[[Request], Awaitable[Response]]

_log = logging.getLogger(__name__)


def routes() -> list[Route]:
    """Return where the client asks, streams, sends and fetches."""
    run = "/files/{entity}/{project}/{run}"
    return [
        Route("/graphql", _guarded(_graphql), methods=["POST"]),
        Route(f"{run}/file_stream", _guarded(_stream), methods=["POST"]),
        Route(f"{run}/{{path:path}}", _guarded(_take_file), methods=["PUT"]),
        Route(f"{run}/{{path:path}}", _guarded(_send_file), methods=["GET"]),
        Route("/artifactsV2/content/{md5}/{name:path}", _guarded(_take_content), methods=["PUT"]),
        Route("/artifactsV2/content/{md5}/{name:path}", _guarded(_send_content), methods=["GET"]),
        Route("/artifactsV2/manifests/{number:int}", _guarded(_take_manifest), methods=["PUT"]),
        Route("/artifactsV2/manifests/{number:int}", _guarded(_send_manifest), methods=["GET"]),
        # Addresses that the client makes itself: …/MD5/NAME and …/MD5.
        Route("/artifactsV2/{place:path}/{md5}/{name}", _guarded(_send_content), methods=["GET"]),
        Route("/artifacts/{entity}/{md5}", _guarded(_send_content), methods=["GET"]),
        Route("/sdk/otel/{what:path}", _unheard, methods=["POST"]),
        Route(f"/{ENTITY}/{{project}}", _guarded(_project_page), methods=["GET"]),
        Route(f"/{ENTITY}/{{project}}/runs/{{run}}", _guarded(_run_page), methods=["GET"]),
        Route(f"/{ENTITY}/{{project}}/sweeps/{{sweep}}", _guarded(_sweep_page), methods=["GET"]),
    ]


def _guarded(handler: Handler) -> Handler:
    async def handle(request: Request) -> Response:
        try:
            return await handler(request)
        except SetpointError as error:
            return _problem(error)
        except ClientDisconnect:
            return Response(status_code=400)
        except Exception:  # noqa: BLE001 - the outermost frame of a request
            _log.exception("a request failed", extra={"path": request.url.path})
            return _problem(problems.internal())

    return handle


def _problem(error: SetpointError) -> Response:
    """Return an error where the client looks for its text."""
    told = {"error": str(error), "errors": [{"message": error.message}]}
    return JSONResponse(told, problems.status_of(error))


def _backend(request: Request) -> LocalBackend:
    backend: LocalBackend = request.app.state.backend
    return backend


def _store(request: Request) -> ObjectStore:
    return open_store(_backend(request).settings)


def _writes(request: Request) -> GroupCommit:
    writes: GroupCommit = request.app.state.writes
    return writes


def _base(request: Request) -> str:
    return f"{request.url.scheme}://{request.headers['host']}"


async def _read(request: Request, kind: type[T]) -> T:
    content = await body(request, _LIMIT)
    if request.headers.get("content-encoding") == "gzip":
        content = _unpacked(content)
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Invalid(f"the request cannot be read: {error}") from None


def _unpacked(content: bytes) -> bytes:
    unpacker = zlib.decompressobj(wbits=31)
    try:
        found = unpacker.decompress(content, _LIMIT)
    except zlib.error as error:
        raise Invalid(f"the request cannot be unpacked: {error}") from None
    if unpacker.unconsumed_tail:
        raise problems.TooLarge(f"the request is larger than {_LIMIT // 1024 // 1024} MB")
    return found


async def _graphql(request: Request) -> Response:
    question = await _read(request, Question)
    answer = await run_in_threadpool(_answered, request, question)
    return Response(dumps(answer.content), answer.status, media_type="application/json")


def _answered(request: Request, question: Question) -> "Answer":
    from setpoint.server.wandb.answers import ask  # noqa: PLC0415 - a second, once, off the loop

    return ask(_backend(request), _base(request), question)


async def _stream(request: Request) -> Response:
    sent = await _read(request, stream.Sent)
    place = request.path_params
    now = to_micros(_backend(request).clock.now())
    names = (place["entity"], place["project"], place["run"])
    part = await run_in_threadpool(stream.read, *names, sent, now)
    done = await _writes(request).run(stream.deliver, part)
    told: dict[str, Any] = {"limits": {}, "exitcode": None}
    return JSONResponse(told | ({"stopped": True} if done.stopped else {}))


# Files of runs


class KeepFile(msgspec.Struct, frozen=True, kw_only=True):
    entity: str
    project: str
    run: str
    path: str
    content: Content


@operation("wandb.keep", needs="runs:write")
def _keep(ctx: Context, cmd: KeepFile) -> KeepFile:
    """Write that a run has a file."""
    known = changing_runs.one(Scope(ctx), cmd.entity, cmd.project, cmd.run)
    kept = Artifact(address=cmd.content.address, size=cmd.content.size)
    service.log(ctx, Log(run=known.run_id, artifacts={cmd.path: kept}, late=True))
    store_runs.put_digest(ctx.conn, cmd.content)
    return cmd


async def _take_file(request: Request) -> Response:
    place = {name: request.path_params[name] for name in ("entity", "project", "run", "path")}
    files.safe(place["path"])
    content = await files.take(request, _store(request))
    await _writes(request).run(_keep, KeepFile(content=content, **place))
    return Response(status_code=200)


async def _send_file(request: Request) -> Response:
    place = request.path_params

    def find(ctx: Context) -> str:
        known = changing_runs.one(Scope(ctx), place["entity"], place["project"], place["run"])
        cmd = ListArtifacts(run=known.run_id)
        found = service.artifacts(ctx, cmd).artifacts.get(place["path"])
        if found is None:
            raise NotFound(f"run {known.name!r} has no file {place['path']!r}")
        return found.address

    address = await run_in_threadpool(_reading, request, find)
    return await files.send(request, _store(request), address, place["path"])


def _reading(request: Request, query: Callable[[Context], T]) -> T:
    backend = _backend(request)
    with backend.reading() as conn:
        return query(backend.context(conn))


def _writing(request: Request, change: Callable[[Context], T]) -> T:
    backend = _backend(request)
    with backend.engine.begin() as conn:
        return change(backend.context(conn))


# Contents and manifests of artifacts


async def _take_content(request: Request) -> Response:
    md5 = files.base64_of(request.path_params["md5"])
    content = await files.take(request, _store(request), md5)
    keep = lambda ctx: store_runs.put_content(ctx.conn, content)  # noqa: E731
    await run_in_threadpool(_writing, request, keep)
    return Response(status_code=200)


async def _send_content(request: Request) -> Response:
    md5 = files.base64_of(request.path_params["md5"])
    name = request.path_params.get("name", "file")
    address = await run_in_threadpool(_reading, request, lambda ctx: _address(ctx, md5))
    return await files.send(request, _store(request), address, name)


def _address(ctx: Context, md5: str | None) -> str:
    held = store_runs.contents(ctx.conn, [md5] if md5 else [])
    if not held:
        raise NotFound("there is no such content")
    (content,) = held.values()
    return content.address


async def _take_manifest(request: Request) -> Response:
    content = await files.take(request, _store(request))
    number = request.path_params["number"]

    def keep(ctx: Context) -> None:
        store_artifacts.manifest(ctx.conn, number)
        store_runs.put_content(ctx.conn, content)
        store_artifacts.change_manifest(ctx.conn, number, md5=content.md5)

    await run_in_threadpool(_writing, request, keep)
    return Response(status_code=200)


async def _send_manifest(request: Request) -> Response:
    number = request.path_params["number"]

    def find(ctx: Context) -> str:
        return _address(ctx, store_artifacts.manifest(ctx.conn, number).md5)

    address = await run_in_threadpool(_reading, request, find)
    return await files.send(request, _store(request), address, "wandb_manifest.json")


# What the client prints, and what it tells of itself


async def _run_page(request: Request) -> Response:
    """Lead from the address that the client prints to the page of the run."""
    place = request.path_params

    def find(ctx: Context) -> str:
        return changing_runs.one(Scope(ctx), ENTITY, place["project"], place["run"]).run_id

    run_id = await run_in_threadpool(_reading, request, find)
    return RedirectResponse(f"/runs/{quote(run_id, safe='')}", 303)


async def _project_page(request: Request) -> Response:
    """Lead from the address that the client prints to the page of the experiment."""
    cmd = FindExperiment(name=request.path_params["project"])
    found = await run_in_threadpool(_backend(request).call, service.find_experiment, cmd)
    return RedirectResponse(f"/experiments/{found.id}", 303)


async def _sweep_page(request: Request) -> Response:
    """Lead from the address that the client prints to the page of the sweep."""
    return RedirectResponse(f"/sweeps/{quote(request.path_params['sweep'])}", 303)


async def _unheard(_: Request) -> Response:
    """Accept what the client measures of itself, and keep nothing of it."""
    return Response(status_code=200)
