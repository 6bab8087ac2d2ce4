"""Where a server listens, and as which of its processes. Imports no more than that takes."""

import ctypes
import ipaddress
import logging
import socket
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import TypeVar

from msgspec import Struct

from setpoint.config import CLIENT_SECONDS, DRAIN_SECONDS, Serving
from setpoint.errors import Conflict, Denied, Invalid

PORT = 8766
_RETRY_SECONDS = 0.05
_BACKLOG = 2048
_ATTACH_FILTER = 26  #: SO_ATTACH_FILTER, which `socket` does not name
_ATTACH_DEALER = 51  #: SO_ATTACH_REUSEPORT_CBPF, likewise
_RETURN = 0x06  #: BPF_RET: so many bytes of the packet pass; or the socket of that number has it
_LOAD, _REMAINDER, _IF_EQUAL = 0x20, 0x94, 0x15  #: BPF_LD of a word, BPF_ALU's MOD, BPF_JMP's JEQ
_RANDOM = 0xFFFF_F038  #: where a program of the system reads a random number
_T = TypeVar("_T")


class Worker(Struct, frozen=True, kw_only=True):
    """One process of a server of several."""

    name: str
    file: int  #: descriptor of its listening socket
    folder: Path  #: where the workers tell of themselves


class How(Struct, frozen=True, kw_only=True):
    """How a server begins, answers and ends besides."""

    #: seconds that another server, about to end, may take to give back the port and the log
    patience: float = 0.0
    grpc_port: int | None = None  #: where clients of gRPC are answered, too; None: nowhere
    drain: float = DRAIN_SECONDS  #: seconds to answer what was accepted, once told to stop
    client_seconds: float = CLIENT_SECONDS  #: that a client may keep the server waiting
    model_memory: int | None = None  #: bytes for its models; None: whatever they take
    async_output: str | None = None  #: place in S3 for answers of asynchronous invocations
    worker: Worker | None = None  #: which of the processes it is; None: there is one


def listen(host: str, port: int, *, any_host: bool = False) -> socket.socket:
    """Return a socket that listens.

    Raises:
        Denied: If `host` can be reached from other machines, without `any_host`.
        Invalid: If it is no address.
        Conflict: If the port is in use.
    """
    return _listen(_allowed(host, any_host=any_host), port, shared=False)


def listen_together(
    host: str, port: int, count: int, *, any_host: bool = False
) -> list[socket.socket]:
    """Return sockets that listen on the same port; the system deals connections out to them.

    Raises:
        Denied, Invalid, Conflict: As `listen` does.
    """
    ip = _allowed(host, any_host=any_host)
    with closing(_listen(ip, port, shared=False)) as alone:  # nobody else has it
        number = alone.getsockname()[1]
    return [_listen(ip, number, shared=True) for _ in range(count)]


def refuse_more(listener: socket.socket) -> None:
    """Have the system take no more connections for a socket, for whoever shares it.

    Between the last look at what waits to be accepted and the end of the socket, the system
    would take some that nobody ever accepts: their clients believe to be connected, send, and
    are cut off. A filter that lets nothing through has them try again and be refused, while
    what waits already can be accepted in peace. Only Linux has it.
    """
    _attach(listener, _ATTACH_FILTER, [(_RETURN, 0, 0, 0)])


def deal_among(listener: socket.socket, numbers: Sequence[int]) -> None:
    """Have the system deal new connections out among some of the sockets of a port.

    Else it deals them to all that listen, and who waits in a socket that nobody accepts from just
    now is not answered. Only Linux can.

    Args:
        listener: One of the sockets.
        numbers: Those that have connections, by their order in `listen_together`.
    """
    *others, last = numbers
    choices = [
        step
        for at, number in enumerate(others)
        for step in ((_IF_EQUAL, 0, 1, at), (_RETURN, 0, 0, number))
    ]
    drawn = [(_LOAD, 0, 0, _RANDOM), (_REMAINDER, 0, 0, len(numbers))]
    _attach(listener, _ATTACH_DEALER, [*drawn, *choices, (_RETURN, 0, 0, last)])


def _attach(listener: socket.socket, option: int, steps: Sequence[tuple[int, ...]]) -> None:
    """Attach a program of the system's packet filter, where there is one."""
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    program = struct.pack("HP", len(steps), ctypes.addressof(code))
    with suppress(OSError):
        listener.setsockopt(socket.SOL_SOCKET, option, program)


def adopt(worker: Worker) -> socket.socket:
    """Return the listening socket that a worker was given."""
    listener = socket.socket(fileno=worker.file)
    listener.setblocking(False)  # noqa: FBT003 - the standard library's own
    return listener


def patiently(take: Callable[[], _T], seconds: float) -> _T:
    """Return what is taken; try again for so long while somebody else has it.

    Raises:
        Conflict: If somebody has it still.
    """
    until = time.monotonic() + seconds
    while True:
        try:
            return take()
        except Conflict:
            if time.monotonic() > until:
                raise
            time.sleep(_RETRY_SECONDS)


def is_loopback(host: str) -> bool:
    return _ip(host).is_loopback


def consequences(serving: Serving) -> Iterator[str]:
    """Yield what somebody who runs a package should have been told."""
    if not is_loopback(serving.host):
        yield f"anybody who reaches port {serving.port} may ask: there is no authentication"
    if serving.log is None:
        yield "no prediction log: answers are not kept, labels are refused (SETPOINT_SERVE_LOG=DIR)"


def tell_on_stderr(log_level: str) -> None:
    """Have the standard library's logging go to stderr."""
    logging.basicConfig(level=log_level.upper())
    told = "%(levelname)s %(name)s %(message)s%(trace_id)s"
    for handler in logging.getLogger().handlers:
        handler.setFormatter(_Words(told, defaults={"trace_id": ""}))


class _Words(logging.Formatter):
    """Writes what a record is about besides its message, and what a model said, below it."""

    def format(self, record: logging.LogRecord) -> str:
        besides = {k: v for k, v in vars(record).items() if k not in _OF_EVERY_RECORD}
        trace = str(besides.pop("trace", "")).rstrip()
        words = [super().format(record), *(f"{k}={_in_line(v)}" for k, v in besides.items())]
        head, _, rest = words[0].partition("\n")  # a traceback of ours stands below the line
        lines = [" ".join([head, *words[1:]]), rest, trace]
        return "\n".join(line for line in lines if line)


def _in_line(value: object) -> str:
    """Return a value on one line: an address that was asked for may have others in it."""
    text = str(value)
    return text if text.isprintable() else repr(text)


_OF_EVERY_RECORD = {
    *vars(logging.LogRecord("", 0, "", 0, "", None, None)),
    *("message", "asctime", "trace_id", "span_id", "taskName"),
}


_Ip = ipaddress.IPv4Address | ipaddress.IPv6Address


def _allowed(host: str, *, any_host: bool) -> _Ip:
    ip = _ip(host)
    if not ip.is_loopback and not any_host:
        raise Denied(
            f"refusing to listen on {host}: the network could send predictions and labels",
            hint="use 127.0.0.1; other addresses need authentication, which Setpoint has not yet",
        )
    return ip


def _listen(ip: _Ip, port: int, *, shared: bool) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ip.version == 6 else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        listener.bind((str(ip), port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise Conflict(
            f"port {port} is in use" if error.errno == 98 else f"cannot listen on port {port}",
            where=f"{ip}:{port}: {error.strerror}",
            hint="stop what listens there, or choose another with --inference-port",
        ) from None
    listener.setblocking(False)  # noqa: FBT003 - the standard library's own
    return listener


def _ip(host: str) -> _Ip:
    try:
        return ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        raise Invalid(f"{host!r} is no address to listen on", hint="use 127.0.0.1") from None
