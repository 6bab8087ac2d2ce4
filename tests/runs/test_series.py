"""Series: whatever order points arrive in, all of them come back, each once, sorted."""

import math
import struct
from datetime import timedelta
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select

from setpoint.core.clock import ManualClock
from setpoint.db.local import LocalBackend
from setpoint.errors import Conflict, Invalid, NotFound
from setpoint.runs import columns, keeping, service
from setpoint.runs.columns import Columns
from setpoint.runs.entities import Run, Series, Status
from setpoint.runs.store import merging
from setpoint.runs.tables import series_chunks, series_tail

AT = 1_760_000_000_000_000

numbers = st.floats(width=64) | st.sampled_from([math.nan, math.inf, -math.inf, 0.0, -0.0])
points = st.lists(
    st.tuples(st.integers(-(2**62), 2**62) | st.integers(0, 5), st.integers(0, AT), numbers),
    max_size=60,
)


def made(rows: list[tuple[int, int, float]]) -> Columns:
    return Columns(
        np.array([row[0] for row in rows], np.int64),
        np.array([row[1] for row in rows], np.int64),
        np.array([row[2] for row in rows], np.float64),
    )


def bits(found: Columns) -> list[tuple[int, int, bytes]]:
    """Return points with values by their bits: NaN equals itself, 0.0 is not -0.0."""
    rows = zip(found.steps.tolist(), found.at.tolist(), found.values.tolist(), strict=True)
    return [(step, at, struct.pack("<d", value)) for step, at, value in rows]


@given(points, st.integers(1, 7))
def test_packing_and_joining_lose_nothing_and_keep_duplicates_once(
    rows: list[tuple[int, int, float]], parts: int
) -> None:
    whole = columns.joined([made(rows[i::parts]) for i in range(parts)])
    assert sorted(bits(whole)) == sorted(set(bits(made(rows))))
    order = list(zip(whole.steps.tolist(), whole.at.tolist(), strict=True))
    assert order == sorted(order)
    if rows:
        assert bits(columns.unpack(columns.pack(whole))) == bits(whole)
        assert bits(columns.unloose(columns.loose(columns.series("x", whole)))) == bits(whole)


@given(points.filter(bool), st.integers(2, 20))
def test_a_band_covers_every_value_and_ends_with_the_last(
    rows: list[tuple[int, int, float]], at_most: int
) -> None:
    whole = columns.joined([made(rows)])
    band = columns.banded(whole, at_most)
    low, high, last = (np.frombuffer(part) for part in (band.low, band.high, band.last))
    assert len(band) <= at_most
    assert struct.pack("<d", last[-1]) == struct.pack("<d", whole.values[-1])
    real = whole.values[~np.isnan(whole.values)]
    if real.size:
        assert (np.nanmin(low), np.nanmax(high)) == (real.min(), real.max())


def start(backend: LocalBackend) -> Run:
    return backend.call(service.start, service.Start(experiment="late"))


def append(backend: LocalBackend, run: Run, part: Columns, **values: object) -> int:
    cmd = service.Append(run=run.id, series=[columns.series("loss", part)], **values)  # type: ignore[arg-type]
    return backend.call(service.append, cmd).points


def history(backend: LocalBackend, run: Run, **values: int) -> Columns:
    cmd = service.History(run=run.id, metric="loss", **values)
    return columns.arrays(backend.call(service.history, cmd))


def stretch(first: int, count: int, seed: int = 0) -> Columns:
    rng = np.random.default_rng(seed)
    steps = np.arange(first, first + count)
    return Columns(steps, AT + steps * 1_000, rng.normal(size=count))


def test_points_in_any_order_come_back_sorted_and_packed(backend: LocalBackend) -> None:
    run = start(backend)
    whole = stretch(0, 20_000)
    rng = np.random.default_rng(3)
    for part in np.array_split(rng.permutation(whole.size), 25):
        append(backend, run, whole.only(part))
    assert bits(history(backend, run)) == bits(whole)
    latest = backend.call(service.show, service.ShowRun(run=run.id)).latest["loss"]
    assert (latest.step, latest.value) == (19_999, whole.values[-1])
    assert (latest.min, latest.max) == (whole.values.min(), whole.values.max())
    assert latest.count == whole.size
    backend.call(service.finish, service.Finish(run=run.id))
    assert bits(history(backend, run)) == bits(whole)
    with backend.reading() as conn:
        size = conn.execute(select(func.sum(func.length(series_chunks.c.points)))).scalar_one()
        bounds = conn.execute(
            select(series_chunks.c.first_step, series_chunks.c.last_step).order_by("first_step")
        ).all()
        assert conn.execute(select(func.count()).select_from(series_tail)).scalar_one() == 0
    assert int(size) / whole.size < 12
    assert all(a.last_step < b.first_step for a, b in pairwise(bounds))
    assert max(b.last_step - b.first_step for b in bounds) < merging.CHUNK


def test_parts_of_a_history_are_the_same_points(backend: LocalBackend) -> None:
    run = start(backend)
    whole = stretch(0, 9_000)
    append(backend, run, whole)
    append(backend, run, stretch(9_000, 50))
    assert bits(history(backend, run, first_step=100, last_step=8_999)) == bits(
        whole.only(slice(100, 9_000))
    )
    assert bits(history(backend, run, offset=5_000, limit=10)) == bits(
        whole.only(slice(5_000, 5_010))
    )


def test_a_batch_sent_again_is_written_once(backend: LocalBackend) -> None:
    run = start(backend)
    assert append(backend, run, stretch(0, 100), source="log", position=100) == 100
    assert append(backend, run, stretch(0, 100), source="log", position=100) == 0
    assert append(backend, run, stretch(50, 100), source="log", position=200) == 100
    assert append(backend, run, stretch(0, 1), source="other", position=1) == 1
    assert history(backend, run).size == 200  # 50 to 99 have other values, 0 is equal


def test_the_last_of_a_step_is_by_its_time(backend: LocalBackend) -> None:
    run = start(backend)
    append(backend, run, made([(3, AT + 5, 0.5), (3, AT + 9, 0.9), (1, AT, 0.1)]))
    append(backend, run, made([(3, AT + 7, 0.7)]))
    curve = backend.call(service.points, service.Curve(run=run.id, metric="loss")).points
    assert [(p.step, p.value) for p in curve] == [(1, 0.1), (3, 0.9)]
    assert backend.call(service.show, service.ShowRun(run=run.id)).metrics == {"loss": 0.9}
    assert history(backend, run).size == 4


def test_curves_of_many_runs_keep_their_extremes(
    backend: LocalBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [start(backend) for _ in range(2)]
    whole = stretch(0, 10_000)
    append(backend, runs[0], whole)
    ask = service.Histories(runs=[r.id for r in runs], metrics=["loss", "auc"], at_most=50)
    for chunk in (4_096, 100):  # from the points, then from the summaries of chunks
        monkeypatch.setattr("setpoint.runs.reading.CHUNK", chunk)
        (found,) = backend.call(service.histories, ask).curves
        assert (found.run, found.metric, found.points) == (runs[0].id, "loss", 10_000)
        assert len(found.band) <= 50
        assert np.frombuffer(found.band.low).min() == whole.values.min()
        assert np.frombuffer(found.band.high).max() == whole.values.max()
        assert np.frombuffer(found.band.steps, np.int64)[-1] == 9_999


def test_who_follows_a_run_misses_nothing_though_it_is_merged_meanwhile(
    backend: LocalBackend,
) -> None:
    run = start(backend)
    append(backend, run, stretch(0, 10))
    tail = backend.call(service.tail, service.Tail(run=run.id))
    assert tail.series == []
    append(backend, run, made([(-5, AT, 1.0)]))  # late, and before all others
    append(backend, run, stretch(10, 5_000))  # merged at once
    backend.call(service.finish, service.Finish(run=run.id))
    tail = backend.call(service.tail, service.Tail(run=run.id, after=tail.cursor))
    assert tail.status is Status.FINISHED
    seen = set(columns.arrays(tail.series[0]).steps.tolist())
    assert seen >= {-5, *range(10, 5_010)}
    again = backend.call(service.tail, service.Tail(run=run.id, after=tail.cursor))
    assert (again.series, again.cursor) == ([], tail.cursor)


def test_who_follows_the_first_run_of_a_store_sees_its_first_points(backend: LocalBackend) -> None:
    run = start(backend)
    tail = backend.call(service.tail, service.Tail(run=run.id))
    append(backend, run, stretch(0, 3))
    tail = backend.call(service.tail, service.Tail(run=run.id, after=tail.cursor))
    assert [len(each) for each in tail.series] == [3]


def test_what_a_killed_run_left_loose_is_merged_later(
    backend: LocalBackend, clock: ManualClock
) -> None:
    run = start(backend)
    whole = stretch(0, 300)
    for part in np.array_split(np.arange(300), 100):
        append(backend, run, whole.only(part))
    clock.advance(timedelta(minutes=2))
    assert keeping.settle(backend) == 1
    assert keeping.settle(backend) == 0
    assert bits(history(backend, run)) == bits(whole)


def test_bad_columns_are_refused_by_name(backend: LocalBackend) -> None:
    run = start(backend)
    bad = Series(name="loss", steps=b"12345678", at=b"", values=b"12345678")
    with pytest.raises(Invalid, match="metric 'loss' are not equally long"):
        backend.call(service.append, service.Append(run=run.id, series=[bad]))
    far = columns.series("loss", made([(0, 2**62, 1.0)]))
    with pytest.raises(Invalid, match="time"):
        backend.call(service.append, service.Append(run=run.id, series=[far]))
    with pytest.raises(NotFound, match="no run 'nobody'"):
        backend.call(service.append, service.Append(run="nobody", series=[]))
    backend.call(service.delete, service.OneRun(run=run.id))
    with pytest.raises(Conflict, match="is deleted"):
        append(backend, run, stretch(0, 1))
