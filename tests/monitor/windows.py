"""Every window there is, one by one: monitors only ever ask for sums."""

from sqlalchemy import Connection, Table, select

from setpoint.monitor.entities import WindowKey
from setpoint.monitor.tables import profile_windows, quality_windows
from setpoint.profiles.joint import Joint, decode_joint
from setpoint.profiles.profile import Profile, decode


def profiles(conn: Connection, model: str) -> dict[WindowKey, Profile]:
    return {key: decode(body) for key, body in _windows(conn, profile_windows, model)}


def joints(conn: Connection, model: str) -> dict[WindowKey, Joint]:
    return {key: decode_joint(body) for key, body in _windows(conn, quality_windows, model)}


def _windows(conn: Connection, table: Table, model: str) -> list[tuple[WindowKey, bytes]]:
    rows = conn.execute(select(table).where(table.c.model == model).order_by(table.c.start))
    return [(WindowKey(r.model, r.version, r.role, r.start, r.seconds), r.body) for r in rows]
