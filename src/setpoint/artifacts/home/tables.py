"""Which artifact store a database's files are in."""

from sqlalchemy import Column, Integer, Table, Text

from setpoint.db.schema import Instant, metadata

# One row.
artifact_home = Table(
    "artifact_home",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("mark", Text, nullable=False),  # an object of that store, its content
    Column("place", Text, nullable=False),  # of that store, in words
    Column("claimed_at", Instant, nullable=False),
)
