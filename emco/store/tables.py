"""The tables. Kinds live in rows, not in columns: a new kind needs no migration."""

from sqlalchemy import (
    JSON,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
    }
)

# Paths sort by code point on every database, so that pages and prefixes mean the same everywhere.
_PATH = Text().with_variant(Text(collation="C"), "postgresql")
_TIME = DateTime(timezone=True)

resource = Table(
    "resource",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("kind", String(128), nullable=False),
    Column("path", _PATH, nullable=False, unique=True),
    Column("parent", ForeignKey("resource.id", ondelete="RESTRICT"), index=True),
    Column("metadata", JSON),
    Column("spec", JSON, nullable=False),
    Column("file", ForeignKey("blob.digest", ondelete="RESTRICT"), index=True),
    Column("generation", Integer, nullable=False),
    Column("created", _TIME, nullable=False),
    Column("updated", _TIME, nullable=False),
    Index("ix_resource_kind_path", "kind", "path"),
)

reference = Table(
    "reference",
    metadata,
    Column("source", ForeignKey("resource.id", ondelete="CASCADE"), primary_key=True),
    Column("field", Text, primary_key=True),
    Column("target", ForeignKey("resource.id", ondelete="RESTRICT"), nullable=False, index=True),
)

blob = Table(
    "blob",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("sealed", LargeBinary, nullable=False),
    Column("created", _TIME, nullable=False),
)

lifecycle = Table(
    "lifecycle",
    metadata,
    Column("resource", ForeignKey("resource.id", ondelete="CASCADE"), primary_key=True),
    Column("document", JSON, nullable=False),
)

unit = Table(
    "unit",
    metadata,
    Column("deployment", ForeignKey("resource.id", ondelete="CASCADE"), primary_key=True),
    Column("cluster", Text, primary_key=True),
    Column("app", Text, primary_key=True),
    Column("document", JSON, nullable=False),
    Column("observed", JSON),
    Index("ix_unit_cluster", "cluster"),
)

kind_in_use = Table(
    "kind_in_use",
    metadata,
    Column("cluster", ForeignKey("resource.id", ondelete="CASCADE"), primary_key=True),
    Column("api_version", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
)

footprint = Table(
    "footprint",
    metadata,
    Column("deployment", ForeignKey("resource.id", ondelete="RESTRICT"), primary_key=True),
    Column("cluster", ForeignKey("resource.id", ondelete="RESTRICT"), primary_key=True, index=True),
    Column("app", Text, primary_key=True),
    Column("namespace", Text, nullable=False),
    Column("document", JSON, nullable=False),
)

plan = Table(
    "plan",
    metadata,
    Column("deployment", ForeignKey("resource.id", ondelete="CASCADE"), primary_key=True),
    Column("operation", Text, primary_key=True),
    Column("digest", ForeignKey("blob.digest", ondelete="RESTRICT"), nullable=False, index=True),
    Column("created", _TIME, nullable=False),
)

fact = Table(
    "fact",
    metadata,
    Column("cluster", ForeignKey("resource.id", ondelete="CASCADE"), primary_key=True),
    Column("document", JSON, nullable=False),
)

operation = Table(
    "operation",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("deployment", ForeignKey("resource.id", ondelete="CASCADE"), nullable=False),
    Column("id", Text, nullable=False),
    Column("document", JSON, nullable=False),
    Index("ix_operation_deployment_id", "deployment", "id", unique=True),
)

revision = Table(
    "revision",
    metadata,
    Column("deployment", ForeignKey("resource.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("digest", ForeignKey("blob.digest", ondelete="RESTRICT"), nullable=False, index=True),
    Column("document", JSON, nullable=False),
)

preview = Table(
    "preview",
    metadata,
    Column("deployment", ForeignKey("resource.id", ondelete="CASCADE"), primary_key=True),
    Column("digest", String(64), primary_key=True),
    Column("plan", ForeignKey("blob.digest", ondelete="RESTRICT"), nullable=False, index=True),
    Column("report", ForeignKey("blob.digest", ondelete="RESTRICT"), nullable=False, index=True),
    Column("created", _TIME, nullable=False),
    Column("document", JSON, nullable=False),
)

lease = Table(
    "lease",
    metadata,
    Column("deployment", ForeignKey("resource.id", ondelete="CASCADE"), primary_key=True),
    Column(
        "resource", ForeignKey("resource.id", ondelete="RESTRICT"), primary_key=True, index=True
    ),
    Column("operation", Text, nullable=False),
)

release = Table(
    "release",
    metadata,
    Column("deployment", ForeignKey("resource.id", ondelete="CASCADE"), primary_key=True),
    Column("cluster", Text, primary_key=True),
    Column("app", Text, primary_key=True),
    Column("document", JSON, nullable=False),
)

hook = Table(
    "hook",
    metadata,
    Column("deployment", ForeignKey("resource.id", ondelete="CASCADE"), primary_key=True),
    Column("id", Text, primary_key=True),
    Column("app", Text, nullable=False),
    Column("document", JSON, nullable=False),
)

event = Table(
    "event",
    metadata,
    # Given by `event_log`, so that numbers are seen in order and none is missing.
    Column("sequence", Integer, primary_key=True, autoincrement=False),
    Column("project", Text, nullable=False),
    Column("deployment", Text, nullable=False),
    Column("time", _TIME, nullable=False, index=True),
    Column("document", JSON, nullable=False),
    Index("ix_event_project_sequence", "project", "sequence"),
    Index("ix_event_deployment_sequence", "deployment", "sequence"),
)

event_log = Table(
    "event_log",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("last", Integer, nullable=False),
    Column("forgotten", Integer, nullable=False),
    Column("touched", Integer, nullable=False),
)

listener = Table(
    "listener",
    metadata,
    Column("subscription", ForeignKey("resource.id", ondelete="CASCADE"), primary_key=True),
    Column("document", JSON, nullable=False),
)

dead_letter = Table(
    "dead_letter",
    metadata,
    Column("number", Integer, primary_key=True),
    Column(
        "subscription", ForeignKey("resource.id", ondelete="CASCADE"), nullable=False, index=True
    ),
    Column("document", JSON, nullable=False),
)

delivery = Table(
    "delivery",
    metadata,
    Column("number", Integer, primary_key=True),
    Column(
        "subscription", ForeignKey("resource.id", ondelete="CASCADE"), nullable=False, index=True
    ),
    Column("document", JSON, nullable=False),
)
