from sqlalchemy import Column, ForeignKey, Index, Table, Text

from setpoint.db.schema import Instant, metadata

comments = Table(
    "comments",
    metadata,
    Column("id", Text, primary_key=True),
    Column("subject", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("at", Instant, nullable=False),
    Column("text", Text, nullable=False),
    Column("edited_at", Instant),
    Index("ix_comments_subject_at", "subject", "at"),
)

# Who is named in a comment, so that each finds what is meant for them.
comment_mentions = Table(
    "comment_mentions",
    metadata,
    Column("comment", Text, ForeignKey("comments.id", ondelete="CASCADE"), primary_key=True),
    Column("person", Text, primary_key=True),
    Index("ix_comment_mentions_person", "person"),
)
