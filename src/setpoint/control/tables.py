from sqlalchemy import Column, Index, Integer, Table, Text, text

from setpoint.db.schema import Instant, Json, metadata

specs = Table(
    "specs",
    metadata,
    Column("model", Text, primary_key=True),
    Column("hash", Text, nullable=False),
    Column("content", Json, nullable=False),
    Column("address", Text, nullable=False),
    Column("training", Text, nullable=False),
    Column("file", Text, nullable=False),
    Column("applied_at", Instant, nullable=False),
    Column("applied_by", Text, nullable=False),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", Text, primary_key=True),
    Column("model", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("cause", Text),
    Column("training", Text, nullable=False),
    Column("spec", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("requested_at", Instant, nullable=False),
    Column("finished_at", Instant),
    Column("attempts", Integer, nullable=False, default=0),
    Column("version", Integer),
    Column("outcome", Text),
    Index("ix_jobs_model_requested_at", "model", "requested_at"),
    Index("ix_jobs_cause", "cause"),
    # one training of a model at a time, whoever asks
    Index(
        "uq_jobs_one_open",
        "model",
        unique=True,
        sqlite_where=text("state = 'requested'"),
        postgresql_where=text("state = 'requested'"),
    ),
)

leases = Table(
    "leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("until", Instant, nullable=False),
)

cursors = Table(
    "cursors",
    metadata,
    Column("name", Text, primary_key=True),
    Column("position", Json, nullable=False),
)
