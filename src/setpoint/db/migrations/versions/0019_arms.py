"""Arms of tests that run apart from releases, and the arm that a prediction fell to."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    op.create_table(
        "split_arms",
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("spans", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("model", "name", name=op.f("pk_split_arms")),
    )
    op.add_column("predictions", sa.Column("arm", sa.Text(), nullable=True))
