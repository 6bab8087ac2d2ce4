"""What gets older: finished segments of the prediction log become Parquet, old rows and runs go.

What is added up from it stays: windows of inputs and quality, and the evidence of releases.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy import Connection

from setpoint.control.entities import Applied
from setpoint.control.follow import Follower
from setpoint.control.inforce import spec_of
from setpoint.control.spec.entities import Spec
from setpoint.db.local import LocalBackend
from setpoint.events.store import record
from setpoint.runs.commands import Collect, Expire
from setpoint.runs.expiring import GRACE
from setpoint.runs.expiring import expire as expire_runs
from setpoint.runs.keeping import collect
from setpoint.runs.store import expiring
from setpoint.serve import store as serving
from setpoint.serve.entities import Place
from setpoint.serve.seal import Gone, expire, seal
from setpoint.serve.writers import settled

_BATCH = 10_000  #: rows deleted in one transaction
_RUNS = 500  #: freed in one transaction
_EVERY = timedelta(days=1)


def kept_for(spec: Spec) -> timedelta:
    """Return how long predictions, their labels and their log are kept."""
    keep, retention = spec.serve.log.keep, spec.privacy.retention
    return keep if retention is None else min(keep, retention)


class Keeper:
    """Seals and expires the log of one store. Doing it again, or after a kill, is harmless."""

    def __init__(
        self,
        home: LocalBackend,
        follower: Follower,
        *,
        may: Callable[[Connection], None] = lambda _: None,
    ) -> None:
        """Prepare to keep; `may` is asked in each transaction, and raises where one may not."""
        self._home = home
        self._may = may
        self._follower = follower
        self._sealed = Place()
        self._looked: dict[str, datetime] = {}
        self._oldest: dict[str, datetime] = {}
        self._runs_looked: datetime | None = None

    def seal(self) -> None:
        """Seal the segments before the one that was followed before this one.

        One segment is kept back: a power cut may take back the newest commits of SQLite,
        and what they had counted must still be there to be read again.
        """
        folder = self._home.settings.log
        place = settled(folder, self._follower.position).segments_before()
        if place != self._sealed:
            seal(folder, place)
            self._sealed = place

    def expire(self, applied: Applied) -> None:
        """Delete what is older than the spec keeps, once a day and model.

        That is `serve.log.keep`, or `privacy.retention` if that is shorter. Sealed files go
        by whole days, and rows of the index (with their labels) and labels that still wait
        for a prediction by their time. Each batch leaves an event with its counts.
        """
        model, now = applied.model, self._home.clock.now()
        looked = self._looked.get(model)
        if looked is not None and now < looked + _EVERY:
            return
        before = now - kept_for(spec_of(applied))
        gone = expire(self._home.settings.log, model, before.date())
        while self._some(model, before, gone):
            gone = Gone()
        self._looked[model] = now

    def runs(self) -> None:
        """Delete runs that their rule lets go, and free what such ones held, once a day.

        A run that went by rule can be restored for a month; then its bytes are freed. Both leave
        an event with their counts.
        """
        now = self._home.clock.now()
        if self._runs_looked is not None and now < self._runs_looked + _EVERY:
            return
        while self._expire_runs():
            pass
        with self._home.reading() as conn:
            gone = expiring.expired(conn, now - GRACE)
        for start in range(0, len(gone), _RUNS):
            with self._home.engine.begin() as conn:
                self._may(conn)
                some = gone[start : start + _RUNS]
                cmd = Collect(runs=some, older_than=GRACE.total_seconds())
                collect(self._home.context(conn), cmd)
        self._runs_looked = now

    def _expire_runs(self) -> bool:
        """Delete one batch; return whether there are more."""
        with self._home.reading() as conn:
            if not expiring.rules(conn):
                return False
        with self._home.engine.begin() as conn:
            self._may(conn)
            return expire_runs(self._home.context(conn), Expire()).more

    def _some(self, model: str, before: datetime, gone: Gone) -> bool:
        """Delete one batch and record it; return whether there may be more."""
        rows = 0
        with self._home.engine.begin() as conn:
            self._may(conn)
            if model not in self._oldest or self._oldest[model] < before:
                rows = serving.delete_before(conn, model, before, at_most=_BATCH)
            if rows or gone.files:
                record(
                    self._home.context(conn),
                    "log.expired",
                    f"model:{model}",
                    before=before,
                    rows=rows,
                    files=gone.files,
                    bytes=gone.bytes,
                )
            elif model not in self._oldest or self._oldest[model] < before:
                self._oldest[model] = serving.oldest(conn, model) or before
        return rows > 0
