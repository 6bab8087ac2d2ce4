"""The stream of a run: rows of history, what the machine does, lines of output, the summary."""

import json
from datetime import datetime
from typing import Any

import numpy as np
from msgspec import Struct, field

from setpoint.core.clock import to_micros
from setpoint.core.operations import Context, operation
from setpoint.errors import Invalid
from setpoint.runs import service
from setpoint.runs.columns import Columns, series
from setpoint.runs.commands import Append, ShowRun
from setpoint.runs.entities import Series
from setpoint.server.wandb.runs import changes as changing_runs
from setpoint.server.wandb.runs import history
from setpoint.server.wandb.runs import store as store_runs
from setpoint.server.wandb.runs.history import Batch
from setpoint.server.wandb.runs.store import Known
from setpoint.server.wandb.scope import Scope


class Part(Struct, frozen=True):
    """Lines of one of the stream's files."""

    content: list[str] = field(default_factory=list)
    offset: int = 0

    @property
    def end(self) -> int:
        return self.offset + len(self.content)


class Sent(Struct, frozen=True):
    """The body of a request."""

    files: dict[str, Part] | None = None
    complete: bool | None = None
    exitcode: int | None = None
    preempting: bool | None = None
    uploaded: list[str] | None = None
    dropped: int | None = None


class Deliver(Struct, frozen=True, kw_only=True):
    """A part of a run's stream, read. Delivered twice, it is kept once."""

    entity: str
    project: str
    run: str  #: the client's name for it
    history: Batch
    history_end: int  #: lines of history up to the end of this part; 0: it has none
    events: list[Series]
    events_end: int
    lines: Part
    summary: str | None = None  #: JSON
    complete: bool = False
    exit_code: int = 0
    preempting: bool = False


class Delivered(Struct, frozen=True, kw_only=True):
    stopped: bool  #: whether the client is to stop the run


_NOTHING = Part()


def read(entity: str, project: str, run: str, sent: Sent, now: int) -> Deliver:
    """Read a request.

    Raises:
        Invalid: If a row is no JSON object.
    """
    files = sent.files or {}
    rows = files.get("wandb-history.jsonl", _NOTHING)
    events = files.get("wandb-events.jsonl", _NOTHING)
    summary = files.get("wandb-summary.json", _NOTHING).content
    return Deliver(
        entity=entity,
        project=project,
        run=run,
        history=history.read(rows.content, rows.offset, now),
        history_end=rows.end if rows.content else 0,
        events=history.read_events(events.content, events.offset, now),
        events_end=events.end if events.content else 0,
        lines=files.get("output.log", _NOTHING),
        summary=_summary(summary[-1]) if summary else None,
        complete=bool(sent.complete),
        exit_code=sent.exitcode or 0,
        preempting=bool(sent.preempting),
    )


def _summary(text: str) -> str:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Invalid("the summary is no JSON object")
    return text


@operation("wandb.deliver", needs="runs:write")
def deliver(ctx: Context, cmd: Deliver) -> Delivered:
    """Write a part of a run's stream."""
    scope = Scope(ctx=ctx)
    known = changing_runs.one(scope, cmd.entity, cmd.project, cmd.run)
    changing_runs.kept(scope, known)
    points = [*cmd.history.series, *cmd.events]
    if points:
        service.append(ctx, Append(run=known.run_id, series=points, late=True))
    store_runs.put_rows(ctx.conn, known.run_id, cmd.history.rest)
    store_runs.put_lines(ctx.conn, known.run_id, cmd.lines.offset, cmd.lines.content)
    store_runs.change(ctx.conn, known.run_id, **_changes(ctx, cmd, known))
    if cmd.complete:
        last = _last(ctx, known)
        _summary_points(ctx, known, cmd.summary or known.summary)
        changing_runs.ended(scope, known, cmd.exit_code, last)
    return Delivered(stopped=known.stop)


def _last(ctx: Context, known: Known) -> datetime | None:
    """Return the time of a run's last point."""
    latest = service.show(ctx, ShowRun(run=known.run_id)).latest
    return max((one.at for one in latest.values()), default=None)


def _changes(ctx: Context, cmd: Deliver, known: Known) -> dict[str, Any]:
    fields = dict(known.fields)
    fields["last_step"] = max(fields.get("last_step", -1), cmd.history.last_step)
    if cmd.history_end > known.history_lines:
        fields["keys"] = _kinds(fields.get("keys", {}), cmd.history)
    changes = {
        "heartbeat_at": ctx.now,
        "history_lines": max(known.history_lines, cmd.history_end),
        "event_lines": max(known.event_lines, cmd.events_end),
        "log_lines": max(known.log_lines, cmd.lines.end),
        "fields": fields,
    }
    if cmd.summary is not None:
        changes["summary"] = cmd.summary
    if cmd.preempting:
        changes["state"] = "preempting"
    return changes


def _kinds(had: dict[str, Any], batch: Batch) -> dict[str, Any]:
    """Count the rows that have a value which is no number, by its key."""
    found = {name: list(counted) for name, counted in had.items()}
    for row in batch.rest.values():
        for name, value in row.items():
            if not isinstance(value, dict) or "_type" in value:
                counted = found.setdefault(name, [_kind(value), 0])
                counted[1] += 1
    return found


def _kind(value: Any) -> str:
    if isinstance(value, dict):
        return str(value["_type"])
    return "string" if isinstance(value, str) else "number" if isinstance(value, int) else "other"


def _summary_points(ctx: Context, known: Known, summary: str) -> None:
    """Make numbers that only the summary has metrics too, so that they are found and sorted by.

    They are no rows of the history: reading it back leaves them out.
    """
    latest = service.show(ctx, ShowRun(run=known.run_id)).latest
    fields = store_runs.get(ctx.conn, known.run_id)
    own: list[str] = list(fields.fields.get("summary_only", ())) if fields else []
    step = max(fields.fields.get("last_step", 0), 0) if fields else 0
    found = []
    for name, value in history.leaves(json.loads(summary)).items():
        if name.startswith("_") or isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if name not in latest or (name in own and latest[name].value != value):
            found.append((name, float(value)))
    if not found or fields is None:
        return
    at = np.array([to_micros(ctx.now)])
    points = [series(n, Columns(np.array([step]), at, np.array([v]))) for n, v in found]
    service.append(ctx, Append(run=known.run_id, series=points, late=True))
    names = sorted({*own, *(name for name, _ in found)})
    changed = fields.fields | {"summary_only": names}
    store_runs.change(ctx.conn, known.run_id, fields=changed)
