"""Whether the model is still as good as it must be, from labels that come late. Pure.

The null of a window is "the metric is at the target or better". Its distance from
it in standard errors, z, is bet on: exp(b z - b²/2) is an e-value for every bet b, since
z's mean is at most 0 and it is nearly normal. See `evidence` for what an alarm means.

Standard errors are widened by what windows have differed beyond them so far (von Neumann's
mean squared successive difference), since days differ in more than their rows.
"""

from datetime import datetime

import numpy as np
from msgspec import Struct

from setpoint.errors import Invalid
from setpoint.monitor.evidence import log_mean, shiryaev_roberts
from setpoint.profiles.joint import Joint
from setpoint.profiles.quality import (
    HIGHER_IS_BETTER,
    Estimate,
    estimate,
    hanley_mcneil,
    measure,
)

BETS = (0.25, 0.5, 1.0, 2.0)  #: each is best where the target is missed by so many errors
_REACH = 5.0  # of z: normal tails are not believed beyond
_PRIOR = 5.0  # windows' worth of belief that errors are as computed


class QualityPolicy(Struct, frozen=True, kw_only=True):
    """What quality must be held, and how much evidence that it isn't makes an alarm."""

    target: float  #: the worst that is acceptable, tolerance included (`target_of`)
    metric: str = "roc_auc"
    cut: float = 0.5  #: score from which the answer is yes, for accuracy and F1
    seconds: int = 86_400  #: length of a window, by prediction time
    threshold: float = 30.0  #: A, from `evidence.threshold`
    after: float = 43_200  #: seconds that a window waits for its labels
    labels: int = 100  #: fewer wait for the next window and are judged with it
    minority: int = 20  #: likewise, labels of the rarer class


class QualityState(Struct, frozen=True, kw_only=True):
    """What a quality monitor remembers between windows."""

    log_r: list[float | None]  #: by bet
    since: datetime  #: start of the first window not yet judged
    windows: int = 0
    last: float | None = None  #: the last window's distance from the target, in errors
    steps: float = 0.0  #: sum of half the squared differences of successive distances


class QualityVerdict(Struct, frozen=True, kw_only=True):
    """What a window of labels changed."""

    judged: bool  #: False: too few labels, they wait for the next window
    alarm: bool
    evidence: float
    threshold: float
    start: datetime
    end: datetime
    metric: str
    value: float | None
    low: float | None  #: of the 95 % interval of this window
    high: float | None
    target: float
    labels: int
    widened: float  #: factor on the standard error


class Standing(Struct, frozen=True, kw_only=True):
    """How a metric stands against its bound, by one interval."""

    metric: str
    bound: float
    value: float | None
    low: float | None
    high: float | None
    labels: int
    verdict: str  #: ``met``, ``missed``, or ``open`` where the interval has the bound inside
    estimated: bool = False  #: True: no labels were used, see `profiles.quality.estimate`


class LabelReport(Struct, frozen=True, kw_only=True):
    """How many labels have come, and how late."""

    predictions: int
    labels: int
    coverage: float  #: share of predictions with a label
    median_hours: float | None  #: from prediction to label, upper end of a bin
    late_hours: float | None  #: by which nine of ten had come


def target_of(
    metric: str,
    *,
    reference: float | None,
    objective: float | None,
    tolerance: float = 0.02,
) -> float | None:
    """Return the worst acceptable value: what quality monitors hold.

    The objective where there is one; else the held-out value less the tolerance. Where both
    are given, the objective: it is what was promised.
    """
    if objective is not None:
        return objective
    if reference is None:
        return None
    return reference - tolerance if HIGHER_IS_BETTER[metric] else reference + tolerance


def begin(*, since: datetime) -> QualityState:
    """Return the state of a monitor that has seen no label; `since` starts a window."""
    return QualityState(log_r=[None] * len(BETS), since=since)


def update(
    state: QualityState, found: Joint, policy: QualityPolicy, *, end: datetime
) -> tuple[QualityState, QualityVerdict]:
    """Judge the labels of predictions from `state.since` to `end`.

    Give windows in order, each once its labels have had `policy.after` to come; where one
    had too few, give it again merged with the next.

    Raises:
        Invalid: If the metric is none of `profiles.quality.HIGHER_IS_BETTER`.
    """
    quality = measure(found, policy.metric, threshold=policy.cut)
    rarer = min(found.positives, found.negatives)
    if found.labelled < policy.labels or rarer < policy.minority or quality.value is None:
        level = _level(state.log_r)
        return state, _verdict(state, policy, quality, end, level, judged=False)
    return judge(state, quality, policy, end=end, negatives=found.negatives)


def judge(
    state: QualityState,
    quality: Estimate,
    policy: QualityPolicy,
    *,
    end: datetime,
    negatives: int = 0,
) -> tuple[QualityState, QualityVerdict]:
    """Judge a metric that is known, or estimated, with its error.

    Raises:
        Invalid: If the metric has no value.
    """
    if quality.value is None:
        raise Invalid(f"{quality.metric} has no value to judge")
    better = 1.0 if HIGHER_IS_BETTER[policy.metric] else -1.0
    error = quality.se
    if policy.metric == "roc_auc" and negatives and quality.positives:
        error = max(error, hanley_mcneil(policy.target, negatives, quality.positives))
    distance = better * (policy.target - quality.value) / max(error, 1e-9)
    pairs = max(state.windows - 1, 0)
    widened = max(1.0, float(np.sqrt((_PRIOR + state.steps) / (_PRIOR + pairs))))
    z = min(distance / widened, _REACH)
    bets = np.array(BETS)
    log_r = np.array([-np.inf if r is None else r for r in state.log_r])
    log_r = shiryaev_roberts(log_r, bets * z - bets**2 / 2)
    level = _level(log_r.tolist())
    verdict = _verdict(state, policy, quality, end, level, widened=widened)
    step = 0.0 if state.last is None else (distance - state.last) ** 2 / 2
    kept: list[float | None] = [None] * len(BETS) if verdict.alarm else log_r.tolist()
    after = QualityState(
        log_r=kept,
        since=end,
        windows=state.windows + 1,
        last=distance,
        steps=state.steps + step,
    )
    return after, verdict


def standing(found: Joint, metric: str, bound: float, *, confidence: float = 0.95) -> Standing:
    """Return how realised quality stands, e.g. to ``roc_auc`` of at least 0.68."""
    return _standing(measure(found, metric), bound, confidence)


def estimated(
    found: Joint, reference: Joint, metric: str, bound: float, *, confidence: float = 0.95
) -> Standing:
    """Return how quality stands by estimate, before labels come.

    It never cancels a realised alarm: it can't see a change of what the inputs mean.
    """
    guess = estimate(found, reference, metric)
    return _standing(guess, bound, confidence, by_estimate=True)


def labels(found: Joint) -> LabelReport:
    """Return how many labels have come, and how late."""
    return LabelReport(
        predictions=found.predicted,
        labels=found.labelled,
        coverage=found.coverage,
        median_hours=found.delay(0.5),
        late_hours=found.delay(0.9),
    )


def _standing(
    found: Estimate, bound: float, confidence: float, *, by_estimate: bool = False
) -> Standing:
    interval = found.interval(confidence)
    low, high = interval or (None, None)
    verdict = "open"
    if low is not None and high is not None:
        up = HIGHER_IS_BETTER[found.metric]
        if (low >= bound) if up else (high <= bound):
            verdict = "met"
        elif (high < bound) if up else (low > bound):
            verdict = "missed"
    return Standing(
        metric=found.metric,
        bound=bound,
        value=found.value,
        low=low,
        high=high,
        labels=found.n if not by_estimate else 0,
        verdict=verdict,
        estimated=by_estimate,
    )


def _level(log_r: list[float | None]) -> float:
    known = np.array([-np.inf if r is None else r for r in log_r])
    return float(np.exp(log_mean(known, np.full(len(known), 1 / len(known)))))


def _verdict(
    state: QualityState,
    policy: QualityPolicy,
    quality: Estimate,
    end: datetime,
    level: float,
    *,
    judged: bool = True,
    widened: float = 1.0,
) -> QualityVerdict:
    low, high = quality.interval() or (None, None)
    return QualityVerdict(
        judged=judged,
        alarm=judged and level >= policy.threshold,
        evidence=level,
        threshold=policy.threshold,
        start=state.since,
        end=end,
        metric=policy.metric,
        value=quality.value,
        low=low,
        high=high,
        target=policy.target,
        labels=quality.n,
        widened=widened,
    )
