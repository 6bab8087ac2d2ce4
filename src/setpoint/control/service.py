"""What one can ask of the controller's knowledge."""

from datetime import datetime

import msgspec
from msgspec import Struct

from setpoint.control import store
from setpoint.control.decide import Observed, state
from setpoint.control.entities import Applied, Job, State
from setpoint.control.observe import observe
from setpoint.core.operations import Context, operation
from setpoint.monitor import rules
from setpoint.monitor import store as monitor
from setpoint.monitor.entities import Alarm
from setpoint.monitor.errors import ErrorVerdict
from setpoint.releases.entities import Release
from setpoint.serve import store as serving
from setpoint.serve.entities import Deployment


class ListStatus(Struct, frozen=True, kw_only=True):
    model: str | None = None


class Status(Struct, frozen=True, kw_only=True):
    """Where one model stands, and what that rests on."""

    model: str
    state: State
    why: str
    live: int | None
    live_since: datetime | None  #: when the live version was registered
    deployments: list[Deployment]
    release: Release | None  #: the one in progress or held
    job: Job | None  #: the training that was requested last
    alarms: list[Alarm]  #: of the live version, not closed
    spec: str  #: hash of the spec in force
    owner: str
    purpose: str
    objective: str  #: in words: ``roc_auc ≥ 0.68``
    errors: ErrorVerdict | None = None  #: the newest of the live version; None: not watched yet


class Statuses(Struct, frozen=True, kw_only=True):
    models: list[Status]


class ShowSpec(Struct, frozen=True, kw_only=True):
    model: str


class ListJobs(Struct, frozen=True, kw_only=True):
    model: str
    limit: int = 100


class Jobs(Struct, frozen=True, kw_only=True):
    jobs: list[Job]


@operation("status.ls", needs="models:read")
def ls(ctx: Context, cmd: ListStatus) -> Statuses:
    """Say of each model: on target, settling, off target or held, and why."""
    one = cmd.model
    found = store.all_applied(ctx.conn) if one is None else [store.need(ctx.conn, one)]
    return Statuses(models=[_status(ctx, applied) for applied in found])


@operation("specs.show", needs="models:read")
def show_spec(ctx: Context, cmd: ShowSpec) -> Applied:
    """Return the spec in force for a model."""
    return store.need(ctx.conn, cmd.model)


@operation("jobs.ls", needs="models:read")
def jobs(ctx: Context, cmd: ListJobs) -> Jobs:
    """List the trainings of a model, newest first, and what came of them."""
    return Jobs(jobs=store.jobs_of(ctx.conn, cmd.model, cmd.limit))


def _status(ctx: Context, applied: Applied) -> Status:
    seen = observe(ctx, applied)
    failed = None
    if seen.spec.guardrails.errors is not None and seen.live is not None:
        failed = monitor.verdict_of(ctx.conn, applied.model, seen.live, rules.ERRORS)
    found, why = state(seen)
    release = seen.release if seen.release is not None and seen.release.open else None
    return Status(
        model=applied.model,
        state=found,
        why=why,
        live=seen.live,
        live_since=seen.live_born,
        deployments=serving.deployments(ctx.conn, applied.model),
        release=release,
        job=seen.job,
        alarms=seen.alarms,
        spec=applied.hash,
        owner=seen.spec.owner,
        purpose=seen.spec.purpose,
        objective=objective_of(seen),
        errors=None if failed is None else msgspec.convert(failed, ErrorVerdict),
    )


def objective_of(seen: Observed) -> str:
    """Return the objective in words."""
    objective = seen.spec.objective
    words: list[str] = [objective.metric]
    if objective.at_least is not None:
        words.append(f"≥ {objective.at_least:g}")
    if objective.at_most is not None:
        words.append(f"≤ {objective.at_most:g}")
    if objective.better_than not in (None, "nothing"):
        words.append(f"better than the {objective.better_than}")
    return " ".join(words)


OPERATIONS = (ls, show_spec, jobs)
