"""A server of several processes: what is to be had before they start, and held while they run."""

import logging
import os
import socket
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from setpoint.config import Serving, Settings
from setpoint.serve import writers
from setpoint.serve.listening import (
    consequences,
    listen_together,
    patiently,
    tell_on_stderr,
)
from setpoint.serve.log import hold
from setpoint.serve.workers import Server, Workers

_logger = logging.getLogger(__name__)


def run(
    words: Sequence[str], settings: Settings, where: Serving, log_level: str, patience: float
) -> None:
    """Serve what a store deploys, in several processes, until SIGTERM or SIGINT.

    Args:
        words: The command that starts one of them.
        settings: The store.
        where: Where to listen, in how many processes.
        log_level: Of the standard library's logging, to stderr.
        patience: Seconds that another server, about to end, may take to give back the port.

    Raises:
        Denied: If the address can be reached from other machines.
        Conflict: If the port or the store's log is in use.
        Unavailable: If the folder cannot be written, or a worker does not start.
    """
    tell_on_stderr(log_level)
    with _held(settings.log, patience), _listening(where, patience) as listeners:
        folder = settings.home / "run" / "workers"
        server = Server(words=words, folder=folder, drain=where.drain)
        ready = settings.home / "run" / "inference.json"
        Workers(server, listeners).run(ready, listeners[0].getsockname()[1])


def run_package(words: Sequence[str], where: Serving, log_level: str, *, any_host: bool) -> None:
    """Serve a package in several processes until SIGTERM or SIGINT.

    Raises:
        Denied: If the address can be reached from other machines, without `any_host`.
        Conflict: If the port or the log is in use.
        Unavailable: If a folder cannot be written, or a worker does not start.
    """
    tell_on_stderr(log_level)
    for consequence in consequences(where):
        _logger.warning(consequence)
    with (
        _held(where.log, 0.0),
        _listening(where, 0.0, any_host=any_host) as listeners,
        tempfile.TemporaryDirectory(prefix="setpoint-") as folder,
    ):
        server = Server(words=words, folder=Path(folder), drain=where.drain)
        Workers(server, listeners).run(None, listeners[0].getsockname()[1])


@contextmanager
def _held(log: Path | None, patience: float) -> Iterator[None]:
    """Be the only server that writes a log, whose workers write inside of it."""
    if log is None:
        yield
        return
    writers.finish(log)
    holder = patiently(lambda: hold(log), patience)
    try:
        yield
    finally:
        os.close(holder)


@contextmanager
def _listening(
    where: Serving, patience: float, *, any_host: bool = False
) -> Iterator[list[socket.socket]]:
    def take() -> list[socket.socket]:
        return listen_together(where.host, where.port, where.workers, any_host=any_host)

    listeners = patiently(take, patience)
    try:
        yield listeners
    finally:
        for listener in listeners:
            listener.close()
