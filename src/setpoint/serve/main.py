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
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn

from setpoint.config import Settings
from setpoint.core.clock import clock_of
from setpoint.db.engine import connect
from setpoint.errors import Conflict, Denied, Invalid, NotFound, Unavailable
from setpoint.serve.app import App
from setpoint.serve.endpoints import Endpoints
from setpoint.serve.lane import lane
from setpoint.serve.log import LogWriter
from setpoint.serve.metrics import Metrics
from setpoint.serve.protocols import Fallback, Load, Predictor

if TYPE_CHECKING:
    from setpoint.models.entities import ModelVersion

PORT = 8766
_RETRY_SECONDS = 0.05


def run(
    settings: Settings,
    host: str = "127.0.0.1",
    port: int = PORT,
    log_level: str = "warning",
    *,
    load: Load | None = None,
    patience: float = 0.0,
) -> None:
    """Serve until SIGTERM or SIGINT, then finish what was begun and return.

    ``home/run/inference.json`` says ``{"pid": …, "port": …}`` while the server is ready.

    Args:
        settings: The store. Its clock is obeyed.
        host: A loopback address.
        port: 0 takes a free one.
        log_level: Of the standard library's logging, to stderr.
        load: How a version is brought into memory; from the registry by default.
        patience: Seconds that another server, about to end, may take to give back the
            port and the log.

    Raises:
        Denied: If `host` can be reached from other machines.
        Conflict: If the port or the store's log is in use.
        Unavailable: If the folder cannot be written.
    """
    logging.basicConfig(level=log_level.upper(), format="%(levelname)s %(name)s %(message)s")
    listener, log = _take(settings, host, port, time.monotonic() + patience)
    metrics = Metrics()
    fallback = baselines(settings)
    endpoints = Endpoints(
        connect(settings.database_url), load or from_registry(settings), metrics, fallback
    )
    app = App(endpoints, log, metrics, clock_of(settings.home))
    with contextlib.suppress(Unavailable):  # not ready yet; the follower goes on trying
        endpoints.refresh()
    endpoints.follow()
    ready = settings.home / "run" / "inference.json"
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
            runner.run(_serve(server, app, listener))
    finally:
        ready.unlink(missing_ok=True)
        listener.close()


def from_registry(settings: Settings) -> Load:
    """Return a function that loads registered versions of the store in `settings`."""

    def load(model: str, version: int) -> Predictor:
        from setpoint.artifacts.store import open_store  # noqa: PLC0415 - on first use
        from setpoint.models import runtime  # noqa: PLC0415

        return runtime.load(open_store(settings), _registered(settings, model, version))

    return load


def baselines(settings: Settings) -> Fallback:
    """Return a function that loads the baseline registered with a version, if there is one."""

    def load(model: str, version: int) -> Predictor | None:
        from setpoint.artifacts.store import open_store  # noqa: PLC0415 - on first use
        from setpoint.models import runtime  # noqa: PLC0415

        try:
            baseline = _registered(settings, model, version).baseline
        except NotFound:
            return None
        return None if baseline is None else runtime.load(open_store(settings), baseline)

    return load


def _registered(settings: Settings, model: str, version: int) -> "ModelVersion":
    from setpoint.models import store  # noqa: PLC0415 - on first use

    engine = connect(settings.database_url)
    try:
        with engine.execution_options(setpoint_reads=True).begin() as conn:
            return store.get(conn, model, version)
    finally:
        engine.dispose()


class _Server(uvicorn.Server):
    """Tells when it is ready, and stops by signals without dying of them."""

    def __init__(self, config: uvicorn.Config, ready: Path, port: int) -> None:
        super().__init__(config)
        self._ready = ready
        self._port = port

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
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


async def _serve(server: uvicorn.Server, app: App, listener: socket.socket) -> None:
    try:
        await server.serve(sockets=[listener])
    finally:
        await app.close()


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


def _listen(host: str, port: int) -> socket.socket:
    address = "127.0.0.1" if host == "localhost" else host
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        raise Invalid(f"{host!r} is no address to listen on", hint="use 127.0.0.1") from None
    if not ip.is_loopback:
        raise Denied(
            f"refusing to listen on {host}: the network could send predictions and labels",
            hint="use 127.0.0.1; other addresses need authentication, which Setpoint has not yet",
        )
    listener = socket.socket(socket.AF_INET6 if ip.version == 6 else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address, port))
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
