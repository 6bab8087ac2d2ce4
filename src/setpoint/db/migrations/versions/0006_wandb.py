"""What the wandb client alone knows: its runs, rows, artifacts, sweeps."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    _runs()
    _artifacts()
    _sweeps()


def _runs() -> None:
    op.create_table(
        "wandb_runs",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("experiment", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("config", sa.Text(), nullable=False),
        sa.Column("summary", sa.Text(), nullable=False),
        sa.Column("fields", sa.Text(), nullable=False),
        sa.Column("sweep", sa.Text(), nullable=True),
        sa.Column("agent", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=True),
        sa.Column("exit_code", sa.Integer(), nullable=True),
        sa.Column("stop", sa.Boolean(), nullable=False),
        sa.Column("history_lines", sa.BigInteger(), nullable=False),
        sa.Column("event_lines", sa.BigInteger(), nullable=False),
        sa.Column("log_lines", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("heartbeat_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.id"], name=op.f("fk_wandb_runs_run_id_runs"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_wandb_runs")),
        sa.UniqueConstraint("experiment", "name", name=op.f("uq_wandb_runs_experiment")),
    )
    op.create_index("ix_wandb_runs_sweep", "wandb_runs", ["sweep"])
    op.create_table(
        "wandb_rows",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("step", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"],
            ["wandb_runs.run_id"],
            name=op.f("fk_wandb_rows_run_id_wandb_runs"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("run_id", "step", name=op.f("pk_wandb_rows")),
    )
    op.create_table(
        "wandb_lines",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"],
            ["wandb_runs.run_id"],
            name=op.f("fk_wandb_lines_run_id_wandb_runs"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("run_id", "number", name=op.f("pk_wandb_lines")),
    )
    op.create_table(
        "wandb_files",
        sa.Column("md5", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("md5", name=op.f("pk_wandb_files")),
    )
    op.create_table(
        "wandb_digests",
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("md5", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_wandb_digests")),
    )


def _artifacts() -> None:
    op.create_table(
        "wandb_collections",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("experiment", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("client_id", sa.Text(), nullable=True),
        sa.Column("versions", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_wandb_collections")),
        sa.UniqueConstraint("experiment", "name", name=op.f("uq_wandb_collections_experiment")),
    )
    op.create_table(
        "wandb_artifacts",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("collection_id", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("digest_algorithm", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("metadata", sa.Text(), nullable=True),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("wanted", sa.Text(), nullable=False),
        sa.Column("client_id", sa.Text(), nullable=True),
        sa.Column("run_id", sa.Text(), nullable=True),
        sa.Column("step", sa.BigInteger(), nullable=True),
        sa.Column("ttl", sa.BigInteger(), nullable=True),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("files", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["collection_id"],
            ["wandb_collections.id"],
            name=op.f("fk_wandb_artifacts_collection_id_wandb_collections"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_wandb_artifacts")),
        sa.UniqueConstraint("client_id", name=op.f("uq_wandb_artifacts_client_id")),
    )
    op.create_index(
        "ix_wandb_artifacts_collection_id_digest", "wandb_artifacts", ["collection_id", "digest"]
    )
    op.create_index("ix_wandb_artifacts_run_id", "wandb_artifacts", ["run_id"])
    op.create_table(
        "wandb_memberships",
        sa.Column("collection_id", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("artifact_id", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["artifact_id"],
            ["wandb_artifacts.id"],
            name=op.f("fk_wandb_memberships_artifact_id_wandb_artifacts"),
        ),
        sa.ForeignKeyConstraint(
            ["collection_id"],
            ["wandb_collections.id"],
            name=op.f("fk_wandb_memberships_collection_id_wandb_collections"),
        ),
        sa.PrimaryKeyConstraint("collection_id", "version", name=op.f("pk_wandb_memberships")),
    )
    op.create_index("ix_wandb_memberships_artifact_id", "wandb_memberships", ["artifact_id"])
    op.create_table(
        "wandb_aliases",
        sa.Column("collection_id", sa.Integer(), nullable=False),
        sa.Column("alias", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["collection_id"],
            ["wandb_collections.id"],
            name=op.f("fk_wandb_aliases_collection_id_wandb_collections"),
        ),
        sa.PrimaryKeyConstraint("collection_id", "alias", name=op.f("pk_wandb_aliases")),
    )
    op.create_table(
        "wandb_manifests",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("artifact_id", sa.Integer(), nullable=False),
        sa.Column("base_id", sa.Integer(), nullable=True),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=True),
        sa.Column("md5", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["artifact_id"],
            ["wandb_artifacts.id"],
            name=op.f("fk_wandb_manifests_artifact_id_wandb_artifacts"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_wandb_manifests")),
    )
    op.create_index("ix_wandb_manifests_artifact_id", "wandb_manifests", ["artifact_id"])
    op.create_table(
        "wandb_entries",
        sa.Column("artifact_id", sa.Integer(), nullable=False),
        sa.Column("md5", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["artifact_id"],
            ["wandb_artifacts.id"],
            name=op.f("fk_wandb_entries_artifact_id_wandb_artifacts"),
        ),
        sa.PrimaryKeyConstraint("artifact_id", "md5", name=op.f("pk_wandb_entries")),
    )
    op.create_index("ix_wandb_entries_md5", "wandb_entries", ["md5"])
    op.create_table(
        "wandb_uses",
        sa.Column("artifact_id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("used_as", sa.Text(), nullable=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["artifact_id"],
            ["wandb_artifacts.id"],
            name=op.f("fk_wandb_uses_artifact_id_wandb_artifacts"),
        ),
        sa.PrimaryKeyConstraint("artifact_id", "run_id", name=op.f("pk_wandb_uses")),
    )
    op.create_index("ix_wandb_uses_run_id", "wandb_uses", ["run_id"])


def _sweeps() -> None:
    op.create_table(
        "wandb_sweeps",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("experiment", sa.Text(), nullable=False),
        sa.Column("config", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("display_name", sa.Text(), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("fields", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_wandb_sweeps")),
    )
    op.create_index("ix_wandb_sweeps_experiment", "wandb_sweeps", ["experiment"])
    op.create_table(
        "wandb_agents",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("sweep", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("heartbeat_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["sweep"], ["wandb_sweeps.id"], name=op.f("fk_wandb_agents_sweep_wandb_sweeps")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_wandb_agents")),
    )
    op.create_index("ix_wandb_agents_sweep", "wandb_agents", ["sweep"])
    op.create_table(
        "wandb_trials",
        sa.Column("sweep", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("agent", sa.Text(), nullable=True),
        sa.Column("args", sa.Text(), nullable=False),
        sa.Column("point", sa.Text(), nullable=True),
        sa.Column("display_name", sa.Text(), nullable=True),
        sa.Column("told_to_stop", sa.Boolean(), nullable=False),
        sa.Column("handed", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["sweep"], ["wandb_sweeps.id"], name=op.f("fk_wandb_trials_sweep_wandb_sweeps")
        ),
        sa.PrimaryKeyConstraint("sweep", "number", name=op.f("pk_wandb_trials")),
        sa.UniqueConstraint("sweep", "name", name=op.f("uq_wandb_trials_sweep")),
    )
