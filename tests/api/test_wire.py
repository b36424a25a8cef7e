"""Bytes as EMCO's own client puts them on the wire, against a real server on a real socket."""

import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.api.builders import CHART, KUBECONFIG
from tests.api.conftest import Api
from tests.api.world import APP, CLOUD, CLUSTER, DEPLOYMENT, PROVIDER

AGENT = b"Host: 127.0.0.1\r\nUser-Agent: Go-http-client/1.1\r\nAccept-Encoding: gzip\r\n"
JSON_TYPE = b"Content-Type: application/json\r\n"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


class Wire:
    """One connection, so that a request shows whether the one before left it usable."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._stream = self._socket.makefile("rb")

    def close(self) -> None:
        self._stream.close()
        self._socket.close()

    def send(self, method: str, path: str, headers: bytes = b"", body: bytes = b"") -> Answer:
        head = f"{method} {path} HTTP/1.1\r\n".encode()
        self._socket.sendall(head + AGENT + headers + b"\r\n" + body)
        return self._read()

    def send_json(self, method: str, path: str, body: object) -> Answer:
        text = json.dumps(body).encode()
        length = f"Content-Length: {len(text)}\r\n".encode()
        return self.send(method, path, b"Accept: application/json\r\n" + JSON_TYPE + length, text)

    def send_chunked_nothing(self, path: str) -> Answer:
        """How `emcoctl apply` sends a lifecycle call: chunked, and then no chunk."""
        return self.send("POST", path, JSON_TYPE + b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n")

    def send_form(self, path: str, metadata: object, file: bytes, boundary: str = "b0") -> Answer:
        """How `emcoctl apply` sends a file: a form value, then a part always named `filename`."""
        body = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="metadata"\r\n\r\n'.encode()
            + json.dumps(metadata).encode()
            + f'\r\n--{boundary}\r\nContent-Disposition: form-data; name="file"; '
            'filename="filename"\r\nContent-Type: application/octet-stream\r\n\r\n'.encode()
            + file
            + f"\r\n--{boundary}--\r\n".encode()
        )
        headers = (
            f"Content-Type: multipart/form-data; boundary={boundary}\r\n"
            f"Content-Length: {len(body)}\r\n"
        )
        return self.send("POST", path, headers.encode(), body)

    def _read(self) -> Answer:
        status = int(self._stream.readline().split()[1])
        headers: dict[str, str] = {}
        while line := self._stream.readline().strip():
            name, _, value = line.decode().partition(":")
            headers[name.lower()] = value.strip()
        return Answer(status, headers, self._stream.read(int(headers.get("content-length", "0"))))


@pytest.fixture
def wire(api: Api, full: Path, port: int) -> Iterator[Wire]:
    api.load(full)
    connection = Wire(port)
    yield connection
    connection.close()


def test_a_lifecycle_call_without_a_body_leaves_the_connection_usable(wire: Wire) -> None:
    for path in (f"{CLOUD}/instantiate", f"{DEPLOYMENT}/approve", f"{DEPLOYMENT}/instantiate"):
        answer = wire.send_chunked_nothing(path)
        assert (answer.status, answer.body) == (202, b"")
    status = wire.send("GET", f"{DEPLOYMENT}/status?status=deployed")
    assert json.loads(status.body)["deployedStatus"] == "Instantiating"


def test_a_lifecycle_call_may_bring_metadata_without_a_name(wire: Wire) -> None:
    answer = wire.send_json("POST", f"{CLOUD}/instantiate", {"metadata": {"name": ""}})
    assert answer.status == 202
    status = wire.send("GET", f"{CLOUD}/status")
    assert json.loads(status.body)["deployedStatus"] == "Instantiated"


def test_a_file_comes_as_a_value_and_a_part_named_filename(wire: Wire) -> None:
    app = wire.send_form(f"{APP}/apps", {"metadata": {"name": "new", "description": "d"}}, CHART)
    assert app.status == 201
    assert json.loads(app.body)["metadata"] == {
        "name": "new",
        "description": "d",
        "userData1": "",
        "userData2": "",
    }
    cluster = wire.send_form(f"{PROVIDER}/clusters", {"metadata": {"name": "c9"}}, KUBECONFIG)
    assert cluster.status == 201


def test_a_label_brings_metadata_without_a_name(wire: Wire) -> None:
    body = {"metadata": {"name": ""}, "clusterLabel": "west"}
    answer = wire.send_json("POST", f"{CLUSTER}/labels", body)
    assert (answer.status, json.loads(answer.body)) == (201, {"clusterLabel": "west"})
    assert "warning" not in answer.headers


@pytest.mark.parametrize("path", [f"{APP}/apps/web", CLUSTER, DEPLOYMENT, f"{CLOUD}/"])
def test_a_get_without_accept_is_json(wire: Wire, path: str) -> None:
    answer = wire.send("GET", path)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    json.loads(answer.body)


def test_a_delete_has_no_body(wire: Wire) -> None:
    answer = wire.send("DELETE", "/v2/dtc-controllers/its")
    assert (answer.status, answer.body) == (204, b"")


@pytest.mark.parametrize("method", ["DELETE", "PUT"])
def test_a_delete_of_a_verb_is_not_allowed(wire: Wire, method: str) -> None:
    answer = wire.send_json(method, f"{DEPLOYMENT}/terminate", {"metadata": {"name": ""}})
    assert answer.status == 405
    assert wire.send("GET", DEPLOYMENT).status == 200


def test_a_posted_slash_is_no_redirect(wire: Wire) -> None:
    answer = wire.send_json("POST", "/v2/projects/", {"metadata": {"name": "slash"}})
    assert answer.status == 201


def test_go_escapes_arrive_as_what_they_mean(wire: Wire) -> None:
    text = rb'{"metadata":{"name":"esc","description":"a \u003c b \u0026 c"}}'
    headers = JSON_TYPE + f"Content-Length: {len(text)}\r\n".encode()
    answer = wire.send("POST", "/v2/projects", headers, text)
    assert json.loads(answer.body)["metadata"]["description"] == "a < b & c"


def test_a_body_without_a_length_is_measured_while_it_streams(wire: Wire, api: Api) -> None:
    chunk = b"400\r\n" + b" " * 1024 + b"\r\n"
    count = api.settings.max_body_bytes // 1024 + 1
    headers = JSON_TYPE + b"Transfer-Encoding: chunked\r\n"
    answer = wire.send("POST", "/v2/projects", headers, chunk * count + b"0\r\n\r\n")
    assert answer.status == 413


def test_an_unescaped_plus_in_a_status_query_is_understood(wire: Wire) -> None:
    answer = wire.send("GET", f"{DEPLOYMENT}/status?status=ready&cluster=edge+c1")
    assert answer.status == 200
