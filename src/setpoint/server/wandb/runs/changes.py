"""What the client changes about its runs: begin, describe, end, delete."""

import re
import secrets
import string
from datetime import datetime, timedelta
from typing import Any

import msgspec
from blake3 import blake3
from msgspec import Struct

from setpoint.errors import Conflict, NotFound
from setpoint.events.store import record
from setpoint.runs import service
from setpoint.runs.commands import (
    Forget,
    Log,
    OneRun,
    ShowRun,
    Start,
    UpdateRun,
)
from setpoint.runs.entities import Code, Run, Status, Value
from setpoint.server.wandb.asked import Parsed
from setpoint.server.wandb.runs import forks
from setpoint.server.wandb.runs import store as store_runs
from setpoint.server.wandb.runs.history import dumps, leaves
from setpoint.server.wandb.runs.nodes import GROUP, JOB_TYPE, NOTES, SWEEP, RunNode
from setpoint.server.wandb.runs.store import Known
from setpoint.server.wandb.scope import Scope, experiment_of
from setpoint.server.wandb.sweeps import store as store_sweeps

_ID = re.compile(r"[A-Za-z0-9_.:-]{1,256}")
_LETTERS = string.ascii_lowercase + string.digits
_COMMIT = re.compile(r"[0-9a-f]{7,64}")

_TOLD_LATER = timedelta(minutes=1)  #: what began earlier ran without a server

#: The client's states that begin or end a run of ours.
_STATUSES = {
    "pending": Status.SCHEDULED,
    "running": Status.RUNNING,
    "finished": Status.FINISHED,
    "failed": Status.FAILED,
    "crashed": Status.FAILED,
    "killed": Status.KILLED,
}


class Upsert(Struct, frozen=True, kw_only=True):
    """What `upsertBucket` says of a run; None says nothing."""

    id: str | None = None
    name: str | None = None
    model_name: str | None = None
    entity_name: str | None = None
    group_name: str | None = None
    description: str | None = None
    display_name: str | None = None
    notes: str | None = None
    commit: str | None = None
    config: Parsed | None = None
    host: str | None = None
    job_program: str | None = None
    job_repo: str | None = None
    job_type: str | None = None
    state: str | None = None
    sweep: str | None = None
    tags: list[str] | None = None
    summary_metrics: Parsed | None = None


def upsert(scope: Scope, fields: dict[str, Any]) -> dict[str, Any]:
    """Make a run, or write what is said of one that is there."""
    asked = msgspec.convert(fields, Upsert, strict=False)
    known = _meant(scope, asked)
    if known is None:
        return {"bucket": _begin(scope, asked), "inserted": True}
    _describe(scope, known, asked)
    if asked.id is None:
        _go_on(scope, known, asked.state)
    return {"bucket": node(scope, known.run_id), "inserted": False}


def _meant(scope: Scope, asked: Upsert) -> Known | None:
    if asked.id is not None:
        return known_of(scope, asked.id)
    experiment = experiment_of(asked.entity_name, asked.model_name)
    return find(scope, experiment, asked.name) if asked.name else None


def node(scope: Scope, run_id: str) -> RunNode:
    """Return a run as GraphQL tells of it."""
    run = service.show(scope.ctx, ShowRun(run=run_id))
    return RunNode(scope, run, store_runs.get(scope.conn, run_id))


def there(scope: Scope, run_id: str) -> RunNode | None:
    """Return a run as GraphQL tells of it, unless it is gone."""
    run = _shown(scope, run_id)
    return RunNode(scope, run, store_runs.get(scope.conn, run_id)) if run else None


def find(scope: Scope, experiment: str, name: str) -> Known | None:
    """Return the run of this name; one that another client made is called by its id."""
    known = store_runs.find(scope.conn, experiment, name)
    if known is not None:
        return known
    run = _shown(scope, name)
    if run is None or run.experiment != experiment or store_runs.get(scope.conn, name):
        return None
    return _foreign(scope, run)


def _shown(scope: Scope, run_id: str) -> Run | None:
    """Return a run of ours, unless there is none, or none any more."""
    try:
        return service.show(scope.ctx, ShowRun(run=run_id))
    except NotFound:
        return None


def known_of(scope: Scope, run_id: str) -> Known:
    """Return what is known of a run by our id.

    Raises:
        NotFound: If there is no such run.
    """
    known = store_runs.get(scope.conn, run_id)
    return known or _foreign(scope, service.show(scope.ctx, ShowRun(run=run_id)))


def one(scope: Scope, entity: str | None, project: str | None, name: str) -> Known:
    """Return the run of this name.

    Raises:
        NotFound: If there is none.
    """
    experiment = experiment_of(entity, project)
    known = find(scope, experiment, name)
    if known is None:
        raise NotFound(f"project {experiment!r} has no run {name!r}")
    return known


def _foreign(scope: Scope, run: Run) -> Known:
    """Return what there is to know of a run that another client made; kept when written to."""
    return Known(
        run_id=run.id,
        experiment=run.experiment,
        name=run.id,
        created_at=run.started_at,
        heartbeat_at=run.ended_at or scope.ctx.now,
        config=dumps({name: {"value": value} for name, value in run.params.items()}),
    )


def kept(scope: Scope, known: Known) -> Known:
    """Write what is known of a run, if another client made it and nothing was kept so far."""
    if store_runs.get(scope.conn, known.run_id) is None:
        store_runs.add(scope.conn, known)
    return known


# Beginning and going on


def _begin(scope: Scope, asked: Upsert) -> RunNode:
    now = scope.ctx.now
    experiment = experiment_of(asked.entity_name, asked.model_name)
    name = asked.name or "".join(secrets.choice(_LETTERS) for _ in range(8))
    config = asked.config.value if asked.config else {}
    run = service.start(
        scope.ctx,
        Start(
            experiment=experiment,
            id=_free_id(scope, experiment, name),
            name=asked.display_name or name,
            status=_STATUSES.get(asked.state or "running", Status.RUNNING),
            started_at=_started(config),
            params=params(config),
            tags=_tags(asked),
            code=_code(asked.commit),
        ),
    )
    summary = asked.summary_metrics.value if asked.summary_metrics else {}
    known = Known(
        run_id=run.id,
        experiment=run.experiment,
        name=name,
        created_at=now,
        heartbeat_at=now,
        config=dumps(config),
        summary=dumps(summary),
        fields=_fields(asked),
        sweep=asked.sweep,
        agent=_agent(scope, asked.sweep, name),
    )
    store_runs.add(scope.conn, known)
    if (point := forks.point_of(config)) is None:
        return RunNode(scope, run, known)
    parent, last = point
    forks.inherit(scope, known, find(scope, experiment, parent), last)
    return node(scope, run.id)


def _agent(scope: Scope, sweep: str | None, name: str) -> str | None:
    """Return which agent runs this, if a sweep asked for it."""
    trial = store_sweeps.trial(scope.conn, sweep, name) if sweep else None
    return trial.agent if trial else None


def _free_id(scope: Scope, experiment: str, name: str) -> str:
    """Return our id of a new run: the client's, unless it is no id of ours or is taken."""
    if _ID.fullmatch(name) and _shown(scope, name) is None:
        return name
    digest = blake3(f"{experiment}\0{name}".encode()).hexdigest()[:12]
    stem = re.sub(r"[^A-Za-z0-9_.-]+", "-", name)[:64]
    return f"{stem}-{digest}"


def _started(config: dict[str, Any]) -> datetime | None:
    """Return when a run began that is told of later: an offline one."""
    writers = config.get("_wandb", {}).get("value", {}).get("e", {})
    times = [writer.get("startedAt", "") for writer in writers.values()]
    try:
        return min(datetime.fromisoformat(time) for time in times) if times else None
    except (TypeError, ValueError):
        return None


def _began(scope: Scope, known: Known, asked: Upsert) -> datetime | None:
    """Return when a run really began, if that was before the server heard of it."""
    began = _started(asked.config.value) if asked.config else None
    if began is None or known.created_at - began < _TOLD_LATER:
        return None
    return began if service.show(scope.ctx, ShowRun(run=known.run_id)).started_at > began else None


def _go_on(scope: Scope, known: Known, state: str | None) -> None:
    """Make an ended or scheduled run a running one: its client is back."""
    run = service.show(scope.ctx, ShowRun(run=known.run_id))
    status = _STATUSES.get(state or "running", Status.RUNNING)
    store_runs.change(scope.conn, known.run_id, heartbeat_at=scope.ctx.now)
    if run.status is not status:
        service.update(scope.ctx, UpdateRun(run=run.id, status=status, ended_at=None))
        anew: dict[str, Any] = {"state": None, "stop": False, "exit_code": None}
        store_runs.change(scope.conn, known.run_id, **anew)


# Describing


def _describe(scope: Scope, known: Known, asked: Upsert) -> None:
    kept(scope, known)
    changes: dict[str, Any] = {}
    changed: dict[str, Value] = {}
    if asked.config is not None:
        changes["config"] = dumps(asked.config.value)
        had = params(msgspec.json.decode(known.config)) if known.config != "{}" else {}
        changed = {k: v for k, v in params(asked.config.value).items() if had.get(k, _NONE) != v}
    if asked.summary_metrics is not None:
        changes["summary"] = dumps(asked.summary_metrics.value)
    if asked.sweep is not None:
        changes["sweep"] = asked.sweep
        changes["agent"] = _agent(scope, asked.sweep, known.name)
    if fields := _fields(asked):
        changes["fields"] = known.fields | fields
    store_runs.change(scope.conn, known.run_id, **changes)
    began = _began(scope, known, asked)
    if asked.display_name or began:
        cmd = UpdateRun(run=known.run_id, name=asked.display_name, started_at=began)
        service.update(scope.ctx, cmd)
    tags, code = _tags(asked), _code(asked.commit)
    if changed or tags or code:
        told = Log(run=known.run_id, params=changed, tags=tags, code=code, replace=True, late=True)
        service.log(scope.ctx, told)
    if asked.tags is not None:
        _drop_tags(scope, known.run_id, set(asked.tags))


_NONE = object()


def _drop_tags(scope: Scope, run_id: str, kept_tags: set[str]) -> None:
    run = service.show(scope.ctx, ShowRun(run=run_id))
    gone = [name for name, value in run.tags.items() if value == "" and name not in kept_tags]
    if gone:
        service.forget(scope.ctx, Forget(run=run_id, tags=gone))


def params(config: dict[str, Any]) -> dict[str, Value]:
    """Return a client's config as params of ours: scalars by dotted name."""
    values = {
        name: found["value"] if isinstance(found, dict) and "value" in found else found
        for name, found in config.items()
        if name not in {"_wandb", "wandb_version"}
    }
    return leaves(values)


def _tags(asked: Upsert) -> dict[str, str]:
    named = {GROUP: asked.group_name, JOB_TYPE: asked.job_type, NOTES: asked.notes}
    named[SWEEP] = asked.sweep
    return {k: v for k, v in named.items() if v} | dict.fromkeys(asked.tags or (), "")


def _fields(asked: Upsert) -> dict[str, str]:
    named = {"host": asked.host, "program": asked.job_program, "repo": asked.job_repo}
    return {name: value for name, value in named.items() if value}


def _code(commit: str | None) -> Code | None:
    return Code(commit=commit) if commit and _COMMIT.fullmatch(commit) else None


# Ending and deleting


def update_state(scope: Scope, fields: dict[str, Any]) -> dict[str, Any]:
    """Make a run pending again, or failed."""
    known = kept(scope, known_of(scope, fields["id"]))
    state = fields["state"]
    if state not in {"pending", "failed"}:
        raise Conflict(f"a run cannot be made {state}", hint="pending or failed")
    if known.sweep:
        raise Conflict("the state of a sweep's run is the sweep's to change")
    ended_at = scope.ctx.now if state == "failed" else None
    cmd = UpdateRun(run=known.run_id, status=_STATUSES[state], ended_at=ended_at)
    service.update(scope.ctx, cmd)
    return {"success": True}


def stop(scope: Scope, fields: dict[str, Any]) -> dict[str, Any]:
    """Have the client of a run stop it: it asks with each part of its stream."""
    known = kept(scope, known_of(scope, fields["id"]))
    store_runs.change(scope.conn, known.run_id, stop=True)
    record(scope.ctx, "run.stop_requested", f"run:{known.run_id}")
    return {"success": True}


def delete_run(scope: Scope, fields: dict[str, Any]) -> dict[str, Any]:
    """Take a run out of every list; its bytes go when the garbage is collected."""
    service.delete(scope.ctx, OneRun(run=known_of(scope, fields["id"]).run_id))
    return {"client_mutation_id": None}


def ended(scope: Scope, known: Known, exit_code: int, last: datetime | None) -> None:
    """Write how a run ended; one that is told of later, with the `last` that is known of it."""
    store_runs.change(scope.conn, known.run_id, exit_code=exit_code, state=None)
    error = f"its process ended with code {exit_code}" if exit_code else ""
    status = Status.FAILED if exit_code else Status.FINISHED
    run = service.show(scope.ctx, ShowRun(run=known.run_id))
    later = known.created_at - run.started_at >= _TOLD_LATER
    ended_at = max(last, run.started_at) if last and later else scope.ctx.now
    service.update(scope.ctx, UpdateRun(run=run.id, status=status, error=error, ended_at=ended_at))


def alert(scope: Scope, fields: dict[str, Any]) -> dict[str, Any]:
    """Record what a run wants people to know."""
    known = one(scope, fields["entity_name"], fields["project_name"], fields["run_name"])
    severity = fields.get("severity") or "INFO"
    title, text = fields["title"], fields["text"]
    subject = f"run:{known.run_id}"
    record(scope.ctx, "run.alerted", subject, title=title, text=text, severity=severity)
    return {"success": True}


CHANGES = {
    "upsertBucket": upsert,
    "updateRunState": update_state,
    "stopRun": stop,
    "deleteRun": delete_run,
    "notifyScriptableRunAlert": alert,
}
