"""What several servers share: uploads in parts; and whose files the tables are."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0011"


def upgrade() -> None:
    op.create_table(
        "mlflow_uploads",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("begun_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mlflow_uploads")),
    )
    op.create_table(
        "mlflow_parts",
        sa.Column("upload_id", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["upload_id"],
            ["mlflow_uploads.id"],
            name=op.f("fk_mlflow_parts_upload_id_mlflow_uploads"),
        ),
        sa.PrimaryKeyConstraint("upload_id", "number", name=op.f("pk_mlflow_parts")),
    )
    op.create_table(
        "data_home",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("mark", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("folder", sa.Text(), nullable=False),
        sa.Column("claimed_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_data_home")),
    )
