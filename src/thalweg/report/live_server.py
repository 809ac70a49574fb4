"""A page on the loopback address, for the browsers of this machine and no one else.

A web page of someone else's may send requests to 127.0.0.1 too, by way of a browser here. What keeps the report
from it: a request whose Host header is not this server's own address is refused (a foreign name that is made to
resolve to 127.0.0.1, "DNS rebinding", shows in that header), and so is one of which the browser says that another
site asks (Sec-Fetch-Site); the headers forbid other origins to embed what is
served (Cross-Origin-Resource-Policy, frame-ancestors) and none allows them to read it; and nothing that a request
says changes anything.
"""

from __future__ import annotations

import os
import socketserver
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from thalweg.errors import UsageError

__all__ = ["Answer", "PageServer"]

_PATIENCE = 10.0  # seconds that a client may take to say what it wants, and to take a piece of the answer
_MOST = 32  # clients at a time: a thread each
_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_TEXT = "text/plain; charset=utf-8"
_NOTHING = "default-src 'none'; frame-ancestors 'none'"


@dataclass(frozen=True)
class Answer:
    """What is served at a path: bytes, their type, and the content policy that the header states."""

    body: bytes
    kind: str
    policy: str = _NOTHING
    headers: Mapping[str, str] = field(default_factory=dict)


class PageServer:
    """Serves GET and HEAD of a few paths on 127.0.0.1, each client in a thread of its own.

    The threads are daemons: they never keep the process. A client that stalls is left after ten seconds, one that
    goes away is forgotten; more than 32 at a time are turned away. Nothing is logged.

    Arguments:
        answers: path → function that returns what is served there. It is called in the client's thread.
        port: 0 takes one that is free.

    Raises:
        UsageError: the port is taken, or not ours to take.
    """

    def __init__(self, answers: Mapping[str, Callable[[], Answer]], port: int = 0) -> None:
        try:
            self._server = _Server(port, answers)
        except OSError as error:
            raise UsageError(
                f"live-port is {port}, which cannot be had ({error.strerror or error}); give another, or leave it out "
                "and one that is free is taken"
            ) from None
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(
            # How often it looks whether it is to stop: that is what stopping takes.
            target=self._server.serve_forever,
            kwargs={"poll_interval": 0.1},
            name="live report",
            daemon=True,
        )
        self._thread.start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def close(self) -> None:
        """Stop and free the port; answers that are on their way may still arrive. More than once does no harm."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # a client that stalls must not keep the sweep from ending
    # On Windows this would let another process take the port while we have it.
    allow_reuse_address = os.name == "posix"
    allow_reuse_port = False

    def __init__(self, port: int, answers: Mapping[str, Callable[[], Answer]]) -> None:
        self.answers = answers
        self._free = threading.BoundedSemaphore(_MOST)
        super().__init__(("127.0.0.1", port), _Handler)

    def server_bind(self) -> None:
        # Not HTTPServer's, which asks the resolver for the host's full name.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]

    @property
    def hosts(self) -> tuple[str, ...]:
        """The Host headers of requests that are meant for this server."""
        names = ("127.0.0.1", "localhost")
        with_port = tuple(f"{name}:{self.server_port}" for name in names)
        return with_port + names if self.server_port == 80 else with_port

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._free.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients stall, go away and send nonsense, and the terminal belongs to the sweep."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = _PATIENCE

    def do_GET(self) -> None:
        self._answer()

    do_HEAD = do_GET

    def _refuse_method(self) -> None:
        self._send(HTTPStatus.METHOD_NOT_ALLOWED, Answer(b"only GET and HEAD\n", _TEXT, headers={"Allow": "GET, HEAD"}))

    do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_TRACE = do_CONNECT = _refuse_method

    def _answer(self) -> None:
        named = self.headers.get_all("Host", [])
        if len(named) != 1 or named[0].strip().lower() not in self.server.hosts:
            self._send(HTTPStatus.FORBIDDEN, Answer(b"this server answers to its own address only\n", _TEXT))
            return
        # A page of another site that embeds, fetches or links to this one; what the address bar opens says "none".
        if self.headers.get("Sec-Fetch-Site", "").strip().lower() == "cross-site":
            refusal = b"this server answers no other site's pages: enter its address yourself\n"
            self._send(HTTPStatus.FORBIDDEN, Answer(refusal, _TEXT))
            return
        path, _, _ = self.path.partition("?")
        found = self.server.answers.get(path if path == "/" else self.path)
        if found is None:
            self._send(HTTPStatus.NOT_FOUND, Answer(b"there is nothing here\n", _TEXT))
            return
        self._send(HTTPStatus.OK, found())

    def _send(self, status: HTTPStatus, answer: Answer) -> None:
        self.send_response(status)
        for name, value in {**_HEADERS, **answer.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Security-Policy", answer.policy)
        self.send_header("Content-Type", answer.kind)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuse what is no request in plain words, none of them the client's."""
        self.close_connection = True
        if self.request_version != "HTTP/0.9":
            self._send(HTTPStatus(code), Answer(b"that is no request\n", _TEXT))

    def version_string(self) -> str:
        return "thalweg"

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""
