"""`emco delete`: one resource, or everything in files, what refers before what is referred to."""

from collections.abc import Sequence
from typing import Annotated

import typer

from emco.cli import documents, operate, order, places, terminal
from emco.cli.apply import FilesOption, Outcome, Verdict, show, summary
from emco.cli.client import Api, connected
from emco.cli.documents import Document
from emco.cli.failures import Code, Failure, Refused
from emco.domain.kinds.delivery import Deployment
from emco.domain.kinds.tenancy import LogicalCloud
from emco.domain.lifecycle import Verb
from emco.domain.resource import Address


def delete(
    what: Annotated[str, typer.Argument(help="A kind, or an anchor")] = "",
    path: Annotated[str, typer.Argument(help="The names, for a kind")] = "",
    file: FilesOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be in the way")
    ] = False,
) -> None:
    """Delete one resource, or everything that is in EMCO's files.

    With -f what is not there is passed over, and where the files instantiate something it is
    terminated first. Nothing is deleted that something else refers to.

    Examples:

        emco delete deployment shop/online-boutique/v1/boutique
        emco delete -f charts/online-boutique/emco.yaml
    """
    if bool(file) == bool(what):
        raise Failure(
            "Say what to delete",
            "either a resource: emco delete project shop\nor files: emco delete -f FILE",
            code=Code.USAGE,
        )
    with connected() as api:
        if file:
            run(api, documents.read(file), dry_run=dry_run)
        else:
            _one(api, places.target(what, path), dry_run=dry_run)


def _one(api: Api, found: places.Target, *, dry_run: bool) -> None:
    if found.kind is None and not found.query:  # a kind that only the API knows
        where = found.raw
    else:
        where = places.one(found, "delete").address.path
    api.delete(where, query="dryRun=true" if dry_run else "")
    terminal.say(f"{'could be deleted' if dry_run else 'deleted'}  {where}")


def run(api: Api, read: Sequence[Document], *, dry_run: bool = False) -> None:
    """Delete what `read` describes, in reverse, printing a line for each.

    Everything is tried; raises `Failure` at the end if something could not be deleted, and before
    anything is when a deployment or logical cloud among it is up.
    """
    if not dry_run:
        _require_down(api, read)
    outcomes = []
    for number in reversed(order.ordered(read)):
        document = read[number]
        if document.verb and document.verb != "instantiate":
            continue
        outcome = _guarded(api, document, dry_run=dry_run)
        outcomes.append(outcome)
        show(outcome, document)
    summary(outcomes, "could be " if dry_run else "")


def _require_down(api: Api, read: Sequence[Document]) -> None:
    """Deleting the intents of what runs, and then being refused the rest, would help nobody."""
    ended = {document.path for document in read if document.verb == "instantiate"}
    up = [
        Address.of(kind, places.locate(document.path).names)
        for document in read
        if (kind := document.place.collection) in (Deployment, LogicalCloud)
        and not document.verb
        and document.path not in ended
    ]
    commands = [operate.terminating(at) for at in up if _is_up(api, at)]
    if commands:
        raise Failure(
            "Some of it is up, so nothing was deleted",
            "\n".join(sorted(commands, key=lambda text: "--cloud" in text)),
            code=Code.CONFLICT,
        )


def _is_up(api: Api, address: Address) -> bool:
    try:
        return operate.is_live(api, address)
    except Refused as refused:
        if refused.code is Code.NOT_FOUND:
            return False
        raise


def _guarded(api: Api, document: Document, *, dry_run: bool) -> Outcome:
    try:
        if document.verb:
            return _terminated(api, document, dry_run=dry_run)
        api.delete(document.path, query="dryRun=true" if dry_run else "")
    except Failure as failure:
        if failure.code is Code.UNREACHABLE:
            raise
        if failure.code is Code.NOT_FOUND:
            return Outcome(Verdict.ABSENT)
        return Outcome(Verdict.ERROR, failure=failure)
    return Outcome(Verdict.DELETED)


def _terminated(api: Api, document: Document, *, dry_run: bool) -> Outcome:
    address = document.place.address
    if address is None or dry_run:
        return Outcome(Verdict.ACCEPTED, "terminate")
    try:
        api.post(f"{document.path}/terminate")
    except Refused as refused:
        if refused.code is not Code.CONFLICT or operate.is_live(api, address):
            raise
        return Outcome(Verdict.ABSENT, "not instantiated")
    operate.wait_for(api, address, Verb.TERMINATE)
    return Outcome(Verdict.ACCEPTED, "terminated")
