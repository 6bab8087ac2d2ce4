"""What a release does to traffic: deployments, aliases and the record say what it says."""

from typing import Any

from msgspec.structs import replace

from setpoint.core.operations import Context
from setpoint.errors import Conflict
from setpoint.events.store import record
from setpoint.models import store as models
from setpoint.models.service import set_alias
from setpoint.releases import store, transitions
from setpoint.releases.entities import Release, State
from setpoint.releases.objective import verdicts
from setpoint.serve import store as serving
from setpoint.serve.entities import Role


def live(ctx: Context, model: str) -> int | None:
    """Return the version that answers, None before the first."""
    deployed = serving.deployments(ctx.conn, model)
    return next((each.version for each in deployed if each.role is Role.LIVE), None)


def require_none_open(ctx: Context, model: str) -> None:
    """Refuse while a release of the model is open."""
    open_one = store.current(ctx.conn, model)
    if open_one is not None:
        waits = open_one.state is State.WAITING
        end = f"setpoint releases {'reject' if waits else 'rollback'} {open_one.id}"
        raise Conflict(f"{open_one.ref} of {model} is open", hint=f"end that one first: {end}")


def serve(ctx: Context, release: Release, kind: str) -> None:
    """Make deployments, aliases and record say what the release says.

    The alias ``candidate`` may name another version by now, which a training has made since:
    that one keeps it, and is next.
    """
    now = transitions.live_version(release)
    if now is not None:
        serving.deploy(ctx.conn, release.model, transitions.layout(release))
        set_alias(ctx, release.model, "live", now, why(release))
    if not release.open:
        models.drop_alias(ctx.conn, release.model, "candidate", number=release.version)
    record(ctx, kind, release.ref, **_detail(release))


def why(release: Release) -> str:
    """Say why a release is where it is."""
    return release.verdict_why or f"{release.ref} started"


def _detail(release: Release) -> dict[str, Any]:
    return {
        "model": release.model,
        "version": release.version,
        "from_version": release.from_version,
        "state": release.state,
        "stage": release.stage,
        "step": release.step,
        "weight": release.weight,
        "why": release.verdict_why,
        "proven": release.proven,
        "override_by": release.override_by,
        "override_reason": release.override_reason,
        "approvers": release.policy.approvers,
        "approval": release.approval,
        "evidence": without_counts(release).evidence,
    }


def without_counts(release: Release) -> Release:
    """Return `release` with what its evidence says, but not what it is still counting."""
    evidence = replace(release.evidence, objective=verdicts(release.evidence.objective))
    return replace(release, evidence=evidence)
