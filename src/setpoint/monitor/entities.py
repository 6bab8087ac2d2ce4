"""What monitors keep: alarms, windows, and where each detector stands."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from msgspec import Struct


class AlarmState(StrEnum):
    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"  #: a person has seen it; it is still off target
    CLOSED = "closed"


class Alarm(Struct, frozen=True, kw_only=True):
    """A monitor's answer "off target", with its evidence. One is open per monitor."""

    id: str
    model: str
    version: int  #: that answered when it was opened
    monitor: str  #: ``drift``, ``quality``, ``quality_estimate``, ``data_quality`` or ``errors``
    state: AlarmState
    opened_at: datetime  #: UTC
    seen_at: datetime  #: when the monitor last said so
    times: int  #: how often it has said so since
    text: str  #: one sentence for people
    evidence: dict[str, Any]  #: what the newest verdict rests on
    attribution: list[tuple[str, float]]  #: columns and their share, largest first
    by: str = ""  #: who acknowledged or closed it
    reason: str = ""  #: why
    closed_at: datetime | None = None

    @property
    def ref(self) -> str:
        return f"alarm:{self.id}"


class Verdict(Struct, frozen=True, kw_only=True):
    """What a monitor said of one judged window."""

    version: int
    start: datetime
    end: datetime
    verdict: dict[str, Any]  #: as plain values: what it has depends on the monitor


class Traffic(Struct, frozen=True, kw_only=True):
    """Rows that one version answered in one day."""

    day: datetime
    version: int
    role: str
    rows: int  #: those of versions that somebody named by number: of the sample alone
    logged: int  #: of those, in the prediction log


class Attempts(Struct, frozen=True, kw_only=True):
    """Requests to one version in one window."""

    model: str
    version: int
    start: datetime  #: UTC, on the grid of its length
    seconds: int
    requests: int
    failed: int  #: not answered, or answered by another than should have


class WindowKey(Struct, frozen=True, order=True):
    """Which window a profile or joint histogram is of."""

    model: str
    version: int
    role: str  #: ``live``, ``canary`` or ``shadow``
    start: datetime  #: UTC, on the grid of its length
    seconds: int
