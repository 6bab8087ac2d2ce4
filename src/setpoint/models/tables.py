from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKeyConstraint,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
)

from setpoint.db.schema import Instant, Json, metadata

# One row a model: locking it is what keeps version numbers without gaps or duplicates.
models = Table(
    "models",
    metadata,
    Column("model", Text, primary_key=True),
    Column("versions", Integer, nullable=False),
    Column("created_at", Instant, nullable=False),
)

model_versions = Table(
    "model_versions",
    metadata,
    Column("model", Text, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("run_id", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("flavor", Text, nullable=False),
    Column("artifact", Text, nullable=False),
    Column("onnx", Text),
    Column("parity", Json),
    Column("signature", Json, nullable=False),
    Column("metrics", Json, nullable=False),
    Column("gate", Json),
    Column("override", Json),
    Column("card", Text, nullable=False),
    Column("reference", Text),
    Column("rows", Text),
    Column("spec", Text, nullable=False),
    Column("datasets", Json, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("baseline", Json),
    UniqueConstraint("model", "run_id"),
    Index("ix_model_versions_run_id", "run_id"),
)

model_aliases = Table(
    "model_aliases",
    metadata,
    Column("model", Text, primary_key=True),
    Column("alias", Text, primary_key=True),
    Column("number", Integer, nullable=False),
    ForeignKeyConstraint(["model", "number"], ["model_versions.model", "model_versions.number"]),
)
