"""What only MLflow's interface knows: files of no run, logged models, traces."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "mlflow_files",
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("root", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("path", name=op.f("pk_mlflow_files")),
    )
    op.create_index("ix_mlflow_files_root", "mlflow_files", ["root"])
    _models()
    _traces()


def _models() -> None:
    op.create_table(
        "mlflow_models",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("experiment_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("lifecycle", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("location", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mlflow_models")),
    )
    op.create_index(
        "ix_mlflow_models_experiment_id", "mlflow_models", ["experiment_id", "created_at"]
    )
    op.create_table(
        "mlflow_model_values",
        sa.Column("model_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        _owner("mlflow_model_values", "model_id", "mlflow_models"),
        sa.PrimaryKeyConstraint("model_id", "kind", "name", name=op.f("pk_mlflow_model_values")),
    )
    op.create_index("ix_mlflow_model_values_kind", "mlflow_model_values", ["kind", "name"])
    op.create_table(
        "mlflow_model_metrics",
        sa.Column("model_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("step", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("dataset", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("value", sa.Float(precision=53), nullable=True),
        _owner("mlflow_model_metrics", "model_id", "mlflow_models"),
        sa.PrimaryKeyConstraint(
            "model_id",
            "name",
            "run_id",
            "step",
            "at",
            "dataset",
            "digest",
            name=op.f("pk_mlflow_model_metrics"),
        ),
    )


def _traces() -> None:
    op.create_table(
        "mlflow_traces",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("experiment_id", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("requested_at", sa.BigInteger(), nullable=False),
        sa.Column("duration", sa.BigInteger(), nullable=True),
        sa.Column("client_request_id", sa.Text(), nullable=False),
        sa.Column("request_preview", sa.Text(), nullable=False),
        sa.Column("response_preview", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mlflow_traces")),
    )
    op.create_index(
        "ix_mlflow_traces_experiment_id", "mlflow_traces", ["experiment_id", "requested_at"]
    )
    op.create_table(
        "mlflow_trace_values",
        sa.Column("trace_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        _owner("mlflow_trace_values", "trace_id", "mlflow_traces"),
        sa.PrimaryKeyConstraint("trace_id", "kind", "name", name=op.f("pk_mlflow_trace_values")),
    )
    op.create_index("ix_mlflow_trace_values_kind", "mlflow_trace_values", ["kind", "name"])
    op.create_table(
        "mlflow_assessments",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("trace_id", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        _owner("mlflow_assessments", "trace_id", "mlflow_traces"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mlflow_assessments")),
    )
    op.create_index("ix_mlflow_assessments_trace_id", "mlflow_assessments", ["trace_id"])


def _owner(table: str, column: str, owner: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_{column}_{owner}")
    return sa.ForeignKeyConstraint([column], [f"{owner}.id"], name=name)
