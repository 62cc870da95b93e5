"""Bodies of documents that their source may not hand out again."""

import sqlalchemy as sa
from alembic import op

from ingestion.ledger.words import Name, Words

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "bodies",
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("packed", sa.LargeBinary(), nullable=False),
        sa.Column("kept_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_bodies")),
    )
    op.create_table(
        "kept",
        sa.Column("source", Name(), nullable=False),
        sa.Column("uri", Name(), nullable=False),
        sa.Column("digest", sa.String(), nullable=True),
        sa.Column("media_type", sa.String(), nullable=True),
        sa.Column("title", Words(), nullable=True),
        sa.Column("changed_at", sa.Float(), nullable=False),
        sa.Column("received_at", sa.Float(), nullable=False),
        sa.Column("notes", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["digest"], ["bodies.digest"], name=op.f("fk_kept_digest")),
        sa.PrimaryKeyConstraint("source", "uri", name=op.f("pk_kept")),
    )
    op.create_index("ix_kept_digest", "kept", ["digest"])


def downgrade() -> None:
    op.drop_table("kept")
    op.drop_table("bodies")
