import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.artifacts.store import CHUNK, FileStore, address_of
from setpoint.errors import Invalid, NotFound, Unavailable


@given(data=st.binary(max_size=500))
def test_what_is_stored_comes_back(data: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    store = FileStore(tmp_path_factory.getbasetemp() / "objects")
    address = store.put(data)
    assert store.get(address) == data
    assert address == address_of(data)
    assert store.put(data) == address


def test_a_corrupt_object_is_detected_on_read(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    address = store.put(b"weights")
    store.path(address).write_bytes(b"weightz")
    with pytest.raises(Invalid, match="corrupt"):
        store.get(address)


def test_an_object_arrives_and_leaves_in_pieces(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    data = os.urandom(2 * CHUNK + 17)
    with store.incoming() as file:
        for start in range(0, len(data), 300_000):
            file.write(data[start : start + 300_000])
        address, size = file.commit(expected=address_of(data))
    assert (
        (address, size) == (address_of(data), len(data)) == (store.put(data), store.size(address))
    )
    pieces = list(store.chunks(address))
    assert max(map(len, pieces)) == CHUNK
    assert b"".join(pieces) == data
    assert b"".join(store.chunks(address, 5, CHUNK + 9)) == data[5 : CHUNK + 9]
    assert b"".join(store.chunks(address, len(data) - 3)) == data[-3:]


def test_an_object_that_changed_on_its_way_or_never_ended_is_not_kept(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    with store.incoming() as file:
        file.write(b"weightz")
        with pytest.raises(Invalid, match="send them again"):
            file.commit(expected=address_of(b"weights"))
    with store.incoming() as file:
        file.write(b"half of")
    assert list(store.addresses()) == []
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("left", [b"", b"x" * (CHUNK + 1), b"x" * CHUNK + b"y" * CHUNK])
def test_the_last_piece_of_a_corrupt_object_is_not_given(left: bytes, tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    address = store.put(b"x" * 2 * CHUNK)
    store.path(address).write_bytes(left)
    given_out: list[bytes] = []
    with pytest.raises(Invalid, match="corrupt"):
        given_out.extend(store.chunks(address))
    assert sum(len(piece) for piece in given_out) < max(len(left), 1)


def test_a_missing_object_says_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=str(tmp_path)):
        FileStore(tmp_path).get(address_of(b"never stored"))


@pytest.mark.parametrize("address", ["", "b3:", "b3:../../etc/passwd", "sha256:" + "0" * 64])
def test_an_address_is_never_a_path(address: str, tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="no artifact address"):
        FileStore(tmp_path).path(address)


def test_objects_are_listed_and_deleted(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    kept, gone = store.put(b"a"), store.put(b"b")
    store.delete(gone)
    store.delete(gone)
    assert list(store.addresses()) == [kept]
    assert store.has(kept)
    assert not store.has(gone)


_WRITER = """
import os, sys
from pathlib import Path
from setpoint.artifacts.store import FileStore
real, left = os.fsync, int(sys.argv[2])
def dies(handle):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), 9)
    real(handle)
os.fsync = dies
FileStore(Path(sys.argv[1])).put(b"x" * 100_000)
"""


@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_writer_killed_half_way_leaves_all_or_nothing(after: int, tmp_path: Path) -> None:
    command = [sys.executable, "-c", _WRITER, str(tmp_path), str(after)]
    subprocess.run(command, check=False, env={**os.environ, "PYTHONPATH": "src"})
    store = FileStore(tmp_path)
    for address in store.addresses():
        assert store.get(address) == b"x" * 100_000
    assert store.get(store.put(b"x" * 100_000)) == b"x" * 100_000


def test_a_folder_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "objects").write_text("a file, not a folder")
    with pytest.raises(Unavailable, match="cannot store an artifact"):
        FileStore(tmp_path / "objects").put(b"a")
