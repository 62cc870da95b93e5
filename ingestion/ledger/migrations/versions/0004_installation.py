"""What there is one of in a ledger: the id that tells it from others, and the audit that is under way."""

import uuid

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "installation",
        sa.Column("ledger_id", sa.String(), nullable=False),
        sa.Column("audit_begun_at", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("ledger_id", name=op.f("pk_installation")),
    )
    op.bulk_insert(
        sa.table("installation", sa.column("ledger_id", sa.String)), [{"ledger_id": str(uuid.uuid4())}]
    )


def downgrade() -> None:
    op.drop_table("installation")
