"""Whether more requests fail than may. Pure.

The null of a window is that a request fails with chance at most `ErrorPolicy.at_most`. That
is bet against at several multiples of it: a bet's likelihood ratio is an e-value, since it
falls where requests fail more seldom, and products of them find a small excess over many
windows as well as an outage in one. See `evidence` for what an alarm means. Windows are
short, since an outage should not wait for the end of a day. Requests are taken to fail
independently: a burst of failures counts as as many, and alarms sooner.
"""

from datetime import datetime

import numpy as np
from msgspec import Struct

from setpoint.monitor.evidence import Floats, log_mean, shiryaev_roberts

BETS = (1.25, 1.5, 2.0, 4.0, 16.0, 256.0)  #: each is best where so many times as many fail
_PROOF = 690.0  # of log e, where no failure is allowed: its exponential is still finite


class ErrorPolicy(Struct, frozen=True, kw_only=True):
    """How many failed requests are too many, and how much evidence makes an alarm."""

    at_most: float  #: the share of requests that may fail
    seconds: int = 900  #: length of a window
    threshold: float = 30.0  #: A, from `evidence.threshold`
    requests: int = 20  #: fewer wait for the next window and are judged with it


class ErrorState(Struct, frozen=True, kw_only=True):
    """What an error monitor remembers between windows."""

    since: datetime  #: start of the first window not yet judged
    log_r: tuple[float | None, ...] = (None,) * len(BETS)  #: by bet; None is no evidence, log 0
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
    log_r = np.array([-np.inf if r is None else r for r in state.log_r])
    if judged:
        log_r = shiryaev_roberts(log_r, log_e(requests, failed, policy.at_most))
    level = float(np.exp(log_mean(log_r, np.full(len(BETS), 1 / len(BETS)))))
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
    kept = (None,) * len(BETS) if verdict.alarm else tuple(log_r.tolist())
    return ErrorState(since=end, log_r=kept, windows=state.windows + 1), verdict


def log_e(requests: int, failed: int, at_most: float) -> Floats:
    """Return the log e-value of each bet that more than `at_most` of the requests fail.

    A bet of b takes a request to succeed as seldom as b of them in a row do at the
    ceiling, which for small shares is b times the failures. At a ceiling of 0 one failure
    is proof.
    """
    if at_most == 0:
        return np.full(len(BETS), _PROOF if failed else 0.0)
    bets, fine = np.array(BETS), np.log1p(-at_most)
    often = np.log(-np.expm1(bets * fine)) - np.log(at_most)
    return np.asarray(failed * often + (requests - failed) * (bets - 1) * fine)
