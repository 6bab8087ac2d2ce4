from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKeyConstraint,
    Index,
    Integer,
    Table,
    Text,
    text,
)

from setpoint.db.schema import Instant, Json, metadata

# One row a model: locking it is what keeps version numbers without gaps or duplicates.
models = Table(
    "models",
    metadata,
    Column("model", Text, primary_key=True),
    Column("versions", Integer, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    Column("description", Text, nullable=False),
    Column("deleted_at", Instant),
    Column("keep", Json),
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
    Column("background", Text),
    Column("spec", Text, nullable=False),
    Column("datasets", Json, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("baseline", Json),
    Column("parts", Json, nullable=False, server_default="[]"),
    Column("source", Text, nullable=False),
    Column("run_link", Text, nullable=False),
    Column("logged_model", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("status_message", Text, nullable=False),
    Column("stage", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("updated_at", Instant, nullable=False),
    Column("signed", Json),
    Column("deleted_at", Instant),
    Column("purged_at", Instant),
    Column("freed_at", Instant),
    Index("ix_model_versions_run_id", "run_id"),
    # A run trains one version of a model here; elsewhere, and without a run, one may register
    # what one likes.
    Index(
        "uq_model_versions_trained",
        "model",
        "run_id",
        unique=True,
        sqlite_where=text("flavor <> '' AND run_id <> ''"),
        postgresql_where=text("flavor <> '' AND run_id <> ''"),
    ),
)

model_aliases = Table(
    "model_aliases",
    metadata,
    Column("model", Text, primary_key=True),
    Column("alias", Text, primary_key=True),
    Column("number", Integer, nullable=False),
    ForeignKeyConstraint(
        ["model", "number"],
        ["model_versions.model", "model_versions.number"],
        onupdate="CASCADE",
    ),
)

# What people say about models. Number 0 is the model itself: versions start at 1.
model_tags = Table(
    "model_tags",
    metadata,
    Column("model", Text, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
    Index("ix_model_tags_key", "key"),
)

model_approvals = Table(
    "model_approvals",
    metadata,
    Column("id", Text, primary_key=True),
    Column("model", Text, nullable=False),
    Column("number", Integer, nullable=False),
    Column("role", Text, nullable=False),
    Column("approved", Boolean, nullable=False),
    Column("actor", Text, nullable=False),
    Column("at", Instant, nullable=False),
    Column("reason", Text, nullable=False),
    Index("ix_model_approvals_model_number", "model", "number"),
)

# Approvals that somebody asked for: each waits until its role has decided.
model_asked = Table(
    "model_asked",
    metadata,
    Column("model", Text, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("role", Text, primary_key=True),
    Column("actor", Text, nullable=False),
    Column("at", Instant, nullable=False),
    Column("reason", Text, nullable=False),
)

model_protections = Table(
    "model_protections",
    metadata,
    Column("model", Text, primary_key=True),
    Column("alias", Text, primary_key=True),
    Column("roles", Json, nullable=False),
    Column("actor", Text, nullable=False),
    Column("at", Instant, nullable=False),
    Column("reason", Text, nullable=False),
)
