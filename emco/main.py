"""The composition root: the one place that knows every part and puts them together."""

import asyncio
import gc
import logging
import shutil
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

import structlog
import uvicorn
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.api.workflowservice.v1 import ResetStickyTaskQueueRequest
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.runtime import (
    LogForwardingConfig,
    LoggingConfig,
    Runtime,
    TelemetryConfig,
    TelemetryFilter,
)
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import Interceptor, PollerBehaviorAutoscaling, Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from activities.clusters import Clusters
from activities.drift import ClusterDrift
from activities.follow import ClusterStatus
from activities.followers import follow
from activities.gating import StoredGating
from activities.ground import Ground
from activities.helm import Renderer
from activities.hooks import ClusterHooks
from activities.namespaces import Namespaces
from activities.notices.delivery import StoredNotices
from activities.planning import StoredPlanning
from activities.records import StoredRecords
from activities.releases import Releases
from activities.units import ClusterUnits
from activities.watches import Watches
from api import statusnotify
from api.app import create_app
from api.temporal import TemporalOperations
from api.temporal_listeners import TemporalListeners
from emco.chores import chores
from emco.domain.contracts import Group
from emco.domain.errors import NotFound, Unavailable
from emco.domain.lifecycle import RUNNING
from emco.domain.names import SEARCH_ATTRIBUTES, STATE
from emco.settings import Settings
from emco.store.crypto import Keyring
from emco.store.snapshot import cluster_address
from emco.store.store import Store
from emco.store.tail import Tail
from workflows.deployment import DeploymentWorkflow
from workflows.preview import PlanPreviewWorkflow
from workflows.removal import ClusterRemovalWorkflow
from workflows.rollout import ClusterRolloutWorkflow
from workflows.status import ClusterStatusWorkflow
from workflows.subscription import SubscriptionWorkflow
from workflows.testing import ClusterTestWorkflow

WORKFLOWS = (
    DeploymentWorkflow,
    ClusterRolloutWorkflow,
    ClusterRemovalWorkflow,
    ClusterTestWorkflow,
    PlanPreviewWorkflow,
    ClusterStatusWorkflow,
    SubscriptionWorkflow,
)
SANDBOX = SandboxedWorkflowRunner(
    # The domain is pure, and importing it anew for every workflow run costs 100 ms and more.
    restrictions=SandboxRestrictions.default.with_passthrough_modules(
        "emco",
        "pydantic",
        "pydantic_core",
        "workflows.options",
        "workflows.failures",
        "workflows.gates",
        "workflows.doors",
    )
)
CONNECT_SECONDS = 60
SHUTDOWN_SECONDS = 5

log = structlog.get_logger("emco")


def open_store(settings: Settings) -> Store:
    """The store that the settings name; a SQLite file is made when it is missing."""
    settings.data.mkdir(parents=True, exist_ok=True)
    return Store.open(settings.database, keys=Keyring.from_settings(settings))


async def connect(settings: Settings) -> Client:
    """A Temporal client with our data converter; waits a minute for the server to appear.

    Raises `Unavailable` naming the address.
    """
    runtime = Runtime(
        telemetry=TelemetryConfig(
            logging=LoggingConfig(
                filter=TelemetryFilter(core_level="WARN", other_level="ERROR"),
                forwarding=LogForwardingConfig(logger=logging.getLogger("temporal.core")),
            )
        )
    )
    deadline = asyncio.get_running_loop().time() + CONNECT_SECONDS
    while True:
        try:
            return await Client.connect(
                settings.temporal_address,
                namespace=settings.temporal_namespace,
                data_converter=pydantic_data_converter,
                runtime=runtime,
            )
        except (RPCError, RuntimeError) as error:
            if asyncio.get_running_loop().time() > deadline:
                raise Unavailable(
                    f"Temporal does not answer at {settings.temporal_address}",
                    "start it with `emco up`, or set EMCO_TEMPORAL_ADDRESS",
                ) from error
            await asyncio.sleep(1)


async def register_search_attributes(client: Client) -> None:
    """Make sure the server knows ours: a workflow that sets an unknown one would hang for ever."""
    for key in SEARCH_ATTRIBUTES:
        request = AddSearchAttributesRequest(
            namespace=client.namespace,
            search_attributes={key.name: IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD},
        )
        try:
            await client.operator_service.add_search_attributes(request)
        except RPCError as error:
            if error.status is not RPCStatusCode.ALREADY_EXISTS:
                raise


@asynccontextmanager
async def worker(
    client: Client, store: Store, settings: Settings, *, interceptors: Sequence[Interceptor] = ()
) -> AsyncIterator[Worker]:
    """A worker with every workflow and activity, and the connections it needs; all closed after."""

    def kubeconfig(name: str) -> tuple[str, bytes]:
        address = cluster_address(name)
        stored = store.get(address)
        content = store.file(address)
        if content is None or stored.file is None:
            raise NotFound("Cluster not found", f"{name} is registered without a kubeconfig")
        return stored.file, content

    clusters = Clusters(kubeconfig)
    watches = Watches()
    records = StoredRecords(store)
    planning = StoredPlanning(store, clusters, Renderer(find_helm(settings)))
    namespaces = Namespaces(store)
    ground = Ground(namespaces, watches)
    releases = Releases(store, planning)
    hooks = ClusterHooks(store, clusters, planning, watches, ground, releases)
    units = ClusterUnits(store, clusters, planning, watches, namespaces, ground, releases, hooks)
    drift = ClusterDrift(store, clusters, planning, watches)
    gating = StoredGating(store, clusters, planning, watches)
    status = ClusterStatus(store, clusters, watches)
    tail = Tail(store)
    notices = StoredNotices(store, tail, settings)
    groups: tuple[Group, ...] = (
        records,
        planning,
        units,
        hooks,
        drift,
        gating,
        status,
        notices,
    )
    try:
        yield Worker(
            client,
            task_queue=settings.task_queue,
            workflows=WORKFLOWS,
            activities=[activity for group in groups for activity in group.activities()],
            workflow_runner=SANDBOX,
            interceptors=interceptors,
            # The default is a hash of every module in the process, which takes seconds.
            build_id="emco",
            max_heartbeat_throttle_interval=timedelta(seconds=settings.cancel_within),
            # Waiting for readiness costs a slot and next to nothing else.
            max_concurrent_activities=10_000,
            max_cached_workflows=2000,
            sticky_queue_schedule_to_start_timeout=timedelta(seconds=3),
            workflow_task_poller_behavior=PollerBehaviorAutoscaling(),
            activity_task_poller_behavior=PollerBehaviorAutoscaling(),
            graceful_shutdown_timeout=timedelta(seconds=5),
        )
    finally:
        await notices.close()
        await tail.close()
        await watches.close()
        await clusters.close()


def find_helm(settings: Settings) -> str:
    """The helm binary: of EMCO_TOOLS, of PATH, or of the built tools, as the sandbox looks for it.

    Raises `Unavailable` when there is none: a worker without it could plan nothing.
    """
    built = sorted(settings.cache.glob("tools/*/helm"), key=lambda p: p.stat().st_mtime)
    own = settings.tools / "helm" if settings.tools else None
    if own is not None and own.is_file():
        return str(own)
    if found := shutil.which("helm") or next(map(str, reversed(built)), None):
        return found
    raise Unavailable("helm is missing", "install it, or set EMCO_TOOLS to the folder it is in")


async def take_over(client: Client) -> None:
    """Have the server forget which worker knew the operations under way, for it may have died.

    Otherwise each would wait for that worker once more, for seconds, when its next timer is due.
    """
    running = (
        "ExecutionStatus = 'Running' AND (WorkflowType IN ('ClusterRollout', 'ClusterRemoval') "
        f"OR {STATE.name} IN ({', '.join(repr(str(one)) for one in sorted(RUNNING))}))"
    )
    try:
        async for found in client.list_workflows(running):
            execution = WorkflowExecution(workflow_id=found.id, run_id=found.run_id)
            with suppress(RPCError):  # it has just ended
                await client.workflow_service.reset_sticky_task_queue(
                    ResetStickyTaskQueueRequest(namespace=client.namespace, execution=execution)
                )
    except RPCError as error:
        log.warning("worker.took_over_nothing", reason=str(error))


def tune_memory() -> None:
    """Look for garbage a hundred times more seldom: a status of 10,000 units is a million objects at
    once and none of them garbage, and with Python's own settings half the time goes into looking."""
    gc.set_threshold(100_000, 50, 100)


async def run_worker(settings: Settings, *, interceptors: Sequence[Interceptor] = ()) -> None:
    """Serve the task queue until SIGINT or SIGTERM."""
    tune_memory()
    store = await asyncio.to_thread(open_store, settings)
    client = await connect(settings)
    await register_search_attributes(client)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    serving = worker(client, store, settings, interceptors=interceptors)
    async with serving as running, running, chores(client, store, settings):
        await _follow_all(client, store, settings)
        log.info("worker.started", queue=settings.task_queue, temporal=settings.temporal_address)
        taking_over = asyncio.create_task(take_over(client))
        await stop.wait()
        taking_over.cancel()
    store.close()


async def _follow_all(client: Client, store: Store, settings: Settings) -> None:
    """Follow every cluster in use, whatever became of those who did."""
    in_use = await asyncio.to_thread(store.clusters_in_use)
    try:
        await follow(client, in_use, task_queue=settings.task_queue)
    except Unavailable as error:  # the next operation on a cluster tries again
        log.warning("status.not_followed", reason=str(error))


def run_api(settings: Settings) -> None:
    """Serve the REST API until SIGINT or SIGTERM."""
    tune_memory()
    asyncio.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    store = await asyncio.to_thread(open_store, settings)
    client = await connect(settings)
    operations, listeners = (
        TemporalOperations(client, settings),
        TemporalListeners(client, settings),
    )
    app = create_app(store, operations, settings, listeners=listeners)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        # Streams of events end when their readers do, which may be never.
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    notify = await statusnotify.serve(store, settings)
    await uvicorn.Server(config).serve()
    if notify is not None:
        await notify.stop(grace=1)
    store.close()
