"""Keeping the processes of one platform together."""

import fcntl
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from setpoint.errors import Conflict, Unavailable

_LOOK_SECONDS = 0.2
_PATIENCE_SECONDS = 5.0


def end_with_parent(parent: int) -> None:
    """Have this process stop by itself (as by SIGTERM) once its parent is gone.

    A parent that is killed with -9 cannot stop its children; without this they would keep
    ports and locks that its successor needs.

    Args:
        parent: Its process id, as the parent itself said: it may be gone already.
    """

    def look() -> None:
        while os.getppid() == parent:
            time.sleep(_LOOK_SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=look, name="end-with-parent", daemon=True).start()


@contextmanager
def sole_owner(home: Path) -> Iterator[None]:
    """Hold the folder of a store for one platform; the hold dies with the process.

    Raises:
        Conflict: If another process holds it.
        Unavailable: If the folder cannot be written.
    """
    folder = home / "run"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file: IO[str] = (folder / "up.lock").open("a+")
    except OSError as error:
        raise Unavailable(
            f"cannot write to {home}",
            where=error.strerror or "",
            hint="choose another --home DIR",
        ) from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise Conflict(
                f"{home} is already up (process {file.read().strip() or 'unknown'})",
                hint="open its pages, stop it first, or choose another --home DIR",
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def await_predecessor(home: Path) -> None:
    """Wait until the inference server of a platform that was killed has ended as well.

    Call it as the sole owner of `home`: whoever writes its prediction log then is about to
    stop. Returns after five seconds in any case.
    """
    end = time.monotonic() + _PATIENCE_SECONDS
    for lock in (home / "log").glob("**/writer.lock"):
        _await(lock, end)


def _await(lock: Path, end: float) -> None:
    try:
        file = lock.open("rb")
    except OSError:
        return
    with file:
        while time.monotonic() < end:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(_LOOK_SECONDS / 4)
            else:
                return
