"""A model in a process of its own: one that hangs, leaks or crashes harms nobody but itself.

The server's side is a predictor like any other; rows and scores go through a socket. A process
that ends, or takes longer for a call than its endpoint has for a request (then it is killed), is
started again, at once the first time and after longer pauses from then on. Calls meanwhile fail,
so that the fallback answers, or nobody.

The process, ``python -m setpoint.serve.own FD``, is told what to load and then what to call. Both
sides are the same program, and what they send one another is pickled: a model that wants to
harm the server can. It is a fence against accidents.
"""

import logging
import os
import pickle
import resource
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import traceback
import weakref
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import Any

from setpoint.config import alike
from setpoint.core.lifetime import end_with_parent
from setpoint.serve.entities import EndpointSettings
from setpoint.serve.protocols import Predictor

_LENGTH = struct.Struct("<Q")
_LOAD_SECONDS = 300.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 30.0  #: seconds before a start, doubled each time
_WELL_SECONDS = 10.0  #: a process that lived as long was well

_log = logging.getLogger(__name__)


class Ended(Exception):  # the model's failure, not an error of ours
    """The process of a model ended, or was ended, or is not there yet."""


class Own:
    """A predictor whose model runs in processes of its own, one for each call at a time."""

    def __init__(
        self, load: Callable[[], Predictor], settings: EndpointSettings, name: str
    ) -> None:
        """Start the processes and wait until the model is loaded.

        Args:
            load: Loads the model; is called in the processes, and must be picklable.
            settings: Of its endpoint.
            name: Of the version, for the server's log.

        Raises:
            Exception: What `load` raised there, in the same words.
            Ended: If a process ended meanwhile.
        """
        what = pickle.dumps((load, settings.memory), protocol=5)
        discreet = bool(settings.redact)
        self._all = [
            _Process(what, settings.timeout, name, discreet=discreet)
            for _ in range(settings.concurrency)
        ]
        self._free: SimpleQueue[_Process] = SimpleQueue()
        self._known: dict[str, Any] = {}
        # Nobody closes it: a release may replace its endpoint while requests still use it.
        weakref.finalize(self, _close, self._all)
        for process in self._all:
            self.inputs = process.start()
            self._free.put(process)

    @property
    def down(self) -> str | None:
        """Why no process could answer now, None if one could."""
        told = [process.down for process in self._all]
        return None if None in told else told[0]

    @property
    def pids(self) -> list[int]:
        """The processes that run now."""
        return [process.pid for process in self._all if process.down is None]

    def predict(self, rows: Any) -> Any:
        return self._call("predict", rows)

    def __getattr__(self, name: str) -> Any:
        """Return what the model has by this name; what can be called is called there."""
        if name.startswith("_"):
            raise AttributeError(name)
        if name not in self._known:
            self._known[name] = self._ask(("get", name))
        kind, value = self._known[name]
        if kind == "missing":
            raise AttributeError(name)
        return partial(self._call, name) if kind == "method" else value

    def _call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        return self._ask(("call", name, args, kwargs))[1]

    def _ask(self, asked: tuple[Any, ...]) -> Any:
        process = self._free.get()
        try:
            return process.ask(asked)
        finally:
            self._free.put(process)


class _Process:
    """One process, and those that take its place. One thread asks at a time."""

    def __init__(self, what: bytes, seconds: float | None, name: str, *, discreet: bool) -> None:
        self._what = what
        self._discreet = discreet  # what the model says of a row is not logged
        self._seconds = seconds
        self._name = name
        self._child: subprocess.Popen[bytes] | None = None
        self._wire: socket.socket | None = None
        self._began = 0.0
        self._pause = 0.0
        self._closed = threading.Event()
        self.down: str | None = "it was not started yet"

    @property
    def pid(self) -> int:
        return 0 if self._child is None else self._child.pid

    def start(self) -> Any:
        """Start it, and return the model's inputs once it is loaded."""
        self._wire, theirs = socket.socketpair()
        with theirs:
            words = [sys.executable, *(["-S"] if sys.flags.no_site else []), "-m", __name__]
            words += [str(theirs.fileno()), str(os.getpid())]
            self._child = subprocess.Popen(  # noqa: S603 - our own words
                words, pass_fds=[theirs.fileno()], env=alike(), stdin=subprocess.DEVNULL
            )
        self._began = time.monotonic()
        try:
            self._wire.settimeout(_LOAD_SECONDS)
            _send(self._wire, self._what)
            inputs = self._answer("load")
        except Exception:
            self._end()
            raise
        self.down = None
        return inputs

    def ask(self, asked: tuple[Any, ...]) -> Any:
        """Have it do something.

        Raises:
            Ended: If it is not there, or not any more.
            Exception: What the model raised.
        """
        if self.down is not None or self._wire is None:
            raise Ended(f"its process is not there: {self.down}")
        self._wire.settimeout(self._seconds)
        try:
            _send(self._wire, pickle.dumps(asked, protocol=5))
            return self._answer("answer")
        except Ended as error:
            self.down = str(error)
            self._end()
            _log.warning("process of %s: %s", self._name, str(error))
            threading.Thread(target=self._again, name=f"restart {self._name}", daemon=True).start()
            raise

    def close(self) -> None:
        self._closed.set()
        self._end()

    def _answer(self, what: str) -> Any:
        assert self._wire is not None  # noqa: S101 - it was started
        try:
            kind, *said = pickle.loads(_receive(self._wire))  # noqa: S301 - our own process
        except TimeoutError:
            raise Ended(f"it did not {what} within {self._wire.gettimeout():g} s") from None
        except (OSError, EOFError):
            raise Ended(self._how()) from None
        if kind == "raised":
            name, text, trace = said
            about = {"kind": name} if self._discreet else {"trace": trace}
            _log.warning("model raised in its process", extra=about)
            raise type(name, (Exception,), {})(text)
        return said[0]

    def _how(self) -> str:
        """Say how the process ended."""
        assert self._child is not None  # noqa: S101 - it was started
        try:
            code = self._child.wait(1.0)
        except subprocess.TimeoutExpired:
            return "it does not answer"
        if code < 0:
            with suppress(ValueError):
                return f"it was ended by {signal.Signals(-code).name}"
        return f"it ended with {code}"

    def _end(self) -> None:
        if self._wire is not None:
            self._wire.close()
            self._wire = None
        if self._child is not None:
            self._child.kill()
            self._child.wait()

    def _again(self) -> None:
        """Start it until it answers."""
        well = time.monotonic() - self._began > _WELL_SECONDS
        self._pause = 0.0 if well else max(_FIRST_PAUSE, min(2 * self._pause, _LONGEST_PAUSE))
        while not self._closed.wait(self._pause):
            try:
                self.start()
            except Exception as error:  # noqa: BLE001 - a model is foreign code
                self.down = f"it does not start: {error}"
                _log.warning("process of %s: %s", self._name, self.down)
                self._pause = max(_FIRST_PAUSE, min(2 * self._pause, _LONGEST_PAUSE))
            else:
                break
        if self._closed.is_set():
            self._end()


def _close(processes: list[_Process]) -> None:
    for process in processes:
        process.close()


def _send(wire: socket.socket, data: bytes) -> None:
    try:
        wire.sendall(_LENGTH.pack(len(data)))
        wire.sendall(data)
    except TimeoutError:
        raise
    except OSError:  # it has ended; reading says how
        return


def _receive(wire: socket.socket) -> bytes:
    (length,) = _LENGTH.unpack(_exactly(wire, _LENGTH.size))
    return _exactly(wire, length)


def _exactly(wire: socket.socket, size: int) -> bytes:
    found = bytearray(size)
    view, at = memoryview(found), 0
    while at < size:
        got = wire.recv_into(view[at:])
        if not got:
            raise EOFError
        at += got
    return bytes(found)


# ---- inside of the process -----------------------------------------------------------------


def main() -> None:
    """Load a model and do with it what is asked, until nobody asks any more."""
    wire = socket.socket(fileno=int(sys.argv[1]))
    end_with_parent(int(sys.argv[2]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server
    load, memory = pickle.loads(_receive(wire))  # noqa: S301 - the server's
    if memory is not None:
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    try:
        model = load()
        _send(wire, pickle.dumps(("ok", list(model.inputs)), protocol=5))
    except Exception as error:  # noqa: BLE001 - a model is foreign code
        _send(wire, _raised(error))
        return
    with suppress(EOFError, ConnectionError):
        while True:
            _send(wire, _done(model, pickle.loads(_receive(wire))))  # noqa: S301


def _done(model: Any, asked: tuple[Any, ...]) -> bytes:
    try:
        if asked[0] == "get":
            found = getattr(model, asked[1], _MISSING)
            kind = "missing" if found is _MISSING else "method" if callable(found) else "value"
            answer: Any = (kind, found if kind == "value" else None)
        else:
            _, name, args, kwargs = asked
            answer = ("called", getattr(model, name)(*args, **kwargs))
        return pickle.dumps(("ok", answer), protocol=5)
    except Exception as error:  # noqa: BLE001 - a model is foreign code
        return _raised(error)


_MISSING = object()


def _raised(error: Exception) -> bytes:
    trace = "".join(traceback.format_exception(error))[-4000:]
    return pickle.dumps(("raised", type(error).__name__, str(error), trace), protocol=5)


if __name__ == "__main__":
    main()
