"""Runs side by side: what differs, and what came of it."""

import math
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from msgspec import Struct

from setpoint.errors import Invalid
from setpoint.runs.entities import Difference, Run, Value
from setpoint.runs.service import Compare, compare, search
from setpoint.server.ui.page import Ask, Page, Redirect, Table
from setpoint.server.ui.pages import collections, previews
from setpoint.server.ui.pages.runs import common, shown
from setpoint.server.ui.pages.runs_view import read
from setpoint.server.ui.words import run_title

MOST = 200  #: runs compared at once
_BESIDE = 8  #: of which files and artifacts are shown side by side
_AXES = 8  #: of the parallel coordinates, where none are chosen
_SHOWN = ("x", "smooth", "log", "logx", "from", "to", "sx", "sy", "artifact", "b")
_KEPT = {"run", "axis", "format", "table", *_SHOWN}


class Column(Struct, frozen=True, kw_only=True):
    """What runs have by one name, as plots take it."""

    name: str  #: ``params.…`` or ``metrics.…``
    values: list[float | str | None]  #: in the order of the runs


def page(ask: Ask) -> Page | Redirect:
    """Answer "how do these runs differ?"."""
    if ask.query.get("all"):
        return Redirect(to=_address(_all(ask)))
    ids = list(dict.fromkeys(value for name, value in ask.pairs if name == "run" and value))
    if any(name not in _KEPT for name, _ in ask.pairs):
        return Redirect(to=_address(ids))
    if not ids:
        raise Invalid("no run was chosen to compare", hint="tick two or more in the runs table")
    if len(ids) == 1:
        return Redirect(to=f"/runs/{ids[0]}")
    found = ask.call(compare, Compare(runs=ids[:MOST]))
    runs: list[Run] = found.runs
    charts = _charts(runs)
    found_columns = columns(runs, charts["metrics"])
    axes = [value for name, value in ask.pairs if name == "axis"] or _telling(found_columns)
    paths = sorted({path for run in runs for path in run.artifacts})
    path = ask.query.get("artifact", "")
    return Page(
        template="compare.html",
        title=f"{len(runs)} runs compared",
        active="Runs",
        values={
            "runs": runs,
            "left_out": len(ids) - len(runs),
            "shown": shown(runs),
            "without": {run: _address([each for each in ids if each != run]) for run in ids},
            **charts,
            "columns": found_columns,
            "axes": axes,
            "plotted": plotted(runs, found_columns),
            "scatter": _scattered(ask, found_columns),
            "curves": {name: ask.query[name] for name in _SHOWN if name in ask.query},
            "differences": found.differences,
            "kinds": _kinds(found.differences),
            "paths": paths,
            "path": path,
            "collected": ask.read(collections.beside, [run.id for run in runs[:_BESIDE]]),
            "previews": [previews.of(ask, run, path) for run in runs[:_BESIDE]] if path else [],
        },
        tables={"differences": _table(runs, found.differences)},
    )


def _all(ask: Ask) -> list[str]:
    view = read([pair for pair in ask.pairs if pair[0] != "run"])
    return [run.id for run in ask.call(search, view.search(MOST)).runs]


def _address(runs: Sequence[str]) -> str:
    return f"/compare?{urlencode([('run', each) for each in runs])}"


def _charts(runs: list[Run]) -> dict[str, Any]:
    """Return the metrics that are curves: the runs' own, and those of their machines."""
    long = [
        {name: last.value for name, last in run.latest.items() if last.count > 1} for run in runs
    ]
    names = common(long)
    return {
        "metrics": [name for name in names if not name.startswith("system/")],
        "system": [name for name in names if name.startswith("system/")],
    }


def columns(runs: list[Run], first: list[str]) -> list[Column]:
    """Return the params and metrics that are not the same in all runs, curves before the rest."""
    found = []
    for kind in ("params", "metrics"):
        carried: list[dict[str, Any]] = [getattr(run, kind) for run in runs]
        names = dict.fromkeys(name for values in carried for name in values)
        for name in sorted(names, key=lambda name: name not in first):
            if kind == "metrics" and name.startswith("system/"):
                continue
            values = [_plain(each.get(name)) for each in carried]
            if len(set(values)) > 1:
                found.append(Column(name=f"{kind}.{name}", values=values))
    return found


def _plain(value: Value) -> float | str | None:
    """Return a value as an axis places it: numbers by size, all else by name."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value)
    return float(value) if math.isfinite(value) else None


def _telling(columns: list[Column]) -> list[str]:
    """Return the axes drawn where none are chosen: params first, then what came of them."""
    full = [c for c in columns if sum(v is not None for v in c.values) * 2 >= len(c.values)]
    params = [c.name for c in full if c.name.startswith("params.")]
    metrics = [c.name for c in full if c.name.startswith("metrics.")]
    return params[: _AXES - min(len(metrics), 3)] + metrics[:3]


def plotted(runs: list[Run], columns: list[Column]) -> dict[str, Any]:
    """Return runs with what they have by each name, as plots take them."""
    return {
        "runs": shown(runs),
        "columns": {column.name: column.values for column in columns},
    }


def _scattered(ask: Ask, columns: list[Column]) -> tuple[str, str]:
    """Return what is drawn across and what upwards."""
    names = [column.name for column in columns]
    metrics = [name for name in names if name.startswith("metrics.")] or names
    others = [name for name in names if name.startswith("params.")] or metrics[1:] or names
    across = ask.query.get("sx", others[0] if others else "")
    return across, ask.query.get("sy", metrics[0] if metrics else "")


def _kinds(differences: list[Difference]) -> dict[str, list[Difference]]:
    """Return differences by kind: what was given first, then what came of it."""
    kinds: dict[str, list[Difference]] = {"param": [], "metric": []}
    for each in differences:
        kinds.setdefault(each.kind, []).append(each)
    return {kind: listed for kind, listed in kinds.items() if listed}


def _table(runs: list[Run], differences: list[Difference]) -> Table:
    return Table(
        columns=["kind", "name", *(run_title(run) for run in runs)],
        rows=[[each.kind, each.name, *each.values] for each in differences],
    )
