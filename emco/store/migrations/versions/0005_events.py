"""The event log, and what is remembered of those who listen to it."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def _of_subscription(table: str) -> tuple[sa.Column[int], sa.ForeignKeyConstraint]:
    key = sa.ForeignKeyConstraint(
        ["subscription"],
        ["resource.id"],
        name=op.f(f"fk_{table}_subscription"),
        ondelete="CASCADE",
    )
    return sa.Column("subscription", sa.Integer(), nullable=False), key


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "event",
        sa.Column("sequence", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("deployment", sa.Text(), nullable=False),
        sa.Column("time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_event")),
    )
    op.create_index(op.f("ix_event_time"), "event", ["time"], unique=False)
    op.create_index("ix_event_project_sequence", "event", ["project", "sequence"])
    op.create_index("ix_event_deployment_sequence", "event", ["deployment", "sequence"])
    log = op.create_table(
        "event_log",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("last", sa.Integer(), nullable=False),
        sa.Column("forgotten", sa.Integer(), nullable=False),
        sa.Column("touched", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_event_log")),
    )
    op.bulk_insert(log, [{"id": 1, "last": 0, "forgotten": 0, "touched": 0}])
    op.create_table(
        "listener",
        *_of_subscription("listener"),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("subscription", name=op.f("pk_listener")),
    )
    for table in ("dead_letter", "delivery"):
        op.create_table(
            table,
            sa.Column("number", sa.Integer(), nullable=False),
            *_of_subscription(table),
            sa.Column("document", sa.JSON(), nullable=False),
            sa.PrimaryKeyConstraint("number", name=op.f(f"pk_{table}")),
        )
        op.create_index(op.f(f"ix_{table}_subscription"), table, ["subscription"], unique=False)
