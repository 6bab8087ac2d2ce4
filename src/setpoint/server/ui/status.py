"""The state of each model as the overview tells it, and why."""

from msgspec import Struct
from sqlalchemy import Connection, select

from setpoint.control.store import all_applied, last_job
from setpoint.models.tables import models as m
from setpoint.monitor.entities import AlarmState
from setpoint.releases.entities import State
from setpoint.server.ui import history


class Status(Struct, frozen=True, kw_only=True):
    """Where a model stands."""

    model: str
    state: str  #: ``on target``, ``settling``, ``off target`` or ``held``
    why: str


def all_models(conn: Connection) -> list[Status]:
    """Return every model that was applied or registered; what is off target first."""
    names = {each.model for each in all_applied(conn)}
    names |= set(conn.execute(select(m.c.model)).scalars())
    order = ("off target", "held", "settling", "on target")
    found = [of_model(conn, name) for name in sorted(names)]
    return sorted(found, key=lambda each: order.index(each.state))


def of_model(conn: Connection, model: str) -> Status:
    """Return where one model stands."""
    state, why = _state(conn, model)
    return Status(model=model, state=state, why=why)


def _state(conn: Connection, model: str) -> tuple[str, str]:
    release = next((r for r in history.releases(conn, model) if r.open), None)
    lives = history.lives(conn, model)
    if release is not None and release.state is State.HELD:
        return (
            "held",
            f"the release of version {release.version} is held: {release.verdict_why}",
        )
    job = last_job(conn, model)
    if not lives:
        if job is not None and job.outcome and job.state in {"refused", "failed"}:
            return "off target", f"no version is live: {job.outcome}"
        return "settling", "the first version is not live yet"
    standing = [a for a in history.alarms(conn, model) if a.state is not AlarmState.CLOSED]
    if standing:
        return "off target", "; ".join(a.text for a in standing[:2])
    if job is not None and job.state == "requested":
        return "settling", f"training a version: {job.why}"
    if release is not None:
        return "settling", f"version {release.version} is in {release.stage}"
    return "on target", f"version {lives[-1].version} holds its objective"
