"""What an edition beside the live one needs: its model's settings, and how far its life is."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def _columns() -> list[sa.Column[Any]]:
    return [
        sa.Column("model", sa.JSON(), nullable=True),
        sa.Column("since", sa.Float(), nullable=True),
        sa.Column("keep_s", sa.Float(), server_default="0", nullable=False),
        sa.Column("kept_until", sa.Float(), nullable=True),
        sa.Column("paused", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("worked_s", sa.Float(), server_default="0", nullable=False),
        sa.Column("working_since", sa.Float(), nullable=True),
        sa.Column("fault", sa.Text(), nullable=True),
        sa.Column("gate", sa.JSON(), nullable=True),
        sa.Column("accept_failed", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("removed_at", sa.Float(), nullable=True),
    ]


def upgrade() -> None:
    for column in _columns():
        op.add_column("editions", column)
    op.create_index(
        "ix_editions_state",
        "editions",
        ["state"],
        unique=True,
        sqlite_where=sa.text("state != 'retired'"),
        postgresql_where=sa.text("state != 'retired'"),
    )


def downgrade() -> None:
    op.drop_index(
        "ix_editions_state",
        table_name="editions",
        sqlite_where=sa.text("state != 'retired'"),
        postgresql_where=sa.text("state != 'retired'"),
    )
    for column in reversed(_columns()):
        op.drop_column("editions", column.name)
