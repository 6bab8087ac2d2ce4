"""The inference server as a process."""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import uvicorn
from msgspec.structs import replace

from setpoint.config import Serving, Settings, aws
from setpoint.core.clock import SystemClock, clock_of
from setpoint.errors import Invalid, Unavailable
from setpoint.serve import writers
from setpoint.serve.app import App
from setpoint.serve.draining import Server, Stop, tell
from setpoint.serve.following import Endpoints
from setpoint.serve.grpc import require_grpc
from setpoint.serve.jobs.keeper import Keeper
from setpoint.serve.jobs.outbox import Depot
from setpoint.serve.lane import lane, later
from setpoint.serve.listening import (
    PORT,
    How,
    adopt,
    consequences,
    is_loopback,
    listen,
    patiently,
    tell_on_stderr,
)
from setpoint.serve.log import LogWriter, NoLog
from setpoint.serve.memory import Memory
from setpoint.serve.metrics import Metrics
from setpoint.serve.observing import observed
from setpoint.serve.package import Package
from setpoint.serve.protocols import Load
from setpoint.serve.siblings import Door, Siblings
from setpoint.serve.warming import Recent
from setpoint.serve.yielding import hurry_fast_models, take_short_turns

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
        MissingExtra: If gRPC or S3 is asked for and not installed.
        Denied: If `host` can be reached from other machines.
        Conflict: If the port or the store's log is in use.
        Unavailable: If the folder cannot be written.
    """
    from setpoint.serve.registered import from_store  # noqa: PLC0415 - SQL; no image has it

    tell_on_stderr(log_level)
    grpc, depot = _at(host, how), _depot(how)
    listener, log = _take(settings, host, port, how)
    source, memory = from_store(settings, load), Memory(how.model_memory)
    endpoints = Endpoints(source, Metrics(), memory, Recent(log.folder))
    with contextlib.suppress(Unavailable):  # not ready yet; the follower goes on trying
        endpoints.refresh()
    endpoints.follow()
    ready = settings.home / "run" / "inference.json"
    clock = clock_of(settings.home)
    app = App(endpoints, log, endpoints.metrics, clock)
    jobs = Keeper(settings.jobs, shared=how.worker is not None, depot=depot)
    with contextlib.closing(source):
        _answer(app, listener, how, ready=ready, grpc=grpc, jobs=jobs)


def run_package(
    folder: Path,
    serving: Serving,
    log_level: str = "warning",
    *,
    any_host: bool = False,
    how: How = How(),  # noqa: B008 - frozen
) -> None:
    """Serve the version in a package until SIGTERM or SIGINT; no store, no database.

    Args:
        folder: The package. Nothing is written to it.
        serving: Where to listen, and where the prediction log goes, if anywhere.
        log_level: Of the standard library's logging, to stderr.
        any_host: Whether to listen on other addresses than loopback, where whoever reaches
            the port may ask and label: there is no authentication.
        how: Besides; `serving` says how long draining takes.

    Raises:
        MissingExtra: If gRPC or S3 is asked for and not installed.
        NotFound: If there is no package.
        Invalid: If it is none, or its model does not load here: better no server than one
            that answers nobody.
        Denied: If the address can be reached from other machines, without `any_host`.
        Conflict: If the port or the log is in use.
        Unavailable: If the log's folder cannot be written.
    """
    tell_on_stderr(log_level)
    grpc, depot = _at(serving.host, how), _depot(how)
    package = Package(folder)
    endpoints = Endpoints(package, Metrics(), recent=Recent(serving.log))
    endpoints.refresh()
    for endpoint in endpoints.all().values():
        if endpoint.broken is not None:
            raise Invalid(f"the package cannot be served: {endpoint.broken}", where=str(folder))
    if how.worker is None:
        listener = listen(serving.host, serving.port, any_host=any_host)
        for consequence in consequences(serving):
            _logger.warning(consequence)
    else:
        listener = adopt(how.worker)
    try:
        log = NoLog() if serving.log is None else _log(serving.log, how)
        shared = how.worker is not None
        jobs = None
        if serving.jobs is not None:
            jobs = Keeper(serving.jobs, shared=shared, depot=depot)
    except BaseException:
        listener.close()
        raise
    how = replace(how, drain=serving.drain)
    app = App(endpoints, log, endpoints.metrics, SystemClock())
    _answer(app, listener, how, grpc=grpc, jobs=jobs)


def _take(settings: Settings, host: str, port: int, how: How) -> tuple[socket.socket, LogWriter]:
    """Return the port and the log, both ours; try again for a while if they are in use."""

    def take() -> tuple[socket.socket, LogWriter]:
        listener = listen(host, port) if how.worker is None else adopt(how.worker)
        try:
            return listener, _log(settings.log, how)
        except BaseException:
            listener.close()
            raise

    return patiently(take, how.patience)


def _log(folder: Path, how: How) -> LogWriter:
    if how.worker is not None:
        return writers.open_free(folder)
    writers.finish(folder)  # what workers have left, if there were any
    return LogWriter(folder)


def _answer(
    app: App,
    listener: socket.socket,
    how: How,
    *,
    ready: Path | None = None,
    grpc: tuple[str, int] | None = None,
    jobs: Keeper | None = None,
) -> None:
    """Answer requests until a signal; `ready` is a file that says so meanwhile."""
    take_short_turns()
    app.tracing, measuring = observed(app.metrics)
    config = uvicorn.Config(
        app,
        loop="uvloop",
        # The short way knows no spans: with them it leaves every request to the long one.
        http=lane(app.answer_now if app.tracing is None else later, app.after, how.client_seconds),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_keep_alive=75,
    )
    sockets = [listener]
    if how.worker is not None:
        app.siblings = Siblings(how.worker.folder, how.worker.name)
        host = listener.getsockname()[0]
        sockets.append(listen(host if is_loopback(host) else "127.0.0.1", 0))
    server = Server(config, app, how.drain, partial(_told, app, sockets, ready))
    try:
        with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
            runner.run(_serve(server, app, sockets, grpc, how, jobs))
    finally:
        if how.worker is None and ready is not None:
            ready.unlink(missing_ok=True)
        for one in sockets:
            one.close()
        for sending in (app.tracing, measuring):
            if sending is not None:
                sending.close()


def _told(app: App, sockets: Sequence[socket.socket], ready: Path | None) -> None:
    """Tell whoever waits for it that the server answers."""
    if app.siblings is not None:
        host, port, *_ = sockets[-1].getsockname()
        app.siblings.announce(Door(os.getpid(), host, port))
    elif ready is not None:
        tell(ready, sockets[0].getsockname()[1])


async def _serve(
    server: Server,
    app: App,
    sockets: list[socket.socket],
    grpc: tuple[str, int] | None,
    how: How,
    jobs: Keeper | None,
) -> None:
    if jobs is not None:
        jobs.start(app)
    turns = asyncio.create_task(hurry_fast_models(app))
    try:
        if grpc is not None:
            server.stop_too = await _speak_grpc(app, grpc, how)
        await server.serve(sockets=sockets)
    finally:
        turns.cancel()
        if jobs is not None:
            await jobs.close()
        await app.close(until=server.until)


async def _speak_grpc(app: App, at: tuple[str, int], how: How) -> Stop:
    """Answer clients of gRPC, too; return what stops that."""
    from setpoint.serve.grpc import server as grpc  # noqa: PLC0415 - an extra

    started = await grpc.start(app, *at, shared=how.worker is not None)
    return partial(grpc.stop, started)


def _depot(how: How) -> Depot | None:
    """Return where answers of asynchronous invocations go, if anywhere."""
    return None if how.async_output is None else Depot(how.async_output, aws())


def _at(host: str, how: How) -> tuple[str, int] | None:
    """Return where gRPC is to be answered, if anywhere.

    Raises:
        MissingExtra: If it is not installed.
    """
    if how.grpc_port is None:
        return None
    require_grpc()
    return host, how.grpc_port
