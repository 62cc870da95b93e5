"""What audits found, and an index of the chunks that are marked for repair."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "audits",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("edition", sa.String(), nullable=False),
        sa.Column("started_at", sa.Float(), nullable=False),
        sa.Column("finished_at", sa.Float(), nullable=False),
        sa.Column("chunks", sa.BigInteger(), nullable=False),
        sa.Column("deep", sa.Boolean(), nullable=False),
        sa.Column("repair", sa.Boolean(), nullable=False),
        sa.Column("contents_to", sa.String(), nullable=False),
        sa.Column("found", sa.JSON(), nullable=False),
        sa.Column("mended", sa.JSON(), nullable=False),
        sa.Column("faults", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audits")),
    )
    op.create_index(
        "ix_chunks_repair",
        "chunks",
        ["edition_id", "digest"],
        unique=False,
        sqlite_where=sa.text("repair IS 1"),
        postgresql_where=sa.text("repair IS true"),
    )


def downgrade() -> None:
    op.drop_index(
        "ix_chunks_repair",
        table_name="chunks",
        sqlite_where=sa.text("repair IS 1"),
        postgresql_where=sa.text("repair IS true"),
    )
    op.drop_table("audits")
