"""Whether what comes in is still what the model was trained on. Pure.

Per window and column the null is "the effect V is at most the floor, or no larger than
windows of the reference differ from each other anyway". See `evidence` for what an alarm
means and `profiles.distances.homogeneity` for the statistic.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
from msgspec import Struct

from setpoint.core import special
from setpoint.errors import Invalid
from setpoint.monitor.evidence import (
    Floats,
    log_e,
    log_mean,
    shares,
    shiryaev_roberts,
)
from setpoint.profiles.distances import RARE, Homogeneity, effect, homogeneity
from setpoint.profiles.profile import Profile
from setpoint.profiles.reference import Reference
from setpoint.profiles.variation import LEAST

_SPREAD = 0.15  # least sd of log V: a few dozen windows can't show less


class DriftPolicy(Struct, frozen=True, kw_only=True):
    """When a column has drifted, and how much evidence makes an alarm."""

    seconds: int = 86_400  #: length of a window; longer where rows are autocorrelated
    threshold: float = 30.0  #: A, from `evidence.threshold`
    floor: float = 0.05  #: effect V that does not matter, about a mean shift in sd
    rows: int = 200  #: fewer wait for the next window and are judged with it
    rare: float = RARE  #: share of missing or unseen values that does not matter
    weights: dict[str, float] = {}  #: importance by column; those not named have 1


class DriftState(Struct, frozen=True, kw_only=True):
    """What a drift monitor remembers between windows."""

    edges: str  #: the reference's; another reference starts anew
    log_r: list[float | None]  #: log evidence by column; None is no evidence, log 0
    since: datetime  #: start of the first window not yet judged
    windows: int = 0  #: windows judged


class ColumnDrift(Struct, frozen=True, kw_only=True):
    """One column's part in a verdict."""

    column: str
    share: float  #: of the evidence, 0 to 1
    effect: float  #: V of this window, less its noise
    usual: float | None  #: V of a window of the reference (median), if known
    p: float  #: of this window alone
    log_r: float  #: evidence up to now, natural log


class DriftVerdict(Struct, frozen=True, kw_only=True):
    """What a window changed. `columns` has those with the largest share first."""

    judged: bool  #: False: too few rows, they wait for the next window
    alarm: bool
    evidence: float  #: weighted mean of R, to be compared with `threshold`
    threshold: float
    start: datetime
    end: datetime
    rows: int
    columns: list[ColumnDrift]

    @property
    def attribution(self) -> list[tuple[str, float]]:
        """Columns with their share of the evidence, largest first, down to 1 %."""
        return [(c.column, round(c.share, 4)) for c in self.columns if c.share >= 0.01]


def begin(reference: Reference, *, since: datetime, policy: DriftPolicy) -> DriftState:
    """Return the state of a monitor that has seen nothing.

    The first window judged is the first whole one from `since`: half a day has other hours
    than days of the reference, and would look like drift.
    """
    start = aligned(since, policy.seconds)
    return DriftState(
        edges=reference.id,
        log_r=[None] * len(reference.columns),
        since=start if start == since else start + timedelta(seconds=policy.seconds),
    )


def aligned(at: datetime, seconds: int) -> datetime:
    """Return the start of the window that `at` lies in, on a grid from 1970 in UTC."""
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return epoch + (at - epoch) // timedelta(seconds=seconds) * timedelta(seconds=seconds)


def ends(since: datetime, now: datetime, seconds: int, *, after: float = 0) -> Iterator[datetime]:
    """Yield the ends of all windows from `since` that are over, oldest first.

    Args:
        since: Start of the first window not judged.
        now: The time.
        seconds: Length of a window.
        after: Seconds that a window must be over for, e.g. for its labels to come.
    """
    last = aligned(now - timedelta(seconds=after), seconds)
    end = aligned(since, seconds) + timedelta(seconds=seconds)
    while end <= last:
        yield end
        end += timedelta(seconds=seconds)


def update(
    state: DriftState,
    reference: Reference,
    profile: Profile,
    policy: DriftPolicy,
    *,
    end: datetime,
) -> tuple[DriftState, DriftVerdict]:
    """Judge the rows from `state.since` to `end`.

    Give windows in order, one at a time; where one had too few rows, give it again
    merged with the next. After an alarm the evidence starts from nothing, so that each
    has its own.

    Args:
        state: From `begin`, or the last update.
        reference: Of the version; its edges must be the state's.
        profile: Of the window.
        policy: When to alarm.
        end: End of the window, exclusive.

    Raises:
        Invalid: If state, reference and profile are not of the same edges.
    """
    if not state.edges == reference.id == profile.edges:
        raise Invalid(
            f"edges differ: state {state.edges}, reference {reference.id}, window {profile.edges}",
            hint="a new version has a reference of its own: begin its monitor anew",
        )
    log_r = np.array([-np.inf if r is None else r for r in state.log_r])
    weights = _weights(reference, policy)
    if profile.rows < policy.rows:
        verdict = _verdict(state, policy, profile, end, evidence=log_mean(log_r, weights))
        return state, verdict
    window = reference.layout.grouped(profile.counts)
    found = homogeneity(window, reference.grouped, rare=policy.rare)
    p, damping = p_values(found, reference, policy)
    log_r = shiryaev_roberts(log_r, log_e(p) * damping)
    level = log_mean(log_r, weights)
    columns = _columns(reference, policy, (found, p, log_r, weights))
    verdict = _verdict(state, policy, profile, end, evidence=level, columns=columns)
    kept: list[float | None] = [_known(r) for r in log_r.tolist()]
    if verdict.alarm:
        kept = [None] * len(kept)
    after = DriftState(edges=state.edges, log_r=kept, since=end, windows=state.windows + 1)
    return after, verdict


def p_values(
    found: Homogeneity, reference: Reference, policy: DriftPolicy
) -> tuple[Floats, Floats]:
    """Return each column's p-value, and the power to which its e-value is taken.

    The p-value is the larger of two, since either excuse will do: the effect is at most the
    floor (non-central chi-square), or windows of the reference differ as much (Student's
    predictive distribution of log V). Where one window's V foretells the next one's
    (correlation r), the evidence of t windows is that of t (1 - r)/(1 + r): e-values are
    taken to that power, and remain e-values.
    """
    p = floor_p(found, policy.floor)
    damping = np.ones(len(p))
    known = reference.variation(policy.seconds)
    if known is None:
        return p, damping
    windows = np.array(known.windows, dtype=np.float64)
    some = windows > 0
    spread = np.maximum(np.array(known.sd), _SPREAD) * np.sqrt(1 + 1 / np.maximum(windows, 1))
    log_v = np.log(np.maximum(effect(found), LEAST))
    student = special.stdtr(np.maximum(windows - 1, 1), -(log_v - np.array(known.mean)) / spread)
    echo = np.array(known.echo)
    return (
        np.where(some, np.maximum(p, student), p),
        np.where(some, (1 - echo) / (1 + echo), 1.0),
    )


def floor_p(found: Homogeneity, floor: float) -> Floats:
    """Return the chance of such a difference, or a larger one, if V is `floor`, by column.

    The statistic is then non-central chi-square, scaled by 1 + n/m since the reference is a
    sample too; its non-centrality is n V².
    """
    scale = found.inflation
    p = 1 - special.chndtr(found.x2 / scale, found.df, found.n * floor**2 / scale)
    clipped: Floats = np.where(found.n > 0, np.clip(p, 0, 1), 1.0)
    return clipped


def _weights(reference: Reference, policy: DriftPolicy) -> Floats:
    raw = np.array([policy.weights.get(c.name, 1.0) for c in reference.columns])
    total = raw.sum()
    if (raw < 0).any() or not total > 0:
        raise Invalid("the importance of columns is negative or all zero")
    weights: Floats = raw / total
    return weights


def _columns(
    reference: Reference,
    policy: DriftPolicy,
    parts: tuple[Homogeneity, Floats, Floats, Floats],
) -> list[ColumnDrift]:
    found, p, log_r, weights = parts
    sizes, share = effect(found), shares(log_r, weights)
    known = reference.variation(policy.seconds)
    columns = [
        ColumnDrift(
            column=column.name,
            share=float(share[at]),
            effect=float(sizes[at]),
            usual=float(np.exp(known.mean[at])) if known and known.windows[at] else None,
            p=float(p[at]),
            log_r=float(log_r[at]),
        )
        for at, column in enumerate(reference.columns)
    ]
    return sorted(columns, key=lambda c: (-c.share, -c.effect))


def _verdict(
    state: DriftState,
    policy: DriftPolicy,
    profile: Profile,
    end: datetime,
    *,
    evidence: float,
    columns: list[ColumnDrift] | None = None,
) -> DriftVerdict:
    level = float(np.exp(min(evidence, 690.0)))
    return DriftVerdict(
        judged=columns is not None,
        alarm=columns is not None and level >= policy.threshold,
        evidence=level,
        threshold=policy.threshold,
        start=state.since,
        end=end,
        rows=profile.rows,
        columns=columns or [],
    )


def _known(log_r: float) -> float | None:
    return log_r if np.isfinite(log_r) else None
