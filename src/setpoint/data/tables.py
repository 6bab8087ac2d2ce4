from sqlalchemy import BigInteger, Column, Index, Integer, Table, Text

from setpoint.db.schema import Instant, Json, metadata

# One row: whose files the tables and the prediction log are.
data_home = Table(
    "data_home",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("mark", Text, nullable=False),  # the same is in a file of that folder
    Column("host", Text, nullable=False),
    Column("folder", Text, nullable=False),
    Column("claimed_at", Instant, nullable=False),
)

dataset_versions = Table(
    "dataset_versions",
    metadata,
    Column("dataset", Text, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("delta_version", BigInteger, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("added", BigInteger, nullable=False),
    Column("set_aside", BigInteger, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("until", Instant, nullable=False),
    Column("columns", Json, nullable=False),
    Column("validation_id", Text, nullable=False),
    Column("fingerprint", Text),
)

validations = Table(
    "validations",
    metadata,
    Column("id", Text, primary_key=True),
    Column("dataset", Text, nullable=False),
    Column("number", Integer, nullable=False),
    Column("at", Instant, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("set_aside", BigInteger, nullable=False),
    Column("checks", Json, nullable=False),
    Column("contract", Text),
    Column("failing_rows", Text),
    Column("notes", Json, nullable=False),
    Index("ix_validations_dataset_number", "dataset", "number"),
)
