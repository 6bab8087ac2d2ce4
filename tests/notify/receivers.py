"""Real receivers: an HTTP server that answers as told, and a mail server."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller


class Post:
    """One request that arrived."""

    def __init__(self, path: str, headers: dict[str, str], body: str) -> None:
        self.path, self.headers, self.body = path, headers, body


class Receiver:
    """What arrived, and the statuses it answers with, in turn; 204 after them."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.posts: list[Post] = []
        self.answers: list[tuple[int, dict[str, str]]] = []
        self.hold: threading.Event | None = None
        self.came = threading.Event()


@contextmanager
def receiver() -> Iterator[Receiver]:
    """Run an HTTP server on a free port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            headers = {name.lower(): value for name, value in self.headers.items()}
            it.posts.append(Post(self.path, headers, body))
            it.came.set()
            if it.hold is not None:
                it.hold.wait(30)
            status, more = it.answers.pop(0) if it.answers else (204, {})
            self.send_response(status)
            for name, value in more.items():
                self.send_header(name, value)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    it = Receiver(f"http://127.0.0.1:{server.server_address[1]}/hook?a=1")
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield it
    finally:
        if it.hold is not None:
            it.hold.set()
        server.shutdown()
        server.server_close()
        thread.join()


class Letters:
    """A mail server's handler: keeps what arrives, refuses what it is told to."""

    def __init__(self) -> None:
        self.found: list[Any] = []
        self.refuse = ""

    async def handle_RCPT(self, *given: Any) -> str:  # noqa: N802 - aiosmtpd's name
        _, _, envelope, address, _ = given
        if self.refuse:
            return self.refuse
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, *given: Any) -> str:  # noqa: N802 - aiosmtpd's name
        self.found.append(given[2])
        return "250 OK"


@contextmanager
def mail_server(letters: Letters) -> Iterator[str]:
    """Run a mail server on a free port of this machine; give its address."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]  # aiosmtpd wants to know it beforehand
    controller = Controller(letters, hostname="127.0.0.1", port=port)
    controller.start()
    try:
        yield f"smtp://127.0.0.1:{port}"
    finally:
        controller.stop()
