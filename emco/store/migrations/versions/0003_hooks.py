"""Releases, and the runs of their hooks."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def _owner(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["deployment"], ["resource.id"], name=op.f(f"fk_{table}_deployment"), ondelete="CASCADE"
    )


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "release",
        sa.Column("deployment", sa.Integer(), nullable=False),
        sa.Column("cluster", sa.Text(), nullable=False),
        sa.Column("app", sa.Text(), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
        _owner("release"),
        sa.PrimaryKeyConstraint("deployment", "cluster", "app", name=op.f("pk_release")),
    )
    op.create_table(
        "hook",
        sa.Column("deployment", sa.Integer(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("app", sa.Text(), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
        _owner("hook"),
        sa.PrimaryKeyConstraint("deployment", "id", name=op.f("pk_hook")),
    )
