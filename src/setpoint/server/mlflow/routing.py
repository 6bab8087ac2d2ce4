"""From an endpoint's declaration to its route: read the message, run the handler, answer."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from sqlalchemy import Connection
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from setpoint.core.operations import Context, Operation
from setpoint.db.group import GroupCommit
from setpoint.db.local import LocalBackend
from setpoint.errors import SetpointError
from setpoint.server import problems
from setpoint.server.api import body
from setpoint.server.mlflow import errors, wire
from setpoint.server.mlflow.wire import Message

C = TypeVar("C")
R = TypeVar("R")

#: Bytes of one message: what is larger is an artifact.
BODY_LIMIT = 32 * 1024 * 1024

_log = logging.getLogger(__name__)


class Nothing(Message, frozen=True):
    """A message without fields."""


@dataclass(frozen=True, slots=True)
class Call:
    """What a handler may use: the store, and the values in the request's path."""

    backend: LocalBackend
    writes: GroupCommit
    path: dict[str, str]

    @classmethod
    def of(cls, request: Request) -> Self:
        """Return what the handlers of a request use."""
        state = request.app.state
        return cls(state.backend, state.writes, dict(request.path_params))

    def run(self, op: Operation[C, R], cmd: C) -> R:
        """Run an operation; writes share a transaction with others that wait."""
        return self.backend.call(op, cmd) if op.reads else self.writes.call(op, cmd)

    def read(self, query: Callable[[Connection], R]) -> R:
        """Run a query in a transaction that waits for nobody."""
        with self.backend.reading() as conn:
            return query(conn)

    def write(self, change: Callable[[Context], R]) -> R:
        """Run several changes in one transaction."""
        with self.backend.engine.begin() as conn:
            return change(self.backend.context(conn))


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One call of MLflow's interface."""

    method: str
    path: str  #: as in MLflow's protocol definition: ``/mlflow/runs/get``
    message: type[Message]
    handle: Callable[[Call, Any], Any]
    required: tuple[str, ...] = ()  #: fields that must be there and not empty
    version: str = "2.0"  #: of the interface: ``2.0`` or ``3.0``

    @property
    def route(self) -> Route:
        """Return where it is answered."""
        return Route(f"/api/{self.version}{self.path}", _answering(self), methods=[self.method])


def refusing(text: str) -> Callable[[Request], Awaitable[Response]]:
    """Return the handler of what is not offered: it says so in MLflow's terms."""

    async def refuse(request: Request) -> Response:
        what = f"{request.method} {request.url.path}"
        return errors.response(errors.Refused(f"{what}: {text}", errors.NO_ENDPOINT))

    return refuse


def guarded(
    handle: Callable[[Request], Awaitable[Response]],
) -> Callable[[Request], Awaitable[Response]]:
    """Return `handle` with its errors told as MLflow's clients expect them."""

    async def safely(request: Request) -> Response:
        try:
            return await handle(request)
        except SetpointError as error:
            return errors.response(error)
        except Exception:  # noqa: BLE001 - the outermost frame of a request
            _log.exception("an MLflow request failed", extra={"path": request.url.path})
            return errors.response(problems.internal())

    return safely


def _answering(endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
    async def respond(request: Request) -> Response:
        content = await body(request, BODY_LIMIT)
        if not content and request.query_params:
            message = wire.from_query(request.query_params, endpoint.message)
        else:
            message = wire.decode(content, endpoint.message)
        wire.require(message, endpoint.required)
        return await run_in_threadpool(_run, endpoint, Call.of(request), message)

    return guarded(respond)


def _run(endpoint: Endpoint, call: Call, message: Any) -> Response:
    return wire.answer(endpoint.handle(call, message))
