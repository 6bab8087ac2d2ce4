"""What a place for artifacts must do: content under its own name, which can only be those bytes."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol, Self

from blake3 import blake3

from setpoint.errors import Invalid, NotFound

PREFIX = "b3:"
CHUNK = 1 << 20  #: bytes held in memory while an object is read or written in pieces


class Found(NamedTuple):
    """What a store tells of an object without reading it."""

    size: int  #: bytes
    stored_at: float  #: when it was last put, in Unix seconds


class Incoming(Protocol):
    """An object that arrives in pieces. Without `commit` nothing of it is kept."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def write(self, data: bytes | memoryview) -> None:
        """Add bytes at the end; their memory is the caller's again on return."""

    def commit(self, expected: str | None = None) -> tuple[str, int]:
        """Keep the object durably, whole or not at all; return its address and its size in bytes.

        It counts as put now, also if it was there: who collects garbage spares it.

        Raises:
            Invalid: If its address is not the `expected` one: the bytes changed on their way.
        """


class ObjectStore(ABC):
    """A place for artifacts. Addresses are ``b3:`` + 64 hex digits of BLAKE3.

    Five methods make one; the rest follows from them. `setpoint.testing.stores` has what each
    must pass.
    """

    @abstractmethod
    def incoming(self) -> Incoming:
        """Begin an object, which may be larger than memory."""

    @abstractmethod
    def chunks(self, address: str, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Yield the bytes from `start` to before `stop` in pieces of 1 MB at most.

        Read whole, they are verified: the last piece is not given if they are corrupt.

        Raises:
            NotFound: If the object is not there.
            Invalid: If it is corrupt.
        """

    @abstractmethod
    def find(self, addresses: Iterable[str]) -> dict[str, Found]:
        """Tell of those objects that are there; their content is not verified."""

    @abstractmethod
    def delete(self, addresses: Iterable[str]) -> None:
        """Remove objects; removing what is not there changes nothing."""

    @abstractmethod
    def addresses(self) -> Iterator[str]:
        """Yield every address, in no particular order."""

    def put(self, data: bytes) -> str:
        """Store `data` durably and return its address; storing it again changes nothing."""
        with self.incoming() as object_:
            object_.write(data)
            return object_.commit()[0]

    def get(self, address: str) -> bytes:
        """Return the bytes, verified against their address."""
        return b"".join(self.chunks(address))

    def read(self, address: str, start: int, stop: int) -> bytes:
        """Return the bytes from `start` to before `stop`, or to the end if that comes first."""
        return b"".join(self.chunks(address, start, stop))

    def has(self, address: str) -> bool:
        """Tell whether the object is there."""
        return address in self.find([address])

    def size(self, address: str) -> int:
        """Return how many bytes the object has.

        Raises:
            NotFound: If it is not there.
        """
        found = self.find([address]).get(address)
        if found is None:
            raise missing(address, str(self))
        return found.size


def address_of(data: bytes) -> str:
    """Return the address that `data` has in every store."""
    return PREFIX + blake3(data).hexdigest()


def key_of(address: str) -> str:
    """Return the name of an object among a store's files: two digits, a slash, the others.

    Raises:
        Invalid: If it is no address, e.g. a path that leads elsewhere.
    """
    digest = address.removeprefix(PREFIX)
    if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
        raise Invalid(f"{address!r} is no artifact address", hint="b3: and 64 hex digits")
    return f"{digest[:2]}/{digest[2:]}"


def address_at(key: str) -> str | None:
    """Return the address of the object that has this name; None if it is none's."""
    digest = key.replace("/", "", 1)
    return PREFIX + digest if len(digest) == 64 and key[2:3] == "/" else None


def expect(address: str, expected: str | None) -> None:
    """Refuse bytes that have another address than the one they were sent under."""
    if expected is not None and expected != address:
        raise Invalid(
            f"the bytes that arrived are not those of {expected}",
            where=f"they are those of {address}",
            hint="send them again",
        )


def verify(address: str, digest: str, where: str) -> None:
    """Refuse bytes that are no longer those of their address."""
    if PREFIX + digest != address:
        raise Invalid(
            f"artifact {address} is corrupt: its bytes no longer match its name",
            where=where,
            hint="restore it from a backup",
        )


def missing(address: str, where: str) -> NotFound:
    """Return the error of an object that is not there."""
    hint = "restore it from a backup; several machines need one store: SETPOINT_ARTIFACT_URL"
    return NotFound(f"artifact {address} is missing", where=where, hint=hint)
