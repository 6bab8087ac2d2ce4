"""The only SQL about monitors. Each function takes a connection; none opens or commits."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Connection, Row, Table, bindparam, delete, insert, select, update

from setpoint.errors import Conflict, NotFound
from setpoint.monitor.entities import Alarm, AlarmState, WindowKey
from setpoint.monitor.tables import (
    alarms,
    detectors,
    profile_windows,
    quality_windows,
    verdicts,
)
from setpoint.profiles.joint import Joint, decode_joint
from setpoint.profiles.profile import Profile, decode

T = TypeVar("T", Profile, Joint)
S = TypeVar("S")


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
    roles: tuple[str, ...] = ("live", "canary"),
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
    roles: tuple[str, ...] = ("live", "canary"),
) -> Joint | None:
    """Return scores and labels of predictions in [start, end), None if there is none."""
    found = _between(conn, quality_windows, (model, version), start, end, roles)
    return _total(found, decode_joint)


def profile_series(
    conn: Connection, model: str, version: int, start: datetime, end: datetime
) -> list[tuple[WindowKey, Profile]]:
    """Return every profile window that starts in [start, end), oldest first."""
    found = _between(conn, profile_windows, (model, version), start, end, None)
    return [(_key(row), decode(row.body)) for row in found]


def quality_series(
    conn: Connection, model: str, version: int, start: datetime, end: datetime
) -> list[tuple[WindowKey, Joint]]:
    """Return every quality window that starts in [start, end), oldest first."""
    found = _between(conn, quality_windows, (model, version), start, end, None)
    return [(_key(row), decode_joint(row.body)) for row in found]


def forget_windows(conn: Connection, model: str, *, before: datetime) -> int:
    """Delete windows that started before a time (retention); return how many."""
    return sum(
        conn.execute(delete(table).where(table.c.model == model, table.c.start < before)).rowcount
        for table in (profile_windows, quality_windows)
    )


def detector(conn: Connection, model: str, version: int, monitor: str, kind: type[S]) -> S | None:
    """Return a detector's state, None if it never ran."""
    d = detectors.c
    state = conn.execute(
        select(d.state).where(d.model == model, d.version == version, d.monitor == monitor)
    ).scalar_one_or_none()
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
    d = detectors.c
    values = {
        "state": msgspec.to_builtins(state),
        "verdict": msgspec.to_builtins(verdict),
        "updated_at": now,
    }
    done = conn.execute(
        update(detectors)
        .where(d.model == model, d.version == version, d.monitor == monitor)
        .values(values)
    )
    if not done.rowcount:
        key = {"model": model, "version": version, "monitor": monitor}
        conn.execute(insert(detectors).values(key | values))


def verdict_of(conn: Connection, model: str, version: int, monitor: str) -> Any:
    """Return a detector's newest verdict as plain values, None if it never ran."""
    d = detectors.c
    return conn.execute(
        select(d.verdict).where(d.model == model, d.version == version, d.monitor == monitor)
    ).scalar_one_or_none()


def add_verdict(conn: Connection, model: str, version: int, monitor: str, verdict: Any) -> None:
    """Keep the verdict of a judged window, for charts and for `why`."""
    conn.execute(
        insert(verdicts).values(
            model=model,
            version=version,
            monitor=monitor,
            start=verdict.start,
            end=verdict.end,
            verdict=msgspec.to_builtins(verdict),
        )
    )


def verdict_series(
    conn: Connection,
    model: str,
    monitor: str,
    *,
    version: int | None = None,
    start: datetime | None = None,
    limit: int = 1000,
) -> list[tuple[int, dict[str, Any]]]:
    """Return the newest verdicts as (version, verdict), oldest first."""
    v = verdicts.c
    query = select(v.version, v.verdict).where(v.model == model, v.monitor == monitor)
    if version is not None:
        query = query.where(v.version == version)
    if start is not None:
        query = query.where(v.end > start)
    found = conn.execute(query.order_by(v.end.desc(), v.version.desc()).limit(limit)).all()
    return [(row.version, row.verdict) for row in reversed(found)]


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
) -> list[Alarm]:
    """Return alarms, newest first."""
    query = select(alarms)
    if model is not None:
        query = query.where(alarms.c.model == model)
    if monitor is not None:
        query = query.where(alarms.c.monitor == monitor)
    if states is not None:
        query = query.where(alarms.c.state.in_(list(states)))
    order = (alarms.c.opened_at.desc(), alarms.c.id.desc())
    return [_alarm(row) for row in conn.execute(query.order_by(*order).limit(limit))]


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


def _held(conn: Connection, table: Table, keys: list[WindowKey]) -> Mapping[WindowKey, bytes]:
    """Read the windows that exist already: one query per model, version, role, length."""
    groups: dict[tuple[str, int, str, int], list[datetime]] = {}
    for key in keys:
        group = (key.model, key.version, key.role, key.seconds)
        groups.setdefault(group, []).append(key.start)
    c = table.c
    held: dict[WindowKey, bytes] = {}
    for (model, version, role, seconds), starts in groups.items():
        query = (
            select(c.start, c.body)
            .where(c.model == model, c.version == version, c.role == role)
            .where(c.seconds == seconds, c.start.in_(starts))
            .with_for_update()
        )
        for start, body in conn.execute(query):
            held[WindowKey(model, version, role, start, seconds)] = body
    return held


def _between(
    conn: Connection,
    table: Table,
    whose: tuple[str, int],
    start: datetime,
    end: datetime,
    roles: tuple[str, ...] | None,
) -> list[Row[Any]]:
    c = table.c
    query = select(table).where(c.model == whose[0], c.version == whose[1])
    query = query.where(c.start >= start, c.start < end)
    if roles is not None:
        query = query.where(c.role.in_(roles))
    return list(conn.execute(query.order_by(c.start, c.role)).all())


def _total(found: list[Row[Any]], read: Callable[[bytes], T]) -> T | None:
    total: T | None = None
    for row in found:
        value = read(row.body)
        total = value if total is None else total + value
    return total


def _key(row: Row[Any]) -> WindowKey:
    return WindowKey(row.model, row.version, row.role, row.start, row.seconds)


def _alarm(row: Row[Any]) -> Alarm:
    return msgspec.convert(row._mapping, Alarm)  # noqa: SLF001  the row's public name for it
