"""The inference server as a process."""

import asyncio
import contextlib
import ipaddress
import logging
import socket
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import uvicorn
from msgspec import Struct

from setpoint.config import DRAIN_SECONDS, Serving, Settings
from setpoint.core.clock import Clock, SystemClock, clock_of
from setpoint.errors import Conflict, Denied, Invalid, Unavailable
from setpoint.serve.app import App
from setpoint.serve.draining import Server, Stop
from setpoint.serve.endpoints import Endpoints
from setpoint.serve.grpc import require_grpc
from setpoint.serve.lane import lane
from setpoint.serve.log import Log, LogWriter, NoLog
from setpoint.serve.metrics import Metrics
from setpoint.serve.package import Package
from setpoint.serve.protocols import Load

PORT = 8766


class How(Struct, frozen=True, kw_only=True):
    """How a store's server begins, answers and ends besides."""

    #: seconds that another server, about to end, may take to give back the port and the log
    patience: float = 0.0
    grpc_port: int | None = None  #: where clients of gRPC are answered, too; None: nowhere
    drain: float = DRAIN_SECONDS  #: seconds to answer what was accepted, once told to stop


_RETRY_SECONDS = 0.05

_logger = logging.getLogger(__name__)


def run(
    settings: Settings,
    host: str = "127.0.0.1",
    port: int = PORT,
    log_level: str = "warning",
    *,
    load: Load | None = None,
    how: How = How(),  # noqa: B008 - frozen
) -> None:
    """Serve what a store deploys until SIGTERM or SIGINT, then finish what was begun and return.

    ``home/run/inference.json`` says ``{"pid": …, "port": …}`` while the server is ready.

    Args:
        settings: The store. Its clock is obeyed.
        host: A loopback address.
        port: 0 takes a free one.
        log_level: Of the standard library's logging, to stderr.
        load: How a version is brought into memory; from the registry by default.
        how: Besides.

    Raises:
        MissingExtra: If gRPC is asked for and not installed.
        Denied: If `host` can be reached from other machines.
        Conflict: If the port or the store's log is in use.
        Unavailable: If the folder cannot be written.
    """
    from setpoint.serve.registered import from_store  # noqa: PLC0415 - SQL; no image has it

    _tell_on_stderr(log_level)
    grpc = _at(host, how.grpc_port)
    listener, log = _take(settings, host, port, time.monotonic() + how.patience)
    endpoints = Endpoints(from_store(settings, load), Metrics())
    with contextlib.suppress(Unavailable):  # not ready yet; the follower goes on trying
        endpoints.refresh()
    endpoints.follow()
    ready = settings.home / "run" / "inference.json"
    clock = clock_of(settings.home)
    _answer(endpoints, listener, log, clock, ready=ready, grpc=grpc, drain=how.drain)


def run_package(
    folder: Path,
    serving: Serving,
    log_level: str = "warning",
    *,
    any_host: bool = False,
    grpc_port: int | None = None,
) -> None:
    """Serve the version in a package until SIGTERM or SIGINT; no store, no database.

    Args:
        folder: The package. Nothing is written to it.
        serving: Where to listen, and where the prediction log goes, if anywhere.
        log_level: Of the standard library's logging, to stderr.
        any_host: Whether to listen on other addresses than loopback, where whoever reaches
            the port may ask and label: there is no authentication.
        grpc_port: Where clients of gRPC are answered, too; None: nowhere.

    Raises:
        MissingExtra: If gRPC is asked for and not installed.
        NotFound: If there is no package.
        Invalid: If it is none, or its model does not load here: better no server than one
            that answers nobody.
        Denied: If the address can be reached from other machines, without `any_host`.
        Conflict: If the port or the log is in use.
        Unavailable: If the log's folder cannot be written.
    """
    _tell_on_stderr(log_level)
    grpc = _at(serving.host, grpc_port)
    package = Package(folder)
    endpoints = Endpoints(package, Metrics())
    endpoints.refresh()
    for endpoint in endpoints.all().values():
        if endpoint.broken is not None:
            raise Invalid(f"the package cannot be served: {endpoint.broken}", where=str(folder))
    listener = _listen(serving.host, serving.port, any_host=any_host)
    try:
        log = NoLog() if serving.log is None else LogWriter(serving.log)
    except BaseException:
        listener.close()
        raise
    for consequence in _consequences(serving):
        _logger.warning(consequence)
    _answer(endpoints, listener, log, SystemClock(), grpc=grpc, drain=serving.drain)


def _consequences(serving: Serving) -> Iterator[str]:
    """Yield what somebody who runs a package should have been told."""
    if not _is_loopback(serving.host):
        yield f"anybody who reaches port {serving.port} may ask: there is no authentication"
    if serving.log is None:
        yield "no prediction log: answers are not kept, labels are refused (SETPOINT_SERVE_LOG=DIR)"


def _tell_on_stderr(log_level: str) -> None:
    logging.basicConfig(level=log_level.upper(), format="%(levelname)s %(name)s %(message)s")


def _answer(
    endpoints: Endpoints,
    listener: socket.socket,
    log: Log,
    clock: Clock,
    *,
    ready: Path | None = None,
    grpc: tuple[str, int] | None = None,
    drain: float = DRAIN_SECONDS,
) -> None:
    """Answer requests until a signal; `ready` is a file that says so meanwhile."""
    app = App(endpoints, log, endpoints.metrics, clock)
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=lane(app.infer_now, app.after),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_keep_alive=75,
    )
    server = Server(config, app, ready, listener.getsockname()[1], drain)
    try:
        with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
            runner.run(_serve(server, app, listener, grpc))
    finally:
        if ready is not None:
            ready.unlink(missing_ok=True)
        listener.close()


async def _serve(
    server: Server, app: App, listener: socket.socket, grpc: tuple[str, int] | None
) -> None:
    try:
        if grpc is not None:
            server.stop_too = await _speak_grpc(app, grpc)
        await server.serve(sockets=[listener])
    finally:
        await app.close(until=server.until)


async def _speak_grpc(app: App, at: tuple[str, int]) -> Stop:
    """Answer clients of gRPC, too; return what stops that."""
    from setpoint.serve.grpc import server as grpc  # noqa: PLC0415 - an extra

    started = await grpc.start(app, *at)
    return partial(grpc.stop, started)


def _at(host: str, port: int | None) -> tuple[str, int] | None:
    """Return where gRPC is to be answered, if anywhere.

    Raises:
        MissingExtra: If it is not installed.
    """
    if port is None:
        return None
    require_grpc()
    return host, port


def _take(
    settings: Settings, host: str, port: int, until: float
) -> tuple[socket.socket, LogWriter]:
    """Return the port and the log, both ours; try again until then if they are in use."""
    while True:
        try:
            listener = _listen(host, port)
            try:
                return listener, LogWriter(settings.log)
            except BaseException:
                listener.close()
                raise
        except Conflict:
            if time.monotonic() > until:
                raise
            time.sleep(_RETRY_SECONDS)


def _listen(host: str, port: int, *, any_host: bool = False) -> socket.socket:
    ip = _ip(host)
    if not ip.is_loopback and not any_host:
        raise Denied(
            f"refusing to listen on {host}: the network could send predictions and labels",
            hint="use 127.0.0.1; other addresses need authentication, which Setpoint has not yet",
        )
    listener = socket.socket(socket.AF_INET6 if ip.version == 6 else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((str(ip), port))
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise Conflict(
            f"port {port} is in use" if error.errno == 98 else f"cannot listen on port {port}",
            where=f"{host}:{port}: {error.strerror}",
            hint="stop what listens there, or choose another with --inference-port",
        ) from None
    listener.setblocking(False)  # noqa: FBT003 - the standard library's own
    return listener


def _is_loopback(host: str) -> bool:
    return _ip(host).is_loopback


def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        return ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        raise Invalid(f"{host!r} is no address to listen on", hint="use 127.0.0.1") from None
