"""`emco delete` takes away what refers before what is referred to, and never half of what is up."""

from pathlib import Path

from tests.unit.cli.conftest import BOUTIQUE, Emco, Served

DEPLOYMENT = "shop/online-boutique/v1/boutique"
VERBS = """\
resourceContext:
  anchor: projects/shop/logical-clouds/edge-cloud/instantiate
---
resourceContext:
  anchor: projects/shop/composite-apps/online-boutique/v1/deployment-intent-groups/boutique/approve
---
resourceContext:
  anchor: projects/shop/composite-apps/online-boutique/v1/deployment-intent-groups/boutique/instantiate
"""


def test_files_are_deleted_backwards_and_again_are_absent(boutique: Served, emco: Emco) -> None:
    emco("terminate", "--cloud", "shop/edge-cloud")
    assert emco("delete", "-f", BOUTIQUE).stdout.splitlines()[-1] == "55 deleted"
    assert emco("delete", "-f", BOUTIQUE).stdout.splitlines()[-1] == "55 absent"


def test_nothing_is_deleted_while_something_is_up(boutique: Served, emco: Emco) -> None:
    result = emco("delete", "-f", BOUTIQUE)
    assert result.exit_code == 4
    assert "emco terminate --cloud shop/edge-cloud --wait" in result.stderr
    assert emco("apply", "-f", BOUTIQUE).stdout.splitlines()[-1] == "55 unchanged"


def test_what_the_files_instantiate_is_terminated_first(
    boutique: Served, emco: Emco, tmp_path: Path
) -> None:
    verbs = tmp_path / "verbs.yaml"
    verbs.write_text(VERBS)
    assert emco("apply", "-f", verbs).exit_code == 0
    boutique.settle()
    result = emco("delete", "-f", BOUTIQUE, "-f", verbs)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "2 accepted, 55 deleted"


def test_one_resource_is_deleted_by_kind_or_by_anchor(boutique: Served, emco: Emco) -> None:
    placement = "projects/shop/composite-apps/online-boutique/v1/deployment-intent-groups/boutique"
    assert emco("delete", f"{placement}/intents/intents").exit_code == 0
    assert emco("delete", "deployment", DEPLOYMENT).exit_code == 4
    assert emco("delete", "group-intent", f"{DEPLOYMENT}/intents").exit_code == 3


def test_what_is_referred_to_stays_and_the_answer_says_by_whom(
    boutique: Served, emco: Emco
) -> None:
    result = emco("delete", "app", "shop/online-boutique/v1/redis-cart", "--dry-run")
    assert result.exit_code == 4
    assert "/generic-placement-intents/placement/app-intents/redis-cart" in result.stderr


def test_dry_run_deletes_nothing(boutique: Served, emco: Emco) -> None:
    intent = f"{DEPLOYMENT}/intents"
    assert "could be deleted" in emco("delete", "group-intent", intent, "--dry-run").stdout
    assert emco("get", "group-intent", intent).exit_code == 0


def test_a_kind_alone_is_not_enough(emco: Emco) -> None:
    result = emco("delete", "projects")
    assert result.exit_code == 2
    assert "emco delete project PROJECT" in result.stderr
    assert emco("delete").exit_code == 2
