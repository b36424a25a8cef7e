"""Which kinds are in use on which cluster; units by cluster, with the bulk of them apart."""

from itertools import chain

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table, and fill it from what is claimed already."""
    kinds = op.create_table(
        "kind_in_use",
        sa.Column("cluster", sa.Integer(), nullable=False),
        sa.Column("api_version", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["cluster"], ["resource.id"], name=op.f("fk_kind_in_use_cluster"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("cluster", "api_version", "kind", name=op.f("pk_kind_in_use")),
    )
    op.add_column("unit", sa.Column("observed", sa.JSON(), nullable=True))
    op.create_index("ix_unit_cluster", "unit", ["cluster"], unique=False)
    footprint = sa.table("footprint", sa.column("cluster"), sa.column("document", sa.JSON()))
    claimed = op.get_bind().execute(sa.select(footprint.c.cluster, footprint.c.document))
    found = chain.from_iterable(
        ((row.cluster, o["api_version"], o["kind"]) for o in row.document["objects"])
        for row in claimed
    )
    rows = [
        {"cluster": cluster, "api_version": api_version, "kind": kind}
        for cluster, api_version, kind in sorted(set(found))
    ]
    op.bulk_insert(kinds, rows)
