"""What a logical cloud or deployment in each state may do, in EMCO's sentences."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

import pytest

from emco.domain import clouds
from emco.domain.errors import Conflict, Invalid
from emco.domain.kinds.delivery import Deployment, Policies
from emco.domain.lifecycle import Action, Lifecycle, Progress, State

NOW = datetime(2026, 1, 1, tzinfo=UTC)


CLOUD_PROGRESS = [
    None,
    Progress.CREATED,
    Progress.INSTANTIATING,
    Progress.INSTANTIATED,
    Progress.INSTANTIATE_FAILED,
    Progress.TERMINATING,
    Progress.TERMINATED,
    Progress.TERMINATE_FAILED,
]
"""Level 0 clouds are neither stopped nor updated."""

SPEC = Deployment.model_validate(
    {"compositeProfile": "p", "version": "r", "logicalCloud": "lc", "overrideValues": []}
)


def cloud(progress: Progress | None) -> Lifecycle:
    return Lifecycle(progress=progress)


def instantiate(life: Lifecycle) -> Lifecycle:
    return clouds.instantiate_cloud(life, "lc", has_clusters=True, operation="op", now=NOW)


def terminate(life: Lifecycle) -> Lifecycle:
    return clouds.terminate_cloud(life, "lc", live=(), operation="op", now=NOW)


def test_a_cloud_goes_round_and_counts_its_revisions() -> None:
    life = terminate(instantiate(Lifecycle()))
    life = instantiate(life)
    assert [(a.state, a.revision) for a in life.actions] == [
        (State.INSTANTIATED, 1),
        (State.TERMINATED, 2),
        (State.INSTANTIATED, 3),
    ]
    assert (life.progress, life.status_context_id) == (Progress.INSTANTIATED, "op")


def test_terminating_a_cloud_that_never_was_does_nothing() -> None:
    assert terminate(Lifecycle()) == Lifecycle()


def test_a_cloud_without_clusters_is_not_instantiated() -> None:
    with pytest.raises(Invalid, match="No Cluster References associated"):
        clouds.instantiate_cloud(Lifecycle(), "lc", has_clusters=False, operation="o", now=NOW)


def test_a_cloud_with_a_live_deployment_is_not_terminated() -> None:
    with pytest.raises(Invalid, match="Found at least one DIG") as refusal:
        clouds.terminate_cloud(
            instantiate(Lifecycle()), "lc", live=["p/b", "p/a"], operation="o", now=NOW
        )
    assert refusal.value.detail == "terminate p/a, p/b first"


@pytest.mark.parametrize(
    ("act", "progress", "sentence"),
    [
        (instantiate, Progress.INSTANTIATING, "is already instantiating"),
        (instantiate, Progress.INSTANTIATED, "is already instantiated"),
        (instantiate, Progress.INSTANTIATE_FAILED, "has failed instantiating before"),
        (instantiate, Progress.TERMINATING, "can't be re-instantiated yet"),
        (instantiate, Progress.TERMINATE_FAILED, "has failed terminating"),
        (terminate, Progress.INSTANTIATING, "is still instantiating"),
        (terminate, Progress.TERMINATING, "is already being terminated"),
        (terminate, Progress.TERMINATED, "has already been terminated"),
        (terminate, Progress.TERMINATE_FAILED, "has failed terminating"),
    ],
)
def test_a_cloud_refuses_in_emcos_words(
    act: Callable[[Lifecycle], Lifecycle], progress: Progress, sentence: str
) -> None:
    with pytest.raises(Conflict, match=sentence):
        act(cloud(progress))


@pytest.mark.parametrize("progress", CLOUD_PROGRESS)
def test_a_cloud_is_deleted_only_when_nothing_can_use_it(progress: Progress | None) -> None:
    deletable = {None, Progress.CREATED, Progress.TERMINATED, Progress.TERMINATE_FAILED}
    assert _allows(clouds.may_delete_cloud, cloud(progress)) == (progress in deletable)


@pytest.mark.parametrize("progress", CLOUD_PROGRESS)
def test_only_an_instantiated_cloud_takes_deployments(progress: Progress | None) -> None:
    allowed = _allows(clouds.may_receive_deployments, cloud(progress))
    assert allowed == (progress is Progress.INSTANTIATED)


@pytest.mark.parametrize("state", list(State))
def test_a_deployment_is_edited_only_before_it_is_approved(state: State) -> None:
    life = Lifecycle(actions=(Action(state=state, time=NOW),))
    other = SPEC.model_copy(update={"version": "r2"})
    for new in (SPEC, other):
        replace = partial(clouds.may_replace_deployment, old=SPEC, new=new)
        assert _allows(replace, life) == (state is State.CREATED)


@pytest.mark.parametrize("state", list(State))
def test_the_policies_of_a_deployment_may_change_at_any_time(state: State) -> None:
    life = Lifecycle(actions=(Action(state=state, time=NOW),))
    new = SPEC.model_copy(update={"policies": Policies(drift="heal")})
    clouds.may_replace_deployment(life, "d", SPEC, new)


@pytest.mark.parametrize(
    ("state", "progress", "deletable"),
    [
        (State.CREATED, None, True),
        (State.APPROVED, None, True),
        (State.APPROVED, Progress.TERMINATED, True),
        (State.INSTANTIATED, Progress.INSTANTIATED, False),
        (State.INSTANTIATED, Progress.INSTANTIATE_FAILED, False),
        (State.TERMINATED, Progress.TERMINATING, False),
        (State.TERMINATED, Progress.TERMINATE_FAILED, False),
        (State.TERMINATED, Progress.TERMINATED, True),
    ],
)
def test_a_deployment_is_deleted_only_when_nothing_of_it_is_left(
    state: State, progress: Progress | None, deletable: bool
) -> None:
    life = Lifecycle(actions=(Action(state=state, time=NOW),), progress=progress)
    assert _allows(clouds.may_delete_deployment, life) == deletable


def _allows(guard: Callable[[Lifecycle, str], None], life: Lifecycle) -> bool:
    try:
        guard(life, "x")
    except Conflict:
        return False
    return True
