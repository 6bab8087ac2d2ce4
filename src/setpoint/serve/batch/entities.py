"""What a batch is: decided at its beginning, and the same when it goes on after a kill."""

from datetime import datetime
from math import ceil

from msgspec import Struct

FORMAT = 1


class File(Struct, frozen=True):
    """A file of the input, and what tells whether it changed."""

    path: str
    size: int  #: bytes
    changed: int  #: when it was last written, in nanoseconds since 1970


class Source(Struct, frozen=True, kw_only=True):
    """Where the rows are."""

    said: str  #: as it was typed
    kind: str  #: ``parquet`` or ``csv``
    files: list[File]  #: their rows one after the other
    dataset: str = ""  #: name of the dataset, if it is one
    number: int = 0  #: its version


class Asked(Struct, frozen=True, kw_only=True):
    """What was asked for. A batch goes on only for who asks for the same."""

    model: str  #: as it was typed: ``churn``, ``churn@live``, ``churn:3``
    source: Source
    id: str | None = None  #: the column that identifies a row, which the output has
    prediction_id: str | None = None  #: the column with ids to log predictions by; None: made
    keep: bool = False  #: whether the output has all columns of the input
    log: bool = True  #: whether predictions are logged
    chunk: int | None = None  #: rows scored at once; None: as many as fit
    features: str = ""  #: folder of the project whose functions make the inputs; empty: none


class Plan(Struct, frozen=True, kw_only=True):
    """A batch that was begun."""

    format: int = FORMAT
    id: str  #: ``bat_…``; prediction ids begin with it
    asked: Asked
    model: str
    version: int  #: scores every row, whatever is released meanwhile
    rows: int
    chunk: int  #: rows scored, written and logged at once
    begun_at: datetime

    @property
    def chunks(self) -> int:
        """How many there are; one of no rows where there are none."""
        return max(1, ceil(self.rows / self.chunk))

    def size(self, number: int) -> int:
        """Return how many rows a chunk has."""
        return min(self.chunk, self.rows - number * self.chunk)


class Scored(Struct, frozen=True, kw_only=True):
    """A batch that is done."""

    id: str
    model: str
    version: int
    rows: int
    output: str
    logged: bool
    rows_now: int  #: scored by this call; the others were before
    seconds: float  #: that this call took
