from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    Table,
    Text,
    text,
)

from setpoint.db.schema import Instant, Json, metadata

releases = Table(
    "releases",
    metadata,
    Column("id", Text, primary_key=True),
    Column("model", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("from_version", Integer),
    Column("stage", Text, nullable=False),
    Column("step", Integer, nullable=False),
    Column("weight", Double, nullable=False),
    Column("state", Text, nullable=False),
    Column("started_at", Instant, nullable=False),
    Column("stage_since", Instant, nullable=False),
    Column("limit_from", Instant, nullable=False),
    Column("ended_at", Instant),
    Column("revision", BigInteger, nullable=False),
    Column("policy", Json, nullable=False),
    Column("evidence", Json, nullable=False),
    Column("verdict_why", Text, nullable=False),
    Column("proven", Boolean, nullable=False),
    Column("held_by_policy", Boolean, nullable=False),
    Column("override_by", Text, nullable=False),
    Column("override_reason", Text, nullable=False),
    Column("approval", Json),
    Index("ix_releases_model_version", "model", "version"),
)

# The database itself refuses a second open release of a model, whoever asks and however.
_open = text("state IN ('waiting', 'running', 'held')")
Index(
    "uq_releases_open",
    releases.c.model,
    unique=True,
    sqlite_where=_open,
    postgresql_where=_open,
)

release_looks = Table(
    "release_looks",
    metadata,
    Column("release_id", Text, ForeignKey("releases.id"), primary_key=True),
    Column("at", Instant, primary_key=True),
    Column("step", Integer, nullable=False),
    Column("weight", Double, nullable=False),
    Column("evidence", Json, nullable=False),
)
