"""Where a training runs: in this process, or in one of its own that may die.

The user's code may take its process down: by `os._exit`, a segfault in a library, or the
kernel when memory runs out. In a process of its own that costs one training.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Protocol

import msgspec

from setpoint.config import environment
from setpoint.control import store
from setpoint.control.entities import Job
from setpoint.db.local import LocalBackend
from setpoint.errors import SetpointError, Unavailable, UserCodeFailed
from setpoint.pipelines.local import StepRun

Told = Callable[[StepRun], None]

TRY_AGAIN = 75  #: exit code of a training that something temporary stopped (EX_TEMPFAIL)
_MOST_DEATHS = 3  #: by signals from outside, of one training
_PAUSE_SECONDS = 5.0  #: before a training that was stopped is tried again
_STOP_SECONDS = 5.0
_FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


class Engine(Protocol):
    """Carries out a training."""

    def __call__(self, home: LocalBackend, job: Job, told: Told) -> Job | None:
        """Begin `job` or look after it; None while it goes on, to be asked again."""


def in_process(home: LocalBackend, job: Job, told: Told) -> Job | None:
    """Train here and now."""
    from setpoint.control.training import train  # noqa: PLC0415 - loads scikit-learn

    return train(home, job, told)


class Subprocess:
    """Trains in child processes, one at a time; asking again looks after the child.

    A child that kills itself (`os._exit`, a segfault) fails its training at once. One that
    was killed from outside, as by the kernel when memory ran out, is tried three times.
    """

    def __init__(self) -> None:
        self._children: dict[str, _Child] = {}
        self._deaths: dict[str, int] = {}
        self._not_before: dict[str, float] = {}

    @property
    def busy(self) -> bool:
        """Whether a training is going on."""
        return any(child.code is None for child in self._children.values())

    def __call__(self, home: LocalBackend, job: Job, told: Told) -> Job | None:
        child = self._children.get(job.id)
        if child is None:
            if not self.busy and time.monotonic() >= self._not_before.get(job.id, 0.0):
                self._children[job.id] = _Child(home, job, told)
            return None
        code = child.code  # before its last words are read
        child.tell()
        if code is None:
            return None
        child.close()
        del self._children[job.id]
        if not _is_open(home, job):
            return job
        return self._died(home, job, code)

    def tidy(self) -> None:
        """Bury children whose trainings have their outcome; call it now and then."""
        for name, child in list(self._children.items()):
            if child.code is not None and not _is_open(child.home, child.job):
                child.tell()
                child.close()
                del self._children[name]

    def stop(self) -> None:
        """End what is going on; its training stays open and goes on when asked for again."""
        for child in self._children.values():
            child.stop()
        self._children.clear()

    def _died(self, home: LocalBackend, job: Job, code: int) -> Job | None:
        if code != TRY_AGAIN:
            deaths = self._deaths[job.id] = self._deaths.get(job.id, 0) + 1
            if -code not in _FROM_OUTSIDE or deaths >= _MOST_DEATHS:
                from setpoint.control.training import failed  # noqa: PLC0415 - heavy, and rare

                return failed(home, job, _reason(code, deaths))
        self._not_before[job.id] = time.monotonic() + _PAUSE_SECONDS
        if code == TRY_AGAIN:  # the child has said why
            return None
        raise Unavailable(
            f"the training of {job.model} was killed by {signal.Signals(-code).name}",
            where=job.id,
            hint="it is tried again",
        )


class _Child:
    """A training process, and the pipe through which it tells of its steps."""

    def __init__(self, home: LocalBackend, job: Job, told: Told) -> None:
        self.home = home
        self.job = job
        self._told = told
        self._read, write = os.pipe()
        os.set_blocking(self._read, False)
        self._rest = b""
        command = [sys.executable, "-m", "setpoint.control.worker"]
        command += ["--with-parent", str(os.getpid())]
        command += ["--model", job.model, "--job", job.id, "--tell", str(write)]
        command += ["--home", str(home.settings.home)]
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own module
                command,
                env=environment(home.settings),
                stdin=subprocess.DEVNULL,
                stdout=2,  # what the user's code prints must not mix with our --json
                pass_fds=[write],
                start_new_session=True,  # a Ctrl-C is its parent's to hear
            )
        finally:
            os.close(write)

    @property
    def code(self) -> int | None:
        return self._process.poll()

    def tell(self) -> None:
        """Pass on the steps that were finished since the last time."""
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._read, 65536):
                self._rest += data
        *lines, self._rest = self._rest.split(b"\n")
        for line in lines:
            self._told(msgspec.json.decode(line, type=StepRun))

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self.close()

    def close(self) -> None:
        os.close(self._read)


def _is_open(home: LocalBackend, job: Job) -> bool:
    with home.reading() as conn:
        found = store.open_job(conn, job.model)
    return found is not None and found.id == job.id


def _reason(code: int, deaths: int) -> SetpointError:
    if code >= 0:
        return UserCodeFailed(
            f"the training process exited with code {code} before it was done",
            where="a call of os._exit, most likely",
            hint="a function of a project must return or raise, not exit",
        )
    name = signal.Signals(-code).name
    if -code in _FROM_OUTSIDE:
        return UserCodeFailed(
            f"the training process was killed by {name} {deaths} times",
            where="the kernel does so when memory runs out",
            hint="train on fewer rows or columns, or give the machine more memory",
        )
    return UserCodeFailed(
        f"the training process crashed with {name}",
        where="in a library that the train function calls",
        hint="run the project's tests (pytest) to see where",
    )
