"""Evaluation datasets with their records, and versions of scorers."""

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, Table, Text

from setpoint.db.schema import Instant, Json, metadata

mlflow_datasets = Table(
    "mlflow_datasets",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("schema", Json),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("updated_by", Text, nullable=False),
)

# Tags (kind "tag") and the experiments a dataset belongs to (kind "experiment").
mlflow_dataset_values = Table(
    "mlflow_dataset_values",
    metadata,
    Column("dataset_id", Text, ForeignKey("mlflow_datasets.id"), primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
    Index("ix_mlflow_dataset_values_kind", "kind", "name"),
)

# A record is known by its inputs: sent again, it is changed.
mlflow_dataset_records = Table(
    "mlflow_dataset_records",
    metadata,
    Column("dataset_id", Text, ForeignKey("mlflow_datasets.id"), primary_key=True),
    Column("inputs", Text, primary_key=True),  # hash of them
    Column("id", Text, nullable=False),
    Column("content", Json, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    Index("ix_mlflow_dataset_records_created_at", "dataset_id", "created_at", "id"),
)

mlflow_scorers = Table(
    "mlflow_scorers",
    metadata,
    Column("experiment_id", BigInteger, primary_key=True, autoincrement=False),
    Column("name", Text, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("id", Text, nullable=False),  # of the scorer, not of the version
    Column("content", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
)
