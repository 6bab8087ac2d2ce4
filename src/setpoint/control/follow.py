"""Follows the prediction log into the database: once, whatever is killed when.

One transaction indexes predictions, joins labels, adds to windows and to the evidence of
releases, and moves the position up to which the log was read. Either all of it is done or
none, so reading a piece of the log again counts nothing twice.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct
from sqlalchemy import Connection

from setpoint.artifacts.store import open_store
from setpoint.control import store
from setpoint.control.evidence import Seen, asked_for, evidence, of_release
from setpoint.control.inforce import spec_of
from setpoint.control.policies import errors_window
from setpoint.control.spec.entities import Spec
from setpoint.control.windows import attempts, in_sample, joint_of, profile_of, traffic
from setpoint.core.clock import from_micros
from setpoint.core.operations import Context
from setpoint.db.local import LocalBackend
from setpoint.errors import Conflict, NotFound
from setpoint.models import store as models
from setpoint.monitor import store as monitor
from setpoint.monitor.drift import aligned
from setpoint.monitor.entities import WindowKey
from setpoint.profiles import joint
from setpoint.profiles.joint import Joint
from setpoint.profiles.profile import Profile
from setpoint.profiles.reference import Reference, decode_reference
from setpoint.releases import service as releases
from setpoint.releases import store as release_store
from setpoint.releases.entities import Release, State
from setpoint.serve import store as serving
from setpoint.serve import writers
from setpoint.serve.entities import (
    CountRecord,
    Labelled,
    LabelRecord,
    Place,
    PredictionRecord,
    Record,
    Role,
    ShadowRecord,
)
from setpoint.serve.rules import ROLES, index_rows, only
from setpoint.serve.sampling import is_sampled

CURSOR = "prediction log"
_BATCH = 2_000  #: records in one transaction: bounded memory, short locks
_ROWS = 20_000  #: rows in one transaction, and those of one record more
_MOST_ROWS = 1_000_000  #: brought in by one call: what came by the million leaves time for the rest
_NO_EVIDENCE = (Role.FALLBACK, Role.TEST, Role.NAMED)  #: of how a version does

Told = PredictionRecord | ShadowRecord | CountRecord


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
        told = [record for record in records if not isinstance(record, LabelRecord)]
        rows = [row for r in told if isinstance(r, PredictionRecord) for row in index_rows(r)]
        new = set(serving.insert_predictions(conn, rows))
        told = _paired(conn, model, told if len(new) == len(rows) else _first(told, new))
        seen = Seen(
            records=told,
            labelled=self._labels(conn, model, records, new),
            rows=len(new) + sum(map(_uncounted, told)),
        )
        release = release_store.current(conn, model)
        monitor.add_traffic(conn, model, traffic(seen))
        spec = self._spec(conn, model)
        if spec is not None:
            self._windows(conn, spec, seen)
            self._release(ctx, spec, release, of_release(asked_for(seen)))
        return seen

    def _labels(
        self, conn: Connection, model: str, records: Sequence[Record], new: set[str]
    ) -> list[Labelled]:
        found = serving.join_waiting(conn, model, list(new)) if new else []
        for record in records:
            if isinstance(record, LabelRecord):
                at = from_micros(record.at_us)
                some = serving.label_predictions(
                    conn,
                    model,
                    record.ids,
                    record.labels,
                    at,
                    ordered=self._one_writer,
                    sample=record.sample,
                )
                found += some if record.sample >= 1 else [r for r in some if _uniform(r, record)]
        return found

    def _windows(self, conn: Connection, spec: Spec, seen: Seen) -> None:
        """Add to the windows of inputs and scores, and to those of scores and labels.

        Rows that a baseline answered are in none: they say nothing about the version, nor do
        those of testers, or of versions that somebody named, about its traffic. Nor are rows that
        are logged only because a version failed: those of the sample stand for them.
        """
        model = spec.model
        seconds = int(spec.watch.window.total_seconds())
        profiles: list[tuple[WindowKey, Profile]] = []
        joints: list[tuple[WindowKey, Joint]] = []
        groups: dict[WindowKey, list[PredictionRecord]] = defaultdict(list)
        for record in map(in_sample, seen.predictions):
            if record.scores and ROLES[record.roles[0]] not in _NO_EVIDENCE:
                start = aligned(from_micros(record.at_us), seconds)
                role = ROLES[record.roles[0]].value
                groups[WindowKey(model, record.versions[0], role, start, seconds)].append(record)
        for key, records in groups.items():
            reference = self.reference(conn, model, key.version)
            if reference is not None:
                profiles.append((key, profile_of(records, reference)))
                if reference.score_cuts is not None:
                    scores = np.concatenate([np.frombuffer(one.scores) for one in records])
                    joints.append((key, joint.predicted(scores, reference)))
        joints += self._labelled(conn, model, seen.labelled, seconds)
        monitor.add_profiles(conn, profiles)
        monitor.add_quality(conn, joints)
        if spec.guardrails.errors is not None:
            asked = asked_for(seen)
            monitor.add_attempts(conn, attempts(model, asked, errors_window(spec)))

    def _labelled(
        self, conn: Connection, model: str, rows: Sequence[Labelled], seconds: int
    ) -> list[tuple[WindowKey, Joint]]:
        """Return the label histograms, by the windows of the predictions."""
        groups: dict[tuple[int, Role, int], list[Labelled]] = defaultdict(list)
        for row in rows:
            if row.role not in _NO_EVIDENCE:
                window = row.at_us - row.at_us % (seconds * 1_000_000)
                groups[row.version, row.role, window].append(row)
        found = []
        for (version, role, start), some in groups.items():
            reference = self.reference(conn, model, version)
            if reference is not None and reference.score_cuts is not None:
                key = WindowKey(model, version, role, from_micros(start), seconds)
                found.append((key, joint_of(some, reference)))
        return found

    def _release(self, ctx: Context, spec: Spec, release: Release | None, seen: Seen) -> None:
        if not (seen.records or seen.labelled):
            return  # all of it was counted before
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


def _uncounted(record: Told) -> int:
    """Return how many rows a record tells of that the index does not have."""
    if isinstance(record, CountRecord):
        return record.rows
    return record.unlogged if isinstance(record, PredictionRecord) else 0


def _uniform(row: Labelled, label: LabelRecord) -> bool:
    """Tell whether a labelled row is in the sample, not logged because a canary failed on it.

    Of such a row no other arm has said anything, as its version stood in for the other. Of the
    rows of a test none ever does.
    """
    stood_in = row.role in (Role.CANARY, Role.ARM) and row.other_version is None
    return not stood_in or is_sampled(row.id, label.sample)


def _first(records: Sequence[Told], new: set[str]) -> list[Told]:
    """Return the records with only their `new` predictions, each row the first time it comes."""
    left = set(new)
    found: list[Told] = []
    for record in records:
        if not isinstance(record, PredictionRecord) or not record.scores:
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
            found.append(only(record, keep))
    return found


def _paired(conn: Connection, model: str, records: Sequence[Told]) -> list[Told]:
    """Write down the other arm's scores; return the records without those that say nothing new.

    A record may come long after the prediction it is about, so whether it was counted is
    told by what is written down, not by whether the prediction is new.
    """
    ids: dict[int, list[str]] = defaultdict(list)
    scores: dict[int, list[float | None]] = defaultdict(list)
    for record in records:
        if isinstance(record, ShadowRecord):
            version, count = record.versions[0], len(record.ids)
            said = np.frombuffer(record.scores).tolist() if record.scores else [None] * count
            ids[version] += record.ids
            scores[version] += said
    new = {v: serving.pair_predictions(conn, model, v, ids[v], scores[v]) for v in ids}
    found = []
    for record in records:
        if isinstance(record, ShadowRecord):
            left = new[record.versions[0]]
            if left.isdisjoint(record.ids):
                continue
            left.difference_update(record.ids)
        found.append(record)
    return found
