"""The JSON API: one POST per operation, and its description, made from their list."""

import difflib
import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from setpoint import __version__
from setpoint.core.operations import Backend, Operation
from setpoint.core.problems import Problem
from setpoint.db.group import GroupCommit
from setpoint.errors import Denied, Invalid, NotFound, SetpointError
from setpoint.server import problems

Operations = dict[str, Operation[Any, Any]]

#: Bytes of one command. What is larger goes to the object store, never through here.
BODY_LIMIT = 4 * 1024 * 1024
MANY_LIMIT = 32 * 1024 * 1024  #: of points in columns
PREFIX = "/api/v1"
JSON = "application/json"
#: The same operations for programs of ours: bytes travel as they are, NaN and infinities too.
MSGPACK = "application/msgpack"

_log = logging.getLogger(__name__)


def routes(operations: Operations) -> list[Route]:
    """Return the endpoints of `operations`, and their description."""
    described = msgspec.json.encode(openapi(operations))

    async def describe(_: Request) -> Response:
        return Response(described, media_type="application/json")

    return [
        Route(f"{PREFIX}/openapi.json", describe, methods=["GET"]),
        Route(f"{PREFIX}/{{name:path}}", _endpoint(operations), methods=["GET", "POST"]),
    ]


def _endpoint(operations: Operations) -> Callable[[Request], Awaitable[Response]]:
    async def handle(request: Request) -> Response:
        name = request.path_params["name"]
        try:
            op = _find(operations, name, request.method)
            limit = BODY_LIMIT if op.many is None else MANY_LIMIT
            content = await body(request, limit)
            cmd = _decode(op, content, request.headers.get("content-type", ""))
            result = await _result(request, op, cmd)
            return _response(result, request.headers.get("accept", ""))
        except SetpointError as error:
            return problems.response(error)
        except Exception:  # noqa: BLE001 - the outermost frame of a request
            _log.exception("an operation failed", extra={"operation": name})
            return problems.response(problems.internal())

    return handle


async def _result(request: Request, op: Operation[Any, Any], cmd: Any) -> Any:
    if op.many is not None:  # shares its transaction with whatever else waits
        writes: GroupCommit = request.app.state.writes
        return await writes.run(op, cmd)
    backend: Backend = request.app.state.backend
    return await run_in_threadpool(backend.call, op, cmd)


def _find(operations: Operations, name: str, method: str) -> Operation[Any, Any]:
    op = operations.get(name)
    if op is None:
        close = difflib.get_close_matches(name, operations, n=1)
        hint = f"did you mean {close[0]}?" if close else f"see {PREFIX}/openapi.json"
        raise NotFound(f"there is no operation {name!r}", hint=hint)
    if method != "POST":
        raise Invalid(f"{name} is called by POST", hint="send its command as a JSON object")
    return op


def _decode(op: Operation[Any, Any], content: bytes, media: str) -> Any:
    # A page of another site can post text without asking, but neither of these.
    kind = media.partition(";")[0].strip()
    if kind not in {JSON, MSGPACK}:
        raise Denied(f"{op.name} takes {JSON} or {MSGPACK}", hint="set the header content-type")
    try:
        if kind == MSGPACK:
            return msgspec.msgpack.decode(content, type=op.command)
        return msgspec.json.decode(content or b"{}", type=op.command)
    except msgspec.DecodeError as error:
        raise Invalid(
            f"the command of {op.name} cannot be read: {error}",
            hint=f"its fields: {', '.join(op.command.__struct_fields__) or 'none'}",
        ) from None
    except UnicodeDecodeError:
        raise Invalid(f"the command of {op.name} is not UTF-8", hint="send UTF-8") from None


def _response(result: Any, accepted: str) -> Response:
    if accepted.partition(";")[0].strip() == MSGPACK:
        return Response(msgspec.msgpack.encode(result), media_type=MSGPACK)
    return Response(msgspec.json.encode(result), media_type=JSON)


async def body(request: Request, limit: int = BODY_LIMIT) -> bytes:
    """Return the request's body.

    Raises:
        TooLarge: If it is larger than `limit`; no more than that is ever read.
    """
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise problems.TooLarge(
                f"the request is larger than {limit // 1024 // 1024} MB",
                hint="send less at once",
            )
        parts.append(part)
    return b"".join(parts)


def openapi(operations: Operations) -> dict[str, Any]:
    """Return the description of `operations` as OpenAPI 3.1."""
    types = [t for op in operations.values() for t in (op.command, op.result)]
    schemas, components = msgspec.json.schema_components(
        [*types, Problem], ref_template="#/components/schemas/{name}"
    )
    failure = {
        "description": "It failed; the document says why and what to do",
        "content": {"application/problem+json": {"schema": schemas[-1]}},
    }
    paths = {}
    for index, (name, op) in enumerate(operations.items()):
        command, result = schemas[2 * index], schemas[2 * index + 1]
        paths[f"{PREFIX}/{name}"] = {
            "post": {
                "operationId": name,
                "summary": op.summary,
                "description": inspect.getdoc(op.run) or op.summary,
                "tags": [name.partition(".")[0]],
                "x-needs": op.needs,
                "requestBody": {
                    "required": True,
                    "content": {"application/json": {"schema": command}},
                },
                "responses": {
                    "200": {
                        "description": "Done",
                        "content": {"application/json": {"schema": result}},
                    },
                    "default": failure,
                },
            }
        }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Setpoint",
            "version": __version__,
            "license": {"name": "Apache-2.0"},
        },
        "paths": paths,
        "components": {"schemas": components},
    }
