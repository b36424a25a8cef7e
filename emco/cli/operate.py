"""`emco approve`, `instantiate`, `terminate`, `status`, `explain`: moving deployments and clouds, and looking."""

import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import typer

from emco.cli import places, terminal, tree
from emco.cli.client import Api, connected
from emco.cli.failures import Code, Failure
from emco.cli.terminal import Output, OutputOption
from emco.domain.kinds.delivery import Deployment
from emco.domain.lifecycle import BEGUN, DONE, FAILED, Progress, State, Verb
from emco.domain.names import short_name
from emco.domain.resource import Address, kind_named
from emco.domain.status import Phase

DeploymentArgument = Annotated[
    str, typer.Argument(metavar="DEPLOYMENT", help=places.DEPLOYMENT_FORM, show_default=False)
]
CloudOption = Annotated[
    str, typer.Option("--cloud", metavar="CLOUD", help=f"A logical cloud: {places.CLOUD_FORM}")
]
WaitOption = Annotated[bool, typer.Option("--wait", help="Show the live tree until it is done")]
TimeoutOption = Annotated[
    float | None, typer.Option("--timeout", help="Seconds to wait at most", min=0)
]

INTERRUPTED: Final = 130
"""What a shell calls a command that was stopped by Ctrl-C."""

_NEXT: Final = {
    State.CREATED: "next: emco approve {0}",
    State.APPROVED: "next: emco instantiate {0} --wait",
    State.TERMINATED: "next: emco instantiate {0}, or emco delete deployment {0}",
}


def approve(deployment: DeploymentArgument) -> None:
    """Say that a deployment may be instantiated as it is described now.

    The intents that it names must exist by now.

    Example:

        emco approve shop/online-boutique/v1/boutique
    """
    address = places.deployment(deployment)
    with connected() as api:
        api.post(f"{address}/approve")
    terminal.say(f"approved  {short_name(address)}")


def instantiate(
    deployment: DeploymentArgument = "",
    cloud: CloudOption = "",
    wait: WaitOption = False,
    timeout: TimeoutOption = None,
) -> None:
    """Bring an approved deployment up on its clusters, or open a logical cloud.

    It goes on without this command, and through crashes; --wait looks on and fails if it fails.

    Examples:

        emco instantiate --cloud shop/edge-cloud
        emco instantiate shop/online-boutique/v1/boutique --wait --timeout 300
    """
    _operate(Verb.INSTANTIATE, deployment, cloud, wait=wait, timeout=timeout)


def terminate(
    deployment: DeploymentArgument = "",
    cloud: CloudOption = "",
    wait: WaitOption = False,
    timeout: TimeoutOption = None,
) -> None:
    """Remove a deployment from every cluster it was put on, or close a logical cloud.

    Nothing else is touched. A logical cloud can be closed when no deployment in it is live.

    Example:

        emco terminate shop/online-boutique/v1/boutique --wait
    """
    _operate(Verb.TERMINATE, deployment, cloud, wait=wait, timeout=timeout)


def _operate(verb: Verb, deployment: str, cloud: str, *, wait: bool, timeout: float | None) -> None:
    address = _asked(verb, deployment, cloud)
    with connected() as api:
        api.post(f"{address}/{verb}")
        if wait:
            wait_for(api, address, verb, timeout=timeout)
        else:
            _say_begun(verb, address)


def _asked(verb: str, deployment: str, cloud: str) -> Address:
    if bool(deployment) == bool(cloud):
        raise Failure(
            f"Say what to {verb}",
            f"a deployment: emco {verb} {places.DEPLOYMENT_FORM}\n"
            f"or a logical cloud: emco {verb} --cloud {places.CLOUD_FORM}",
            code=Code.USAGE,
        )
    return places.deployment(deployment) if deployment else places.cloud(cloud)


def _say_begun(verb: Verb, address: Address) -> None:
    terminal.say(f"{BEGUN[verb].lower()}  {_called(address)}")
    if address.kind == Deployment.kind:
        terminal.err().print(f"watch it: emco status -w {short_name(address)}")


def _called(address: Address) -> str:
    return "/".join(address.names(kind_named(address.kind)))


def status(
    deployment: DeploymentArgument = "",
    cloud: CloudOption = "",
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Go on looking until Ctrl-C")
    ] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show how far a deployment is, app by app and cluster by cluster.

    With -w it is a live tree on a terminal, and a line for each change elsewhere.

    Examples:

        emco status -w shop/online-boutique/v1/boutique
        emco status shop/online-boutique/v1/boutique -o json     (EMCO's status answer)
    """
    address = _asked("show", deployment, cloud)
    with connected() as api:
        if output is not Output.TABLE:
            terminal.data(api.read(f"{address}/status"), output)
        elif address.kind != Deployment.kind:
            _show_cloud(api.read(f"{address}/status"), address)
        elif watch:
            with suppress(KeyboardInterrupt):
                tree.follow(_looking(api, address), lambda _: False)
        else:
            tree.plain(look(api, address))


def _show_cloud(answer: Any, address: Address) -> None:
    progress = answer.get("deployedStatus") or Progress.CREATED
    terminal.say(f"{_called(address)}  {progress}", style="bold")
    clusters = answer.get("clusters") or []
    terminal.table(
        ("cluster", "connectivity"),
        [(f"{c['clusterProvider']}+{c['cluster']}", c.get("connectivity", "")) for c in clusters],
    )
    if progress in (Progress.CREATED, Progress.TERMINATED):
        terminal.say(f"next: emco instantiate --cloud {_called(address)}")


def explain(deployment: DeploymentArgument, output: OutputOption = Output.TABLE) -> None:
    """Say in words what a deployment waits for, why, and what can be done.

    Only what is not ready yet is told.

    Example:

        emco explain shop/online-boutique/v1/boutique
    """
    address = places.deployment(deployment)
    with connected() as api:
        answer = api.read(f"{address}/explain")
    if output is not Output.TABLE:
        terminal.data(answer, output)
        return
    for line in explained(tree.parse(answer)):
        terminal.say(line)


def explained(seen: tree.Explanation) -> list[str]:
    """The sentences of `explain`."""
    lines = [f"{seen.deployment} is {seen.progress}."]
    if seen.message:
        lines.append(f"The last operation failed: {seen.message}")
    for unit in seen.units:
        if unit.phase in (Phase.READY, Phase.REMOVED):
            continue
        lines.append(
            f"{unit.app} on {unit.cluster} is {unit.phase}, "
            f"{unit.ready} of {unit.total} objects are ready."
        )
        lines += [f"  {line}" for line in unit.message.splitlines()]
        lines += [f"  waits for {reason}" for reason in unit.waiting_for]
    ready = sum(unit.phase is Phase.READY for unit in seen.units)
    if seen.units and ready == len(seen.units):
        clusters = len({unit.cluster for unit in seen.units})
        lines.append(f"Everything is ready: {ready} units on {clusters} clusters.")
    if (following := _NEXT.get(State(seen.state))) and not seen.is_running:
        lines.append(following.format(seen.deployment))
    return lines


def look(api: Api, address: Address) -> tree.Explanation:
    """One look at a deployment."""
    return tree.parse(api.read(f"{address}/explain"))


def _looking(api: Api, address: Address) -> Callable[[], tree.Explanation]:
    """Looks again and again; when the operation began is asked once for each."""
    began: dict[str, datetime | None] = {}

    def looked() -> tree.Explanation:
        seen = look(api, address)
        if seen.operation and seen.operation not in began:
            began[seen.operation] = _began(api, address, seen.operation)
        return seen.model_copy(update={"began": began.get(seen.operation)})

    return looked


def _began(api: Api, address: Address, operation: str) -> datetime | None:
    status = api.read(f"{address}/status", query="output=summary")
    for action in status.get("states", {}).get("actions", []):
        if action.get("instance") == operation:
            return datetime.fromisoformat(action["time"])
    return None


def is_live(api: Api, address: Address) -> bool:
    """Whether something of a deployment or cloud may be on a cluster."""
    progress = api.read(f"{address}/status").get("deployedStatus") or Progress.CREATED
    return progress not in (Progress.CREATED, Progress.TERMINATED)


def terminating(address: Address) -> str:
    """The command that takes a deployment or cloud down."""
    option = "" if address.kind == Deployment.kind else "--cloud "
    return f"emco {Verb.TERMINATE} {option}{_called(address)} --wait"


def wait_for(api: Api, address: Address, verb: Verb, *, timeout: float | None = None) -> None:
    """Show the live tree until the operation that was accepted ended.

    Raises `Failure` when it failed, when another one overtook it, and at the timeout.
    """
    if address.kind != Deployment.kind:
        _await_cloud(api, address, verb, timeout)
        return
    try:
        seen = tree.follow(_looking(api, address), lambda s: _is_over(s, verb), timeout=timeout)
    except KeyboardInterrupt:
        terminal.err().print(f"it goes on; look again: emco status -w {short_name(address)}")
        raise typer.Exit(INTERRUPTED) from None
    failed = [unit for unit in seen.units if unit.phase is Phase.FAILED]
    if seen.progress is DONE[verb] and not failed:
        if not terminal.out().is_terminal:
            terminal.out().print(tree.headline(seen, datetime.now(UTC)))
        return
    if seen.progress in (DONE[verb], FAILED[verb]):
        lines = [f"{u.app} on {u.cluster}: {u.reason}" for u in failed] or [seen.message]
        hint = f"more: emco explain {seen.deployment}"
        raise Failure(f"Could not {verb} {seen.deployment}", "\n".join((*lines, hint)))
    raise Failure(
        f"{seen.deployment} is {seen.progress}",
        f"another operation came after this {verb}",
        code=Code.CONFLICT,
    )


def _is_over(seen: tree.Explanation, verb: Verb) -> bool:
    if seen.progress is BEGUN[verb]:
        return False
    if verb is Verb.INSTANTIATE and seen.progress is DONE[verb]:
        return seen.is_settled  # applied everywhere; what is applied may still be starting
    return True


def _await_cloud(api: Api, address: Address, verb: Verb, timeout: float | None) -> None:
    deadline = None if timeout is None else time.monotonic() + timeout
    while True:
        progress = api.read(f"{address}/status").get("deployedStatus") or Progress.CREATED
        if progress == FAILED[verb]:
            raise Failure(f"Could not {verb} {_called(address)}", f"it is {progress}")
        if progress != BEGUN[verb]:
            terminal.say(f"{progress.lower()}  {_called(address)}")
            return
        if deadline is not None and time.monotonic() > deadline:
            raise Failure(f"{_called(address)} is still {progress}", code=Code.TIMEOUT)
        time.sleep(tree.POLL_SECONDS)
