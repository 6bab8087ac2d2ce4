"""Points in columns: as clients send them, as the tail keeps them, as chunks pack them.

A chunk is sorted by (step, at). Steps and times are kept as differences, and all three columns
with the bytes of equal weight side by side, so that zstd finds what repeats: an even series with
noisy values takes 7 to 9 bytes a point instead of 24.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np
import zstandard
from numpy.typing import NDArray

from setpoint.core.clock import from_micros, to_micros
from setpoint.errors import Invalid
from setpoint.runs.entities import Band, Point, Series

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

WIDTH = 24  #: bytes of a point that is not packed
_LEVEL = 3  #: of zstd: higher ones gain little on such columns
_INT = np.dtype("<i8")
_FIRST = to_micros(datetime.min.replace(tzinfo=UTC))
_LAST = to_micros(datetime.max.replace(tzinfo=UTC))


class Columns(NamedTuple):
    """Three arrays of one length, one item a point."""

    steps: Ints
    at: Ints  #: microseconds since 1970
    values: Floats

    @property
    def size(self) -> int:
        """How many points there are."""
        return int(self.values.size)

    def only(self, which: "slice | Ints | NDArray[np.bool_]") -> "Columns":
        """Return some of the points: a stretch, or those of indexes or a mask."""
        return Columns(self.steps[which], self.at[which], self.values[which])


EMPTY = Columns(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float64))


class Gathered:
    """Points that come one by one, by name, in the order they came."""

    def __init__(self) -> None:
        self._named: dict[str, tuple[list[int], list[int], list[float]]] = {}

    def add(self, name: str, value: float, step: int, at_us: int) -> None:
        """Add one point; the time is in microseconds since 1970."""
        found = self._named.get(name)
        if found is None:
            found = self._named[name] = ([], [], [])
        found[0].append(step)
        found[1].append(at_us)
        found[2].append(value)

    def columns(self) -> Iterator[tuple[str, Columns]]:
        """Yield every series, by name in the order of their first points."""
        for name, (steps, at, values) in self._named.items():
            yield (
                name,
                Columns(
                    np.array(steps, np.int64), np.array(at, np.int64), np.array(values, np.float64)
                ),
            )

    def __contains__(self, name: str) -> bool:
        return name in self._named


def arrays(series: Series) -> Columns:
    """Return the columns of a series as arrays that share its memory.

    Raises:
        Invalid: As `check` does.
    """
    check([series])
    return _arrays(series.steps, series.at, series.values)


def check(many: Sequence[Series]) -> None:
    """Refuse series that cannot be read, looking at the times of all at once.

    Raises:
        Invalid: If columns are not equally long, not of eight bytes an item, or have a time
            that no calendar has.
    """
    for one in many:
        size = len(one.values)
        if size % 8 or not len(one.steps) == len(one.at) == size:
            raise Invalid(
                f"the columns of metric {one.name!r} are not equally long",
                where=f"steps {len(one.steps)}, at {len(one.at)}, values {size} bytes",
                hint="send int64, int64 and float64, little-endian, one item a point each",
            )
    if _dated(b"".join(one.at for one in many)):
        return
    name = next(one.name for one in many if not _dated(one.at))
    raise Invalid(
        f"a time of metric {name!r} is outside the years 1 to 9999",
        hint="times are microseconds since 1970",
    )


def _dated(times: bytes) -> bool:
    at = np.frombuffer(times, _INT)
    return not at.size or bool(at.min() >= _FIRST and at.max() <= _LAST)


def _arrays(steps: bytes, at: bytes, values: bytes) -> Columns:
    return Columns(
        np.frombuffer(steps, _INT), np.frombuffer(at, _INT), np.frombuffer(values, "<f8")
    )


def series(name: str, columns: Columns) -> Series:
    """Return arrays as a series."""
    steps, at, values = columns
    return Series(
        name=name,
        steps=np.ascontiguousarray(steps, _INT).tobytes(),
        at=np.ascontiguousarray(at, _INT).tobytes(),
        values=np.ascontiguousarray(values, "<f8").tobytes(),
    )


def from_points(points: Iterable[Point], now: datetime) -> list[Series]:
    """Return points as one series a name; those without a time get `now`."""
    named: dict[str, list[Point]] = {}
    for point in points:
        named.setdefault(point.name, []).append(point)
    written = to_micros(now)
    return [
        series(
            name,
            Columns(
                np.array([p.step for p in found], np.int64),
                np.array([written if p.at is None else to_micros(p.at) for p in found], np.int64),
                np.array([p.value for p in found], np.float64),
            ),
        )
        for name, found in named.items()
    ]


def to_points(name: str, columns: Columns) -> list[Point]:
    """Return columns as points."""
    rows = zip(columns.steps.tolist(), columns.at.tolist(), columns.values.tolist(), strict=True)
    return [Point(name=name, value=v, step=s, at=from_micros(at)) for s, at, v in rows]


def loose(points: Series) -> bytes:
    """Return points as the tail keeps them: the three columns, one after the other."""
    return points.steps + points.at + points.values


def unloose(data: bytes) -> Columns:
    """Return the columns of `loose` bytes."""
    n = len(data) // WIDTH
    return Columns(
        np.frombuffer(data, _INT, n, 0),
        np.frombuffer(data, _INT, n, 8 * n),
        np.frombuffer(data, "<f8", n, 16 * n),
    )


def pack(columns: Columns) -> bytes:
    """Return sorted points compressed."""
    steps, at, values = columns
    parts = (np.diff(steps, prepend=0), np.diff(at, prepend=0), values.view(np.int64))
    planes = np.stack([np.ascontiguousarray(part, _INT) for part in parts])
    bytewise = planes.view(np.uint8).reshape(3, -1, 8).transpose(0, 2, 1)
    return zstandard.ZstdCompressor(level=_LEVEL).compress(bytewise.tobytes())


def unpack(data: bytes) -> Columns:
    """Return the points of packed bytes."""
    raw = zstandard.ZstdDecompressor().decompress(data)
    n = len(raw) // WIDTH
    bytewise = np.frombuffer(raw, np.uint8).reshape(3, 8, n).transpose(0, 2, 1)
    steps, at, values = np.ascontiguousarray(bytewise).view(_INT).reshape(3, n)
    return Columns(np.cumsum(steps), np.cumsum(at), values.view(np.float64))


def joined(parts: Sequence[Columns]) -> Columns:
    """Return the points of all parts by (step, at), an exact duplicate once."""
    if not parts:
        return EMPTY
    if len(parts) == 1:
        return tidy(parts[0])
    return tidy(side_by_side(parts))


def side_by_side(parts: Sequence[Columns]) -> Columns:
    """Return the points of all parts, one part after the other."""
    return Columns(
        np.concatenate([part.steps for part in parts]),
        np.concatenate([part.at for part in parts]),
        np.concatenate([part.values for part in parts]),
    )


def end_to_end(parts: Sequence[Series]) -> Series:
    """Return the points of all parts, one part after the other, without looking at them."""
    if len(parts) == 1:
        return parts[0]
    return Series(
        name=parts[0].name,
        steps=b"".join(part.steps for part in parts),
        at=b"".join(part.at for part in parts),
        values=b"".join(part.values for part in parts),
    )


def tidy(columns: Columns) -> Columns:
    """Return points by (step, at), an exact duplicate once. Costs little if they are so already."""
    steps, at, values = columns
    ahead = steps[1:] > steps[:-1]
    if ahead.all() or (ahead | ((steps[1:] == steps[:-1]) & (at[1:] > at[:-1]))).all():
        return columns
    bits = values.view(np.int64)  # NaN equals itself by its bits
    order = np.lexsort((bits, at, steps))
    steps, at, bits = steps[order], at[order], bits[order]
    new = np.ones(steps.size, bool)
    new[1:] = (steps[1:] != steps[:-1]) | (at[1:] != at[:-1]) | (bits[1:] != bits[:-1])
    return Columns(steps[new], at[new], bits[new].view(np.float64))


def between(columns: Columns, first: int | None, last: int | None) -> Columns:
    """Return sorted points of steps from `first` to `last`, both included."""
    left = 0 if first is None else int(np.searchsorted(columns.steps, first, "left"))
    right = None if last is None else int(np.searchsorted(columns.steps, last, "right"))
    return columns.only(slice(left, right))


def curve(columns: Columns) -> Columns:
    """Return the last point of each step of sorted points."""
    if columns.size < 2:
        return columns
    last = np.append(columns.steps[1:] != columns.steps[:-1], True)
    return columns if last.all() else columns.only(last)


def thinned(columns: Columns, at_most: int) -> Columns:
    """Return at most so many points, evenly; the first and the last are among them."""
    n = columns.size
    if n <= at_most:
        return columns
    kept = np.unique(np.linspace(0, n - 1, max(at_most, 2)).astype(np.int64))
    return columns.only(kept)


def banded(columns: Columns, at_most: int) -> Band:
    """Return sorted points as at most so many stretches of about as many points each."""
    n = columns.size
    if n == 0:
        return band(EMPTY, EMPTY.values, EMPTY.values)
    edges = np.unique(np.linspace(0, n, min(at_most, n) + 1).astype(np.int64))
    starts, ends = edges[:-1], edges[1:] - 1
    low = np.fmin.reduceat(columns.values, starts)
    high = np.fmax.reduceat(columns.values, starts)
    return band(columns.only(ends), low, high)


def band(last: Columns, low: Floats, high: Floats) -> Band:
    """Return stretches, each by its last point and its extremes."""
    whole = series("", last)
    return Band(
        steps=whole.steps,
        at=whole.at,
        last=whole.values,
        low=np.ascontiguousarray(low, "<f8").tobytes(),
        high=np.ascontiguousarray(high, "<f8").tobytes(),
    )


class Summary(NamedTuple):
    """The last point of a series, last by (step, at), and its extremes; NaN where none is."""

    value: float
    step: int
    at: int  #: microseconds since 1970
    low: float
    high: float
    points: int


def summaries(many: Sequence[Series]) -> list[Summary]:
    """Return what sums up each series, none of them empty; their points are in any order.

    All are looked at in one sweep: an array of a hundred points costs numpy more to take up
    than to read.
    """
    steps, at, values = whole = _arrays(
        b"".join(one.steps for one in many),
        b"".join(one.at for one in many),
        b"".join(one.values for one in many),
    )
    counts = np.array([len(one) for one in many])
    ends = np.cumsum(counts)
    starts, last = ends - counts, ends - 1
    ahead = np.append(True, steps[1:] > steps[:-1])
    ahead[starts] = True
    for index in np.flatnonzero(~np.logical_and.reduceat(ahead, starts)):
        last[index] = starts[index] + _last(whole.only(slice(starts[index], ends[index])))
    rows = zip(
        values[last].tolist(),
        steps[last].tolist(),
        at[last].tolist(),
        np.fmin.reduceat(values, starts).tolist(),
        np.fmax.reduceat(values, starts).tolist(),
        counts.tolist(),
        strict=True,
    )
    return [Summary(*row) for row in rows]


def _last(points: Columns) -> int:
    """Return where the last point by (step, at) is; of several, the one that came last."""
    return int(np.lexsort((points.at, points.steps))[-1])
