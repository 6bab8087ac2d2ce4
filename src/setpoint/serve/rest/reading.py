"""Parquet and Arrow, read in a process of their own.

What reads them is native code that trusts lengths in the bytes: wrong ones make it ask for
more memory than there is, and it ends its process then. So it is given one, with a limit of memory;
if that ends, the request was at fault, and nobody else notices. It is started by the first
such request, takes one at a time, and ends with the server.

Between the two go frames: a length in four bytes, and so many bytes of MessagePack.
"""

import os
import resource
import struct
import subprocess
import sys
import threading
from io import BytesIO
from typing import Any, BinaryIO

import msgspec
from msgspec import Struct

from setpoint.errors import Invalid
from setpoint.serve.batching import Crowded
from setpoint.serve.workers import words_of_this_python

PARQUET, ARROW = "parquet", "arrow"
MOST_VALUES = 5_000_000  #: of a table: as many numbers as a body of JSON may have
_MOST_SECONDS = 10.0  #: for one table
_MOST_MEMORY = 4 << 30  #: bytes of the process, those included that it only reserves
_MOST_WAITING = 32
_MOST_ANSWERED = 128 << 20  #: bytes of what was read; texts may be long
_LENGTH = struct.Struct("<I")


class _Table(Struct):
    """What is to be read."""

    kind: str
    names: list[str]  #: columns that are inputs; others are left out
    body: bytes


class _Read(Struct):
    """What was."""

    columns: dict[str, list[Any]] = {}
    count: int = 0
    error: str = ""


_encode = msgspec.msgpack.Encoder().encode
_table = msgspec.msgpack.Decoder(_Table)
_read = msgspec.msgpack.Decoder(_Read)


class Reader:
    """The other process, as the server sees it. Safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting = 0
        self._process: subprocess.Popen[bytes] | None = None

    def read(self, body: bytes, kind: str, names: list[str]) -> tuple[dict[str, list[Any]], int]:
        """Return the columns of a table that have these names, and how many rows it has.

        Raises:
            Invalid: If it is no such table, or too large a one.
            Crowded: If too many wait for theirs.
        """
        if self._waiting >= _MOST_WAITING:
            raise Crowded(f"{self._waiting} tables wait to be read", hint="send fewer at once")
        self._waiting += 1
        try:
            with self._lock:
                answer = self._ask(_encode(_Table(kind, names, body)))
        finally:
            self._waiting -= 1
        if answer is None:
            raise Invalid(
                f"the body is no {kind.capitalize()} that can be read",
                hint="its reader ran out of memory or time, or ended over it",
            )
        if answer.error:
            raise Invalid(answer.error)
        return answer.columns, answer.count

    def _ask(self, asked: bytes) -> _Read | None:
        process = self._process
        if process is None or process.poll() is not None:
            process = self._process = _start()
        into, out = process.stdin, process.stdout
        late = threading.Timer(_MOST_SECONDS, process.kill)
        late.start()
        answer = None
        try:
            _put(into, asked)  # type: ignore[arg-type]
            if found := _get(out):  # type: ignore[arg-type]
                answer = _read.decode(found)
        except OSError:  # it has ended
            pass
        finally:
            late.cancel()
            if answer is None:
                self._process = None
                process.kill()
                process.communicate()
        return answer


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
    """Read a table, whatever its bytes do to the reader short of ending it."""
    import polars as pl  # noqa: PLC0415 - by this process alone, and not if it is not there

    table = _table.decode(asked)
    try:
        answer = _encode(_columns(table, pl))
    except (Exception, pl.exceptions.PanicException) as error:  # noqa: BLE001 - foreign bytes
        why = " ".join(str(error).split())[:200]
        return _encode(_Read(error=f"the body is no {table.kind.capitalize()}: {why}"))
    if len(answer) > _MOST_ANSWERED:
        return _encode(_Read(error=f"the table is longer than {_MOST_ANSWERED:,} bytes, unpacked"))
    return answer


def _columns(table: _Table, pl: Any) -> _Read:
    file = BytesIO(table.body)
    names = set(table.names)
    if table.kind == PARQUET:  # told before it is unpacked
        lazy = pl.scan_parquet(file)
        wanted = [name for name in lazy.collect_schema().names() if name in names]
        count = lazy.select(pl.len()).collect().item()
        _require_few(count, len(wanted))
        frame = pl.read_parquet(BytesIO(table.body), columns=wanted) if wanted else pl.DataFrame()
    else:
        frame = pl.read_ipc_stream(file)
        wanted = [name for name in frame.columns if name in names]
        count = frame.height
        _require_few(count, len(wanted))
    return _Read({name: frame[name].to_list() for name in wanted}, count)


def _require_few(rows: int, columns: int) -> None:
    if rows * max(columns, 1) > MOST_VALUES:
        raise ValueError(f"it has {rows:,} rows, more than {MOST_VALUES:,} values")


def main() -> None:
    """Read tables from standard input until it ends."""
    os.putenv("POLARS_MAX_THREADS", "2")  # each reserves memory, and tables are small
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY, _MOST_MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    while (asked := _get(sys.stdin.buffer)) is not None:
        _put(sys.stdout.buffer, _answered(asked))


if __name__ == "__main__":
    main()
