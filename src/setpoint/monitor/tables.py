from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, Table, Text

from setpoint.db.schema import Instant, Json, metadata


def _windows(name: str) -> Table:
    return Table(
        name,
        metadata,
        Column("model", Text, primary_key=True),
        Column("version", Integer, primary_key=True, autoincrement=False),
        Column("role", Text, primary_key=True),
        Column("seconds", Integer, primary_key=True, autoincrement=False),
        Column("start", Instant, primary_key=True),
        Column("rows", Integer, nullable=False),
        Column("body", LargeBinary, nullable=False),
    )


profile_windows = _windows("profile_windows")
# Scores and labels, by the time of the prediction; `rows` are predictions.
quality_windows = _windows("quality_windows")

# Requests to one version, and those of them that failed.
attempts = Table(
    "attempts",
    metadata,
    Column("model", Text, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("seconds", Integer, primary_key=True, autoincrement=False),
    Column("start", Instant, primary_key=True),
    Column("requests", BigInteger, nullable=False),
    Column("failed", BigInteger, nullable=False),
)

# Rows that one version answered in one day, in one role.
traffic = Table(
    "traffic",
    metadata,
    Column("model", Text, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("role", Text, primary_key=True),
    Column("day", Instant, primary_key=True),
    Column("rows", BigInteger, nullable=False),
    Column("logged", BigInteger, nullable=False),
)

detectors = Table(
    "detectors",
    metadata,
    Column("model", Text, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("monitor", Text, primary_key=True),
    Column("state", Json, nullable=False),
    Column("verdict", Json),
    Column("updated_at", Instant, nullable=False),
)

# One line per judged window: what the page draws evidence and quality over time from.
verdicts = Table(
    "verdicts",
    metadata,
    Column("model", Text, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("monitor", Text, primary_key=True),
    Column("end", Instant, primary_key=True),
    Column("start", Instant, nullable=False),
    Column("verdict", Json, nullable=False),
)

alarms = Table(
    "alarms",
    metadata,
    Column("id", Text, primary_key=True),
    Column("model", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("monitor", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("opened_at", Instant, nullable=False),
    Column("seen_at", Instant, nullable=False),
    Column("times", Integer, nullable=False),
    Column("text", Text, nullable=False),
    Column("evidence", Json, nullable=False),
    Column("attribution", Json, nullable=False),
    Column("by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("closed_at", Instant),
    Index("ix_alarms_model_state", "model", "state"),
    Index("ix_alarms_opened_at", "opened_at"),
)
