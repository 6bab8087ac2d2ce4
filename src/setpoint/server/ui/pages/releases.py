"""May it go on: releases, their evidence, and a person's decision."""

from functools import partial

from setpoint.errors import NotFound
from setpoint.releases import rules
from setpoint.releases.entities import Release, State
from setpoint.releases.service import (
    Answer,
    Decide,
    ListReleases,
    ReleaseDetail,
    Which,
    approve,
    hold,
    ls,
    promote,
    reject,
    resume,
    rollback,
    show,
)
from setpoint.server.ui import evidence, history, words
from setpoint.server.ui.history import Live
from setpoint.server.ui.page import Ask, Page, Redirect, Table

_DECISIONS = {"hold": hold, "resume": resume, "promote": promote, "rollback": rollback}
_ANSWERS = {"approve": approve, "reject": reject}
_NEXT = {
    rules.Advance: "takes the next step",
    rules.Promote: "is promoted",
    rules.RollBack: "is rolled back",
    rules.Hold: "is held for a person",
}


def releases(ask: Ask) -> Page:
    """List releases, those that wait for a person first."""
    found: list[Release] = ask.call(ls, ListReleases(limit=200)).releases
    found = sorted(found, key=lambda r: (not r.open, -r.started_at.timestamp()))
    held = sum(r.state in (State.HELD, State.WAITING) for r in found)
    running = sum(r.state is State.RUNNING for r in found)
    heading = "Releases"
    if held:
        heading = (
            f"{held} releases wait for a person" if held > 1 else "A release waits for a person"
        )
    elif running:
        heading = f"{running} release{'s' if running > 1 else ''} in progress"
    elif found:
        heading = "No release in progress"
    return Page(
        template="releases.html",
        title="Releases",
        active="Releases",
        values={"heading": heading, "releases": found},
        tables={
            "releases": Table(
                columns=[
                    "id",
                    "model",
                    "version",
                    "from",
                    "state",
                    "started_at",
                    "ended_at",
                    "proven",
                    "why",
                ],
                rows=[
                    [
                        r.id,
                        r.model,
                        r.version,
                        r.from_version,
                        r.state.value,
                        r.started_at,
                        r.ended_at,
                        r.proven,
                        r.verdict_why,
                    ]
                    for r in found
                ],
            )
        },
    )


def release(ask: Ask) -> Page:
    """Answer "may it go on?"."""
    shown: ReleaseDetail = ask.call(show, Which(release=ask.params["release"]))
    found, readings = shown.release, shown.readings
    guards = {f"arms-{g.name}": partial(evidence.arms, g, found) for g in readings.guards}
    return Page(
        template="release.html",
        title=f"{found.model} v{found.version}: release",
        active="Releases",
        values={
            "release": found,
            "readings": readings,
            "heading": _heading(found),
            "next": _next(shown),
            "guards": [(g, f"arms-{g.name}") for g in readings.guards],
            "actions": _actions(found, ask.read(history.lives, found.model)),
            "roles": found.policy.approvers if found.state is State.WAITING else (),
        },
        figures={
            "track": partial(evidence.stages, found),
            "evidence": evidence.curves(found, shown.looks, readings),
            "arms-objective": partial(evidence.objective_arm, readings, found),
            "arms-loss": partial(evidence.loss_arm, readings, found),
            **guards,
        },
        tables={
            "evidence": Table(
                columns=[
                    "at",
                    "step",
                    "weight",
                    "labels",
                    "loss_mean",
                    "requests_in_stage",
                ],
                rows=[
                    [
                        k.at,
                        k.step,
                        k.weight,
                        k.evidence.loss.n,
                        k.evidence.loss.mean,
                        k.evidence.requests_in_stage,
                    ]
                    for k in shown.looks
                ],
            )
        },
    )


def decide(ask: Ask) -> Redirect:
    """Carry out a person's decision; its reason is on record."""
    decision, name = ask.params["decision"], ask.params["release"]
    reason = ask.form.get("reason", "")
    if decision in _ANSWERS:
        role = ask.form.get("role", "")
        ask.call(_ANSWERS[decision], Answer(release=name, reason=reason, role=role))
    elif decision in _DECISIONS:
        ask.call(_DECISIONS[decision], Decide(release=name, reason=reason))
    else:
        hint = ", ".join([*_ANSWERS, *_DECISIONS])
        raise NotFound(f"no decision {decision!r}", hint=hint)
    return Redirect(to=f"/releases/{name}")


def _heading(found: Release) -> str:
    version = f"Version {found.version} of {found.model}"
    match found.state:
        case State.PROMOTED:
            return f"{version} was promoted"
        case State.ROLLED_BACK:
            return f"{version} was rolled back"
        case State.HELD:
            return f"{version} is held"
        case State.WAITING:
            return f"{version} waits for approval by {' or '.join(found.policy.approvers)}"
        case State.REJECTED:
            return f"{version} was rejected"
    where = "in the shadow" if not found.weight else f"on {words.percent(found.weight)} of traffic"
    return f"{version} is {where}"


def _next(shown: ReleaseDetail) -> str:
    if shown.release.state is not State.RUNNING:
        return ""
    coming = _NEXT.get(type(shown.next))
    if coming is None:
        return f"It waits: {shown.next.why}"
    return f"At the next look it {coming}: {shown.next.why}"


def _actions(found: Release, lives: list[Live]) -> list[tuple[str, str, str]]:
    """Return (decision, button, class) of what a person may do now."""
    go, back = ("promote", "Promote", "button"), ("rollback", "Roll back", "button danger")
    match found.state:
        case State.RUNNING:
            return [("hold", "Hold", "button"), go, back]
        case State.WAITING:
            return [
                ("approve", "Approve", "button primary"),
                ("reject", "Reject", "button danger"),
            ]
        case State.HELD:
            return [("resume", "Resume", "button primary"), go, back]
        case State.PROMOTED:
            serves = bool(lives) and lives[-1].version == found.version
            return [back] if serves and found.from_version is not None else []
    return []
