"""When each source was last looked at by its schedule, and when it is next."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("sources", sa.Column("looked_at", sa.Float(), nullable=True))
    op.add_column("sources", sa.Column("next_look_at", sa.Float(), nullable=True))


def downgrade() -> None:
    op.drop_column("sources", "next_look_at")
    op.drop_column("sources", "looked_at")
