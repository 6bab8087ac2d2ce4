"""How far a window is from the reference: for people, and the statistic of the drift test.

All work on counts of the same bins. At full traffic every difference is "significant", so
people are shown sizes; whether to alarm is decided by `monitor.drift`.
"""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from msgspec import Struct

from setpoint.profiles.values import Floats, Ints

if TYPE_CHECKING:
    from setpoint.profiles.columns import Column
    from setpoint.profiles.profile import Profile
    from setpoint.profiles.reference import Reference

RARE = 0.005  #: reference share below which a group is held to be this frequent
_LEAST = 2.0  # expected rows below which a group can only be too frequent


class Homogeneity(NamedTuple):
    """Pearson's statistic of window against reference, by column."""

    x2: Floats
    df: Floats
    n: Floats  #: rows of the window that the column has
    inflation: Floats  #: 1 + n/m, for a reference of m rows and not of infinitely many


def homogeneity(window: Ints, reference: Ints, *, rare: float = RARE) -> Homogeneity:
    r"""Compare grouped counts: $X^2 = \sum (O - E)^2 / E$, columns K × groups G.

    A group that the reference hardly has (missing values, unseen categories) is taken to
    make up `rare` of it, and two rows of the window, at least; below that expectation it
    adds nothing, not even a degree of freedom (chi-bar-square: given the side, what it adds
    is chi-square). So one null where there never was one is no alarm, and 6 % are.

    Args:
        window: Counts of the window, K × G.
        reference: Counts of the reference, K × G.
        rare: Share below which differences do not matter, a fraction.
    """
    n = window.sum(axis=1).astype(np.float64)
    m = reference.sum(axis=1).astype(np.float64)
    share = reference / np.maximum(m, 1)[:, None]
    expected = share * n[:, None]
    held = np.maximum(expected, np.maximum(rare * n, _LEAST)[:, None])
    gap = window - held
    gap[(held > expected) & (gap < 0)] = 0
    x2 = (gap * gap / held).sum(axis=1)
    frequent = (share >= rare).sum(axis=1)
    above = ((share < rare) & (gap > 0)).sum(axis=1)
    df = np.maximum(frequent - 1 + above, 1).astype(np.float64)
    return Homogeneity(x2, df, n, 1 + n / np.maximum(m, 1))


class Distance(Struct, frozen=True, kw_only=True):
    """How far one column of a window is from the reference, in the usual measures."""

    column: str
    rows: int
    effect: float  #: V = sqrt(X2/n) less its noise: about the mean shift in sd
    js: float  #: Jensen-Shannon distance (root, natural logarithm), 0 to 0.83
    psi: float  #: population stability index on deciles (categories) and missing
    ks: float | None  #: largest gap of the distribution functions, 0 to 1; numeric
    wasserstein: float | None  #: mean distance moved, in reference sd; numeric
    missing: float  #: share of rows without a value now
    missing_before: float
    mean: float | None
    mean_before: float | None


def distances(reference: "Reference", window: "Profile") -> list[Distance]:
    """Return the distance of each column, in the reference's order; none for no rows."""
    found = homogeneity(reference.layout.grouped(window.counts), reference.grouped)
    effects = effect(found)
    numeric = {column.name: at for at, column in enumerate(reference.layout.numeric)}
    return [
        _distance(reference, window, column, float(effects[at]), numeric.get(column.name))
        for at, column in enumerate(reference.columns)
        if found.n[at]
    ]


def effect(found: Homogeneity) -> Floats:
    """Return V without the part that sampling alone explains, by column."""
    noise = found.df * found.inflation
    square: Floats = np.maximum(found.x2 - noise, 0.0) / np.maximum(found.n, 1)
    return np.sqrt(square)


def jensen_shannon(p: Floats, q: Floats) -> float:
    """Return the Jensen-Shannon distance of two distributions over the same bins."""
    middle = (p + q) / 2
    halves = []
    for one in (p, q):
        some = one > 0
        halves.append(float((one[some] * np.log(one[some] / middle[some])).sum()))
    return float(np.sqrt(max(sum(halves) / 2, 0.0)))


def population_stability(window: Ints, reference: Ints) -> float:
    """Return the PSI of grouped counts; empty groups count half a row."""
    p = np.maximum(window, 0.5) / max(int(window.sum()), 1)
    q = np.maximum(reference, 0.5) / max(int(reference.sum()), 1)
    some = (window > 0) | (reference > 0)
    return float(((p - q) * np.log(p / q))[some].sum())


def _distance(
    reference: "Reference",
    window: "Profile",
    column: "Column",
    size: float,
    place: int | None,
) -> Distance:
    now, before = reference.part(window, column.name), column.counts
    groups = int(column.groups.max()) + 1
    n, m = int(now.sum()), max(int(before.sum()), 1)
    psi = population_stability(
        np.bincount(column.groups, now, groups).astype(np.int64),
        np.bincount(column.groups, before, groups).astype(np.int64),
    )
    ks = moved = mean = mean_before = None
    if place is not None:
        ks, moved = _ordered(reference, window, column, place)
        mean = _mean(window, place)
        mean_before = _mean(reference.profile, place)
    return Distance(
        column=column.name,
        rows=n,
        effect=size,
        js=jensen_shannon(now / n, before / m),
        psi=psi,
        ks=ks,
        wasserstein=moved,
        missing=int(now[column.missing].sum()) / n,
        missing_before=int(before[column.missing].sum()) / m,
        mean=mean,
        mean_before=mean_before,
    )


def _mean(profile: "Profile | None", place: int) -> float | None:
    if profile is None or not profile.moments[0, place]:
        return None
    return float(profile.moments[1, place])


def _ordered(
    reference: "Reference", window: "Profile", column: "Column", place: int
) -> tuple[float | None, float | None]:
    """Return KS and normalised Wasserstein distance of the finite values."""
    base = reference.profile
    now = reference.part(window, column.name)[1:-4].astype(np.float64)
    before = column.counts[1:-4].astype(np.float64)
    if base is None or not now.sum() or not before.sum():
        return None, None
    gap = np.abs(np.cumsum(now) / now.sum() - np.cumsum(before) / before.sum())
    points = _points(reference, column, window)
    n, sd = base.moments[0, place], 0.0
    if n > 1:
        sd = float(np.sqrt(base.moments[2, place] / (n - 1)))
    moved = float((gap[:-1] * np.diff(points)).sum())
    return float(gap.max()), moved / sd if sd > 0 else None


def _points(reference: "Reference", column: "Column", window: "Profile") -> Floats:
    """Return one value for each bin of finite values, ascending: the reference's mean in it
    or its middle; in tails, the mean of all that fell there.
    """
    assert column.cuts is not None  # noqa: S101  callers pass numeric columns
    inner = column.cuts[1:-2]
    points = np.concatenate([inner[:1], (inner[1:] + inner[:-1]) / 2, inner[-1:]])
    points = np.where(np.isfinite(column.means), column.means, points)
    bins = column.tails
    if not len(bins) or reference.profile is None:
        return points
    offset = reference.layout.offsets[reference.by_name[column.name]]
    sums = (reference.profile.tails + window.tails)[reference.layout.tail_places[offset + bins] - 1]
    counts = column.counts[bins] + reference.part(window, column.name)[bins]
    some = counts > 0
    points[bins[some] - 1] = sums[some] / counts[some]
    return np.maximum.accumulate(points)
