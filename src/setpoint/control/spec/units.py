"""Durations, percents, rates and sizes as people write them, and back again.

Every ``parse_*`` takes what stands in a spec and returns the value in base units, or
raises `BadUnit`, whose message says what was written and whose hint shows how to write
it. Every ``format_*`` writes text that the parser reads back as the same value.
"""

import re
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction

from msgspec import Struct

MICROSECONDS = {
    "us": 1,
    "ms": 1_000,
    "s": 1_000_000,
    "m": 60_000_000,
    "h": 3_600_000_000,
    "d": 86_400_000_000,
    "w": 604_800_000_000,
}
_DURATION_WORDS = {
    "us": "us µs μs microsecond microseconds",
    "ms": "ms millisecond milliseconds",
    "s": "s sec second seconds",
    "m": "m min minute minutes",
    "h": "h hour hours",
    "d": "d day days",
    "w": "w week weeks",
}
_DURATIONS = {word: unit for unit, words in _DURATION_WORDS.items() for word in words.split()}
_PERIODS = {
    "second": timedelta(seconds=1),
    "minute": timedelta(minutes=1),
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(weeks=1),
    "month": timedelta(days=30),
    "quarter": timedelta(days=91),
    "year": timedelta(days=365),
}
_SIZES = {
    "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12,
    "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40,
}  # fmt: skip
_NUMBER = r"[0-9]+(?:\.[0-9]+)?"
_PART = re.compile(rf"\s*({_NUMBER})\s*([^\W\d_]+)\s*")
_PERCENT = re.compile(rf"({_NUMBER})\s*%")
_RATE = re.compile(rf"({_NUMBER})\s*(?:/|per)\s*(.+)")
_REQUESTS = re.compile(r"([0-9][0-9_,]*)\s+requests?")
_LONGEST = 30  #: characters of a number we are willing to read
_MOST = 36_500 * MICROSECONDS["d"]  #: a century


class BadUnit(ValueError):
    """What was written is not such a quantity; `hint` shows how to write one."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Rate(Struct, frozen=True, kw_only=True):
    """So many in such a time; a month is 30 days, a year 365."""

    count: float  #: how many, above 0
    per: timedelta  #: in how much time

    @property
    def period(self) -> timedelta:
        """The mean time from one to the next."""
        return self.per / self.count

    def __str__(self) -> str:
        return format_rate(self)


class Amount(Struct, frozen=True, kw_only=True):
    """How long something lasts: a number of requests or a time; exactly one is set."""

    requests: int | None = None
    time: timedelta | None = None

    def __str__(self) -> str:
        return format_amount(self)


def parse_duration(text: str) -> timedelta:
    """Read ``20ms``, ``30d``, ``2 weeks`` or ``1h30m``. ``m`` is minutes.

    Raises:
        BadUnit: If it is no duration, negative, or longer than a century.

    Example:
        >>> parse_duration("1h30m")
        datetime.timedelta(seconds=5400)
    """
    hint = "write a number and a unit: 20ms, 30s, 15m, 6h, 14d or 2w"
    micros, at = Fraction(0), 0
    for match in _PART.finditer(text[: 4 * _LONGEST]):
        unit = _DURATIONS.get(match[2])
        if match.start() != at or unit is None or len(match[1]) > _LONGEST:
            break
        micros += Fraction(match[1]) * MICROSECONDS[unit]
        at = match.end()
    if at != len(text) or at == 0:
        raise BadUnit(f"“{_short(text)}” is not a duration", _month_hint(text) or hint)
    if micros > _MOST or micros.denominator != 1:
        raise BadUnit(
            f"“{_short(text)}” is too long or too fine a duration",
            "durations go from 1us to 36500d",
        )
    return timedelta(microseconds=int(micros))


def format_duration(value: timedelta) -> str:
    """Write a duration in the largest unit that divides it.

    Example:
        >>> format_duration(timedelta(hours=36)), format_duration(timedelta(days=14))
        ('36h', '14d')
    """
    micros = value // timedelta(microseconds=1)
    if micros == 0:
        return "0s"
    for unit in ("d", "h", "m", "s", "ms"):
        if micros % MICROSECONDS[unit] == 0:
            return f"{micros // MICROSECONDS[unit]}{unit}"
    return f"{micros}us"


def parse_percent(value: str | float, *, most: float = 1.0) -> float:
    """Read ``5%`` or the fraction ``0.05`` as 0.05.

    Args:
        value: Text with a percent sign, or a number taken as a fraction.
        most: The largest fraction allowed.

    Raises:
        BadUnit: If it is no percentage, or outside [0, `most`].

    Example:
        >>> parse_percent("0.1%")
        0.001
    """
    hint = "write a percentage such as 5% (or the fraction 0.05)"
    if isinstance(value, str):
        match = _PERCENT.fullmatch(value.strip())
        if match is None or len(match[1]) > _LONGEST:
            raise BadUnit(f"“{_short(value)}” is not a percentage", hint)
        fraction = float(Fraction(match[1]) / 100)
    else:
        fraction = float(value)
        if 1 < fraction <= 100 and most <= 1:
            raise BadUnit(f"{value:g} is above 1", f"did you mean {value:g}%?")
    if not 0 <= fraction <= most:
        raise BadUnit(f"{value} is outside 0% to {most:.0%}", hint)
    return fraction


def format_percent(value: float) -> str:
    """Write a fraction as a percentage.

    Example:
        >>> format_percent(0.001), format_percent(1.0)
        ('0.1%', '100%')
    """
    text = f"{Decimal(repr(float(value))) * 100:f}"
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text}%"


def parse_rate(text: str) -> Rate:
    """Read ``1/month``, ``3 per day`` or ``1/10d``.

    Raises:
        BadUnit: If it is no rate, or the number is 0.

    Example:
        >>> parse_rate("2/week").period
        datetime.timedelta(days=3, seconds=43200)
    """
    hint = "write a number per time: 1/month, 2/week or 1/10d"
    match = _RATE.fullmatch(text.strip())
    if match is None or len(match[1]) > _LONGEST:
        raise BadUnit(f"“{_short(text)}” is not a rate", hint)
    word = match[2].strip()
    per = _PERIODS.get(word)
    if per is None:
        try:
            per = parse_duration(word if word[:1].isdigit() else f"1{word}")
        except BadUnit:
            raise BadUnit(f"“{_short(text)}” is not a rate", hint) from None
    count = float(match[1])
    if count <= 0 or per <= timedelta(0) or not count < 1e9:
        raise BadUnit(f"“{_short(text)}” is not a rate above 0", hint)
    return Rate(count=count, per=per)


def format_rate(value: Rate) -> str:
    """Write a rate.

    Example:
        >>> format_rate(Rate(count=1, per=timedelta(days=30)))
        '1/month'
    """
    word = next((w for w, per in _PERIODS.items() if per == value.per), None)
    return f"{_plain(value.count)}/{word or format_duration(value.per)}"


def parse_amount(text: str) -> Amount:
    """Read ``500 requests`` or a duration.

    Raises:
        BadUnit: If it is neither.

    Example:
        >>> parse_amount("500 requests")
        Amount(requests=500, time=None)
    """
    match = _REQUESTS.fullmatch(text.strip())
    if match is not None and len(match[1]) <= _LONGEST:
        return Amount(requests=int(re.sub("[_,]", "", match[1])))
    try:
        return Amount(time=parse_duration(text.strip()))
    except BadUnit:
        raise BadUnit(
            f"“{_short(text)}” is neither a number of requests nor a duration",
            "write 500 requests, 6h or 2d",
        ) from None


def format_amount(value: Amount) -> str:
    """Write an amount: ``500 requests`` or a duration."""
    if value.requests is not None:
        return f"{value.requests} requests"
    return format_duration(value.time or timedelta(0))


def parse_size(text: str) -> int:
    """Read ``10MB`` (10 million bytes) or ``10MiB`` (10 times 2²⁰ bytes), in bytes.

    Raises:
        BadUnit: If it is no size or not a whole number of bytes.

    Example:
        >>> parse_size("1.5kB")
        1500
    """
    match = _PART.fullmatch(text)
    scale = _SIZES.get(match[2].lower()) if match else None
    if match is None or scale is None or len(match[1]) > _LONGEST:
        raise BadUnit(f"“{_short(text)}” is not a size", "write 500kB, 10MB, 2GB or 1GiB")
    size = Fraction(match[1]) * scale
    if size.denominator != 1:
        raise BadUnit(f"“{_short(text)}” is not a whole number of bytes", "round it")
    return int(size)


def format_size(value: int) -> str:
    """Write a number of bytes in the largest unit that divides it."""
    for unit, name in (("tb", "TB"), ("gb", "GB"), ("mb", "MB"), ("kb", "kB")):
        if value and value % _SIZES[unit] == 0:
            return f"{value // _SIZES[unit]}{name}"
    return f"{value}B"


def _month_hint(text: str) -> str:
    if re.fullmatch(rf"\s*{_NUMBER}\s*(mo|months?|y|years?)\s*", text[:_LONGEST]):
        return "months and years differ in length: write days, such as 30d or 365d"
    return ""


def _plain(number: float) -> str:
    return f"{number:.0f}" if number == int(number) else repr(number)


def _short(text: str) -> str:
    line = text if len(text) <= 40 else text[:39] + "…"
    return line.replace("\n", " ")
