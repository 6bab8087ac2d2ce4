from sqlalchemy import Column, Float, Table, Text

from setpoint.db.schema import Instant, metadata

step_results = Table(
    "step_results",
    metadata,
    Column("key", Text, primary_key=True),
    Column("step", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("at", Instant, nullable=False),
)
