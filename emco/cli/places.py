"""From what a person types or a file says to a place in the API's tree, by the registry of kinds.

A place can be named by EMCO's anchor (`projects/shop/composite-apps/boutique/v1/apps`) or by a word
for the kind and the names alone (`apps shop/boutique/v1`).
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from emco.cli.failures import Code, Failure
from emco.domain.kinds import all as _every_kind  # noqa: F401  defines the built-in kinds
from emco.domain.kinds.delivery import Deployment
from emco.domain.kinds.tenancy import LogicalCloud
from emco.domain.resource import Address, Resource, all_kinds

_CAPITAL: Final = re.compile(r"(?<!^)(?=[A-Z])")

Kind = type[Resource]


@dataclass(frozen=True)
class Place:
    """Where a path leads: to one resource (`kind`, `names`), to a `collection` below it, or further.

    `tail` is what follows and is no resource: a verb, `status`, a kind this command does not know.
    """

    kind: Kind | None
    names: tuple[str, ...]
    collection: Kind | None = None
    tail: tuple[str, ...] = ()

    @property
    def address(self) -> Address | None:
        """Of the one resource, or of the parent of the collection."""
        return Address.of(self.kind, self.names) if self.kind else None

    @property
    def is_known(self) -> bool:
        """True when the whole path was understood."""
        return not self.tail


def locate(path: str) -> Place:
    """Follow `path` down the tree of kinds as far as it goes."""
    rest = [part for part in path.strip("/").split("/") if part]
    kind: Kind | None = None
    names: tuple[str, ...] = ()
    while rest:
        child = next((k for k in all_kinds() if k.parent is kind and k.plural == rest[0]), None)
        if child is None:
            break
        own = rest[1 : 1 + len(child.params)]
        if not own:
            return Place(kind, names, collection=child)
        if len(own) < len(child.params):
            break
        kind, names, rest = child, (*names, *own), rest[1 + len(own) :]
    return Place(kind, names, tail=tuple(rest))


def identity(kind: Kind | None, body: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of a resource below its parent, as its JSON body gives them; () if it gives none."""
    spec, metadata = _mapping(body, "spec"), _mapping(body, "metadata")
    if kind is None:
        name = metadata.get("name") or body.get("clusterLabel")
        return (str(name),) if name else ()
    if kind.wire.bare:
        names = [body.get(param) for param in kind.params]
    else:
        names = [metadata.get("name"), *(spec.get(param) for param in kind.params[1:])]
    return tuple(str(name) for name in names) if all(names) else ()


def _mapping(body: Mapping[str, Any], member: str) -> Mapping[str, Any]:
    value = body.get(member)
    return value if isinstance(value, Mapping) else {}


def word(kind: Kind) -> str:
    """Our name for one of a kind."""
    return _CAPITAL.sub("-", kind.kind).lower()


def words(kind: Kind) -> tuple[str, ...]:
    """What a person may call a kind, our name for many of them first: that and the URL's segment."""
    own = word(kind)
    many = f"{own[:-1]}ies" if own.endswith("y") else f"{own}s"
    singular = kind.plural.removesuffix("s")
    return tuple(dict.fromkeys((many, kind.plural, own, singular)))


def kind_called(text: str) -> Kind:
    """The kind that `text` means; a `Failure` lists the words there are."""
    wanted = text.lower()
    found = [kind for kind in all_kinds() if wanted in words(kind)]
    if len(found) == 1:
        return found[0]
    if found:
        choices = " or ".join(words(kind)[0] for kind in found)
        raise Failure(f"'{text}' can mean several kinds", f"say {choices}", code=Code.USAGE)
    known = ", ".join(sorted(words(kind)[0] for kind in all_kinds()))
    raise Failure(
        f"There is no kind of resource called '{text}'",
        f"There are: {known}.\nAn anchor works too: projects/shop/logical-clouds",
        code=Code.USAGE,
    )


@dataclass(frozen=True)
class Target:
    """What a command is about: every resource of `kind` whose names begin with `names`.

    Where the kind is not known to this command, `raw` is the path to send, `query` included.
    """

    kind: Kind | None
    names: tuple[str, ...] = ()
    raw: str = ""
    query: str = ""

    @property
    def is_one(self) -> bool:
        """True when it names exactly one resource."""
        return self.kind is not None and len(self.names) == count(self.kind)

    @property
    def address(self) -> Address:
        """Of the one resource."""
        if self.kind is None:
            raise TypeError(f"{self.raw} is not one resource")
        return Address.of(self.kind, self.names)


def target(what: str, path: str = "") -> Target:
    """Read the two forms: KIND [NAMES], and an anchor."""
    anchor, _, query = what.partition("?")
    anchor = anchor.strip("/").removeprefix("v2/")
    first, _, rest = anchor.partition("/")
    if rest and not path:
        if not any(k.parent is None and k.plural == first for k in all_kinds()):
            return _named(kind_called(first), rest)
        place = locate(anchor)
        if query or not place.is_known:
            return Target(None, raw=anchor, query=query)
        return Target(place.collection or place.kind, place.names)
    if rest:
        raise Failure(
            "Two places were named",
            f"say either the anchor {anchor}, or a kind and the names: emco get apps SHOP/APP/V1",
            code=Code.USAGE,
        )
    if query:
        return Target(None, raw=anchor, query=query)
    return _named(kind_called(first), path)


def _named(kind: Kind, path: str) -> Target:
    names = tuple(part for part in path.split("/") if part)
    if len(names) > count(kind):
        raise Failure(
            f"'{path}' has {len(names)} names, but {words(kind)[0]} have {count(kind)}",
            f"write {form(kind)}",
            code=Code.USAGE,
        )
    return Target(kind, names)


def one(found: Target, verb: str) -> Target:
    """`found`, or a `Failure` that says how to name one resource."""
    if found.is_one:
        return found
    if found.kind is None:
        raise Failure(
            f"'{found.raw}' is not a resource this command knows",
            f"see what there is: emco get {found.raw.rpartition('/')[0] or 'projects'}",
            code=Code.USAGE,
        )
    called = word(found.kind)
    raise Failure(
        f"{verb} wants one {called}",
        f"name it: emco {verb} {called} {form(found.kind)}",
        code=Code.USAGE,
    )


def count(kind: Kind) -> int:
    """How many names lead to one resource of `kind`."""
    return sum(len(step.params) for step in kind.lineage())


def form(kind: Kind) -> str:
    """How the names of a kind are written: `PROJECT/COMPOSITEAPP/VERSION/NAME`."""
    params = [param for step in kind.lineage() for param in step.params]
    return "/".join(_CAPITAL.sub("-", param).upper() for param in params)


def separated(name: str) -> str:
    """`logicalCloud` as two words."""
    return _CAPITAL.sub(" ", name).lower()


DEPLOYMENT_FORM: Final = "project/compositeApp/version/name"
CLOUD_FORM: Final = "project/cloud"


def deployment(text: str) -> Address:
    """A deployment as people write it, or as its anchor."""
    return _moved(Deployment, text, DEPLOYMENT_FORM, "deployments")


def cloud(text: str) -> Address:
    """A logical cloud as people write it, or as its anchor."""
    return _moved(LogicalCloud, text, CLOUD_FORM, "logical-clouds")


def _moved(kind: Kind, text: str, written: str, many: str) -> Address:
    place = locate(text)
    if place.kind is kind and place.is_known and place.collection is None:
        return Address.of(kind, place.names)
    names = [part for part in text.strip("/").split("/") if part]
    if len(names) != count(kind):
        raise Failure(
            f"'{text}' is not of the form {written}",
            f"see what there is: emco get {many}",
            code=Code.USAGE,
        )
    return Address.of(kind, names)


def ancestors(path: str) -> Iterator[str]:
    """Every path above `path`, nearest first, resource or not."""
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path
