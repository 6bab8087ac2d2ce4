"""A server of several processes that share a port and nothing else.

This process answers nobody. It holds the listening sockets, one for each worker and all of the
same port, so that the system deals connections out evenly and none is lost while a worker is
replaced: whoever was dealt to it waits in the socket for the next one, and whoever comes meanwhile
is dealt to those that answer. A worker that dies is started again; SIGHUP replaces all of them, one
after the other, each by one that already answers.
"""

import logging
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from msgspec import Struct

from setpoint.errors import Unavailable
from setpoint.serve.listening import deal_among, refuse_more
from setpoint.serve.siblings import bury, door_of

_START_SECONDS = 120.0  #: models may be large
_TRIES = 2  #: to start a worker in another's place: it may be killed for no fault of its own
_LOOK_SECONDS = 0.02
_GRACE_SECONDS = 2.0  #: besides the time to drain
_WELL_SECONDS = 10.0  #: a worker that lived as long was well
_LONGEST_SECONDS = 10.0  #: between two starts of one that is not

_logger = logging.getLogger(__name__)


class Server(Struct, frozen=True, kw_only=True):
    """What the workers are started for."""

    words: Sequence[str]  #: the command that starts one, what it serves included
    folder: Path  #: where they tell of themselves
    drain: float  #: seconds to answer what was accepted, once told to stop


class _Slot:
    """A listening socket, and the worker that answers on it."""

    def __init__(self, listener: socket.socket) -> None:
        self.listener = listener
        self.process: subprocess.Popen[bytes] | None = None
        self.name = ""
        self.began = 0.0
        self.quick = 0  #: ends one after the other, each soon after its start
        self.due = 0.0  #: when it is started again


class Workers:
    """Starts, watches, replaces and stops the workers. For the main thread: it takes signals."""

    def __init__(self, server: Server, listeners: Sequence[socket.socket]) -> None:
        self._server = server
        self._slots = [_Slot(listener) for listener in listeners]
        self._count = 0
        self._stops = 0  #: signals that asked to stop
        self._renew = False
        self._dealt = list(range(len(listeners)))  #: to which connections are dealt, by number
        self._woken, self._wakes = socket.socketpair()

    def run(self, ready: Path | None, port: int) -> None:
        """Answer until SIGTERM or SIGINT, then have what was accepted answered.

        Args:
            ready: A file that says so while all workers answer for the first time or later.
            port: The one they share.

        Raises:
            Unavailable: If a worker does not start.
        """
        from setpoint.serve.draining import tell  # noqa: PLC0415 - uvicorn, which workers load

        self._server.folder.mkdir(parents=True, exist_ok=True)
        for left in (*self._server.folder.glob("*"), *self._server.folder.glob(".*")):
            left.unlink()  # of an earlier server
        with self._signals():
            try:
                for slot in self._slots:
                    self._start(slot)
                for slot in self._slots:
                    if not self._answers(slot) and not self._stops:
                        raise Unavailable(
                            "a worker of the inference server does not start",
                            hint="it has said why above",
                        )
                if ready is not None and not self._stops:
                    tell(ready, port)
                while not self._stops:
                    self._look()
            finally:
                if ready is not None:
                    ready.unlink(missing_ok=True)
                self._stop()

    def _look(self) -> None:
        """Wait for a signal, or until something is due; start whoever has ended again."""
        self._wait(1.0 if len(self._dealt) == len(self._slots) else _LOOK_SECONDS)
        now = time.monotonic()
        for slot in self._slots:
            if slot.process is not None and slot.process.poll() is not None:
                self._ended(slot, now)
            if slot.process is None and slot.due <= now and not self._stops:
                self._start(slot)
        if self._renew:
            self._renew = False
            for slot in self._slots:
                self._replace(slot)
        self._deal()

    def _deal(self) -> None:
        """Have connections dealt out to the workers that answer, as long as one does."""
        well = [at for at, slot in enumerate(self._slots) if self._is_well(slot)]
        if well and well != self._dealt:
            deal_among(self._slots[0].listener, well)
            self._dealt = well

    def _is_well(self, slot: _Slot) -> bool:
        """Tell whether a worker runs and answers."""
        return slot.process is not None and door_of(self._server.folder, slot.name) is not None

    def _ended(self, slot: _Slot, now: float) -> None:
        assert slot.process is not None  # noqa: S101 - the caller looked
        bury(self._server.folder, slot.name)
        slot.quick = 0 if now - slot.began > _WELL_SECONDS else slot.quick + 1
        pause = min(0.1 * 2 ** (slot.quick - 1), _LONGEST_SECONDS) if slot.quick > 1 else 0.0
        slot.due, code = now + pause, slot.process.returncode
        slot.process = None
        said = {"code": code, "again_in_seconds": pause}
        _logger.warning("worker ended with %d; starting another", code, extra=said)

    def _replace(self, slot: _Slot) -> None:
        """Have another worker answer on a socket before the one that does ends."""
        old, name = slot.process, slot.name
        for _ in range(_TRIES):
            self._start(slot)
            if self._answers(slot):
                if old is not None:
                    _end(old, self._server.drain)
                    bury(self._server.folder, name)
                return
            if slot.process is not None and slot.process.poll() is None:
                _end(slot.process, self._server.drain)
            bury(self._server.folder, slot.name)
        if not self._stops:
            _logger.error("worker not replaced: the new one does not answer")
        slot.process, slot.name = old, name

    def _start(self, slot: _Slot) -> None:
        self._count += 1
        slot.name, slot.began = str(self._count), time.monotonic()
        file = slot.listener.fileno()
        own = ["--worker", slot.name, "--fd", str(file), "--siblings", str(self._server.folder)]
        words = [*self._server.words, *own, "--with-parent", str(os.getpid())]
        slot.process = subprocess.Popen(words, pass_fds=[file])  # noqa: S603 - our own words

    def _answers(self, slot: _Slot) -> bool:
        """Wait until a worker answers; tell whether it does."""
        end = time.monotonic() + _START_SECONDS
        while door_of(self._server.folder, slot.name) is None:
            ended = slot.process is None or slot.process.poll() is not None
            if ended or self._stops or time.monotonic() > end:
                return False
            self._wait(_LOOK_SECONDS)
        return True

    def _stop(self) -> None:
        """Have all workers end; a second signal gives up what they have not answered."""
        for slot in self._slots:
            refuse_more(slot.listener)
            slot.listener.close()
        running = [slot.process for slot in self._slots if slot.process is not None]
        told = 0
        end = time.monotonic() + self._server.drain + _GRACE_SECONDS
        while any(process.poll() is None for process in running):
            if told < max(self._stops, 1):
                told += 1
                for process in running:
                    process.send_signal(signal.SIGTERM)
            if time.monotonic() > end:
                for process in running:
                    process.kill()
                    process.wait()
            self._wait(_LOOK_SECONDS)

    def _wait(self, seconds: float) -> None:
        if select.select([self._woken], [], [], seconds)[0]:
            with suppress(BlockingIOError):
                self._woken.recv(4_096)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        def told(number: int, _: FrameType | None) -> None:
            self._stops += number in (signal.SIGTERM, signal.SIGINT)
            self._renew = self._renew or number == signal.SIGHUP

        self._woken.setblocking(False)  # noqa: FBT003 - the standard library's own
        self._wakes.setblocking(False)  # noqa: FBT003
        caught = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
        before = {one: signal.signal(one, told) for one in caught}
        woke = signal.set_wakeup_fd(self._wakes.fileno())
        try:
            yield
        finally:
            signal.set_wakeup_fd(woke)
            for one, handler in before.items():
                signal.signal(one, handler)
            self._woken.close()
            self._wakes.close()


def words_of_this_python() -> list[str]:
    """Return the start of a command for a process of the same Python, seeing the same modules."""
    return [sys.executable, *(["-S"] if sys.flags.no_site else []), "-m", "setpoint.serve"]


def _end(process: "subprocess.Popen[bytes]", drain: float) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(drain + _GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
