"""The last round of each canary, and who has one under way."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "canaries",
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("round", sa.BigInteger(), nullable=False),
        sa.Column("begun_at", sa.Float(), nullable=False),
        sa.Column("lease_until", sa.Float(), nullable=True),
        sa.Column("silent_at", sa.Float(), nullable=False),
        sa.Column("finished_at", sa.Float(), nullable=True),
        sa.Column("took", sa.JSON(), nullable=False),
        sa.Column("failed", sa.String(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("succeeded_at", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("kind", name=op.f("pk_canaries")),
    )


def downgrade() -> None:
    op.drop_table("canaries")
