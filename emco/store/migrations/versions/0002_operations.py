"""Operations, revisions, previews and leases."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def _owner(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["deployment"], ["resource.id"], name=op.f(f"fk_{table}_deployment"), ondelete="CASCADE"
    )


def _blob(table: str, column: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        [column], ["blob.digest"], name=op.f(f"fk_{table}_{column}"), ondelete="RESTRICT"
    )


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "operation",
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("deployment", sa.Integer(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
        _owner("operation"),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_operation")),
    )
    op.create_index("ix_operation_deployment_id", "operation", ["deployment", "id"], unique=True)
    op.create_table(
        "revision",
        sa.Column("deployment", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
        _owner("revision"),
        _blob("revision", "digest"),
        sa.PrimaryKeyConstraint("deployment", "number", name=op.f("pk_revision")),
    )
    op.create_index(op.f("ix_revision_digest"), "revision", ["digest"], unique=False)
    op.create_table(
        "preview",
        sa.Column("deployment", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("plan", sa.String(length=64), nullable=False),
        sa.Column("report", sa.String(length=64), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
        _owner("preview"),
        _blob("preview", "plan"),
        _blob("preview", "report"),
        sa.PrimaryKeyConstraint("deployment", "digest", name=op.f("pk_preview")),
    )
    op.create_index(op.f("ix_preview_plan"), "preview", ["plan"], unique=False)
    op.create_index(op.f("ix_preview_report"), "preview", ["report"], unique=False)
    op.create_table(
        "lease",
        sa.Column("deployment", sa.Integer(), nullable=False),
        sa.Column("resource", sa.Integer(), nullable=False),
        sa.Column("operation", sa.Text(), nullable=False),
        _owner("lease"),
        sa.ForeignKeyConstraint(
            ["resource"], ["resource.id"], name=op.f("fk_lease_resource"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("deployment", "resource", name=op.f("pk_lease")),
    )
    op.create_index(op.f("ix_lease_resource"), "lease", ["resource"], unique=False)
