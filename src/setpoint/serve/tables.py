from sqlalchemy import BigInteger, Column, Double, Index, Integer, Table, Text

from setpoint.db.schema import Instant, metadata

endpoints = Table(
    "endpoints",
    metadata,
    Column("model", Text, primary_key=True),
    Column("generation", BigInteger, nullable=False),
)

deployments = Table(
    "deployments",
    metadata,
    Column("model", Text, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("role", Text, nullable=False),
    Column("weight", Double, nullable=False),
)

# What the spec in force says of an endpoint, as JSON; there may be no endpoint yet.
endpoint_settings = Table(
    "endpoint_settings",
    metadata,
    Column("model", Text, primary_key=True),
    Column("settings", Text, nullable=False),
)

# The arms of tests that run apart from releases; spans are JSON, in millionths of the keys.
split_arms = Table(
    "split_arms",
    metadata,
    Column("model", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("spans", Text, nullable=False),
)

# The index of the prediction log: what joins labels, and what lineage asks. One b-tree on
# SQLite (no row ids), because at a million rows a second copy of the ids costs more than
# everything else.
predictions = Table(
    "predictions",
    metadata,
    Column("model", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("role", Text, nullable=False),
    Column("at", Instant, nullable=False),
    Column("score", Double),  # null: the model cannot answer a row that lacks an input
    Column("other_version", Integer),
    Column("other_score", Double),
    Column("label", Double),
    Column("labelled_at", Instant),
    Column("arm", Text),  # of a test, or the one that a tester named
    Index("ix_predictions_model_version", "model", "version"),
    sqlite_with_rowid=False,
)

# Labels that came before their prediction did.
waiting_labels = Table(
    "waiting_labels",
    metadata,
    Column("model", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("label", Double, nullable=False),
    Column("at", Instant, nullable=False),
    sqlite_with_rowid=False,
)
