"""`emco events` and `emco subscribe`: what happens, as lines to look at or as commands to run."""

import json
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Annotated, Any, Final
from urllib.parse import urlencode

import typer
from rich.text import Text

from emco.cli import places, terminal
from emco.cli.client import Api, connected
from emco.cli.failures import Code, Failure
from emco.cli.terminal import Output, OutputOption
from emco.domain.events import EventType, Severity
from emco.domain.kinds.tenancy import Project
from emco.domain.resource import Address

PAGE: Final = 500
RECONNECT_SECONDS: Final = 1.0
_STYLES: Final = {Severity.WARNING: "yellow", Severity.ERROR: "red"}

Event = dict[str, Any]

OfArgument = Annotated[
    str,
    typer.Argument(
        metavar="OF",
        help=f"A deployment ({places.DEPLOYMENT_FORM}) or a project",
        show_default=False,
    ),
]
TypeOption = Annotated[
    list[EventType] | None, typer.Option("--type", help="Only events about this; may be repeated")
]
AppOption = Annotated[list[str] | None, typer.Option("--app", help="Only of this app")]
ClusterOption = Annotated[
    list[str] | None, typer.Option("--cluster", help="Only on this one: provider+cluster")
]
SeverityOption = Annotated[
    Severity | None, typer.Option("--severity", help="Only events at least as bad")
]
PairsOption = Annotated[
    bool, typer.Option("--pairs", help="Only that apps failed and that they recovered")
]


def events(
    of: OfArgument,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what comes until Ctrl-C")
    ] = False,
    kind: TypeOption = None,
    app: AppOption = None,
    cluster: ClusterOption = None,
    severity: SeverityOption = None,
    pairs: PairsOption = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show what happened to a deployment, or to everything in a project, oldest first.

    With -o json each event is one line.

    Examples:

        emco events -f shop/online-boutique/v1/boutique
        emco events shop --severity warning
    """
    filters = _filters(kind, app, cluster, severity, pairs)
    path = _path(of)
    with connected() as api, suppress(KeyboardInterrupt):
        after = _show_kept(api, path, filters, output)
        if follow:
            for event in coming(api, path, {**filters, "after": after}):
                _show(event, output)


def subscribe(
    of: OfArgument,
    command: Annotated[
        str,
        typer.Option("--exec", metavar="COMMAND", help="Is run for each event", show_default=False),
    ],
    kind: TypeOption = None,
    app: AppOption = None,
    cluster: ClusterOption = None,
    severity: SeverityOption = None,
    pairs: PairsOption = False,
) -> None:
    """Run a command for each event, with the event as JSON on its standard input, until Ctrl-C.

    It begins with the state as it is. A command that fails is told of and not run again; for a
    listener that survives this command use a status subscription.

    Example:

        emco subscribe shop/online-boutique/v1/boutique --pairs --exec 'jq -r .message'
    """
    parts = shlex.split(command)
    if not parts or shutil.which(parts[0]) is None:
        raise Failure(
            f"--exec names no command that there is: '{command}'",
            "write a program and its arguments; for more than that, run a shell",
            code=Code.USAGE,
        )
    filters = _filters(kind, app, cluster, severity, pairs)
    with connected() as api, suppress(KeyboardInterrupt):
        for event in coming(api, _path(of), filters):
            _run(parts, event)


def _path(of: str) -> str:
    if "/" in of:
        return f"{places.deployment(of)}/events"
    return f"{Address.of(Project, [of])}/status-events"


def _filters(
    kind: list[EventType] | None,
    app: list[str] | None,
    cluster: list[str] | None,
    severity: Severity | None,
    pairs: bool,
) -> dict[str, Any]:
    given = {
        "type": [str(k) for k in kind or ()],
        "app": app,
        "cluster": cluster,
        "severity": severity and str(severity),
        "pairs": "true" if pairs else "",
    }
    return {name: value for name, value in given.items() if value}


def _show_kept(api: Api, path: str, filters: Mapping[str, Any], output: Output) -> int:
    """Everything that is in the log; the number to go on from."""
    query = dict(filters)
    while True:
        page = api.read(path, query=urlencode({**query, "limit": PAGE}, doseq=True))
        for event in page["events"]:
            _show(event, output)
        if len(page["events"]) < PAGE:
            return int(page["after"])
        query["after"] = page["after"]


def coming(api: Api, path: str, query: Mapping[str, Any]) -> Iterator[Event]:
    """What comes, for ever. A stream that is cut off goes on where it was."""
    last = ""
    while True:
        try:
            for number, data in api.stream(path, query=urlencode(query, doseq=True), last=last):
                last = number or last
                if data:
                    yield json.loads(data)
        except Failure as failure:
            if failure.code is not Code.UNREACHABLE or not last:
                raise
        terminal.err().print(Text("the stream was cut off; going on", style="dim"))
        time.sleep(RECONNECT_SECONDS)


def _show(event: Event, output: Output) -> None:
    if output is Output.TABLE:
        terminal.say(told(event), _STYLES.get(event.get("severity", ""), ""))
    elif output is Output.JSON:
        terminal.say(json.dumps(event, ensure_ascii=False))
    else:
        terminal.say(f"---\n{terminal.as_yaml(event)}")


def told(event: Event) -> str:
    """One event in one line: when, what, from where to where, why."""
    resource = event.get("resource")
    thing = f"{resource['kind']} {resource['name']}" if resource else ""
    where = f"on {event['cluster']}" if event.get("cluster") else ""
    went = " → ".join(filter(None, (event.get("from"), event.get("to"))))
    parts = (
        event["time"][11:19],
        event["type"],
        event.get("reason") if event["type"] == EventType.HOOK else "",  # pre-install, test, ...
        event.get("app"),
        where,
        thing,
        event.get("view"),
        went,
    )
    line = "  ".join(part for part in parts if part)
    return f"{line}  {event['message']}" if event.get("message") else line


def _run(command: list[str], event: Event) -> None:
    text = json.dumps(event, ensure_ascii=False) + "\n"
    # It is what the person asked for.
    done = subprocess.run(command, input=text.encode(), check=False)  # noqa: S603
    if done.returncode:
        terminal.err().print(
            Text(
                f"{command[0]} ended with {done.returncode} for the event {event['sequence']}",
                style="yellow",
            )
        )
