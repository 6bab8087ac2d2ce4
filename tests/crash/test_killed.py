"""A replay that is killed with kill -9 anywhere comes to what the one that was not came to.

The replay of `small.py` runs once undisturbed while its writes are listed. Then it runs in
*chains*: it is killed at a listed write, started again, killed at a later one, and so on to
the end, where everything in the store is compared. A chain's points are spread over the
whole replay, and each listed point is in one chain, so what went before differs too.

`make crash` goes through every write of a release and of a training and a spread of the
others; without ``CRASH_POINTS=all`` one short chain stands for them.
"""

import json
import os
import re
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tests.crash.child import LOST, when

from setpoint.db.engine import connect
from setpoint.events import chain
from setpoint.runs.store import series
from setpoint.runs.store.pairs import Pair
from setpoint.serve import log
from setpoint.serve.entities import LabelRecord, PredictionRecord

ROOT = Path(__file__).parents[2]
HOWS = ("self", "self", "server", "self", "both", "soon")
ALL = os.environ.get("CRASH_POINTS") == "all"
CHAINS = 14 if ALL else 1
SAMPLE, OTHERS = 9, 60

pytestmark = pytest.mark.crash

# What a training or a verdict writes, and (at a moment when traffic moves) any statement.
_TELLING = re.compile(
    r"\|(INSERT|UPDATE|DELETE) (releases|deployments|endpoints|model_\w+|models|jobs|alarms|"
    r"dataset_versions|step_results|runs|release_looks)\|"
)
_WRITES = re.compile(r"\|(INSERT|UPDATE|DELETE|commit)\b")
_IDS = re.compile(r"\b(job|run|rel|alm|val|evt|req|prd)_[0-9A-HJKMNP-TV-Z]{26}")
# Who, and where in the log, are never the same; how a series is laid out depends on when what was
# loose was merged: its points are compared instead.
_BESIDE = {"leases", "event_outbox", "event_seals", "cursors", "series_tail", "series_chunks"}
_MEASURED = re.compile(
    r'"detail":"seconds of CPU[^}]*|(?<=judged\', \'address\': \')b3:\w+'
)  # how fast the model answered at the gate, and the judgement with that number in it
_OFTEN = {("jobs", "attempts"), ("step_results", "seconds"), ("events", "seq"), ("runs", "code")}
_OFTEN |= {("data_home", "mark")}
_OFTEN |= {("run_metrics", "loose_rows"), ("run_metrics", "loose_points")}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The store of a replay that was not killed, and all its writes in order."""
    folder = tmp_path_factory.mktemp("undisturbed")
    home, points = folder / "home", folder / "points"
    done = _run(home, "--points", str(points))
    assert done.returncode == 0, done.stderr
    return home, points.read_text(encoding="utf-8").splitlines()


def test_the_replay_has_all_that_happens_to_a_model(undisturbed: tuple[Path, list[str]]) -> None:
    home, points = undisturbed
    kinds = Counter(kind for (kind,) in _rows(home, "SELECT kind FROM events"))
    assert kinds["release.promoted"] >= 1
    assert kinds["release.rolled_back"] == 1
    assert kinds["release.advanced"] >= 2
    assert kinds["training.refused"] == 1
    assert kinds["model.overridden"] == 1
    assert kinds["alarm.opened"] >= 1
    assert len(points) >= 1_000
    _must_hold(home)


@pytest.mark.parametrize("number", range(CHAINS))
def test_killed_and_started_again_it_comes_to_the_same(
    undisturbed: tuple[Path, list[str]], tmp_path: Path, number: int
) -> None:
    expected, points = undisturbed
    home = tmp_path / "home"
    mine = _chosen(points)[number::CHAINS]
    for turn, point in enumerate(mine):
        how = HOWS[(turn + number) % len(HOWS)]
        done = _run(home, "--die", point, "--how", how)
        assert done.returncode in {-9, LOST, 0}, (when(point), how, done.stderr)
        _must_hold(home)
    done = _run(home)
    assert done.returncode == 0, done.stderr
    _must_hold(home)
    _must_have(home)
    differences = _differences(_contents(expected), _contents(home))
    assert not differences, "\n".join([*differences, "killed at:", *map(when, mine)])


def _chosen(points: list[str]) -> list[str]:
    """Return points in order: every telling one and a spread of the others, or a few of all."""
    moving = {_moment(point) for point in points if " deployments|" in point}
    telling = [
        point
        for point in points
        if _TELLING.search(point) or (_WRITES.search(point) and _moment(point) in moving)
    ]
    if not ALL:
        return telling[:: -(-len(telling) // SAMPLE)]
    others = sorted(set(points) - set(telling), key=points.index)
    return sorted([*telling, *others[:: len(others) // OTHERS]], key=points.index)


def _moment(point: str) -> str:
    return point.split("|", 1)[0]


def _run(home: Path, *more: str) -> "subprocess.CompletedProcess[str]":
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]),
        "PYTHONHASHSEED": "0",  # a pickled set is in the order of its hashes
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, str(Path(__file__).with_name("child.py")), str(home), *more]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def _must_hold(home: Path) -> None:
    """Check what holds at every moment: one live version, and an intact record."""
    if not (home / "setpoint.db").exists():
        return
    tables = {name for (name,) in _rows(home, "SELECT name FROM sqlite_master")}
    if not {"deployments", "releases", "events", "event_seals"} <= tables:
        return
    live = _rows(home, "SELECT count(*) FROM deployments WHERE role = 'live'")[0][0]
    promoted = _rows(home, "SELECT count(*) FROM releases WHERE state = 'promoted'")[0][0]
    assert live == (1 if promoted else 0)
    engine = connect(f"sqlite:///{home / 'setpoint.db'}")
    with engine.execution_options(setpoint_reads=True).begin() as conn:
        assert chain.verify(conn).faults == []
    engine.dispose()
    _nothing_is_lost_from_the_log(home)


def _nothing_is_lost_from_the_log(home: Path) -> None:
    asked: dict[str, set[tuple[int, float]]] = {}
    told: set[tuple[str, float]] = set()
    for _, record in log.read(home / "log"):
        if isinstance(record, PredictionRecord):
            scores = memoryview(record.scores).cast("d").tolist()
            for name, version, score in zip(record.ids, record.versions, scores, strict=False):
                asked.setdefault(name, set()).add((version, score))
        elif isinstance(record, LabelRecord):
            told.update(zip(record.ids, record.labels, strict=True))
    for file in (home / "log" / "parquet").glob("model=*/dt=*/predictions-*.parquet"):
        for name, version, score in pl.read_parquet(
            file, columns=["id", "version", "score"]
        ).rows():
            asked.setdefault(name, set()).add((version, score))
    for file in (home / "log" / "parquet").glob("model=*/dt=*/labels-*.parquet"):
        told.update(pl.read_parquet(file, columns=["id", "label"]).rows())
    for kind, ids, *values in _acknowledged(home):
        if kind == "p":
            lost = [
                name
                for name, version, score in zip(ids, *values, strict=True)
                if (version, score) not in asked.get(name, set())
            ]
        else:
            lost = [pair for pair in zip(ids, *values, strict=True) if pair not in told]
        assert lost == []


def _must_have(home: Path) -> None:
    """Check that all that was ever acknowledged is in the index."""
    rows = _rows(home, "SELECT id, version, score, label FROM predictions")
    index = {name: (version, score, label) for name, version, score, label in rows}
    for kind, ids, *values in _acknowledged(home):
        for name, *said in zip(ids, *values, strict=True):
            version, score, label = index[name]
            assert said == ([version, score] if kind == "p" else [label]), name


def _acknowledged(home: Path) -> Iterator[list[Any]]:
    notes = home / "acknowledged"
    lines = notes.read_text(encoding="utf-8").splitlines() if notes.exists() else []
    return (json.loads(line) for line in lines)


def _contents(home: Path) -> dict[str, list[str]]:
    """Return every table's rows as text, sorted, with made-up ids and lucky columns left out."""
    tables = _rows(home, "SELECT name FROM sqlite_master WHERE type = 'table'")
    found = {}
    for (table,) in tables:
        if table in _BESIDE or table.startswith("sqlite_"):
            continue
        names = [row[1] for row in _rows(home, f"PRAGMA table_info({table})")]
        kept = [name for name in names if (table, name) not in _OFTEN]
        rows = _rows(home, f"SELECT {', '.join(map(_quoted, kept))} FROM {table}")
        lines = [repr(dict(zip(kept, row, strict=True))) for row in rows]
        lines = [_IDS.sub(r"\1", line.replace(str(home), "HOME")) for line in lines]
        lines = [_MEASURED.sub("", line) for line in lines]
        found[table] = lines if table == "events" else sorted(lines)
    return found | {"series": _series(home)}


def _series(home: Path) -> list[str]:
    """Return every series' points as text."""
    pairs: list[Pair] = _rows(home, "SELECT run_key, name_id FROM run_metrics")
    engine = connect(f"sqlite:///{home / 'setpoint.db'}")
    try:
        with engine.begin() as conn:
            held = series.read_many(conn, pairs)
    finally:
        engine.dispose()
    return sorted(repr((pair, [part.tolist() for part in held[pair]])) for pair in pairs)


def _differences(expected: dict[str, list[str]], found: dict[str, list[str]]) -> list[str]:
    said = []
    for table, rows in expected.items():
        missing, more = Counter(rows), Counter(found.get(table, []))
        missing, more = missing - more, more - missing
        said += [f"{table}: missing {row[:1500]}" for row in list(missing)[:3]]
        said += [f"{table}: more {row[:1500]}" for row in list(more)[:3]]
        if table == "events" and not said and rows != found[table]:
            said.append("events: in another order")
    return said


def _quoted(name: str) -> str:
    return f'"{name}"'


def _rows(home: Path, query: str) -> list[Any]:
    connection = sqlite3.connect(home / "setpoint.db", timeout=30)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()
