"""What alarms say and how they move, as pure functions."""

from datetime import datetime

from msgspec.structs import replace

from setpoint.errors import Conflict
from setpoint.monitor.data_quality import DataQualityVerdict
from setpoint.monitor.drift import DriftVerdict
from setpoint.monitor.entities import Alarm, AlarmState
from setpoint.monitor.errors import ErrorVerdict
from setpoint.monitor.quality import QualityVerdict

DRIFT, QUALITY, QUALITY_ESTIMATE, DATA_QUALITY, ERRORS = MONITORS = (
    "drift",
    "quality",
    "quality_estimate",
    "data_quality",
    "errors",
)


def acknowledge(alarm: Alarm, *, by: str, reason: str) -> Alarm:
    """Return `alarm` as seen by a person; it stays off target.

    Raises:
        Conflict: If it is closed.
    """
    if alarm.state is AlarmState.CLOSED:
        raise Conflict(
            f"{alarm.ref} is closed since {alarm.closed_at:%Y-%m-%d %H:%M} UTC",
            hint="there is nothing left to acknowledge",
        )
    return replace(alarm, state=AlarmState.ACKNOWLEDGED, by=by, reason=reason)


def close(alarm: Alarm, *, by: str, reason: str, now: datetime) -> Alarm:
    """Return `alarm` closed; closing it again changes nothing."""
    if alarm.state is AlarmState.CLOSED:
        return alarm
    return replace(alarm, state=AlarmState.CLOSED, by=by, reason=reason, closed_at=now)


def describe_drift(verdict: DriftVerdict) -> str:
    """Say in one sentence what drifted and how far."""
    parts = []
    for column in verdict.columns[:3]:
        if column.share < 0.05:
            break
        usual = "" if column.usual is None else f", usually {column.usual:.2f}"
        parts.append(f"{column.column} ({column.share:.0%}; effect {column.effect:.2f}{usual})")
    return f"inputs are not what they were: {', '.join(parts) or 'many columns a little'}"


def describe_quality(verdict: QualityVerdict, *, estimated: bool = False) -> str:
    """Say in one sentence how far quality is from its target."""
    how = "by estimate, before labels, " if estimated else ""
    value = "unknown" if verdict.value is None else f"{verdict.value:.3f}"
    return (
        f"{how}{verdict.metric} was {value} on the last {verdict.labels:,} "
        f"{'predictions' if estimated else 'labels'}; it must hold {verdict.target:.3f}"
    )


def describe_errors(verdict: ErrorVerdict) -> str:
    """Say in one sentence how many requests failed."""
    return (
        f"{verdict.failed:,} of {verdict.requests:,} requests ({verdict.rate:.2%}) failed or fell "
        f"back to the baseline; at most {100 * verdict.at_most:.4g}% may"
    )


def describe_data_quality(verdict: DataQualityVerdict) -> str:
    """Say in one sentence which values are bad and how many."""
    parts = [
        f"{event.column}: {event.rate:.1%} {event.event} (at most {event.allowed:.1%})"
        for event in verdict.events[:3]
    ]
    return f"rows break their contract: {'; '.join(parts) or 'many columns a little'}"
