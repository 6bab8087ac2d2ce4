"""What of the traffic is written down: a sample of rows, without what is to be forgotten.

Whatever is not written down row by row is counted, second by second, so that errors and
latencies are judged on every request. A failure is always written down, after the counts of
what went well before it: failures in a row are told from failures far apart by their order.
"""

import asyncio
import logging
from collections.abc import Sequence

import numpy as np
from msgspec.structs import replace

from setpoint.errors import SetpointError
from setpoint.serve.entities import (
    CountRecord,
    EndpointSettings,
    LabelRecord,
    PredictionRecord,
    Role,
    ShadowRecord,
)
from setpoint.serve.log import Log
from setpoint.serve.metrics import Metrics
from setpoint.serve.rules import ROLES, only, only_shadow
from setpoint.serve.sampling import sampler

SECONDS = 1.0  #: after which counts are written down; a server that is killed loses them

#: Model, version, whether it scored after another's answer, and as what it answered.
_Key = tuple[str, int, bool, int]
_TEST = bytes((ROLES.index(Role.TEST),))
_log = logging.getLogger(__name__)


class Keeping:
    """What an endpoint's settings leave of its rows."""

    def __init__(self, settings: EndpointSettings, *, counted: bool = True) -> None:
        self.counted = counted  # of requests without a row in the sample
        self.share = settings.sample
        self.bound = int(settings.slow * 1e6) if settings.slow else 0
        self.sampled = sampler(settings.sample)
        self._redact = frozenset(settings.redact)

    def places(self, ids: Sequence[str]) -> Sequence[int]:
        """Return which rows are in the sample."""
        return range(len(ids)) if self.share >= 1 else self.sampled(ids)

    def kept(self, record: PredictionRecord) -> PredictionRecord | None:
        """Return what is written down of a record, if anything; of what failed, every row."""
        count = len(record.ids)
        places = range(count) if record.failed else self.places(record.ids)
        if not places:
            return None
        found = record if len(places) == count else only(record, list(places))
        unlogged = count - len(places) if self.counted else 0
        return self.redacted(replace(found, sample=self.share, unlogged=unlogged))

    def redacted(self, record: PredictionRecord) -> PredictionRecord:
        """Return a record without the values that are not to be kept."""
        numeric = [i for i, name in enumerate(record.columns) if name in self._redact]
        texts = [name for name in record.texts if name in self._redact]
        given = [n for n in (*record.given_numbers, *record.given_texts) if n in self._redact]
        if given:
            record = _without(record, given)
        if not numeric and not texts:
            return record
        count = len(record.ids)
        values = np.frombuffer(record.values).reshape(count, -1).copy()
        values[:, numeric] = np.nan
        return replace(
            record,
            values=values.tobytes(),
            texts=record.texts | {name: [None] * count for name in texts},
            redacted=(*record.redacted, *(record.columns[i] for i in numeric), *texts),
        )


def _without(record: PredictionRecord, given: Sequence[str]) -> PredictionRecord:
    """Return a record without some of what the model gave."""
    return replace(
        record,
        given_numbers={n: each for n, each in record.given_numbers.items() if n not in given},
        given_texts={n: each for n, each in record.given_texts.items() if n not in given},
        redacted=(*record.redacted, *given),
    )


def keeping(settings: EndpointSettings, *, counted: bool = True) -> Keeping | None:
    """Return what is left of an endpoint's rows; None: all of everything.

    What is not `counted` says nothing of how a version fares: nobody is told of it.
    """
    return Keeping(settings, counted=counted) if settings.sample < 1 or settings.redact else None


class Keeper:
    """Writes down what endpoints keep, and counts the rest. Used by one event loop alone."""

    def __init__(self, log: Log, metrics: Metrics) -> None:
        self._to = log
        self._metrics = metrics
        self._counts: dict[_Key, CountRecord] = {}
        self._second = 0
        self._timer: asyncio.TimerHandle | None = None

    def answered(self, kept: Keeping | None, record: PredictionRecord) -> None:
        """Keep what is to be kept of an answered or failed request.

        Raises:
            Unavailable: If the disk is full or failing.
        """
        if kept is None:
            self._to.append(record)
            return
        if record.roles[:1] == _TEST:  # there are few, and each was made to be looked at
            self._to.append(kept.redacted(record))
            return
        count, found = len(record.ids), kept.kept(record)
        if record.failed:
            self.flush()
        self._metrics.unlogged(record.model, count - (len(found.ids) if found else 0))
        if found is not None:
            self._to.append(found)
        elif kept.counted:
            self._count(kept, record, rows=count)

    def shadowed(self, kept: Keeping | None, record: ShadowRecord) -> None:
        """Keep what is to be kept of the other arm's scores: those of rows that are logged.

        Raises:
            Unavailable: If the disk is full or failing.
        """
        if kept is None:
            self._to.append(record)
            return
        places = kept.places(record.ids)
        if record.status:
            self.flush()
        if places:
            every = len(places) == len(record.ids)
            self._to.append(record if every else only_shadow(record, list(places)))
            return
        self._count(kept, record, failed=record.status != 0, shadow=True)
        if record.status:
            self.flush()

    def labelled(self, kept: Keeping | None, record: LabelRecord) -> None:
        """Keep labels, those of unsampled rows too: they may be of a time that logged more.

        Raises:
            Unavailable: If the disk is full or failing.
            Conflict: If there is no log.
        """
        if kept is not None and kept.share < 1:
            missed = len(record.ids) - len(kept.places(record.ids))
            self._metrics.unsampled_label(record.model, missed)
            record = replace(record, sample=kept.share)
        self._to.append(record)

    def flush(self) -> None:
        """Write down what was counted.

        Raises:
            Unavailable: If the disk is full or failing; what is left is tried again.
        """
        while self._counts:
            key, record = next(iter(self._counts.items()))
            self._to.append(record)
            del self._counts[key]

    def close(self) -> None:
        """Write down what was counted, for the last time."""
        if self._timer is not None:
            self._timer.cancel()
        try:
            self.flush()
        except SetpointError as error:
            _log.warning("counts not logged", extra={"problem": str(error)})

    def _count(
        self,
        kept: Keeping,
        record: PredictionRecord | ShadowRecord,
        *,
        rows: int = 0,
        failed: bool = False,
        shadow: bool = False,
    ) -> None:
        second = record.at_us // 1_000_000
        if second != self._second:
            self.flush()
            self._second = second
        role = record.roles[0] if isinstance(record, PredictionRecord) else 0
        key = record.model, record.versions[0], shadow, role
        before = self._counts.get(key)
        if before is not None and before.bound != kept.bound:
            self.flush()
            before = None
        if before is None:
            before = CountRecord(
                at_us=record.at_us,
                model=key[0],
                version=key[1],
                shadow=shadow,
                role=role,
                bound=kept.bound,
            )
            self._arm()
        self._counts[key] = replace(
            before,
            requests=before.requests + 1,
            rows=before.rows + rows,
            failed=before.failed + failed,
            slow=before.slow + bool(kept.bound and record.micros > kept.bound),
        )

    def _arm(self) -> None:
        """Have counts written down soon, also where no other request comes."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(SECONDS, self._flush_late)

    def _flush_late(self) -> None:
        self._timer = None
        try:
            self.flush()
        except SetpointError as error:  # the disk is full: requests are refused meanwhile
            _log.warning("counts not logged", extra={"problem": str(error)})
            self._arm()
