"""Servers on loopback for tests of stores: a proxy that counts and cuts, and a web server that gives parts of files."""

from __future__ import annotations

import http.server
import re
import socket
import socketserver
import threading
import time
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SECRET = "tz1Vm+very/secret/key"  # noqa: S105 - of nobody
QUERY = f"X-Amz-Signature=0badc0ffee&X-Amz-Expires=60&X-Amz-Security-Token={'t0ken' * 300}"


class Request(NamedTuple):
    """A request as the proxy saw it: method, path with query, first and last byte asked for, bytes of the answer."""

    method: str
    path: str
    range: tuple[int, int] | None
    answered: int


class Proxy(socketserver.ThreadingTCPServer):
    """Passes requests on, notes them, and cuts answers where it is told to."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Passed)
        self.upstream = port
        self.requests: list[Request] = []
        self.cut: Callable[[str, int], bool] = lambda _path, _number: False
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def paths(self, part: str) -> list[Request]:
        return [request for request in self.requests if part in request.path]


class _Passed(socketserver.BaseRequestHandler):
    server: Proxy

    def handle(self) -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            more = self.request.recv(1)
            if not more:
                return
            head += more
        method, path = head.split(b" ", 2)[:2]
        found = re.search(rb"(?im)^range: bytes=(\d+)-(\d+)", head)
        asked = (int(found[1]), int(found[2])) if found else None
        number = sum(request.path == path.decode() for request in self.server.requests)
        cut = self.server.cut(path.decode(), number)
        with socket.create_connection(("127.0.0.1", self.server.upstream)) as upstream:
            upstream.sendall(head.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
            answer = b""
            while more := upstream.recv(1 << 16):
                answer += more
        if cut:
            body = answer.index(b"\r\n\r\n") + 4
            answer = answer[: body + (len(answer) - body) // 2]
        self.server.requests.append(Request(method.decode(), path.decode(), asked, len(answer)))
        self.request.sendall(answer)


class Web(http.server.ThreadingHTTPServer):
    """Serves files by their paths, with ranges unless `ranges` is off."""

    daemon_threads = True

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), _Served)
        self.files = files
        self.ranges = True
        self.login = ""
        self.query = ""
        self.seen: list[str] = []
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Served(http.server.BaseHTTPRequestHandler):
    server: Web
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        self.server.seen.append(path)
        refused = (self.server.login and self.headers.get("Authorization") != self.server.login) or (
            query != self.server.query
        )
        data = self.server.files.get(path)
        if refused or data is None:
            self.send_error(403 if refused else 404)
            return
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if asked and self.server.ranges:
            begin, end = int(asked[1]), min(int(asked[2]) + 1, len(data))
            if begin >= len(data):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {begin}-{end - 1}/{len(data)}")
            data = data[begin:end]
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@contextmanager
def running(server: socketserver.BaseServer) -> Iterator[None]:
    """Serve in a thread until the end of the block."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def wait_for(port: int, seconds: float = 60) -> None:
    """Wait until something listens."""
    end = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)
        else:
            return


def send(url: str, data: bytes = b"", method: str = "PUT", headers: dict[str, str] | None = None) -> None:
    """Make a request by other means than those that are tested."""
    kind = {"Content-Type": "application/octet-stream", **(headers or {})}
    request = urllib.request.Request(url, data, kind, method=method)  # noqa: S310 - the address of a server on loopback
    with urllib.request.urlopen(request) as answer:  # noqa: S310 - likewise
        assert answer.status < 300
