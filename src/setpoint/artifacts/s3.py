"""Artifacts in a bucket of S3, or of anything that speaks its protocol.

An object's name is known when its last byte has arrived. So what is larger than one part waits
in a file without a name, which a kill removes, and is sent under its own name: nobody ever
sees half an object, and none has to be copied or renamed in the bucket.
"""

import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Self
from urllib.parse import urlsplit

from blake3 import blake3

from setpoint.artifacts import contract
from setpoint.artifacts.bucket import Bucket, Patience, Words
from setpoint.artifacts.contract import CHUNK, PREFIX, Found, ObjectStore
from setpoint.config import Aws
from setpoint.errors import Invalid, Unavailable

if TYPE_CHECKING:
    from obstore import GetOptions, GetResult

PART = 5 << 20  #: bytes of a part; what is not larger is sent at once
_PARTS = 10_000  #: that an object may have
_AT_ONCE = 3  #: parts on their way at the same time: with the one being read, 20 MB
_ASKED_AT_ONCE = 16
#: Seconds in which a large object is not sent again: less than those in which nobody frees it.
_RECENT = 1_800.0
_PATIENCE = Patience(
    wait=timedelta(seconds=60), longest=timedelta(days=1), tries=4, away=timedelta(seconds=15)
)


class S3Store(ObjectStore):
    """Objects in one bucket, below a prefix."""

    def __init__(self, url: str, aws: Aws, aside: Path) -> None:
        """Name a bucket; nothing is asked of it yet.

        Args:
            url: ``s3://BUCKET`` or ``s3://BUCKET/PREFIX``.
            aws: Where it is and who asks.
            aside: A folder for what has not arrived whole; it is made when it is needed.

        Raises:
            Invalid: If the URL is no such one.
        """
        parts = urlsplit(url)
        if parts.scheme != "s3" or not parts.hostname or parts.query:
            raise Invalid(
                f"{url!r} is no place for artifacts",
                hint="SETPOINT_ARTIFACT_URL=s3://BUCKET/PREFIX",
            )
        self._url = url if aws.endpoint is None else f"{url} at {aws.endpoint}"
        self._aside = aside
        words = Words("the artifact store", self._url, "what was acknowledged is kept")
        prefix = parts.path.strip("/") or None
        self._bucket = Bucket(parts.netloc, prefix, aws, _PATIENCE, words)

    def __str__(self) -> str:
        return self._url

    def incoming(self) -> "S3Incoming":
        return S3Incoming(self, self._aside)

    def chunks(self, address: str, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        if start == 0:
            yield from self._verified(address, stop)
            return
        with self._telling(address):
            found = self._open(address, start, stop)
            yield from () if found is None else _pieces(found)

    def _verified(self, address: str, stop: int | None) -> Iterator[bytes]:
        """Yield from the first byte on; hold a piece back until it is known to be none too many."""
        digest, last, whole = blake3(), b"", stop is None or stop > 0
        with self._telling(address):
            found = self._open(address, 0, stop)
            if found is not None:
                whole = found.range[1] == found.meta["size"]
                for piece in _pieces(found):
                    digest.update(piece)
                    if last:
                        yield last
                    last = piece
        if whole:
            contract.verify(address, digest.hexdigest(), f"{self._url}: {contract.key_of(address)}")
        if last:
            yield last

    def _open(self, address: str, start: int, stop: int | None) -> "GetResult | None":
        """Begin to read; None if there is nothing in this range."""
        if stop is not None and stop <= start:
            self.size(address)  # it has to be there
            return None
        options: GetOptions = {}
        if start or stop is not None:
            options["range"] = {"offset": start} if stop is None else (start, stop)
        return self._bucket.get(contract.key_of(address), options)

    def find(self, addresses: Iterable[str]) -> dict[str, Found]:
        asked = {address: contract.key_of(address) for address in addresses}
        if len(asked) == 1:
            told = [self._head(key) for key in asked.values()]
        else:
            with ThreadPoolExecutor(_ASKED_AT_ONCE) as pool:
                told = list(pool.map(self._head, asked.values()))
        return {address: one for address, one in zip(asked, told, strict=True) if one}

    def _head(self, key: str) -> Found | None:
        try:
            with self._telling():
                found = self._bucket.head(key)
        except FileNotFoundError:
            return None
        return Found(found["size"], found["last_modified"].timestamp())

    def delete(self, addresses: Iterable[str]) -> None:
        keys = [contract.key_of(address) for address in addresses]
        if keys:
            with self._telling():
                self._bucket.delete(keys)

    def addresses(self) -> Iterator[str]:
        with self._telling():
            for key in self._bucket.keys():  # noqa: SIM118 - no mapping
                address = contract.address_at(key)
                if address is not None:
                    yield address

    def keep(self, address: str, content: bytes | IO[bytes], size: int) -> None:
        """Send an object under its address, in parts if it is large."""
        part = max(PART, -(-size // _PARTS))
        with self._telling():
            key = contract.key_of(address)
            self._bucket.put(key, content, chunk_size=part, max_concurrency=_AT_ONCE)

    @contextmanager
    def _telling(self, address: str | None = None) -> Iterator[None]:
        """Make every trouble with the bucket one error that says what to do.

        Raises:
            FileNotFoundError: If the object is not there; with its address, `NotFound`.
        """
        try:
            with self._bucket.telling():
                yield
        except FileNotFoundError:
            if address is None:
                raise
            raise contract.missing(address, self._url) from None


class S3Incoming:
    """Bytes that have not all arrived: in memory while they are few, then in a file."""

    def __init__(self, store: S3Store, aside: Path) -> None:
        self._store = store
        self._aside = aside
        self._digest = blake3()
        self._size = 0
        with self._telling():
            aside.mkdir(parents=True, exist_ok=True)
        self._file = tempfile.SpooledTemporaryFile(PART, dir=str(aside))  # noqa: SIM115 - in __exit__

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, data: bytes | memoryview) -> None:
        with self._telling():
            self._file.write(data)
        self._digest.update(data)
        self._size += len(data)

    def commit(self, expected: str | None = None) -> tuple[str, int]:
        address = PREFIX + self._digest.hexdigest()
        contract.expect(address, expected)
        self._file.seek(0)
        if self._size <= PART:
            self._store.keep(address, self._file.read(), self._size)
        elif not self._there(address):
            self._store.keep(address, self._file, self._size)
        return address, self._size

    def _there(self, address: str) -> bool:
        found = self._store.find([address]).get(address)
        return found is not None and found.stored_at > time.time() - _RECENT

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Make a full or unwritable disk an `Unavailable`."""
        try:
            yield
        except OSError as error:
            raise Unavailable(
                "cannot hold an artifact until it has arrived",
                where=f"{self._aside}: {error.strerror}",
                hint="free disk space or choose another folder with --home DIR",
            ) from None


def _pieces(found: "GetResult") -> Iterator[bytes]:
    for some in found.stream(min_chunk_size=CHUNK):
        view = memoryview(some)
        for start in range(0, len(view), CHUNK):
            yield bytes(view[start : start + CHUNK])
