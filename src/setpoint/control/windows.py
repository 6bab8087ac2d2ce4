"""From a piece of the log to what windows add up: profiles, label histograms, requests. Pure."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from functools import reduce
from itertools import chain
from operator import add
from typing import Any

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from setpoint.control.evidence import Seen
from setpoint.core.clock import from_micros
from setpoint.monitor.drift import aligned
from setpoint.monitor.entities import Attempts, Traffic
from setpoint.profiles import joint
from setpoint.profiles.joint import Joint
from setpoint.profiles.profile import Profile, profile
from setpoint.profiles.reference import Reference
from setpoint.serve.entities import Labelled, PredictionRecord
from setpoint.serve.rules import ROLES, only
from setpoint.serve.sampling import sampler

_DAY = 86_400


def in_sample(record: PredictionRecord) -> PredictionRecord:
    """Return a record's rows that are in the log's sample; of a failure all are logged."""
    if record.sample >= 1 or not (record.failed and record.scores):
        return record
    places = sampler(record.sample)(record.ids)
    return only(record, places) if places else replace(record, scores=b"")


def attempts(model: str, seen: Seen, seconds: int) -> list[Attempts]:
    """Return how many requests each version had and failed, by window.

    Where another version stood in for one that failed, each had the request.
    """
    counts: dict[tuple[int, datetime], list[int]] = defaultdict(lambda: [0, 0])
    for counted in seen.counts:
        if not counted.shadow:
            start = aligned(from_micros(counted.at_us), seconds)
            counts[counted.version, start][0] += counted.requests
    for record in seen.predictions:
        start = aligned(from_micros(record.at_us), seconds)
        tried = set(record.versions[:1]) if record.scores else set()
        for version in {*tried, record.failed} - {0}:
            count = counts[version, start]
            count[0] += 1
            count[1] += version == record.failed
    return [
        Attempts(model=model, version=version, start=start, seconds=seconds, requests=n, failed=bad)
        for (version, start), (n, bad) in sorted(counts.items())
    ]


def traffic(seen: Seen) -> list[Traffic]:
    """Return how many rows each version answered in each role, by day."""
    rows: dict[tuple[datetime, int, str], list[int]] = defaultdict(lambda: [0, 0])

    def add(at_us: int, version: int, role: int, answered: int, logged: int) -> None:
        counts = rows[aligned(from_micros(at_us), _DAY), version, ROLES[role].value]
        counts[0] += answered
        counts[1] += logged

    for counted in seen.counts:
        if not counted.shadow:
            add(counted.at_us, counted.version, counted.role, counted.rows, 0)
    for record in seen.predictions:
        if record.scores:
            logged = len(record.ids)
            answered = logged + record.unlogged
            add(record.at_us, record.versions[0], record.roles[0], answered, logged)
    return [
        Traffic(day=day, version=version, role=role, rows=answered, logged=logged)
        for (day, version, role), (answered, logged) in sorted(rows.items())
    ]


def profile_of(records: Sequence[PredictionRecord], reference: Reference) -> Profile:
    """Return the profile of several records' rows; of what was redacted it says nothing."""
    alike: dict[tuple[str, ...], list[PredictionRecord]] = defaultdict(list)
    for record in records:
        alike[record.redacted].append(record)
    parts = []
    for redacted, some in alike.items():
        columns, scores = _together(some)
        parts.append(profile(columns, reference, scores=scores, unknown=frozenset(redacted)))
    return reduce(add, parts)


def _together(
    records: Sequence[PredictionRecord],
) -> tuple[dict[str, Any], NDArray[np.float64]]:
    """Return the inputs and scores of the rows of several records."""
    parts = [_inputs(record) for record in records]
    if len(parts) == 1:
        return parts[0]
    columns: dict[str, Any] = {}
    for name in parts[0][0]:
        values = [part[name] for part, _ in parts]
        one = isinstance(values[0], list)
        columns[name] = list(chain.from_iterable(values)) if one else np.concatenate(values)
    return columns, np.concatenate([scores for _, scores in parts])


def _inputs(record: PredictionRecord) -> tuple[dict[str, Any], NDArray[np.float64]]:
    scores = np.frombuffer(record.scores)
    matrix = np.frombuffer(record.values).reshape(len(record.ids), -1)
    columns: dict[str, Any] = {name: matrix[:, i] for i, name in enumerate(record.columns)}
    columns |= record.texts
    return columns, scores


def joint_of(rows: Sequence[Labelled], reference: Reference) -> Joint:
    """Return the histogram of these labels; a corrected label takes its first one back."""
    scores = np.array([row.score for row in rows])
    delays = [_delay(row, row.told_us) for row in rows]
    total = joint.labelled(scores, [row.label for row in rows], reference, delays=delays)
    was = [
        (row.score, row.was, _delay(row, row.was_told_us or row.told_us))
        for row in rows
        if row.was is not None
    ]
    if not was:
        return total
    scores = np.array([score for score, _, _ in was])
    back = joint.labelled(
        scores,
        [label for _, label, _ in was],
        reference,
        delays=[delay for _, _, delay in was],
    )
    return _without(total, back)


def _delay(row: Labelled, told_us: int) -> float:
    """Return the seconds until a label came; one that came before its prediction took none."""
    return max(told_us - row.at_us, 0) / 1e6


def _without(total: Joint, back: Joint) -> Joint:
    """Subtract, although counts of this part alone may fall below zero: the window's won't."""
    return Joint(
        total.edges,
        total.counts - back.counts,
        total.sums - back.sums,
        total.delays - back.delays,
    )
