from sqlalchemy import BigInteger, Column, Float, ForeignKey, Index, Table, Text

from setpoint.db.schema import Instant, Json, metadata

runs = Table(
    "runs",
    metadata,
    Column("id", Text, primary_key=True),
    Column("experiment", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("started_at", Instant, nullable=False),
    Column("ended_at", Instant),
    Column("actor", Text, nullable=False),
    Column("code", Json),
    Column("environment", Text),
    Column("error", Text, nullable=False),
    Index("ix_runs_experiment_started_at", "experiment", "started_at"),
)

# Params, tags, inputs and artifacts: one row each, so that two writers of one run never
# overwrite each other's.
run_values = Table(
    "run_values",
    metadata,
    Column("run_id", Text, ForeignKey("runs.id"), primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("value", Json),
    Index("ix_run_values_kind_name", "kind", "name"),
)

# A point's place is its step: logging a step again, as a resumed run does, replaces it.
# NULL is NaN, which SQLite cannot store.
run_points = Table(
    "run_points",
    metadata,
    Column("run_id", Text, ForeignKey("runs.id"), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("step", BigInteger, primary_key=True, autoincrement=False),
    Column("value", Float(53)),
    Column("at", Instant, nullable=False),
)
