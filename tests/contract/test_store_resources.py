"""Resources: what is written is read, what is refused is refused by name, on both databases."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from emco.domain.errors import (
    AlreadyExists,
    DanglingReference,
    InUse,
    Invalid,
    NotFound,
    ParentNotFound,
    PreconditionFailed,
)
from emco.domain.kinds.apps import App, AppDependency, CompositeApp
from emco.domain.kinds.tenancy import ClusterQuota, LogicalCloud, Project
from emco.store.crypto import Keyring
from emco.store.store import Store
from tests.contract.conftest import (
    APP_ROOT,
    CLOUD,
    CLUSTER,
    DEPLOYMENT,
    PROFILE,
    PROJECT,
    add_app,
    app,
    at,
    dependency,
    named,
    spec_of_deployment,
)


def waits_for(name: str) -> AppDependency:
    return AppDependency.model_validate({"app": name, "opStatus": "Ready"})


CHILDREN = "Cannot delete parent without deleting child references first"
REFERENCED = "Cannot delete without deleting or updating referencing resources first"


def test_what_is_created_is_read_back(shop: Store) -> None:
    stored = shop.get(DEPLOYMENT)
    assert stored.spec == spec_of_deployment()
    assert (stored.generation, stored.file) == (1, None)
    assert stored.created.utcoffset() is not None
    assert shop.find(app("missing")) is None


def test_a_missing_resource_is_named_in_emcos_words(shop: Store) -> None:
    with pytest.raises(NotFound, match="there is no projects/p/composite-apps/ca/v1/apps/x") as e:
        shop.get(app("x"))
    assert e.value.title == "App not found"


def test_a_second_creation_is_refused(shop: Store) -> None:
    with pytest.raises(AlreadyExists) as e:
        shop.create(PROJECT, named("p"), Project())
    assert e.value.title == "Project already exists"


def test_a_missing_parent_is_refused_and_leaves_no_trace(shop: Store) -> None:
    orphan = at(App, "p", "ca", "v2", "a")
    with pytest.raises(ParentNotFound, match="composite-apps/ca/v2 does not exist"):
        shop.create(orphan, named("a"), App(), file=b"x")
    assert shop.find(orphan) is None
    with pytest.raises(NotFound):
        shop.blob(hashlib.sha256(b"x").hexdigest())


def test_a_dangling_reference_names_field_and_target(shop: Store) -> None:
    wait = AppDependency.model_validate({"app": "ghost", "opStatus": "Ready"})
    with pytest.raises(DanglingReference, match=r"spec\.app .* refers to .*apps/ghost"):
        shop.create(dependency("a", "d1"), named("d1"), wait)


def test_replace_counts_generations_and_obeys_if_match(shop: Store) -> None:
    changed = LogicalCloud(level="0", namespace="n")
    stored, created = shop.replace(CLOUD, named("lc"), changed, if_match=1)
    assert (stored.generation, created, stored.spec) == (2, False, changed)
    with pytest.raises(PreconditionFailed, match="generation is 2"):
        shop.replace(CLOUD, named("lc"), changed, if_match=1)
    with pytest.raises(PreconditionFailed):
        shop.delete(CLOUD, if_match=1)


def test_replacing_what_is_not_there_creates_it(shop: Store) -> None:
    stored, created = shop.replace(app("new"), named("new"), App(), file=b"chart")
    assert created
    assert shop.file(stored.address) == b"chart"


def test_replacing_without_a_file_keeps_the_old_one(shop: Store) -> None:
    shop.replace(app("a"), named("a"), App())
    assert shop.file(app("a")) == b"a"


def test_replacing_moves_the_references(shop: Store) -> None:
    add_app(shop, "c")
    shop.create(dependency("a", "d1"), named("d1"), waits_for("b"))
    shop.replace(dependency("a", "d1"), named("d1"), waits_for("c"))
    shop.delete(app("b"))
    with pytest.raises(InUse):
        shop.delete(app("c"))


def test_a_parent_with_children_stays_and_they_are_named(shop: Store) -> None:
    with pytest.raises(InUse, match=r"apps/a, .*apps/b") as e:
        shop.delete(APP_ROOT)
    assert e.value.title == CHILDREN


def test_what_is_referred_to_stays_and_who_refers_is_named(shop: Store) -> None:
    with pytest.raises(InUse, match=r"deployment-intent-groups/d \(spec\.compositeProfile\)") as e:
        shop.delete(PROFILE)
    assert e.value.title == REFERENCED
    with pytest.raises(InUse, match=r"cluster-references/r \(spec\.cluster\)"):
        shop.delete(CLUSTER)


def test_a_dry_run_refuses_alike_and_deletes_nothing(shop: Store) -> None:
    with pytest.raises(InUse):
        shop.delete(PROFILE, dry_run=True)
    shop.delete(app("a"), dry_run=True)
    assert shop.find(app("a"))


def test_a_deleted_resource_is_gone_with_its_own_references(shop: Store) -> None:
    shop.delete(DEPLOYMENT)
    assert shop.find(DEPLOYMENT) is None
    shop.delete(PROFILE)


def test_references_look_both_ways(shop: Store) -> None:
    found = shop.references(DEPLOYMENT)
    assert found.outgoing == [("spec.compositeProfile", PROFILE), ("spec.logicalCloud", CLOUD)]
    assert shop.references(CLOUD).incoming == [("spec.logicalCloud", DEPLOYMENT)]
    assert APP_ROOT in shop.references(PROJECT).children


def test_lists_are_ordered_and_paged(shop: Store) -> None:
    for name in ("z", "Z", "m_1", "m-1"):
        add_app(shop, name)
    every = [s.address.name for s in shop.list(App, APP_ROOT).items]
    assert every == sorted(every)
    seen, cursor = [], None
    while True:
        page = shop.list(App, APP_ROOT, limit=2, cursor=cursor)
        assert len(page.items) <= 2
        seen += [s.address.name for s in page.items]
        if (cursor := page.cursor) is None:
            break
    assert seen == every


def test_a_cursor_that_is_none_is_refused(shop: Store) -> None:
    with pytest.raises(Invalid, match="cursor"):
        shop.list(App, APP_ROOT, cursor="\N{SNOWMAN}")


def test_a_list_below_what_is_missing_is_not_empty_but_refused(shop: Store) -> None:
    with pytest.raises(NotFound):
        shop.list(App, at(CompositeApp, "p", "nope", "v1"))


@pytest.mark.parametrize(("name", "decoy"), [("a_b", "axb"), ("a.b", "a-b"), ("ab", "ab0")])
def test_names_are_never_patterns(shop: Store, name: str, decoy: str) -> None:
    for project in (name, decoy):
        shop.create(at(Project, project), named(project), Project())
        root = at(CompositeApp, project, "x", "1")
        shop.create(root, named("x"), CompositeApp(composite_app_version="1"))
    found = shop.list(CompositeApp, at(Project, name)).items
    assert [s.address.path for s in found] == [f"projects/{name}/composite-apps/x/1"]


def test_two_versions_of_a_composite_app_live_side_by_side(shop: Store) -> None:
    shop.create(
        at(CompositeApp, "p", "ca", "v2"), named("ca"), CompositeApp(composite_app_version="v2")
    )
    assert len(shop.list(CompositeApp, PROJECT).items) == 2


def test_a_kinds_own_check_runs_in_the_write(shop: Store) -> None:
    quota = ClusterQuota.model_validate({"limits.cpu": "4"})
    with pytest.raises(Invalid, match="admin cloud"):
        shop.create(at(ClusterQuota, "p", "lc", "q"), named("q"), quota)


def test_a_cycle_is_spelled_out_also_on_replace(shop: Store) -> None:
    shop.create(dependency("a", "d"), named("d"), waits_for("b"))
    with pytest.raises(Invalid, match="b -> a -> b"):
        shop.create(dependency("b", "d"), named("d"), waits_for("a"))
    add_app(shop, "c")
    shop.create(dependency("b", "d"), named("d"), waits_for("c"))
    with pytest.raises(Invalid, match="b -> b"):
        shop.replace(dependency("b", "d"), named("d"), waits_for("b"))


def test_a_snapshot_does_not_see_later_writes(shop: Store) -> None:
    with shop.snapshot() as view:
        assert view.get(CLOUD).generation == 1
        shop.replace(CLOUD, named("lc"), LogicalCloud(level="0", namespace="later"))
        assert view.get(CLOUD).generation == 1
    assert shop.get(CLOUD).generation == 2


def test_files_are_sealed_at_rest_and_keys_rotate(
    shop: Store, open_store: Callable[..., Store]
) -> None:
    new = bytes(range(1, 33))
    assert open_store(new, bytes(range(32))).rotate() == 3
    rotated = open_store(new)
    assert rotated.file(CLUSTER) == b"kubeconfig"
    assert rotated.rotate() == 0
    with pytest.raises(Invalid, match="EMCO_SECRET_KEYS"):
        shop.file(CLUSTER)


def test_the_same_content_is_kept_once(shop: Store) -> None:
    assert shop.put_blob(b"same") == shop.put_blob(b"same")


def test_no_secret_is_in_the_database_or_in_what_is_shown(tmp_path: Path) -> None:
    planted = b"planted-client-key-data"
    keys = Keyring([bytes(range(32))])
    store = Store.open(f"sqlite:///{tmp_path / 'x.db'}", keys=keys)
    digest = store.put_blob(planted)
    store.close()
    for file in tmp_path.glob("x.db*"):
        assert planted not in file.read_bytes()
    assert "planted" not in repr(store) + repr(keys) + digest
