"""Some training rows of each version, by which its predictions are explained."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    op.add_column("model_versions", sa.Column("background", sa.Text(), nullable=True))
