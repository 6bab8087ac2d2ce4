import math
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from setpoint.errors import Invalid
from setpoint.releases.entities import (
    Inconclusive,
    OnBreach,
    Policy,
    Release,
    Stage,
    State,
)
from setpoint.releases.evidence import Evidence, GuardTally, PairedLoss, Streak
from setpoint.releases.objective import Judged, PairedObjective
from setpoint.releases.readings import read
from setpoint.releases.rules import (
    Advance,
    Decision,
    Hold,
    Promote,
    RollBack,
    Wait,
    decide,
)

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
POLICY = Policy()
LATE = timedelta(days=7)


def release(evidence: Evidence, *, step: int = 1, policy: Policy = POLICY) -> Release:
    return Release(
        id="rel_1",
        model="m",
        version=2,
        from_version=1,
        stage=Stage.CANARY if step else Stage.SHADOW,
        step=step,
        weight=policy.canary_steps[step - 1] if step else 0.0,
        state=State.RUNNING,
        started_at=NOON,
        stage_since=NOON,
        limit_from=NOON,
        policy=policy,
        evidence=evidence,
    )


def seen(
    *,
    errors: int = 0,
    of: int = 2000,
    stable_errors: int = 0,
    loss: PairedLoss | None = None,
    rows: int = 1000,
    run: int = 0,
) -> Evidence:
    tally = GuardTally(
        weight=0.05,
        canary_events=errors,
        total_events=errors + stable_errors,
        canary_requests=of,
        requests=20 * of,
    )
    return Evidence(
        guards={"errors": (tally,)},
        loss=loss or paired(0.0, n=8000),
        requests_in_stage=rows,
        canary_streak=Streak(length=rows, tail=run, longest=run),
    )


def paired(mean: float, *, n: int = 1204, sd: float = 0.2) -> PairedLoss:
    return PairedLoss(n=n, mean=mean, m2=sd**2 * (n - 1))


def after(
    evidence: Evidence, *, step: int = 1, policy: Policy = POLICY, late: bool = False
) -> Decision:
    now = NOON + (policy.at_most if late else timedelta(hours=1))
    return decide(release(evidence, step=step, policy=policy), policy, now)


def test_a_healthy_candidate_goes_from_shadow_to_live_in_steps() -> None:
    assert after(seen(rows=499), step=0) == Wait(why="shadow rows: 499 of 500")
    first = after(seen(rows=500), step=0)
    assert isinstance(first, Advance)
    assert first.step == 1
    second = after(seen(), step=1)
    assert isinstance(second, Advance)
    assert second.step == 2
    last = after(seen(), step=2)
    assert isinstance(last, Promote)
    assert last.proven


def test_a_worse_loss_rolls_back_with_its_interval_in_words() -> None:
    verdict = after(seen(loss=paired(0.081)))
    assert isinstance(verdict, RollBack)
    assert verdict.why == "log loss +0.081 (99.5% CS +0.059..+0.103) over 1,204 paired labels"


def test_a_worse_loss_rolls_back_before_any_traffic() -> None:
    assert isinstance(after(seen(loss=paired(0.081), rows=200), step=0), RollBack)


def test_errors_in_the_shadow_roll_back_before_any_traffic() -> None:
    tally = GuardTally(
        weight=0.5, canary_events=30, total_events=30, canary_requests=200, requests=400
    )
    shadow = Evidence(guards={"errors": (tally,)}, requests_in_stage=200)
    assert isinstance(after(shadow, step=0), RollBack)


def test_too_few_labels_decide_nothing() -> None:
    verdict = after(seen(loss=paired(3.0, n=99)))
    assert verdict == Wait(why="99 of at least 100 paired labels")


def test_many_times_the_errors_roll_back() -> None:
    verdict = after(seen(errors=40, of=800, stable_errors=150))
    assert isinstance(verdict, RollBack)
    assert "errors 40 of 800 on the candidate, 150 of 15,200 on the live version" in verdict.why


def test_twenty_failures_in_a_row_are_enough_without_statistics() -> None:
    assert isinstance(after(seen(run=19)), Advance)
    assert isinstance(after(seen(run=21)), RollBack)
    assert after(seen(run=20)) == RollBack(why="20 failures of the candidate in a row")


def test_a_breach_is_held_where_the_policy_says_so() -> None:
    policy = Policy(on_breach=OnBreach.HOLD)
    assert isinstance(after(seen(loss=paired(0.081)), policy=policy), Hold)


def test_a_candidate_that_leans_towards_worse_gets_no_larger_share() -> None:
    verdict = after(seen(loss=paired(0.02, n=200, sd=0.4)))
    assert isinstance(verdict, Wait)
    assert "leans towards worse" in verdict.why


def test_an_unproven_candidate_waits_at_the_last_step() -> None:
    verdict = after(seen(loss=paired(0.0, n=300)), step=2)
    assert isinstance(verdict, Wait)
    assert verdict.why.startswith("proof: log loss +0.000")
    assert verdict.why.endswith("must be shown below +0.01")


def test_a_clearly_better_candidate_does_not_wait_for_rows() -> None:
    assert isinstance(after(seen(rows=10)), Wait)
    better = seen(rows=10, loss=paired(-0.05))
    assert isinstance(after(better), Advance)
    assert isinstance(after(better, step=2), Promote)


def test_at_the_limit_the_inconclusive_is_held_or_promoted_as_not_proven() -> None:
    unclear = seen(loss=paired(0.0, n=300))
    held = after(unclear, late=True)
    assert isinstance(held, Hold)
    assert held.why.startswith("inconclusive after 7 days: log loss")
    promoted = after(unclear, late=True, policy=Policy(inconclusive=Inconclusive.PROMOTE))
    assert isinstance(promoted, Promote)
    assert not promoted.proven


def test_at_the_limit_the_proven_is_promoted_and_the_worse_rolled_back() -> None:
    proven = after(seen(), late=True)
    assert isinstance(proven, Promote)
    assert proven.proven
    assert isinstance(after(seen(loss=paired(0.081)), late=True), RollBack)


@given(
    rows=st.integers(0, 10**6),
    mean=st.floats(-1, 1),
    n=st.integers(0, 10**6),
    step=st.integers(0, 2),
    errors=st.integers(0, 2000),
    hours=st.integers(168, 10**5),
)
def test_no_release_outlives_its_limit(
    rows: int, mean: float, n: int, step: int, errors: int, hours: int
) -> None:
    evidence = seen(rows=rows, loss=paired(mean, n=max(n, 1)), errors=errors)
    verdict = decide(release(evidence, step=step), POLICY, NOON + timedelta(hours=hours))
    assert isinstance(verdict, Promote | RollBack | Hold)


@pytest.mark.parametrize("state", [State.HELD, State.PROMOTED, State.ROLLED_BACK])
def test_what_is_not_running_is_left_alone(state: State) -> None:
    still = replace(release(seen(run=50)), state=state)
    assert isinstance(decide(still, POLICY, NOON + LATE), Wait)


def test_a_policy_without_canary_promotes_out_of_the_shadow_when_proven() -> None:
    policy = Policy(steps=(1.0,))
    assert isinstance(after(seen(), step=0, policy=policy), Promote)
    assert isinstance(after(seen(loss=paired(0.0, n=300)), step=0, policy=policy), Wait)


def test_a_model_without_labels_is_judged_by_its_guards_alone() -> None:
    policy = Policy(loss_margin=None)
    verdict = after(seen(loss=PairedLoss()), step=2, policy=policy)
    assert isinstance(verdict, Promote)
    assert "paired" not in verdict.why


def test_few_errors_must_be_shown_rare_or_not_more_frequent_before_promotion() -> None:
    assert isinstance(after(seen(of=100), step=2), Wait)
    assert isinstance(after(seen(of=600), step=2), Promote)
    many = seen(errors=100, of=2000, stable_errors=1900)  # 5 % on both arms: not rare
    assert isinstance(after(many, step=2), Promote)


def test_the_rollback_rate_is_split_over_all_that_can_roll_back() -> None:
    policy = Policy(guards=("errors", "slow", "invalid"))
    readings = read(seen(), policy)
    assert [guard.threshold for guard in readings.guards] == [pytest.approx(5.99, abs=0.01)] * 3
    alone = read(seen(), Policy(loss_margin=None))
    assert alone.guards[0].threshold == pytest.approx(4.61, abs=0.01)


def test_a_guard_that_is_not_in_the_policy_is_not_judged() -> None:
    evidence = seen()
    strange = replace(
        evidence, guards=evidence.guards | {"other": seen(errors=999).guards["errors"]}
    )
    assert after(strange) == after(evidence)


def badness(decision: Decision) -> int:
    match decision:
        case Promote(proven=True):
            return 0
        case Promote():
            return 1
        case Advance():
            return 2
        case Wait():
            return 3
        case Hold():
            return 4
        case RollBack():
            return 5


@given(
    errors=st.integers(0, 500),
    more=st.integers(1, 500),
    stable_errors=st.integers(0, 3000),
    mean=st.floats(-0.05, 0.05),
    labels=st.integers(1, 10_000),
    rows=st.integers(0, 2000),
    run=st.integers(0, 25),
    step=st.integers(0, 2),
    late=st.booleans(),
    inconclusive=st.sampled_from(Inconclusive),
)
def test_more_errors_never_help(
    errors: int,
    more: int,
    stable_errors: int,
    mean: float,
    labels: int,
    rows: int,
    run: int,
    step: int,
    late: bool,  # noqa: FBT001
    inconclusive: Inconclusive,
) -> None:
    policy = Policy(inconclusive=inconclusive)
    loss = paired(mean, n=labels)

    def verdict(count: int, run: int) -> Decision:
        evidence = seen(errors=count, stable_errors=stable_errors, loss=loss, rows=rows, run=run)
        return after(evidence, step=step, policy=policy, late=late)

    before = badness(verdict(errors, run))
    assert badness(verdict(errors + more, run)) >= before
    assert badness(verdict(errors, run + 1)) >= before


@given(
    mean=st.floats(-0.2, 0.2),
    worse_by=st.floats(0, 0.2),
    labels=st.integers(1, 10_000),
    step=st.integers(0, 2),
)
def test_a_larger_loss_never_helps(mean: float, worse_by: float, labels: int, step: int) -> None:
    before = after(seen(loss=paired(mean, n=labels)), step=step)
    assert badness(after(seen(loss=paired(mean + worse_by, n=labels)), step=step)) >= badness(
        before
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": ()},
        {"steps": (0.25, 0.05)},
        {"steps": (0.0, 0.5)},
        {"steps": (0.5, 1.5)},
        {"false_rollback": 0.0},
        {"false_promote": 0.7},
        {"tolerated_ratio": 0.9},
        {"tolerated_ratio": 2.0, "proven_ratio": 2.0},
        {"harmless_rate": 0.0},
        {"loss_margin": 0.0},
        {"at_most": timedelta(0)},
        {"breaker": 0},
        {"minimum_labels": 1},
        {"shadow": -1},
    ],
)
def test_a_policy_that_cannot_work_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(Invalid, match="policy cannot work"):
        Policy(**wrong)


def test_a_release_survives_being_stored_as_json() -> None:
    whole = release(seen(loss=paired(0.01), run=3))
    assert msgspec.json.decode(msgspec.json.encode(whole), type=Release) == whole


def test_errors_above_the_declared_ceiling_are_a_breach_however_many_the_live_one_has() -> None:
    policy = Policy(errors_at_most=0.01)
    bad = seen(errors=60, of=2000, stable_errors=19 * 60)
    assert not isinstance(decide(release(bad), POLICY, NOON), RollBack), "as good as the live one"
    verdict = decide(release(bad, policy=policy), policy, NOON)
    assert isinstance(verdict, RollBack)
    assert verdict.why.endswith(", at most 1% allowed")
    fine = seen(errors=5, of=2000, stable_errors=19 * 5)
    assert not isinstance(decide(release(fine, policy=policy), policy, NOON), RollBack)
    with pytest.raises(Invalid, match="errors_at_most is 1"):
        Policy(errors_at_most=1.0)


JUDGED = replace(POLICY, objective="roc_auc")


def by_blocks(*differences: float) -> Evidence:
    judged = tuple(
        Judged(start=3600 * i, rows=200, difference=d) for i, d in enumerate(differences)
    )
    return replace(seen(), objective=PairedObjective(judged=judged))


def test_a_worse_objective_rolls_back_with_its_interval_in_words() -> None:
    verdict = after(by_blocks(*[-0.15] * 9), policy=JUDGED)
    assert isinstance(verdict, RollBack)
    assert (
        verdict.why == "roc_auc -0.150 (99% CS -0.234..-0.066) in 9 blocks of 60 min, 1,800 labels"
    )


def test_the_interval_of_the_objective_decides_as_its_evidence_does() -> None:
    for blocks in range(1, 12):
        found = read(by_blocks(*[-0.15] * blocks), JUDGED)
        assert found.objective is not None
        shown = found.objective.high is not None and found.objective.high < -0.02
        assert found.objective.breached is shown


def test_an_objective_that_is_not_judged_takes_no_share_of_the_false_rollbacks() -> None:
    whole, half = read(seen(), POLICY), read(seen(), JUDGED)
    assert half.objective is not None
    assert half.objective.mean is None
    assert whole.guards[0].threshold == pytest.approx(half.guards[0].threshold - math.log(2))
    parts = [half.objective.threshold, *(guard.threshold for guard in half.guards)]
    of_loss = half.guards[0].threshold
    spent = sum(math.exp(-threshold) for threshold in (*parts, of_loss))
    assert spent == pytest.approx(POLICY.false_rollback)


def test_what_is_proven_else_waits_while_the_objective_leans_towards_worse() -> None:
    doubtful = by_blocks(-0.15, -0.1)
    assert isinstance(after(seen(), step=2, policy=JUDGED), Promote)
    verdict = after(doubtful, step=2, policy=JUDGED)
    assert isinstance(verdict, Wait)
    assert "roc_auc -0.125 in 2 blocks" in verdict.why
    assert isinstance(after(doubtful, step=1, policy=JUDGED), Wait)


def test_what_leans_towards_worse_by_its_objective_is_not_promoted_at_the_limit() -> None:
    promote = replace(JUDGED, inconclusive=Inconclusive.PROMOTE)
    verdict = after(by_blocks(-0.15, -0.1), step=2, policy=promote, late=True)
    assert isinstance(verdict, RollBack)
    assert "leans towards worse" in verdict.why
    held = after(by_blocks(-0.15, -0.1), step=2, policy=JUDGED, late=True)
    assert isinstance(held, Hold)


def test_equal_versions_are_promoted_as_before() -> None:
    verdict = after(by_blocks(0.02, -0.03, 0.01, 0.0), step=2, policy=JUDGED)
    assert isinstance(verdict, Promote)
    assert verdict.proven


def test_an_objective_that_blocks_cannot_judge_is_refused() -> None:
    with pytest.raises(Invalid, match="rmse"):
        Policy(objective="rmse")
