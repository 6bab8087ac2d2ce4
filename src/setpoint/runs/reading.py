"""Reading runs: lists, searches, curves, and what comes in while one looks."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from setpoint.core.operations import Context, operation
from setpoint.errors import Invalid
from setpoint.runs import columns, rules
from setpoint.runs.columns import Columns, Floats
from setpoint.runs.commands import (
    Artifacts,
    Compare,
    Comparison,
    Curve,
    Curves,
    Histories,
    History,
    ListArtifacts,
    ListRuns,
    MetricNames,
    Names,
    Points,
    RunCurve,
    Runs,
    SearchRuns,
    ShowRun,
    Tail,
    Tailed,
)
from setpoint.runs.entities import Band, Run, Series, Status
from setpoint.runs.store import naming, search, search_experiments, series, values
from setpoint.runs.store import runs as store
from setpoint.runs.store.merging import CHUNK
from setpoint.runs.store.pairs import Pair

_PAIRS = 20_000  #: curves at once
_POINTS = 2_000_000  #: unpacked at a time, 48 MB


@operation("runs.ls", needs="runs:read")
def ls(ctx: Context, cmd: ListRuns) -> Runs:
    """Return the newest runs, of one experiment or of all."""
    named = [cmd.experiment] if cmd.experiment is not None else []
    return search.runs(ctx.conn, SearchRuns(experiments=named, limit=cmd.limit))


@operation("runs.search", needs="runs:read")
def search_runs(ctx: Context, cmd: SearchRuns) -> Runs:
    """Return runs by a filter, in an order, page by page."""
    if cmd.limit < 1:
        raise Invalid("a page has at least one run", hint="set limit to 1 or more")
    return search.runs(ctx.conn, cmd)


@operation("runs.show", needs="runs:read")
def show(ctx: Context, cmd: ShowRun) -> Run:
    """Return one run with everything recorded about it."""
    return store.get(ctx.conn, cmd.run)


@operation("runs.points", needs="runs:read")
def points(ctx: Context, cmd: Curve) -> Points:
    """Return the curve of one metric of a run: the last point of each step."""
    found = columns.curve(series.read(ctx.conn, _pair(ctx, cmd.run, cmd.metric)))
    return Points(points=columns.to_points(cmd.metric, columns.thinned(found, cmd.at_most)))


@operation("runs.history", needs="runs:read")
def history(ctx: Context, cmd: History) -> Series:
    """Return every point of one metric of a run, by (step, at), in columns."""
    pair = _pair(ctx, cmd.run, cmd.metric)
    found = series.read(ctx.conn, pair, cmd.first_step, cmd.last_step)
    if cmd.offset or cmd.limit is not None:
        end = None if cmd.limit is None else cmd.offset + cmd.limit
        found = found.only(slice(cmd.offset, end))
    return columns.series(cmd.metric, found)


@operation("runs.histories", needs="runs:read")
def histories(ctx: Context, cmd: Histories) -> Curves:
    """Return curves of many runs, thinned to stretches that keep the extremes."""
    if len(cmd.runs) * len(cmd.metrics) > _PAIRS:
        raise Invalid(f"more than {_PAIRS:,} curves at once", hint="ask for fewer runs or metrics")
    keys = store.keys(ctx.conn, cmd.runs)
    ids = naming.known(ctx.conn, cmd.metrics)
    counts = series.counts(ctx.conn, list(keys.values()), list(ids.values()))
    bands: dict[Pair, Band] = {}
    whole = cmd.first_step is None and cmd.last_step is None
    long = [pair for pair, count in counts.items() if whole and count > cmd.at_most * CHUNK]
    for pair, rows in series.stretches(ctx.conn, long).items():
        bands[pair] = _summed(rows, cmd.at_most)
    short = {pair: count for pair, count in counts.items() if pair not in bands}
    for some in _portions(short):
        read = series.read_many(ctx.conn, some, cmd.first_step, cmd.last_step)
        for pair, found in read.items():
            bands[pair] = columns.banded(columns.curve(found), cmd.at_most)
    named = {name: ids.get(naming.plain(name), -1) for name in cmd.metrics}
    curves = [
        RunCurve(run=run, metric=metric, points=counts[pair], band=bands[pair])
        for run in cmd.runs
        for metric in cmd.metrics
        if (pair := (keys.get(run, -1), named[metric])) in bands
    ]
    return Curves(curves=curves)


def _portions(counts: dict[Pair, int]) -> list[list[Pair]]:
    """Return series in portions of so many points that memory stays bounded."""
    portions: list[list[Pair]] = []
    room = 0
    for pair, count in counts.items():
        if room < count or not portions:
            portions.append([])
            room = _POINTS
        portions[-1].append(pair)
        room -= count
    return portions


def _summed(rows: Sequence[Any], at_most: int) -> Band:
    """Return stretches made of chunks' summaries, several chunks each if there are many."""
    edges = np.unique(np.linspace(0, len(rows), min(at_most, len(rows)) + 1).astype(np.int64))
    starts, ends = edges[:-1], edges[1:] - 1

    def of(name: str) -> Floats:
        return np.array([getattr(row, name) for row in rows], np.float64)  # None becomes NaN

    last = Columns(
        np.array([rows[end].last_step for end in ends], np.int64),
        np.array([rows[end].last_at for end in ends], np.int64),
        of("last")[ends],
    )
    low, high = np.fmin.reduceat(of("low"), starts), np.fmax.reduceat(of("high"), starts)
    return columns.band(last, low, high)


@operation("runs.tail", needs="runs:read")
def tail(ctx: Context, cmd: Tail) -> Tailed:
    """Return what arrived for a run after a cursor; with 0, the cursor of now."""
    run = store.brief(ctx.conn, cmd.run)
    cursor = series.cursor(ctx.conn, run.key) + 1  # 0 is how one asks for the first
    found: list[Series] = []
    if cmd.after and cursor > cmd.after:
        ids = naming.known(ctx.conn, cmd.metrics) if cmd.metrics else {}
        wanted = list(ids.values()) if cmd.metrics else None
        arrived = series.since(ctx.conn, run.key, cmd.after - 1, wanted)
        names = naming.names_of(ctx.conn, arrived)
        found = [
            columns.series(names[number], columns.joined(parts))
            for number, parts in arrived.items()
        ]
    return Tailed(run=cmd.run, status=Status(run.status), cursor=cursor, series=found)


@operation("runs.names", needs="runs:read")
def names(ctx: Context, cmd: MetricNames) -> Names:
    """Return the names of metrics, params and tags that runs use, e.g. to complete a filter."""
    return search_experiments.names(ctx.conn, cmd)


@operation("runs.artifacts", needs="runs:read")
def artifacts(ctx: Context, cmd: ListArtifacts) -> Artifacts:
    """Return the files a run left, of one folder or of all."""
    key = store.key_of(ctx.conn, cmd.run)
    return Artifacts(artifacts=values.artifacts(ctx.conn, key, cmd.under))


@operation("runs.compare", needs="runs:read")
def compare(ctx: Context, cmd: Compare) -> Comparison:
    """Return what differs between runs: params, metrics, inputs, code, environment."""
    if len(cmd.runs) < 2:
        raise Invalid("comparing takes two runs or more")
    found = [store.get(ctx.conn, each) for each in cmd.runs]
    return Comparison(runs=found, differences=rules.differences(found))


def _pair(ctx: Context, run: str, metric: str) -> Pair:
    key = store.key_of(ctx.conn, run)
    return key, naming.known(ctx.conn, [metric]).get(naming.plain(metric), -1)


OPERATIONS = (
    ls,
    search_runs,
    show,
    points,
    history,
    histories,
    tail,
    names,
    artifacts,
    compare,
)
