"""From the outbox to the receivers: kill it anywhere, and the next one goes on.

An event is put into the outbox in the transaction that records it, taken out in the one
that promises its deliveries, and a delivery is tried until it ends. So each is sent at
least once; a receiver that must not see one twice looks at its id.
"""

import logging
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime, timedelta

import msgspec
import numpy as np

from setpoint.core.ids import new_id
from setpoint.db.local import LocalBackend
from setpoint.errors import Invalid, SetpointError
from setpoint.events import store as events
from setpoint.events.entities import Event
from setpoint.notify import rules, store
from setpoint.notify.entities import Attempt, Channel, Delivery, Outcome, State
from setpoint.notify.formats import FORMATS, Format
from setpoint.notify.send import send

_LOOK_SECONDS = 0.5
_BATCH = 500  #: events taken in one transaction
_CLAIM = timedelta(minutes=3)  #: longer than any attempt takes
_AT_ONCE = 8  #: channels served at the same time
KEEP = timedelta(days=30)  #: deliveries that ended are looked up for so long
_TIDY = timedelta(hours=1)

_log = logging.getLogger(__name__)


class Deliverer:
    """Tells channels of events. Several may run on one store."""

    def __init__(
        self,
        backend: LocalBackend,
        formats: Mapping[str, Format] = FORMATS,
        *,
        seed: int | None = None,
    ) -> None:
        self._backend = backend
        self._formats = formats
        self._rng = np.random.default_rng(seed)
        self._flying: dict[str, Future[int]] = {}
        self._tidied = backend.clock.now()
        self._stopping = threading.Event()

    def run(self, stopping: threading.Event) -> None:
        """Deliver until `stopping` is set; trouble with the store is logged and tried again."""
        self._stopping = stopping
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="deliver") as pool:
            while not stopping.wait(_LOOK_SECONDS):
                try:
                    while self.promise() == _BATCH and not stopping.is_set():
                        pass
                    self._fly(pool)
                    self._tidy()
                except SetpointError as error:
                    _log.warning("deliveries wait", extra={"why": error.message})

    def once(self) -> int:
        """Promise all there is to tell and try every delivery that is due; return the tries."""
        while self.promise() == _BATCH:
            pass
        now = self._backend.clock.now()
        with self._backend.reading() as conn:
            due = store.due(conn, now)
        return sum(self._drain(channel) for channel in due)

    def promise(self) -> int:
        """Take events out of the outbox and promise their deliveries; return how many."""
        with self._backend.reading() as conn:
            if not events.waiting(conn):
                return 0
        with self._backend.engine.begin() as conn:
            taken = events.take(conn, limit=_BATCH)
            now = self._backend.clock.now()
            channels = [each for each in store.ls(conn) if each.enabled]
            for event in taken:
                for channel in channels:
                    form = self._formats.get(channel.kind)
                    if form is None or event.seq <= channel.since:
                        continue
                    body = form.body(conn, channel, event)
                    if body is not None:
                        store.promise(conn, _delivery(channel, event, body, now))
        return len(taken)

    def _fly(self, pool: ThreadPoolExecutor) -> None:
        """Begin to serve the channels that something is due to and that nobody serves yet."""
        for channel, flight in list(self._flying.items()):
            if flight.done():
                del self._flying[channel]
                if flight.exception() is not None:
                    _log.error("a delivery failed", exc_info=flight.exception())
        with self._backend.reading() as conn:
            due = store.due(conn, self._backend.clock.now())
        for channel in due:
            if channel not in self._flying and len(self._flying) < _AT_ONCE:
                self._flying[channel] = pool.submit(self._drain, channel)

    def _drain(self, channel: str) -> int:
        """Try what is due to a channel, in order, until nothing is or one fails."""
        tries = 0
        while not self._stopping.is_set():
            now = self._backend.clock.now()
            with self._backend.engine.begin() as conn:
                delivery = store.claim(conn, channel, now, until=now + _CLAIM)
                if delivery is None:
                    return tries
                place, secret = store.get(conn, channel), store.secret(conn, channel)
            tries += 1
            if not self._attempt(place, secret, delivery):
                return tries
        return tries

    def _attempt(self, channel: Channel, secret: str, delivery: Delivery) -> bool:
        """Try one delivery and write down what came of it; return whether it arrived."""
        began, start = self._backend.clock.now(), time.perf_counter()
        outcome = send(channel, secret, self._format(channel).message(delivery, secret, began))
        seconds = time.perf_counter() - start
        now, number = self._backend.clock.now(), delivery.attempts + 1
        later = rules.next_attempt(number, outcome, now, self._rng) if outcome.error else None
        ended = State.FAILED if outcome.error else State.DELIVERED
        with self._backend.engine.begin() as conn:
            still = store.settle(
                conn,
                delivery.id,
                state=ended if later is None else State.WAITING,
                attempts=number,
                next_at=later or now,
                ended_at=now if later is None else None,
            )
            if still:  # else the channel was removed meanwhile
                store.note(conn, attempt_of(delivery.id, number, outcome, at=began, took=seconds))
        return not outcome.error

    def _format(self, channel: Channel) -> Format:
        try:
            return self._formats[channel.kind]
        except KeyError:
            raise _unknown(channel.kind) from None

    def _tidy(self) -> None:
        now = self._backend.clock.now()
        if now >= self._tidied + _TIDY:
            with self._backend.engine.begin() as conn:
                store.forget(conn, now, KEEP)
            self._tidied = now


def trial(
    backend: LocalBackend,
    channel: str,
    *,
    formats: Mapping[str, Format] = FORMATS,
    body: str | None = None,
) -> Outcome:
    """Send one message to a channel now, outside any transaction, and log it.

    Args:
        backend: The store.
        channel: Id of the channel, or name.
        formats: Of the kinds of channels.
        body: What to send; None: an event ``channel.tried``.
    """
    began, start = backend.clock.now(), time.perf_counter()
    with backend.reading() as conn:
        place = store.get(conn, channel)
        secret = store.secret(conn, place.id)
        form = formats.get(place.kind)
        if form is None:
            raise _unknown(place.kind)
        event = Event(
            seq=0,
            at=began,
            actor=backend.settings.actor,
            kind="channel.tried",
            subject=f"channel:{place.id}",
            detail={"name": place.name},
        )
        asked = msgspec.structs.replace(place, events=["*"])
        text = body if body is not None else form.body(conn, asked, event)
    delivery = _delivery(place, event, text or "", began)
    outcome = send(place, secret, form.message(delivery, secret, began))
    took = time.perf_counter() - start
    ended = State.FAILED if outcome.error else State.DELIVERED
    with backend.engine.begin() as conn:
        store.promise(
            conn,
            msgspec.structs.replace(
                delivery, state=ended, attempts=1, ended_at=backend.clock.now()
            ),
        )
        store.note(conn, attempt_of(delivery.id, 1, outcome, at=began, took=took))
    return outcome


def attempt_of(
    delivery: str, number: int, outcome: Outcome, *, at: datetime, took: float
) -> Attempt:
    """Return the line of the log about one attempt."""
    return Attempt(
        delivery=delivery,
        number=number,
        at=at,
        seconds=took,
        status=outcome.status,
        error=outcome.error,
        answer=outcome.answer,
    )


def _unknown(kind: str) -> Invalid:
    return Invalid(
        f"channels of kind {kind!r} are not told from here",
        hint="use the client that made it, and setpoint up",
    )


def _delivery(channel: Channel, event: Event, body: str, now: datetime) -> Delivery:
    return Delivery(
        id=new_id("dlv", now),
        channel=channel.id,
        seq=event.seq,
        kind=event.kind,
        subject=event.subject,
        body=body,
        state=State.WAITING,
        created_at=now,
        next_at=now,
    )
