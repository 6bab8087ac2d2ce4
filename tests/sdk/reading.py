"""What a run's logs hold, read as delivery reads them."""

import json
import math
from array import array
from pathlib import Path
from typing import Any

from setpoint.sdk.batches import LogReader
from setpoint.sdk.folders import Place, RunFolder
from setpoint.sdk.records import Left, Record, Said
from setpoint.sdk.tracked import Tracked

Points = list[tuple[int, int, float]]  # step, microseconds, value


def only_folder(home: Path) -> RunFolder:
    (folder,) = RunFolder.all(home)
    return folder


def points(folder: Path) -> dict[str, Points]:
    """Return the points of one writer's log by name, in their order."""
    found: dict[str, Points] = {}
    for batch in LogReader(folder, Place()).batches():
        for series in batch.series:
            steps, at, values = array("q"), array("q"), array("d")
            steps.frombytes(series.steps)
            at.frombytes(series.at)
            values.frombytes(series.values)
            found.setdefault(series.name, []).extend(zip(steps, at, values, strict=True))
    return found


def all_points(folder: RunFolder) -> dict[str, Points]:
    """Return the points of all writers of a run."""
    found: dict[str, Points] = {}
    for writer in folder.writers():
        for name, some in points(folder.path / writer).items():
            found.setdefault(name, []).extend(some)
    return found


def values(run: Tracked, name: str) -> list[tuple[int, float]]:
    """Return step and value of one metric of a run, as they were logged."""
    run.flush()
    folder = RunFolder(run.folder)
    return [(step, value) for step, _, value in all_points(folder).get(name, [])]


def records(folder: RunFolder) -> list[Record]:
    """Return everything that is no point, of all writers."""
    return [
        batch.record
        for writer in folder.writers()
        for batch in LogReader(folder.path / writer, Place()).batches()
        if batch.record is not None
    ]


def said(run: Tracked) -> tuple[dict[str, Any], dict[str, str]]:
    """Return params and tags that were recorded after the beginning."""
    run.flush()
    params: dict[str, Any] = {}
    tags: dict[str, str] = {}
    for record in records(RunFolder(run.folder)):
        if isinstance(record, Said):
            params |= record.params
            tags |= record.tags
    return params, tags


def files(run: Tracked) -> dict[str, bytes]:
    """Return the artifacts of a run that was begun offline."""
    run.flush()
    folder = RunFolder(run.folder)
    return {
        record.path: folder.objects.get(record.address)
        for record in records(folder)
        if isinstance(record, Left)
    }


def manifest(run: Tracked, path: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(files(run)[path])
    return found


def same(one: float, other: float) -> bool:
    return one == other or (math.isnan(one) and math.isnan(other))
