"""Named values of things: one row each, so that two writers never overwrite each other's."""

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, Table, delete, select

from setpoint.db.upsert import upsert


class NamedValues:
    """A table whose key is (owner, kind, name), with a text as its value."""

    def __init__(self, table: Table, owner: str) -> None:
        """Name the table, and its column that says whose a value is."""
        self._table = table
        self._name = owner
        self._owner = table.c[owner]

    def put(self, conn: Connection, owner: str, kind: str, values: Mapping[str, str]) -> None:
        """Keep values by name; those of other names stay."""
        rows = [
            {self._name: owner, "kind": kind, "name": name, "value": value}
            for name, value in values.items()
        ]
        upsert(conn, self._table, rows, update=("value",))

    def drop(self, conn: Connection, owner: str, kind: str, names: Sequence[str]) -> int:
        """Take values by name; return how many were there."""
        c = self._table.c
        own = (self._owner == owner, c.kind == kind, c.name.in_(names))
        return conn.execute(delete(self._table).where(*own)).rowcount

    def of(self, conn: Connection, owners: Sequence[str]) -> dict[str, dict[str, dict[str, str]]]:
        """Return values by owner, kind and name, in the order of their names."""
        c = self._table.c
        query = select(self._owner, c.kind, c.name, c.value).where(self._owner.in_(owners))
        found: dict[str, dict[str, dict[str, str]]] = {}
        for owner, kind, name, value in conn.execute(query.order_by(c.name)):
            found.setdefault(owner, {}).setdefault(kind, {})[name] = value
        return found
