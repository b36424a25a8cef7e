"""`emco apply`: make what is in files so, and say of each document what that took."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from pydantic import ValidationError
from rich.text import Text

from emco.cli import documents, order, packing, terminal
from emco.cli.client import BYTES, Api, Json, connected
from emco.cli.documents import Document
from emco.cli.failures import Code, Failure, Refused
from emco.domain.lifecycle import State
from emco.domain.resource import Metadata, Resource
from emco.domain.secrets import gives_secrets

STRICT: Final = "fieldValidation=Strict"

FilesOption = Annotated[
    list[Path] | None,
    typer.Option("--file", "-f", help="A file, a folder of YAML files, or - (may be repeated)"),
]


class Verdict(StrEnum):
    """What became of one document."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    ACCEPTED = "accepted"
    DELETED = "deleted"
    ABSENT = "absent"
    SKIPPED = "skipped"
    ERROR = "error"


STYLES: Final = {
    Verdict.CREATED: "green",
    Verdict.UPDATED: "yellow",
    Verdict.UNCHANGED: "dim",
    Verdict.ACCEPTED: "green",
    Verdict.DELETED: "green",
    Verdict.ABSENT: "dim",
    Verdict.SKIPPED: "dim",
    Verdict.ERROR: "bold red",
}

_REACHED: Final[Mapping[str, frozenset[str]]] = {
    "approve": frozenset({State.APPROVED, State.INSTANTIATED}),
    "instantiate": frozenset({State.INSTANTIATED}),
    "terminate": frozenset({State.CREATED, State.APPROVED, State.TERMINATED}),
}


@dataclass(frozen=True)
class Outcome:
    """A verdict, and what is worth saying about it."""

    verdict: Verdict
    note: str = ""
    failure: Failure | None = None


def apply(
    file: FilesOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be created or updated")
    ] = False,
) -> None:
    """Create or update what is in EMCO's files, in an order found by itself.

    Several documents a file; `file:` may name a folder, which is packed; ${NAME} in it comes from the
    environment. Applying the same files again changes nothing.

    Example:

        emco apply -f charts/online-boutique/emco.yaml
    """
    if not file:
        raise Failure("Nothing to apply", "say which: emco apply -f FILE", code=Code.USAGE)
    read = documents.read(file)
    with connected() as api:
        run(api, read, dry_run=dry_run)


def run(
    api: Api, read: Sequence[Document], *, dry_run: bool = False, quiet: bool = False
) -> Counter[Verdict]:
    """Apply `read`, printing a line for each; raises `Failure` at the end if one failed.

    A document whose needs failed is skipped: its own error would only hide the real one. With
    `quiet` only errors and the last line are printed.
    """
    needed = order.needs(read)
    outcomes: dict[int, Outcome] = {}
    for number in order.ordered(read):
        broken = [n for n in needed[number] if _is_bad(outcomes.get(n))]
        if broken:
            outcome = Outcome(Verdict.SKIPPED, f"needs {read[broken[0]].path}")
        else:
            outcome = _guarded(api, read[number], dry_run=dry_run)
        outcomes[number] = outcome
        if outcome.failure or not quiet:
            show(outcome, read[number])
    return summary(outcomes.values(), "would be " if dry_run else "")


def _is_bad(outcome: Outcome | None) -> bool:
    return outcome is not None and outcome.verdict in (Verdict.ERROR, Verdict.SKIPPED)


def _guarded(api: Api, document: Document, *, dry_run: bool) -> Outcome:
    try:
        return _apply(api, document, dry_run=dry_run)
    except Failure as failure:
        if failure.code is Code.UNREACHABLE:
            raise
        return Outcome(Verdict.ERROR, failure=failure)


def show(outcome: Outcome, document: Document) -> None:
    """One line, and for an error what is wrong below it."""
    note = f"  ({outcome.note})" if outcome.note else ""
    line = Text.assemble(
        (f"{outcome.verdict:<9}  ", STYLES[outcome.verdict]),
        f"{document.path}/{document.verb}".rstrip("/"),
        (f"  {document.where}{note}", "dim"),
    )
    console = terminal.err() if outcome.failure else terminal.out()
    console.print(line)
    if outcome.failure:
        for text in (outcome.failure.title, *outcome.failure.detail.splitlines()):
            console.print(Text(f"           {text}"))


def summary(outcomes: Any, prefix: str = "") -> Counter[Verdict]:
    """The last line; raises `Failure` with the code of the first error if there was one."""
    all_of_them = list(outcomes)
    counts = Counter(outcome.verdict for outcome in all_of_them)
    told = ", ".join(_many(counts[verdict], verdict) for verdict in Verdict if counts[verdict])
    failures = [o.failure for o in all_of_them if o.failure]
    if failures:
        raise Failure(told, code=failures[0].code)
    terminal.say(prefix + told if told else "nothing to do")
    return counts


def _many(count: int, verdict: Verdict) -> str:
    return f"{count} {verdict}s" if verdict is Verdict.ERROR and count > 1 else f"{count} {verdict}"


def _apply(api: Api, document: Document, *, dry_run: bool) -> Outcome:
    if document.verb:
        return _do(api, document, dry_run=dry_run)
    files = document.files()
    if dry_run:
        there = _there(api, document)
        return Outcome(Verdict.CREATED) if there is None else _update(api, document, files, there)
    try:
        api.write("POST", document.anchor, document.body, files, query=STRICT)
    except Refused as refused:
        if refused.kind != "already-exists" or (there := _there(api, document)) is None:
            raise
        return _update(api, document, files, there, write=True)
    return Outcome(Verdict.CREATED)


@dataclass(frozen=True)
class _There:
    """What is stored already."""

    body: Json
    etag: str


def _there(api: Api, document: Document) -> _There | None:
    try:
        response = api.get(document.path)
    except Refused as refused:
        if refused.code is Code.NOT_FOUND:
            return None
        raise
    return _There(api.parsed(response), response.headers.get("ETag", ""))


def _update(
    api: Api,
    document: Document,
    files: Sequence[Any],
    there: _There,
    *,
    write: bool = False,
) -> Outcome:
    kind = document.place.collection
    is_secret = kind is not None and kind.wire.secret_file
    is_final = kind is not None and kind.wire.put is None
    note = ""
    if kind is not None and kind.wire.secret_spec and _gives_secrets(document, kind):
        note = "its secrets cannot be read back and are sent again"
    elif is_same_body(document, there.body):
        if not files or (not is_secret and _is_same_file(api, document, files)):
            return Outcome(Verdict.UNCHANGED)
        if is_secret and is_final:
            return Outcome(Verdict.UNCHANGED, "its file cannot be read back and was not compared")
        note = "its files cannot be read back and are sent again" if is_secret else ""
    if kind is not None and is_final:
        raise Failure(
            f"{kind.noun} exists with other content and cannot be replaced",
            f"delete it first: emco delete {document.path}",
            code=Code.CONFLICT,
        )
    if write:
        condition = {"If-Match": there.etag} if there.etag else {}
        api.write("PUT", document.path, document.body, files, query=STRICT, headers=condition)
    return Outcome(Verdict.UPDATED, note)


def _gives_secrets(document: Document, kind: type[Resource]) -> bool:
    try:
        return gives_secrets(kind.model_validate(document.body.get("spec") or {}))
    except ValidationError:
        return False  # the server says what is wrong with it


def is_same_body(document: Document, there: Json) -> bool:
    """Whether writing the document would change nothing.

    Both are read by the kind, so that defaults and the order of keys do not matter; for a kind this
    command does not know, everything the document says must be there.
    """
    kind = document.place.collection
    if kind is None:
        return _is_within(document.body, there)
    if kind.wire.bare:
        return True  # it is nothing but its name
    try:
        metadata = [Metadata.model_validate(b.get("metadata")) for b in (document.body, there)]
        specs = [kind.model_validate(b.get("spec") or {}) for b in (document.body, there)]
    except ValidationError:
        return False
    dumped = [spec.model_dump(mode="json", exclude_none=True) for spec in specs]
    return metadata[0] == metadata[1] and dumped[0] == dumped[1]


def _is_within(said: Any, there: Any) -> bool:
    if isinstance(said, Mapping) and isinstance(there, Mapping):
        return all(key in there and _is_within(value, there[key]) for key, value in said.items())
    return bool(said == there)


def _is_same_file(api: Api, document: Document, files: Sequence[Any]) -> bool:
    if len(files) != 1:
        return False
    (_, (_, content, _)) = files[0]
    try:
        stored = api.get(document.path, accept=BYTES).content
    except Refused:
        return False
    return packing.is_same(content, stored)


def _do(api: Api, document: Document, *, dry_run: bool) -> Outcome:
    if dry_run:
        return Outcome(Verdict.ACCEPTED)
    body = {"metadata": {"name": ""}, **document.body}
    try:
        api.write("POST", document.anchor, body)
    except Refused as refused:
        if refused.code is Code.CONFLICT and _is_reached(api, document):
            return Outcome(Verdict.UNCHANGED)
        raise
    return Outcome(Verdict.ACCEPTED)


def _is_reached(api: Api, document: Document) -> bool:
    """Whether what the verb asks for is so already."""
    status = api.read(f"{document.path}/status")
    actions = status.get("states", {}).get("actions") or [{}]
    failed = str(status.get("deployedStatus", "")).endswith("Failed")
    return not failed and actions[-1].get("state") in _REACHED.get(document.verb, ())
