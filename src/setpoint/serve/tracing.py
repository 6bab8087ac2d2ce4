"""Spans of requests for OpenTelemetry, sent by its own SDK; loaded only where it is asked for.

A request is a span of the kind server, named as its route, in the trace that its `traceparent`
names; below it are how long it waited for its model and each version's scoring. A span tells
ids, versions and counts, never a value of a row. Spans wait in a queue of the SDK's, which a
thread empties: a collector that is away loses spans, and no request waits for it.
"""

import logging
import re
import time
from collections.abc import Awaitable, Callable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from setpoint.serve import rules, scoring, v2
from setpoint.serve.ending import in_time

if TYPE_CHECKING:
    from setpoint.serve.prediction import Asked

MOST_IDS = 100  #: prediction ids that a span tells
_ROLES = tuple(role.value for role in rules.ROLES)
#: What asks whether the server is well, many times a minute.
_PROBES = re.compile(r"/(healthz|ping|metrics|v2/health/\w+)|.*/ready")
_NAMED = (
    (re.compile(r"/(models|endpoints)/[^/:]+"), r"/\1/{model}"),
    (re.compile(r"/(versions|labels)/[^/:]+"), r"/\1/{version}"),
)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Answer = Callable[[Scope, Receive, Send], Awaitable[None]]

_log = logging.getLogger(__name__)
_context = TraceContextTextMapPropagator()


class Tracing:
    """Makes spans and has them sent. What of it runs for a request never raises."""

    def __init__(self, endpoint: str) -> None:
        """Begin to send spans to an address; where nobody listens, they are lost.

        Args:
            endpoint: Where OTLP over HTTP is taken, e.g. ``http://host:4318/v1/traces``. Headers,
                certificates, sampling and attributes of the resource are as OpenTelemetry's
                variables say.
        """
        self._provider = TracerProvider(resource=resource(), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
        self._tracer = self._provider.get_tracer("setpoint.serve", v2.VERSION)

    async def http(self, answer: Answer, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request over HTTP within a span; the answer says which."""
        method, path = scope["method"], scope["path"]
        if _PROBES.fullmatch(path):
            await answer(scope, receive, send)
            return
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        route = route_of(path)
        told = {"http.request.method": method, "url.path": path, "url.scheme": "http"}
        if "user-agent" in headers:
            told["user_agent.original"] = headers["user-agent"]
        with self._server(f"{method} {route}", headers, told) as span:

            async def sending(message: MutableMapping[str, Any]) -> None:
                if message["type"] == "http.response.start":
                    _answered(span, message["status"], method, route)
                    back = (b"traceparent", traceparent(span).encode())
                    message = {**message, "headers": (*message["headers"], back)}
                await send(message)

            await answer(scope, receive, sending)

    @contextmanager
    def rpc(self, method: str, metadata: Sequence[tuple[str, str | bytes]]) -> Iterator[Span]:
        """Have a call of gRPC be a span.

        Args:
            method: ``package.Service/Method``.
            metadata: That the client sent.
        """
        headers = {name: value for name, value in metadata if isinstance(value, str)}
        told = {"rpc.system.name": "grpc", "rpc.method": method}
        with self._server(method, headers, told) as span:
            yield span

    def scored(self, asked: "Asked", parts: Sequence[scoring.Part], began: int) -> None:
        """Tell of a request's scoring, which is just over.

        Args:
            asked: The request.
            parts: What each arm answered, one after the other.
            began: `perf_counter_ns` when it was handed to its model.
        """
        span = trace.get_current_span()
        failed = sorted({part.failed for part in parts if part.failed})
        if failed and asked.endpoint.slow:  # it failed in another thread, which knows no trace
            _log.warning("versions failed", extra={"versions": failed})
        if not span.is_recording():
            return
        versions = sorted({part.version for part in parts})
        span.set_attributes(
            {
                "setpoint.model": asked.endpoint.model,
                "setpoint.request.id": asked.request_id,
                "setpoint.prediction.ids": asked.ids[:MOST_IDS],
                "setpoint.rows": len(asked.ids),
                "setpoint.versions": versions,
                "setpoint.roles": sorted({_ROLES[part.role] for part in parts}),
                "setpoint.fallback": scoring.fell_back(parts),
            }
        )
        if len(versions) == 1:
            span.set_attribute("setpoint.version", versions[0])
        if failed:
            span.set_attribute("setpoint.versions.failed", failed)
        now, at = time.time_ns(), perf_counter_ns()
        end = now
        for part in reversed(parts):
            self._child("setpoint.score", end - part.nanos, end, _of(part))
            end -= part.nanos
        waited = now - (at - began)
        if asked.endpoint.slow and waited < end:
            self._child("setpoint.queue", waited, end, {"setpoint.model": asked.endpoint.model})

    def close(self) -> None:
        """Send what waits, for a short time at most, and stop."""
        in_time(self._provider.shutdown, "the last spans")

    def _child(self, name: str, start: int, end: int, told: dict[str, Any]) -> None:
        self._tracer.start_span(name, start_time=start, attributes=told).end(end)

    @contextmanager
    def _server(self, name: str, headers: dict[str, str], told: dict[str, Any]) -> Iterator[Span]:
        with self._tracer.start_as_current_span(
            name,
            context=_context.extract(headers),
            kind=SpanKind.SERVER,
            attributes=told,
        ) as span:
            yield span


class TraceIds(logging.Filter):
    """Has every line that is logged for a request say which trace it is of."""

    def filter(self, record: logging.LogRecord) -> bool:
        found = trace.get_current_span().get_span_context()
        if found.is_valid:
            record.trace_id = f" trace_id={trace.format_trace_id(found.trace_id)}"
        return True


def resource() -> Resource:
    """Return who sends: what OpenTelemetry's variables say, named by us where they do not."""
    found = Resource.create()
    if str(found.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
        found = found.merge(Resource({SERVICE_NAME: "setpoint-inference"}))
    if SERVICE_INSTANCE_ID not in found.attributes:  # each process counts for itself
        found = found.merge(Resource({SERVICE_INSTANCE_ID: str(uuid4())}))
    return found


def route_of(path: str) -> str:
    """Return an address without the names in it.

    Example:
        >>> route_of("/v2/models/churn/versions/3/infer")
        '/v2/models/{model}/versions/{version}/infer'
    """
    for names, stand_in in _NAMED:
        path = names.sub(stand_in, path)
    return path


def traceparent(span: Span) -> str:
    """Return a span as W3C's trace context says it to others."""
    carrier: dict[str, str] = {}
    _context.inject(carrier, trace.set_span_in_context(span))
    return carrier.get("traceparent", "")


def _answered(span: Span, status: int, method: str, route: str) -> None:
    span.set_attribute("http.response.status_code", status)
    if status == 404:
        span.update_name(method)
    else:
        span.set_attribute("http.route", route)
    if status >= 500:
        span.set_attribute("error.type", str(status))
        span.set_status(Status(StatusCode.ERROR))


def _of(part: scoring.Part) -> dict[str, Any]:
    told: dict[str, Any] = {
        "setpoint.version": part.version,
        "setpoint.role": _ROLES[part.role],
        "setpoint.rows": part.rows.count,
        "setpoint.batch.requests": part.shared,
    }
    if part.failed:
        told["setpoint.version.failed"] = part.failed
    if part.arm:
        told["setpoint.arm"] = part.arm
    return told
