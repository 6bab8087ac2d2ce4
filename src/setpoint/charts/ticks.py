"""Where an axis is labelled, and how numbers and times are written."""

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from msgspec import Struct

#: A true minus sign and a dash for "no value".
_MINUS, _NOTHING = "\u2212", "\u2013"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_SUFFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)

#: Seconds between ticks finer than a day.
_FINE = (
    *(1, 5, 15, 30, _MINUTE, 5 * _MINUTE, 15 * _MINUTE, 30 * _MINUTE),
    *(_HOUR, 3 * _HOUR, 6 * _HOUR, 12 * _HOUR, _DAY, 2 * _DAY, 7 * _DAY, 14 * _DAY),
)
#: Months between ticks coarser than two weeks.
_COARSE = (1, 2, 3, 6, 12, 24, 60, 120, 240, 600, 1200)


class Tick(Struct, frozen=True):
    """One labelled place on an axis."""

    at: float
    text: str


def seconds(at: datetime) -> float:
    """Return seconds since 1970, the unit of every time axis."""
    return (at - _EPOCH).total_seconds()


def instant(at: float) -> datetime:
    """Return the moment `at` seconds since 1970."""
    return _EPOCH + timedelta(seconds=at)


def numbers(low: float, high: float, count: int) -> list[Tick]:
    """Return about `count` round numbers within [low, high], written alike.

    Steps are 1, 2, 2.5 or 5 times a power of ten. A range without extent has one tick.
    """
    span = high - low
    if not math.isfinite(span) or span <= max(abs(low), abs(high), 1e-200) * 1e-12:
        return [Tick(low, number(low))]
    step = _step(span / max(count, 1))
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    write = writer(step, max(abs(low), abs(high)))
    return [Tick(i * step, write(i * step)) for i in range(first, last + 1)]


def decades(low: float, high: float, count: int) -> list[Tick]:
    """Return whole powers of ten within [low, high], given as log10, at most ~`count`."""
    first, last = math.ceil(low - 1e-9), math.floor(high + 1e-9)
    stride = max(1, math.ceil((last - first + 1) / max(count, 1)))
    return [
        Tick(float(power), _power(power)) for power in range(first, last + 1) if power % stride == 0
    ]


def times(low: float, high: float, count: int) -> list[Tick]:
    """Return about `count` moments on round boundaries (UTC) within [low, high] seconds.

    The first label of each day, month or year carries it; the others say only what
    changed.
    """
    span = high - low
    if span <= 0:
        return [Tick(low, _whole(instant(low)))]
    wanted = span / max(count, 1)
    for step in _FINE:
        if step >= wanted:
            return _fine(low, high, step)
    for months in _COARSE:
        if months * 30.4 * _DAY >= wanted * 0.8:
            return _coarse(low, high, months)
    return _coarse(low, high, _COARSE[-1])


def number(value: float, digits: int = 4) -> str:
    """Return `value` for a person: ``0.7214``, ``12.3k``, ``336,776`` as ``337k``."""
    if not math.isfinite(value):
        return _NOTHING
    size = abs(value)
    if size >= 1e15:
        return f"{value:.2e}".replace("-", _MINUS)
    for scale, suffix in _SUFFIXES:
        if size >= scale * (10 if suffix == "k" else 1):
            short = value / scale
            digits = 0 if abs(short) >= 99.5 else 1
            return f"{short:.{digits}f}{suffix}".replace("-", _MINUS)
    if size >= 100 or value == int(value):
        return f"{value:,.0f}".replace("-", _MINUS)
    if 0 < size < 10**-digits:
        return f"{value:.1e}".replace("-", _MINUS)
    digits -= 0 if size < 1 else 1 if size < 10 else 3
    return f"{value:.{max(digits, 1)}f}".rstrip("0").rstrip(".").replace("-", _MINUS)


def percent(value: float) -> str:
    """Return a share as percent with sensible digits: ``0.4 %``, ``12 %``."""
    if not math.isfinite(value * 100):
        return _NOTHING
    size = abs(value) * 100
    digits = 0 if size >= 99.95 else 1 if size >= 1 else 2
    plain = f"{value * 100:.{digits}f}"
    plain = plain.rstrip("0").rstrip(".") if "." in plain else plain
    return f"{plain} %".replace("-", _MINUS)


def writer(step: float, largest: float) -> Callable[[float], str]:
    """Return how to write multiples of `step` up to `largest` with equal decimals."""
    scale, suffix = next(
        ((s, name) for s, name in _SUFFIXES if largest >= s and step >= s / 100),
        (1.0, ""),
    )
    if largest < 1e4 and suffix == "k":
        scale, suffix = 1.0, ""
    fraction = step / scale
    decimals = max(0, -math.floor(math.log10(fraction) + 1e-9))
    if not math.isclose(fraction * 10**decimals, round(fraction * 10**decimals)):
        decimals += 1
    if decimals > 6 or largest >= 1e15:
        return lambda value: f"{value:.3g}".replace("-", _MINUS)
    return lambda value: f"{value / scale + 0.0:,.{decimals}f}{suffix}".replace("-", _MINUS)


def _step(raw: float) -> float:
    power = 10.0 ** math.floor(math.log10(raw))
    if power == 0.0:
        return raw
    return next((s * power for s in _STEPS if s * power >= raw * (1 - 1e-9)), 10 * power)


def _power(power: int) -> str:
    if 0 <= power <= 6:
        return f"{10**power:,}"
    if -3 <= power < 0:
        return f"{10.0**power:.{-power}f}"
    digits = str(power).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"10{digits}"


def _fine(low: float, high: float, step: int) -> list[Tick]:
    offset = 4 * _DAY if step >= 7 * _DAY else 0  # weeks begin on Monday; 1970 on Thursday
    first = math.ceil((low - offset) / step - 1e-9)
    last = math.floor((high - offset) / step + 1e-9)
    ticks: list[Tick] = []
    before: datetime | None = None
    for index in range(first, last + 1):
        at = instant(index * step + offset)
        ticks.append(Tick(float(index * step + offset), _short(at, before, step)))
        before = at
    return ticks


def _short(at: datetime, before: datetime | None, step: int) -> str:
    new_day = before is None or before.date() != at.date()
    if step >= _DAY:
        new_year = before is not None and before.year != at.year
        return f"{_day(at)} {at:%Y}" if new_year else _day(at)
    if new_day and step < _HOUR and before is None:
        return f"{at:%H:%M}" if step >= _MINUTE else f"{at:%H:%M:%S}"
    if new_day and (at.hour == 0 and at.minute == 0):
        return _day(at)
    return f"{at:%H:%M}" if step >= _MINUTE else f"{at:%H:%M:%S}"


def _coarse(low: float, high: float, months: int) -> list[Tick]:
    start = instant(low)
    index = start.year * 12 + start.month - 1
    index -= index % months
    ticks: list[Tick] = []
    while index // 12 < 9999:
        at = datetime(index // 12, index % 12 + 1, 1, tzinfo=UTC)
        if seconds(at) > high:
            break
        if seconds(at) >= low:
            year = months >= 12 or at.month == 1 or not ticks
            bare = f"{at:%Y}" if months >= 12 else f"{at:%b} {at:%Y}" if year else f"{at:%b}"
            ticks.append(Tick(seconds(at), bare))
        index += months
    return ticks


def _day(at: datetime) -> str:
    return f"{at.day} {at:%b}"


def _whole(at: datetime) -> str:
    return f"{_day(at)} {at:%Y %H:%M}"
