"""Whatever is wrong with a request: a 4xx that names the place, and nothing stored."""

import itertools
import json
from typing import Any

import pytest
from httpx import Client

from tests.api.builders import CHART, KUBECONFIG, PROFILE, named, tgz
from tests.api.world import APP, BY_KIND, CLOUD, CLUSTER, DEPLOYMENT, PROVIDER

PROJECTS = "/v2/projects"
DEPLOYMENTS = f"{APP}/deployment-intent-groups"
PLACEMENTS = f"{DEPLOYMENT}/generic-placement-intents/placement/app-intents"
GOOD_DEPLOYMENT = BY_KIND["Deployment"].body["spec"]


def deployment(**changes: Any) -> dict[str, Any]:
    spec = {**GOOD_DEPLOYMENT, **changes}
    return named("new", **{k: v for k, v in spec.items() if v is not ...})


def placement(intent: Any, app: str = "web") -> dict[str, Any]:
    return named("new", app=app, intent=intent)


JSON_CASES: list[tuple[str, Any, int, str]] = [
    (PROJECTS, named(""), 400, "metadata.name"),
    (PROJECTS, named("-a"), 400, "metadata.name"),
    (PROJECTS, named("a/b"), 400, "metadata.name"),
    (PROJECTS, named("a\n"), 400, "metadata.name"),
    (PROJECTS, named("a" * 129), 400, "metadata.name"),
    (PROJECTS, {"metadata": {"name": "a", "description": "d" * 1025}}, 400, "description"),
    (PROJECTS, {"metadata": {"name": "a", "userData1": "d" * 513}}, 400, "userData1"),
    (PROJECTS, {}, 400, "metadata: is required"),
    (PROJECTS, {"metadata": {}}, 400, "metadata.name: is required"),
    (PROJECTS, {"metadata": {"name": 5}}, 422, "metadata.name"),
    (PROJECTS, {"metadata": "a"}, 422, "metadata"),
    (PROJECTS, [], 422, "body"),
    (PROJECTS, "text", 422, "body"),
    (f"{PROJECTS}/shop/composite-apps", named("a"), 400, "spec: is required"),
    (f"{PROJECTS}/shop/composite-apps", named("a", compositeAppVersion=2), 422, "put quotes"),
    (f"{PROJECTS}/shop/composite-apps", named("a", compositeAppVersion="v/1"), 400, "Version"),
    (f"{PROJECTS}/shop/logical-clouds", named("a", namespace="A_B"), 400, "spec.namespace"),
    (f"{PROJECTS}/shop/logical-clouds", named("a", level="7"), 400, "spec.level"),
    (f"{CLOUD}/cluster-references", named("a", clusterProvider="edge"), 400, "spec.cluster"),
    (
        f"{CLOUD}/cluster-references",
        named("a", clusterProvider="edge", cluster="gone"),
        409,
        "cluster-providers/edge/clusters/gone",
    ),
    (f"{CLOUD}/user-permissions", named("a", namespace=""), 400, "spec.apiGroups"),
    (f"{CLOUD}/cluster-quotas", named("a", pods="3"), 400, "level 1"),
    (f"{PROJECTS}/shop/logical-clouds/standard/cluster-quotas", named("a", pods=3), 422, "pods"),
    (f"{CLUSTER}/labels", {}, 400, "clusterLabel: is required"),
    (f"{CLUSTER}/labels", {"clusterLabel": "a b"}, 400, "clusterLabel"),
    (f"{CLUSTER}/kv-pairs", named("a", kv="x"), 422, "spec.kv"),
    (f"{CLUSTER}/kv-pairs", named("a", kv=["x"]), 422, "spec.kv[0]"),
    ("/v2/controllers", named("a", port=70000), 400, "spec.port"),
    ("/v2/controllers", named("a", priority=101), 400, "spec.priority"),
    (DEPLOYMENTS, deployment(overrideValues=...), 400, "spec.overrideValues: is required"),
    (DEPLOYMENTS, deployment(overrideValues=None), 400, "spec.overrideValues: is required"),
    (
        DEPLOYMENTS,
        deployment(overrideValues=[{"app": "gone", "values": {}}]),
        409,
        "spec.overrideValues[0].app",
    ),
    (
        DEPLOYMENTS,
        deployment(overrideValues=[{"app": "web", "values": {"a": 1}}]),
        422,
        "spec.overrideValues[0].values.a",
    ),
    (DEPLOYMENTS, deployment(compositeProfile="gone"), 409, "composite-profiles/gone"),
    (DEPLOYMENTS, deployment(logicalCloud="gone"), 409, "logical-clouds/gone"),
    (f"{DEPLOYMENT}/intents", named("a", intent={"nobody": "x"}), 409, "controllers/nobody"),
    (f"{DEPLOYMENT}/intents", named("a", intent={"gac": "b c"}), 400, "spec.intent.gac"),
    (PLACEMENTS, placement({"allOf": [{"cluster": "c1"}]}), 400, "allOf[0].clusterProvider"),
    (
        PLACEMENTS,
        placement({"allOf": [{"clusterProvider": "edge"}]}),
        400,
        "spec.intent.allOf[0]: Missing cluster or clusterLabel",
    ),
    (
        PLACEMENTS,
        placement(
            {"allOf": [{"clusterProvider": "edge", "cluster": "c1", "clusterLabel": "east"}]}
        ),
        400,
        "Only one of cluster name or cluster label allowed",
    ),
    (
        PLACEMENTS,
        placement({"allOf": [{"anyOf": [{"clusterProvider": "edge"}]}]}),
        400,
        "spec.intent.allOf[0].anyOf[0]: Missing cluster or clusterLabel",
    ),
    (
        PLACEMENTS,
        placement({"anyOf": [{"clusterProvider": "edge", "cluster": "gone"}]}),
        409,
        "spec.intent.anyOf[0].cluster",
    ),
    (PLACEMENTS, placement({}, app="gone"), 409, "apps/gone"),
    (PLACEMENTS, named("new", app="web"), 400, "spec.intent: is required"),
    (f"{APP}/apps/web/dependency", named("a", app="db", opStatus="Maybe"), 400, "opStatus"),
    (f"{APP}/apps/web/dependency", named("a", app="db", opStatus="Ready", wait=-1), 400, "wait"),
    *(
        (f"{APP}/apps/db/dependency", named("a", app="web", opStatus=status, **spec), 400, place)
        for status, spec, place in (
            ("Ready", {"wait": 1.5}, "spec.wait: 1.5 is no whole number of seconds"),
            ("Ready", {"wait": 10**30}, "spec.wait"),
            ("Ready", {"scope": "some"}, "spec.scope"),
            ("Ready", {"timeout": -1}, "spec.timeout"),
            ("Ready", {"timeout": 10**9}, "spec.timeout"),
            ("Ready", {"timeout": 1, "onTimeout": "wait"}, "spec.onTimeout"),
            ("Ready", {"onTimeout": "proceed"}, "onTimeout proceed needs a timeout"),
            ("Ready", {"stableFor": -1}, "spec.stableFor"),
            ("Deployed", {"stableFor": 5}, "stableFor needs opStatus Ready"),
        )
    ),
    (f"{APP}/apps/web/dependency", named("a", app="gone", opStatus="Ready"), 409, "apps/gone"),
    (f"{APP}/apps/web/dependency", named("a", app="web", opStatus="Ready"), 400, "web -> web"),
    (f"{APP}/apps/db/dependency", named("a", app="web", opStatus="Ready"), 400, "db -> web -> db"),
    (f"{PROVIDER}/clusters", named("a"), 422, "multipart/form-data"),
    (f"{APP}/apps", named("a"), 422, "multipart/form-data"),
]


def everything(client: Client) -> list[str]:
    """Every stored path, found by walking the lists."""
    found = []
    for item in BY_KIND.values():
        listed = client.get(item.collection)
        found.append(f"{item.collection} {listed.text}")
    return found


@pytest.mark.parametrize(("url", "body", "code", "place"), JSON_CASES)
def test_a_bad_body_is_refused_by_place_and_nothing_is_stored(
    shop: Client, url: str, body: Any, code: int, place: str
) -> None:
    before = everything(shop)
    answer = shop.post(url, json=body)
    problem = answer.json()
    assert answer.status_code == code, problem
    assert answer.headers["content-type"] == "application/problem+json"
    assert place in f"{problem['title']}\n{problem['detail']}"
    assert everything(shop) == before


def test_every_violation_is_told_at_once(shop: Client) -> None:
    answer = shop.post(DEPLOYMENTS, json={"metadata": {"name": "-"}, "spec": {"version": ""}})
    assert answer.json()["title"] == "Invalid Input:"
    assert len(answer.json()["detail"].splitlines()) == 5


@pytest.mark.parametrize(
    ("content", "code", "told"),
    [
        (b"", 400, "Empty body"),
        (b"  \n", 400, "Empty body"),
        (b"{", 422, "line 1 column 2"),
        (b"nonsense", 422, "Malformed JSON"),
        (b'{"a": NaN}', 422, "NaN is not JSON"),
        (b'{"metadata": {"name": "a"}, "x": 1e999}', 422, "out of range"),
        (b'{"metadata": {"name": "a", "description": "\xff"}}', 422, "not UTF-8"),
        (b'{"metadata": {"name": "a", "description": "\\u0000"}}', 422, "NUL"),
        (b'{"metadata": {"name": "a", "description": "\\ud800"}}', 422, "surrogate"),
        (b'{"x": ' + b"[" * 100 + b"]" * 100 + b"}", 422, "nested deeper than 64"),
        (b"[" * 30_000, 422, "nested deeper than 64"),
        (b'{"x": ' + b"9" * 5000 + b"}", 422, "Malformed JSON"),
        (b"x" * (64 * 1024 + 1), 413, "65,536 bytes"),
    ],
)
def test_unreadable_json_is_refused(client: Client, content: bytes, code: int, told: str) -> None:
    answer = client.post(PROJECTS, content=content)
    assert answer.status_code == code
    assert told in f"{answer.json()['title']} {answer.json()['detail']}"
    assert client.get(PROJECTS).json() == []


def test_depth_is_counted_outside_strings_only(client: Client) -> None:
    text = "[" * 100 + '\\"{'
    assert client.post(PROJECTS, json={"metadata": {"name": "a", "description": text}}).is_success


@pytest.mark.parametrize("constant", ["kv"])
def test_odd_but_sound_values_survive(shop: Client, constant: str) -> None:
    value = {"float": 1.5, "big": 2**70, "null": None, "deep": {"a": [1, "ü", "\U0001f600"]}}
    assert shop.post(f"{CLUSTER}/kv-pairs", json=named("odd", kv=[{constant: value}])).is_success
    assert shop.get(f"{CLUSTER}/kv-pairs/odd?key={constant}").json() == {"value": value}


FORM_CASES: list[tuple[str, dict[str, Any], bytes | None, int, str]] = [
    (f"{PROVIDER}/clusters", named("new"), b"garbage", 400, "Invalid kubeconfig"),
    (
        f"{PROVIDER}/clusters",
        named("new"),
        KUBECONFIG.replace(b"token: very-secret-token", b"exec: {command: sh}"),
        400,
        "users[u].user.exec",
    ),
    (f"{PROVIDER}/clusters", named("new"), None, 422, "Unable to process file"),
    (f"{PROVIDER}/clusters", named("-"), KUBECONFIG, 400, "metadata.name"),
    (f"{APP}/apps", named("new"), b"garbage", 422, "Error in file format"),
    (f"{APP}/apps", named("new"), PROFILE, 422, "Chart.yaml"),
    (f"{APP}/apps", named("new"), tgz({"../x": b""}), 422, "outside"),
    (f"{APP}/apps", named("new"), tgz({"a/x": b"\0" * 9_000_000}), 413, "Archive too large"),
    (f"{APP}/apps", named("new"), b"x" * (1024 * 1024 + 1), 413, "bytes are accepted"),
    (f"{APP}/apps", named("new"), b"x" * (2 * 1024 * 1024), 413, "bytes are accepted"),
    (
        f"{APP}/composite-profiles/production/profiles",
        named("new", app="db"),
        CHART,
        422,
        "manifest.yaml",
    ),
    (
        f"{APP}/composite-profiles/production/profiles",
        named("new", app="web"),
        PROFILE,
        409,
        "App already has an AppProfile",
    ),
    (
        f"{APP}/composite-profiles/production/profiles",
        named("new", app="gone"),
        PROFILE,
        409,
        "apps/gone",
    ),
]


@pytest.mark.parametrize(
    ("url", "body", "file", "code", "told"),
    FORM_CASES,
    ids=itertools.count(),  # an archive has the time in it: another name in every process
)
def test_a_bad_file_is_refused_and_nothing_is_stored(
    shop: Client, url: str, body: Any, file: bytes | None, code: int, told: str
) -> None:
    before = everything(shop)
    parts: dict[str, Any] = {"metadata": (None, json.dumps(body))}
    if file is not None:
        parts["file"] = ("filename", file)
    answer = shop.post(url, files=parts)
    problem = answer.json()
    assert answer.status_code == code, problem
    assert told in f"{problem['title']} {problem['detail']}"
    assert "very-secret-token" not in answer.text
    assert everything(shop) == before


@pytest.mark.parametrize(
    ("content_type", "content", "code"),
    [
        ("multipart/form-data", b"x", 422),
        ("multipart/form-data; boundary=x", b"", 400),
        ("multipart/form-data; boundary=x", b"garbage", 422),
        ("multipart/form-data; boundary=x", b"--x\r\n\r\nno name\r\n--x--\r\n", 422),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\nx\r\n--x--',
            400,
        ),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="metadata"\r\n\r\n{"metadata":{"name":'
            b'"a"}}\r\n--x\r\nContent-Disposition: form-data; name="file"\r\n\r\nx\r\n--x--\r\n',
            422,
        ),
        (f"multipart/form-data; boundary={'x' * 5000}", b"x", 422),
    ],
)
def test_a_broken_form_is_refused(
    shop: Client, content_type: str, content: bytes, code: int
) -> None:
    answer = shop.post(f"{APP}/apps", content=content, headers={"Content-Type": content_type})
    assert answer.status_code == code, answer.text


@pytest.mark.parametrize(
    "path", ["a%00b", "a%20b", "-a", "a%2Fb", "%FF", "a" * 200, "%F0%9F%98%80", ".."]
)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_a_name_that_cannot_exist_is_not_found(client: Client, method: str, path: str) -> None:
    answer = client.request(method, f"{PROJECTS}/{path}", json=named("a"))
    assert answer.status_code in (404, 405)


@pytest.mark.parametrize("kind", ["Project", "CompositeApp", "Deployment", "ClusterLabel"])
def test_a_name_in_the_body_that_is_not_the_urls_is_refused(shop: Client, kind: str) -> None:
    item = BY_KIND[kind]
    other = {"metadata": {"name": "other"}, "clusterLabel": "other"}
    answer = shop.put(item.path, json={**item.body, **other})
    assert (answer.status_code, answer.json()["title"]) == (400, "Mismatched name in PUT request")


def test_unknown_paths_and_wrong_methods_say_what_there_is(client: Client) -> None:
    unknown = client.get("/v2/nothing")
    assert (unknown.status_code, unknown.json()["title"]) == (404, "Not Found")
    wrong = client.patch(PROJECTS)
    assert wrong.status_code == 405
    assert wrong.headers["allow"] == "GET, POST"


def test_a_client_that_takes_only_text_gets_emcos_line_first(client: Client) -> None:
    answer = client.get(f"{PROJECTS}/none", headers={"Accept": "text/plain"})
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.text.splitlines()[0] == "Project not found"


def test_a_problem_names_its_kind_and_where_it_happened(client: Client) -> None:
    problem = client.get(f"{PROJECTS}/none").json()
    assert problem["type"] == "urn:emco:problem:not-found"
    assert (problem["status"], problem["instance"]) == (404, f"{PROJECTS}/none")
