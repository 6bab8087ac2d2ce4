"""Charts of a release: what its evidence says about the objective, look by look."""

from datetime import UTC, datetime, timedelta

from setpoint.releases.entities import Look, Policy, Release, Stage, State
from setpoint.releases.evidence import Evidence
from setpoint.releases.objective import Judged, PairedObjective
from setpoint.releases.readings import read
from setpoint.server.ui import evidence

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def shown(blocks: int) -> Evidence:
    judged = tuple(Judged(start=3600 * i, rows=200, difference=-0.15) for i in range(blocks))
    return Evidence(objective=PairedObjective(judged=judged))


def release(policy: Policy, found: Evidence) -> Release:
    return Release(
        id="rel_1",
        model="m",
        version=2,
        from_version=1,
        stage=Stage.CANARY,
        step=1,
        weight=0.05,
        state=State.RUNNING,
        started_at=NOON,
        stage_since=NOON,
        limit_from=NOON,
        policy=policy,
        evidence=found,
    )


def test_the_objective_is_the_first_curve_and_crosses_its_limit_as_it_is_breached() -> None:
    policy = Policy(objective="roc_auc")
    looks = [
        Look(at=NOON + timedelta(hours=i), step=1, weight=0.05, evidence=shown(i))
        for i in range(12)
    ]
    now = read(shown(11), policy)
    figure = evidence.curves(release(policy, shown(11)), looks, now)
    panel = figure.panels[0]
    (line,) = panel.lines
    assert panel.title == (
        "roc_auc, candidate less live, mean of blocks of 60 min, with its 99 % interval"
    )
    assert len(line.ys) == 11, "nothing before the first block"
    assert panel.rules[0].value == -0.02
    assert line.high is not None
    ends = [high is not None and high < -0.02 for high in line.high]
    breached = [read(look.evidence, policy).objective for look in looks[1:]]
    assert ends == [each is not None and each.breached for each in breached]
    assert any(ends)
    assert not all(ends)


def test_a_policy_without_an_objective_shows_none() -> None:
    now = read(Evidence(), Policy())
    figure = evidence.curves(release(Policy(), Evidence()), [], now)
    assert not any("roc_auc" in panel.title for panel in figure.panels)


def test_the_arm_of_the_objective_has_its_interval() -> None:
    policy = Policy(objective="roc_auc")
    drawn = evidence.objective_arm(read(shown(11), policy), release(policy, shown(11)), 520)
    assert "0.15" in drawn
    empty = evidence.objective_arm(read(Evidence(), policy), release(policy, Evidence()), 520)
    assert "0.15" not in empty
