import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.artifacts.contract import address_of
from setpoint.artifacts.files import FileStore
from setpoint.errors import NotFound, Unavailable


@given(data=st.binary(max_size=500))
def test_what_is_stored_comes_back(data: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    store = FileStore(tmp_path_factory.getbasetemp() / "objects")
    address = store.put(data)
    assert store.get(address) == data
    assert address == address_of(data)
    assert store.put(data) == address


def test_a_missing_object_says_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=str(tmp_path)):
        FileStore(tmp_path).get(address_of(b"never stored"))


_WRITER = """
import os, sys
from pathlib import Path
from setpoint.artifacts.files import FileStore
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
