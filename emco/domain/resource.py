"""What a resource kind is: one subclass of `Resource` is one kind, everywhere.

Its fields are the `spec` of the JSON body, its class keywords are its place in the tree, its
`Ref[...]` annotations are its foreign keys. Routes, storage, referential integrity, OpenAPI and
the CLI are derived from that; nothing about a kind is written a second time.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Generic, Protocol, Self, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema, core_schema

NAME_PATTERN = r"^([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$"

Name = Annotated[str, Field(pattern=NAME_PATTERN, max_length=128)]
"""EMCO's rule for names: letters, digits, `-`, `_`, `.`; at most 128 characters."""


class Body(BaseModel):
    """A JSON body or a part of one, read as EMCO reads it.

    Keys are camelCase and match without regard to case, and null is the same as nothing, as in
    Go's decoder. Unknown keys are left out; `unknown_fields` names them, so that a caller can be
    warned or refused.
    """

    model_config = ConfigDict(
        frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True
    )

    @model_validator(mode="before")
    @classmethod
    def _fold_case(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        wanted = {name.lower(): name for name in json_names(cls)}
        return {
            key if key in wanted.values() else wanted.get(str(key).lower(), key): value
            for key, value in data.items()
            if value is not None
        }


class Metadata(Body):
    """The part of every body that names and describes the resource."""

    name: Name = Field(examples=["online-boutique"])
    description: str = Field(default="", max_length=1024)
    user_data1: str = Field(default="", max_length=512, alias="userData1")
    user_data2: str = Field(default="", max_length=512, alias="userData2")


@dataclass(frozen=True)
class Wire:
    """How EMCO's clients see one kind over HTTP, where kinds differ.

    `put` holds the codes for (replaced, created), or None where EMCO has no PUT.
    `file` is the name of the multipart file part, or None for plain JSON bodies.
    `repeated` means that there may be many such parts, each with its file's name; they are kept
    as one bundle (`emco.domain.bundle`).
    `secret_file` marks a file that is encrypted for itself and never returned by GET.
    `secret_spec` marks a spec with `SecretStr`s in it: what they hold is kept as its sealed file.
    `bare` kinds have no `metadata`: the spec is the whole body (EMCO's cluster labels).
    """

    put: tuple[int, int] | None = (201, 201)
    file: str | None = None
    file_required: bool = True
    repeated: bool = False
    secret_file: bool = False
    secret_spec: bool = False
    bare: bool = False


class View(Protocol):
    """What a kind may look at while it checks a write: a consistent picture of the store."""

    def specs(self, kind: "type[R]", under: "Address") -> "Sequence[tuple[Address, R]]":
        """All resources of `kind` below `under`, in path order."""

    def find(self, kind: "type[R]", at: "Address") -> "R | None":
        """The spec of one resource, or None."""


class Resource(Body):
    """The spec of a kind. Class keywords say where it lives; annotations say what it points at.

    `plural` is the URL segment, `parent` the kind above, `params` the URL parameters that
    identify one (a composite app has two: name and version), `noun` the word of EMCO's messages,
    `guarded_by` the ancestor whose writers are serialised while `check` runs.
    """

    kind: ClassVar[str]
    plural: ClassVar[str]
    parent: "ClassVar[type[Resource] | None]"
    params: ClassVar[tuple[str, ...]]
    noun: ClassVar[str]
    wire: ClassVar[Wire]
    guarded_by: "ClassVar[type[Resource] | None]"

    def __init_subclass__(
        cls,
        *,
        plural: str = "",
        parent: "type[Resource] | None" = None,
        params: tuple[str, ...] = (),
        noun: str = "",
        wire: Wire | None = None,
        guarded_by: "type[Resource] | None" = None,
        **config: Any,
    ) -> None:
        super().__init_subclass__(**config)
        cls.kind = cls.__name__
        cls.plural, cls.parent, cls.guarded_by = plural, parent, guarded_by
        cls.params = params or (cls.kind[:1].lower() + cls.kind[1:],)
        cls.noun = noun or cls.kind
        cls.wire = wire or Wire()

    @classmethod
    def lineage(cls) -> "tuple[type[Resource], ...]":
        """From the root ancestor down to this kind."""
        return (*(cls.parent.lineage() if cls.parent else ()), cls)

    @classmethod
    def template(cls) -> str:
        """The URL below /v2, with parameters: `projects/{project}/logical-clouds/{logicalCloud}`."""
        return "/".join(
            f"{k.plural}/" + "/".join(f"{{{p}}}" for p in k.params) for k in cls.lineage()
        )

    @classmethod
    def collection(cls) -> str:
        """The URL of the list below /v2, with the parents' parameters."""
        return f"{cls.parent.template()}/{cls.plural}" if cls.parent else cls.plural

    def identity(self, metadata: Metadata | None) -> tuple[str, ...]:
        """The names that identify this resource below its parent, one per entry of `params`."""
        if metadata is None:
            raise TypeError(f"{self.kind} is identified by its metadata")
        return (metadata.name,)

    @property
    def needs_file(self) -> bool:
        """Whether this resource cannot be without its file; a kind may know better than `Wire`."""
        return self.wire.file is not None and self.wire.file_required

    def check(self, at: "Address", view: View) -> None:
        """Refuse what the fields alone cannot show, by raising an `EmcoError`. Runs inside the write."""

    def references(self, at: "Address") -> "Iterator[tuple[str, Address]]":
        """Every (JSON path of the field, address pointed at) in this spec, nested parts included."""
        return _references(self, at, "spec")


R = TypeVar("R", bound=Resource)


@dataclass(frozen=True, order=True)
class Address:
    """Where one resource is: its kind and the names from the root down.

    >>> str(Address("Cluster", "cluster-providers/p1/clusters/c1"))
    'cluster-providers/p1/clusters/c1'
    """

    kind: str
    path: str

    @classmethod
    def of(cls, kind: type[Resource], names: Sequence[str]) -> Self:
        """From the names of the whole lineage, in order; a composite app takes two of them."""
        rest, parts = list(names), []
        for step in kind.lineage():
            own, rest = rest[: len(step.params)], rest[len(step.params) :]
            parts += [step.plural, *own]
        return cls(kind.kind, "/".join(parts))

    @property
    def name(self) -> str:
        """The last segment; for a composite app that is its version."""
        return self.path.rsplit("/", 1)[-1]

    def names(self, kind: type[Resource]) -> tuple[str, ...]:
        """The identifying names from the root down, without the plurals. `kind` is this address's kind."""
        rest, names = self.path.split("/"), []
        for step in kind.lineage():
            names += rest[1 : 1 + len(step.params)]
            rest = rest[1 + len(step.params) :]
        return tuple(names)

    def params(self, kind: type[Resource]) -> dict[str, str]:
        """The same names by URL parameter: `{"project": "p", "compositeApp": "ca", …}`."""
        keys = [p for step in kind.lineage() for p in step.params]
        return dict(zip(keys, self.names(kind), strict=True))

    def ancestor(self, kind: type[Resource], above: type[Resource]) -> "Address":
        """The address of the ancestor of kind `above`; `kind` is this address's own kind."""
        count = sum(len(step.params) for step in above.lineage())
        return Address.of(above, self.names(kind)[:count])

    def __str__(self) -> str:
        return self.path


class Ref(str, Generic[R]):
    """The name of another resource: `Ref[App]` is a str in JSON and a foreign key in the store.

    It is resolved beside its own resource: ancestors that source and target share come from the
    source's address, the others from sibling fields that are `Ref`s to those ancestors
    (`clusterProvider` beside `cluster`).
    """

    __slots__ = ("target",)
    target: type[Resource]

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        (target,) = get_args(source)

        def bind(value: str) -> "Ref[Any]":
            ref: Ref[Any] = cls(value)
            ref.target = target
            return ref

        return core_schema.no_info_after_validator_function(bind, handler.generate_schema(Name))


def _references(model: BaseModel, at: Address, where: str) -> Iterator[tuple[str, Address]]:
    kind = kind_named(at.kind)
    refs = {r.target.kind: r for _, r in model if isinstance(r, Ref)}
    for field, value in model:
        here = f"{where}.{_json_name(type(model), field)}"
        if isinstance(value, Ref):
            yield here, _resolve(value, refs, kind, at)
        else:
            yield from _nested_references(value, at, here)


def _nested_references(value: Any, at: Address, where: str) -> Iterator[tuple[str, Address]]:
    if isinstance(value, BaseModel):
        yield from _references(value, at, where)
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _nested_references(item, at, f"{where}[{index}]")
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if isinstance(key, Ref):
                yield f"{where}.{key}", _resolve(key, {}, kind_named(at.kind), at)
            yield from _nested_references(item, at, f"{where}.{key}")


def _resolve(
    ref: "Ref[Any]", siblings: Mapping[str, "Ref[Any]"], kind: type[Resource], at: Address
) -> Address:
    names: list[str] = []
    own = kind.lineage()
    for step in ref.target.lineage()[:-1]:
        if step in own:
            names = list(at.ancestor(kind, step).names(step))
        else:
            names.append(str(siblings[step.kind]))
    return Address.of(ref.target, [*names, str(ref)])


def json_names(model: type[BaseModel]) -> list[str]:
    """The JSON keys of a model, in field order."""
    return [field.alias or name for name, field in model.model_fields.items()]


def _json_name(model: type[BaseModel], field: str) -> str:
    info = model.model_fields.get(field)  # none for the free keys of a quota
    return (info.alias if info else None) or field


def unknown_fields(model: BaseModel, data: Any, where: str = "") -> list[str]:
    """JSON paths of keys in `data` that `model`, validated from it, did not take."""
    if not isinstance(data, Mapping):
        return []
    by_key = {(f.alias or n).lower(): n for n, f in type(model).model_fields.items()}
    found: list[str] = []
    for key, value in data.items():
        here = f"{where}.{key}" if where else str(key)
        field = by_key.get(str(key).lower())
        if field is None:
            found += [] if model.model_config.get("extra") == "allow" else [here]
        else:
            found += _unknown_within(getattr(model, field), value, here)
    return found


def _unknown_within(value: Any, data: Any, where: str) -> list[str]:
    if isinstance(value, BaseModel):
        return unknown_fields(value, data, where)
    if isinstance(value, (list, tuple)) and isinstance(data, list):
        pairs = enumerate(zip(value, data, strict=False))
        return [f for i, (v, d) in pairs for f in _unknown_within(v, d, f"{where}[{i}]")]
    return []


def all_kinds() -> list[type[Resource]]:
    """Every kind defined so far, parents before children. Import `emco.domain.kinds.all` first."""
    seen: list[type[Resource]] = []

    def walk(base: type[Resource]) -> None:
        for sub in base.__subclasses__():
            if sub.plural:
                seen.append(sub)
            walk(sub)

    walk(Resource)
    return sorted(seen, key=lambda k: (len(k.lineage()), k.template()))


def kind_named(name: str) -> type[Resource]:
    """The kind with that name; KeyError if there is none."""
    return {k.kind: k for k in all_kinds()}[name]
