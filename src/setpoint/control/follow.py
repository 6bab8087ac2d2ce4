"""Follows the prediction log into the database: once, whatever is killed when.

One transaction indexes predictions, joins labels, adds to windows and to the evidence of
releases, and moves the position up to which the log was read. Either all of it is done or
none, so reading a piece of the log again counts nothing twice.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from itertools import chain
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray
from sqlalchemy import Connection

from setpoint.artifacts.store import open_store
from setpoint.control import store
from setpoint.control.evidence import Seen, asked_for, evidence
from setpoint.control.inforce import spec_of
from setpoint.control.policies import errors_window
from setpoint.control.spec.entities import Spec
from setpoint.core.clock import from_micros
from setpoint.core.operations import Context
from setpoint.db.local import LocalBackend
from setpoint.errors import Conflict, NotFound
from setpoint.models import store as models
from setpoint.monitor import store as monitor
from setpoint.monitor.drift import aligned
from setpoint.monitor.entities import Attempts, WindowKey
from setpoint.profiles import joint
from setpoint.profiles.joint import Joint
from setpoint.profiles.profile import Profile, profile
from setpoint.profiles.reference import Reference, decode_reference
from setpoint.releases import service as releases
from setpoint.releases import store as release_store
from setpoint.releases.entities import State
from setpoint.serve import store as serving
from setpoint.serve import writers
from setpoint.serve.entities import (
    Labelled,
    LabelRecord,
    Place,
    PredictionRecord,
    Record,
    Role,
    ShadowRecord,
)
from setpoint.serve.rules import ROLES, index_rows

CURSOR = "prediction log"
_BATCH = 2_000  #: records in one transaction: bounded memory, short locks
_ROWS = 20_000  #: rows in one transaction, and those of one record more
_MOST_ROWS = 1_000_000  #: brought in by one call: what came by the million leaves time for the rest
_FALLBACK = 2


class Followed(Struct, frozen=True, kw_only=True):
    """What one call brought in."""

    records: int
    predictions: int
    labels: int


class Follower:
    """Reads the log of one store. Use it from one place at a time (the controller)."""

    def __init__(
        self, home: LocalBackend, *, may: Callable[[Connection], None] = lambda _: None
    ) -> None:
        """Prepare to follow; `may` is asked in each transaction, and raises where one may not."""
        self._home = home
        self._may = may
        self._after: Place | None = None
        self._one_writer = True  #: so labels come in the order in which they were told
        self._references: dict[tuple[str, int], Reference | None] = {}
        self._full = False  # whether the last transaction left something for the next one

    def follow(self) -> Followed:
        """Bring in what the log has, up to a million rows; return how much it was."""
        total = Followed(records=0, predictions=0, labels=0)
        while True:
            some = self._batch()
            total = Followed(
                records=total.records + some.records,
                predictions=total.predictions + some.predictions,
                labels=total.labels + some.labels,
            )
            if not self._full or total.predictions >= _MOST_ROWS:
                return total

    @property
    def position(self) -> Place:
        """Up to where the log is in the database."""
        return self._position()

    def reference(self, conn: Connection, model: str, version: int) -> Reference | None:
        """Return what the windows of a version are compared with, if it was recorded.

        A version that is not registered (the log is older than the database) has none.
        """
        key = (model, version)
        if key not in self._references:
            try:
                address = models.get(conn, model, version).reference
            except NotFound:
                return None
            data = open_store(self._home.settings).get(address) if address else None
            self._references[key] = decode_reference(data) if data else None
        return self._references[key]

    def _batch(self) -> Followed:
        after = self._position()
        log = self._home.settings.log
        read, self._full = writers.some(log, after, records=_BATCH, rows=_ROWS)
        if not read:
            return Followed(records=0, predictions=0, labels=0)
        place = writers.moved(after, {writer: position for writer, position, _ in read})
        self._one_writer = not place.writers
        predictions = labels = 0
        with self._home.engine.begin() as conn:
            self._may(conn)
            if _position(store.cursor(conn, CURSOR, lock=True)) != after:
                self._after = None
                raise Conflict(
                    "another controller has read the prediction log meanwhile",
                    hint="keep one controller to a store; this one goes on where that one is",
                )
            ctx = self._home.context(conn)
            for model, records in _by_model(record for _, _, record in read).items():
                seen = self._model(ctx, model, records)
                predictions, labels = predictions + seen.rows, labels + len(seen.labelled)
            store.move_cursor(conn, CURSOR, place)
        self._after = place
        return Followed(records=len(read), predictions=predictions, labels=labels)

    def _position(self) -> Place:
        """Return up to where the log was read; asked for once, as only we move it."""
        if self._after is None:
            with self._home.reading() as conn:
                self._after = _position(store.cursor(conn, CURSOR))
        return self._after

    def _model(self, ctx: Context, model: str, records: Sequence[Record]) -> Seen:
        conn = ctx.conn
        answered = [r for r in records if isinstance(r, PredictionRecord)]
        shadows = [r for r in records if isinstance(r, ShadowRecord)]
        rows = [row for record in answered for row in index_rows(record)]
        new = set(serving.insert_predictions(conn, rows))
        seen = Seen(
            predictions=answered if len(new) == len(rows) else _first(answered, new),
            shadows=_paired(conn, model, shadows),
            labelled=self._labels(conn, model, records, new),
            rows=len(new),
        )
        spec = self._spec(conn, model)
        if spec is not None:
            self._windows(conn, spec, seen)
            self._release(ctx, spec, asked_for(seen))
        return seen

    def _labels(
        self, conn: Connection, model: str, records: Sequence[Record], new: set[str]
    ) -> list[Labelled]:
        found = serving.join_waiting(conn, model, list(new)) if new else []
        for record in records:
            if isinstance(record, LabelRecord):
                at = from_micros(record.at_us)
                found += serving.label_predictions(
                    conn, model, record.ids, record.labels, at, ordered=self._one_writer
                )
        return found

    def _windows(self, conn: Connection, spec: Spec, seen: Seen) -> None:
        """Add to the windows of inputs and scores, and to those of scores and labels.

        Rows that a baseline answered are in none: they say nothing about the version.
        """
        model = spec.model
        seconds = int(spec.watch.window.total_seconds())
        profiles: list[tuple[WindowKey, Profile]] = []
        joints: list[tuple[WindowKey, Joint]] = []
        groups: dict[WindowKey, list[PredictionRecord]] = defaultdict(list)
        for record in seen.predictions:
            if record.scores and record.roles[0] != _FALLBACK:
                start = aligned(from_micros(record.at_us), seconds)
                role = ROLES[record.roles[0]].value
                groups[WindowKey(model, record.versions[0], role, start, seconds)].append(record)
        for key, records in groups.items():
            reference = self.reference(conn, model, key.version)
            if reference is not None:
                columns, scores = _together(records)
                profiles.append((key, profile(columns, reference, scores=scores)))
                if reference.score_cuts is not None:
                    joints.append((key, joint.predicted(scores, reference)))
        joints += self._labelled(conn, model, seen.labelled, seconds)
        monitor.add_profiles(conn, profiles)
        monitor.add_quality(conn, joints)
        if spec.guardrails.errors is not None:
            asked = asked_for(seen).predictions
            monitor.add_attempts(conn, _attempts(model, asked, errors_window(spec)))

    def _labelled(
        self, conn: Connection, model: str, rows: Sequence[Labelled], seconds: int
    ) -> list[tuple[WindowKey, Joint]]:
        """Return the label histograms, by the windows of the predictions."""
        groups: dict[tuple[int, Role, int], list[Labelled]] = defaultdict(list)
        for row in rows:
            if row.role is not Role.FALLBACK:
                window = row.at_us - row.at_us % (seconds * 1_000_000)
                groups[row.version, row.role, window].append(row)
        found = []
        for (version, role, start), some in groups.items():
            reference = self.reference(conn, model, version)
            if reference is not None and reference.score_cuts is not None:
                key = WindowKey(model, version, role, from_micros(start), seconds)
                found.append((key, _joint(some, reference)))
        return found

    def _release(self, ctx: Context, spec: Spec, seen: Seen) -> None:
        if not (seen.predictions or seen.shadows or seen.labelled):
            return  # all of it was counted before
        release = release_store.current(ctx.conn, spec.model)
        if release is None or release.state is not State.RUNNING:
            return
        bound = spec.guardrails.latency_p99
        more = evidence(
            seen,
            candidate=release.version,
            live=release.from_version or 0,
            slow_micros=int(bound.at_most.total_seconds() * 1e6) if bound else None,
            task=spec.task,
            block=release.policy.block,
            objective_block=release.policy.objective_block if release.policy.objective else None,
        )
        releases.absorb(ctx, release.id, more)

    def _spec(self, conn: Connection, model: str) -> Spec | None:
        applied = store.applied(conn, model)
        return None if applied is None else spec_of(applied)


def _by_model(records: Iterable[Record]) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        found[record.model].append(record)
    return found


def _position(found: Any) -> Place:
    return msgspec.convert(found, Place) if found else Place()


def _first(records: Sequence[PredictionRecord], new: set[str]) -> list[PredictionRecord]:
    """Return the records with only their `new` rows, each row the first time it comes."""
    left = set(new)
    found = []
    for record in records:
        if not record.scores:
            found.append(record)  # nobody answered: a failure, and no row
            continue
        keep = []
        for i, name in enumerate(record.ids):
            if name in left:
                left.remove(name)
                keep.append(i)
        if len(keep) == len(record.ids):
            found.append(record)
        elif keep:
            found.append(_only(record, keep))
    return found


def _only(record: PredictionRecord, keep: list[int]) -> PredictionRecord:
    matrix = np.frombuffer(record.values).reshape(len(record.ids), -1)
    return replace(
        record,
        ids=[record.ids[i] for i in keep],
        versions=[record.versions[i] for i in keep],
        roles=bytes(record.roles[i] for i in keep),
        values=matrix[keep].tobytes(),
        texts={name: [texts[i] for i in keep] for name, texts in record.texts.items()},
        scores=np.frombuffer(record.scores)[keep].tobytes(),
    )


def _paired(conn: Connection, model: str, shadows: Sequence[ShadowRecord]) -> list[ShadowRecord]:
    """Write down the other arm's scores; return the records that say something new.

    A record may come long after the prediction it is about, so whether it was counted is
    told by what is written down, not by whether the prediction is new.
    """
    ids: dict[int, list[str]] = defaultdict(list)
    scores: dict[int, list[float | None]] = defaultdict(list)
    for record in shadows:
        version, count = record.versions[0], len(record.ids)
        said = np.frombuffer(record.scores).tolist() if record.scores else [None] * count
        ids[version] += record.ids
        scores[version] += said
    new = {v: serving.pair_predictions(conn, model, v, ids[v], scores[v]) for v in ids}
    found = []
    for record in shadows:
        left = new[record.versions[0]]
        if not left.isdisjoint(record.ids):
            left.difference_update(record.ids)
            found.append(record)
    return found


def _attempts(model: str, records: Sequence[PredictionRecord], seconds: int) -> list[Attempts]:
    """Return how many requests each version had and failed, by window.

    Where another version stood in for one that failed, each had the request.
    """
    counts: dict[tuple[int, datetime], list[int]] = defaultdict(lambda: [0, 0])
    for record in records:
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


def _joint(rows: Sequence[Labelled], reference: Reference) -> Joint:
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
    counts, sums = total.counts - back.counts, total.sums - back.sums
    return Joint(total.edges, counts, sums, total.delays - back.delays)
