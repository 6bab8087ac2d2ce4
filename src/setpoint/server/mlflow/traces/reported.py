"""MLflow's traces, as its client reports them when they have ended.

Their spans have come before, by OpenTelemetry's protocol. A client that does not send them so
(before MLflow 3.4) writes and reads them as an artifact of the trace.
"""

import json
import re
import uuid
from datetime import UTC, datetime
from typing import Any

from msgspec import field

from setpoint.core.operations import Context
from setpoint.server.mlflow import checks, errors, experiments, render, runs
from setpoint.server.mlflow.errors import Refused
from setpoint.server.mlflow.routing import Call, Endpoint
from setpoint.server.mlflow.store import free
from setpoint.server.mlflow.traces import store
from setpoint.server.mlflow.traces.store import Trace
from setpoint.server.mlflow.wire import Message, given

LAST_WORD = "mlflow.trace.infoFinalized"  #: metadata of a trace that its client reported
PLACE, HERE = "mlflow.trace.spansLocation", "TRACKING_STORE"  #: the tag of one with spans here
_ARTIFACTS = "mlflow.artifactLocation"
_STATES = ("STATE_UNSPECIFIED", "OK", "ERROR", "IN_PROGRESS")
_DURATION = re.compile(r"(-?\d+(?:\.\d+)?)s")
_LINKS = 100  #: traces that one request may link to a run


class Experiment(Message, frozen=True, kw_only=True):
    experiment_id: str = ""


class Location(Message, frozen=True, kw_only=True):
    type: str | int = ""
    mlflow_experiment: Experiment = Experiment()


class Info(Message, frozen=True, kw_only=True):
    trace_id: str = ""
    client_request_id: str = ""
    trace_location: Location = Location()
    request_preview: str = ""
    response_preview: str = ""
    request_time: datetime | None = None
    execution_duration: str = ""
    state: str | int = "STATE_UNSPECIFIED"
    trace_metadata: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    assessments: list[dict[str, Any]] = field(default_factory=list)


class Whole(Message, frozen=True, kw_only=True):
    trace_info: Info = Info()


class Start(Message, frozen=True, kw_only=True):
    trace: Whole = Whole()


class Ids(Message, frozen=True, kw_only=True):
    trace_ids: list[str] = field(default_factory=list)
    run_id: str = ""


class Prompt(Message, frozen=True, kw_only=True):
    name: str = ""
    version: str = ""


class LinkPrompts(Message, frozen=True, kw_only=True):
    trace_id: str = ""
    prompt_versions: list[Prompt] = field(default_factory=list)


class Tag(Message, frozen=True, kw_only=True):
    key: str = ""
    value: str = ""


class Delete(Message, frozen=True, kw_only=True):
    experiment_id: str = ""
    max_timestamp_millis: int | None = None
    max_traces: int | None = None
    request_ids: list[str] = field(default_factory=list)


class Search(Message, frozen=True, kw_only=True):
    locations: list[Location] = field(default_factory=list)
    filter: str = ""
    max_results: int | None = None
    order_by: list[str] = field(default_factory=list)
    page_token: str = ""


class Get(Message, frozen=True, kw_only=True):
    pass


def start(call: Call, ask: Start) -> dict[str, Any]:
    """Keep a trace, which its client reports when it has ended."""
    info = ask.trace.trace_info
    if not info.trace_id:
        raise errors.missing("trace.trace_info.trace_id")
    location = info.trace_location.mlflow_experiment.experiment_id
    experiment = experiments.active(call, location)
    root = render.location(experiment).rstrip("/")
    for index, name in enumerate(info.tags):
        checks.length(f"tags[{index}].key", name, checks.KEY)
    where = f"{root}/traces/{info.trace_id}/artifacts"

    def keep(ctx: Context) -> Trace:
        trace = Trace(
            id=info.trace_id,
            experiment_id=experiment.id,
            state=_state(info.state),
            requested_at=info.request_time or ctx.now,
            duration=_duration(info.execution_duration),
            client_request_id=info.client_request_id,
            request_preview=info.request_preview,
            response_preview=info.response_preview,
            tags={**info.tags, _ARTIFACTS: where},
            metadata={**info.trace_metadata, LAST_WORD: "true"},
        )
        store.put(ctx.conn, trace)
        for said in info.assessments:
            content = completed(said, trace.id, ctx.now)
            store.put_assessment(ctx.conn, trace.id, content, ctx.now)
        return store.find(ctx.conn, [trace.id])[0]

    return {"trace": {"trace_info": shown(call.write(keep))}}


def get(call: Call, _: Get) -> dict[str, Any]:
    return {"trace": {"trace_info": shown(find(call, call.path["trace_id"]))}}


def get_batch(call: Call, ask: Ids) -> dict[str, Any]:
    if not ask.trace_ids:
        raise errors.missing("trace_ids")
    found = call.read(lambda conn: store.find(conn, ask.trace_ids))
    return given(trace_infos=[shown(each) for each in found])


def search(call: Call, ask: Search) -> dict[str, Any]:
    names = [each.mlflow_experiment.experiment_id for each in ask.locations]
    wanted = store.Ask(
        experiments=[checks.experiment_id(name) for name in names if name],
        filter=ask.filter,
        order=ask.order_by,
        limit=checks.at_most(ask.max_results, 100, 500),
        token=ask.page_token,
    )
    found, token = call.read(lambda conn: store.search(conn, wanted))
    return given(traces=[shown(each) for each in found], next_page_token=token or None)


def set_tag(call: Call, ask: Tag) -> dict[str, Any]:
    checks.length("key", ask.key, checks.KEY)
    checks.length("value", ask.value, checks.RUN_TAG)
    found = find(call, call.path["trace_id"])
    tags = {ask.key: ask.value}
    call.write(lambda ctx: store.values.put(ctx.conn, found.id, store.TAG, tags))
    return {}


def delete_tag(call: Call, ask: Tag) -> dict[str, Any]:
    found = find(call, call.path["trace_id"])
    if not call.write(lambda ctx: store.values.drop(ctx.conn, found.id, store.TAG, [ask.key])):
        text = f"No trace tag with key '{ask.key}' for trace with ID '{found.id}'"
        raise Refused(text, errors.MISSING)
    return {}


def link_run(call: Call, ask: Ids) -> dict[str, Any]:
    if len(ask.trace_ids) > _LINKS:
        raise Refused(
            f"Cannot link more than {_LINKS} traces to a run in a single request. "
            f"Provided {len(ask.trace_ids)} traces."
        )
    run = runs.find(call, ask.run_id)

    def link(ctx: Context) -> None:
        for trace in store.find(ctx.conn, ask.trace_ids):
            store.values.put(ctx.conn, trace.id, store.RUN, {run.id: ""})

    call.write(link)
    return {}


def link_prompts(call: Call, ask: LinkPrompts) -> dict[str, Any]:
    """Note in a tag which prompts a trace used; each once."""
    found = find(call, ask.trace_id)
    linked = json.loads(found.tags.get(store.PROMPTS, "[]"))
    new = [{"name": each.name, "version": each.version} for each in ask.prompt_versions]
    tags = {store.PROMPTS: json.dumps(linked + [each for each in new if each not in linked])}
    call.write(lambda ctx: store.values.put(ctx.conn, found.id, store.TAG, tags))
    return {}


def delete(call: Call, ask: Delete) -> dict[str, Any]:
    """Delete traces: those named, or the oldest up to a time."""
    number = checks.experiment_id(ask.experiment_id)
    by_time, by_id = ask.max_timestamp_millis is not None, bool(ask.request_ids)
    if by_time == by_id:
        raise Refused("Either `max_timestamp_millis` or `trace_ids` must be specified, not both.")
    if by_id and ask.max_traces is not None:
        raise Refused("`max_traces` can't be specified if `trace_ids` is specified.")
    if ask.max_traces is not None and ask.max_traces <= 0:
        raise Refused(f"`max_traces` must be a positive integer, received {ask.max_traces}.")
    until = (
        render.moment(ask.max_timestamp_millis) if ask.max_timestamp_millis is not None else None
    )

    def remove(ctx: Context) -> int:
        ids = store.selected(ctx.conn, number, until, ask.request_ids, ask.max_traces)
        free(ctx, store.remove(ctx.conn, number, ids))
        return len(ids)

    return {"traces_deleted": call.write(remove)}


def find(call: Call, trace_id: str) -> Trace:
    """Return a trace.

    Raises:
        Refused: If there is none of this id.
    """
    found = call.read(lambda conn: store.find(conn, [trace_id]))
    if not found:
        raise Refused(f"Trace with ID '{trace_id}' not found.", errors.MISSING)
    return found[0]


def shown(trace: Trace) -> dict[str, Any]:
    """Return a trace as MLflow's message."""
    experiment = {"experiment_id": str(trace.experiment_id)}
    duration = None if trace.duration is None else f"{trace.duration / 1e6:.6f}s"
    info = {
        "trace_id": trace.id,
        "client_request_id": trace.client_request_id or None,
        "trace_location": {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": experiment},
        "request_preview": trace.request_preview or None,
        "response_preview": trace.response_preview or None,
        "request_time": instant(trace.requested_at),
        "execution_duration": duration,
        "state": trace.state,
        "trace_metadata": trace.metadata,
        "tags": trace.tags,
        "assessments": trace.assessments,
    }
    return given(**info)


def instant(at: datetime) -> str:
    """Return a time as proto JSON says it."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def completed(content: dict[str, Any], trace_id: str, now: datetime) -> dict[str, Any]:
    """Return an assessment with the fields that its server gives it."""
    at = instant(now)
    return {
        "assessment_id": f"a-{uuid.uuid4().hex}",
        "create_time": at,
        "last_update_time": at,
        "valid": True,
        **content,
        "trace_id": trace_id,
    }


def _state(value: str | int) -> str:
    name = _STATES[int(value)] if str(value) in {"0", "1", "2", "3"} else str(value)
    if name not in _STATES:
        raise Refused(f"Invalid trace state '{value}'. It is one of {', '.join(_STATES)}.")
    return name


def _duration(text: str) -> int | None:
    if not text:
        return None
    found = _DURATION.fullmatch(text)
    if found is None:
        raise Refused(f"Invalid duration '{text}': seconds such as 1.5s are needed")
    return round(float(found.group(1)) * 1e6)


_ONE = "/mlflow/traces/{trace_id}"

ENDPOINTS = (
    Endpoint("POST", "/mlflow/traces", Start, start, version="3.0"),
    Endpoint("POST", "/mlflow/traces/batchGetInfos", Ids, get_batch, version="3.0"),
    Endpoint("POST", "/mlflow/traces/search", Search, search, version="3.0"),
    Endpoint("GET", _ONE, Get, get, version="3.0"),
    Endpoint("PATCH", f"{_ONE}/tags", Tag, set_tag, ("key",)),
    Endpoint("PATCH", f"{_ONE}/tags", Tag, set_tag, ("key",), version="3.0"),
    Endpoint("DELETE", f"{_ONE}/tags", Tag, delete_tag, ("key",)),
    Endpoint("DELETE", f"{_ONE}/tags", Tag, delete_tag, ("key",), version="3.0"),
    Endpoint("POST", "/mlflow/traces/link-to-run", Ids, link_run, ("run_id",)),
    Endpoint("POST", "/mlflow/traces/link-prompts", LinkPrompts, link_prompts, ("trace_id",)),
    Endpoint("POST", "/mlflow/traces/delete-traces", Delete, delete, ("experiment_id",)),
    Endpoint(
        "POST", "/mlflow/traces/delete-traces", Delete, delete, ("experiment_id",), version="3.0"
    ),
)
