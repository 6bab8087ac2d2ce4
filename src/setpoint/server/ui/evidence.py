"""Charts of a release: its evidence against its thresholds, look by look, and both arms."""

import math
from collections.abc import Sequence
from itertools import pairwise

from setpoint.charts.figure import Figure, Line, Panel, Rule, Zone
from setpoint.charts.palette import of_version
from setpoint.charts.small import Arm, Stage, intervals, track
from setpoint.charts.ticks import seconds
from setpoint.releases.entities import Look, Release, State
from setpoint.releases.readings import (
    GuardReading,
    ObjectiveReading,
    Readings,
    in_words,
    read,
)

_MOST = 300
_GUARD_COLORS = ("c0", "c1", "c3", "c2", "c4")


def curves(release: Release, looks: Sequence[Look], now: Readings) -> Figure:
    """Return the intervals of objective and loss and every guard's evidence, by looks."""
    chosen = _thinned(looks)
    seen = [(seconds(look.at), read(look.evidence, release.policy)) for look in chosen]
    panels = []
    if now.objective is not None:
        panels.append(_objective(seen, release, now.objective))
    if now.loss is not None:
        panels.append(_loss(seen, release))
    panels.append(_guards(seen, now))
    return Figure(
        title=f"Evidence about version {release.version}",
        summary=now.summary,
        panels=panels,
        start=seconds(release.started_at),
        end=None if release.ended_at is None else seconds(release.ended_at),
        verticals=_steps(chosen),
    )


def _objective(
    seen: list[tuple[float, Readings]], release: Release, now: ObjectiveReading
) -> Panel:
    known = [(at, r.objective) for at, r in seen if r.objective is not None and r.objective.blocks]
    level = 100 * (1 - 2 * math.exp(-now.threshold))
    return Panel(
        title=f"{now.metric}, candidate less live, mean of blocks of "
        f"{in_words(release.policy.objective_block)}, with its {level:.4g} % interval",
        lines=[
            Line(
                label="difference",
                xs=[at for at, _ in known],
                ys=[objective.mean for _, objective in known],
                low=[objective.low for _, objective in known],
                high=[objective.high for _, objective in known],
                color=of_version(release.version),
            )
        ],
        rules=[
            Rule(value=-now.margin, text=f"tolerated {-now.margin:+.2g}", kind="limit"),
            Rule(value=0.0, text="no difference", kind="rule"),
        ],
        zones=[Zone(low=-now.margin)],
        height=184,
        empty="no block of time is closed yet",
    )


def _loss(seen: list[tuple[float, Readings]], release: Release) -> Panel:
    known = [(at, r.loss) for at, r in seen if r.loss is not None and r.loss.labels > 0]
    margin = release.policy.loss_margin or 0.0
    return Panel(
        title=f"{release.policy.loss}, candidate less live, with its "
        f"{100 * (1 - release.policy.false_promote):g} % interval at every look",
        lines=[
            Line(
                label="difference",
                xs=[at for at, _ in known],
                ys=[loss.mean if loss.proof_low is not None else None for _, loss in known],
                low=[loss.proof_low for _, loss in known],
                high=[loss.proof_high for _, loss in known],
                color=of_version(release.version),
            )
        ],
        rules=[
            Rule(value=margin, text=f"tolerated {margin:+.2g}", kind="limit"),
            Rule(value=0.0, text="no difference", kind="rule"),
        ],
        zones=[Zone(high=margin)],
        height=184,
        empty="too few labels for an interval yet",
    )


def _guards(seen: list[tuple[float, Readings]], now: Readings) -> Panel:
    lines = []
    for index, guard in enumerate(now.guards):
        values = [(at, _of(r, guard.name)) for at, r in seen]
        lines.append(
            Line(
                label=guard.name,
                xs=[at for at, _ in values],
                ys=[None if g is None else math.exp(min(g.log_e, 60.0)) for _, g in values],
                color=_GUARD_COLORS[index % len(_GUARD_COLORS)],
            )
        )
    rules = [Rule(value=1.0, text="no evidence", kind="rule")]
    if now.guards:
        least = min(guard.threshold for guard in now.guards)
        rules.append(Rule(value=math.exp(least), text="roll back", kind="limit"))
    return Panel(
        title="Evidence that it fails more often (e-value)",
        lines=lines,
        rules=rules,
        scale="log",
        height=128,
        empty="no requests yet",
    )


def _of(readings: Readings, name: str) -> GuardReading | None:
    return next((guard for guard in readings.guards if guard.name == name), None)


def arms(guard: GuardReading, release: Release, width: float) -> str:
    """Return the event's rate on both arms, each with its 95 % interval."""
    pairs = (
        (release.version, guard.canary_events, guard.canary_requests),
        (release.from_version, guard.stable_events, guard.stable_requests),
    )
    return intervals(
        [
            Arm(
                name=f"v{version}",
                value=events / requests,
                **_wilson(events, requests),
                color=of_version(version),
            )
            for version, events, requests in pairs
            if version is not None and requests
        ],
        title=f"{guard.name}: share of requests on each arm",
        write="percent",
        width=min(width, 520),
    )


def loss_arm(readings: Readings, release: Release, width: float) -> str:
    """Return the paired difference of losses with its interval."""
    loss = readings.loss
    if loss is None or not loss.labels:
        return intervals([], title="difference of losses", width=min(width, 520))
    return intervals(
        [
            Arm(
                name="difference",
                value=loss.mean,
                low=loss.proof_low,
                high=loss.proof_high,
                color=of_version(release.version),
            )
        ],
        title=f"{release.policy.loss}, candidate less live version",
        rule=loss.margin,
        width=min(width, 520),
    )


def objective_arm(readings: Readings, release: Release, width: float) -> str:
    """Return the difference of the objective, a mean over blocks, with its interval."""
    objective = readings.objective
    arms = []
    if objective is not None and objective.mean is not None:
        arms.append(
            Arm(
                name="difference",
                value=objective.mean,
                low=objective.low,
                high=objective.high,
                color=of_version(release.version),
            )
        )
    return intervals(
        arms,
        title="objective, candidate less live version",
        rule=-release.policy.objective_margin,
        width=min(width, 520),
    )


def stages(release: Release, width: float) -> str:
    """Return the track of the release: its stages, and where it stands."""
    policy = release.policy
    asked = [("approval", " or ".join(policy.approvers))] if policy.approvers else []
    names = list(asked)
    if not release.at_once:
        names += [("shadow", f"{policy.shadow:,} rows")] if policy.shadow else []
        names += [(f"{share * 100:g} %", "of traffic") for share in policy.canary_steps]
    names.append(("live", "at once" if release.at_once else ""))
    offset = 0 if policy.shadow else 1
    here = release.step - offset + len(asked)
    if release.state in (State.WAITING, State.REJECTED):
        here = 0
    elif release.from_version is None or release.state is State.PROMOTED:
        here = len(names)
    made = []
    for index, (name, note) in enumerate(names):
        state = "done" if index < here else "ahead"
        if index == here:
            failed = release.state in (State.ROLLED_BACK, State.REJECTED)
            state = "failed" if failed else "now"
        made.append(Stage(name=name, state=state, note=note))  # type: ignore[arg-type]
    return track(made, title=f"Stages of version {release.version}", width=min(width, 720))


def _wilson(events: int, requests: int, z: float = 1.96) -> dict[str, float]:
    """Return Wilson's interval of a share (Wilson 1927): sensible at 0 and at 1."""
    share, room = events / requests, z * z / requests
    middle = (share + room / 2) / (1 + room)
    half = z / (1 + room) * math.sqrt(share * (1 - share) / requests + room / requests / 4)
    return {"low": max(middle - half, 0.0), "high": min(middle + half, 1.0)}


def _thinned(looks: Sequence[Look]) -> list[Look]:
    stride = max(1, math.ceil(len(looks) / _MOST))
    chosen = list(looks[::stride])
    if looks and chosen[-1] is not looks[-1]:
        chosen.append(looks[-1])
    return chosen


def _steps(looks: Sequence[Look]) -> list[float]:
    """Return when the candidate's share changed."""
    return [seconds(after.at) for before, after in pairwise(looks) if after.step != before.step]
