"""What the store hands out."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, SerializeAsAny

from emco.domain.resource import Address, Metadata, Resource


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)


class Stored(_Value):
    """One resource as stored. `file` is the digest of its file's blob, None when it has none."""

    address: Address
    metadata: Metadata | None
    spec: SerializeAsAny[Resource]
    generation: int
    created: datetime
    updated: datetime
    file: str | None = None


class Page(_Value):
    """Part of a list in path order; `cursor` asks for the next part and is None at the end."""

    items: list[Stored]
    cursor: str | None = None


class References(_Value):
    """Who refers to a resource, what it refers to (field, address), and what lives below it."""

    incoming: list[tuple[str, Address]]
    outgoing: list[tuple[str, Address]]
    children: list[Address]
