from sqlalchemy import Column, Integer, Table, Text

from setpoint.db.schema import Instant, Json, metadata

graphs = Table(
    "graphs",
    metadata,
    Column("model", Text, primary_key=True),
    Column("hash", Text, nullable=False),
    Column("content", Json, nullable=False),
    Column("functions", Json, nullable=False),
    Column("file", Text, nullable=False),
    Column("applied_at", Instant, nullable=False),
    Column("applied_by", Text, nullable=False),
    Column("tried", Text, nullable=False),
    Column("version", Integer),
    Column("problem", Text, nullable=False),
)
