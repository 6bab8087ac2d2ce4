"""What was logged is in the log: whole, in order, once, through full disks and `kill -9`."""

import math
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.sdk.reading import points, same

from setpoint.sdk.batches import LogReader
from setpoint.sdk.folders import Place
from setpoint.sdk.records import End, Said
from setpoint.sdk.spool import FIRST_BYTES, Spool
from setpoint.serve import frames

CALLS = st.lists(
    st.tuples(
        st.lists(
            st.tuples(
                st.text(st.characters(codec="utf-8"), max_size=12),
                st.integers(-(2**63), 2**63 - 1),
                st.floats(allow_nan=True, allow_infinity=True),
            ),
            max_size=4,
        ),
        st.integers(0, 2**50),
    ),
    max_size=30,
)


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    writer = Spool(tmp_path / "w")
    yield writer
    writer.close()


@settings(deadline=None, max_examples=40)  # each makes threads and files
@given(calls=CALLS)
def test_what_was_logged_is_read_back(
    calls: list[tuple[list[tuple[str, int, float]], int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    spool = Spool(tmp_path_factory.mktemp("spool") / "w")
    given = [(spool.points(some, at), some) for some, at in calls]
    found = points(spool.folder)
    spool.close()
    times = [at for at, _ in given]
    assert times == sorted(set(times))  # each call has a time of its own
    wanted: dict[str, list[tuple[int, int, float]]] = {}
    for at, some in given:
        for name, step, value in some:
            wanted.setdefault(name, []).append((step, at, value))
    assert found.keys() == wanted.keys()
    for name, kept in found.items():
        for (step, at, value), (s, a, v) in zip(kept, wanted[name], strict=True):
            assert (step, at) == (s, a)
            assert same(value, v)


def test_a_reader_goes_on_where_it_was_over_many_segments(spool: Spool) -> None:
    reader = LogReader(spool.folder, Place())
    seen = 0
    for i in range(40_000):
        spool.points([(f"name-{i % 50}", i, float(i))], i)
        if i % 777 == 0:
            seen += sum(batch.points for batch in reader.batches())
    spool.record(Said(tags={"a": "b"}))
    batches = list(reader.batches())
    assert seen + sum(batch.points for batch in batches) == 40_000
    assert batches[-1].record == Said(tags={"a": "b"})
    assert len(frames.segments(spool.folder)) > 2
    ends = [batch.end for batch in LogReader(spool.folder, Place()).batches()]
    assert ends == sorted(ends)
    again = LogReader(spool.folder, ends[0])  # names that were defined before it are known
    assert sum(batch.points for batch in again.batches()) < 40_000


def test_batches_are_small_enough_for_a_server_however_long_names_are(spool: Spool) -> None:
    for i in range(2_000):
        spool.points([("n" * 5_000 + str(i), i, 0.5)], i)
    batches = list(LogReader(spool.folder, Place()).batches())
    sizes = [sum(len(series.name) for series in batch.series) for batch in batches]
    assert sum(batch.points for batch in batches) == 2_000
    assert max(sizes) < 4_000_000
    assert len(batches) < 50


def test_a_batch_that_is_sent_again_is_the_same_one(spool: Spool) -> None:
    for i in range(10):
        spool.points([("loss", i, 0.5)], i)
    (sent,) = LogReader(spool.folder, Place()).batches()
    for i in range(10, 20):
        spool.points([("loss", i, 0.5)], i)
    again, rest = LogReader(spool.folder, Place()).batches(until=sent.end)
    assert again == sent
    assert rest.points == 10


def test_threads_write_without_losing_or_mixing(spool: Spool) -> None:
    def work(thread: int) -> None:
        for i in range(2_000):
            spool.points([(f"t{thread}", i, float(thread)), ("all", i, float(thread))], i)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = points(spool.folder)
    assert len(found["all"]) == 16_000
    for n in range(8):
        assert [(step, value) for step, _, value in found[f"t{n}"]] == [
            (i, float(n)) for i in range(2_000)
        ]


def test_a_signal_that_logs_in_the_middle_of_logging_loses_nothing(spool: Spool) -> None:
    signalled = 0

    def handle(*_: object) -> None:
        nonlocal signalled
        spool.points([("signal", signalled, 1.0)], 0)
        signalled += 1

    before = signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    try:
        for i in range(30_000):
            spool.points([("loss", i, 0.5)], i)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    found = points(spool.folder)
    assert signalled
    assert (len(found["loss"]), len(found["signal"])) == (30_000, signalled)


def test_a_large_record_and_a_long_name_have_room(spool: Spool) -> None:
    spool.record(Said(tags={"text": "x" * (3 * FIRST_BYTES)}))
    spool.points([("n" * 2 * FIRST_BYTES, 1, math.nan)], 5)
    spool.record(End(at=9))
    batches = list(LogReader(spool.folder, Place()).batches())
    assert [type(batch.record) for batch in batches] == [Said, type(None), End]
    assert len(batches[1].series[0].name) == 2 * FIRST_BYTES


@contextmanager
def full_disk(at: int) -> Iterator[None]:
    """No file of this process may be longer than so many bytes."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (at, limit[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, before)


def test_while_the_disk_is_full_records_wait_in_memory_in_their_order(
    spool: Spool, caplog: pytest.LogCaptureFixture
) -> None:
    with full_disk(FIRST_BYTES):
        for i in range(10_000):
            spool.points([("loss", i, 0.5), (f"n{i % 7}", i, 1.0)], i)
        spool.record(Said(tags={"said": "then"}))
        assert not spool.sync()
        assert len(points(spool.folder)["loss"]) < 10_000
    assert spool.sync()
    assert [step for step, _, _ in points(spool.folder)["loss"]] == list(range(10_000))
    assert spool.lost == 0
    warnings = [record.getMessage() for record in caplog.records]
    assert sum("cannot write" in text for text in warnings) == 1
    assert sum("space again" in text for text in warnings) == 1


def test_what_is_small_does_not_overtake_what_waits_for_space(spool: Spool) -> None:
    spool.points([("loss", 0, 0.5)], 0)
    with full_disk(FIRST_BYTES):
        spool.record(Said(tags={"text": "x" * FIRST_BYTES}))
        spool.points([("loss", 1, 0.5)], 1)
        assert not spool.sync()
    assert spool.sync()
    batches = list(LogReader(spool.folder, Place()).batches())
    assert [type(batch.record) for batch in batches] == [type(None), Said, type(None)]


def test_what_finds_neither_disk_nor_memory_is_counted(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("setpoint.sdk.spool.HELD_BYTES", 6_400)
    with full_disk(FIRST_BYTES):
        for i in range(10_000):
            spool.points([("loss", i, 0.5)], i)
        spool.sync()
    assert spool.sync()
    kept = points(spool.folder)["loss"]
    assert spool.lost
    assert len(kept) + spool.lost == 10_000
    assert [step for step, _, _ in kept] == list(range(len(kept)))


CHILD = """
import sys
from pathlib import Path
from setpoint.sdk.spool import Spool
spool = Spool(Path(sys.argv[1]) / "w")
for i in range(10**9):
    spool.points([("loss", i, i / 2)], i)
    sys.stdout.write(f"{i}\\n")
    sys.stdout.flush()
"""


@pytest.mark.parametrize("after", [1, 500, 5_000])
def test_what_log_returned_from_survives_a_kill(after: int, tmp_path: Path) -> None:
    command = [sys.executable, "-c", CHILD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        last = -1
        for line in child.stdout:
            last = int(line)
            if last >= after:
                os.kill(child.pid, signal.SIGKILL)
                break
        rest = child.stdout.read().split("\n")
    last = int(rest[-2]) if len(rest) > 1 else last
    kept = points(tmp_path / "w")["loss"]
    assert len(kept) >= last + 1
    assert [(step, value) for step, _, value in kept] == [(i, i / 2) for i in range(len(kept))]
