"""The first schema: resources, references, sealed blobs, and what is remembered of operations."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create every table."""
    op.create_table(
        "blob",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_blob")),
    )
    op.create_table(
        "resource",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=128), nullable=False),
        sa.Column(
            "path", sa.Text().with_variant(sa.Text(collation="C"), "postgresql"), nullable=False
        ),
        sa.Column("parent", sa.Integer(), nullable=True),
        sa.Column("metadata", sa.JSON(), nullable=True),
        sa.Column("spec", sa.JSON(), nullable=False),
        sa.Column("file", sa.String(length=64), nullable=True),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["file"], ["blob.digest"], name=op.f("fk_resource_file"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(
            ["parent"], ["resource.id"], name=op.f("fk_resource_parent"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_resource")),
        sa.UniqueConstraint("path", name=op.f("uq_resource_path")),
    )
    op.create_index(op.f("ix_resource_file"), "resource", ["file"], unique=False)
    op.create_index("ix_resource_kind_path", "resource", ["kind", "path"], unique=False)
    op.create_index(op.f("ix_resource_parent"), "resource", ["parent"], unique=False)
    op.create_table(
        "fact",
        sa.Column("cluster", sa.Integer(), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["cluster"], ["resource.id"], name=op.f("fk_fact_cluster"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("cluster", name=op.f("pk_fact")),
    )
    op.create_table(
        "footprint",
        sa.Column("deployment", sa.Integer(), nullable=False),
        sa.Column("cluster", sa.Integer(), nullable=False),
        sa.Column("app", sa.Text(), nullable=False),
        sa.Column("namespace", sa.Text(), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["cluster"], ["resource.id"], name=op.f("fk_footprint_cluster"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(
            ["deployment"],
            ["resource.id"],
            name=op.f("fk_footprint_deployment"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("deployment", "cluster", "app", name=op.f("pk_footprint")),
    )
    op.create_index(op.f("ix_footprint_cluster"), "footprint", ["cluster"], unique=False)
    op.create_table(
        "lifecycle",
        sa.Column("resource", sa.Integer(), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["resource"], ["resource.id"], name=op.f("fk_lifecycle_resource"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("resource", name=op.f("pk_lifecycle")),
    )
    op.create_table(
        "plan",
        sa.Column("deployment", sa.Integer(), nullable=False),
        sa.Column("operation", sa.Text(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["deployment"], ["resource.id"], name=op.f("fk_plan_deployment"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["digest"], ["blob.digest"], name=op.f("fk_plan_digest"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("deployment", "operation", name=op.f("pk_plan")),
    )
    op.create_index(op.f("ix_plan_digest"), "plan", ["digest"], unique=False)
    op.create_table(
        "reference",
        sa.Column("source", sa.Integer(), nullable=False),
        sa.Column("field", sa.Text(), nullable=False),
        sa.Column("target", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["source"], ["resource.id"], name=op.f("fk_reference_source"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["target"], ["resource.id"], name=op.f("fk_reference_target"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("source", "field", name=op.f("pk_reference")),
    )
    op.create_index(op.f("ix_reference_target"), "reference", ["target"], unique=False)
    op.create_table(
        "unit",
        sa.Column("deployment", sa.Integer(), nullable=False),
        sa.Column("cluster", sa.Text(), nullable=False),
        sa.Column("app", sa.Text(), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["deployment"], ["resource.id"], name=op.f("fk_unit_deployment"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("deployment", "cluster", "app", name=op.f("pk_unit")),
    )
