"""How a model has held over time: the read model behind its page and the overview.

Quality and drift come from the verdicts that monitors keep, one a judged window; traffic
from the row counts of windows; what was live when from the record.
"""

from datetime import datetime, timedelta

from msgspec import Struct
from sqlalchemy import Connection, select

from setpoint.control.graphs import store as graphs
from setpoint.control.store import all_applied, applied
from setpoint.events.tables import events as e
from setpoint.monitor import store as monitor
from setpoint.monitor.entities import Traffic, Verdict

_MOST = 2_000


class Judged(Struct, frozen=True, kw_only=True):
    """What a monitor said of one window."""

    version: int
    start: datetime
    end: datetime
    value: float | None  #: the metric, the share that failed, or the evidence
    low: float | None = None
    high: float | None = None
    bound: float | None = None  #: the target, the ceiling, or the threshold of the evidence
    labels: int = 0
    alarm: bool = False
    metric: str = ""
    columns: list[tuple[str, float]] = []  #: of drift: the columns that moved most


class Live(Struct, frozen=True, kw_only=True):
    """A version went live."""

    version: int
    at: datetime
    until: datetime | None  #: None: it still is


class Purpose(Struct, frozen=True):
    """What a model is for, and who answers for it."""

    what: str
    owner: str


class Promise(Struct, frozen=True, kw_only=True):
    """The objective of the spec in force."""

    metric: str
    at_least: float | None
    at_most: float | None

    @property
    def words(self) -> str:
        """The promise in words."""
        if self.at_least is not None:
            return f"{self.metric} at least {self.at_least:g}"
        if self.at_most is not None:
            return f"{self.metric} at most {self.at_most:g}"
        return self.metric


def judged(conn: Connection, model: str, kind: str, since: datetime | None = None) -> list[Judged]:
    """Return the verdicts of a monitor that rest on enough rows, oldest first."""
    found = monitor.verdict_series(conn, model, kind, since=since)
    return [_judged(one) for one in found if one.verdict.get("judged", True)]


def _judged(one: Verdict) -> Judged:
    said = one.verdict
    value, bound = next(pair for pair in _SAID if pair[0] in said)
    return Judged(
        version=one.version,
        start=one.start,
        end=one.end,
        value=said.get(value),
        low=said.get("low"),
        high=said.get("high"),
        bound=said.get(bound),
        labels=said.get("labels", 0),
        alarm=bool(said.get("alarm")),
        metric=said.get("metric", ""),
        columns=[(c["column"], c.get("effect", 0.0)) for c in said.get("columns", [])[:3]],
    )


#: What a verdict says and what that is held against, by what tells its monitor.
_SAID = (("value", "target"), ("rate", "at_most"), ("evidence", "threshold"))


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
    ends = [*(at for at, _ in moves), None][1:]
    return [
        Live(version=number, at=at, until=until)
        for (at, number), until in zip(moves, ends, strict=True)
    ]


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
    )


def purpose(conn: Connection, model: str) -> Purpose | None:
    """Return what the spec in force says a model or a graph is for; None if it does not."""
    found = applied(conn, model) or graphs.applied(conn, model)
    if found is None or not isinstance(found.content, dict) or not found.content.get("purpose"):
        return None
    return Purpose(what=found.content["purpose"], owner=found.content.get("owner") or "")


def metrics(conn: Connection) -> set[str]:
    """Return the metrics that specs in force promise."""
    objectives = [(each.content or {}).get("objective") for each in all_applied(conn)]
    return {each["metric"] for each in objectives if each and "metric" in each}


def window(lives_: list[Live], seen: list[Traffic], now: datetime) -> tuple[datetime, datetime]:
    """Return the time a page about a model spans: from its first sign of life to now."""
    starts = [each.at for each in lives_[:1]] + [each.day for each in seen[:1]]
    return min(starts, default=now - timedelta(days=1)), now
