"""Bodies that take long to read, or may harm who reads them, read in a process of their own.

Megabytes of JSON hold Python's lock for tens of milliseconds, in whichever thread they are read,
and everybody waits. And what reads Parquet and Arrow is native code that trusts lengths in the
bytes: wrong ones make it ask for more memory than there is, and it ends its process then. So there
is one for that, with a limit of memory; if it ends, the request was at fault, and nobody else
notices. It is started by the first such request, takes one at a time, and ends with the server.

Between the two go frames: a length in eight bytes, and so many bytes of a pickle. Each reads what
the other wrote, and both are of one user: neither has anything that the other has not.
"""

import atexit
import logging
import os
import pickle
import resource
import struct
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from setpoint.errors import Defect, Invalid, SetpointError
from setpoint.serve import problems
from setpoint.serve.batching import Crowded
from setpoint.serve.timing import TimedOut
from setpoint.serve.waiting import Late, outcome
from setpoint.serve.workers import words_of_this_python

if TYPE_CHECKING:
    from setpoint.serve.answering import Answering
    from setpoint.serve.endpoints import Endpoint

LARGE_BYTES = 500_000  #: of a body that is no table, from which it is read here: some milliseconds
_MOST_SECONDS = 10.0  #: for one body
_MOST_MEMORY = 4 << 30  #: bytes of the process, those included that it only reserves
_MOST_WAITING = 256 << 20  #: bytes of bodies
_MOST_ANSWERED = 128 << 20  #: bytes of what was read; texts may be long
_LENGTH = struct.Struct("<Q")
T = TypeVar("T")
_log = logging.getLogger(__name__)


class Reader:
    """The other process, as the server sees it. Safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        atexit.register(self.close)

    def close(self) -> None:
        """End the other process, if there is one."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def read(self, what: Callable[..., T], *given: Any) -> T:
        """Return what a function of a module makes of a body, run over there.

        Raises:
            Invalid: If it does, or the process ended over it.
            SetpointError: If it raises what it should not; that is logged.
        """
        with self._lock:
            answer = self._ask(pickle.dumps((what, given), pickle.HIGHEST_PROTOCOL))
        if answer is None:
            raise Invalid(
                "the body cannot be read",
                hint="its reader ran out of memory or time, or ended over it",
            )
        found: T | SetpointError = pickle.loads(answer)  # noqa: S301 - of our own process
        if isinstance(found, Defect):
            _log.error(found.message, extra={"trace": found.where})
            raise SetpointError(problems.FAILED)
        if isinstance(found, SetpointError):
            raise found
        return found

    def _ask(self, asked: bytes) -> bytes | None:
        process = self._process
        if process is None or process.poll() is not None:
            process = self._process = _start()
        into, out = process.stdin, process.stdout
        late = threading.Timer(_MOST_SECONDS, process.kill)
        late.start()
        answer = None
        try:
            _put(into, asked)  # type: ignore[arg-type]
            answer = _get(out)  # type: ignore[arg-type]
        except OSError:  # it has ended
            pass
        finally:
            late.cancel()
            if answer is None:
                self.close()
        return answer


_reader = Reader()  #: of this process
_waiting = 0  #: bytes of bodies that are read or wait for it; the event loop alone counts them


def is_large(body: bytes) -> bool:
    return len(body) > LARGE_BYTES


async def read_aside(
    serving: "Answering",
    endpoint: "Endpoint",
    what: Callable[..., T],
    body: bytes,
    *given: Any,
    patient: bool = False,
) -> T:
    """Return what a function makes of a body without anybody else waiting for it.

    Args:
        serving: The server.
        endpoint: Who is asked.
        what: A function of a module.
        body: What it reads.
        given: What else it takes; goes to another process, as does what it returns.
        patient: Whether nobody waits: then it takes as long as it takes.

    Raises:
        Invalid, SetpointError: As `Reader.read` does.
        Crowded: If too much waits to be read.
        TimedOut: If it is not read in the time that the endpoint has.
        Gone: If the client hangs up meanwhile.
    """
    global _waiting  # noqa: PLW0603 - there is one process, and one event loop
    if not patient and _waiting + len(body) > _MOST_WAITING:
        waiting = f"{_waiting:,} bytes of bodies wait to be read"
        raise Crowded(waiting, hint="send fewer large ones at once")
    _waiting += len(body)
    try:
        reading = serving.lane(endpoint, "bodies").run(_reader.read, what, body, *given)
        found: T = await outcome(reading, None if patient else endpoint.settings.timeout)
    except Late:
        raise TimedOut("the body was not read in time", hint="send fewer rows in it") from None
    finally:
        _waiting -= len(body)
    return found


def _start() -> "subprocess.Popen[bytes]":
    words = [*words_of_this_python()[:-1], __name__]
    pipe = subprocess.PIPE
    return subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL)  # noqa: S603


def _put(file: BinaryIO, data: bytes) -> None:
    file.write(_LENGTH.pack(len(data)))
    file.write(data)
    file.flush()


def _get(file: BinaryIO) -> bytes | None:
    head = file.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    data = file.read(*_LENGTH.unpack(head))
    return data if len(data) == _LENGTH.unpack(head)[0] else None


def _answered(asked: bytes) -> bytes:
    what, given = pickle.loads(asked)  # noqa: S301 - of the server that started this process
    try:
        answer = pickle.dumps(what(*given), pickle.HIGHEST_PROTOCOL)
    except SetpointError as error:
        return pickle.dumps(error)
    except Exception:  # noqa: BLE001 - the outermost frame over here
        return pickle.dumps(Defect("a body was not read", where=traceback.format_exc()))
    if len(answer) > _MOST_ANSWERED:
        most = f"{_MOST_ANSWERED:,} bytes"
        return pickle.dumps(Invalid(f"the body is longer than {most}, unpacked"))
    return answer


def main() -> None:
    """Read bodies from standard input until it ends."""
    os.putenv("POLARS_MAX_THREADS", "2")  # each reserves memory, and tables are small
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY, _MOST_MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    while (asked := _get(sys.stdin.buffer)) is not None:
        _put(sys.stdout.buffer, _answered(asked))


if __name__ == "__main__":
    main()
