"""Reads everything that decisions about one model depend on."""

from setpoint.control import store
from setpoint.control.decide import Observed
from setpoint.control.entities import Applied
from setpoint.control.inforce import spec_of
from setpoint.control.starting import is_changed, live_version
from setpoint.core.operations import Context
from setpoint.models import store as models
from setpoint.monitor import store as monitor
from setpoint.monitor.entities import AlarmState
from setpoint.releases import store as releases


def observe(ctx: Context, applied: Applied) -> Observed:
    """Return the state of one model, as it is in this transaction."""
    conn, model = ctx.conn, applied.model
    live = live_version(conn, model)
    candidate = models.alias(conn, model, "candidate")
    newest = releases.ls(conn, model, limit=1)
    release = newest[0] if newest else None
    if release is not None and release.open and release.version == candidate:
        candidate = None  # it is being released
    new = models.get(conn, model, candidate) if candidate else None
    standing = (AlarmState.OPEN, AlarmState.ACKNOWLEDGED)
    job = None if live is None else store.job_of_version(conn, model, live.number)
    return Observed(
        spec=spec_of(applied),
        spec_address=applied.address,
        training=applied.training,
        live=live.number if live else None,
        live_inputs=tuple(live.signature.names) if live else (),
        live_born=live.created_at if live else None,
        live_training=job.training if job else None,
        live_spec=live.spec if live else "",
        candidate=candidate,
        candidate_why=new.why if new else "",
        candidate_changed=new is not None and is_changed(conn, new, live),
        release=release,
        job=store.last_job(conn, model),
        alarms=[
            alarm
            for alarm in monitor.list_alarms(conn, model=model, states=standing)
            if live is not None and alarm.version == live.number
        ],
    )
