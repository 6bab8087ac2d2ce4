"""What only the client's protocol knows of a run, its artifacts and its sweeps."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
)

from setpoint.db.schema import Instant, Json, metadata

# A client's name for a run is its own within a project only; ours is for the whole store.
# What is known of a run goes with it when the garbage is collected.
wandb_runs = Table(
    "wandb_runs",
    metadata,
    Column("run_id", Text, ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("experiment", Text, nullable=False),
    Column("name", Text, nullable=False),  # what the client calls its id
    Column("config", Text, nullable=False),  # JSON as the client wrote it: NaN is a value
    Column("summary", Text, nullable=False),
    Column("fields", Json, nullable=False),  # display name, notes, group, tags, …
    Column("sweep", Text),
    Column("agent", Text),
    Column("state", Text),  # the client's, where ours cannot say it: pending, crashed, …
    Column("exit_code", Integer),
    Column("stop", Boolean, nullable=False),  # whether the client is to stop it
    Column("history_lines", BigInteger, nullable=False),
    Column("event_lines", BigInteger, nullable=False),
    Column("log_lines", BigInteger, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("heartbeat_at", Instant, nullable=False),
    UniqueConstraint("experiment", "name"),
    Index("ix_wandb_runs_sweep", "sweep"),
)

# What a row of history holds beside numbers: tables, images, text, nested values.
wandb_rows = Table(
    "wandb_rows",
    metadata,
    Column("run_id", Text, ForeignKey("wandb_runs.run_id", ondelete="CASCADE"), primary_key=True),
    Column("step", BigInteger, primary_key=True, autoincrement=False),
    Column("content", Text, nullable=False),  # JSON
)

wandb_lines = Table(
    "wandb_lines",
    metadata,
    Column("run_id", Text, ForeignKey("wandb_runs.run_id", ondelete="CASCADE"), primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("content", Text, nullable=False),  # a line of output, as the client sent it
)

# What artifacts are made of. The client names content by its MD5, we by its BLAKE3.
wandb_files = Table(
    "wandb_files",
    metadata,
    Column("md5", Text, primary_key=True),  # base 64
    Column("address", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
)

# The MD5 of files of runs. It keeps nothing: the hash stands here without its prefix, so that
# it is no address, and the file goes with its run.
wandb_digests = Table(
    "wandb_digests",
    metadata,
    Column("hash", Text, primary_key=True),
    Column("md5", Text, nullable=False),
)

wandb_collections = Table(
    "wandb_collections",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("experiment", Text, nullable=False),
    Column("kind", Text, nullable=False),  # sequence: its own versions; portfolio: links
    Column("type", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("description", Text),
    Column("tags", Json, nullable=False),
    Column("client_id", Text),  # of a sequence whose first version is still being made
    Column("versions", Integer, nullable=False),  # handed out so far
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    UniqueConstraint("experiment", "name"),
)

wandb_artifacts = Table(
    "wandb_artifacts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("collection_id", Integer, ForeignKey("wandb_collections.id"), nullable=False),
    Column("state", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("digest_algorithm", Text, nullable=False),
    Column("description", Text),
    Column("metadata", Text),  # JSON as the client wrote it
    Column("tags", Json, nullable=False),
    Column("wanted", Json, nullable=False),  # aliases that it gets when it is whole
    Column("client_id", Text, unique=True),
    Column("run_id", Text),  # that made it
    Column("step", BigInteger),  # of that run's history
    Column("ttl", BigInteger),  # seconds
    Column("size", BigInteger, nullable=False),
    Column("files", BigInteger, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    Index("ix_wandb_artifacts_collection_id_digest", "collection_id", "digest"),
    Index("ix_wandb_artifacts_run_id", "run_id"),
)

# Where an artifact is a version of a collection: of its own sequence, and of portfolios.
wandb_memberships = Table(
    "wandb_memberships",
    metadata,
    Column("collection_id", Integer, ForeignKey("wandb_collections.id"), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("artifact_id", Integer, ForeignKey("wandb_artifacts.id"), nullable=False),
    Column("created_at", Instant, nullable=False),
    Index("ix_wandb_memberships_artifact_id", "artifact_id"),
)

wandb_aliases = Table(
    "wandb_aliases",
    metadata,
    Column("collection_id", Integer, ForeignKey("wandb_collections.id"), primary_key=True),
    Column("alias", Text, primary_key=True),
    Column("version", Integer, nullable=False),
)

wandb_manifests = Table(
    "wandb_manifests",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("artifact_id", Integer, ForeignKey("wandb_artifacts.id"), nullable=False),
    Column("base_id", Integer),  # of the artifact that an incremental one adds to
    Column("type", Text, nullable=False),
    Column("digest", Text),
    Column("md5", Text),  # of the file, when it has arrived
    Index("ix_wandb_manifests_artifact_id", "artifact_id"),
)

# Which contents an artifact has: content goes with the last artifact that has it.
wandb_entries = Table(
    "wandb_entries",
    metadata,
    Column("artifact_id", Integer, ForeignKey("wandb_artifacts.id"), primary_key=True),
    Column("md5", Text, primary_key=True),
    Index("ix_wandb_entries_md5", "md5"),
)

wandb_uses = Table(
    "wandb_uses",
    metadata,
    Column("artifact_id", Integer, ForeignKey("wandb_artifacts.id"), primary_key=True),
    Column("run_id", Text, primary_key=True),
    Column("used_as", Text),
    Column("at", Instant, nullable=False),
    Index("ix_wandb_uses_run_id", "run_id"),
)

wandb_sweeps = Table(
    "wandb_sweeps",
    metadata,
    Column("id", Text, primary_key=True),
    Column("experiment", Text, nullable=False),
    Column("config", Text, nullable=False),  # YAML as the client wrote it
    Column("state", Text, nullable=False),
    Column("display_name", Text),
    Column("description", Text),
    Column("fields", Json, nullable=False),  # controller, scheduler, …
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    Index("ix_wandb_sweeps_experiment", "experiment"),
)

wandb_agents = Table(
    "wandb_agents",
    metadata,
    Column("id", Text, primary_key=True),
    Column("sweep", Text, ForeignKey("wandb_sweeps.id"), nullable=False),
    Column("host", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("heartbeat_at", Instant, nullable=False),
    Index("ix_wandb_agents_sweep", "sweep"),
)

# A run that a sweep has asked for: first a wish, then the client's run of the same name.
wandb_trials = Table(
    "wandb_trials",
    metadata,
    Column("sweep", Text, ForeignKey("wandb_sweeps.id"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False),
    Column("agent", Text),  # None: not handed out yet
    Column("args", Json, nullable=False),  # parameter: value
    Column("point", Json),  # in the unit cube; None: not drawn from the space
    Column("display_name", Text),
    Column("told_to_stop", Boolean, nullable=False),
    Column("handed", Integer, nullable=False),  # how often
    Column("created_at", Instant, nullable=False),
    UniqueConstraint("sweep", "name"),
)
