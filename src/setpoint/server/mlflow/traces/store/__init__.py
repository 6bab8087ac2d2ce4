"""Traces: what MLflow's clients report of calls they watched, and what people said of them."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace
from sqlalchemy import (
    ColumnElement,
    Connection,
    Float,
    case,
    cast,
    delete,
    literal,
    or_,
    select,
    update,
)

from setpoint.db import paths
from setpoint.db.named import NamedValues
from setpoint.db.upsert import upsert
from setpoint.errors import Invalid
from setpoint.runs.filters import (
    ATTRIBUTE,
    Attribute,
    Comparison,
    Entity,
    Expression,
    Kind,
    Language,
    parse,
    parse_order,
)
from setpoint.runs.store import searching
from setpoint.runs.store.searching import Condition, Sort, compare, micros, sorts
from setpoint.server.mlflow.tables import (
    mlflow_assessments,
    mlflow_files,
    mlflow_spans,
    mlflow_trace_values,
    mlflow_traces,
)
from setpoint.server.mlflow.traces.store import spans

TAG, METADATA, RUN = "tag", "metadata", "run"
PROMPTS = "mlflow.linkedPrompts"  #: the tag that lists which prompts a trace used
_SPAN = "span"
_KINDS = {"tags": TAG, "metadata": METADATA}
_NUMBER = r"^-?[0-9]+([.][0-9]+)?([eE][-+]?[0-9]+)?$"
_SOME = 500  #: ids in one statement
NAME, _RUN = "mlflow.traceName", "mlflow.sourceRun"

_t, _v = mlflow_traces.c, mlflow_trace_values.c

TRACES = Language(
    noun="trace",
    attributes={
        "request_id": Attribute(also=("trace_id",)),
        "timestamp_ms": Attribute(kind=Kind.TIME, also=("timestamp", "request_time")),
        "execution_time_ms": Attribute(
            kind=Kind.NUMBER, also=("execution_time", "execution_duration")
        ),
        "end_time_ms": Attribute(kind=Kind.TIME, also=("end_time",)),
        "status": Attribute(also=("state",)),
        "name": Attribute(),
        "run_id": Attribute(),
        "client_request_id": Attribute(),
        "experiment_id": Attribute(kind=Kind.NUMBER),
        "prompt": Attribute(orders=False),
        "text": Attribute(orders=False),
    },
    entities={
        "tags": Entity(also=("tag",)),
        "metadata": Entity(also=("request_metadata",)),
        "span": Entity(kind=Kind.TEXT),
        "feedback": Entity(),
        "expectation": Entity(),
    },
    attribute_words=(ATTRIBUTE, "attributes", "attr", "trace"),
)


def _value(kind: str, name: str) -> ColumnElement[Any]:
    where = (_v.trace_id == _t.id, _v.kind == kind, _v.name == name)
    return select(_v.value).where(*where).scalar_subquery()


_ATTRIBUTES: dict[str, ColumnElement[Any]] = {
    "request_id": _t.id,
    "timestamp_ms": micros(_t.requested_at),
    "execution_time_ms": _t.duration / 1000.0,
    "end_time_ms": micros(_t.requested_at) + _t.duration,
    "status": _t.state,
    "name": _value(TAG, NAME),
    "run_id": _value(METADATA, _RUN),
    "client_request_id": _t.client_request_id,
    "experiment_id": _t.experiment_id,
}

values = NamedValues(mlflow_trace_values, "trace_id")  #: tags and their like


class Trace(Struct, frozen=True, kw_only=True):
    id: str
    experiment_id: int
    state: str  #: OK, ERROR, IN_PROGRESS
    requested_at: datetime
    duration: int | None = None  #: microseconds; None: not ended
    client_request_id: str = ""
    request_preview: str = ""
    response_preview: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)
    assessments: list[dict[str, Any]] = field(default_factory=list)  #: as the client sent them


_CARRIED = {"tags", "metadata", "assessments"}
_PLAIN = tuple(name for name in Trace.__struct_fields__ if name not in _CARRIED)


def put(conn: Connection, trace: Trace) -> None:
    """Keep a trace; what is known of it already is replaced, values of other names stay."""
    row = {name: getattr(trace, name) for name in _PLAIN}
    upsert(conn, mlflow_traces, [row], update=_PLAIN[1:])
    values.put(conn, trace.id, TAG, trace.tags)
    values.put(conn, trace.id, METADATA, trace.metadata)


def begin(conn: Connection, trace: Trace) -> Trace:
    """Return the trace of this id, which is kept first if there is none; nobody else changes it."""
    row = {name: getattr(trace, name) for name in _PLAIN}
    upsert(conn, mlflow_traces, [row])
    conn.execute(select(_t.id).where(_t.id == trace.id).with_for_update())
    return find(conn, [trace.id])[0]


def find(conn: Connection, ids: list[str]) -> list[Trace]:
    """Return the traces of these ids, in their order; those that are not there are left out."""
    found: dict[str, Trace] = {}
    for start in range(0, len(ids), _SOME):
        some = ids[start : start + _SOME]
        named, said = values.of(conn, some), _assessments(conn, some)
        rows = conn.execute(select(mlflow_traces).where(mlflow_traces.c.id.in_(some)))
        for row in rows:
            kinds = named.get(row.id, {})
            found[row.id] = msgspec.convert(
                {
                    **{name: getattr(row, name) for name in _PLAIN},
                    "tags": kinds.get(TAG, {}),
                    "metadata": kinds.get(METADATA, {}),
                    "assessments": said.get(row.id, []),
                },
                Trace,
            )
    return [found[each] for each in ids if each in found]


class Ask(Struct, frozen=True, kw_only=True):
    """A search for traces."""

    experiments: list[int]
    filter: str = ""
    order: list[str] = field(default_factory=list)  #: by default the newest first
    limit: int = 100
    token: str = ""


def search(conn: Connection, ask: Ask) -> tuple[list[Trace], str]:
    """Return a page of traces and the token of the next."""
    condition = searching.where(
        parse(ask.filter, TRACES),
        lambda found: _leaf(conn, found),
        lambda parts: _of_one_span(conn, parts),
    )
    order: list[Sort] = []
    for item in parse_order(ask.order or ["timestamp_ms DESC"], TRACES):
        if item.entity == ATTRIBUTE:
            empty: str | int = "" if TRACES.attributes[item.key].kind is Kind.TEXT else 0
            order += sorts(_ATTRIBUTES[item.key], empty, descending=item.descending)
        elif item.entity in _KINDS:
            value = _value(_KINDS[item.entity], item.key)
            order += sorts(value, "", descending=item.descending)
        else:
            raise Invalid(f"traces cannot be ordered by {item.entity}.{item.key}")
    rows, token = searching.page(
        conn,
        select(_t.id).where(_t.experiment_id.in_(ask.experiments), condition),
        [*order, Sort(_t.id)],
        limit=ask.limit,
        token=ask.token,
        of=searching.mark(ask.experiments, ask.filter, ask.order),
    )
    return find(conn, [row.id for row in rows]), token


def _of_one_span(
    conn: Connection, parts: Sequence[Expression]
) -> tuple[list[Condition], list[Expression]]:
    """Take what is said of spans: all that one AND says is said of the same one."""
    said = [each for each in parts if isinstance(each, Comparison) and each.entity == _SPAN]
    others = [each for each in parts if each not in said]
    return [spans.met(conn, said)] if said else [], others


def _leaf(conn: Connection, found: Comparison) -> Condition:
    if found.entity == ATTRIBUTE:
        return _of_itself(conn, found)
    if found.entity == _SPAN:
        return spans.met(conn, [found])
    if found.entity in _KINDS:
        own = (_v.trace_id == _t.id) & (_v.kind == _KINDS[found.entity])
        return searching.tags(conn, found, own, _v.name, _v.value)
    return _judged(conn, found)


def _of_itself(conn: Connection, found: Comparison) -> Condition:
    if found.key == "run_id":
        # A trace belongs to the run it was made in, and to those it was linked to since.
        linked = select(literal(1)).where(_v.trace_id == _t.id, _v.kind == RUN)
        return or_(
            compare(conn, _ATTRIBUTES["run_id"], found),
            linked.where(compare(conn, _v.name, found)).exists(),
        )
    if found.key == "text":
        return spans.met(conn, [replace(found, key="content")])
    if found.key == "prompt":
        name, _, version = str(found.value).partition("/")
        pattern = f"%{json.dumps({'name': name, 'version': version})}%"
        return compare(conn, _value(TAG, PROMPTS), replace(found, op="LIKE", value=pattern))
    return compare(conn, _ATTRIBUTES[found.key], found)


def _judged(conn: Connection, found: Comparison) -> Condition:
    """Return the condition of what people and judges say, as far as it still holds."""
    said = mlflow_assessments.c
    value = paths.text_at(conn, said.content, found.entity, "value")
    there = select(literal(1)).where(
        said.trace_id == _t.id,
        paths.text_at(conn, said.content, "assessment_name") == found.key,
        value.is_not(None),
        paths.text_at(conn, said.content, "valid") == "true",
    )
    if found.op == "NULL":
        return there.exists() if found.negated else ~there.exists()
    if isinstance(found.value, float | int):
        number = compare(conn, value, replace(found, op="RLIKE", value=_NUMBER, negated=False))
        return there.where(compare(conn, case((number, cast(value, Float))), found)).exists()
    return there.where(compare(conn, value, found)).exists()


def put_assessment(conn: Connection, trace_id: str, content: dict[str, Any], at: datetime) -> None:
    """Keep what was said of a trace, under its ``assessment_id``."""
    row = {"id": content["assessment_id"], "trace_id": trace_id, "at": at, "content": content}
    upsert(conn, mlflow_assessments, [row], update=("content",))


def change_assessment(conn: Connection, assessment_id: str, content: dict[str, Any]) -> None:
    where = mlflow_assessments.c.id == assessment_id
    conn.execute(update(mlflow_assessments).where(where).values(content=content))


def find_assessment(conn: Connection, trace_id: str, assessment_id: str) -> dict[str, Any] | None:
    table = mlflow_assessments.c
    query = select(table.content).where(table.id == assessment_id, table.trace_id == trace_id)
    found: dict[str, Any] | None = conn.execute(query).scalar()
    return found


def drop_assessment(conn: Connection, assessment_id: str) -> None:
    conn.execute(delete(mlflow_assessments).where(mlflow_assessments.c.id == assessment_id))


def selected(
    conn: Connection, experiment_id: int, until: datetime | None, ids: list[str], limit: int | None
) -> list[str]:
    """Return ids of an experiment's traces, the oldest first."""
    table = mlflow_traces.c
    query = select(table.id).where(table.experiment_id == experiment_id)
    if until is not None:
        query = query.where(table.requested_at <= until)
    if ids:
        query = query.where(table.id.in_(ids))
    return list(conn.scalars(query.order_by(table.requested_at, table.id).limit(limit)))


def remove(conn: Connection, experiment_id: int, ids: list[str]) -> set[str]:
    """Delete traces with everything that belongs to them; return the objects of their files."""
    gone: set[str] = set()
    for start in range(0, len(ids), _SOME):
        some = ids[start : start + _SOME]
        roots = [f"{experiment_id}/traces/{each}" for each in some]
        conn.execute(delete(mlflow_assessments).where(mlflow_assessments.c.trace_id.in_(some)))
        conn.execute(delete(mlflow_trace_values).where(mlflow_trace_values.c.trace_id.in_(some)))
        conn.execute(delete(mlflow_spans).where(mlflow_spans.c.trace_id.in_(some)))
        files = mlflow_files.c.root.in_(roots)
        gone.update(conn.scalars(select(mlflow_files.c.address).where(files)))
        conn.execute(delete(mlflow_files).where(files))
        conn.execute(delete(mlflow_traces).where(mlflow_traces.c.id.in_(some)))
    return gone


def _assessments(conn: Connection, ids: list[str]) -> dict[str, list[dict[str, Any]]]:
    table = mlflow_assessments.c
    query = select(table.trace_id, table.content).where(table.trace_id.in_(ids))
    found: dict[str, list[dict[str, Any]]] = {}
    for row in conn.execute(query.order_by(table.at, table.id)):
        found.setdefault(row.trace_id, []).append(row.content)
    return found
