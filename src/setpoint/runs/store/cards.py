"""What a run carries on one card, once it has ended: a list of runs reads a row each, not forty.

A card is derived: who changes an ended run writes it anew or drops it in the same transaction.
Runs without one, those that go on above all, are read from the tables themselves.
"""

import math
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct, field
from sqlalchemy import Connection, bindparam, delete, select

from setpoint.core.clock import from_micros
from setpoint.db.upsert import upsert
from setpoint.runs.entities import Dataset, Latest, Link, Value
from setpoint.runs.store import naming, series, values
from setpoint.runs.store.values import Kind
from setpoint.runs.tables import run_cards as k

_EMPTY = msgspec.Raw(msgspec.msgpack.encode({}))


class Card(Struct, kw_only=True, array_like=True):
    """Everything recorded of a run beside its own row and its artifacts."""

    params: dict[str, Value] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    datasets: list[Dataset] = field(default_factory=list)
    uses: list[Link] = field(default_factory=list)
    outputs: list[Link] = field(default_factory=list)
    full: msgspec.Raw = _EMPTY  #: metrics in full, decoded when asked for

    @property
    def latest(self) -> dict[str, Latest]:
        """Metrics in full."""
        return _latest.decode(self.full)


class _Read(Card, kw_only=True, array_like=True):
    """A card read from the tables: its metrics in full need no decoding."""

    known: dict[str, Latest] = field(default_factory=dict)

    @property
    def latest(self) -> dict[str, Latest]:
        return self.known

    def kept(self) -> Card:
        """Return the card as it is written."""
        fields = {name: getattr(self, name) for name in Card.__struct_fields__}
        return Card(**fields | {"full": msgspec.Raw(msgspec.msgpack.encode(self.known))})


_decoder = msgspec.msgpack.Decoder(Card)
_latest = msgspec.msgpack.Decoder(dict[str, Latest])
_KEPT = select(k.c.run_key, k.c.body).where(k.c.run_key.in_(bindparam("runs", expanding=True)))


def of(conn: Connection, runs: Sequence[int], *, latest: bool) -> dict[int, Card]:
    """Return the cards of runs; `latest` tells whether metrics are wanted in full."""
    rows = conn.execute(_KEPT, {"runs": runs}).all()
    found: dict[int, Card] = {run: _decoder.decode(body) for run, body in rows}
    missing = [run for run in runs if run not in found]
    if missing:
        found |= _made(conn, missing, latest=latest)
    return found


def write(conn: Connection, run: int) -> None:
    """Write the card of a run that has ended."""
    card = _made(conn, [run], latest=True)[run].kept()
    upsert(conn, k, [{"run_key": run, "body": msgspec.msgpack.encode(card)}], update=["body"])


def drop(conn: Connection, runs: Sequence[int]) -> None:
    """Delete cards that are no longer true."""
    conn.execute(delete(k).where(k.c.run_key.in_(runs)))


def _made(conn: Connection, runs: Sequence[int], *, latest: bool) -> dict[int, _Read]:
    """Return cards read from the tables, by a handful of queries."""
    carried = values.of(conn, runs)
    measured = series.latest(conn, runs)
    ids = {row[2] for row in carried}
    ids.update(row[1] for row in measured)
    names = naming.names_of(conn, ids)
    cards = {run: _Read() for run in runs}
    for run, kind, name, kind_of, head, rest in carried:
        text = head if rest is None else head + rest
        if kind == Kind.TAG:
            cards[run].tags[names[name]] = text
        else:
            value = text if kind_of == "s" else values.value_of(kind_of, text)
            cards[run].params[names[name]] = value
    for run, name, value, *_ in measured:
        cards[run].metrics[names[name]] = _number(value)
    if latest:
        for run, full in _in_full(measured, names).items():
            cards[run].known = full
    for run, read in values.datasets(conn, runs).items():
        cards[run].datasets = read
    for run, (uses, outputs) in values.links(conn, runs).items():
        cards[run].uses, cards[run].outputs = uses, outputs
    return cards


def _in_full(measured: Sequence[Any], names: dict[int, str]) -> dict[int, dict[str, Latest]]:
    found: dict[int, dict[str, Latest]] = {}
    for run, name, value, step, at, low, high, points in measured:
        found.setdefault(run, {})[names[name]] = Latest(
            value=_number(value),
            step=step,
            at=from_micros(at),
            min=_number(low),
            max=_number(high),
            count=points,
        )
    return found


def _number(value: float | None) -> float:
    return math.nan if value is None else value
