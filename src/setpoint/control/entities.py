"""What the controller keeps: applied specs, training jobs, its lease."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from msgspec import Struct


class Applied(Struct, frozen=True, kw_only=True):
    """The spec in force for one model."""

    model: str
    hash: str  #: of the canonical spec
    content: Any  #: the canonical spec, decoded
    address: str  #: of the canonical spec in the object store
    training: str  #: hash of what makes a version: parts of the spec, and the code
    file: str  #: the setpoint file it was read from
    applied_at: datetime
    applied_by: str


class JobState(StrEnum):
    REQUESTED = "requested"
    REGISTERED = "registered"  #: made a version that passed its gate
    REFUSED = "refused"  #: made a version that its gate refused
    FAILED = "failed"  #: the user's code or the data failed


class Job(Struct, frozen=True, kw_only=True):
    """The intent to train a version, and what came of it."""

    id: str
    model: str
    why: str  #: in words: what asked for it
    cause: str | None = None  #: id of the alarm behind it
    training: str  #: hash of what makes a version, see `decide.Observed`
    spec: str  #: address of the spec in force
    state: JobState
    requested_at: datetime  #: also the instant up to which data counts as known
    finished_at: datetime | None = None
    attempts: int = 0
    version: int | None = None
    outcome: str | None = None  #: in words, when it ended


class State(StrEnum):
    """What `setpoint status` says of a model."""

    ON_TARGET = "on target"
    SETTLING = "settling"
    OFF_TARGET = "off target"
    HELD = "held"
