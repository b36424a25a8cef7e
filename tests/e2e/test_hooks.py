"""Hooks under emco and under helm itself: the same chart must do the same things in the same order."""

import subprocess
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from emco.sandbox import processes
from emco.sandbox.clusters import ClusterInfo
from emco.sandbox.controlplane import POD_LOG
from emco.sandbox.toolchain import Tools
from tests.e2e.proxy import Proxy
from tests.e2e.recorder import Recorder
from tests.e2e.system import Kube, Shop, chart, config_map, deployment, pack

CHARTS = Path(__file__).resolve().parents[2] / "charts" / "testing"
WHEN = ("pre", "post")
CANCEL_SECONDS = 8
RESOURCES = ("cfg", "kept", "svc", "sa", "w")
"""The objects of the torture chart that are no hooks."""


def annotated(item: dict[str, Any], events: str, **more: str) -> dict[str, Any]:
    """The object as a hook; `policy`, `weight` and others as Helm spells them after `hook-`."""
    names = {"policy": "delete-policy"}
    annotations = {"helm.sh/hook": events}
    annotations |= {f"helm.sh/hook-{names.get(k, k)}": v for k, v in more.items()}
    metadata = item["metadata"]
    kept = {**metadata.get("annotations", {}), **annotations}
    return {**item, "metadata": {**metadata, "annotations": kept}}


def job(name: str, *, fails: bool = False, seconds: float = 0.1, **spec: Any) -> dict[str, Any]:
    pod = {"sandbox.emco.io/runs-for": f"{seconds}s"}
    if fails:
        pod |= {"sandbox.emco.io/exit-code": "3", "sandbox.emco.io/message": "no such table"}
    containers = [{"name": "main", "image": "example.com/main:1"}]
    template = {
        "metadata": {"annotations": pod},
        "spec": {"restartPolicy": "Never", "containers": containers},
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"backoffLimit": 0, "template": template, **spec},
    }


def pod(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "annotations": {"sandbox.emco.io/completes": "true"}},
        "spec": {
            "restartPolicy": "Never",
            "containers": [{"name": "main", "image": "example.com/main:1"}],
        },
    }


def definition(plural: str, group: str) -> dict[str, Any]:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    kind = plural.capitalize()
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "names": {
                "plural": plural,
                "singular": plural,
                "kind": kind,
                "listKind": f"{kind}List",
            },
            "scope": "Namespaced",
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema},
                }
            ],
        },
    }


def torture(namespace: str, *, version: str = "1") -> bytes:
    """Every event, weight, policy and kind that hooks have."""

    def hooked(name: str, events: str, **more: str) -> dict[str, Any]:
        return annotated(job(name), events, **more)

    before = "pre-install,pre-upgrade,pre-rollback,pre-delete"
    after = "post-install,post-upgrade,post-rollback,post-delete"
    group = f"{namespace}.example.com"
    kept = annotated(config_map("kept"), "")
    kept["metadata"]["annotations"] = {"helm.sh/resource-policy": "keep"}
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "svc"},
        "spec": {"ports": [{"port": 80}], "selector": {"app": "w"}},
    }
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "sa"}}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hush"}}
    sub = {
        "charts/sub/Chart.yaml": "{apiVersion: v2, name: sub, version: 0.1.0}",
        "charts/sub/templates/hook.yaml": as_yaml(hooked("sub-before", before, weight="3")),
        "crds/thing.yaml": as_yaml(definition("things", group)),
    }
    return chart(
        "web",
        config_map("cfg", v=version),
        kept,
        service,
        account,
        deployment("w"),
        hooked("z-first", before, weight="-5"),
        hooked("b-equal", before),
        hooked("a-equal", before, weight="no number"),
        annotated(config_map("m-equal"), before, policy="hook-succeeded"),
        annotated(secret, before, weight="2", policy="before-hook-creation, hook-succeeded"),
        annotated(pod("bare"), before, weight="4", policy="hook-succeeded,hook-failed"),
        hooked("sticky", "pre-install,pre-upgrade", weight="5", policy="hook-failed"),
        hooked("both-ends", f"{before},{after}", weight="6"),
        annotated(definition("hooks", group), "pre-install", weight="7", policy="hook-succeeded"),
        hooked("c-after", after, weight="1", policy="before-hook-creation,hook-succeeded"),
        hooked("e-after", after, weight="2", policy="hook-failed,before-hook-creation"),
        hooked("test-b", "test", policy="hook-succeeded,before-hook-creation"),
        hooked("test-a", "test-success"),
        hooked("never", "no-such-event"),
        **sub,
    )


def as_yaml(item: Mapping[str, Any]) -> str:
    return str(yaml.safe_dump(item))


class Helm:
    """The real helm, on one cluster."""

    def __init__(self, binary: Path, info: ClusterInfo, namespace: str, folder: Path) -> None:
        self._binary, self._info = binary, info
        self._namespace, self._folder = namespace, folder

    def __call__(self, verb: str, archive: bytes | None = None, *more: str) -> bool:
        """Whether it succeeded."""
        command = [str(self._binary), verb, "r1-web"]
        if archive is not None:
            file = self._folder / "web-0.1.0.tgz"
            file.write_bytes(archive)
            command.append(str(file))
        command += ["-n", self._namespace, "--kubeconfig", str(self._info.kubeconfig)]
        if verb != "test":
            command.append("--wait")
        done = subprocess.run(
            [*command, *more, "--timeout", "60s"], check=False, capture_output=True, text=True
        )
        self.said = done.stderr
        return done.returncode == 0


def in_blocks(events: list[str]) -> list[str]:
    """The events with those of ordinary objects, where they come together, in no particular order:
    helm creates and deletes objects of one kind side by side."""
    found: list[str] = []
    block: list[str] = []
    for event in events:
        if event.split()[-1] in RESOURCES:
            block.append(event)
            continue
        found += [*sorted(block), event]
        block = []
    return [*found, *sorted(block)]


class Pair:
    """The same steps by emco and by helm, and what each did."""

    def __init__(self, shop: Shop, helm: Helm, kubes: dict[str, Kube]) -> None:
        self.shop, self.helm = shop, helm
        self._of_helm = Recorder(kubes["c1"], shop.namespace)
        self._of_emco = Recorder(kubes["c2"], shop.namespace)

    def __enter__(self) -> "Pair":
        self._of_helm.__enter__()
        self._of_emco.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._of_helm.__exit__(*error)
        self._of_emco.__exit__(*error)

    def step(
        self,
        verb: str,
        archive: bytes | None = None,
        *more: str,
        well: bool = True,
    ) -> list[str]:
        """One verb in Helm's words; what both did, if that was the same."""
        self._of_helm.forget()
        self._of_emco.forget()
        with ThreadPoolExecutor() as side_by_side:
            by_helm = side_by_side.submit(self.helm, verb, archive, *more)
            self._by_emco(verb, archive, well=well)
            assert by_helm.result() is well, self.helm.said
        processes.until(lambda: self._wanted == self._done, seconds=5)
        assert self._done == self._wanted
        return self._done

    @property
    def _wanted(self) -> list[str]:
        return in_blocks(self._of_helm.events)

    @property
    def _done(self) -> list[str]:
        return in_blocks(self._of_emco.events)

    def _by_emco(self, verb: str, archive: bytes | None, *, well: bool) -> None:
        shop = self.shop
        body = None
        if verb == "install":
            assert archive
            shop.deployment({"web": archive}, {"web": ["c2"]})
        elif archive is not None:
            shop.change("web", archive)
        if verb == "rollback":
            body = {"spec": {"revision": "1"}}
        words = {"install": "instantiate", "upgrade": "update", "uninstall": "terminate"}
        shop.verb(words.get(verb, verb), body)
        shop.settle()
        assert (shop.get("operations")[0]["outcome"] == "done") is well, shop.explain()


@pytest.fixture
def new_pair(
    new_shop: Callable[[], Shop],
    kubeconfigs: dict[str, str],
    clusters: list[ClusterInfo],
    kubes: dict[str, Kube],
    tools: Tools,
    tmp_path: Path,
) -> Callable[[], Pair]:
    """Makes projects on c2, each with a helm on c1 that has the same namespace."""

    def make() -> Pair:
        shop = new_shop()
        namespace(kubes, shop.namespace)
        shop.cloud({"c2": kubeconfigs["c2"]})
        folder = tmp_path / shop.name
        folder.mkdir()
        return Pair(shop, Helm(tools["helm"], clusters[0], shop.namespace, folder), kubes)

    return make


def namespace(kubes: dict[str, Kube], name: str) -> None:
    """Not ours, so that it stays when everything of ours has gone."""
    for kube in kubes.values():
        metadata = {"metadata": {"name": name}}
        kube.post("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", **metadata})


@pytest.mark.timeout(300)
def test_the_whole_life_of_a_release_is_as_with_helm(new_pair: Callable[[], Pair]) -> None:
    with new_pair() as pair:
        name = pair.shop.namespace
        done = pair.step("install", torture(name))
        assert done.index("succeeded Job z-first") < done.index("created Job a-equal")
        assert "created Job never" not in done
        pair.step("upgrade", torture(name, version="2"))
        pair.step("rollback", None, "1")
        assert pair.step("test")[0] == "created Job test-a"
        last = pair.step("uninstall")
        assert "deleted ConfigMap cfg" in last
        assert "deleted ConfigMap kept" not in last


FAILURES = [
    *((verb, f"{when}-{verb}") for verb in ("install", "upgrade", "rollback") for when in WHEN),
    *(("uninstall", f"{when}-delete") for when in WHEN),
    ("test", "test"),
]


def brief(event: str, version: str) -> bytes:
    """Four hooks of one event, of which the third fails."""
    return chart(
        "web",
        config_map("cfg", v=version),
        annotated(job("a-kept"), event),
        annotated(job("b-tidied"), event, policy="hook-succeeded,before-hook-creation"),
        annotated(job("c-broken", fails=True), event, policy="hook-failed,before-hook-creation"),
        annotated(job("d-never"), event),
    )


@pytest.mark.timeout(300)
def test_a_failing_hook_leaves_what_helm_leaves(new_pair: Callable[[], Pair]) -> None:
    def one(verb: str, event: str) -> None:
        with new_pair() as pair:
            if verb != "install":
                pair.step("install", brief(event, "1"))
            if verb == "rollback":
                pair.step("upgrade", brief(event, "2"))
            archive = brief(event, "3") if verb in ("install", "upgrade") else None
            more = ("1",) if verb == "rollback" else ()
            done = pair.step(verb, archive, *more, well=False)
            assert "failed Job c-broken" in done
            assert "deleted Job c-broken" in done
            assert "created Job d-never" not in done
            if verb != "test":
                told = pair.shop.explain()["message"]
                assert "no such table" in told
                assert POD_LOG[-1] in told

    with ThreadPoolExecutor(len(FAILURES)) as side_by_side:
        running = {f"{v} {e}": side_by_side.submit(one, v, e) for v, e in FAILURES}
    assert {case: str(done.exception()) for case, done in running.items() if done.exception()} == {}


# -- shapes of charts that people write -------------------------------------------------------------


def test_a_database_is_migrated_once_before_any_cluster_gets_the_new_version(
    shop: Shop, kubes: dict[str, Kube]
) -> None:
    archive = pack(CHARTS / "migration", "migration")
    shop.deployment({"web": archive}, {"web": ["c1", "c2"]}, web={"image": "one:1"})
    with (
        Recorder(kubes["c1"], shop.namespace) as first,
        Recorder(kubes["c2"], shop.namespace) as other,
    ):
        assert shop.instantiate() == "Instantiated"
        assert shop.update() == "Instantiated"
    assert [e for e in first.events if "Job" in e] == [
        "created Job migrate",
        "succeeded Job migrate",
    ]
    assert other.events == ["created ConfigMap migration"]
    (hook,) = shop.explain()["hooks"]
    assert (hook["cluster"], hook["attempt"]) == (f"{shop.name}+c1", 1)


def test_a_failed_migration_holds_every_cluster_and_is_tried_again_by_a_resume(
    shop: Shop, kubes: dict[str, Kube]
) -> None:
    broken = annotated(job("migrate", fails=True), "pre-install")
    broken["metadata"]["annotations"]["emco.io/hook-scope"] = "deployment"
    archive = chart("web", config_map("a"), broken)
    shop.deployment({"web": archive}, {"web": ["c1", "c2"]})
    assert shop.instantiate() == "InstantiateFailed"
    assert "no such table" in shop.explain()["message"]
    for kube in kubes.values():
        assert "a" not in kube.names("configmaps", shop.namespace)
    shop.verb("resume")
    assert shop.settle() == "InstantiateFailed"
    (hook,) = shop.explain()["hooks"]
    assert (hook["state"], hook["attempt"]) == ("Failed", 2)


def test_without_a_backup_nothing_is_deleted(shop: Shop, kubes: dict[str, Kube]) -> None:
    archive = pack(CHARTS / "backup", "backup")
    failing = {"podAnnotations.sandbox\\.emco\\.io/exit-code": "3"}
    shop.deployment({"data": archive}, {"data": ["c1"]}, data=failing)
    assert shop.instantiate() == "Instantiated"
    assert shop.terminate() == "TerminateFailed"
    assert "backup" in kubes["c1"].names("configmaps", shop.namespace)


def test_a_smoke_test_runs_after_an_install_and_whenever_it_is_asked_for(
    shop: Shop, kubes: dict[str, Kube]
) -> None:
    shop.deployment({"web": pack(CHARTS / "smoke", "smoke")}, {"web": ["c1"]})
    with Recorder(kubes["c1"], shop.namespace) as recorder:
        assert shop.instantiate() == "Instantiated"
        before = shop.get("revisions")
        shop.verb("test")
        assert shop.settle() == "Instantiated"
    ran = [event for event in recorder.events if "Job" in event]
    assert ran == 2 * ["created Job smoke", "succeeded Job smoke", "deleted Job smoke"]
    assert shop.get("revisions") == before


def test_helm_sees_every_release_as_it_is(
    shop: Shop, clusters: list[ClusterInfo], tools: Tools
) -> None:
    def helm(*words: str) -> str:
        where = ["-n", shop.namespace, "--kubeconfig", str(clusters[0].kubeconfig)]
        return subprocess.check_output([str(tools["helm"]), *words, *where], text=True)

    hook = annotated(job("migrate"), "pre-install,pre-upgrade")
    shop.deployment({"web": chart("web", config_map("a", v="1"), hook)}, {"web": ["c1"]})
    assert shop.instantiate() == "Instantiated"
    shop.change("web", chart("web", config_map("a", v="2"), hook))
    assert shop.update() == "Instantiated"
    (listed,) = yaml.safe_load(helm("list", "-o", "yaml"))
    assert (listed["name"], listed["revision"], listed["status"]) == ("r1-web", "2", "deployed")
    assert listed["chart"] == "web-0.1.0"
    history = yaml.safe_load(helm("history", "r1-web", "-o", "yaml"))
    assert [r["status"] for r in history] == ["superseded", "deployed"]
    assert [r["description"] for r in history] == ["Install complete", "Upgrade complete"]
    (shown,) = yaml.safe_load_all(helm("get", "manifest", "r1-web"))
    assert shown["data"] == {"v": "2"}
    assert "kind: Job" in helm("get", "hooks", "r1-web")
    assert "STATUS: deployed" in helm("status", "r1-web")
    shop.change(
        "web",
        chart("web", config_map("a", v="3"), annotated(job("migrate", fails=True), "pre-upgrade")),
    )
    assert shop.update() == "InstantiateFailed"
    (listed,) = yaml.safe_load(helm("list", "-o", "yaml"))
    assert (listed["revision"], listed["status"]) == ("3", "failed")
    assert shop.terminate() == "Terminated"
    assert yaml.safe_load(helm("list", "-o", "yaml")) == []


# -- how long, and who runs it ----------------------------------------------------------------------


def test_a_hook_that_takes_too_long_has_failed(shop: Shop) -> None:
    slow = annotated(job("slow", seconds=60), "pre-install")
    slow["metadata"]["annotations"]["emco.io/hook-timeout"] = "2s"
    shop.deployment({"web": chart("web", config_map("a"), slow)}, {"web": ["c1"]})
    assert shop.instantiate() == "InstantiateFailed"
    assert "did not finish within 2 s" in shop.explain()["message"]


def test_a_stop_ends_the_wait_for_a_hook_and_a_resume_goes_on_with_the_same_run(
    shop: Shop, kubes: dict[str, Kube]
) -> None:
    hook = annotated(job("slow", seconds=12), "pre-install")
    shop.deployment({"web": chart("web", config_map("a"), hook)}, {"web": ["c1"]})
    with Recorder(kubes["c1"], shop.namespace) as recorder:
        shop.verb("instantiate")
        shop.until(lambda: [h["state"] for h in shop.explain()["hooks"]] == ["Running"])
        asked = time.monotonic()
        shop.verb("stop")
        assert shop.settle() == "InstantiateStopped"
        assert time.monotonic() - asked < CANCEL_SECONDS
        shop.verb("resume")
        assert shop.settle() == "Instantiated"
    assert [event for event in recorder.events if "Job" in event] == [
        "created Job slow",
        "succeeded Job slow",
    ]


def test_what_takes_the_place_of_an_operation_removes_the_hook_that_it_ran(
    shop: Shop, kubes: dict[str, Kube]
) -> None:
    hook = annotated(job("slow", seconds=60), "pre-install")
    shop.deployment({"web": chart("web", config_map("a"), hook)}, {"web": ["c1"]})
    with Recorder(kubes["c1"], shop.namespace) as recorder:
        shop.verb("instantiate")
        shop.until(lambda: [h["state"] for h in shop.explain()["hooks"]] == ["Running"])
        assert shop.terminate() == "Terminated"
    assert [event for event in recorder.events if "Job" in event] == [
        "created Job slow",
        "deleted Job slow",
    ]


def test_a_cluster_that_is_away_is_passed_over_by_a_hook_that_runs_once_for_all(
    new_shop: Callable[[], Shop], clusters: list[ClusterInfo], kubes: dict[str, Kube]
) -> None:
    shop = new_shop()
    migrate = annotated(job("migrate"), "pre-install")
    migrate["metadata"]["annotations"]["emco.io/hook-scope"] = "deployment"
    with Proxy(clusters[0].server) as proxy:
        through = clusters[0].kubeconfig.read_text().replace(clusters[0].server, proxy.url)
        shop.cloud({"c1": through, "c2": clusters[1].kubeconfig.read_text()})
        proxy.cut()
        shop.deployment({"web": chart("web", config_map("a"), migrate)}, {"web": ["c1", "c2"]})
        with Recorder(kubes["c1"], shop.namespace) as first:
            shop.verb("instantiate")
            shop.until(lambda: "waits for the pre-install hook" in str(shop.explain()["units"]))
            shop.until(
                lambda: (
                    kubes["c2"].get(f"/api/v1/namespaces/{shop.namespace}/configmaps/a") is not None
                )
            )
            proxy.mend()
            assert shop.settle() == "Instantiated"
        assert not [event for event in first.events if "Job" in event]
        (hook,) = shop.explain()["hooks"]
        assert (hook["cluster"], hook["attempt"]) == (f"{shop.name}+c2", 1)
        assert shop.terminate() == "Terminated"
