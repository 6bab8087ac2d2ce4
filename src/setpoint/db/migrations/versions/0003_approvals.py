"""Releases that wait for approval: a state, and the answer."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0001"

_OPEN = sa.text("state IN ('waiting', 'running', 'held')")


def upgrade() -> None:
    op.add_column("releases", sa.Column("approval", sa.Text(), nullable=True))
    op.drop_index("uq_releases_open", "releases")
    op.create_index(
        "uq_releases_open",
        "releases",
        ["model"],
        unique=True,
        sqlite_where=_OPEN,
        postgresql_where=_OPEN,
    )
