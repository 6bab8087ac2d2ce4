"""What a piece of the log says about a release. Pure.

While two versions are deployed, every row is scored by both: by one in answer, by the
other afterwards. So whatever share of traffic the candidate answers, each version attempts
every row once, and an error is as likely to be one's as the other's if they are equally
good: yes/no events count at a share of one half.

Where only a sample of the rows is logged, what failed is logged all the same and the rest is
counted, so yes/no events are those of all requests. Losses and the objective are those of
the rows of the sample.
"""

from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import reduce
from math import isfinite
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from setpoint.releases.evidence import (
    Evidence,
    GuardTally,
    PairedLoss,
    Streak,
    log_loss,
    merge_streaks,
    paired_loss,
    squared_error,
)
from setpoint.releases.objective import Pair, PairedObjective, paired_objective
from setpoint.serve.entities import (
    BatchRecord,
    CountRecord,
    Labelled,
    PredictionRecord,
    Role,
    ShadowRecord,
)
from setpoint.serve.rules import ROLES

_BOTH = 0.5

Loss = Callable[[float, float], float]
_Record = PredictionRecord | ShadowRecord | CountRecord


class Seen(Struct, frozen=True, kw_only=True):
    """The part of the log that is about one model and was not counted before."""

    records: Sequence[_Record]  #: in the log's order
    labelled: Sequence[Labelled]
    rows: int  #: answered, whether they are indexed now or only counted

    @property
    def predictions(self) -> list[PredictionRecord]:
        return [record for record in self.records if isinstance(record, PredictionRecord)]

    @property
    def counts(self) -> list[CountRecord]:
        """What was answered of which no row is in the log's sample."""
        return [record for record in self.records if isinstance(record, CountRecord)]


def of_release(seen: Seen) -> Seen:
    """Return what was asked for without what fell to the arms of a test.

    No other version scores those rows, and their share is no matter of a release.
    """

    def apart(record: _Record) -> bool:
        if isinstance(record, CountRecord):
            return ROLES[record.role] is Role.ARM
        return isinstance(record, PredictionRecord) and bool(record.arm)

    return _without(seen, apart)


def asked_for(seen: Seen) -> Seen:
    """Return what was seen without the rows of tables, of testers, and of versions somebody named.

    Nobody waited for the first, and routing had no say in the others. No other version scores
    them either, so they would tip what compares the two.
    """

    def unneeded(record: _Record) -> bool:
        if isinstance(record, CountRecord):
            return ROLES[record.role] is Role.BATCH
        if not isinstance(record, PredictionRecord):
            return False
        return isinstance(record, BatchRecord) or record.roles[:1] in _UNNEEDED

    return _without(seen, unneeded)


#: Roles of a row that a tester asked for, or whoever named a version.
_UNNEEDED = tuple(bytes((ROLES.index(role),)) for role in (Role.TEST, Role.NAMED))


def _without(seen: Seen, apart: Callable[[_Record], bool]) -> Seen:
    left_out = [record for record in seen.records if apart(record)]
    if not left_out:
        return seen
    kept = [record for record in seen.records if not apart(record)]
    return replace(seen, records=kept, rows=seen.rows - sum(map(_rows, left_out)))


def _rows(record: _Record) -> int:
    """Return how many rows of a record are counted among those that were answered."""
    if isinstance(record, CountRecord):
        return record.rows
    if not isinstance(record, PredictionRecord):
        return 0
    return (len(record.ids) if record.scores else 0) + record.unlogged


def evidence(
    seen: Seen,
    *,
    candidate: int,
    live: int,
    slow_micros: int | None,
    task: str,
    block: timedelta,
    objective_block: timedelta | None = None,
) -> Evidence:
    """Return what to add to the evidence of a release.

    Args:
        seen: What happened.
        candidate: The version being released.
        live: The version it would replace.
        slow_micros: A request that takes longer is slow; None: not judged.
        task: ``classification`` (log loss) or ``regression`` (squared error).
        block: Rows answered within it may be right or wrong together.
        objective_block: Likewise for the objective; None: it is not judged by blocks.
    """
    attempts = [one for record in seen.records if (one := _attempts(record, slow_micros))]
    guards = {
        "errors": _tally([(a.version, a.requests, a.failed) for a in attempts], candidate, live)
    }
    if slow_micros is not None:
        slow = [(a.version, a.timed, a.slow) for a in attempts]
        guards["slow requests"] = _tally(slow, candidate, live)
    pairs = _pairs(seen.labelled, candidate, live)
    loss: Loss = log_loss if task == "classification" else squared_error
    return Evidence(
        guards={name: (tally,) for name, tally in guards.items() if tally.requests},
        loss=_paired(pairs, loss, block),
        objective=_objective(pairs, seen, objective_block),
        requests_in_stage=seen.rows,
        canary_streak=reduce(
            merge_streaks, (_streak(a) for a in attempts if a.version == candidate), Streak()
        ),
    )


class _Attempts(NamedTuple):
    """One version's scoring of a request's rows, or of those of several requests."""

    version: int
    requests: int
    failed: int
    timed: int  #: of the requests, those that were held against the limit
    slow: int


def _attempts(
    record: PredictionRecord | ShadowRecord | CountRecord, slow_micros: int | None
) -> _Attempts | None:
    if isinstance(record, CountRecord):
        timed = record.requests if record.bound == slow_micros else 0
        slow = record.slow if timed else 0
        return _Attempts(record.version, record.requests, record.failed, timed, slow)
    late = int(slow_micros is not None and record.micros > slow_micros)
    if isinstance(record, ShadowRecord):
        failed = int(record.status != 0)
        return _Attempts(record.versions[0], 1, failed, 1, late) if record.versions else None
    if not (record.failed or record.versions):
        return None
    failed = int(record.failed != 0)
    return _Attempts(record.failed or record.versions[0], 1, failed, 1, late)


def _streak(attempts: _Attempts) -> Streak:
    """Return the outcomes of requests; of several, those that went well came first.

    The server writes counts down before and after whatever fails: they never hide a success
    between two failures.
    """
    failed = attempts.failed
    every = failed if failed == attempts.requests else 0
    return Streak(length=attempts.requests, head=every, tail=failed, longest=failed)


def _tally(events: list[tuple[int, int, int]], candidate: int, live: int) -> GuardTally:
    tried = {candidate: 0, live: 0}
    happened = {candidate: 0, live: 0}
    for version, requests, event in events:
        if version in tried:
            tried[version] += requests
            happened[version] += event
    return GuardTally(
        weight=_BOTH,
        canary_events=happened[candidate],
        total_events=happened[candidate] + happened[live],
        canary_requests=tried[candidate],
        requests=tried[candidate] + tried[live],
    )


class _Pair(NamedTuple):
    """A labelled row that both versions scored."""

    at_us: int
    candidate: float
    live: float
    label: float


def _pairs(rows: Sequence[Labelled], candidate: int, live: int) -> list[_Pair]:
    found = []
    for row in rows:
        if row.was is not None or row.other_version is None or row.other_score is None:
            continue  # a correction: its first label was counted; or the other arm failed
        scores: dict[int, float] = {row.version: row.score, row.other_version: row.other_score}
        if scores.keys() != {candidate, live}:
            continue  # answered before this release
        if not all(map(isfinite, scores.values())):
            continue  # an input is missing, and one arm cannot do without it
        found.append(_Pair(row.at_us, scores[candidate], scores[live], row.label))
    return found


def _paired(pairs: Sequence[_Pair], loss: Loss, block: timedelta) -> PairedLoss:
    micros = block // timedelta(microseconds=1)
    differences = [loss(p.candidate, p.label) - loss(p.live, p.label) for p in pairs]
    blocks = [str(p.at_us // micros * micros // 1_000_000) for p in pairs] if micros else []
    return paired_loss(differences, blocks if micros else None)


def _objective(pairs: Sequence[_Pair], seen: Seen, block: timedelta | None) -> PairedObjective:
    if block is None:
        return PairedObjective()
    newest = max((record.at_us for record in seen.records), default=0)
    return paired_objective(
        (
            Pair(
                at=p.at_us // 1_000_000,
                positive=p.label > 0,
                candidate=p.candidate,
                live=p.live,
            )
            for p in pairs
        ),
        block=block,
        until=newest // 1_000_000,
    )
