"""The device that a source lies on, as each machine numbers it; and who asks for a listing."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("sources", sa.Column("devices", sa.JSON(), nullable=True))
    op.add_column("sources", sa.Column("asked_generation", sa.BigInteger(), nullable=True))
    # Nobody knows which machine saw it there: the next listing of each says.
    op.drop_column("sources", "device")


def downgrade() -> None:
    op.add_column("sources", sa.Column("device", sa.BigInteger(), nullable=True))
    op.drop_column("sources", "asked_generation")
    op.drop_column("sources", "devices")
