"""How much windows of the reference differ from the whole of it.

Real rows are not independent: a day has one weather, a Monday its own travellers. A window
is only remarkable if it differs more than windows of the same length always did.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from setpoint.errors import Invalid
from setpoint.profiles.distances import homogeneity
from setpoint.profiles.values import Ints, numbers

if TYPE_CHECKING:
    from setpoint.profiles.profile import Profile
    from setpoint.profiles.reference import Layout

FEWEST = 5  #: windows of the reference below which nothing is learnt
LEAST = 0.02  #: effect size below which two windows are alike
MOST = 2_000  #: windows learnt from: the newest
_ROWS = 30


class Variation(Struct, frozen=True, kw_only=True):
    """Effect sizes of past windows, as a log-normal distribution by column.

    Lists follow the reference's columns; `windows` is 0 where nothing is known.
    """

    seconds: int  #: length of a window
    windows: list[int]  #: windows it was learnt from
    mean: list[float]  #: of log V
    sd: list[float]  #: of log V
    echo: list[float]  #: correlation of a window's log V with the next, 0 to 0.9
    missing: list[float]  #: largest share of missing values in a window


def variation(
    columns: dict[str, Any],
    layout: "Layout",
    whole: "Profile",
    times: Any,
    lengths: tuple[int, ...],
) -> dict[int, Variation]:
    """Learn the variation of windows of each length from the reference's own rows.

    Raises:
        Invalid: If times and rows differ in number.
    """
    seconds = _seconds(times)
    if len(seconds) != whole.rows:
        raise Invalid(f"{len(seconds)} times for {whole.rows} rows of the reference")
    order = np.argsort(seconds, kind="stable")
    seconds = seconds[order]
    ordered = {name: _take(values, order) for name, values in columns.items()}
    total = layout.grouped(whole.counts)
    counted: dict[int, _Windows] = {}
    for length in sorted(set(lengths)):
        parts = [n for n, some in counted.items() if not length % n and len(some.counts) < MOST]
        counted[length] = (
            _together(counted[parts[-1]], length // parts[-1])
            if parts
            else _count(ordered, layout, seconds // length)
        )
    return {length: _learn(layout, total, w.counts, length) for length, w in counted.items()}


def nearest(known: dict[int, Variation], seconds: int) -> Variation | None:
    """Return the variation of windows of a length, column by column from what is known.

    A column with too few windows of that length takes those of the next shorter one, which
    vary more, or else of the next longer one. None if nothing is known at all.
    """
    lengths = sorted(known, key=lambda n: (n > seconds, -n if n <= seconds else n))
    if not lengths:
        return None
    width = len(known[lengths[0]].windows)
    chosen = [
        next((known[n] for n in lengths if known[n].windows[k]), known[lengths[0]])
        for k in range(width)
    ]
    return Variation(
        seconds=seconds,
        windows=[v.windows[k] for k, v in enumerate(chosen)],
        mean=[v.mean[k] for k, v in enumerate(chosen)],
        sd=[v.sd[k] for k, v in enumerate(chosen)],
        echo=[v.echo[k] for k, v in enumerate(chosen)],
        missing=[v.missing[k] for k, v in enumerate(chosen)],
    )


def joined(
    first: dict[int, Variation], second: dict[int, Variation], width: int
) -> dict[int, Variation]:
    """Put the columns of `second` after the `width` columns of `first`."""
    return {
        length: _beside(first.get(length) or _unknown(length, width), more)
        for length, more in second.items()
    } | {
        length: _beside(known, _unknown(length, 1))
        for length, known in first.items()
        if length not in second
    }


def _beside(a: Variation, b: Variation) -> Variation:
    return Variation(
        seconds=a.seconds,
        windows=a.windows + b.windows,
        mean=a.mean + b.mean,
        sd=a.sd + b.sd,
        echo=a.echo + b.echo,
        missing=a.missing + b.missing,
    )


def _unknown(seconds: int, width: int) -> Variation:
    none = [0.0] * width
    return Variation(
        seconds=seconds, windows=[0] * width, mean=none, sd=none, echo=none, missing=none
    )


def _seconds(times: Any) -> NDArray[np.int64]:
    """Return whole seconds since 1970 of datetimes, or of seconds."""
    values = np.asarray(times)
    if values.dtype.kind == "O" or hasattr(times, "null_count"):
        found = numbers(times)
        if found.values.size == len(times) and values.dtype.kind != "O":
            values = found.values if values.dtype.kind != "M" else values
        else:
            values = np.array([at.timestamp() for at in times])
    if values.dtype.kind == "M":
        return values.astype("datetime64[s]").astype(np.int64)
    return values.astype(np.float64).astype(np.int64)


class _Windows(NamedTuple):
    """The windows of one length that have rows, the newest of them."""

    numbers: Ints  #: which window each is, counted from 1970
    counts: Ints  #: grouped, windows × K × G


def _count(columns: dict[str, Any], layout: "Layout", numbers: Ints) -> _Windows:
    """Count the rows of each window; `numbers` says in which window a row lies, ascending."""
    from setpoint.profiles.profile import summarise  # noqa: PLC0415  it needs our types

    firsts = _firsts(numbers)[-MOST:]
    ends = [*firsts[1:], len(numbers)]
    counts = np.zeros((len(firsts), len(layout.columns), layout.groups), dtype=np.int64)
    for at, (first, end) in enumerate(zip(firsts, ends, strict=True)):
        part = summarise({k: v[first:end] for k, v in columns.items()}, layout)
        counts[at] = layout.grouped(part.counts)
    return _Windows(numbers[firsts], counts)


def _together(parts: _Windows, times: int) -> _Windows:
    """Return windows so many times as long: what they hold is the sum of their parts."""
    numbers = parts.numbers // times
    firsts = _firsts(numbers)
    return _Windows(numbers[firsts], np.add.reduceat(parts.counts, firsts))


def _firsts(numbers: Ints) -> Ints:
    return np.flatnonzero(np.diff(numbers, prepend=-1))


def _take(values: Any, order: NDArray[np.intp]) -> Any:
    if isinstance(values, np.ndarray):
        return values[order]
    if hasattr(values, "gather"):
        return values.gather(order)
    return [values[at] for at in order.tolist()]


def _learn(layout: "Layout", total: Ints, counts: Ints, seconds: int) -> Variation:
    width = len(layout.columns)
    rows = counts.sum(axis=2)  # windows × K
    logs = np.zeros((len(counts), width))
    for at, window in enumerate(counts):
        rest = total - window  # a window is compared with the others, not with itself
        found = homogeneity(window, rest)
        noise = found.df * found.inflation
        square = np.maximum(found.x2 - noise, 0.0) / np.maximum(found.n, 1)
        logs[at] = np.log(np.maximum(np.sqrt(square), LEAST))
    typical = np.median(rows, axis=0)
    full = rows >= np.maximum(_ROWS, typical / 3)  # the first and last are often cut off
    windows, mean, sd, echo, missing = [], [], [], [], []
    for k in range(width):
        own, used = logs[full[:, k], k], counts[full[:, k], k]
        enough = len(own) >= FEWEST
        windows.append(len(own) if enough else 0)
        mean.append(float(own.mean()) if enough else 0.0)
        sd.append(float(own.std(ddof=1)) if enough else 0.0)
        echo.append(_echo(own) if enough else 0.0)
        shares = used[:, 0] / np.maximum(used.sum(axis=1), 1)
        missing.append(float(shares.max()) if enough else 0.0)
    return Variation(seconds=seconds, windows=windows, mean=mean, sd=sd, echo=echo, missing=missing)


def _echo(logs: NDArray[np.float64]) -> float:
    rest = logs - logs.mean()
    spread = float(rest @ rest)
    return float(np.clip(rest[1:] @ rest[:-1] / spread, 0.0, 0.9)) if spread > 0 else 0.0
