"""One hook on one cluster, run as Helm runs it and effectively once, whatever dies and whenever.

Before anything is sent, the store knows that it may be; the object carries a mark that says which
attempt it is, and a finalizer that keeps it until its end is written down. So after any crash an
object that is not there was never made, and one that is there is waited for, not made again.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from activities.clusters import Cluster, Clusters, NotReady
from activities.failures import is_final, translated
from activities.ground import Ground
from activities.heartbeat import heartbeating
from activities.hook_objects import HookObjects, Vanished
from activities.planning import StoredPlanning
from activities.progress import first_scheduled, next_try
from activities.releases import Releases, best_effort
from activities.watches import Watches
from emco.domain.contracts import (
    HookPlan,
    HookRef,
    Hooks,
    HooksRequest,
    HookStep,
    Stage,
    Step,
    UnitRef,
    UnitResult,
)
from emco.domain.errors import EmcoError, Invalid, Unavailable
from emco.domain.names import deployment_address
from emco.domain.plan import hooks as rules
from emco.domain.plan.hooks import DeletePolicy, Event, Goal, Hook, Scope
from emco.domain.plan.model import Rendered
from emco.domain.plan.steps import outline
from emco.domain.releases import (
    OPEN,
    HookRow,
    HookState,
    ReleaseRow,
    ReleaseStatus,
    begun,
    hook_id,
    next_leader,
    pending,
)
from emco.domain.resource import Address
from emco.domain.status import Phase
from emco.store.store import Store

LOOK_SECONDS: Final = 0.5
"""Between two looks at the store for a hook that another cluster runs."""
LEADER_PATIENCE: Final = timedelta(seconds=20)
"""How long a cluster that was to run a hook for all may be away before another one does it instead."""


@dataclass(frozen=True)
class _Job:
    """One hook of one unit, with everything that has to be known to run it."""

    ref: HookRef
    deployment: Address
    release: ReleaseRow
    hook: Hook
    siblings: Sequence[Hook]
    rendered: Rendered
    row: HookRow
    seconds: int
    """How long it may take."""

    @property
    def goal(self) -> Goal:
        return Goal(self.ref.goal)

    @property
    def title(self) -> str:
        return f"{self.hook.title} of {self.ref.app} on {self.row.cluster}"


class ClusterHooks(Hooks):
    """Hooks on member clusters."""

    def __init__(
        self,
        store: Store,
        clusters: Clusters,
        planning: StoredPlanning,
        watches: Watches,
        ground: Ground,
        releases: Releases,
    ) -> None:
        self._store, self._clusters, self._planning = store, clusters, planning
        self._objects, self._ground, self._releases = HookObjects(watches), ground, releases

    # -- which hooks ----------------------------------------------------------------------------

    async def begin(self, request: HooksRequest) -> HookPlan:
        """See `Hooks.begin`."""
        with translated():
            return await asyncio.to_thread(self._begin, request)

    def _begin(self, request: HooksRequest) -> HookPlan:
        row = self._release_of(request)
        if row is None:
            return HookPlan()
        goal = Goal.TEST if request.stage is Stage.TEST else row.goal
        if request.stage is Stage.APPLY and row.status is ReleaseStatus.DEPLOYED:
            return HookPlan(goal=goal)
        if goal is Goal.TEST:
            keep = {row.run, self._run(request, row, goal)}
            deployment = deployment_address(request.deployment)
            self._store.prune_hooks(deployment, row.cluster, row.app, keep)
        items = self._releases.rendered(row).hooks
        before, after = rules.hooks_of(items, goal.before), rules.hooks_of(items, goal.after)
        for hook in (*before, *after):
            if hook.scope is not Scope.RELEASE:
                self._appoint(request, hook, self._run(request, row, goal))
        return HookPlan(goal=goal, before=_steps(before), after=_steps(after))

    def _release_of(self, request: HooksRequest) -> ReleaseRow | None:
        match request.stage:
            case Stage.APPLY:
                return self._releases.begin(request)
            case Stage.REMOVE:
                return self._releases.begin_removal(request)
            case Stage.TEST:
                return self._releases.find(request)

    def _run(self, ref: HooksRequest | HookRef, row: ReleaseRow, goal: Goal) -> str:
        return self._releases.run(ref, goal) if goal is Goal.TEST else row.run

    def _appoint(self, request: HooksRequest, hook: Hook, run: str) -> None:
        """Write down which cluster runs a hook for others too: the first by name that has to.

        The first to begin decides it for all; at that moment none of them can have begun.
        """
        leader = (
            min(self._concerned(request)) if hook.scope is Scope.DEPLOYMENT else request.cluster
        )
        first = _first(hook, run, request.app, leader, request.cluster)
        self._store.change_hook(deployment_address(request.deployment), first, lambda row: row)

    def _concerned(self, request: HooksRequest) -> list[str]:
        """The clusters on which something is done about the app, this one among them."""
        deployment = deployment_address(request.deployment)
        releases = [r for r in self._store.releases(deployment) if r.app == request.app]
        if request.stage is not Stage.APPLY:
            return [row.cluster for row in releases]
        plan = self._planning.load(request.plan)
        rows = [row for row in self._store.units(deployment) if row.app == request.app]
        concerned = {request.cluster}
        for unit in plan.units:
            if unit.app == request.app:
                known = [r for r in rows if r.cluster == unit.cluster]
                there = [r for r in releases if r.cluster == unit.cluster]
                steps = outline(plan, unit.cluster, known, (), there).steps
                if steps[unit.app] is not Step.KEEP:
                    concerned.add(unit.cluster)
        return sorted(concerned)

    # -- one hook -------------------------------------------------------------------------------

    async def run(self, hook: HookRef) -> UnitResult:
        """See `Hooks.run`."""
        with translated():
            async with heartbeating():
                job = await asyncio.to_thread(self._job, hook)
                async with self._telling(job):
                    cluster = await self._clusters.get(hook.cluster)
                    await self._before(cluster, job)
                    row = await self._to_its_end(cluster, job)
                    await self._after(cluster, job)
                return UnitResult(
                    objects=1, note=f"{job.title}: {row.message or row.state.lower()}"
                )

    def _job(self, ref: HookRef) -> _Job:
        deployment = deployment_address(ref.deployment)
        release = self._releases.find(ref)
        if release is None:
            raise Invalid("There is no such release", f"{ref.app} is not on {ref.cluster} any more")
        rendered = self._releases.rendered(release)
        siblings = rules.hooks_of(rendered.hooks, Event(ref.event))
        hook = siblings[ref.index]
        run = self._run(ref, release, Goal(ref.goal))
        return _Job(
            ref=ref,
            deployment=deployment,
            release=release,
            hook=hook,
            siblings=siblings,
            rendered=rendered,
            row=_first(hook, run, ref.app, ref.cluster, ref.cluster),
            seconds=hook.timeout or self._store.policies(deployment).hook_timeout,
        )

    @property
    def _now(self) -> datetime:
        return datetime.now(UTC)

    async def _before(self, cluster: Cluster, job: _Job) -> None:
        """What the first hook of a release finds done, and the release's record says."""
        await self.abandon(cluster, job.ref, job.release, keep=job.row.run)
        if job.hook.index or job.hook.event != job.goal.before or job.goal is Goal.TEST:
            return
        status = ReleaseStatus.UNINSTALLING
        if job.goal is not Goal.DELETE:
            plan = await asyncio.to_thread(self._planning.load, job.ref.plan)
            await self._ground.prepare(cluster, plan, job.rendered.crds)
            status = pending(job.goal)
        await self._releases.note(cluster, job.ref, job.release, status)

    async def _to_its_end(self, cluster: Cluster, job: _Job) -> HookRow:
        row = await self._my_turn(job)
        if row.cluster != job.ref.cluster:
            return row
        try:
            if row.state is HookState.STARTING:
                row = await self._started(cluster, job, row)
            if row.state is HookState.RUNNING:
                row = await self._ended(cluster, job, row)
        except Vanished:
            row = await self._move(job, row, HookState.LOST, message="gone, its end was not seen")
        except EmcoError as error:
            if not is_final(error):
                raise
            row = await self._move(job, row, HookState.FAILED, message=str(error))
        if row.state in (HookState.FAILED, HookState.SUCCEEDED) and row.uid:
            await self._objects.let_go(cluster, job.hook, job.release, row)
        if row.state is HookState.FAILED:
            await self._tidy_after_failure(cluster, job)
        return self._checked(job, row)

    async def _started(self, cluster: Cluster, job: _Job, row: HookRow) -> HookRow:
        metadata = (await self._objects.put(cluster, job.hook, job.release, row))["metadata"]
        made = datetime.fromisoformat(metadata["creationTimestamp"])
        return await self._move(
            job, row, HookState.RUNNING, uid=metadata["uid"], began=max(made, row.since)
        )

    async def _ended(self, cluster: Cluster, job: _Job, row: HookRow) -> HookRow:
        hook, release = job.hook, job.release
        end = await self._objects.end(cluster, hook, release, row, seconds=job.seconds)
        if end.is_success:
            return await self._move(job, row, HookState.SUCCEEDED)
        words = await self._objects.last_words(cluster, hook, release, job.rendered)
        why = "; ".join(filter(None, (end.why, words)))
        return await self._move(job, row, HookState.FAILED, message=why)

    def _checked(self, job: _Job, row: HookRow) -> HookRow:
        """The row of a hook that succeeded; raises what became of it otherwise."""
        if row.state is HookState.LOST:
            raise Invalid(
                f"Nobody saw how the {job.title} ended",
                "its object is gone: say whether it did its work with `emco answer "
                f"{job.ref.deployment} '{row.id}' done` (or `again`), then resume",
            )
        if row.state is not HookState.SUCCEEDED:
            raise Invalid(f"The {job.title} failed", row.message)
        return row

    # -- whose turn it is -----------------------------------------------------------------------

    async def _my_turn(self, job: _Job) -> HookRow:
        """The hook's row as soon as it has ended, or this cluster is to run it and has begun to."""
        while True:
            row = await asyncio.to_thread(self._take, job)
            if row.cluster == job.ref.cluster or row.state is HookState.SUCCEEDED:
                return row
            if row.state in (HookState.FAILED, HookState.LOST):
                return self._checked(job, row)
            await asyncio.to_thread(
                self._show, job, f"waits for the {job.hook.title} on {row.cluster}"
            )
            await asyncio.sleep(LOOK_SECONDS)

    def _take(self, job: _Job) -> HookRow:
        here = job.ref.cluster
        lost = self._lost_leader(job)

        def change(row: HookRow) -> HookRow:
            if row.cluster != here and row.cluster == lost and row.state is HookState.WAITING:
                row = row.model_copy(update={"cluster": here, "since": self._now})
            return begun(row, job.ref.operation, self._now) if row.cluster == here else row

        return self._store.change_hook(job.deployment, job.row, change)

    def _lost_leader(self, job: _Job) -> str:
        """The cluster whose hook this one may take over: it has been away, and it is our turn."""
        if job.hook.scope is not Scope.DEPLOYMENT:
            return ""
        rows = [row for row in self._store.hooks(job.deployment) if row.id == job.row.id]
        units = [u for u in self._store.units(job.deployment) if u.app == job.ref.app]
        for row in rows:
            away = [
                unit
                for unit in units
                if unit.cluster == row.cluster
                and unit.phase in (Phase.RETRYING, Phase.FAILED)
                and self._now - unit.since > LEADER_PATIENCE
            ]
            following = next_leader(row, tuple(u.cluster for u in units))
            if away and row.state is HookState.WAITING and following == job.ref.cluster:
                return row.cluster
        return ""

    async def _move(self, job: _Job, row: HookRow, state: HookState, **changes: Any) -> HookRow:
        moved = row.model_copy(update={"state": state, "since": self._now, **changes})

        def change(old: HookRow) -> HookRow:
            return moved if old.attempt == row.attempt and old.cluster == row.cluster else old

        return await asyncio.to_thread(self._store.change_hook, job.deployment, job.row, change)

    # -- tidying up -----------------------------------------------------------------------------

    async def _after(self, cluster: Cluster, job: _Job) -> None:
        """After the last hook of an event: Helm deletes what succeeded, in reverse, and goes on."""
        if not job.ref.last:
            return
        for hook in reversed(job.siblings):
            if hook.is_deleted(DeletePolicy.SUCCEEDED):
                await self._objects.delete(cluster, hook, job.release)
        if job.hook.event != job.goal.after:
            return
        if job.goal is Goal.DELETE:
            await self._releases.purge(cluster, job.ref, job.release)
            return
        await self._releases.note(cluster, job.ref, job.release, ReleaseStatus.DEPLOYED)
        await asyncio.to_thread(
            self._store.move_unit, job.deployment, job.ref.cluster, job.ref.app, Phase.READY
        )

    async def _tidy_after_failure(self, cluster: Cluster, job: _Job) -> None:
        if job.hook.is_deleted(DeletePolicy.FAILED):
            await self._objects.delete(cluster, job.hook, job.release)
        for hook in job.siblings[: job.hook.index]:
            if hook.is_deleted(DeletePolicy.SUCCEEDED):
                await self._objects.delete(cluster, hook, job.release)

    async def abandon(
        self, cluster: Cluster, unit: UnitRef, release: ReleaseRow, *, keep: str
    ) -> None:
        """Remove what an operation left running when another one took its place."""
        deployment = deployment_address(unit.deployment)
        for row in await asyncio.to_thread(self._store.hooks, deployment):
            mine = (row.app, row.cluster) == (unit.app, unit.cluster)
            if not mine or row.state not in OPEN or row.run == keep:
                continue
            with suppress(NotReady):  # its kind is not served any more, so nothing of it is there
                await self._objects.delete_attempt(cluster, row, release)
            await asyncio.to_thread(self._give_up, deployment, row)

    def _give_up(self, deployment: Address, row: HookRow) -> None:
        gone = row.model_copy(update={"state": HookState.ABANDONED, "since": self._now})
        self._store.change_hook(deployment, row, lambda old: gone if old == row else old)

    # -- what people see ------------------------------------------------------------------------

    @asynccontextmanager
    async def _telling(self, job: _Job) -> AsyncIterator[None]:
        """Show the hook in the unit's row while it runs, and what went wrong before it is raised on."""
        place = f"{job.hook.index + 1} of {len(job.siblings)}"
        await asyncio.to_thread(self._show, job, f"{job.hook.title} ({place})")
        try:
            yield
        except EmcoError as error:
            if not is_final(error):
                await asyncio.to_thread(self._stuck, job, error)
                raise
            if job.goal is not Goal.TEST:
                await asyncio.to_thread(self._show, job, str(error), Phase.FAILED)
                await best_effort(self._note_failure(job, error))
            raise

    def _show(self, job: _Job, message: str, phase: Phase = Phase.RUNNING_HOOK) -> None:
        if job.goal is not Goal.TEST:
            self._store.move_unit(job.deployment, job.ref.cluster, job.ref.app, phase, message)

    def _stuck(self, job: _Job, error: EmcoError) -> None:
        if job.goal is not Goal.TEST:
            self._store.move_unit(
                job.deployment,
                job.ref.cluster,
                job.ref.app,
                Phase.RETRYING,
                str(error),
                since=first_scheduled(),
                retry_at=next_try(),
            )

    async def _note_failure(self, job: _Job, error: EmcoError) -> None:
        if job.goal is Goal.DELETE or isinstance(error, Unavailable):
            return
        cluster = await self._clusters.get(job.ref.cluster)
        await self._releases.note(cluster, job.ref, job.release, ReleaseStatus.FAILED, str(error))


def _steps(found: Sequence[Hook]) -> tuple[HookStep, ...]:
    return tuple(HookStep(event=h.event, index=h.index, title=h.title) for h in found)


def _first(hook: Hook, run: str, app: str, leader: str, here: str) -> HookRow:
    """What is known of a hook before anything of it has happened."""
    return HookRow(
        id=hook_id(hook, run, app, here),
        run=run,
        event=hook.event,
        key=hook.key,
        app=app,
        cluster=leader,
        scope=hook.scope,
        since=datetime.now(UTC),
    )
