"""How many rows each version answered a day, of every model: those without a reference, too."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"

_DAY = 86_400_000_000  # µs


def upgrade() -> None:
    op.create_table(
        "traffic",
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("day", sa.BigInteger(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("logged", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("model", "version", "role", "day", name=op.f("pk_traffic")),
    )
    op.execute(  # what was known of it before
        "INSERT INTO traffic (model, version, role, day, rows, logged) "
        f"SELECT model, version, role, start - start % {_DAY}, SUM(rows), SUM(rows) "
        f"FROM quality_windows GROUP BY model, version, role, start - start % {_DAY}"
    )
