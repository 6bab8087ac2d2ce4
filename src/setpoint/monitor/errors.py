"""Whether more requests fail than may. Pure.

The null of a window is that a request fails with chance at most `ErrorPolicy.at_most`; its
p-value is binomial, turned into evidence as `evidence` says. Windows are short, since an
outage should not wait for the end of a day. Requests are taken to fail independently: a
burst of failures counts as as many, and alarms sooner.
"""

from datetime import datetime

import numpy as np
from msgspec import Struct

from setpoint.core import special
from setpoint.monitor.evidence import log_e, shiryaev_roberts


class ErrorPolicy(Struct, frozen=True, kw_only=True):
    """How many failed requests are too many, and how much evidence makes an alarm."""

    at_most: float  #: the share of requests that may fail
    seconds: int = 900  #: length of a window
    threshold: float = 30.0  #: A, from `evidence.threshold`
    requests: int = 20  #: fewer wait for the next window and are judged with it


class ErrorState(Struct, frozen=True, kw_only=True):
    """What an error monitor remembers between windows."""

    since: datetime  #: start of the first window not yet judged
    log_r: float | None = None  #: None is no evidence, log 0
    windows: int = 0


class ErrorVerdict(Struct, frozen=True, kw_only=True):
    """What a window changed."""

    judged: bool  #: False: too few requests, they wait for the next window
    alarm: bool
    evidence: float
    threshold: float
    start: datetime
    end: datetime
    requests: int
    failed: int  #: not answered, or answered by another than should have
    rate: float
    at_most: float


def update(
    state: ErrorState, requests: int, failed: int, policy: ErrorPolicy, *, end: datetime
) -> tuple[ErrorState, ErrorVerdict]:
    """Judge the requests from `state.since` to `end`.

    Returns:
        The state for the next window, and what this one showed. An alarm starts the
        evidence anew; a window of too few requests changes nothing.
    """
    judged = requests >= policy.requests
    log_r = -np.inf if state.log_r is None else state.log_r
    if judged:
        k, n = failed, requests
        p = float(special.betainc(k, n - k + 1, policy.at_most)) if k else 1.0
        log_r = float(shiryaev_roberts(np.array([log_r]), log_e(np.array([p])))[0])
    level = float(np.exp(log_r))
    verdict = ErrorVerdict(
        judged=judged,
        alarm=judged and level >= policy.threshold,
        evidence=level,
        threshold=policy.threshold,
        start=state.since,
        end=end,
        requests=requests,
        failed=failed,
        rate=failed / max(requests, 1),
        at_most=policy.at_most,
    )
    if not judged:
        return state, verdict
    kept = None if verdict.alarm else log_r
    return ErrorState(since=end, log_r=kept, windows=state.windows + 1), verdict
