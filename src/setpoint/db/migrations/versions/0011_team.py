"""What a team says and keeps: comments, mentions, approvals asked for, how long runs stay."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.create_index("ix_events_actor_seq", "events", ["actor", "seq"])
    op.create_table(
        "comments",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("edited_at", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_comments")),
    )
    op.create_index("ix_comments_subject_at", "comments", ["subject", "at"])
    op.create_table(
        "comment_mentions",
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("person", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["comment"],
            ["comments.id"],
            name=op.f("fk_comment_mentions_comment_comments"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("comment", "person", name=op.f("pk_comment_mentions")),
    )
    op.create_index("ix_comment_mentions_person", "comment_mentions", ["person"])
    op.execute(
        "INSERT INTO comments (id, subject, actor, at, text, edited_at) SELECT id, "
        "CASE number WHEN 0 THEN 'model:' || model ELSE 'version:' || model || '/' || number END, "
        "actor, at, text, edited_at FROM model_comments"
    )
    op.drop_table("model_comments")
    op.create_table(
        "run_keeping",
        sa.Column(
            "experiment_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("days", sa.Integer()),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("experiment_id", name=op.f("pk_run_keeping")),
    )
    op.create_table(
        "model_asked",
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("model", "number", "role", name=op.f("pk_model_asked")),
    )
