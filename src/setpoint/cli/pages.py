"""Answering pages and API from a process, and telling channels, until told to stop."""

import ipaddress
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn

from setpoint.db.local import LocalBackend
from setpoint.errors import Conflict, Denied

_STOP_SECONDS = 10.0


def serve(backend: LocalBackend, host: str, port: int) -> None:
    """Answer until told to stop."""
    from setpoint.server import listening  # noqa: PLC0415 - while inference starts
    from setpoint.server.app import create_app  # noqa: PLC0415

    _Server(listening.config(create_app(backend), host, port)).run()


@contextmanager
def delivering(backend: LocalBackend) -> Iterator[None]:
    """Tell channels of events while the block runs."""
    stopping = threading.Event()

    def deliver() -> None:
        from setpoint.notify.deliver import Deliverer  # noqa: PLC0415 - pages need not wait
        from setpoint.server.mlflow.registry_webhooks import KINDS  # noqa: PLC0415

        Deliverer(backend, KINDS).run(stopping)

    thread = threading.Thread(target=deliver, name="deliver", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join(_STOP_SECONDS)


def only_loopback(host: str) -> None:
    """Refuse an address that other machines reach.

    Raises:
        Denied: If it is one.
    """
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise Denied(
            f"{host} is not a loopback address, and there is no login yet",
            hint="bind 127.0.0.1 and reach it through a tunnel",
        )


def require_free(host: str, port: int, option: str) -> None:
    """Refuse a port that is taken.

    Raises:
        Conflict: If it is.
    """
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise Conflict(
                f"port {port} on {host} is taken",
                where=error.strerror or "",
                hint=f"choose another {option}",
            ) from None


class _Server(uvicorn.Server):
    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.force_exit = self.should_exit  # a second Ctrl-C does not wait
        self.should_exit = True
        del sig, frame
