"""What was asked of a deployment and how it ended, written to the store in one transaction each."""

import asyncio
from datetime import UTC, datetime

from activities.failures import translated
from emco.domain import clouds, lifecycle
from emco.domain.contracts import (
    BeginRequest,
    Begun,
    Ended,
    EndRequest,
    PlanRequest,
    Records,
    Rules,
)
from emco.domain.errors import Conflict, Invalid
from emco.domain.history import ANONYMOUS, OperationRow
from emco.domain.kinds.apps import CompositeApp
from emco.domain.kinds.delivery import Deployment
from emco.domain.kinds.tenancy import LogicalCloud, Project
from emco.domain.lifecycle import Lifecycle, Outcome, Progress, State, Verb
from emco.domain.names import deployment_address
from emco.domain.plan.compile import inputs_digest
from emco.domain.resource import Address
from emco.store.snapshot import read_snapshot
from emco.store.store import Store


class StoredRecords(Records):
    """Idempotent by operation id: an operation begins once and ends once."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def begin(self, request: BeginRequest) -> Begun:
        """See `Records.begin`."""
        with translated():
            return await asyncio.to_thread(self._begin, request)

    async def queue(self, request: BeginRequest) -> None:
        """See `Records.queue`."""
        with translated():
            row = _row(request, request.verb).model_copy(update={"queued": True})
            deployment = deployment_address(request.deployment)
            await asyncio.to_thread(self._store.note_operation, deployment, row)

    async def hand_over(self, request: BeginRequest) -> Begun:
        """See `Records.hand_over`."""
        with translated():
            return await asyncio.to_thread(self._hand_over, request)

    async def rules(self, request: PlanRequest) -> Rules:
        """See `Records.rules`."""
        with translated():
            deployment = deployment_address(request.deployment)
            return _rules(await asyncio.to_thread(self._spec, deployment))

    async def end(self, request: EndRequest) -> Ended:
        """See `Records.end`."""
        with translated():
            return await asyncio.to_thread(self._end, request)

    # -- begin ----------------------------------------------------------------------------------

    def _begin(self, request: BeginRequest) -> Begun:
        deployment = deployment_address(request.deployment)
        spec = self._spec(deployment)
        life = self._store.lifecycle(deployment)
        if life.operation != request.operation or request.verb is Verb.STOP:
            life = self._accept(request, deployment, spec)
        base = self._store.plan_of(deployment, life.effective) if life.effective else ""
        return Begun(
            operation=life.operation,
            status_context_id=life.status_context_id,
            verb=life.verb or Verb.INSTANTIATE,
            revision=life.revision,
            base=base or "",
            rules=_rules(spec),
        )

    def _accept(self, request: BeginRequest, deployment: Address, spec: Deployment) -> Lifecycle:
        def accept(life: Lifecycle) -> Lifecycle:
            return lifecycle.accept(
                life,
                request.verb,
                deployment.name,
                operation=request.operation,
                now=datetime.now(UTC),
                adopt=request.adopt,
                supersede=request.supersede,
            )

        if request.verb is Verb.STOP:
            return self._store.change_lifecycle(deployment, accept)
        if request.verb not in (Verb.TERMINATE, Verb.HEAL):
            self._require_cloud(deployment, spec)
        accept(self._store.lifecycle(deployment))  # refusals of the state come first
        return self._store.begin_operation(
            deployment,
            accept,
            lambda life: _row(request, life.verb or request.verb).model_copy(
                update={"revision": life.revision}
            ),
            plan=self._decided(request, deployment),
        )

    def _decided(self, request: BeginRequest, deployment: Address) -> str:
        """The digest of the plan, where it is not for planning to find; else empty."""
        before = self._store.lifecycle(deployment)
        is_adopted = request.verb is Verb.INSTANTIATE and before.state is State.INSTANTIATED
        if request.verb is Verb.RESUME or is_adopted:
            return self._store.plan_of(deployment, before.operation) or ""
        if request.verb is Verb.HEAL:
            return self._store.plan_of(deployment, before.effective) or ""
        if request.plan_digest:
            return self._shown(request, deployment, before)
        if request.verb is Verb.ROLLBACK:
            return self._store.revision(deployment, request.revision).digest
        return ""

    def _shown(self, request: BeginRequest, deployment: Address, life: Lifecycle) -> str:
        """The plan that was shown, if it is still what would be done."""
        preview = self._store.preview(deployment, request.plan_digest)
        base = (self._store.plan_of(deployment, life.effective) if life.effective else None) or ""
        if request.verb is Verb.ROLLBACK:
            inputs = f"revision {request.revision}"
        else:
            with self._store.snapshot() as view:
                inputs = inputs_digest(read_snapshot(view, deployment))
        if (preview.inputs, preview.base) != (inputs, base):
            changed = "what runs" if preview.base != base else "what is described"
            raise Conflict(
                "The plan is out of date",
                f"{changed} has changed since the plan {request.plan_digest[:12]} was made; "
                "look at a new one",
            )
        return preview.plan

    def _spec(self, deployment: Address) -> Deployment:
        spec = self._store.get(deployment).spec
        assert isinstance(spec, Deployment)  # noqa: S101 — the address says so
        return spec

    def _require_cloud(self, deployment: Address, spec: Deployment) -> None:
        """The API has looked already; whoever starts the workflow from the temporal CLI has not."""
        project = deployment.ancestor(Deployment, Project)
        cloud = Address.of(LogicalCloud, [project.name, spec.logical_cloud])
        if self._store.find(cloud) is None:
            raise clouds.cloud_missing(cloud.name)
        clouds.may_receive_deployments(self._store.lifecycle(cloud), cloud.name)

    # -- migrate --------------------------------------------------------------------------------

    def _hand_over(self, request: BeginRequest) -> Begun:
        source, target = deployment_address(request.deployment), deployment_address(request.target)
        spec = self._migratable(source, target)
        life = self._store.lifecycle(target)
        if life.operation != request.operation:
            left = self._store.lifecycle(source)
            identity = left.identity or request.deployment
            release = left.release or self._spec(source).version

            def change(old: Lifecycle, new: Lifecycle) -> tuple[Lifecycle, Lifecycle]:
                old, new = lifecycle.migrate(
                    old,
                    new,
                    (source.name, target.name),
                    operation=request.operation,
                    now=datetime.now(UTC),
                )
                return old, new.model_copy(update={"identity": identity, "release": release})

            life = self._store.hand_over(source, target, change, _row(request, Verb.MIGRATE))
        base = self._store.plan_of(target, life.effective) if life.effective else ""
        return Begun(
            operation=life.operation,
            status_context_id=life.status_context_id,
            verb=Verb.MIGRATE,
            revision=life.revision,
            base=base or "",
            rules=_rules(spec),
        )

    def _migratable(self, source: Address, target: Address) -> Deployment:
        spec, left = self._spec(target), self._spec(source)
        here = source.ancestor(Deployment, CompositeApp).names(CompositeApp)[:2]
        there = target.ancestor(Deployment, CompositeApp).names(CompositeApp)[:2]
        if source == target or here != there:
            raise Invalid(
                "The target is no other version of the same composite app",
                f"{target} is not below {'/'.join(here)} or is the deployment itself",
            )
        if spec.logical_cloud != left.logical_cloud:
            raise Invalid(
                "The target has another logical cloud",
                f"{source} runs in {left.logical_cloud}, {target} would in {spec.logical_cloud}; "
                "objects cannot move between the two",
            )
        return spec

    # -- end ------------------------------------------------------------------------------------

    def _end(self, request: EndRequest) -> Ended:
        deployment = deployment_address(request.deployment)
        now = datetime.now(UTC)
        row = self._store.operation(deployment, request.operation)
        if row is not None:
            update = {"ended": now, "outcome": request.outcome, "message": request.failure}
            row = row.model_copy(update={**update, "queued": False})

        def close(life: Lifecycle) -> Lifecycle:
            is_current = life.operation == request.operation and (
                life.is_running or _is_swept(life, request)
            )
            if not is_current or request.outcome is Outcome.SUPERSEDED:
                return life
            return lifecycle.ended(life, request.outcome, now=now, failure=request.failure)

        life = self._store.end_operation(deployment, request.operation, close, row)
        if request.outcome is Outcome.UNTOUCHED:
            self._store.forget_untouched(deployment)
        return Ended(progress=life.progress or Progress.CREATED)


def _row(request: BeginRequest, verb: Verb) -> OperationRow:
    return OperationRow(
        id=request.operation,
        verb=verb,
        who=request.who or ANONYMOUS,
        why=request.why,
        began=datetime.now(UTC),
    )


def _is_swept(life: Lifecycle, request: EndRequest) -> bool:
    """A terminate that had ended, but for clusters that were away, turns out to have failed."""
    return request.outcome is Outcome.FAILED and life.progress is Progress.TERMINATED


def _rules(spec: Deployment) -> Rules:
    policies = spec.in_force
    return Rules(on_failure=policies.on_failure, preflight=policies.preflight, drift=policies.drift)
