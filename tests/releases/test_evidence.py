import math
import statistics

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.errors import Invalid
from setpoint.releases.evidence import (
    Evidence,
    GuardTally,
    PairedLoss,
    Streak,
    log_loss,
    merge,
    merge_losses,
    merge_streaks,
    next_stage,
    paired_loss,
    squared_error,
    streak,
)

outcomes = st.lists(st.booleans(), max_size=40)
differences = st.lists(st.floats(-20, 20), max_size=40)


@st.composite
def tallies(draw: st.DrawFn) -> GuardTally:
    canary, stable = draw(st.integers(0, 500)), draw(st.integers(0, 500))
    canary_events = draw(st.integers(0, canary))
    return GuardTally(
        weight=draw(st.sampled_from([0.05, 0.25, 0.5])),
        canary_events=canary_events,
        total_events=canary_events + draw(st.integers(0, stable)),
        canary_requests=canary,
        requests=canary + stable,
    )


@st.composite
def evidence(draw: st.DrawFn) -> Evidence:
    names = st.sampled_from(["errors", "slow", "invalid"])
    return Evidence(
        guards=draw(st.dictionaries(names, st.tuples(tallies()), max_size=3)),
        loss=paired_loss(draw(differences)),
        requests_in_stage=draw(st.integers(0, 1000)),
        canary_streak=streak(draw(outcomes)),
    )


def counts(e: Evidence) -> object:
    return e.guards, e.requests_in_stage, e.loss.n


@given(a=evidence(), b=evidence(), c=evidence())
def test_how_windows_are_grouped_changes_nothing(a: Evidence, b: Evidence, c: Evidence) -> None:
    left, right = merge(merge(a, b), c), merge(a, merge(b, c))
    assert counts(left) == counts(right)
    assert left.canary_streak == right.canary_streak
    assert left.loss.mean == pytest.approx(right.loss.mean, abs=1e-9)
    assert left.loss.m2 == pytest.approx(right.loss.m2, abs=1e-7)


@given(a=evidence(), b=evidence())
def test_the_order_of_windows_changes_no_count(a: Evidence, b: Evidence) -> None:
    assert counts(merge(a, b)) == counts(merge(b, a))


@given(a=evidence())
def test_nothing_more_changes_nothing(a: Evidence) -> None:
    assert counts(merge(a, Evidence())) == counts(merge(Evidence(), merge(a, Evidence())))
    assert merge(a, Evidence()).loss == a.loss
    assert merge(Evidence(), a).canary_streak == a.canary_streak


@given(a=evidence())
def test_evidence_survives_being_stored_as_json(a: Evidence) -> None:
    assert msgspec.json.decode(msgspec.json.encode(a), type=Evidence) == a


def test_tallies_of_one_traffic_share_are_one_tally() -> None:
    one = GuardTally(
        weight=0.05, canary_events=1, total_events=3, canary_requests=50, requests=1000
    )
    both = merge(Evidence(guards={"errors": (one,)}), Evidence(guards={"errors": (one,)}))
    assert both.guards["errors"] == (
        GuardTally(
            weight=0.05, canary_events=2, total_events=6, canary_requests=100, requests=2000
        ),
    )


@given(xs=differences, ys=differences)
def test_joined_losses_are_those_of_all_rows(xs: list[float], ys: list[float]) -> None:
    joined = merge_losses(paired_loss(xs), paired_loss(ys))
    assert joined.n == len(xs + ys)
    if xs + ys:
        assert joined.mean == pytest.approx(statistics.fmean(xs + ys), abs=1e-9)
    if len(xs + ys) > 1:
        assert joined.sd == pytest.approx(statistics.stdev(xs + ys), abs=1e-6)


def test_no_rows_have_no_spread() -> None:
    assert paired_loss([]) == PairedLoss()
    assert paired_loss([3.0]).sd == 0.0


@given(xs=outcomes, ys=outcomes)
def test_a_run_of_failures_may_cross_the_seam(xs: list[bool], ys: list[bool]) -> None:
    assert merge_streaks(streak(xs), streak(ys)) == streak(xs + ys)


@given(xs=outcomes)
def test_the_longest_run_is_that_of_the_text(xs: list[bool]) -> None:
    written = "".join("x" if failed else "." for failed in xs)
    assert streak(xs).longest == max(map(len, written.split(".")))


def test_no_requests_have_no_run() -> None:
    assert streak([]) == Streak()


def test_a_new_stage_counts_its_own_requests_only() -> None:
    before = Evidence(requests_in_stage=9, loss=paired_loss([1.0, 2.0]))
    assert next_stage(before) == Evidence(loss=before.loss)


@pytest.mark.parametrize(
    "wrong",
    [
        {"canary_events": 2, "canary_requests": 1},
        {"total_events": 0},
        {"requests": 0},
        {"total_events": 1001},
        {"weight": 1.5},
    ],
)
def test_a_tally_that_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    good = {
        "weight": 0.05,
        "canary_events": 1,
        "total_events": 3,
        "canary_requests": 50,
        "requests": 1000,
    }
    with pytest.raises(Invalid):
        GuardTally(**(good | wrong))  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_no_number_is_refused(bad: float) -> None:
    with pytest.raises(Invalid, match="not finite"):
        paired_loss([0.1, bad])


def test_losses_are_those_of_the_textbook() -> None:
    assert log_loss(0.25, 1) == pytest.approx(math.log(4))
    assert log_loss(0.25, 0) == pytest.approx(-math.log(0.75))
    assert log_loss(0.0, 1) == pytest.approx(-math.log(1e-6))
    assert log_loss(1.0, 1) == pytest.approx(0.0, abs=1e-5)
    assert squared_error(3.0, 1.0) == 4.0
