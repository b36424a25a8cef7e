"""Releases and hooks in the store: one row each, whoever writes first, gone with what they belong to."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from emco.domain.errors import NotFound
from emco.domain.plan.hooks import Event, Scope
from emco.domain.releases import HookRow, HookState, ReleaseRow
from emco.domain.status import Deployed, ObjectKey, ObjectStatus, Phase, UnitRow
from emco.store.store import Store
from tests.contract.conftest import DEPLOYMENT

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def release(cluster: str, app: str = "web") -> ReleaseRow:
    return ReleaseRow(app=app, cluster=cluster, run="1", manifest="m", first=NOW, last=NOW)


def hook(id: str, cluster: str = "e+1", **more: object) -> HookRow:  # noqa: A002
    key = ObjectKey(api_version="batch/v1", kind="Job", name="migrate")
    given = {"run": "1", "app": "web", **more}
    return HookRow(id=id, event=Event.PRE_INSTALL, key=key, cluster=cluster, since=NOW, **given)


def test_a_release_is_begun_once_changed_and_forgotten(shop: Store) -> None:
    made = shop.change_release(DEPLOYMENT, "e+1", "web", lambda old: old or release("e+1"))
    assert made == release("e+1")
    later = shop.change_release(
        DEPLOYMENT, "e+1", "web", lambda old: old and old.model_copy(update={"version": 2})
    )
    assert later
    assert shop.releases(DEPLOYMENT) == [later]
    shop.forget_release(DEPLOYMENT, "e+1", "web")
    shop.forget_release(DEPLOYMENT, "e+1", "web")
    assert shop.releases(DEPLOYMENT) == []
    assert shop.change_release(DEPLOYMENT, "e+1", "web", lambda old: old) is None


def test_of_two_that_begin_a_hook_one_does_and_both_know(shop: Store) -> None:
    def take(me: str) -> str:
        first = hook("1:pre:Job/migrate:web@", me)
        return shop.change_hook(DEPLOYMENT, first, lambda row: row).cluster

    with ThreadPoolExecutor(8) as threads:
        seen = set(threads.map(take, [f"e+{n}" for n in range(8)]))
    assert len(seen) == 1


def test_a_hook_for_many_is_remembered_until_the_app_has_left_the_last(shop: Store) -> None:
    for cluster in ("e+1", "e+2"):
        shop.change_release(DEPLOYMENT, cluster, "web", lambda _, c=cluster: release(c))  # type: ignore[misc]
        own = hook(f"1:pre-install:0:Job/migrate:web@{cluster}", cluster)
        shop.change_hook(DEPLOYMENT, own, lambda row: row)
    shared = hook("1:pre:Job/migrate:web@", scope=Scope.DEPLOYMENT)
    shop.change_hook(DEPLOYMENT, shared, lambda row: row)
    shop.forget_release(DEPLOYMENT, "e+1", "web")
    left = {row.id for row in shop.hooks(DEPLOYMENT)}
    assert left == {shared.id, "1:pre-install:0:Job/migrate:web@e+2"}
    shop.forget_release(DEPLOYMENT, "e+2", "web")
    assert shop.hooks(DEPLOYMENT) == []


def test_old_runs_are_pruned_but_never_an_open_one(shop: Store) -> None:
    states = {"old": HookState.SUCCEEDED, "open": HookState.RUNNING, "new": HookState.FAILED}
    for run, state in states.items():
        shop.change_hook(DEPLOYMENT, hook(run, run=run, state=state), lambda row: row)
    shop.prune_hooks(DEPLOYMENT, "e+1", "web", {"new"})
    assert {row.id for row in shop.hooks(DEPLOYMENT)} == {"open", "new"}


def test_a_hook_that_is_not_there_is_named_with_those_that_are(shop: Store) -> None:
    shop.change_hook(DEPLOYMENT, hook("there"), lambda row: row)
    with pytest.raises(NotFound, match="there are: there"):
        shop.hook(DEPLOYMENT, "elsewhere")


def test_a_unit_that_is_moved_keeps_its_objects_and_waits_no_more(shop: Store) -> None:
    key = ObjectKey(api_version="v1", kind="ConfigMap", name="a")
    row = UnitRow(
        app="a",
        cluster="edge+c1",
        phase=Phase.WAITING,
        since=NOW,
        until=NOW,
        applied="m",
        objects=(ObjectStatus(key=key, deployed=Deployed.APPLIED),),
    )
    shop.put_unit(DEPLOYMENT, row)
    shop.move_unit(DEPLOYMENT, "edge+c1", "a", Phase.RUNNING_HOOK, "pre-install hook migrate")
    shop.move_unit(DEPLOYMENT, "edge+c1", "nobody", Phase.READY)
    (moved,) = shop.units(DEPLOYMENT)
    assert (moved.phase, moved.message) == (Phase.RUNNING_HOOK, "pre-install hook migrate")
    assert (moved.until, moved.applied, len(moved.objects)) == (None, "m", 1)
