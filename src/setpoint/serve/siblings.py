"""What the worker processes of one server ask of one another, and leave for one another.

Each has a port of its own besides the one they share, and tells of it in a file. What is asked
of any of them about the whole server (its metrics, whether it follows a deployment) is asked of
all. A worker keeps its counts in a file every second, and before anybody is told of them: one that
is killed takes at most the counts of its last second along, and no sum falls.
"""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import msgspec
from msgspec import Struct

from setpoint.errors import Conflict, Unavailable
from setpoint.serve.exchange import Reply, Request
from setpoint.serve.metrics import Metrics

PASSED = b"setpoint-passed"  #: the header of a request that a sibling passes on
COUNTS = "/-/worker/counts"
SYNC = "/-/worker/sync"

_WAIT_SECONDS = 2.0  #: for a count; a worker that hangs is not waited for
_SYNC_SECONDS = 60.0
_GONE = "gone"
_RELAYED = frozenset(
    (b"content-type", b"inference-header-content-length", b"location", b"retry-after")
)
_RELAYED_TOO = (b"x-amzn-", b"setpoint-route")  #: those that begin so
_READY, _COUNTED = ".json", ".counts"


class Door(Struct, frozen=True):
    """Where a worker is asked by others."""

    pid: int
    host: str
    port: int


class Counted(Struct, frozen=True):
    """What a worker counted, or several that have ended."""

    metrics: Metrics
    generations: dict[str, int] = {}
    workers: list[str] = []  #: whose it is, if they have ended


class Siblings:
    """The workers of a server, as one of them sees them."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = name

    def announce(self, door: Door) -> None:
        """Have the others ask this one, too."""
        _write(self._folder / f"{self._name}{_READY}", msgspec.json.encode(door))

    def withdraw(self) -> None:
        """Have the others ask this one no more."""
        (self._folder / f"{self._name}{_READY}").unlink(missing_ok=True)

    def keep(self, mine: Counted) -> None:
        """Keep the counts of this worker: they outlive it."""
        _write(self._folder / f"{self._name}{_COUNTED}", msgspec.msgpack.encode(mine))

    async def counted(self, mine: Counted) -> Counted:
        """Return what all workers counted, those that have ended too."""
        self.keep(mine)
        doors = list(self._doors())
        told = await asyncio.gather(*(_counts(door) for _, door in doors))
        found = {self._name: mine}
        found |= {name: one for (name, _), one in zip(doors, told, strict=True) if one is not None}
        total = Metrics()
        for one in [*found.values(), *kept(self._folder, set(found))]:
            total.add(one.metrics)
        served = [one.generations for one in found.values()]
        common = served[0].keys() & set.intersection(*(set(one) for one in served))
        return Counted(total, {name: min(one[name] for one in served) for name in sorted(common)})

    async def sync(self, body: bytes) -> None:
        """Have all others follow the deployments, and score what they owe.

        Raises:
            Conflict: If one of them does not serve what was asked for.
        """
        doors = [door for _, door in self._doors()]
        for status, said in await asyncio.gather(*(_synced(door, body) for door in doors)):
            if status == 409:
                problem = msgspec.json.decode(said, type=dict[str, str])
                raise Conflict(problem.get("error", "a worker does not follow"))

    async def passed_on(self, request: Request, elsewhere: int) -> Reply | None:
        """Return the first answer of a sibling whose status is not `elsewhere`."""
        for _, door in self._doors():
            with suppress(OSError, TimeoutError):
                found = await _relayed(door, request)
                if found.status != elsewhere:
                    return found
        return None

    def _doors(self) -> Iterator[tuple[str, Door]]:
        for path in sorted(self._folder.glob(f"*{_READY}")):
            if path.stem != self._name:
                try:
                    yield path.stem, msgspec.json.decode(path.read_bytes(), type=Door)
                except FileNotFoundError:  # it has just ended
                    continue


def kept(folder: Path, asked: set[str]) -> Iterator[Counted]:
    """Yield what workers have left that were not asked: one may end at any time meanwhile."""
    files = []
    for path in folder.glob(f"*{_COUNTED}"):
        try:
            files.append((path.stem, msgspec.msgpack.decode(path.read_bytes(), type=Counted)))
        except FileNotFoundError:  # added to those that have ended
            continue
    gone = _gone(folder)  # read after the others: what was not there any more is here
    for name, one in files:
        if name not in asked and name not in gone.workers:
            yield one
    yield gone


def bury(folder: Path, name: str) -> None:
    """Add what a worker has left that has ended to what others have; its server does."""
    (folder / f"{name}{_READY}").unlink(missing_ok=True)
    path = folder / f"{name}{_COUNTED}"
    try:
        left = msgspec.msgpack.decode(path.read_bytes(), type=Counted)
    except FileNotFoundError:  # it was never asked
        return
    gone = _gone(folder)
    gone.metrics.add(left.metrics.outliving())
    _write(folder / _GONE, msgspec.msgpack.encode(Counted(gone.metrics, {}, [*gone.workers, name])))
    path.unlink()


def door_of(folder: Path, name: str) -> Door | None:
    """Return where a worker is asked, None until it can be."""
    try:
        return msgspec.json.decode((folder / f"{name}{_READY}").read_bytes(), type=Door)
    except FileNotFoundError:
        return None


def _gone(folder: Path) -> Counted:
    try:
        return msgspec.msgpack.decode((folder / _GONE).read_bytes(), type=Counted)
    except FileNotFoundError:
        return Counted(Metrics())


def _write(path: Path, data: bytes) -> None:
    aside = path.with_name(f"{path.name}.new")  # which nobody looks for
    aside.write_bytes(data)
    aside.rename(path)


async def _counts(door: Door) -> Counted | None:
    try:
        status, body = await _asked(door, "GET", COUNTS, b"", _WAIT_SECONDS)
    except (OSError, TimeoutError):
        return None  # what it kept last counts
    return msgspec.msgpack.decode(body, type=Counted) if status == 200 else None


async def _synced(door: Door, body: bytes) -> tuple[int, bytes]:
    try:
        return await _asked(door, "POST", SYNC, body, _SYNC_SECONDS)
    except TimeoutError:
        raise Unavailable("a worker does not answer", hint="send it again") from None
    except OSError:
        return 200, b""  # it has just ended: who takes its place begins with what is deployed


async def _relayed(door: Door, request: Request) -> Reply:
    """Ask a worker what oneself was asked."""
    told = {name: value for name, value in request.headers.items() if _is_relayed(name)}
    head = b"".join(b"%b: %b\r\n" % pair for pair in {**told, PASSED: b"1"}.items())
    said, body = await _exchanged(
        door, request.method, quote(request.path), head, request.body, _SYNC_SECONDS
    )
    status, *lines = said.split(b"\r\n")
    values = {line.partition(b": ")[0].lower(): line.partition(b": ")[2] for line in lines}
    again = tuple(
        (name, value)
        for name, value in values.items()
        if _is_relayed(name) and name != b"content-type"
    )
    kind = values.get(b"content-type", b"application/json")
    return Reply(body, int(status[9:12]), kind=kind, headers=again)


def _is_relayed(header: bytes) -> bool:
    return header in _RELAYED or header.startswith(_RELAYED_TOO)


async def _asked(
    door: Door, method: str, path: str, body: bytes, seconds: float
) -> tuple[int, bytes]:
    """Ask a worker; return status and body."""
    head, told = await _exchanged(door, method, path, b"", body, seconds)
    return int(head[9:12]), told


async def _exchanged(
    door: Door, method: str, path: str, fields: bytes, body: bytes, seconds: float
) -> tuple[bytes, bytes]:
    """Ask a worker over a connection of its own; return head and body of what it says.

    Raises:
        OSError: If it is not there.
        TimeoutError: If it does not answer.
    """
    async with asyncio.timeout(seconds):
        reader, writer = await asyncio.open_connection(door.host, door.port)
        try:
            asked = f"{method} {path} HTTP/1.1\r\nhost: worker\r\nconnection: close\r\n"
            length = f"content-length: {len(body)}\r\n\r\n"
            writer.write(b"".join((asked.encode(), fields, length.encode(), body)))
            said = await reader.read()
        finally:
            writer.close()
    head, _, told = said.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 "):
        raise ConnectionResetError
    return head, told
