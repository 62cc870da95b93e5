"""Hints of changes, on their way to whoever watches."""

import sqlalchemy as sa
from alembic import op

from ingestion.ledger.words import Name

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "hints",
        sa.Column("source", Name(), nullable=False),
        sa.Column("place", Name(), nullable=False),
        sa.PrimaryKeyConstraint("source", "place", name=op.f("pk_hints")),
    )


def downgrade() -> None:
    op.drop_table("hints")
