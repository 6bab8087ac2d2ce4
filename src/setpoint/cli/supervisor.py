"""Starts, watches and stops the parts of one machine's platform."""

import ipaddress
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

import click
import uvicorn

from setpoint.config import Settings, environment
from setpoint.core.defects import in_words
from setpoint.core.lifetime import await_predecessor, sole_owner
from setpoint.db.local import LocalBackend, open_local
from setpoint.errors import Conflict, Denied

if TYPE_CHECKING:
    from setpoint.control.controller import Controller

_TICK_SECONDS = 1.0
_STOP_SECONDS = 10.0


class Supervisor:
    """Pages and API in this process, the controller in a thread, inference as a child."""

    def __init__(
        self,
        settings: Settings,
        *,
        host: str,
        port: int,
        inference_port: int,
        control: bool = True,
    ) -> None:
        self.settings = settings
        self._host = host
        self._port = port
        self._inference_port = inference_port
        self._control = control
        self._stopping = threading.Event()
        self._inference: subprocess.Popen[bytes] | None = None
        self._backend: LocalBackend | None = None

    @contextmanager
    def running(self) -> Iterator[None]:
        """Hold the folder, with inference and the controller running.

        Raises:
            Denied: If the address is not loopback (there is no login yet).
            Conflict: If the folder is already being run, or a port is taken.
            Unavailable: If the folder cannot be written.
        """
        _only_loopback(self._host)
        with sole_owner(self.settings.home):
            await_predecessor(self.settings.home)
            for port, option in (
                (self._port, "--port"),
                (self._inference_port, "--inference-port"),
            ):
                _require_free(self._host, port, option)
            self._inference = self._start_inference()
            self._backend = open_local(self.settings)
            threads = [
                threading.Thread(target=self._keep_inference, daemon=True),
                threading.Thread(target=self._deliver, daemon=True),
            ]
            if self._control:
                threads.append(threading.Thread(target=self._reconcile, daemon=True))
            for thread in threads:
                thread.start()
            try:
                yield
            finally:
                self._stopping.set()
                _stop(self._inference)
                for thread in threads:
                    thread.join(_STOP_SECONDS)
                self._backend.engine.dispose()

    def serve(self) -> None:
        """Answer pages and API until told to stop."""
        if self._backend is None:
            raise Conflict("the platform is not running", hint="enter running() first")
        from setpoint.server.app import create_app  # noqa: PLC0415 - while inference starts

        app = create_app(self._backend)
        config = uvicorn.Config(
            app, self._host, self._port, log_level="warning", timeout_graceful_shutdown=2
        )
        _Server(config).run()

    def _start_inference(self) -> subprocess.Popen[bytes]:
        command = [
            sys.executable,
            "-m",
            "setpoint.serve",
            "--home",
            str(self.settings.home),
        ]
        command += [
            "--host",
            self._host,
            "--port",
            str(self._inference_port),
            "--with-parent",
            str(os.getpid()),
        ]
        return subprocess.Popen(command, env=environment(self.settings), start_new_session=True)  # noqa: S603

    def _keep_inference(self) -> None:
        """Start inference again whenever it ends, unless it ends at once again and again."""
        quick = 0
        while not self._stopping.is_set() and self._inference is not None:
            try:
                self._inference.wait(0.5)
            except subprocess.TimeoutExpired:
                quick = 0
                continue
            if self._stopping.is_set() or quick >= 3:
                return
            click.echo(
                f"inference ended with {self._inference.returncode}; starting it again",
                err=True,
            )
            quick += 1
            self._inference = self._start_inference()

    def _deliver(self) -> None:
        """Tell channels of events until told to stop."""
        from setpoint.notify.deliver import Deliverer  # noqa: PLC0415 - pages need not wait
        from setpoint.server.mlflow.registry_webhooks import KINDS  # noqa: PLC0415

        assert self._backend is not None  # noqa: S101 - set before the thread starts
        Deliverer(self._backend, KINDS).run(self._stopping)

    def _reconcile(self) -> None:
        """Tick until told to stop; one model's trouble is told and tried again, never fatal."""
        from setpoint.control.controller import Controller  # noqa: PLC0415 - pages need not wait
        from setpoint.control.engine import Subprocess  # noqa: PLC0415

        assert self._backend is not None  # noqa: S101 - set before the thread starts
        address = f"http://{_bracketed(self._host)}:{self._inference_port}"
        while not self._stopping.is_set():
            engine = Subprocess()
            controller = Controller(self._backend, inference=address, engine=engine)
            said = ""
            try:
                with controller.leased(self._stopping) as mine:
                    while mine and not controller.lost and not self._stopping.wait(_TICK_SECONDS):
                        said = self._tick(controller, said)
                        engine.tidy()
            finally:
                engine.stop()
                controller.close()

    def _tick(self, controller: "Controller", said: str) -> str:
        """Tick once; return the trouble there was, told unless it was `said` already."""
        try:
            controller.tick()
        except Exception as error:  # noqa: BLE001 - the outermost frame of the thread
            if said and type(error).__name__ in said and str(error) in said:
                return said
            trouble = f"{type(error).__name__} {error}"
            click.echo(f"controller: {in_words(error)}", err=True)
            return trouble
        return ""


class _Server(uvicorn.Server):
    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.force_exit = self.should_exit  # a second Ctrl-C does not wait
        self.should_exit = True
        del sig, frame


def _only_loopback(host: str) -> None:
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise Denied(
            f"{host} is not a loopback address, and there is no login yet",
            hint="bind 127.0.0.1 and reach it through a tunnel",
        )


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _require_free(host: str, port: int, option: str) -> None:
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


def _stop(process: subprocess.Popen[bytes] | None) -> None:
    if process is None or process.poll() is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
