"""`emco get`, `describe`, `references`: reading resources of every kind, derived from the registry."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import typer

from emco.cli import places, terminal
from emco.cli.client import Api, Json, connected
from emco.cli.places import Kind
from emco.cli.terminal import Output, OutputOption
from emco.domain.resource import Address, json_names

WhatArgument = Annotated[str, typer.Argument(metavar="KIND|ANCHOR", help="A kind, or an anchor")]
PathArgument = Annotated[
    str, typer.Argument(metavar="NAMES", help="For a kind: the names, from the root down")
]

Found = tuple[tuple[str, ...], Json]
"""The names of one resource from the root down, and its body."""


def get(
    what: WhatArgument,
    path: PathArgument = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Show one resource, or all of a kind: below the names that are given, or everywhere.

    Names go from the root down; an anchor may have a query, which is sent as it is.

    Examples:

        emco get deployments
        emco get apps shop/online-boutique/v1 -o yaml
        emco get cluster-providers/edge/clusters?label=front
    """
    found = places.target(what, path)
    with connected() as api:
        if found.kind is None:
            answer = api.read(found.raw, query=found.query)
            terminal.data(answer, Output.YAML if output is Output.TABLE else output)
        elif found.is_one:
            body = api.read(found.address.path)
            _print(found.kind, [(found.names, body)], output, single=True)
        else:
            _print(found.kind, list(_all(api, found.kind, found.names)), output)


def _print(kind: Kind, found: Sequence[Found], output: Output, *, single: bool = False) -> None:
    if output is not Output.TABLE:
        bodies = [body for _, body in found]
        terminal.data(bodies[0] if single else bodies, output)
        return
    if not found:
        terminal.err().print(f"no {places.words(kind)[0]}")
        return
    columns = [c for c in _columns(kind) if any(_cell(body, c) for _, body in found)]
    rows = [["/".join(names), *(_cell(body, c) for c in columns)] for names, body in found]
    terminal.table(["name", *map(places.separated, columns)], rows)


def _columns(kind: Kind) -> list[str]:
    """The members of the spec that are not names already, and the description."""
    own = () if kind.wire.bare else tuple(json_names(kind))
    return [*(name for name in own if name not in kind.params), "description"]


def _cell(body: Mapping[str, Any], column: str) -> str:
    if column == "description":
        return " ".join(str(body.get("metadata", {}).get(column, "")).split())
    return _short(body.get("spec", {}).get(column))


def _short(value: Any) -> str:
    """A value in the fewest words that still say it."""
    if value is None or value in ({}, []):
        return ""
    if isinstance(value, Mapping):
        return " ".join(f"{key}={_short(item)}" for key, item in value.items() if _short(item))
    if isinstance(value, list):
        return ",".join(f"({_short(v)})" if isinstance(v, Mapping) else _short(v) for v in value)
    return str(value)


def _all(api: Api, kind: Kind, names: Sequence[str]) -> Iterator[Found]:
    """Every resource of `kind` whose names begin with `names`, asking level by level."""
    for parent in _parents(api, kind, names):
        wanted = tuple(names[len(parent) :])
        for own, body in _below(api, kind, parent):
            if own[: len(wanted)] == wanted:
                yield (*parent, *own), body


def _parents(api: Api, kind: Kind, names: Sequence[str]) -> Iterator[tuple[str, ...]]:
    if kind.parent is None:
        yield ()
    elif len(names) >= (enough := places.count(kind.parent)):
        yield tuple(names[:enough])
    else:
        for parent, _ in _all(api, kind.parent, names):
            yield parent


def _below(api: Api, kind: Kind, parent: tuple[str, ...]) -> Iterator[Found]:
    """The collection below one parent: each resource's own names and its body."""
    above = f"{Address.of(kind.parent, parent)}/" if kind.parent else ""
    answer = api.read(above + kind.plural)
    if isinstance(answer, list):
        for body in answer:
            yield places.identity(kind, body), body
        return
    # EMCO lists this kind (group intents) without names; who is there is known to the parent.
    children = api.read(f"{above}references").get("children", [])
    for child in children:
        if child["kind"] == kind.kind:
            names = Address(child["kind"], child["path"]).names(kind)
            yield names[len(parent) :], api.read(child["path"])


def describe(what: WhatArgument, path: PathArgument = "") -> None:
    """Show everything about one resource: its body, who refers to it, and what it refers to.

    For deployments and logical clouds also how far they are.

    Example:

        emco describe deployment shop/online-boutique/v1/boutique
    """
    found = places.one(places.target(what, path), "describe")
    address = found.address
    with connected() as api:
        response = api.get(address.path)
        uses = api.read(f"{address}/references")
        moving = _moving(api, address)
    head = {"kind": address.kind, "anchor": address.path}
    if etag := response.headers.get("ETag", "").strip('"'):
        head["generation"] = etag
    terminal.say(terminal.as_yaml({**head, **moving, **api.parsed(response)}))
    for title, rows in _uses(uses):
        if rows:
            terminal.say(f"\n{title}", style="bold")
            for row in rows:
                terminal.say(f"  {row}")


def _moving(api: Api, address: Address) -> Json:
    """How far it is, for what has a lifecycle."""
    if address.kind not in ("Deployment", "LogicalCloud"):
        return {}
    status = api.read(f"{address}/status", query="output=summary")
    actions = status.get("states", {}).get("actions") or [{}]
    return {"state": actions[-1].get("state"), "progress": status.get("deployedStatus", "Created")}


def _uses(answer: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    return [
        ("Refers to", [f"{use['path']}  ({use['field']})" for use in answer["outgoing"]]),
        ("Referred to by", [f"{use['path']}  ({use['field']})" for use in answer["incoming"]]),
        ("Holds", [child["path"] for child in answer["children"]]),
    ]


def references(
    what: WhatArgument, path: PathArgument = "", output: OutputOption = Output.TABLE
) -> None:
    """Show who refers to a resource, what it refers to, and what lives below it.

    What refers to it and what is below it keeps it from being deleted.

    Example:

        emco references cluster edge/c1
    """
    found = places.one(places.target(what, path), "references")
    with connected() as api:
        answer = api.read(f"{found.address}/references")
    if output is not Output.TABLE:
        terminal.data(answer, output)
        return
    rows = [
        *(("refers to", use["path"], use["field"]) for use in answer["outgoing"]),
        *(("referred to by", use["path"], use["field"]) for use in answer["incoming"]),
        *(("holds", child["path"], "") for child in answer["children"]),
    ]
    if rows:
        terminal.table(("", "anchor", "field"), rows)
    else:
        terminal.err().print("nothing refers to it, it refers to nothing, and nothing is below it")
