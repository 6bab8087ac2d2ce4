"""Delivering the logs of one run: each batch once, in order, as often as it takes."""

import logging
from contextlib import ExitStack
from typing import Self

from msgspec import Struct

from setpoint.errors import Conflict, Invalid, NotFound
from setpoint.sdk.batches import Batch, LogReader
from setpoint.sdk.destination import Destination, deliver
from setpoint.sdk.folders import Mark, Marks, RunFolder
from setpoint.sdk.records import Begin, End, Record
from setpoint.sdk.spool import now

_TOLD = 5  #: refusals that are told one by one
_log = logging.getLogger("setpoint")


class Delivered(Struct, frozen=True, kw_only=True):
    """What one round of delivery did."""

    points: int = 0
    records: int = 0  #: other than points
    refused: int = 0  #: batches that the destination will never take

    def __add__(self, other: "Delivered") -> "Delivered":
        return Delivered(
            points=self.points + other.points,
            records=self.records + other.records,
            refused=self.refused + other.refused,
        )


class Courier:
    """Delivers the logs of all writers of a run, while it holds the right to."""

    def __init__(self, folder: RunFolder, run: str) -> None:
        self._folder = folder
        self._run = run
        self._right = ExitStack()
        self._marks: Marks | None = None
        self._refused = 0
        self._readers: dict[str, LogReader] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def deliver(self, to: Destination) -> Delivered | None:
        """Deliver what is there now; None while another process has the right to.

        Raises:
            SetpointError: If the destination is away or fails. The next call goes on at the
                same batch.
        """
        done = Delivered()
        if not self._allowed():
            return None
        for writer in self._folder.writers():
            done += self._deliver(writer, to)
        return done

    def finish(self, to: Destination) -> bool:
        """Remove the folder if all has been delivered; tell whether it is gone.

        A run of which no writer lives and none said that it ended was killed.
        """
        if not self._allowed() or any(map(self._folder.alive, self._folder.writers())):
            return False
        self.deliver(to)
        if self._marks is not None and self._marks.open:
            killed = Batch(end=Mark().done, series=[], record=End(at=now(), status="killed"))
            deliver(to, self._folder, self._run, "", killed)
        return self._folder.remove()

    def settled(self, writer: str) -> bool:
        """Tell whether all that a writer wrote has been delivered, by whomever."""
        marks = self._marks or self._folder.marks()
        log = self._folder.path / writer
        done = marks.writers.get(writer, Mark()).done
        return not log.exists() or next(LogReader(log, done).batches(), None) is None

    def close(self) -> None:
        """Let another process deliver."""
        self._right.close()
        self._marks = None
        self._readers.clear()

    def _allowed(self) -> bool:
        if self._marks is None and self._right.enter_context(self._folder.delivering()):
            self._marks = self._folder.marks()
        if self._marks is None:
            self._right.close()
        return self._marks is not None

    def _deliver(self, writer: str, to: Destination) -> Delivered:
        mark = self._mark(writer)
        reader = self._readers.get(writer) or LogReader(self._folder.path / writer, mark.done)
        self._readers[writer] = reader
        done = Delivered()
        try:
            for batch in reader.batches(mark.sent):
                self._set(writer, Mark(done=mark.done, sent=batch.end))
                done += self._hand_over(writer, batch, to)
                if batch.end.segment > mark.done.segment:
                    self._folder.trim(writer, batch.end.segment)
                mark = self._set(writer, Mark(done=batch.end), batch.record)
        except BaseException:
            del self._readers[writer]  # it has read on; the next goes back to the mark
            raise
        return done

    def _hand_over(self, writer: str, batch: Batch, to: Destination) -> Delivered:
        try:
            deliver(to, self._folder, self._run, writer, batch)
        except (Conflict, Invalid, NotFound) as error:  # it would be refused for ever
            self._refused += 1
            if self._refused <= _TOLD:
                _log.warning("setpoint: run %s: not recorded: %s", self._run, error)
            return Delivered(refused=1)
        return Delivered(points=batch.points, records=int(batch.record is not None))

    def _mark(self, writer: str) -> Mark:
        return self._marks.writers.get(writer, Mark()) if self._marks else Mark()

    def _set(self, writer: str, mark: Mark, record: Record | None = None) -> Mark:
        marks = self._marks or Marks()
        still = marks.open
        if isinstance(record, Begin):
            still = still or not record.joins
        elif isinstance(record, End):
            still = False
        self._marks = Marks(writers={**marks.writers, writer: mark}, open=still)
        self._folder.mark(self._marks)
        return mark
