"""Spans of traces: one row each, found by what they are and by their attributes."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from msgspec import to_builtins
from sqlalchemy import ColumnElement, Connection, Row, Text, func, literal, select, type_coerce

from setpoint.db import paths
from setpoint.db.upsert import upsert
from setpoint.errors import Invalid
from setpoint.runs.filters import Comparison
from setpoint.runs.store.searching import Condition, as_text, compare
from setpoint.server.mlflow.tables import mlflow_spans, mlflow_traces
from setpoint.server.mlflow.traces.otlp import Span, Value, base64_of

TRACE = "tr-"  #: before OpenTelemetry's id of a trace, in MLflow's
_TYPE = "mlflow.spanType"
_UNKNOWN = "UNKNOWN"  #: the type of a span that says none
_OF = "attributes."
_REST = ("kind", "traceState", "events", "links", "status")
_VALUES = ("stringValue", "intValue", "doubleValue", "boolValue", "arrayValue", "kvlistValue")

_s = mlflow_spans.c
_CHANGED = tuple(column.name for column in mlflow_spans.columns if not column.primary_key)
_KNOWN = {
    "name": _s.name,
    "type": _s.type,
    "status": _s.status,
    "content": _s.name + " " + type_coerce(_s.attributes, Text),
}


class Extent(NamedTuple):
    """What the spans of a trace say of it, as far as they are there."""

    began: int  #: nanoseconds since 1970
    ended: int | None  #: of the last that ended
    root: dict[str, Value] | None  #: attributes of the one without a parent
    name: str  #: of that one
    status: str


def put(conn: Connection, trace_id: str, spans: Sequence[Span]) -> None:
    """Keep spans of a trace; one that is sent again is replaced."""
    rows = {span.span_id: _row(trace_id, span) for span in spans}
    upsert(conn, mlflow_spans, list(rows.values()), update=_CHANGED)


def of(conn: Connection, trace_ids: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Return the spans of traces as MLflow's messages, those that began first first."""
    query = select(mlflow_spans).where(_s.trace_id.in_(trace_ids))
    found: dict[str, list[dict[str, Any]]] = {}
    for row in conn.execute(query.order_by(_s.began, _s.parent, _s.id)):
        found.setdefault(row.trace_id, []).append(_message(row))
    return found


def extent(conn: Connection, trace_id: str) -> Extent:
    """Return what the spans of a trace say of it; it has at least one."""
    own = _s.trace_id == trace_id
    span = select(func.min(_s.began), func.max(_s.ended)).where(own)
    began, ended = conn.execute(span).one()
    top = select(_s.name, _s.status, _s.attributes).where(own, _s.parent == "")
    root = conn.execute(top.order_by(_s.began, _s.id)).first()
    if root is None:
        return Extent(began, ended, None, "", "")
    return Extent(began, ended, root.attributes, root.name, root.status)


def met(conn: Connection, found: Sequence[Comparison]) -> Condition:
    """Return the condition of traces of which one span meets all these comparisons.

    Raises:
        Invalid: If a span has nothing of the name that is compared.
    """
    there = select(literal(1)).where(_s.trace_id == mlflow_traces.c.id)
    meets = (compare(conn, _column(conn, each), as_text(each)) for each in found)
    return there.where(*meets).exists()


def _column(conn: Connection, found: Comparison) -> ColumnElement[Any]:
    if found.key.startswith(_OF):
        name = found.key.removeprefix(_OF).strip("`")
        kinds = (paths.text_at(conn, _s.attributes, name, kind) for kind in _VALUES)
        return func.coalesce(*kinds)
    if found.key not in _KNOWN:
        known = ", ".join((*_KNOWN, f"{_OF}NAME"))
        raise Invalid(
            f"a span has no {found.key!r}",
            where=f"at character {found.position + 1}",
            hint=f"there are {known}",
        )
    return _KNOWN[found.key]


def _row(trace_id: str, span: Span) -> dict[str, Any]:
    whole = to_builtins(span)
    attributes = {each["key"]: each["value"] for each in whole["attributes"]}
    return {
        "trace_id": trace_id,
        "id": span.span_id,
        "parent": span.parent_span_id,
        "name": span.name,
        "type": attributes.get(_TYPE, {}).get("stringValue", _UNKNOWN),
        "status": span.state,
        "began": span.start_time_unix_nano,
        "ended": span.end_time_unix_nano or None,
        "attributes": attributes,
        "rest": {name: whole[name] for name in _REST if whole[name]},
    }


def _message(row: Row[Any]) -> dict[str, Any]:
    links = [
        {**each, "traceId": base64_of(each["traceId"]), "spanId": base64_of(each["spanId"])}
        for each in row.rest.get("links", ())
    ]
    return {
        **row.rest,
        "links": links,
        "traceId": base64_of(row.trace_id.removeprefix(TRACE)),
        "spanId": base64_of(row.id),
        "parentSpanId": base64_of(row.parent),
        "name": row.name,
        "startTimeUnixNano": row.began,
        "endTimeUnixNano": row.ended or 0,
        "attributes": [{"key": name, "value": value} for name, value in row.attributes.items()],
    }
