"""When a curve deserves a word: not a number, stalled, diverging. Pure rules."""

import math

from msgspec import Struct, structs

_MEMORY = 50  #: values whose spread says what is usual


class Watch(Struct, frozen=True, kw_only=True):
    """What is watched of one metric."""

    metric: str
    nan: bool = True  #: whether NaN and infinities are told
    stalled: float | None = None  #: seconds without a value
    diverging: float | None = 5.0  #: spreads above the best level, for `patience` values
    patience: int = 10  #: values in a row; more means later and fewer alerts
    lower_is_better: bool = True


class Seen(Struct, frozen=True, kw_only=True):
    """What a watch remembers of its curve."""

    at: int  #: microseconds since 1970, of the last value or of the beginning
    best: float = math.inf  #: the lowest level so far, as if lower were better
    level: float = 0.0  #: moving mean
    spread: float = 0.0  #: moving mean of the distance from it
    count: int = 0
    above: int = 0  #: values in a row that were far above the best
    told: frozenset[str] = frozenset()  #: kinds that were told, until the curve recovers


class Alert(Struct, frozen=True, kw_only=True):
    kind: str  #: nan, stalled, diverging
    metric: str
    text: str


def see(watch: Watch, seen: Seen, value: float, step: int, at: int) -> tuple[Seen, Alert | None]:
    """Return what is remembered after one value, and what is to be told of it, if anything.

    A kind is told once; it may be told again after the curve has recovered from it. The
    curve diverges when `patience` values in a row lie more than `diverging` times the usual
    spread above the best level. The level is the mean of values and the spread their mean
    distance from it, both moving over about 50 values, and frozen while values lie above.
    (The best single value would be no measure: of many noisy ones it lies far below all.)
    """
    told = seen.told - {"stalled"}
    if not math.isfinite(value):
        alert = None
        if watch.nan and "nan" not in told:
            alert = Alert(
                kind="nan", metric=watch.metric, text=f"{watch.metric} is {value} at step {step}"
            )
            told |= {"nan"}
        return structs.replace(seen, at=at, told=told), alert
    told -= {"nan"}
    height = value if watch.lower_is_better else -value
    far = (
        watch.diverging is not None
        and seen.count >= watch.patience
        and height > seen.best + watch.diverging * max(seen.spread, 1e-12 * abs(seen.best))
    )
    if far:
        above, alert = seen.above + 1, None
        if above >= watch.patience and "diverging" not in told:
            best = seen.best if watch.lower_is_better else -seen.best
            text = f"{watch.metric} is {value:.6g} at step {step}, it had come to {best:.6g}"
            alert = Alert(kind="diverging", metric=watch.metric, text=text)
            told |= {"diverging"}
        return structs.replace(seen, at=at, above=above, told=told), alert
    weight = 1 / min(seen.count + 1, _MEMORY)
    level = seen.level + weight * (height - seen.level)
    spread = seen.spread + weight * (abs(height - level) - seen.spread)
    kept = Seen(
        at=at,
        best=min(seen.best, level),
        level=level,
        spread=spread,
        count=seen.count + 1,
        told=told - {"diverging"},
    )
    return kept, None


def wait(watch: Watch, seen: Seen, now: int) -> tuple[Seen, Alert | None]:
    """Return what is remembered and told when no value came until `now` (microseconds)."""
    quiet = (now - seen.at) / 1e6
    if watch.stalled is None or quiet < watch.stalled or "stalled" in seen.told:
        return seen, None
    text = f"{watch.metric} has had no value for {quiet:.0f} seconds"
    alert = Alert(kind="stalled", metric=watch.metric, text=text)
    return structs.replace(seen, told=seen.told | {"stalled"}), alert
