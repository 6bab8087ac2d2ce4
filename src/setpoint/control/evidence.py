"""What a piece of the log says about a release. Pure.

While two versions are deployed, every row is scored by both: by one in answer, by the
other afterwards. So whatever share of traffic the candidate answers, each version attempts
every row once, and an error is as likely to be one's as the other's if they are equally
good: errors count at a share of one half.
"""

from collections.abc import Callable, Sequence

from msgspec import Struct

from setpoint.releases.evidence import (
    Evidence,
    GuardTally,
    PairedLoss,
    log_loss,
    paired_loss,
    squared_error,
    streak,
)
from setpoint.serve.entities import Labelled, PredictionRecord, ShadowRecord

_BOTH = 0.5

Loss = Callable[[float, float], float]


class Seen(Struct, frozen=True, kw_only=True):
    """The part of the log that is about one model and was not counted before."""

    predictions: Sequence[PredictionRecord]
    shadows: Sequence[ShadowRecord]
    labelled: Sequence[Labelled]
    rows: int  #: predictions indexed for the first time


def evidence(
    seen: Seen, *, candidate: int, live: int, share: float, slow_micros: int | None, task: str
) -> Evidence:
    """Return what to add to the evidence of a release.

    Args:
        seen: What happened.
        candidate: The version being released.
        live: The version it would replace.
        share: Of rows that the candidate answers now, 0 in the shadow.
        slow_micros: A request that takes longer is slow; None: not judged.
        task: ``classification`` (log loss) or ``regression`` (squared error).
    """
    guards = {"errors": (_errors(seen, candidate, live),)}
    if slow_micros is not None and share > 0:
        guards["slow requests"] = (_slow(seen, candidate, share, slow_micros),)
    loss: Loss = log_loss if task == "classification" else squared_error
    return Evidence(
        guards={name: tallies for name, tallies in guards.items() if tallies[0].requests},
        loss=_paired(seen.labelled, candidate, live, loss),
        requests_in_stage=seen.rows,
        canary_streak=streak(_outcomes(seen, candidate)),
    )


def _errors(seen: Seen, candidate: int, live: int) -> GuardTally:
    tried = {candidate: 0, live: 0}
    failed = {candidate: 0, live: 0}
    for version, bad in _attempts(seen):
        if version in tried:
            tried[version] += 1
            failed[version] += bad
    return GuardTally(
        weight=_BOTH,
        canary_events=failed[candidate],
        total_events=failed[candidate] + failed[live],
        canary_requests=tried[candidate],
        requests=tried[candidate] + tried[live],
    )


def _attempts(seen: Seen) -> list[tuple[int, bool]]:
    """Return (version, whether it failed) of every scoring of a request's rows."""
    found = []
    for record in seen.predictions:
        if record.failed:
            found.append((record.failed, True))
        elif record.versions:
            found.append((record.versions[0], False))
    found += [(r.versions[0], r.status != 0) for r in seen.shadows if r.versions]
    return found


def _outcomes(seen: Seen, candidate: int) -> list[bool]:
    return [bad for version, bad in _attempts(seen) if version == candidate]


def _slow(seen: Seen, candidate: int, share: float, slow_micros: int) -> GuardTally:
    """Count slow answers of single rows: only those wholly belong to one version."""
    single = [r for r in seen.predictions if len(r.ids) == 1]
    canary = [r for r in single if candidate in (r.failed, r.versions[0])]
    return GuardTally(
        weight=share,
        canary_events=sum(r.micros > slow_micros for r in canary),
        total_events=sum(r.micros > slow_micros for r in single),
        canary_requests=len(canary),
        requests=len(single),
    )


def _paired(rows: Sequence[Labelled], candidate: int, live: int, loss: Loss) -> PairedLoss:
    differences = []
    for row in rows:
        if row.was is not None or row.other_score is None:
            continue  # a correction: its first label was counted; or the other arm failed
        if (row.version, row.other_version) == (candidate, live):
            ours, theirs = row.score, row.other_score
        elif (row.version, row.other_version) == (live, candidate):
            ours, theirs = row.other_score, row.score
        else:
            continue
        differences.append(loss(ours, row.label) - loss(theirs, row.label))
    return paired_loss(differences)
