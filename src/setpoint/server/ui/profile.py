"""What is in each column of a dataset version: made once, for versions never change."""

import threading
from collections import OrderedDict
from typing import Any

import polars as pl
from markupsafe import Markup
from msgspec import Struct

from setpoint.charts.small import histogram_pair
from setpoint.config import Settings
from setpoint.data.entities import DatasetVersion
from setpoint.data.tables_delta import read
from setpoint.server.ui import words

_BINS = 24
_TOP = 12
_SAMPLE = 50_000
_KEPT = 16

_cache: OrderedDict[tuple[str, str, int], "Profiled"] = OrderedDict()
_lock = threading.Lock()


class ColumnProfile(Struct, frozen=True, kw_only=True):
    """One column."""

    name: str
    type: str
    missing: float  #: share of null or NaN values
    distinct: int
    low: str
    mean: str
    high: str
    picture: Markup


class Profiled(Struct, frozen=True, kw_only=True):
    """All columns, and how many rows were looked at (0: all of them)."""

    columns: list[ColumnProfile]
    sampled: int


def of_version(settings: Settings, version: DatasetVersion) -> Profiled:
    """Return the profile of a dataset version; one thread at a time makes one."""
    key = (str(settings.home), version.dataset, version.number)
    with _lock:
        if key not in _cache:
            _cache[key] = _make(settings, version)
            while len(_cache) > _KEPT:
                _cache.popitem(last=False)
        _cache.move_to_end(key)
        return _cache[key]


def _make(settings: Settings, version: DatasetVersion) -> Profiled:
    table = read(settings, version.dataset, version.delta_version)
    step = max(1, version.rows // _SAMPLE)
    frame = table.gather_every(step).collect() if step > 1 else table.collect()
    columns = [profile_column(frame[each.name]) for each in version.columns if each.name in frame]
    return Profiled(columns=columns, sampled=frame.height if step > 1 else 0)


def profile_column(values: pl.Series) -> ColumnProfile:
    """Return the profile of one column, whatever its type."""
    clean = values.drop_nulls()
    if clean.dtype.is_float():
        clean = clean.filter(clean.is_finite())
    distinct = clean.n_unique() if _hashable(clean) else 0
    named = not (clean.dtype.is_numeric() or clean.dtype.is_temporal())
    # An identifier has no distribution: each of its values is there once.
    names, counts = ([], []) if named and distinct == len(clean) > 2 else _bins(clean)
    return ColumnProfile(
        name=values.name,
        type=str(values.dtype).partition("(")[0],
        missing=1 - len(clean) / len(values) if len(values) else 0.0,
        distinct=distinct,
        **_ends(clean),
        picture=Markup('<span class="soft small">all different</span>')
        if named and not counts and distinct
        else Markup(  # noqa: S704 - our own picture
            histogram_pair(
                names, counts, title=f"distribution of {values.name}", width=168, height=32
            )
        ),
    )


def _ends(clean: pl.Series) -> dict[str, str]:
    kind = clean.dtype
    if not len(clean) or not (kind.is_numeric() or kind.is_temporal()):
        return {"low": "", "mean": "", "high": ""}
    low, high = clean.min(), clean.max()
    if kind.is_temporal():
        return {"low": str(low)[:16], "mean": "", "high": str(high)[:16]}
    return {"low": _number(low), "mean": _number(clean.mean()), "high": _number(high)}


def _number(value: Any) -> str:
    return words.number(float(value)) if value is not None else ""


def _bins(clean: pl.Series) -> tuple[list[str], list[float]]:
    if not len(clean):
        return [], []
    kind = clean.dtype
    if kind.is_temporal():
        clean = clean.to_physical()
    if kind.is_numeric() or kind.is_temporal():
        return _numeric(clean.cast(pl.Float64))
    if not _hashable(clean):
        return [], []
    counted = clean.value_counts(sort=True).head(_TOP)
    names = [str(name) for name in counted[clean.name].to_list()]
    return names, [float(n) for n in counted["count"].to_list()]


def _numeric(clean: pl.Series) -> tuple[list[str], list[float]]:
    """Return counts over equal bins of the middle 99 %, the tails in the outer ones."""
    low, high = _at(clean, 0.005), _at(clean, 0.995)
    if high <= low:
        return [words.number(low)], [float(len(clean))]
    width = (high - low) / _BINS
    place = ((clean - low) / width).floor().clip(0, _BINS - 1).cast(pl.Int32)
    counted = place.value_counts()
    by_place = dict(zip(counted.to_series(0), counted["count"], strict=True))
    names = [f"from {words.number(low + width * i)}" for i in range(_BINS)]
    return names, [float(by_place.get(i, 0)) for i in range(_BINS)]


def _at(clean: pl.Series, share: float) -> float:
    found = clean.quantile(share)
    return 0.0 if found is None else float(found)


def _hashable(values: pl.Series) -> bool:
    return not values.dtype.is_nested() and values.dtype != pl.Object
