"""`emco plan`, `revisions`, `diff`, `operations`: what would happen, and what has happened."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import typer
from rich.text import Text

from emco.cli import places, terminal, tree
from emco.cli.client import connected
from emco.cli.operate import DeploymentArgument
from emco.cli.terminal import Output, OutputOption
from emco.domain.names import short_name

_MARKS: Final = {
    "create": ("+", "green"),
    "change": ("~", "yellow"),
    "delete": ("-", "red"),
    "keep": ("=", "dim"),
}
_SHOWN_DIGEST: Final = 12

RevisionArgument = Annotated[int, typer.Argument(metavar="REV", min=1, show_default=False)]


def plan(
    deployment: DeploymentArgument,
    to: Annotated[
        int | None, typer.Option("--to", metavar="REVISION", min=1, help="Of a rollback to it")
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show what an instantiate or update would do, before anything is touched.

    Every object on every cluster, field by field; values of secrets are not shown. The digest at
    the end asks for exactly this plan.

    Examples:

        emco plan shop/online-boutique/v1/boutique
        emco plan shop/online-boutique/v1/boutique --to 1      (of a rollback)
    """
    report = _asked(deployment, "plan", output, query=f"revision={to}" if to else "")
    if report is None:
        return
    for unit in report["units"]:
        _show_unit(unit)
    for passed in report["passedOver"]:
        terminal.say(f"  {passed['app']} not on {passed['cluster']}: {passed['reason']}", "dim")
    changes = report["changes"]
    terminal.say(
        f"{changes['created']} to create, {changes['changed']} to change, "
        f"{changes['deleted']} to delete"
    )
    short = short_name(places.deployment(deployment))
    if to is None:
        verb = "update" if report["revision"] else "instantiate"
        terminal.say(f"next: emco {verb} {short} --plan {report['digest']}")
    else:
        terminal.say(f"next: emco rollback {short} --to {to}")


def revisions(deployment: DeploymentArgument, output: OutputOption = Output.TABLE) -> None:
    """List the revisions that are kept: who made each, when, why, and what it changed.

    Example:

        emco revisions shop/online-boutique/v1/boutique
    """
    found = _asked(deployment, "revisions", output)
    if found is None:
        return
    rows = [
        (
            f"{row['number']}{' *' if row['current'] else ''}",
            row["verb"],
            row["who"],
            _ago(row["time"]),
            row["digest"][:_SHOWN_DIGEST],
            _counted(row["changes"]),
            row["why"],
        )
        for row in found
    ]
    terminal.table(("revision", "by", "who", "age", "digest", "changes", "why"), rows)


def diff(
    deployment: DeploymentArgument,
    first: RevisionArgument,
    second: RevisionArgument,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show what differs between two revisions, object by object and field by field.

    Example:

        emco diff shop/online-boutique/v1/boutique 1 2
    """
    found = _asked(deployment, "diff", output, query=f"old={first}&new={second}")
    if found is None:
        return
    for unit in found["units"]:
        terminal.say(f"{unit['app']} on {unit['cluster']}", "bold")
        for item in unit["objects"]:
            _show_object({**item["key"], "action": item["kind"], "fields": item["fields"]})
    if not found["units"]:
        terminal.say("no difference")


def operations(deployment: DeploymentArgument, output: OutputOption = Output.TABLE) -> None:
    """List the last operations, newest first: who asked, why, and how each ended.

    Example:

        emco operations shop/online-boutique/v1/boutique
    """
    found = _asked(deployment, "operations", output)
    if found is None:
        return
    rows = [
        (
            row["verb"],
            row["outcome"] or ("queued" if row["queued"] else "running"),
            str(row["revision"] or ""),
            row["who"],
            _ago(row["began"]),
            row["message"] or row["why"],
        )
        for row in found
    ]
    terminal.table(("operation", "outcome", "revision", "who", "age", "why"), rows)


def _asked(deployment: str, what: str, output: Output, *, query: str = "") -> Any:
    """What the API says; None when it was printed for a program already."""
    with connected() as api:
        answer = api.read(f"{places.deployment(deployment)}/{what}", query=query)
    if output is Output.TABLE:
        return answer
    terminal.data(answer, output)
    return None


def _show_unit(unit: Mapping[str, Any]) -> None:
    mark, style = _MARKS[unit["action"]]
    line = Text.assemble((f"{mark} {unit['app']}", style), f" on {unit['cluster']}")
    after = f", starts after {', '.join(unit['after'])}" if unit["after"] else ""
    line.append(f"  {unit['reason']}{after}", style="dim")
    terminal.out().print(line)
    for item in unit["objects"]:
        if item["action"] != "keep":
            _show_object(item)
    for hook in unit["hooks"]:
        if hook["runs"]:
            terminal.say(f"    {hook['event']} hook {hook['kind']} {hook['name']}", "dim")


def _show_object(item: Mapping[str, Any]) -> None:
    mark, style = _MARKS[item["action"]]
    terminal.say(f"    {mark} {item['kind']} {item['name']}", style)
    for line in _fields(item["fields"]):
        terminal.say(f"        {line}")


def _fields(changes: Any) -> Iterator[str]:
    for change in changes:
        before, after = change["before"], change["after"]
        if before is None:
            yield f"{change['path']}: {_plain(after)}"
        elif after is None:
            yield f"{change['path']}: {_plain(before)} is dropped"
        else:
            yield f"{change['path']}: {_plain(before)} -> {_plain(after)}"


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else " ".join(terminal.as_json(value).split())


def _counted(changes: Mapping[str, Any]) -> str:
    return f"+{changes['created']} ~{changes['changed']} -{changes['deleted']}"


def _ago(moment: str) -> str:
    seconds = (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds()
    return tree.age(max(0, int(seconds)))
