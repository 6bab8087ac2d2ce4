"""What every store of artifacts must pass: subclass the contract and give it a store.

class TestMine(StoreContract):
    @pytest.fixture
    def store(self) -> ObjectStore:
        return Mine()

    def damage(self, store, address, content) -> None:
        ...  # put other bytes in the place of an object's
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from setpoint.artifacts.contract import CHUNK, ObjectStore, address_of
from setpoint.errors import Invalid, NotFound, SetpointError

#: More than a store of files holds in memory, more than one part of a store that sends parts.
LARGE = 11 * CHUNK + 17


class StoreContract:
    """Tests of one store, which is empty at the start of each."""

    def damage(self, store: ObjectStore, address: str, content: bytes) -> None:
        """Put other bytes in the place of an object's."""
        raise NotImplementedError

    def test_what_is_stored_comes_back(self, store: ObjectStore) -> None:
        for data in (b"", b"x", os.urandom(1000), b"x" * CHUNK):
            address = store.put(data)
            _same(address, address_of(data))
            _same(store.get(address), data)
            _same(store.put(data), address)
            _same(store.size(address), len(data))

    def test_an_object_arrives_and_leaves_in_pieces(self, store: ObjectStore) -> None:
        data = os.urandom(LARGE)
        with store.incoming() as file:
            for start in range(0, len(data), 300_000):
                file.write(data[start : start + 300_000])
            kept = file.commit(expected=address_of(data))
        address, _ = kept
        _same(kept, (address_of(data), len(data)))
        _same(store.put(data), address)
        pieces = list(store.chunks(address))
        _same(max(map(len, pieces)), CHUNK)
        _same(b"".join(pieces), data)

    def test_any_range_is_that_part(self, store: ObjectStore) -> None:
        data = os.urandom(2 * CHUNK + 5)
        address, size = store.put(data), len(data)
        ends = (0, 1, CHUNK, size - 1, size, size + 9)
        for start in ends:
            _same(b"".join(store.chunks(address, start)), data[start:])
            for stop in ends:
                _same(store.read(address, start, stop), data[start:stop])
        nothing = store.put(b"")
        _same(store.read(nothing, 0, 5), b"")
        _same(store.read(nothing, 2, 5), b"")

    def test_what_changed_on_its_way_or_never_ended_is_not_kept(self, store: ObjectStore) -> None:
        for data in (b"weights", os.urandom(LARGE)):
            with store.incoming() as file:
                file.write(data)
                _refused(Invalid, "send them again", partial(file.commit, address_of(b"others")))
            with store.incoming() as file:
                file.write(data)
        _same(list(store.addresses()), [])

    def test_what_is_corrupt_is_never_given_whole(self, store: ObjectStore) -> None:
        whole = os.urandom(2 * CHUNK)
        address = store.put(whole)
        for left in (b"", whole[:-1], whole + b"x", whole[:CHUNK] + b"y" * CHUNK):
            self.damage(store, address, left)
            given: list[bytes] = []
            _refused(Invalid, "corrupt", lambda: given.extend(store.chunks(address)))  # noqa: B023
            if sum(map(len, given)) >= max(len(left), 1):
                raise AssertionError(f"{len(left)} bytes were given although they are corrupt")
            _refused(Invalid, "corrupt", lambda: store.get(address))

    def test_what_is_missing_is_said_to_be(self, store: ObjectStore) -> None:
        address = address_of(b"never stored")
        ways: list[Callable[[], object]] = [
            lambda: store.get(address),
            lambda: store.size(address),
            lambda: store.read(address, 3, 9),
            lambda: store.read(address, 3, 3),
        ]
        for way in ways:
            _refused(NotFound, address, way)
        _same(store.find([address]), {})

    def test_an_address_is_never_a_path(self, store: ObjectStore) -> None:
        for address in ("", "b3:", "b3:../../etc/passwd", "sha256:" + "0" * 64):
            for way in (store.get, store.has, store.size, lambda a: store.delete([a])):
                _refused(Invalid, "no artifact address", partial(way, address))

    def test_objects_are_found_listed_and_deleted_many_at_once(self, store: ObjectStore) -> None:
        sizes = {store.put(bytes(size)): size for size in range(40)}
        kept, *gone = sizes
        never = address_of(b"never stored")
        found = store.find([*sizes, never])
        _same({address: one.size for address, one in found.items()}, sizes)
        _same(set(store.addresses()), set(sizes))
        store.delete([*gone, never])
        store.delete(gone)
        store.delete([])
        _same(list(store.addresses()), [kept])
        _same([store.has(address) for address in (kept, gone[0])], [True, False])

    def test_many_may_put_the_same_at_once(self, store: ObjectStore) -> None:
        data = os.urandom(LARGE)
        with ThreadPoolExecutor(4) as pool:
            _same(set(pool.map(store.put, [data] * 4)), {address_of(data)})
        _same(store.get(address_of(data)), data)


def _same(found: object, wanted: object) -> None:
    if found != wanted:
        raise AssertionError(f"{str(found)[:200]} is not {str(wanted)[:200]}")


def _refused(kind: type[SetpointError], says: str, act: Callable[[], object]) -> None:
    try:
        act()
    except kind as error:
        if says not in str(error):
            raise AssertionError(f"{error} does not say {says!r}") from error
    else:
        raise AssertionError(f"nothing was raised where {kind.__name__} is right")
