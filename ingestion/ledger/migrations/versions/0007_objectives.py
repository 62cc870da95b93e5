"""What is promised of each source, how far it was kept, and when its watcher was last told of a change."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

# Ordered byte by byte, whatever the language of a server.
NAME = sa.String().with_variant(sa.String(collation="C"), "postgresql")
_FAILED = sa.text("state = 'failed'")


def upgrade() -> None:
    op.add_column("sources", sa.Column("event_at", sa.Float(), nullable=True))
    op.add_column("sources", sa.Column("share", sa.Float(), nullable=False, server_default="0.99"))
    op.add_column("sources", sa.Column("within_s", sa.Float(), nullable=False, server_default="60"))
    op.add_column("sources", sa.Column("deletions_within_s", sa.Float(), nullable=False, server_default="5"))
    op.add_column("sources", sa.Column("over_days", sa.Integer(), nullable=False, server_default="30"))
    op.create_table(
        "punctuality",
        sa.Column("span_s", sa.Integer(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("source", NAME, nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("took", sa.Integer(), nullable=False),
        sa.Column("met", sa.BigInteger(), nullable=False),
        sa.Column("missed", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("span_s", "since", "source", "kind", "took", name=op.f("pk_punctuality")),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_publications_failed",
        "publications",
        ["edition_id"],
        sqlite_where=_FAILED,
        postgresql_where=_FAILED,
    )


def downgrade() -> None:
    op.drop_index("ix_publications_failed", "publications")
    op.drop_table("punctuality")
    for name in ("over_days", "deletions_within_s", "within_s", "share", "event_at"):
        op.drop_column("sources", name)
