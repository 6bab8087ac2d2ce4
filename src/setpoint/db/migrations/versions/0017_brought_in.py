"""Versions that were brought in have no run: a model may have several of those."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"

_TRAINED = "flavor <> '' AND run_id <> ''"


def upgrade() -> None:
    op.drop_index("uq_model_versions_trained", "model_versions")
    op.create_index(
        "uq_model_versions_trained",
        "model_versions",
        ["model", "run_id"],
        unique=True,
        sqlite_where=sa.text(_TRAINED),
        postgresql_where=sa.text(_TRAINED),
    )
