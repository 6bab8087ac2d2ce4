"""What pages read that no operation gives: bounded selects, one each, nothing written.

Each takes a connection and returns values; none opens or commits a transaction.
"""

from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, Table, Text, cast, func, or_, select

from setpoint.data.entities import Validation
from setpoint.data.tables import dataset_versions as d
from setpoint.data.tables import validations as v
from setpoint.db.schema import encode
from setpoint.events.entities import Event
from setpoint.events.tables import events as e
from setpoint.models.entities import ModelVersion
from setpoint.models.review import store as review
from setpoint.models.tables import model_versions as m
from setpoint.models.tables import models
from setpoint.monitor import store as monitor
from setpoint.monitor.tables import alarms as alm
from setpoint.releases.entities import State
from setpoint.releases.tables import releases as rel
from setpoint.runs.tables import experiments as x
from setpoint.runs.tables import runs as r


def events_before(
    conn: Connection, seq: int, subject: str | None, kind: str | None, limit: int
) -> list[Event]:
    """Return events older than line `seq`, newest first."""
    query = select(e).where(e.c.seq < seq)
    if subject:
        query = query.where(e.c.subject.startswith(subject, autoescape=True))
    if kind:
        query = query.where(e.c.kind.startswith(kind, autoescape=True))
    rows = conn.execute(query.order_by(e.c.seq.desc()).limit(limit))
    return [msgspec.convert(row, Event, from_attributes=True) for row in rows]


def deeds(
    conn: Connection, *, person: str, model: str, run: str, before: int | None, limit: int
) -> list[Event]:
    """Return what a person did, or what happened to a model or run, newest first; empty: any."""
    query = select(e)
    if before is not None:
        query = query.where(e.c.seq < before)
    if person:
        query = query.where(e.c.actor == person)
    if run:
        query = query.where(e.c.subject == f"run:{run}")
    if model:
        # Releases, alarms and trainings name their model among the facts.
        named = cast(e.c.detail, Text).contains(f'"model":{encode(model)}', autoescape=True)
        theirs = or_(*(e.c.subject.startswith(kind) for kind in ("release:", "alarm:")))
        versions = e.c.subject.startswith(f"version:{model}/", autoescape=True)
        query = query.where(or_(e.c.subject == f"model:{model}", versions, theirs & named))
    rows = conn.execute(query.order_by(e.c.seq.desc()).limit(limit))
    return [msgspec.convert(row, Event, from_attributes=True) for row in rows]


def run_names(conn: Connection, ids: list[str]) -> dict[str, str]:
    """Return the names of those of some runs that have one, by id."""
    query = select(r.c.id, r.c.name).where(r.c.id.in_(ids), r.c.name != "")
    return {row.id: row.name for row in conn.execute(query)}


def people(conn: Connection, recent: int = 5_000) -> list[str]:
    """Return who did something lately, by name."""
    newest = select(e.c.actor).order_by(e.c.seq.desc()).limit(recent).subquery()
    return list(conn.execute(select(newest.c.actor).distinct().order_by(newest.c.actor)).scalars())


def model_names(conn: Connection, limit: int = 500) -> list[str]:
    """Return the names of models that are not deleted."""
    query = select(models.c.model).where(models.c.deleted_at.is_(None))
    return list(conn.execute(query.order_by(models.c.model).limit(limit)).scalars())


def waiting(conn: Connection) -> int:
    """Return how many approvals wait for a person."""
    held = select(func.count()).select_from(rel).where(rel.c.state == State.WAITING)
    return int(conn.execute(held).scalar_one()) + len(review.asked(conn))


def validations(conn: Connection, dataset: str, first: int) -> list[Validation]:
    """Return the reports of a dataset's versions from number `first` on, in order."""
    query = select(v).where(v.c.dataset == dataset, v.c.number >= first).order_by(v.c.number)
    return [msgspec.convert(row, Validation, from_attributes=True) for row in conn.execute(query)]


def trained_on_dataset(conn: Connection, dataset: str, limit: int = 20) -> list[ModelVersion]:
    """Return the newest model versions that were trained on a dataset."""
    query = select(m).order_by(m.c.created_at.desc()).limit(500)
    found = [_version(row) for row in conn.execute(query)]
    return [each for each in found if dataset in each.datasets][:limit]


def versions_of_run(conn: Connection, run: str) -> list[ModelVersion]:
    """Return the model versions that a run made."""
    return [_version(row) for row in conn.execute(select(m).where(m.c.run_id == run))]


def versions_of_runs(conn: Connection, runs: list[str]) -> dict[str, tuple[str, int]]:
    """Return the model version that each of `runs` made, as (model, number)."""
    query = select(m.c.run_id, m.c.model, m.c.number).where(m.c.run_id.in_(runs))
    return {row.run_id: (row.model, row.number) for row in conn.execute(query)}


def experiments(conn: Connection, limit: int = 12) -> list[str]:
    """Return the names of experiments that have runs."""
    there = select(r.c.key).where(r.c.experiment_id == x.c.id, r.c.lifecycle == "active")
    query = select(x.c.name).where(there.exists()).order_by(x.c.name).limit(limit)
    return list(conn.execute(query).scalars())


def _version(row: Any) -> ModelVersion:
    return msgspec.convert(row, ModelVersion, from_attributes=True)


class Totals(Struct, frozen=True, kw_only=True):
    """Counts over the whole store."""

    predictions: int
    watched: int  #: of those, the ones that labels are told of
    labels: int
    versions: int
    releases: int
    alarms: int
    events: int


def totals(conn: Connection) -> Totals:
    """Return counts over the whole store."""

    def count(table: Table, *where: Any) -> int:
        query = select(func.count()).select_from(table).where(*where)
        return int(conn.execute(query).scalar_one())

    return Totals(
        predictions=monitor.answered(conn),
        watched=monitor.watched(conn),
        labels=monitor.labels_judged(conn),
        versions=count(m),
        releases=count(rel),
        alarms=monitor.count_alarms(conn),
        events=int(conn.execute(select(func.coalesce(func.max(e.c.seq), 0))).scalar_one()),
    )


#: What a reader of the overview wants to know; the rest is on the page of events.
_TOLD = (
    "release.%",
    "alarm.opened",
    "alarm.closed",
    "model.registered",
    "model.overridden",
    "spec.applied",
)


def changes(conn: Connection, limit: int = 8) -> list[Event]:
    """Return the newest events that changed how a model stands."""
    query = select(e).where(or_(*(e.c.kind.like(kind) for kind in _TOLD)))
    rows = conn.execute(query.order_by(e.c.seq.desc()).limit(limit))
    return [msgspec.convert(row, Event, from_attributes=True) for row in rows]


def ids_like(conn: Connection, text: str, limit: int = 20) -> list[tuple[str, str, str]]:
    """Return (kind, name, path) of runs, releases, alarms, models, datasets that match."""
    found: list[tuple[str, str, str]] = []
    for kind, column, path in (
        ("model", models.c.model, "/models/"),
        ("run", r.c.id, "/runs/"),
        ("release", rel.c.id, "/releases/"),
        ("alarm", alm.c.id, "/alarms/"),
        ("dataset", d.c.dataset, "/data/"),
    ):
        query = select(column).where(column.contains(text, autoescape=True)).distinct()
        rows = conn.execute(query.order_by(column).limit(limit)).scalars()
        found += [(kind, str(name), f"{path}{name}") for name in rows]
    return found[:limit]
