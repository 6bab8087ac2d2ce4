"""How a model has held over time: the read model behind its page and the overview.

Quality and drift come from the verdicts that monitors keep, one a judged window; traffic
from the row counts of windows; what was live when from the record.
"""

from datetime import datetime, timedelta
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import BigInteger, Connection, cast, func, select

from setpoint.control.store import all_applied, applied
from setpoint.core.clock import from_micros
from setpoint.events.tables import events as e
from setpoint.monitor.entities import Alarm
from setpoint.monitor.tables import alarms as a
from setpoint.monitor.tables import quality_windows as q
from setpoint.monitor.tables import verdicts as v
from setpoint.releases.entities import Release
from setpoint.releases.tables import releases as r

_MOST = 2_000
_DAY = 86_400_000_000


class Judged(Struct, frozen=True, kw_only=True):
    """What a monitor said of one window."""

    version: int
    start: datetime
    end: datetime
    value: float | None  #: the metric, or the evidence of a drift monitor
    low: float | None = None
    high: float | None = None
    bound: float | None = None  #: the target, or the threshold of the evidence
    labels: int = 0
    alarm: bool = False
    metric: str = ""
    columns: list[tuple[str, float]] = []  #: of drift: the columns that moved most


class Traffic(Struct, frozen=True, kw_only=True):
    """Predictions of one version in one day."""

    day: datetime
    version: int
    role: str
    rows: int


class Live(Struct, frozen=True, kw_only=True):
    """A version went live."""

    version: int
    at: datetime
    until: datetime | None  #: None: it still is


class Promise(Struct, frozen=True, kw_only=True):
    """The objective of the spec in force."""

    metric: str
    at_least: float | None
    at_most: float | None
    purpose: str
    owner: str

    @property
    def words(self) -> str:
        """The promise in words."""
        if self.at_least is not None:
            return f"{self.metric} at least {self.at_least:g}"
        if self.at_most is not None:
            return f"{self.metric} at most {self.at_most:g}"
        return self.metric


def judged(
    conn: Connection, model: str, monitor: str, since: datetime | None = None
) -> list[Judged]:
    """Return the verdicts of a monitor that rest on enough rows, oldest first."""
    query = select(v.c.version, v.c.start, v.c.end, v.c.verdict)
    query = query.where(v.c.model == model, v.c.monitor == monitor)
    if since is not None:
        query = query.where(v.c.end > since)
    rows = conn.execute(query.order_by(v.c.end.desc(), v.c.version.desc()).limit(_MOST)).all()
    return [_judged(row) for row in reversed(rows) if row.verdict.get("judged", True)]


def _judged(row: Any) -> Judged:
    said = row.verdict
    quality = "value" in said
    return Judged(
        version=row.version,
        start=row.start,
        end=row.end,
        value=said.get("value") if quality else said.get("evidence"),
        low=said.get("low"),
        high=said.get("high"),
        bound=said.get("target") if quality else said.get("threshold"),
        labels=said.get("labels", 0),
        alarm=bool(said.get("alarm")),
        metric=said.get("metric", ""),
        columns=[(c["column"], c.get("effect", 0.0)) for c in said.get("columns", [])[:3]],
    )


def traffic(conn: Connection, model: str, since: datetime | None = None) -> list[Traffic]:
    """Return predictions by day, version and role, oldest first."""
    day = cast(q.c.start, BigInteger) / _DAY
    query = (
        select(
            func.floor(day).label("day"),
            q.c.version,
            q.c.role,
            func.sum(q.c.rows).label("n"),
        )
        .where(q.c.model == model)
        .group_by("day", q.c.version, q.c.role)
        .order_by("day", q.c.version)
    )
    if since is not None:
        query = query.where(q.c.start >= since)
    return [
        Traffic(
            day=from_micros(int(row.day) * _DAY),
            version=row.version,
            role=row.role,
            rows=int(row.n),
        )
        for row in conn.execute(query)
    ]


def whole_days(seen: list[Traffic], now: datetime) -> list[Traffic]:
    """Return the traffic of days that are over; of today where there is no other."""
    over = [each for each in seen if each.day + timedelta(days=1) <= now]
    return over or seen


def lives(conn: Connection, model: str) -> list[Live]:
    """Return which version was live when, oldest first, from the record."""
    query = (
        select(e.c.at, e.c.detail)
        .where(e.c.kind == "model.alias_moved")
        .where(e.c.subject.startswith(f"version:{model}/", autoescape=True))
        .order_by(e.c.seq)
        .limit(_MOST)
    )
    moves = [
        (row.at, int(row.detail["number"]))
        for row in conn.execute(query)
        if row.detail.get("alias") == "live"
    ]
    ends = [*(at for at, _ in moves[1:]), None]
    return [
        Live(version=number, at=at, until=until)
        for (at, number), until in zip(moves, ends, strict=True)
    ]


def alarms(conn: Connection, model: str | None = None, *, limit: int = 200) -> list[Alarm]:
    """Return alarms, those that ask for a person first, then newest first."""
    query = select(a).order_by(a.c.closed_at.is_not(None), a.c.opened_at.desc()).limit(limit)
    if model is not None:
        query = query.where(a.c.model == model)
    return [msgspec.convert(row._mapping, Alarm) for row in conn.execute(query)]  # noqa: SLF001


def releases(conn: Connection, model: str) -> list[Release]:
    """Return a model's releases, newest first."""
    query = select(r).where(r.c.model == model).order_by(r.c.started_at.desc()).limit(200)
    return [msgspec.convert(row, Release, from_attributes=True) for row in conn.execute(query)]


def promise(conn: Connection, model: str) -> Promise | None:
    """Return what the spec in force promises, None where none was applied."""
    found = applied(conn, model)
    if found is None or not isinstance(found.content, dict):
        return None
    objective = found.content.get("objective") or {}
    return Promise(
        metric=objective.get("metric", "roc_auc"),
        at_least=objective.get("at_least"),
        at_most=objective.get("at_most"),
        purpose=found.content.get("purpose") or "",
        owner=found.content.get("owner") or "",
    )


def metrics(conn: Connection) -> set[str]:
    """Return the metrics that specs in force promise."""
    objectives = [(each.content or {}).get("objective") for each in all_applied(conn)]
    return {each["metric"] for each in objectives if each and "metric" in each}


def window(lives_: list[Live], seen: list[Traffic], now: datetime) -> tuple[datetime, datetime]:
    """Return the time a page about a model spans: from its first sign of life to now."""
    starts = [each.at for each in lives_[:1]] + [each.day for each in seen[:1]]
    return min(starts, default=now - timedelta(days=1)), now
