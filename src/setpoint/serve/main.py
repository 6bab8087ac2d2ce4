"""The inference server as a process."""

import asyncio
import contextlib
import gc
import ipaddress
import json
import logging
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import uvicorn

from setpoint.config import Serving, Settings
from setpoint.core.clock import Clock, SystemClock, clock_of
from setpoint.errors import Conflict, Denied, Invalid, Unavailable
from setpoint.serve.app import App
from setpoint.serve.endpoints import Endpoints
from setpoint.serve.grpc import require_grpc
from setpoint.serve.jobs.disk import Folder
from setpoint.serve.jobs.queue import Jobs
from setpoint.serve.lane import lane
from setpoint.serve.log import Log, LogWriter, NoLog
from setpoint.serve.metrics import Metrics
from setpoint.serve.package import Package
from setpoint.serve.protocols import Load

PORT = 8766
_RETRY_SECONDS = 0.05

_logger = logging.getLogger(__name__)


def run(
    settings: Settings,
    host: str = "127.0.0.1",
    port: int = PORT,
    log_level: str = "warning",
    *,
    load: Load | None = None,
    patience: float = 0.0,
    grpc_port: int | None = None,
) -> None:
    """Serve what a store deploys until SIGTERM or SIGINT, then finish what was begun and return.

    ``home/run/inference.json`` says ``{"pid": …, "port": …}`` while the server is ready.

    Args:
        settings: The store. Its clock is obeyed.
        host: A loopback address.
        port: 0 takes a free one.
        log_level: Of the standard library's logging, to stderr.
        load: How a version is brought into memory; from the registry by default.
        patience: Seconds that another server, about to end, may take to give back the
            port and the log.
        grpc_port: Where clients of gRPC are answered, too; None: nowhere.

    Raises:
        MissingExtra: If gRPC is asked for and not installed.
        Denied: If `host` can be reached from other machines.
        Conflict: If the port or the store's log is in use.
        Unavailable: If the folder cannot be written.
    """
    from setpoint.serve.registered import from_store  # noqa: PLC0415 - SQL; no image has it

    _tell_on_stderr(log_level)
    grpc = _at(host, grpc_port)
    listener, log = _take(settings, host, port, time.monotonic() + patience)
    endpoints = Endpoints(from_store(settings, load), Metrics())
    with contextlib.suppress(Unavailable):  # not ready yet; the follower goes on trying
        endpoints.refresh()
    endpoints.follow()
    ready = settings.home / "run" / "inference.json"
    jobs = Folder(settings.jobs)
    _answer(endpoints, listener, log, clock_of(settings.home), ready=ready, grpc=grpc, jobs=jobs)


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
        jobs = None if serving.jobs is None else Folder(serving.jobs)
    except BaseException:
        listener.close()
        raise
    for consequence in _consequences(serving):
        _logger.warning(consequence)
    _answer(endpoints, listener, log, SystemClock(), grpc=grpc, jobs=jobs)


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
    jobs: Folder | None = None,
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
        timeout_graceful_shutdown=10,
        timeout_keep_alive=75,
    )
    server = _Server(config, ready, listener.getsockname()[1])
    try:
        with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
            runner.run(_serve(server, app, listener, grpc, jobs))
    finally:
        if ready is not None:
            ready.unlink(missing_ok=True)
        listener.close()


class _Server(uvicorn.Server):
    """Tells when it is ready, and stops by signals without dying of them."""

    def __init__(self, config: uvicorn.Config, ready: Path | None, port: int) -> None:
        super().__init__(config)
        self._ready = ready
        self._port = port

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self._ready is not None:
            self._ready.parent.mkdir(parents=True, exist_ok=True)
            aside = self._ready.with_suffix(".new")
            aside.write_text(json.dumps({"pid": os.getpid(), "port": self._port}))
            aside.rename(self._ready)
        gc.freeze()  # what starting made stays: no collection need look at it again

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        caught = (signal.SIGTERM, signal.SIGINT)
        for one in caught:
            loop.add_signal_handler(one, self._stop)
        try:
            yield
        finally:
            for one in caught:
                loop.remove_signal_handler(one)

    def _stop(self) -> None:
        self.force_exit = self.should_exit  # a second signal does not wait
        self.should_exit = True


async def _serve(
    server: uvicorn.Server,
    app: App,
    listener: socket.socket,
    grpc: tuple[str, int] | None,
    jobs: Folder | None,
) -> None:
    if jobs is not None:
        app.jobs = Jobs(app, jobs)
        app.jobs.start()
    try:
        async with _speaking_grpc(app, grpc):
            await server.serve(sockets=[listener])
    finally:
        await app.close()


@contextlib.asynccontextmanager
async def _speaking_grpc(app: App, at: tuple[str, int] | None) -> AsyncIterator[None]:
    """Answer clients of gRPC, too, while the block runs."""
    if at is None:
        yield
        return
    from setpoint.serve.grpc import server as grpc  # noqa: PLC0415 - an extra

    server = await grpc.start(app, *at)
    try:
        yield
    finally:
        await grpc.stop(server)


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
