"""How often documents change that are looked at one by one, and whose turn it is to look at a source."""

import sqlalchemy as sa
from alembic import op

from ingestion.ledger.words import Name

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "rhythms",
        sa.Column("source", Name(), nullable=False),
        sa.Column("uri", Name(), nullable=False),
        sa.Column("looked_at", sa.Float(), nullable=False),
        sa.Column("shape", sa.Float(), nullable=False),
        sa.Column("span_s", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("source", "uri", name=op.f("pk_rhythms")),
    )
    op.create_table(
        "turns",
        sa.Column("source", Name(), nullable=False),
        sa.Column("holder", sa.String(), nullable=False),
        sa.Column("until", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("source", name=op.f("pk_turns")),
    )


def downgrade() -> None:
    op.drop_table("turns")
    op.drop_table("rhythms")
