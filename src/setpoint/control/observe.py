"""Reads everything that decisions about one model depend on."""

from setpoint.control import store
from setpoint.control.decide import Observed
from setpoint.control.entities import Applied
from setpoint.control.inforce import spec_of
from setpoint.core.operations import Context
from setpoint.models import store as models
from setpoint.monitor import store as monitor
from setpoint.monitor.entities import AlarmState
from setpoint.releases import store as releases
from setpoint.serve import store as serving
from setpoint.serve.entities import Role


def observe(ctx: Context, applied: Applied) -> Observed:
    """Return the state of one model, as it is in this transaction."""
    conn, model = ctx.conn, applied.model
    live = next((d.version for d in serving.deployments(conn, model) if d.role is Role.LIVE), None)
    candidate = models.alias(conn, model, "candidate")
    newest = releases.ls(conn, model, limit=1)
    release = newest[0] if newest else None
    if release is not None and release.open and release.version == candidate:
        candidate = None  # it is being released
    standing = (AlarmState.OPEN, AlarmState.ACKNOWLEDGED)
    job = None if live is None else store.job_of_version(conn, model, live)
    return Observed(
        spec=spec_of(applied),
        spec_address=applied.address,
        training=applied.training,
        live=live,
        live_born=models.get(conn, model, live).created_at if live else None,
        live_training=job.training if job else None,
        candidate=candidate,
        candidate_why=models.get(conn, model, candidate).why if candidate else "",
        release=release,
        job=store.last_job(conn, model),
        alarms=[
            a for a in monitor.list_alarms(conn, model=model, states=standing) if a.version == live
        ],
    )
