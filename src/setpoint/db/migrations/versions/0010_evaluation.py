"""Evaluation datasets and scorers of MLflow's interface."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0006"


def upgrade() -> None:
    op.create_table(
        "mlflow_datasets",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("schema", sa.Text(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("updated_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mlflow_datasets")),
    )
    op.create_table(
        "mlflow_dataset_values",
        sa.Column("dataset_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        _owner("mlflow_dataset_values"),
        sa.PrimaryKeyConstraint(
            "dataset_id", "kind", "name", name=op.f("pk_mlflow_dataset_values")
        ),
    )
    op.create_index("ix_mlflow_dataset_values_kind", "mlflow_dataset_values", ["kind", "name"])
    op.create_table(
        "mlflow_dataset_records",
        sa.Column("dataset_id", sa.Text(), nullable=False),
        sa.Column("inputs", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        _owner("mlflow_dataset_records"),
        sa.PrimaryKeyConstraint("dataset_id", "inputs", name=op.f("pk_mlflow_dataset_records")),
    )
    op.create_index(
        "ix_mlflow_dataset_records_created_at",
        "mlflow_dataset_records",
        ["dataset_id", "created_at", "id"],
    )
    op.create_table(
        "mlflow_scorers",
        sa.Column("experiment_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("experiment_id", "name", "version", name=op.f("pk_mlflow_scorers")),
    )


def _owner(table: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_dataset_id_mlflow_datasets")
    return sa.ForeignKeyConstraint(["dataset_id"], ["mlflow_datasets.id"], name=name)
