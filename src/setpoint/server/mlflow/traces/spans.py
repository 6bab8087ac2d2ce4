"""Spans come by OpenTelemetry's protocol, one export after another, and leave with their trace.

A trace is there from its first span on. What its client reports of it at its end is the last
word; without such a report (other exporters send none) its spans tell what it was.
"""

import json
from datetime import datetime
from typing import Any

from msgspec import field
from msgspec.structs import replace
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from setpoint.core.clock import from_micros
from setpoint.core.operations import Context
from setpoint.server.api import body
from setpoint.server.mlflow import errors, experiments, runs
from setpoint.server.mlflow.errors import Refused
from setpoint.server.mlflow.routing import BODY_LIMIT, Call, Endpoint, guarded
from setpoint.server.mlflow.traces import otlp, reported, store
from setpoint.server.mlflow.traces.otlp import Span, Value
from setpoint.server.mlflow.traces.store import Trace
from setpoint.server.mlflow.traces.store import spans as span_store
from setpoint.server.mlflow.traces.store.spans import Extent
from setpoint.server.mlflow.wire import Message, given

PROTOBUF = "application/x-protobuf"
_EXPERIMENT, _RUN = "x-mlflow-experiment-id", "x-mlflow-run-id"
_SIZE = "mlflow.trace.sizeStats"  #: metadata, among them how many spans a trace has
_PREVIEW = 1_000  #: characters
#: Metadata of a trace, by the attributes of its root.
_CARRIED = {"session.id": "mlflow.trace.session", "user.id": "mlflow.trace.user"}
_INPUTS, _OUTPUTS = "mlflow.spanInputs", "mlflow.spanOutputs"


class One(Message, frozen=True, kw_only=True):
    trace_id: str = ""
    allow_partial: bool = False


class Some(Message, frozen=True, kw_only=True):
    trace_ids: list[str] = field(default_factory=list)


def keep(call: Call, spans: list[Span], experiment_id: str, run_id: str) -> None:
    """Keep the spans of an export, and make the traces of which they are the first."""
    experiment = experiments.active(call, experiment_id)
    run = runs.find(call, run_id) if run_id else None
    by_trace: dict[str, list[Span]] = {}
    for span in spans:
        by_trace.setdefault(span_store.TRACE + span.trace_id, []).append(span)

    def write(ctx: Context) -> None:
        for trace_id, own in sorted(by_trace.items()):
            began = _moment(min(span.start_time_unix_nano for span in own))
            first = Trace(
                id=trace_id, experiment_id=experiment.id, state="IN_PROGRESS", requested_at=began
            )
            trace = store.begin(ctx.conn, first)
            span_store.put(ctx.conn, trace_id, own)
            store.values.put(ctx.conn, trace_id, store.TAG, {reported.PLACE: reported.HERE})
            if reported.LAST_WORD not in trace.metadata:
                store.put(ctx.conn, _told(trace, span_store.extent(ctx.conn, trace_id)))
            if run is not None:
                store.values.put(ctx.conn, trace_id, store.RUN, {run.id: ""})

    call.write(write)


def get(call: Call, ask: One) -> dict[str, Any]:
    """Return a trace with its spans: all of them, unless a part will do."""
    trace = reported.find(call, ask.trace_id)
    spans = call.read(lambda conn: span_store.of(conn, [trace.id])).get(trace.id, [])
    if not ask.allow_partial and len(spans) < _counted(trace):
        raise Refused(
            f"Trace with ID {trace.id} is not fully exported yet, please try again later.",
            errors.MISSING,
        )
    return {"trace": {"trace_info": reported.shown(trace), "spans": spans}}


def get_batch(call: Call, ask: Some) -> dict[str, Any]:
    """Return traces with their spans; those of which spans are still to come are left out."""
    found = call.read(lambda conn: store.find(conn, ask.trace_ids))
    spans = call.read(lambda conn: span_store.of(conn, [trace.id for trace in found]))
    whole = [trace for trace in found if len(spans.get(trace.id, ())) >= max(_counted(trace), 1)]
    return given(
        traces=[{"trace_info": reported.shown(trace), "spans": spans[trace.id]} for trace in whole]
    )


async def _export(request: Request) -> Response:
    headers = request.headers
    kind = headers.get("content-type", PROTOBUF)
    if _EXPERIMENT not in headers:
        raise Refused(f"The header {_EXPERIMENT} is missing: it says which experiment spans are of")
    content = await body(request, BODY_LIMIT)

    def work() -> None:
        spans = otlp.read(content, kind, headers.get("content-encoding", ""))
        keep(Call.of(request), spans, headers[_EXPERIMENT], headers.get(_RUN, ""))

    await run_in_threadpool(work)
    in_json = kind.startswith(otlp.JSON)
    return JSONResponse({}) if in_json else Response(b"", media_type=PROTOBUF)


def routes() -> list[Route]:
    return [Route("/v1/traces", guarded(_export), methods=["POST"])]


def _told(trace: Trace, extent: Extent) -> Trace:
    """Return a trace as its spans tell of it."""
    began = _moment(extent.began)
    if extent.root is None:
        return replace(trace, requested_at=began)
    root = {name: _text(value) for name, value in extent.root.items()}
    return replace(
        trace,
        state="ERROR" if extent.status == "ERROR" else "OK",
        requested_at=began,
        duration=None if extent.ended is None else (extent.ended - extent.began) // 1_000,
        request_preview=root.get(_INPUTS, "")[:_PREVIEW],
        response_preview=root.get(_OUTPUTS, "")[:_PREVIEW],
        tags={store.NAME: extent.name},
        metadata={new: root[old] for old, new in _CARRIED.items() if old in root},
    )


def _counted(trace: Trace) -> int:
    """Return how many spans a trace has by its client's own count; 0 if it did not count."""
    counts = json.loads(trace.metadata.get(_SIZE, "{}"))
    return int(counts.get("num_spans", 0))


def _text(value: Value) -> str:
    found = otlp.plain(value)
    return found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)


def _moment(nanoseconds: int) -> datetime:
    return from_micros(nanoseconds // 1_000)


ENDPOINTS = (
    Endpoint("GET", "/mlflow/traces/get", One, get, ("trace_id",), version="3.0"),
    Endpoint("GET", "/mlflow/traces/batchGet", Some, get_batch, version="3.0"),
)
