"""A webhook receiver as anybody would write one, which can also be made to misbehave."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Request:
    """One request as it came, the names of its headers in lower case."""

    headers: Mapping[str, str]
    body: bytes

    @property
    def events(self) -> list[dict[str, Any]]:
        """The CloudEvents in it."""
        told = json.loads(self.body)
        return told if isinstance(told, list) else [told]


Answer = tuple[int, dict[str, str]]


@dataclass
class Receiver:
    """Remembers what came. `answer` decides by the number of the request, from 0, and the request."""

    answer: Callable[[int, Request], Answer] = lambda number, request: (204, {})
    port: int = 0
    is_away: bool = False
    asked: list[Request] = field(default_factory=list)
    taken: list[dict[str, Any]] = field(default_factory=list)
    """The events of requests that were answered well, in the order in which they came."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/events"

    def take(self, request: Request) -> Answer:
        """What the server answers."""
        answer = self.answer(len(self.asked), request)
        self.asked.append(request)
        if answer[0] < 300:
            self.taken += request.events
        return answer

    @property
    def ids(self) -> list[str]:
        """Of the events that were taken, without those that came again, in order."""
        return list(dict.fromkeys(event["id"] for event in self.taken))


@contextmanager
def serving(receiver: Receiver) -> Iterator[Receiver]:
    """Serve on a port of its own until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            if receiver.is_away:
                self.close_connection = True
                return
            body = self.rfile.read(int(self.headers["content-length"]))
            status, headers = receiver.take(
                Request({k.lower(): v for k, v in self.headers.items()}, body)
            )
            self.send_response(status)
            for name, value in {**headers, "content-length": "0"}.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Quiet."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """Clients that are killed break off in the middle, which is nothing to tell of."""

    server = Server(("127.0.0.1", 0), Handler)
    receiver.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def absent(receiver: Receiver) -> Iterator[None]:
    """As if its machine had gone: connections break without an answer."""
    receiver.is_away = True
    try:
        yield
    finally:
        receiver.is_away = False
