"""Starts, watches and stops the parts of one machine's platform."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from setpoint.artifacts.home import service as artifacts
from setpoint.cli import pages
from setpoint.config import Settings, environment, serving
from setpoint.core.defects import in_words
from setpoint.core.lifetime import await_predecessor, sole_owner
from setpoint.data import place
from setpoint.db.local import LocalBackend, open_local
from setpoint.errors import Conflict, SetpointError
from setpoint.serve.grpc import require_grpc

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
        grpc_port: int | None = None,
        workers: int | None = None,
        model_memory: str | None = None,
        control: bool = True,
    ) -> None:
        self.settings = settings
        self._host = host
        self._port = port
        self._inference_port = inference_port
        self._grpc_port = grpc_port
        self._serving = serving(workers=workers, model_memory=model_memory)
        self._control = control
        self._stopping = threading.Event()
        self._inference: subprocess.Popen[bytes] | None = None
        self._backend: LocalBackend | None = None

    @contextmanager
    def running(self) -> Iterator[None]:
        """Hold the folder, with inference and the controller running.

        Raises:
            Denied: If the address is not loopback (there is no login yet).
            Conflict: If the folder is already being run, a port is taken, or the datasets of
                the database are files of another folder.
            Unavailable: If the folder cannot be written, or the artifact store refuses.
        """
        pages.only_loopback(self._host)
        with sole_owner(self.settings.home):
            await_predecessor(self.settings.home)
            self._require_ports()
            self._inference = self._start_inference()  # it loads while the store is opened
            threads: list[threading.Thread] = []
            try:
                self._backend = open_local(self.settings)
                artifacts.require(self._backend)
                self._require_here()
                threads += self._start_threads()
                with pages.delivering(self._backend):
                    yield
            finally:
                self._stopping.set()
                _stop(self._inference, self._serving.drain + _STOP_SECONDS)
                for thread in threads:
                    thread.join(_STOP_SECONDS)
                if self._backend is not None:
                    self._backend.engine.dispose()

    def _start_threads(self) -> list[threading.Thread]:
        """Keep inference running, and the controller if there shall be one."""
        threads = [threading.Thread(target=self._keep_inference, daemon=True)]
        if self._control:
            threads.append(threading.Thread(target=self._reconcile, daemon=True))
        for thread in threads:
            thread.start()
        return threads

    def serve(self) -> None:
        """Answer pages and API until told to stop."""
        if self._backend is None:
            raise Conflict("the platform is not running", hint="enter running() first")
        pages.serve(self._backend, self._host, self._port)

    def _require_here(self) -> bool:
        """Tell whether the datasets and the prediction log lie here; there may be none yet.

        Raises:
            Conflict: If they lie elsewhere.
        """
        assert self._backend is not None  # noqa: S101 - set before anybody asks
        with self._backend.reading() as conn:
            return place.require(conn, self.settings)

    def _require_ports(self) -> None:
        """Refuse to start what could not answer.

        Raises:
            Conflict: If a port is taken.
            MissingExtra: If gRPC is asked for and not installed.
        """
        ports = [(self._port, "--port"), (self._inference_port, "--inference-port")]
        if self._grpc_port is not None:
            require_grpc()
            ports.append((self._grpc_port, "--grpc-port"))
        for port, option in ports:
            pages.require_free(self._host, port, option)

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
        if self._grpc_port is not None:
            command += ["--grpc-port", str(self._grpc_port)]
        command += ["--workers", str(self._serving.workers), "--drain", str(self._serving.drain)]
        if self._serving.model_memory is not None:
            command += ["--model-memory", str(self._serving.model_memory)]
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

    def _reconcile(self) -> None:
        """Tick until told to stop; one model's trouble is told and tried again, never fatal."""
        from setpoint.control.controller import Controller  # noqa: PLC0415 - pages need not wait
        from setpoint.control.engine import Subprocess  # noqa: PLC0415

        if not self._await_models():
            return
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

    def _await_models(self) -> bool:
        """Wait until there are models whose files lie here; False if told to stop before.

        Where nothing was applied, but something serves (put live by hand, or from before it was
        written down), its log is what this machine writes.
        """
        from setpoint.control.store import all_applied  # noqa: PLC0415 - pages need not wait
        from setpoint.serve.store import generations  # noqa: PLC0415

        assert self._backend is not None  # noqa: S101 - set before the thread starts
        home, said = self._backend, ""
        while not self._stopping.is_set():
            try:
                if self._require_here():
                    return True
                with home.reading() as conn:
                    known = all_applied(conn) or generations(conn)
                if known:
                    place.claim(home.engine, self.settings, home.clock.now())
                    continue
            except SetpointError as error:
                if error.message != said:
                    click.echo(f"controller: {error}", err=True)
                said = error.message
            self._stopping.wait(_TICK_SECONDS)
        return False

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


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _stop(process: subprocess.Popen[bytes] | None, seconds: float) -> None:
    if process is None or process.poll() is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
