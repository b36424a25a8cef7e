"""`emco apply` makes what is in files so, says what that took, and changes nothing the second time."""

from pathlib import Path

import httpx
import pytest

from emco.domain.bundle import unpack
from emco.domain.resource import Address
from tests.unit.cli.conftest import BOUTIQUE, KUBECONFIG, ROOT, Emco, Served

PROJECT = "resourceContext: {anchor: projects}\nmetadata: {name: p}\n"
CLOUD = """\
resourceContext: {anchor: projects/p/logical-clouds}
metadata: {name: c}
spec: {level: "0", namespace: ns}
"""
HELLO = ROOT / "charts" / "testing" / "hello"
APP = f"""\
resourceContext: {{anchor: projects/p/composite-apps}}
metadata: {{name: ca}}
spec: {{compositeAppVersion: v1}}
---
resourceContext: {{anchor: projects/p/composite-apps/ca/v1/apps}}
metadata: {{name: web}}
file: {HELLO}
"""


@pytest.fixture
def written(tmp_path: Path) -> Path:
    return tmp_path / "written.yaml"


def test_online_boutique_is_created_and_then_unchanged(
    served: Served, emco: Emco, kubeconfigs: None
) -> None:
    first = emco("apply", "-f", BOUTIQUE)
    assert first.exit_code == 0
    assert first.stdout.splitlines()[-1] == "55 created"
    assert "created    projects/shop  " in first.stdout
    assert emco("apply", "-f", BOUTIQUE).stdout.splitlines()[-1] == "55 unchanged"


def test_each_line_says_where_the_document_is(served: Served, emco: Emco, written: Path) -> None:
    written.write_text(f"---\n{PROJECT}---\n{CLOUD}")
    assert emco("apply", "-f", written).stdout.splitlines() == [
        f"created    projects/p  {written}:2",
        f"created    projects/p/logical-clouds/c  {written}:5",
        "2 created",
    ]


def test_documents_are_applied_in_an_order_that_works(
    served: Served, emco: Emco, tmp_path: Path
) -> None:
    (tmp_path / "a.yaml").write_text(CLOUD)
    (tmp_path / "b.yaml").write_text(PROJECT)
    assert emco("apply", "-f", tmp_path).stdout.splitlines()[-1] == "2 created"


def test_standard_input_is_a_file_too(served: Served, emco: Emco) -> None:
    assert "created    projects/p  stdin:1" in emco("apply", "-f", "-", stdin=PROJECT).stdout


def test_what_differs_is_updated_and_the_rest_is_not(
    served: Served, emco: Emco, written: Path
) -> None:
    written.write_text(f"{PROJECT}---\n{CLOUD}")
    emco("apply", "-f", written)
    written.write_text(f"{PROJECT}---\n{CLOUD.replace('ns', 'other')}")
    result = emco("apply", "-f", written)
    assert result.stdout.splitlines()[-1] == "1 updated, 1 unchanged"
    stored = httpx.get(f"{served.url}/v2/projects/p/logical-clouds/c").json()
    assert stored["spec"]["namespace"] == "other"


def test_a_chart_that_changed_is_updated(
    served: Served, emco: Emco, written: Path, tmp_path: Path
) -> None:
    chart = tmp_path / "chart"
    chart.mkdir()
    (chart / "Chart.yaml").write_text("apiVersion: v2\nname: x\nversion: 0.1.0\n")
    written.write_text(f"{PROJECT}---\n{APP.replace(str(HELLO), 'chart')}")
    assert emco("apply", "-f", written).stdout.splitlines()[-1] == "3 created"
    assert emco("apply", "-f", written).stdout.splitlines()[-1] == "3 unchanged"
    (chart / "values.yaml").write_text("a: 1\n")
    assert emco("apply", "-f", written).stdout.splitlines()[-1] == "1 updated, 2 unchanged"


def test_what_cannot_be_replaced_says_what_to_do(
    served: Served, emco: Emco, tmp_path: Path
) -> None:
    (tmp_path / "k.yaml").write_text(KUBECONFIG)
    cluster = (
        "resourceContext: {anchor: cluster-providers}\nmetadata: {name: edge}\n---\n"
        "resourceContext: {anchor: cluster-providers/edge/clusters}\n"
        "metadata: {name: c1, description: D}\nfile: k.yaml\n"
    )
    written = tmp_path / "d" / "cluster.yaml"
    written.parent.mkdir()
    written.write_text(cluster.replace("k.yaml", "../k.yaml"))
    assert emco("apply", "-f", written).exit_code == 0
    assert "was not compared" in emco("apply", "-f", written).stdout
    written.write_text(written.read_text().replace("D}", "E}"))
    result = emco("apply", "-f", written)
    assert result.exit_code == 4
    assert "emco delete cluster-providers/edge/clusters/c1" in result.stderr


def test_an_unknown_field_is_an_error_with_its_place(
    served: Served, emco: Emco, written: Path
) -> None:
    written.write_text(PROJECT.replace("name: p", "name: p, nmae: q"))
    result = emco("apply", "-f", written)
    assert result.exit_code == 1
    assert f"error      projects/p  {written}:1" in result.stderr
    assert "metadata.nmae: is not a field of Project" in result.stderr
    assert result.stderr.splitlines()[-1] == "error: 1 error"


def test_what_needs_a_failed_document_is_skipped_and_the_rest_goes_on(
    served: Served, emco: Emco, written: Path
) -> None:
    other = "resourceContext: {anchor: cluster-providers}\nmetadata: {name: edge}\n"
    written.write_text(f"{PROJECT.replace('{name: p}', '{name: p, x: 1}')}---\n{CLOUD}---\n{other}")
    result = emco("apply", "-f", written)
    assert result.exit_code == 1
    assert "skipped    projects/p/logical-clouds/c" in result.stdout
    assert "(needs projects/p)" in result.stdout
    assert "created    cluster-providers/edge" in result.stdout


def test_dry_run_tells_and_writes_nothing(served: Served, emco: Emco, written: Path) -> None:
    written.write_text(PROJECT)
    assert emco("apply", "-f", written, "--dry-run").stdout.splitlines()[-1] == "would be 1 created"
    assert httpx.get(f"{served.url}/v2/projects").json() == []
    emco("apply", "-f", written)
    written.write_text(PROJECT.replace("p}", "p, description: d}"))
    assert emco("apply", "-f", written, "--dry-run").stdout.splitlines()[-1] == "would be 1 updated"
    assert httpx.get(f"{served.url}/v2/projects/p").json()["metadata"]["description"] == ""


def test_verbs_are_carried_out_and_asked_again_change_nothing(
    served: Served, emco: Emco, kubeconfigs: None, tmp_path: Path
) -> None:
    cloud = "projects/shop/logical-clouds/edge-cloud"
    deployment = "projects/shop/composite-apps/online-boutique/v1/deployment-intent-groups/boutique"
    verbs = tmp_path / "verbs.yaml"
    verbs.write_text(
        "---\n".join(
            f"resourceContext: {{anchor: {anchor}}}\n"
            for anchor in (
                f"{deployment}/approve",
                f"{deployment}/instantiate",
                f"{cloud}/instantiate",
            )
        )
    )
    first = emco("apply", "-f", verbs, "-f", BOUTIQUE)
    assert first.exit_code == 0, first.stderr
    assert first.stdout.splitlines()[-1] == "55 created, 3 accepted"
    served.settle()
    again = emco("apply", "-f", verbs, "-f", BOUTIQUE)
    assert again.stdout.splitlines()[-1] == "58 unchanged"


def test_a_verb_that_is_refused_is_an_error(served: Served, emco: Emco, written: Path) -> None:
    written.write_text(
        f"{PROJECT}---\n{CLOUD}---\n"
        "resourceContext: {anchor: projects/p/logical-clouds/c/instantiate}\n"
    )
    result = emco("apply", "-f", written)
    assert result.exit_code == 1
    assert "No Cluster References associated" in result.stderr


def test_nothing_to_apply_is_wrong_usage(emco: Emco) -> None:
    result = emco("apply")
    assert result.exit_code == 2
    assert "emco apply -f FILE" in result.stderr


GENERIC = """\
resourceContext: {anchor: cluster-providers}
metadata: {name: edge}
---
resourceContext: {anchor: projects/p/composite-apps/ca/v1/composite-profiles}
metadata: {name: plain}
---
resourceContext: {anchor: projects/p/composite-apps/ca/v1/deployment-intent-groups}
metadata: {name: d}
spec: {compositeProfile: plain, version: r, logicalCloud: c, overrideValues: []}
---
resourceContext: {anchor: projects/p/composite-apps/ca/v1/deployment-intent-groups/d/generic-k8s-intents}
metadata: {name: i}
---
resourceContext:
  anchor: projects/p/composite-apps/ca/v1/deployment-intent-groups/d/generic-k8s-intents/i/resources
metadata: {name: policy}
spec:
  app: web
  newObject: "true"
  resourceGVK: {apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, name: deny}
file: policy.yaml
---
resourceContext:
  anchor: projects/p/composite-apps/ca/v1/deployment-intent-groups/d/generic-k8s-intents/i/resources/policy/customizations
metadata: {name: everywhere}
spec: {clusterSpecific: "false", patchType: merge}
files: [one.yaml, more/two.yaml]
"""


def test_several_files_are_sent_and_sent_again(
    served: Served, emco: Emco, written: Path, tmp_path: Path
) -> None:
    (tmp_path / "policy.yaml").write_text(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: deny}\n"
    )
    (tmp_path / "more").mkdir()
    (tmp_path / "one.yaml").write_text("spec: {podSelector: {}}\n")
    (tmp_path / "more" / "two.yaml").write_text("metadata: {labels: {a: b}}\n")
    written.write_text(f"{PROJECT}---\n{CLOUD}---\n{APP}---\n{GENERIC}")
    first = emco("apply", "-f", written)
    assert first.stdout.splitlines()[-1] == "10 created", first.stderr
    customization = Address(
        "Customization",
        "projects/p/composite-apps/ca/v1/deployment-intent-groups/d/generic-k8s-intents/i"
        "/resources/policy/customizations/everywhere",
    )
    assert unpack(served.store.file(customization) or b"") == {
        "one.yaml": b"spec: {podSelector: {}}\n",
        "two.yaml": b"metadata: {labels: {a: b}}\n",
    }
    (tmp_path / "one.yaml").write_text("spec: {}\n")
    again = emco("apply", "-f", written)
    assert again.stdout.splitlines()[-1] == "2 updated, 8 unchanged"
    assert "cannot be read back and are sent again" in again.stdout
    assert unpack(served.store.file(customization) or b"")["one.yaml"] == b"spec: {}\n"


SUBSCRIPTION = """\
resourceContext: {anchor: projects/p/status-subscriptions}
metadata: {name: pager}
spec: {sink: {type: webhook, url: "https://example.com/", signingSecrets: ["SECRET"]}}
"""


def test_secrets_are_sent_again_since_nobody_can_say_whether_they_changed(
    served: Served, emco: Emco, written: Path
) -> None:
    subscription = Address("StatusSubscription", "projects/p/status-subscriptions/pager")
    written.write_text(f"{PROJECT}---\n{SUBSCRIPTION.replace('SECRET', 'whsec_' + 'b2xk' * 8)}")
    assert emco("apply", "-f", written).stdout.splitlines()[-1] == "2 created"
    old = served.store.file(subscription)
    written.write_text(f"{PROJECT}---\n{SUBSCRIPTION.replace('SECRET', 'whsec_' + 'bmV3' * 8)}")
    again = emco("apply", "-f", written)
    assert again.stdout.splitlines()[-1] == "1 updated, 1 unchanged"
    assert "its secrets cannot be read back and are sent again" in again.stdout
    new = served.store.file(subscription)
    assert old is not None
    assert new == old.replace(b"b2xk", b"bmV3")


def test_masks_leave_a_subscription_unchanged(served: Served, emco: Emco, written: Path) -> None:
    written.write_text(f"{PROJECT}---\n{SUBSCRIPTION.replace('SECRET', 'whsec_' + 'b2xk' * 8)}")
    emco("apply", "-f", written)
    written.write_text(f"{PROJECT}---\n{SUBSCRIPTION.replace('SECRET', '*' * 10)}")
    assert emco("apply", "-f", written).stdout.splitlines()[-1] == "2 unchanged"
