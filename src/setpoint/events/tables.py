from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, Table, Text

from setpoint.db.schema import Instant, Json, metadata

_SERIAL = BigInteger().with_variant(Integer, "sqlite")

events = Table(
    "events",
    metadata,
    Column("seq", _SERIAL, primary_key=True),
    Column("at", Instant, nullable=False),
    Column("actor", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("detail", Json, nullable=False),
    Index("ix_events_subject_seq", "subject", "seq"),
    Index("ix_events_kind_seq", "kind", "seq"),
    Index("ix_events_actor_seq", "actor", "seq"),
)

# What nobody has been told yet: written with the event, taken by whoever delivers.
event_outbox = Table(
    "event_outbox",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
)

# The chain: sealed by one sealer at a time, after the fact, so that recording an event
# costs one insert and no two writers ever wait for each other's hash.
event_seals = Table(
    "event_seals",
    metadata,
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, nullable=False, unique=True),
    Column("hash", LargeBinary, nullable=False),
)
