"""Has the live version's monitors judge the windows that are over."""

from collections.abc import Callable
from datetime import datetime

from msgspec import Struct
from sqlalchemy import Connection

from setpoint.control.entities import Applied
from setpoint.control.inforce import spec_of
from setpoint.control.policies import watching
from setpoint.core.operations import Context
from setpoint.models import store as models
from setpoint.monitor import service as monitor
from setpoint.profiles.reference import Reference
from setpoint.releases import store as releases
from setpoint.serve import store as serving
from setpoint.serve.entities import Role


class Due(Struct, frozen=True, kw_only=True):
    """The version that is to be judged."""

    version: int
    since: datetime  #: when it began to answer


def due(ctx: Context, applied: Applied) -> Due | None:
    """Return the live version and when it took over, None before the first."""
    for deployed in serving.deployments(ctx.conn, applied.model):
        if deployed.role is Role.LIVE:
            took_over = [
                release.ended_at
                for release in releases.of_version(ctx.conn, applied.model, deployed.version)
                if release.ended_at is not None
            ]
            born = models.get(ctx.conn, applied.model, deployed.version).created_at
            return Due(version=deployed.version, since=took_over[0] if took_over else born)
    return None


def judge(
    ctx: Context,
    applied: Applied,
    live: Due,
    reference_of: Callable[[Connection, str, int], Reference | None],
    *,
    requests_only: bool = False,
) -> None:
    """Judge every window that is over, in the caller's transaction; alarms open in it.

    Judging twice is impossible: each monitor remembers up to when it has judged.

    Args:
        ctx: Of that transaction.
        applied: What the model must hold.
        live: The version to judge.
        reference_of: Returns what a version's inputs were when it was trained.
        requests_only: Whether only windows of requests, which are shorter, can have ended.
    """
    reference = reference_of(ctx.conn, applied.model, live.version)
    if reference is None:
        return
    redacted = serving.settings_of(ctx.conn, applied.model).redact
    policies = watching(spec_of(applied), reference, redacted)
    model, version, since = applied.model, live.version, live.since
    if policies.errors is not None:
        monitor.watch_errors(ctx, model, version, policies.errors, since=since)
    if requests_only:
        return
    if policies.drift is not None:
        monitor.watch_drift(ctx, model, version, reference, policies.drift, since=since)
    monitor.watch_data_quality(ctx, model, version, reference, policies.data_quality, since=since)
    if policies.quality is not None:
        monitor.watch_quality(ctx, model, version, policies.quality, since=since)
    if policies.estimate is not None:
        monitor.watch_quality_estimate(
            ctx, model, version, reference, policies.estimate, since=since
        )
