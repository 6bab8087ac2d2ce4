import ctypes
import errno
import mmap
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from setpoint.errors import Conflict, Unavailable
from setpoint.serve import frames
from setpoint.serve.entities import Position, Record
from setpoint.serve.log import LogWriter, read

from .made import labelled, predicted, shadowed

ROWS: list[Record] = [predicted("a"), shadowed("a"), labelled("a"), predicted("b", "c")]


def everything(folder: Path) -> list[Record]:
    return [record for _, record in read(folder)]


def test_records_are_read_back_in_order(tmp_path: Path) -> None:
    writer = LogWriter(tmp_path)
    for row in ROWS:
        writer.append(row)
    assert everything(tmp_path) == ROWS
    writer.close()
    assert everything(tmp_path) == ROWS


def test_a_reader_goes_on_where_it_stopped(tmp_path: Path) -> None:
    writer = LogWriter(tmp_path, segment_bytes=2_000)
    position, seen = Position(), []
    for i in range(60):
        writer.append(predicted(str(i)))
        for reached, record in read(tmp_path, position):
            position = reached
            seen += record.ids
    writer.close()
    assert seen == [str(i) for i in range(60)]
    assert len(frames.segments(tmp_path)) > 3
    assert list(read(tmp_path, position)) == []


def test_a_record_larger_than_a_segment_gets_one_of_its_own(tmp_path: Path) -> None:
    writer = LogWriter(tmp_path, segment_bytes=1_000)
    big = predicted(*(str(i) for i in range(1_000)))
    for row in (predicted("a"), big, predicted("b")):
        writer.append(row)
    writer.close()
    assert everything(tmp_path) == [predicted("a"), big, predicted("b")]


def test_a_new_writer_goes_on_in_a_new_segment(tmp_path: Path) -> None:
    for row in ROWS:
        writer = LogWriter(tmp_path)
        writer.append(row)
        writer.close()
    assert everything(tmp_path) == ROWS
    assert frames.segments(tmp_path) == [1, 2, 3, 4]


def test_a_segment_is_left_when_it_is_old(tmp_path: Path) -> None:
    writer = LogWriter(tmp_path, sync_seconds=0.01, roll_seconds=0.05)
    writer.append(ROWS[0])
    end = time.monotonic() + 10
    while frames.segments(tmp_path) == [1]:
        assert time.monotonic() < end, "it is still written to"
    writer.append(ROWS[1])
    assert everything(tmp_path) == ROWS[:2]
    writer.close()
    assert everything(tmp_path) == ROWS[:2]


def test_a_segment_without_rows_is_not_left(tmp_path: Path) -> None:
    writer = LogWriter(tmp_path, sync_seconds=0.01, roll_seconds=0.0)
    before = writer.position
    writer.append(ROWS[0])
    end = time.monotonic() + 10
    while writer.position.segment == before.segment:
        assert time.monotonic() < end
    at = writer.position
    writer.sync()
    assert writer.position == at
    writer.close()


def pages_in_memory(path: Path) -> int:
    """Return how many pages of a file the system has in memory."""
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as held:
        count = -(-len(held) // mmap.PAGESIZE)
        told = (ctypes.c_ubyte * count)()
        begin = ctypes.c_char.from_buffer(held)
        asked = ctypes.c_void_p(ctypes.addressof(begin)), ctypes.c_size_t(len(held)), told
        failed = ctypes.CDLL(None).mincore(*asked)
        del begin
    assert not failed
    return sum(each & 1 for each in told)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what it has in memory")
def test_what_is_written_and_synced_takes_no_memory(tmp_path: Path) -> None:
    ours = tmp_path / "ours"
    ours.write_bytes(bytes(100_000))
    with ours.open("r+b") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    if pages_in_memory(ours):
        pytest.skip("this file system is memory")
    writer = LogWriter(tmp_path / "log", segment_bytes=400_000)
    wanted = [f"row-{at}" for at in range(4_000)]
    for name in wanted:
        writer.append(predicted(name))
    before = pages_in_memory(frames.segment_path(tmp_path / "log", 1))
    writer.close()
    after = pages_in_memory(frames.segment_path(tmp_path / "log", 1))
    assert before > 50
    assert after <= 1  # the end of it, which was written anew
    assert [row for _, one in read(tmp_path / "log") for row in one.ids] == wanted


def test_there_is_one_writer_a_folder(tmp_path: Path) -> None:
    writer = LogWriter(tmp_path)
    with pytest.raises(Conflict, match="another inference server"):
        LogWriter(tmp_path)
    writer.close()
    LogWriter(tmp_path).close()


def test_a_read_only_folder_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match="cannot write to the folder"):
        LogWriter(tmp_path / "file" / "log")


def test_a_full_disk_is_an_error_that_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = LogWriter(tmp_path, segment_bytes=1_000)
    writer.append(predicted("a"))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        with pytest.raises(Unavailable, match="no room for another segment"):
            writer.append(predicted(*"bcdefghijklmnopqrstuvwxyz" * 10))
        before = everything(tmp_path)
    writer.append(predicted("c"))
    writer.close()
    assert everything(tmp_path) == [*before, predicted("c")]
    assert not list(tmp_path.glob("*.new"))


@pytest.fixture(scope="module")
def segment(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("log")
    writer = LogWriter(folder)
    for row in ROWS:
        writer.append(row)
    writer.close()
    return frames.segment_path(folder, 1).read_bytes()


@settings(max_examples=300, deadline=None)
@given(data=st.data(), finished=st.booleans())
def test_no_changed_bit_ever_makes_a_wrong_record(
    segment: bytes, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, *, finished: bool
) -> None:
    folder = tmp_path_factory.mktemp("flip")
    changed = bytearray(segment)
    bit = data.draw(st.integers(frames.START * 8, len(segment) * 8 - 1))
    changed[bit // 8] ^= 1 << bit % 8
    frames.segment_path(folder, 1).write_bytes(changed)
    if finished:
        frames.segment_path(folder, 2).write_bytes(segment)
    found = everything(folder)
    if finished:
        assert found[-len(ROWS) :] == ROWS
        found = found[: -len(ROWS)]
    else:
        assert found == ROWS[: len(found)]
    assert len(found) < len(ROWS)
    remaining = iter(ROWS)
    assert all(record in remaining for record in found)


@settings(max_examples=200, deadline=None)
@given(cut=st.integers(0, 2_000))
def test_a_torn_tail_ends_the_log_before_it(
    segment: bytes, tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    folder = tmp_path_factory.mktemp("torn")
    torn = segment[:cut]
    path = frames.segment_path(folder, 1)
    path.write_bytes(torn)
    found = everything(folder)
    assert found == ROWS[: len(found)]
    path.write_bytes(torn + bytes(len(segment)))  # as after a power cut: the rest is zeros
    found = everything(folder)
    assert found == ROWS[: len(found)]


def test_a_damaged_record_costs_only_itself_once_its_segment_is_finished(
    tmp_path: Path, segment: bytes
) -> None:
    path = frames.segment_path(tmp_path, 1)
    changed = bytearray(segment)
    changed[frames.START + frames.HEADER.size + 3] ^= 1
    path.write_bytes(changed)
    frames.segment_path(tmp_path, 2).write_bytes(segment[: frames.START])
    assert everything(tmp_path) == ROWS[1:]


_WRITES = """
import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from tests.serve.made import predicted
from setpoint.serve.log import LogWriter
writer = LogWriter(Path(sys.argv[1]), segment_bytes=20_000)
for i in range(int(sys.argv[2]), 10**9):
    writer.append(predicted(str(i)))
    print(i, flush=True)
"""


def test_nothing_acknowledged_is_lost_by_kill_nine(tmp_path: Path) -> None:
    """A writer is killed again and again; a line it printed is a record it acknowledged."""
    first = 0
    root = Path(__file__).parents[2]
    for kill_after in (1, 37, 500):
        with subprocess.Popen(
            [sys.executable, "-c", _WRITES, str(tmp_path), str(first)],
            stdout=subprocess.PIPE,
            cwd=root,
            env={**os.environ, "PYTHONPATH": f"{root / 'src'}{os.pathsep}{root}"},
            text=True,
        ) as writer:
            assert writer.stdout is not None
            told = [int(writer.stdout.readline()) for _ in range(kill_after)]
            writer.send_signal(signal.SIGKILL)
            told += [int(line) for line in writer.stdout if line.endswith("\n")]
        found = [int(record.ids[0]) for record in everything(tmp_path)]
        assert found == list(range(len(found)))
        assert len(found) > told[-1]
        first = len(found)
    LogWriter(tmp_path).close()
    sizes = [frames.segment_path(tmp_path, n).stat().st_size for n in frames.segments(tmp_path)]
    assert sizes[-1] == frames.START


def test_the_log_of_a_folder_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert everything(tmp_path / "nowhere") == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte, where this user may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("mounting a small file system needs more rights")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_really_full_disk_loses_nothing_and_is_no_crash(small_disk: Path) -> None:
    writer = LogWriter(small_disk / "log", segment_bytes=300_000)
    other = small_disk / "other"
    other.write_bytes(bytes(500_000))
    fill = map(writer.append, (predicted(str(i)) for i in range(10_000)))
    with pytest.raises(Unavailable, match="no room"):
        deque(fill)
    kept = len(everything(small_disk / "log"))
    assert kept > 500
    other.unlink()
    writer.append(predicted("after"))
    writer.close()
    assert [r.ids[0] for r in everything(small_disk / "log")] == [
        *(str(i) for i in range(kept)),
        "after",
    ]


def test_segments_that_fill_faster_than_spares_are_made_are_each_of_their_own(
    tmp_path: Path,
) -> None:
    writer = LogWriter(tmp_path, segment_bytes=4_000, sync_seconds=0.0005)
    wanted = [f"row-{at}" for at in range(4_000)]
    for name in wanted:
        writer.append(predicted(name))
    writer.close()
    assert [row for _, one in read(tmp_path) for row in one.ids] == wanted
    assert not list(tmp_path.glob("*.new"))
