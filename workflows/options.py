"""Every timeout and retry policy of the house, by name. A literal one elsewhere is a mistake.

Refused work is never retried: activities mark it non-retryable. What is left is a cluster or a
database that does not answer, and those are tried again until they do, ever more slowly.
"""

from datetime import timedelta
from typing import Final, TypedDict

from temporalio import workflow
from temporalio.common import RetryPolicy


class _Activity(TypedDict, total=False):
    """What a policy may set; the summary belongs to the call."""

    start_to_close_timeout: timedelta
    heartbeat_timeout: timedelta
    cancellation_type: workflow.ActivityCancellationType
    retry_policy: RetryPolicy


class _Child(TypedDict):
    cancellation_type: workflow.ChildWorkflowCancellationType
    parent_close_policy: workflow.ParentClosePolicy


_PATIENT: Final = RetryPolicy(
    initial_interval=timedelta(seconds=1),
    backoff_coefficient=2,
    maximum_interval=timedelta(minutes=1),
)

BOOKKEEPING: Final = workflow.LocalActivityConfig(
    start_to_close_timeout=timedelta(seconds=30),
    schedule_to_close_timeout=timedelta(days=1),
    retry_policy=_PATIENT,
)
"""Short reads and writes of our own store; survives a database that is away for a day."""

PLAN: Final = _Activity(
    start_to_close_timeout=timedelta(minutes=15),
    heartbeat_timeout=timedelta(seconds=10),
    retry_policy=_PATIENT,
)
"""Rendering every chart."""

ASK: Final = _Activity(
    start_to_close_timeout=timedelta(minutes=5),
    heartbeat_timeout=timedelta(seconds=10),
    retry_policy=_PATIENT,
)
"""A preflight: it only looks, so it may be repeated at will."""

MUTATE: Final = _Activity(
    start_to_close_timeout=timedelta(minutes=15),
    heartbeat_timeout=timedelta(seconds=10),
    cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
    retry_policy=_PATIENT,
)
"""Anything that changes a cluster. Cancelling waits until the change has stopped."""

MUTATE_BRIEFLY: Final = _Activity(
    start_to_close_timeout=timedelta(minutes=15),
    heartbeat_timeout=timedelta(seconds=10),
    cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
    retry_policy=RetryPolicy(
        initial_interval=timedelta(seconds=1), backoff_coefficient=2, maximum_attempts=4
    ),
)
"""A removal that gives a silent cluster half a minute at most; what is left is removed later."""

HOOK: Final = _Activity(
    start_to_close_timeout=timedelta(hours=25),
    heartbeat_timeout=timedelta(seconds=10),
    cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
    retry_policy=_PATIENT,
)
"""A hook of a chart. How long its work may take is its own setting (a day at most), counted from
when its object was made; this only ends an attempt that hangs."""

HOOK_BRIEFLY: Final = _Activity(
    start_to_close_timeout=timedelta(hours=25),
    heartbeat_timeout=timedelta(seconds=10),
    cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
    retry_policy=RetryPolicy(
        initial_interval=timedelta(seconds=1), backoff_coefficient=2, maximum_attempts=4
    ),
)
"""A hook of a removal that gives a silent cluster half a minute at most."""

WAIT: Final = _Activity(
    start_to_close_timeout=timedelta(hours=24),
    heartbeat_timeout=timedelta(seconds=10),
    retry_policy=_PATIENT,
)
"""Waiting for objects to become ready: as long as it takes, and cancelled within seconds."""

CHILD: Final = _Child(
    cancellation_type=workflow.ChildWorkflowCancellationType.WAIT_CANCELLATION_COMPLETED,
    parent_close_policy=workflow.ParentClosePolicy.REQUEST_CANCEL,
)
"""One cluster's part. It is asked to stop, never killed, and its parent waits for that."""

CLUSTERS_AT_ONCE: Final = 100
"""Unfinished children of one deployment; more of them starve each other."""

UNITS_AT_ONCE: Final = 8
"""Apps of one cluster that are changed at the same time; waiting ones do not count."""

UNITS_IN_FLIGHT: Final = 500
"""Apps of one cluster under way at all, waiting ones included: each holds an activity open, and the
server wedges a workflow that opens more than 2,000."""

WATCH: Final = _Activity(
    start_to_close_timeout=timedelta(hours=24),
    heartbeat_timeout=timedelta(seconds=10),
    retry_policy=_PATIENT,
)
"""Looking out for drift: begins anew every day, and is cancelled within seconds."""

FOLLOW: Final = _Activity(
    start_to_close_timeout=timedelta(hours=25),
    heartbeat_timeout=timedelta(seconds=10),
    retry_policy=_PATIENT,
)
"""Following a cluster's objects: it ends by itself every day, and is missed within seconds."""

HEAL_PAUSE: Final = timedelta(seconds=10)
"""The least time between two healings: somebody may be changing the same things all the time."""

WATCH_PAUSE: Final = timedelta(minutes=5)
"""How long to wait before drift is watched again where it could not be."""

TELL: Final = _Activity(
    start_to_close_timeout=timedelta(hours=2),
    heartbeat_timeout=timedelta(seconds=10),
    retry_policy=_PATIENT,
)
"""Telling one listener what is new, for an hour at a time."""

TELL_ONCE: Final = _Activity(
    start_to_close_timeout=timedelta(minutes=5),
    heartbeat_timeout=timedelta(seconds=10),
    retry_policy=RetryPolicy(maximum_attempts=1),
)
"""A test event: who asked waits for the answer, and asks again if they want to."""

QUEUE_LENGTH: Final = 10
"""Operations that may wait for their turn; whoever asks for more has lost track."""

UNCLAIMED: Final = timedelta(minutes=1)
"""How long a deployment's workflow stays open when nobody asks anything of it."""
