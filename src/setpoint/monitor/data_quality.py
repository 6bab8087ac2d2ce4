"""Whether rows keep to their contract: missing, unseen and invalid values. Pure.

Each is a yes/no event a row. The null of a window is that its chance is at most what the
reference had (its upper limit, or its worst window) plus a tolerance; the p-value is
binomial. See `evidence` for what an alarm means. Unlike `drift`, it says what is wrong.
"""

from datetime import datetime

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
from setpoint.profiles.profile import Profile
from setpoint.profiles.reference import Reference

EVENTS = ("missing", "unseen", "invalid")


class DataQualityPolicy(Struct, frozen=True, kw_only=True):
    """How many bad values are too many, and how much evidence makes an alarm."""

    seconds: int = 86_400
    threshold: float = 30.0  #: A, from `evidence.threshold`
    tolerance: float = 0.01  #: share of rows above the reference's that does not matter
    rows: int = 50  #: fewer wait for the next window and are judged with it


class DataQualityState(Struct, frozen=True, kw_only=True):
    """What a data quality monitor remembers between windows."""

    edges: str
    log_r: list[float | None]  #: by column and event, `EVENTS` fastest
    since: datetime
    windows: int = 0


class EventRate(Struct, frozen=True, kw_only=True):
    """How often one event happened in one column."""

    column: str
    event: str  #: one of `EVENTS`
    rows: int  #: with the event, in this window
    rate: float
    allowed: float  #: rate up to which nothing is wrong
    share: float  #: of the evidence


class DataQualityVerdict(Struct, frozen=True, kw_only=True):
    """What a window changed. `events` has those above their allowed rate, worst first."""

    judged: bool
    alarm: bool
    evidence: float
    threshold: float
    start: datetime
    end: datetime
    rows: int
    events: list[EventRate]

    @property
    def attribution(self) -> list[tuple[str, float]]:
        """Columns with their share of the evidence, largest first, down to 1 %."""
        total: dict[str, float] = {}
        for event in self.events:
            total[event.column] = total.get(event.column, 0.0) + event.share
        order = sorted(total.items(), key=lambda kv: -kv[1])
        return [(name, round(share, 4)) for name, share in order if share >= 0.01]


def begin(reference: Reference, *, since: datetime) -> DataQualityState:
    """Return the state of a monitor that has seen nothing; `since` starts a window."""
    none: list[float | None] = [None] * (len(reference.columns) * len(EVENTS))
    return DataQualityState(edges=reference.id, log_r=none, since=since)


def update(
    state: DataQualityState,
    reference: Reference,
    profile: Profile,
    policy: DataQualityPolicy,
    *,
    end: datetime,
) -> tuple[DataQualityState, DataQualityVerdict]:
    """Judge the rows from `state.since` to `end`; as `drift.update` otherwise.

    Raises:
        Invalid: If state, reference and profile are not of the same edges.
    """
    if not state.edges == reference.id == profile.edges:
        raise Invalid(
            "the state, reference and window have different edges",
            hint="a new version has a reference of its own: begin its monitor anew",
        )
    log_r = np.array([-np.inf if r is None else r for r in state.log_r])
    weights = np.full(len(log_r), 1 / max(len(log_r), 1))
    events: list[EventRate] = []
    judged = profile.rows >= policy.rows
    if judged:
        k, n = _events(reference, profile)
        limit = allowed(reference, policy)
        p = np.where(k > 0, special.betainc(np.maximum(k, 1), np.maximum(n - k, 0) + 1, limit), 1.0)
        log_r = shiryaev_roberts(log_r, log_e(p))
        events = _above(reference, (k, n, limit, shares(log_r, weights)))
    level = float(np.exp(log_mean(log_r, weights)))
    verdict = DataQualityVerdict(
        judged=judged,
        alarm=judged and level >= policy.threshold,
        evidence=level,
        threshold=policy.threshold,
        start=state.since,
        end=end,
        rows=profile.rows,
        events=events,
    )
    if not judged:
        return state, verdict
    kept: list[float | None] = log_r.tolist()
    if verdict.alarm:
        kept = [None] * len(kept)
    after = DataQualityState(edges=state.edges, log_r=kept, since=end, windows=state.windows + 1)
    return after, verdict


def allowed(reference: Reference, policy: DataQualityPolicy) -> Floats:
    """Return the rate of each column's events up to which nothing is wrong.

    The upper 99 % limit of the reference's rate (Clopper-Pearson), or its worst window's
    share of missing values if that is more, plus the tolerance.
    """
    if reference.profile is None:
        raise Invalid("the reference has no rows")
    k, n = _events(reference, reference.profile)
    limit = special.betaincinv(k + 1, np.maximum(n - k, 1e-9), 0.99)
    known = reference.variation(policy.seconds)
    if known is not None:
        limit = limit.reshape(-1, len(EVENTS))
        limit[:, 0] = np.maximum(limit[:, 0], known.missing)
    found: Floats = np.minimum(limit.ravel() + policy.tolerance, 1 - 1e-9)
    return found


def _events(reference: Reference, profile: Profile) -> tuple[Floats, Floats]:
    """Return rows with each event, and rows, by column and event."""
    found, rows = [], []
    for column in reference.columns:
        part = reference.part(profile, column.name)
        unseen = 0 if column.numeric else int(part[column.unseen])
        if not column.numeric and column.unseen == len(column.categories):
            unseen = 0  # more categories than are remembered: new ones can't be told
        found += [int(part[column.missing].sum()), unseen, int(part[column.invalid].sum())]
        rows += [int(part.sum())] * len(EVENTS)
    return np.array(found, dtype=np.float64), np.array(rows, dtype=np.float64)


def _above(reference: Reference, parts: tuple[Floats, Floats, Floats, Floats]) -> list[EventRate]:
    k, n, limit, share = parts
    rate = k / np.maximum(n, 1)
    events = [
        EventRate(
            column=reference.columns[at // len(EVENTS)].name,
            event=EVENTS[at % len(EVENTS)],
            rows=int(k[at]),
            rate=float(rate[at]),
            allowed=float(limit[at]),
            share=float(share[at]),
        )
        for at in np.flatnonzero(rate > limit).tolist()
    ]
    return sorted(events, key=lambda e: (-e.share, -e.rate))
