from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
)

from setpoint.db.schema import Instant, Json, metadata

# Counts up by itself: SQLite does so for INTEGER only.
_KEY = BigInteger().with_variant(Integer, "sqlite")
# Compared byte by byte, as SQLite does, so that a page token means the same on both.
_TEXT = Text().with_variant(Text(collation="C"), "postgresql")

experiments = Table(
    "experiments",
    metadata,
    Column("id", _KEY, primary_key=True),
    Column("name", _TEXT, nullable=False, unique=True),
    Column("lifecycle", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    sqlite_autoincrement=True,  # an id is never given twice, even after the garbage is collected
)

experiment_tags = Table(
    "experiment_tags",
    metadata,
    Column("experiment_id", _KEY, ForeignKey("experiments.id"), primary_key=True),
    Column("name", _TEXT, primary_key=True),
    Column("value", _TEXT, nullable=False),
)

runs = Table(
    "runs",
    metadata,
    Column("key", _KEY, primary_key=True),
    Column("id", _TEXT, nullable=False, unique=True),
    Column("experiment_id", _KEY, ForeignKey("experiments.id"), nullable=False),
    Column("name", _TEXT, nullable=False),
    Column("parent", _TEXT),
    Column("status", _TEXT, nullable=False),
    Column("lifecycle", Text, nullable=False),
    Column("deleted_at", Instant),
    Column("started_at", Instant, nullable=False),
    Column("ended_at", Instant),
    Column("actor", _TEXT, nullable=False),
    Column("code", Json),
    Column("environment", Text),
    Column("error", Text, nullable=False),
    Index("ix_runs_experiment_id_started_at", "experiment_id", "started_at", "key"),
    Index("ix_runs_started_at", "started_at", "key"),
    Index("ix_runs_parent", "parent"),
    sqlite_autoincrement=True,
)

# Names of metrics, params and tags: said once, a number everywhere else.
run_names = Table(
    "run_names",
    metadata,
    Column("id", _KEY, primary_key=True),
    Column("name", _TEXT, nullable=False),
    UniqueConstraint("name"),
)

# The tables below have no foreign keys: they take thousands of rows a second, always in a
# transaction that holds the run.
#
# Params and tags: one row each, so that two writers of one run never overwrite each other's.
# A text is split, so that the index holds its beginning whatever its length.
run_values = Table(
    "run_values",
    metadata,
    Column("run_key", _KEY, primary_key=True, autoincrement=False),
    Column("kind", SmallInteger, primary_key=True, autoincrement=False),
    Column("name_id", _KEY, primary_key=True, autoincrement=False),
    Column("type", Text, nullable=False),  # s, i, f, b, n: what the text is in Python
    Column("head", _TEXT, nullable=False),
    Column("rest", _TEXT),  # what is beyond the head's characters
    Column("number", Float(53)),  # the text as a number, if it is one
    Index("ix_run_values_kind_name_id_number", "kind", "name_id", "number", "head", "run_key"),
    sqlite_with_rowid=False,
)

# The last point of each series and its extremes. NULL is NaN, which SQLite cannot store.
run_metrics = Table(
    "run_metrics",
    metadata,
    Column("run_key", _KEY, primary_key=True, autoincrement=False),
    Column("name_id", _KEY, primary_key=True, autoincrement=False),
    Column("value", Float(53)),
    Column("step", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("low", Float(53)),
    Column("high", Float(53)),
    Column("count", BigInteger, nullable=False),
    Column("loose_rows", Integer, nullable=False),  # in the tail
    Column("loose_points", Integer, nullable=False),
    Index("ix_run_metrics_name_id_value", "name_id", "value", "run_key"),
    sqlite_with_rowid=False,
)

# Points as they arrive, one row a batch and series; merged into chunks when there are many.
# Ids only grow, also over deleted rows: they are the cursor of those who follow a run.
series_tail = Table(
    "series_tail",
    metadata,
    Column("id", _KEY, primary_key=True),
    Column("run_key", _KEY, nullable=False),
    Column("name_id", _KEY, nullable=False),
    Column("points", LargeBinary, nullable=False),
    Index("ix_series_tail_run_key_name_id", "run_key", "name_id", "id"),
    sqlite_autoincrement=True,
)

series_chunks = Table(
    "series_chunks",
    metadata,
    Column("id", _KEY, primary_key=True),
    Column("run_key", _KEY, nullable=False),
    Column("name_id", _KEY, nullable=False),
    Column("count", Integer, nullable=False),
    Column("first_step", BigInteger, nullable=False),
    Column("last_step", BigInteger, nullable=False),
    Column("first_at", BigInteger, nullable=False),
    Column("last_at", BigInteger, nullable=False),
    Column("first", Float(53)),
    Column("last", Float(53)),
    Column("low", Float(53)),
    Column("high", Float(53)),
    Column("arrived", BigInteger, nullable=False),  # the highest id of the tail in it
    Column("points", LargeBinary, nullable=False),
    Index("ix_series_chunks_run_key_name_id", "run_key", "name_id", "last_step", "last_at"),
    Index("ix_series_chunks_run_key_arrived", "run_key", "arrived"),
)

# How long runs are kept: of one experiment, or (−1) of every one that has no rule of its own.
run_keeping = Table(
    "run_keeping",
    metadata,
    Column("experiment_id", _KEY, primary_key=True, autoincrement=False),
    Column("days", Integer),  # None: for ever
    Column("tags", Json, nullable=False),
    Column("actor", Text, nullable=False),
    Column("at", Instant, nullable=False),
    Column("reason", Text, nullable=False),
)

# What a run that has ended carries, in one piece, so that a list of runs is read fast.
run_cards = Table(
    "run_cards",
    metadata,
    Column("run_key", _KEY, primary_key=True, autoincrement=False),
    Column("body", LargeBinary, nullable=False),
)

# Which batches of a source, e.g. a log file that is sent again after a crash, are in.
run_sources = Table(
    "run_sources",
    metadata,
    Column("run_key", _KEY, ForeignKey("runs.key"), primary_key=True),
    Column("source", Text, primary_key=True),
    Column("position", BigInteger, nullable=False),
)

# The description of data that runs read, once however many runs read it.
read_datasets = Table(
    "read_datasets",
    metadata,
    Column("id", _KEY, primary_key=True),
    Column("fingerprint", Text, nullable=False, unique=True),
    Column("name", _TEXT, nullable=False),
    Column("digest", _TEXT, nullable=False),
    Column("source_type", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("schema", Text, nullable=False),
    Column("profile", Text, nullable=False),
    Index("ix_read_datasets_name_digest", "name", "digest"),
)

run_datasets = Table(
    "run_datasets",
    metadata,
    Column("run_key", _KEY, ForeignKey("runs.key"), primary_key=True),
    Column("dataset_id", _KEY, ForeignKey("read_datasets.id"), primary_key=True),
    Column("context", _TEXT, nullable=False),
    Column("tags", Json, nullable=False),
    Index("ix_run_datasets_dataset_id", "dataset_id"),
)

run_links = Table(
    "run_links",
    metadata,
    Column("run_key", _KEY, ForeignKey("runs.key"), primary_key=True),
    Column("made", Boolean, primary_key=True),  # false: used
    Column("kind", Text, primary_key=True),
    Column("ref", Text, primary_key=True),
    Column("step", BigInteger, nullable=False),
    Index("ix_run_links_kind_ref", "kind", "ref"),
)

run_artifacts = Table(
    "run_artifacts",
    metadata,
    Column("run_key", _KEY, ForeignKey("runs.key"), primary_key=True),
    Column("path", _TEXT, primary_key=True),
    Column("address", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Index("ix_run_artifacts_address", "address"),
)
