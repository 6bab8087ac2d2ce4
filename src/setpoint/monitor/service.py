"""What one can do with alarms, and what the controller has judged each tick.

Operations are for people. `watch_*`, `open_alarm` and `close_alarms` are for the
controller: they run in its transaction, and judging a window twice is impossible, since a
detector's state says up to when it has judged.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import msgspec
from msgspec import Struct

from setpoint.core.ids import new_id
from setpoint.core.operations import Context, operation
from setpoint.errors import Invalid
from setpoint.events.store import record
from setpoint.monitor import data_quality, drift, errors, quality, rules, store
from setpoint.monitor.data_quality import (
    DataQualityPolicy,
    DataQualityState,
    DataQualityVerdict,
)
from setpoint.monitor.drift import DriftPolicy, DriftState, DriftVerdict
from setpoint.monitor.entities import Alarm, AlarmState
from setpoint.monitor.errors import ErrorPolicy, ErrorState, ErrorVerdict
from setpoint.monitor.quality import QualityPolicy, QualityState, QualityVerdict
from setpoint.profiles import quality as metrics
from setpoint.profiles.reference import Reference

Verdict = DriftVerdict | QualityVerdict | DataQualityVerdict | ErrorVerdict
_STANDING = (AlarmState.OPEN, AlarmState.ACKNOWLEDGED)


class ListAlarms(Struct, frozen=True, kw_only=True):
    model: str | None = None
    standing: bool = False  #: only those not closed
    limit: int = 100


class Alarms(Struct, frozen=True, kw_only=True):
    alarms: list[Alarm]


class ShowAlarm(Struct, frozen=True, kw_only=True):
    id: str


class AcknowledgeAlarm(Struct, frozen=True, kw_only=True):
    id: str
    reason: str  #: what was found, or is being done


class CloseAlarm(Struct, frozen=True, kw_only=True):
    id: str
    reason: str


@operation("alarms.ls", needs="alarms:read")
def ls(ctx: Context, cmd: ListAlarms) -> Alarms:
    """List alarms, newest first."""
    states = _STANDING if cmd.standing else None
    found = store.list_alarms(ctx.conn, model=cmd.model, states=states, limit=cmd.limit)
    return Alarms(alarms=found)


@operation("alarms.show", needs="alarms:read")
def show(ctx: Context, cmd: ShowAlarm) -> Alarm:
    """Show one alarm with its evidence."""
    return store.alarm(ctx.conn, cmd.id)


@operation("alarms.ack", needs="alarms:write")
def ack(ctx: Context, cmd: AcknowledgeAlarm) -> Alarm:
    """Say that an alarm is being looked at, and why it stands."""
    before = store.alarm(ctx.conn, cmd.id)
    reason = _reason(cmd.reason, f"setpoint alarms ack {cmd.id} --reason '…'")
    after = rules.acknowledge(before, by=ctx.actor, reason=reason)
    store.set_alarm(ctx.conn, after, was=before.state)
    record(ctx, "alarm.acknowledged", after.ref, model=after.model, reason=reason)
    return after


@operation("alarms.close", needs="alarms:write")
def close(ctx: Context, cmd: CloseAlarm) -> Alarm:
    """Close an alarm; closing it again changes nothing."""
    before = store.alarm(ctx.conn, cmd.id)
    return _close(ctx, before, _reason(cmd.reason, "give a reason: it is kept on record"))


def open_alarm(
    ctx: Context,
    *,
    model: str,
    version: int,
    monitor: str,
    text: str,
    evidence: dict[str, Any],
    attribution: list[tuple[str, float]] | None = None,
) -> Alarm:
    """Open an alarm, or add to the one that stands for this version and monitor.

    Events: ``alarm.opened``, or ``alarm.repeated`` where one stands already.
    """
    found = store.list_alarms(ctx.conn, model=model, monitor=monitor, states=_STANDING)
    before = next((alarm for alarm in found if alarm.version == version), None)
    shares = attribution or []
    if before is not None:
        again = msgspec.structs.replace(
            before,
            seen_at=ctx.now,
            times=before.times + 1,
            text=text,
            evidence=evidence,
            attribution=shares,
        )
        store.set_alarm(ctx.conn, again, was=before.state)
        record(ctx, "alarm.repeated", again.ref, model=model, version=version, text=text)
        return again
    alarm = Alarm(
        id=new_id("alm", ctx.now),
        model=model,
        version=version,
        monitor=monitor,
        state=AlarmState.OPEN,
        opened_at=ctx.now,
        seen_at=ctx.now,
        times=1,
        text=text,
        evidence=evidence,
        attribution=shares,
    )
    store.add_alarm(ctx.conn, alarm)
    record(
        ctx,
        "alarm.opened",
        alarm.ref,
        model=model,
        version=version,
        monitor=monitor,
        text=text,
        attribution=shares,
    )
    return alarm


def close_alarms(
    ctx: Context,
    model: str,
    *,
    reason: str,
    version: int | None = None,
    monitor: str | None = None,
) -> list[Alarm]:
    """Close all alarms of a model that stand (of one version or monitor, if given)."""
    found = store.list_alarms(ctx.conn, model=model, monitor=monitor, states=_STANDING, limit=1000)
    chosen = [alarm for alarm in found if version is None or alarm.version == version]
    return [_close(ctx, alarm, reason) for alarm in chosen]


def watch_drift(
    ctx: Context,
    model: str,
    version: int,
    reference: Reference,
    policy: DriftPolicy,
    *,
    since: datetime,
) -> list[DriftVerdict]:
    """Judge every window of inputs and scores that is over, and open alarms.

    Args:
        ctx: The controller's transaction.
        model: Its name.
        version: The version whose inputs are watched, with the reference built for it.
        reference: What the windows are compared with.
        policy: When to alarm.
        since: When the version began to answer; used the first time only.

    Returns:
        Verdicts of the windows judged now, oldest first; empty on most ticks.
    """
    state = store.detector(ctx.conn, model, version, rules.DRIFT, DriftState)
    if state is None or state.edges != reference.id:
        state = drift.begin(reference, since=since, policy=policy)

    def step(state: DriftState, end: datetime) -> tuple[DriftState, DriftVerdict] | None:
        window = store.profile_between(ctx.conn, model, version, state.since, end)
        if window is None:
            return None
        return drift.update(state, reference, window, policy, end=end)

    ends = drift.ends(state.since, ctx.now, policy.seconds)
    return _watch(ctx, (model, version, rules.DRIFT), state, list(ends), step)


def watch_data_quality(
    ctx: Context,
    model: str,
    version: int,
    reference: Reference,
    policy: DataQualityPolicy,
    *,
    since: datetime,
) -> list[DataQualityVerdict]:
    """Judge missing, unseen and invalid values; as `watch_drift`."""
    state = store.detector(ctx.conn, model, version, rules.DATA_QUALITY, DataQualityState)
    if state is None or state.edges != reference.id:
        start = drift.aligned(since, policy.seconds)
        state = data_quality.begin(reference, since=start)

    def step(
        state: DataQualityState, end: datetime
    ) -> tuple[DataQualityState, DataQualityVerdict] | None:
        window = store.profile_between(ctx.conn, model, version, state.since, end)
        if window is None:
            return None
        return data_quality.update(state, reference, window, policy, end=end)

    ends = drift.ends(state.since, ctx.now, policy.seconds)
    return _watch(ctx, (model, version, rules.DATA_QUALITY), state, list(ends), step)


def watch_quality(
    ctx: Context, model: str, version: int, policy: QualityPolicy, *, since: datetime
) -> list[QualityVerdict]:
    """Judge realised quality, window by window of *prediction* time; as `watch_drift`.

    A window is judged once its labels have had `policy.after` seconds to come.
    """
    state = store.detector(ctx.conn, model, version, rules.QUALITY, QualityState)
    if state is None:
        state = quality.begin(since=drift.aligned(since, policy.seconds))

    def step(state: QualityState, end: datetime) -> tuple[QualityState, QualityVerdict] | None:
        found = store.quality_between(ctx.conn, model, version, state.since, end)
        return None if found is None else quality.update(state, found, policy, end=end)

    ends = drift.ends(state.since, ctx.now, policy.seconds, after=policy.after)
    return _watch(ctx, (model, version, rules.QUALITY), state, list(ends), step)


def watch_quality_estimate(
    ctx: Context,
    model: str,
    version: int,
    reference: Reference,
    policy: QualityPolicy,
    *,
    since: datetime,
) -> list[QualityVerdict]:
    """Judge quality by estimate (CBPE), without waiting for labels; as `watch_drift`.

    Returns nothing where the reference has no labels. An estimate never closes or cancels
    an alarm of realised quality.
    """
    base = reference.joint
    if base is None:
        return []
    state = store.detector(ctx.conn, model, version, rules.QUALITY_ESTIMATE, QualityState)
    if state is None:
        state = quality.begin(since=drift.aligned(since, policy.seconds))

    def step(state: QualityState, end: datetime) -> tuple[QualityState, QualityVerdict] | None:
        found = store.quality_between(ctx.conn, model, version, state.since, end)
        if found is None or found.predicted < policy.labels:
            return None
        guess = metrics.estimate(found, base, policy.metric, threshold=policy.cut)
        if guess.value is None:
            return None
        return quality.judge(state, guess, policy, end=end)

    ends = drift.ends(state.since, ctx.now, policy.seconds)
    return _watch(ctx, (model, version, rules.QUALITY_ESTIMATE), state, list(ends), step)


def watch_errors(
    ctx: Context, model: str, version: int, policy: ErrorPolicy, *, since: datetime
) -> list[ErrorVerdict]:
    """Judge the requests of every window that is over; as `watch_drift`.

    Windows without a request cost nothing, however long nobody asked.
    """
    state = store.detector(ctx.conn, model, version, rules.ERRORS, ErrorState)
    if state is None:
        state = ErrorState(since=drift.aligned(since, policy.seconds))
    found = store.attempts_since(ctx.conn, model, version, state.since)
    over = {one.start + timedelta(seconds=one.seconds) for one in found}

    def step(state: ErrorState, end: datetime) -> tuple[ErrorState, ErrorVerdict] | None:
        some = [one for one in found if state.since <= one.start < end]
        requests, failed = sum(one.requests for one in some), sum(one.failed for one in some)
        if requests < policy.requests:
            return None
        return errors.update(state, requests, failed, policy, end=end)

    ends = sorted(end for end in over if end <= ctx.now)
    return _watch(ctx, (model, version, rules.ERRORS), state, ends, step)


def _watch(
    ctx: Context,
    whose: tuple[str, int, str],
    state: Any,
    ends: list[datetime],
    step: Callable[[Any, datetime], tuple[Any, Any] | None],
) -> list[Any]:
    model, version, monitor = whose
    judged: list[Any] = []
    for end in ends:
        made = step(state, end)
        if made is None or not made[1].judged:
            continue  # too little: these rows are judged together with the next window's
        state, verdict = made
        judged.append(verdict)
        store.add_verdict(ctx.conn, model, version, monitor, verdict)
        if verdict.alarm:
            open_alarm(
                ctx,
                model=model,
                version=version,
                monitor=monitor,
                text=_text(verdict, monitor),
                evidence=msgspec.to_builtins(verdict),
                attribution=getattr(verdict, "attribution", []),
            )
    if judged:
        store.set_detector(
            ctx.conn, model, version, monitor, state=state, verdict=judged[-1], now=ctx.now
        )
    return judged


def _text(verdict: Verdict, monitor: str) -> str:
    if isinstance(verdict, DriftVerdict):
        return rules.describe_drift(verdict)
    if isinstance(verdict, DataQualityVerdict):
        return rules.describe_data_quality(verdict)
    if isinstance(verdict, ErrorVerdict):
        return rules.describe_errors(verdict)
    estimated = monitor == rules.QUALITY_ESTIMATE
    return rules.describe_quality(verdict, estimated=estimated)


def _close(ctx: Context, before: Alarm, reason: str) -> Alarm:
    after = rules.close(before, by=ctx.actor, reason=reason, now=ctx.now)
    if after is not before:
        store.set_alarm(ctx.conn, after, was=before.state)
        record(ctx, "alarm.closed", after.ref, model=after.model, reason=reason)
    return after


def _reason(given: str, hint: str) -> str:
    if not given.strip():
        raise Invalid("a reason is needed", hint=hint)
    return given.strip()


OPERATIONS = (ls, show, ack, close)
