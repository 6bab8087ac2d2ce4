"""Spans of MLflow's traces."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    op.create_table(
        "mlflow_spans",
        sa.Column("trace_id", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("parent", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("began", sa.BigInteger(), nullable=False),
        sa.Column("ended", sa.BigInteger(), nullable=True),
        sa.Column("attributes", sa.Text(), nullable=False),
        sa.Column("rest", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["trace_id"],
            ["mlflow_traces.id"],
            name=op.f("fk_mlflow_spans_trace_id_mlflow_traces"),
        ),
        sa.PrimaryKeyConstraint("trace_id", "id", name=op.f("pk_mlflow_spans")),
    )
    op.create_index("ix_mlflow_spans_name", "mlflow_spans", ["name"])
