"""The verbs that move deployments and logical clouds, and `emco status` and `explain` to look at them."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Final
from urllib.parse import urlencode

import typer

from emco.cli import places, terminal, tree
from emco.cli.client import Api, connected
from emco.cli.failures import Code, Failure
from emco.cli.terminal import Output, OutputOption
from emco.domain.history import OPERATION_HEADER
from emco.domain.kinds.delivery import Deployment
from emco.domain.lifecycle import OnBusy, Progress, State, Verb, begun, done, failed, stopped
from emco.domain.names import short_name
from emco.domain.releases import Answer, HookState
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

PlanOption = Annotated[
    str, typer.Option("--plan", metavar="DIGEST", help="Exactly the plan that `emco plan` showed")
]
BusyOption = Annotated[
    OnBusy, typer.Option("--on-busy", help="What to do while another operation runs")
]
WhyOption = Annotated[str, typer.Option("--why", "-m", help="Kept with the operation")]

INTERRUPTED: Final = 130
"""What a shell calls a command that was stopped by Ctrl-C."""

_ACCEPTED: Final = {
    Verb.UPDATE: "updating",
    Verb.ROLLBACK: "rolling back",
    Verb.MIGRATE: "migrating",
    Verb.TEST: "testing",
    Verb.STOP: "stopping",
    Verb.RESUME: "resuming",
}
_NEXT: Final = {
    State.CREATED: "next: emco approve {0}",
    State.APPROVED: "next: emco instantiate {0} --wait",
    State.INSTANTIATE_STOPPED: "next: emco resume {0}, or emco terminate {0}",
    State.TERMINATE_STOPPED: "next: emco resume {0}",
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
    plan: PlanOption = "",
    on_busy: BusyOption = OnBusy.REFUSE,
    why: WhyOption = "",
    wait: WaitOption = False,
    timeout: TimeoutOption = None,
) -> None:
    """Bring an approved deployment up on its clusters, or open a logical cloud.

    It goes on without this command, and through crashes; --wait looks on and fails if it fails.

    Examples:

        emco instantiate --cloud shop/edge-cloud
        emco instantiate shop/online-boutique/v1/boutique --wait --timeout 300
    """
    asked = _Ask(wait=wait, timeout=timeout, plan=plan, on_busy=on_busy, why=why)
    _operate(Verb.INSTANTIATE, _asked(Verb.INSTANTIATE, deployment, cloud), asked)


def update(
    deployment: DeploymentArgument,
    plan: PlanOption = "",
    on_busy: BusyOption = OnBusy.REFUSE,
    why: WhyOption = "",
    wait: WaitOption = False,
    timeout: TimeoutOption = None,
) -> None:
    """Bring about what is described now: charts, profiles, values, placement.

    What is no longer wanted is removed; what did not change is not touched. `emco plan` shows it
    before; with its digest exactly that is done, or nothing.

    Examples:

        emco update shop/online-boutique/v1/boutique --wait
        emco update shop/online-boutique/v1/boutique --plan DIGEST -m "new image"
    """
    asked = _Ask(wait=wait, timeout=timeout, why=why, on_busy=on_busy, plan=plan)
    _operate(Verb.UPDATE, places.deployment(deployment), asked)


def rollback(
    deployment: DeploymentArgument,
    to: Annotated[int, typer.Option("--to", metavar="REVISION", min=1, show_default=False)],
    on_busy: BusyOption = OnBusy.REFUSE,
    why: WhyOption = "",
    wait: WaitOption = False,
    timeout: TimeoutOption = None,
) -> None:
    """Bring an earlier revision about again, byte for byte.

    `emco revisions` lists them; `emco plan --to REVISION` shows what would change.

    Example:

        emco rollback shop/online-boutique/v1/boutique --to 1 --wait
    """
    body = {"metadata": {"description": why}, "spec": {"revision": str(to)}}
    asked = _Ask(wait=wait, timeout=timeout, on_busy=on_busy, body=body)
    _operate(Verb.ROLLBACK, places.deployment(deployment), asked)


def migrate(
    deployment: DeploymentArgument,
    to: Annotated[str, typer.Option("--to", metavar="VERSION/DEPLOYMENT", show_default=False)],
    why: WhyOption = "",
    wait: WaitOption = False,
    timeout: TimeoutOption = None,
) -> None:
    """Move to another version of the composite app, in place: only what differs is changed.

    The other version's deployment must be approved; it takes over everything that is on the
    clusters, and the revisions.

    Example:

        emco migrate shop/online-boutique/v1/boutique --to v2/boutique --wait
    """
    address = places.deployment(deployment)
    version, slash, name = to.partition("/")
    if not (slash and version and name):
        raise Failure(
            f"Not a version and a deployment: {to!r}", "write VERSION/DEPLOYMENT", code=Code.USAGE
        )
    spec = {"targetCompositeAppVersion": version, "targetDeploymentIntentGroup": name}
    body = {"metadata": {"description": why}, "spec": spec}
    project, app, *_ = address.names(Deployment)
    target = Address.of(Deployment, [project, app, version, name])
    asked = _Ask(wait=wait, timeout=timeout, body=body, watched=target)
    _operate(Verb.MIGRATE, address, asked)


def run_tests(
    deployment: DeploymentArgument,
    on_busy: BusyOption = OnBusy.REFUSE,
    why: WhyOption = "",
    wait: WaitOption = False,
    timeout: TimeoutOption = None,
) -> None:
    """Run the test hooks of everything that is up, as `helm test` does; nothing else is changed.

    Example:

        emco test shop/online-boutique/v1/boutique --wait
    """
    asked = _Ask(wait=wait, timeout=timeout, why=why, on_busy=on_busy)
    _operate(Verb.TEST, places.deployment(deployment), asked)


def answer(
    deployment: DeploymentArgument,
    hook: Annotated[str, typer.Argument(help="Its id, as `emco explain` shows it")],
    word: Annotated[Answer, typer.Argument(metavar="done|again", help="Did it do its work?")],
) -> None:
    """Say what became of a hook whose object vanished before anybody saw how it ended.

    After `done` it counts as finished; after `again` it is run anew. Then resume.

    Example:

        emco answer shop/online-boutique/v1/boutique '3:pre-upgrade:0:Job/migrate:web@edge+c1' done
    """
    address = places.deployment(deployment)
    with connected() as api:
        api.post(f"{address}/answer", body={"spec": {"hook": hook, "answer": word}})
    terminal.say(f"answered  {hook}: {word}")
    terminal.err().print(f"go on: emco resume {short_name(address)}")


def stop(
    deployment: DeploymentArgument,
    wait: WaitOption = False,
    timeout: TimeoutOption = None,
) -> None:
    """Halt the running operation at the next safe point; what is done stays.

    Go on with `emco resume`, or remove everything with `emco terminate`.

    Example:

        emco stop shop/online-boutique/v1/boutique
    """
    _operate(Verb.STOP, places.deployment(deployment), _Ask(wait=wait, timeout=timeout))


def resume(
    deployment: DeploymentArgument,
    why: WhyOption = "",
    wait: WaitOption = False,
    timeout: TimeoutOption = None,
) -> None:
    """Go on with an operation that failed or was stopped, from where it is.

    Example:

        emco resume shop/online-boutique/v1/boutique --wait
    """
    asked = _Ask(wait=wait, timeout=timeout, why=why)
    _operate(Verb.RESUME, places.deployment(deployment), asked)


def terminate(
    deployment: DeploymentArgument = "",
    cloud: CloudOption = "",
    wait: WaitOption = False,
    timeout: TimeoutOption = None,
) -> None:
    """Remove a deployment from every cluster it was put on, or close a logical cloud.

    Nothing else is touched. A cluster that does not answer is cleared when it is back. A logical
    cloud can be closed when no deployment in it is live.

    Example:

        emco terminate shop/online-boutique/v1/boutique --wait
    """
    asked = _Ask(wait=wait, timeout=timeout)
    _operate(Verb.TERMINATE, _asked(Verb.TERMINATE, deployment, cloud), asked)


@dataclass(frozen=True)
class _Ask:
    """What goes along with a verb, and whether to look on. `watched` is looked at, if not the same."""

    wait: bool = False
    timeout: float | None = None
    why: str = ""
    on_busy: OnBusy = OnBusy.REFUSE
    plan: str = ""
    body: Any = None
    watched: Address | None = None

    @property
    def query(self) -> str:
        """The query parameters that are not as usual."""
        given = {"planDigest": self.plan}
        if self.on_busy is not OnBusy.REFUSE:
            given["onBusy"] = self.on_busy
        return urlencode({key: value for key, value in given.items() if value})


def _operate(verb: Verb, address: Address, asked: _Ask) -> None:
    body = asked.body or ({"metadata": {"description": asked.why}} if asked.why else None)
    with connected() as api:
        answer = api.post(f"{address}/{verb}", body=body, query=asked.query)
        operation = answer.headers.get(OPERATION_HEADER, "")
        watched = asked.watched or address
        if asked.wait:
            wait_for(api, watched, verb, timeout=asked.timeout, operation=operation)
        else:
            _say_begun(verb, watched)


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
    word = _ACCEPTED.get(verb) or begun(verb).lower()
    terminal.say(f"{word}  {_called(address)}")
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
    revision = f" (revision {seen.revision})" if seen.revision else ""
    lines = [f"{seen.deployment} is {seen.progress}{revision}."]
    if seen.message:
        lines.append(f"The last operation failed: {seen.message}")
    lines += [f"Next in line: {verb}." for verb in seen.queue]
    for unit in seen.units:
        if unit.phase in (Phase.READY, Phase.REMOVED):
            continue
        lines.append(
            f"{unit.app} on {unit.cluster} is {unit.phase} for {tree.age(unit.seconds(datetime.now(UTC)))}, "
            f"{unit.ready} of {unit.total} objects are ready."
        )
        lines += [f"  {line}" for line in unit.message.splitlines()]
        because = "because" if unit.phase is Phase.WAITING else "waits for"
        lines += [f"  {because} {reason}" for reason in unit.waiting_for]
        if unit.next_step:
            lines.append(f"  next: {unit.next_step}{_when(unit)}")
    for hook in seen.hooks:
        if hook.state is not HookState.SUCCEEDED:
            told = f": {hook.message}" if hook.message else ""
            lines.append(
                f"The {hook.event} hook {hook.name} of {hook.app} on {hook.cluster} is {hook.state}{told}."
            )
        if hook.question:
            lines.append(f"  {hook.question}: emco answer {seen.deployment} '{hook.id}' done|again")
    ready = sum(unit.phase is Phase.READY for unit in seen.units)
    if seen.units and ready == len(seen.units):
        clusters = len({unit.cluster for unit in seen.units})
        lines.append(f"Everything is ready: {ready} units on {clusters} clusters.")
    lines += [
        f"{left.cluster} was away and still holds {len(left.objects)} objects of {left.app}; "
        "they are removed when it is back."
        for left in seen.remnants
    ]
    following = _NEXT.get(State(seen.state))
    if seen.progress.endswith("Failed"):
        following = "next: emco resume {0} when the cause is gone, or emco update or terminate {0}"
    if following and not seen.is_running:
        lines.append(following.format(seen.deployment))
    return lines


def _when(unit: tree.Unit) -> str:
    moment = unit.next_try or unit.until
    if moment is None:
        return ""
    seconds = int((moment - datetime.now(UTC)).total_seconds())
    return f", in {seconds} s" if seconds > 0 else ", now"


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


def wait_for(
    api: Api,
    address: Address,
    verb: Verb,
    *,
    timeout: float | None = None,
    operation: str = "",
) -> None:
    """Show the live tree until the operation that was accepted ended.

    Raises `Failure` when it failed, when another one overtook it, and at the timeout.
    """
    if address.kind != Deployment.kind:
        _await_cloud(api, address, verb, timeout)
        return
    try:
        seen = tree.follow(
            _looking(api, address), lambda s: _is_over(s, verb, operation), timeout=timeout
        )
    except KeyboardInterrupt:
        terminal.err().print(f"it goes on; look again: emco status -w {short_name(address)}")
        raise typer.Exit(INTERRUPTED) from None
    _judge(seen, verb, operation)
    if not terminal.out().is_terminal:
        terminal.out().print(tree.headline(seen, datetime.now(UTC)))


def _is_over(seen: tree.Explanation, verb: Verb, operation: str) -> bool:
    if seen.is_running:
        return False
    if operation and seen.operation != operation and seen.queue and verb is not Verb.STOP:
        return False  # it waits for its turn
    if seen.progress is Progress.INSTANTIATED and not seen.message:
        return seen.is_settled  # applied everywhere; what is applied may still be starting
    return True


def _judge(seen: tree.Explanation, verb: Verb, operation: str) -> None:
    """Return when the deployment is where the verb was to bring it."""
    goal = Verb(seen.verb) if verb is Verb.RESUME and seen.verb else verb
    broken = [unit for unit in seen.units if unit.phase is Phase.FAILED]
    wanted = (stopped(Verb(seen.verb or Verb.INSTANTIATE)),) if verb is Verb.STOP else (done(goal),)
    if seen.progress in wanted and not broken and not seen.message:
        return
    is_overtaken = verb is not Verb.STOP and operation and seen.operation != operation
    if is_overtaken or seen.progress not in (*wanted, *_ENDINGS):
        raise Failure(
            f"{seen.deployment} is {seen.progress}",
            f"another operation came after this {verb}",
            code=Code.CONFLICT,
        )
    lines = [f"{u.app} on {u.cluster}: {u.reason}" for u in broken] or [seen.message]
    hint = f"more: emco explain {seen.deployment}"
    raise Failure(f"Could not {verb} {seen.deployment}", "\n".join((*lines, hint)))


_ENDINGS: Final = (
    Progress.INSTANTIATED,
    Progress.INSTANTIATE_FAILED,
    Progress.TERMINATED,
    Progress.TERMINATE_FAILED,
)
"""Where an operation that did not succeed may leave a deployment."""


def _await_cloud(api: Api, address: Address, verb: Verb, timeout: float | None) -> None:
    deadline = None if timeout is None else time.monotonic() + timeout
    while True:
        progress = api.read(f"{address}/status").get("deployedStatus") or Progress.CREATED
        if progress == failed(verb):
            raise Failure(f"Could not {verb} {_called(address)}", f"it is {progress}")
        if progress != begun(verb):
            terminal.say(f"{progress.lower()}  {_called(address)}")
            return
        if deadline is not None and time.monotonic() > deadline:
            raise Failure(f"{_called(address)} is still {progress}", code=Code.TIMEOUT)
        time.sleep(tree.POLL_SECONDS)
