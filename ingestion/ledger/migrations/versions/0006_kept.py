"""When a running process last said that a source is in its settings."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("sources", sa.Column("kept_at", sa.Float(), nullable=True))


def downgrade() -> None:
    op.drop_column("sources", "kept_at")
