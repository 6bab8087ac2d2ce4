"""What the year came to, from what is in the store: nothing here is remembered, all is read."""

from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
from msgspec import Struct
from numpy.typing import NDArray

from setpoint.artifacts.store import open_store
from setpoint.db.local import LocalBackend
from setpoint.demo.flights_data import Replay
from setpoint.events import chain
from setpoint.models import store as models
from setpoint.models.metrics import measure
from setpoint.models.runtime import load
from setpoint.monitor import store as monitor
from setpoint.releases import store as releases
from setpoint.releases.entities import Release, State
from setpoint.serve import store as serving

Floats = NDArray[np.float64]


class Version(Struct, frozen=True, kw_only=True):
    number: int
    born_at: datetime
    why: str
    gate: str  #: passed, failed or overridden
    rows: int  #: predictions it answered


class Verdict(Struct, frozen=True, kw_only=True):
    version: int
    verdict: str  #: promoted, rolled_back, held or running
    why: str
    started_at: datetime
    ended_at: datetime | None
    proven: bool


class Said(Struct, frozen=True, kw_only=True):
    opened_at: datetime
    monitor: str
    version: int
    text: str
    state: str


class Month(Struct, frozen=True, kw_only=True):
    month: str
    rows: int
    live: float
    never_retrained: float
    retrained: int  #: versions promoted in it


class Quality(Struct, frozen=True, kw_only=True):
    """AUC over the same labelled predictions."""

    live: float
    never_retrained: float
    rows: int
    by_month: list[Month]


class Report(Struct, frozen=True, kw_only=True):
    """The outcome of a replay, as `setpoint demo --json` prints it."""

    predictions: int
    labels: int
    versions: list[Version]
    releases: list[Verdict]
    alarms: list[Said]
    quality: Quality
    seconds: float
    peak_memory_mb: float
    events_verified: bool
    home: str


def report(
    home: LocalBackend, model: str, stream: Replay, *, seconds: float, peak_memory_mb: float
) -> Report:
    """Read the outcome of a replay from its store."""
    with home.reading() as conn:
        found = sorted(models.versions(conn, model), key=lambda v: v.number)
        released = sorted(releases.ls(conn, model, limit=1000), key=lambda r: r.started_at)
        alarms = monitor.list_alarms(conn, model=model, limit=1000)
        asked, labelled = serving.count_predictions(conn, model)
        rows = {v.number: serving.count_predictions(conn, model, v.number)[0] for v in found}
        table = _answered(home, model)
        verified = chain.verify(conn).intact
        never = load(open_store(home.settings), found[0])
    return Report(
        predictions=asked,
        labels=labelled,
        versions=[
            Version(
                number=v.number,
                born_at=v.created_at,
                why=v.why,
                gate="passed"
                if v.gate and v.gate.passed
                else "overridden"
                if v.override
                else "failed",
                rows=rows[v.number],
            )
            for v in found
        ],
        releases=[_verdict(r) for r in released if r.from_version is not None],
        alarms=[
            Said(
                opened_at=a.opened_at,
                monitor=a.monitor,
                version=a.version,
                text=a.text,
                state=a.state,
            )
            for a in sorted(alarms, key=lambda a: a.opened_at)
        ],
        quality=_quality(table, stream, np.asarray(never.predict(stream.matrix())), released),
        seconds=round(seconds, 1),
        peak_memory_mb=round(peak_memory_mb, 1),
        events_verified=verified,
        home=str(home.settings.home),
    )


def _answered(home: LocalBackend, model: str) -> pl.DataFrame:
    with home.reading() as conn:
        rows = serving.outcomes(conn, model)
    return pl.DataFrame(
        rows,
        schema={"id": pl.String, "score": pl.Float64, "label": pl.Float64},
        orient="row",
    )


def _quality(
    table: pl.DataFrame, stream: Replay, never: Floats, released: list[Release]
) -> Quality:
    """Compare what was answered with what the first version would have, on the same rows."""
    asked = pl.DataFrame({"id": stream.ids(), "month": stream.months(), "never": never})
    both = asked.join(table.drop_nulls("label"), on="id", how="inner", maintain_order="left")
    promoted = [r.ended_at for r in released if r.state is State.PROMOTED and r.from_version]
    months = []
    for (number,), part in both.group_by("month", maintain_order=True):
        born = sum(at is not None and at.month == number for at in promoted)
        months.append(
            Month(
                month=datetime(2013, int(str(number)), 1).strftime("%b"),  # noqa: DTZ001 - a name
                rows=part.height,
                live=_auc(part, "score"),
                never_retrained=_auc(part, "never"),
                retrained=born,
            )
        )
    return Quality(
        live=_auc(both, "score"),
        never_retrained=_auc(both, "never"),
        rows=both.height,
        by_month=months,
    )


def _auc(rows: pl.DataFrame, column: str) -> float:
    if rows.is_empty():
        return float("nan")
    return round(measure("roc_auc", rows["label"].to_numpy(), rows[column].to_numpy()).value, 4)


def _verdict(release: Release) -> Verdict:
    return Verdict(
        version=release.version,
        verdict=release.state,
        why=release.verdict_why,
        started_at=release.started_at,
        ended_at=release.ended_at,
        proven=release.proven,
    )


def peak_megabytes(pids: list[int]) -> float:
    """Return the sum of the processes' peak resident memory, 0 for those that are gone."""
    total = 0.0
    for pid in pids:
        status = Path(f"/proc/{pid}/status")
        if status.exists():
            for line in status.read_text().splitlines():
                if line.startswith("VmHWM:"):
                    total += int(line.split()[1]) / 1024
    return total
