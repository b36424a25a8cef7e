"""The command as a whole: its help teaches, its errors say what to do, its exit codes are kept."""

import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from emco.cli.app import VERBS
from emco.cli.failures import Code
from tests.unit.cli.conftest import ROOT, Emco, Served


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself_with_an_example(emco: Emco, verb: str) -> None:
    result = emco(verb, "--help")
    assert result.exit_code == 0
    if verb not in ("sandbox", "up"):
        assert re.search(rf"emco {verb}\b", result.stdout.replace("\n", " "))


def test_help_lists_every_verb_and_the_exit_codes(emco: Emco) -> None:
    shown = emco("--help").stdout
    assert all(verb in shown for verb in VERBS)
    for code in Code:
        assert re.search(rf"\b{code.value} ", shown)


def test_a_verb_that_is_not_there_is_wrong_usage(emco: Emco) -> None:
    assert emco("frobnicate").exit_code == Code.USAGE


def test_an_api_that_is_not_there_says_how_to_start_it(
    emco: Emco, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        monkeypatch.setenv("EMCO_URL", url)
        result = emco("get", "projects")
    assert result.exit_code == Code.UNREACHABLE
    assert result.stderr.splitlines()[0] == f"error: The API does not answer at {url}"
    assert "Is `emco up` running?" in result.stderr
    assert "EMCO_URL=" in result.stderr


@pytest.mark.parametrize("url", ["localhost:9015", "ftp://x", "http://", "http://[::"])
def test_an_address_that_is_none_is_wrong_usage(
    emco: Emco, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("EMCO_URL", url)
    result = emco("get", "projects")
    assert result.exit_code == Code.USAGE
    assert "http://HOST:PORT" in result.stderr


Answering = Callable[[int, str, str], None]


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Iterator[Answering]:
    """A server that is not ours and gives one answer to everything."""
    answer: list[tuple[int, str, bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, media, body = answer[0]
            self.send_response(status)
            self.send_header("Content-Type", media)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            """Silence."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        monkeypatch.setenv("EMCO_URL", f"http://127.0.0.1:{server.server_address[1]}")
        yield lambda status, media, body: answer.append((status, media, body.encode()))
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("status", "body", "code", "shown"),
    [
        (
            503,
            '{"title": "Temporal is away", "detail": "a\\nb"}',
            5,
            "error: Temporal is away\n  a\n  b\n",
        ),
        (404, '{"title": "T"}', 3, "error: T\n"),
        (412, '{"title": "T"}', 4, "error: T\n"),
        (500, "<h1>boom</h1>", 1, "error: 500 Internal Server Error\n  <h1>boom</h1>\n"),
        (400, "[1]", 1, "error: 400 Bad Request\n  [1]\n"),
        (302, "", 1, "error: 302 Found\n"),
    ],
)
def test_any_error_answer_becomes_a_sentence_and_a_code(
    emco: Emco, answering: Answering, status: int, body: str, code: int, shown: str
) -> None:
    answering(status, "application/problem+json", body)
    result = emco("get", "project", "p")
    assert (result.exit_code, result.stderr) == (code, shown)


def test_an_answer_that_is_not_emcos_is_told_as_such(emco: Emco, answering: Answering) -> None:
    answering(200, "text/html", "<h1>hello</h1>")
    result = emco("get", "project", "p")
    assert result.exit_code == Code.FAILED
    assert "is not emco's API" in result.stderr


def test_output_for_programs_has_no_colour_in_a_process_of_its_own(served: Served) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "emco.cli.app", "get", "project", "nobody"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == Code.NOT_FOUND
    assert ran.stdout == ""
    assert ran.stderr == "error: Project not found\n  there is no projects/nobody\n"
