"""The only SQL about monitors. Each function takes a connection; none opens or commits."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, TypeVar

import msgspec
from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Table,
    bindparam,
    func,
    insert,
    select,
    update,
)

from setpoint.db.upsert import upsert
from setpoint.errors import Conflict, NotFound
from setpoint.monitor.entities import Alarm, AlarmState, Attempts, Traffic, Verdict, WindowKey
from setpoint.monitor.tables import (
    alarms,
    attempts,
    detectors,
    profile_windows,
    quality_windows,
    verdicts,
)
from setpoint.monitor.tables import traffic as traffic_days
from setpoint.profiles.joint import Joint, decode_joint
from setpoint.profiles.profile import Profile, decode

T = TypeVar("T", Profile, Joint)
S = TypeVar("S")
#: Roles whose answers are a version's own.
ANSWERED = ("live", "canary", "batch", "arm")


def add_profiles(conn: Connection, added: Iterable[tuple[WindowKey, Profile]]) -> None:
    """Add profiles to their windows, in the caller's transaction.

    Many at once cost one read and two writes; the same window may come more than once.

    Raises:
        Invalid: If a window holds a profile of other edges.
    """
    _add(conn, profile_windows, added, decode, lambda profile: profile.rows)


def add_quality(conn: Connection, added: Iterable[tuple[WindowKey, Joint]]) -> None:
    """Add scores or labels to the windows of their *predictions*; as `add_profiles`."""
    _add(conn, quality_windows, added, decode_joint, lambda joint: joint.predicted)


def profile_between(
    conn: Connection,
    model: str,
    version: int,
    start: datetime,
    end: datetime,
    *,
    roles: tuple[str, ...] = ANSWERED,
) -> Profile | None:
    """Return the sum of the windows that start in [start, end), None if there is none."""
    return _total(_between(conn, profile_windows, (model, version), start, end, roles), decode)


def quality_between(
    conn: Connection,
    model: str,
    version: int,
    start: datetime,
    end: datetime,
    *,
    roles: tuple[str, ...] = ANSWERED,
) -> Joint | None:
    """Return scores and labels of predictions in [start, end), None if there is none."""
    found = _between(conn, quality_windows, (model, version), start, end, roles)
    return _total(found, decode_joint)


def add_attempts(conn: Connection, added: Iterable[Attempts]) -> None:
    """Add requests to their windows, in the caller's transaction."""
    upsert(conn, attempts, [msgspec.structs.asdict(one) for one in added], update=_more_attempts)


def _more_attempts(new: Any) -> dict[str, Any]:
    a = attempts.c
    return {"requests": a.requests + new.requests, "failed": a.failed + new.failed}


def attempts_since(conn: Connection, model: str, version: int, start: datetime) -> list[Attempts]:
    """Return the windows of a version's requests from a time on, oldest first."""
    given = {"of_model": model, "of_version": version, "since": start}
    return [
        msgspec.convert(row, Attempts, from_attributes=True)
        for row in conn.execute(_ATTEMPTS, given)
    ]


_a = attempts.c
_ATTEMPTS = (
    select(attempts)
    .where(_a.model == bindparam("of_model"), _a.version == bindparam("of_version"))
    .where(_a.start >= bindparam("since"))
    .order_by(_a.start, _a.seconds)
)


def detector(conn: Connection, model: str, version: int, monitor: str, kind: type[S]) -> S | None:
    """Return a detector's state, None if it never ran."""
    state = conn.execute(_STATE, _whose(model, version, monitor)).scalar_one_or_none()
    return None if state is None else msgspec.convert(state, kind)


def set_detector(
    conn: Connection,
    model: str,
    version: int,
    monitor: str,
    *,
    state: Any,
    verdict: Any,
    now: datetime,
) -> None:
    """Write a detector's state and its newest verdict."""
    row = {
        "model": model,
        "version": version,
        "monitor": monitor,
        "state": msgspec.to_builtins(state),
        "verdict": msgspec.to_builtins(verdict),
        "updated_at": now,
    }
    upsert(conn, detectors, [row], update=("state", "verdict", "updated_at"))


def _whose(model: str, version: int, monitor: str) -> dict[str, Any]:
    return {"of_model": model, "of_version": version, "of_monitor": monitor}


_d = detectors.c
_OWN = (
    _d.model == bindparam("of_model"),
    _d.version == bindparam("of_version"),
    _d.monitor == bindparam("of_monitor"),
)
_STATE = select(_d.state).where(*_OWN)


def verdict_of(conn: Connection, model: str, version: int, monitor: str) -> Any:
    """Return a detector's newest verdict as plain values, None if it never ran."""
    query = select(_d.verdict).where(*_OWN)
    return conn.execute(query, _whose(model, version, monitor)).scalar_one_or_none()


def add_verdict(conn: Connection, model: str, version: int, monitor: str, verdict: Any) -> None:
    """Keep the verdict of a judged window, for charts and for `why`."""
    row = {
        "model": model,
        "version": version,
        "monitor": monitor,
        "start": verdict.start,
        "end": verdict.end,
        "verdict": msgspec.to_builtins(verdict),
    }
    conn.execute(insert(verdicts), row)


def verdict_series(
    conn: Connection, model: str, monitor: str, *, since: datetime | None = None, limit: int = 2000
) -> list[Verdict]:
    """Return the newest verdicts of one monitor, oldest first."""
    v = verdicts.c
    query = select(verdicts).where(v.model == model, v.monitor == monitor)
    if since is not None:
        query = query.where(v.end > since)
    found = conn.execute(query.order_by(v.end.desc(), v.version.desc()).limit(limit)).all()
    return [msgspec.convert(row, Verdict, from_attributes=True) for row in reversed(found)]


def labels_judged(conn: Connection, limit: int = 5000) -> int:
    """Return how many labels the verdicts of all models rest on: no scan of rows."""
    query = select(verdicts.c.verdict).where(verdicts.c.monitor == "quality").limit(limit)
    return sum(int(said.get("labels", 0)) for said in conn.execute(query).scalars())


def add_traffic(conn: Connection, model: str, added: Iterable[Traffic]) -> None:
    """Add answered rows to their days, in the caller's transaction."""
    rows = [msgspec.structs.asdict(one) | {"model": model} for one in added]
    upsert(conn, traffic_days, rows, update=_more_traffic)


def _more_traffic(new: Any) -> dict[str, Any]:
    t = traffic_days.c
    return {"rows": t.rows + new.rows, "logged": t.logged + new.logged}


def answered(conn: Connection) -> int:
    """Return how many rows all models answered."""
    query = select(func.coalesce(func.sum(traffic_days.c.rows), 0))
    return int(conn.execute(query).scalar_one())


def watched(conn: Connection) -> int:
    """Return how many of them are logged, and a version's own answers: labels are told of these."""
    t = traffic_days.c
    query = select(func.coalesce(func.sum(t.logged), 0)).where(t.role.in_(ANSWERED))
    return int(conn.execute(query).scalar_one())


def traffic(conn: Connection, model: str, since: datetime | None = None) -> list[Traffic]:
    """Return answered rows by day, version and role, oldest first."""
    t = traffic_days.c
    query = select(traffic_days).where(t.model == model)
    if since is not None:
        query = query.where(t.day >= since)
    rows = conn.execute(query.order_by(t.day, t.version, t.role))
    return [msgspec.convert(row, Traffic, from_attributes=True) for row in rows]


def add_alarm(conn: Connection, alarm: Alarm) -> None:
    conn.execute(insert(alarms).values(msgspec.structs.asdict(alarm)))


def set_alarm(conn: Connection, alarm: Alarm, *, was: AlarmState) -> None:
    """Write what may change in an alarm, provided that its state is still `was`.

    Raises:
        Conflict: If somebody else changed it meanwhile.
    """
    values = msgspec.structs.asdict(alarm)
    done = conn.execute(
        update(alarms).where(alarms.c.id == values.pop("id"), alarms.c.state == was).values(values)
    )
    if done.rowcount != 1:
        raise Conflict(f"{alarm.ref} changed meanwhile", hint="look at it again and retry")


def alarm(conn: Connection, alarm_id: str) -> Alarm:
    """Read one alarm.

    Raises:
        NotFound: If there is no such alarm.
    """
    row = conn.execute(select(alarms).where(alarms.c.id == alarm_id)).one_or_none()
    if row is None:
        raise NotFound(f"no alarm {alarm_id!r}", hint="list them with: setpoint alarms ls")
    return _alarm(row)


def list_alarms(
    conn: Connection,
    *,
    model: str | None = None,
    monitor: str | None = None,
    states: Iterable[AlarmState] | None = None,
    limit: int = 100,
    standing_first: bool = False,
) -> list[Alarm]:
    """Return alarms, newest first; or those that are not closed before the others."""
    query = select(alarms)
    if model is not None:
        query = query.where(alarms.c.model == model)
    if monitor is not None:
        query = query.where(alarms.c.monitor == monitor)
    if states is not None:
        query = query.where(alarms.c.state.in_(list(states)))
    order: list[ColumnElement[Any]] = [alarms.c.opened_at.desc(), alarms.c.id.desc()]
    if standing_first:
        order.insert(0, alarms.c.closed_at.is_not(None))
    return [_alarm(row) for row in conn.execute(query.order_by(*order).limit(limit))]


def count_alarms(conn: Connection, *, state: AlarmState | None = None) -> int:
    """Return how many alarms there are (in one state) of all models."""
    query = select(func.count()).select_from(alarms)
    if state is not None:
        query = query.where(alarms.c.state == state)
    return int(conn.execute(query).scalar_one())


def _add(
    conn: Connection,
    table: Table,
    added: Iterable[tuple[WindowKey, T]],
    read: Callable[[bytes], T],
    rows: Callable[[T], int],
) -> None:
    sums: dict[WindowKey, T] = {}
    for key, value in added:
        sums[key] = sums[key] + value if key in sums else value
    if not sums:
        return
    held = _held(conn, table, list(sums))
    new, changed = [], []
    for key in sorted(sums):
        before = held.get(key)
        value = sums[key] if before is None else read(before) + sums[key]
        count, body = rows(value), value.encode()
        if before is None:
            place = {name: getattr(key, name) for name in _KEY}
            new.append(place | {"rows": count, "body": body})
        else:
            place = {f"k_{name}": getattr(key, name) for name in _KEY}
            changed.append(place | {"v_rows": count, "v_body": body})
    if new:
        conn.execute(insert(table), new)
    if changed:
        conn.execute(_updates[table.name], changed)


_KEY = ("model", "version", "role", "seconds", "start")
_updates = {
    table.name: update(table)
    .where(*(table.c[name] == bindparam(f"k_{name}") for name in _KEY))
    .values(rows=bindparam("v_rows"), body=bindparam("v_body"))
    for table in (profile_windows, quality_windows)
}
_reads = {
    table.name: select(table.c.start, table.c.body)
    .where(*(table.c[name] == bindparam(f"k_{name}") for name in _KEY if name != "start"))
    .where(table.c.start.in_(bindparam("starts", expanding=True)))
    .with_for_update()
    for table in (profile_windows, quality_windows)
}


def _held(conn: Connection, table: Table, keys: list[WindowKey]) -> Mapping[WindowKey, bytes]:
    """Read the windows that exist already: one query per model, version, role, length."""
    groups: dict[tuple[str, int, str, int], list[datetime]] = {}
    for key in keys:
        group = (key.model, key.version, key.role, key.seconds)
        groups.setdefault(group, []).append(key.start)
    held: dict[WindowKey, bytes] = {}
    for (model, version, role, seconds), starts in groups.items():
        whose = {"k_model": model, "k_version": version, "k_role": role, "k_seconds": seconds}
        for start, body in conn.execute(_reads[table.name], {**whose, "starts": starts}):
            held[WindowKey(model, version, role, start, seconds)] = body
    return held


def _between(
    conn: Connection,
    table: Table,
    whose: tuple[str, int],
    start: datetime,
    end: datetime,
    roles: tuple[str, ...],
) -> list[Row[Any]]:
    c = table.c
    query = select(table).where(c.model == whose[0], c.version == whose[1])
    query = query.where(c.start >= start, c.start < end, c.role.in_(roles))
    return list(conn.execute(query.order_by(c.start, c.role)).all())


def _total(found: list[Row[Any]], read: Callable[[bytes], T]) -> T | None:
    total: T | None = None
    for row in found:
        value = read(row.body)
        total = value if total is None else total + value
    return total


def _alarm(row: Row[Any]) -> Alarm:
    return msgspec.convert(row._mapping, Alarm)  # noqa: SLF001  the row's public name for it
