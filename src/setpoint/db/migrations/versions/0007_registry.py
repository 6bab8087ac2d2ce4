"""The registry: what people say about models, versions from elsewhere; channels that tell."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0003"


def upgrade() -> None:
    _models()
    _versions()
    _said()
    _channels()


def _models() -> None:
    with op.batch_alter_table("models") as table:
        table.add_column(
            sa.Column("updated_at", sa.BigInteger(), nullable=False, server_default="0")
        )
        table.add_column(sa.Column("description", sa.Text(), nullable=False, server_default=""))
        table.add_column(sa.Column("deleted_at", sa.BigInteger()))
        table.add_column(sa.Column("keep", sa.Text()))
    op.execute("UPDATE models SET updated_at = created_at")


def _versions() -> None:
    """Rebuild versions (SQLite drops a constraint in no other way), their aliases set aside."""
    connection = op.get_bind()
    kept = connection.execute(sa.text("SELECT model, alias, number FROM model_aliases")).all()
    op.drop_table("model_aliases")
    with op.batch_alter_table("model_versions") as table:
        table.drop_constraint("uq_model_versions_model", type_="unique")
        for name in (
            "source",
            "run_link",
            "logged_model",
            "status_message",
            "description",
        ):
            table.add_column(sa.Column(name, sa.Text(), nullable=False, server_default=""))
        table.add_column(sa.Column("status", sa.Text(), nullable=False, server_default="ready"))
        table.add_column(sa.Column("stage", sa.Text(), nullable=False, server_default="None"))
        table.add_column(
            sa.Column("updated_at", sa.BigInteger(), nullable=False, server_default="0")
        )
        table.add_column(sa.Column("signed", sa.Text()))
        for name in ("deleted_at", "purged_at", "freed_at"):
            table.add_column(sa.Column(name, sa.BigInteger()))
    op.execute("UPDATE model_versions SET updated_at = created_at")
    op.create_index(
        "uq_model_versions_trained",
        "model_versions",
        ["model", "run_id"],
        unique=True,
        sqlite_where=sa.text("flavor <> ''"),
        postgresql_where=sa.text("flavor <> ''"),
    )
    aliases = op.create_table(
        "model_aliases",
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("alias", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["model", "number"],
            ["model_versions.model", "model_versions.number"],
            name=op.f("fk_model_aliases_model_model_versions"),
            onupdate="CASCADE",
        ),
        sa.PrimaryKeyConstraint("model", "alias", name=op.f("pk_model_aliases")),
    )
    rows = [dict(row._mapping) for row in kept]  # noqa: SLF001 - SQLAlchemy's public way
    if rows:
        op.bulk_insert(aliases, rows)


def _said() -> None:
    op.create_table(
        "model_tags",
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("model", "number", "key", name=op.f("pk_model_tags")),
    )
    op.create_index("ix_model_tags_key", "model_tags", ["key"])
    op.create_table(
        "model_comments",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("edited_at", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model_comments")),
    )
    op.create_index("ix_model_comments_model_number", "model_comments", ["model", "number"])
    op.create_table(
        "model_approvals",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("approved", sa.Boolean(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model_approvals")),
    )
    op.create_index("ix_model_approvals_model_number", "model_approvals", ["model", "number"])
    op.create_table(
        "model_protections",
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("alias", sa.Text(), nullable=False),
        sa.Column("roles", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("model", "alias", name=op.f("pk_model_protections")),
    )


def _channels() -> None:
    op.create_table(
        "event_outbox",
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_event_outbox")),
    )
    op.create_table(
        "channels",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("events", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("mail", sa.Text()),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_channels")),
    )
    op.create_table(
        "deliveries",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("next_at", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("ended_at", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deliveries")),
    )
    op.create_index("ix_deliveries_state_next_at", "deliveries", ["state", "next_at"])
    op.create_index("ix_deliveries_channel_created_at", "deliveries", ["channel", "created_at"])
    op.create_table(
        "delivery_attempts",
        sa.Column("delivery", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("status", sa.Integer()),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("delivery", "number", name=op.f("pk_delivery_attempts")),
    )
