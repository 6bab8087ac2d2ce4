"""What a piece of the log says about a release: each version's attempts, at one half."""

from datetime import UTC, datetime, timedelta
from itertools import chain
from math import log, nan

import pytest
from msgspec.structs import replace
from tests.control.made import predicted, shadowed

from setpoint.control.evidence import Seen, asked_for, evidence
from setpoint.core.clock import to_micros
from setpoint.releases.evidence import Evidence, PairedLoss
from setpoint.releases.objective import PairedObjective, bin_of
from setpoint.serve.entities import BatchRecord, CountRecord, Labelled, Role
from setpoint.serve.rules import ROLES

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def of(
    seen: Seen,
    *,
    slow_micros: int | None = None,
    task: str = "classification",
    block: timedelta = timedelta(0),
) -> Evidence:
    return evidence(seen, candidate=2, live=1, slow_micros=slow_micros, task=task, block=block)


def seen(**parts: object) -> Seen:
    kinds = [parts.pop(kind, []) for kind in ("predictions", "shadows", "counts")]
    fields = {"records": list(chain(*kinds)), "labelled": [], "rows": 0}  # type: ignore[arg-type]
    return Seen(**(fields | parts))  # type: ignore[arg-type]


def row(
    score: float = 0.5,
    other: float | None = 0.8,
    *,
    version: int = 1,
    other_version: int | None = 2,
    label: float = 1.0,
    was: float | None = None,
    at: datetime = NOON,
) -> Labelled:
    return Labelled(
        id="a",
        version=version,
        role=Role.LIVE,
        at_us=to_micros(at),
        score=score,
        other_version=other_version,
        other_score=other,
        label=label,
        told_us=to_micros(at),
        was=was,
        was_told_us=None if was is None else to_micros(at),
    )


def test_a_request_scored_by_both_arms_is_one_attempt_of_each_at_one_half() -> None:
    found = of(
        seen(
            predictions=[predicted(["a"], at=NOON), predicted(["b"], at=NOON)],
            shadows=[shadowed(["a"], [0.4], at=NOON), shadowed(["b"], None, at=NOON)],
            rows=2,
        )
    )
    (tally,) = found.guards["errors"]
    assert tally.weight == 0.5
    assert (tally.canary_requests, tally.stable_requests) == (2, 2)
    assert (tally.canary_events, tally.stable_events) == (1, 0)
    assert found.requests_in_stage == 2
    assert found.canary_streak.tail == 1


def test_a_request_routed_to_the_canary_has_the_live_version_as_its_shadow() -> None:
    answered = predicted(["a"], at=NOON, version=2, canary=True)
    found = of(seen(predictions=[answered], shadows=[shadowed(["a"], None, at=NOON, version=1)]))
    (tally,) = found.guards["errors"]
    assert (tally.canary_requests, tally.stable_requests) == (1, 1)
    assert (tally.canary_events, tally.stable_events) == (0, 1)


def test_a_failure_is_the_failing_versions_whoever_answered_instead() -> None:
    fallen = predicted(["a"], at=NOON, version=1, canary=True, failed=2, fallback=True, status=500)
    (tally,) = of(seen(predictions=[fallen])).guards["errors"]
    assert (tally.canary_events, tally.canary_requests, tally.stable_requests) == (1, 1, 0)


def test_a_request_that_no_version_could_answer_counts_against_the_one_that_failed() -> None:
    lost = predicted(["a"], at=NOON, failed=1, status=500, scores=[])
    (tally,) = of(seen(predictions=[lost])).guards["errors"]
    assert (tally.stable_events, tally.stable_requests) == (1, 1)


def test_other_versions_say_nothing_about_a_release() -> None:
    strangers = seen(
        predictions=[predicted(["a"], at=NOON, version=7)],
        shadows=[shadowed(["a"], None, at=NOON, version=8)],
        labelled=[row(version=7), row(other_version=8)],
    )
    found = of(strangers)
    assert found.guards == {}
    assert found.loss == PairedLoss()


def test_slow_requests_are_counted_only_where_a_limit_is_declared() -> None:
    answers = seen(predictions=[predicted(["a"], at=NOON, micros=2000), predicted(["b"], at=NOON)])
    assert "slow requests" not in of(answers).guards
    (tally,) = of(answers, slow_micros=1000).guards["slow requests"]
    assert (tally.stable_events, tally.stable_requests) == (1, 2)


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (row(was=0.0), "a correction: its first label was counted"),
        (row(other_version=None, other=None), "no other arm has scored it"),
        (row(other=None), "the other arm failed"),
        (row(score=nan), "an input is missing"),
        (row(other=nan), "an input is missing to the other arm"),
    ],
)
def test_rows_that_say_nothing_about_the_loss_are_left_out(found: Labelled, why: str) -> None:
    assert of(seen(labelled=[found])).loss.n == 0, why


def test_the_paired_loss_is_the_candidates_minus_the_live_versions_whoever_answered() -> None:
    both = seen(labelled=[row(0.5, 0.8), row(0.8, 0.5, version=2, other_version=1)])
    loss = of(both).loss
    assert loss.n == 2
    assert loss.mean == pytest.approx(-log(0.8) + log(0.5))
    assert loss.blocks == {}


def test_a_regression_is_judged_by_squared_error() -> None:
    loss = of(seen(labelled=[row(3.0, 2.0, label=1.0)]), task="regression").loss
    assert loss.mean == 1.0 - 4.0


def test_rows_of_a_block_of_time_count_together() -> None:
    minute = timedelta(minutes=1)
    rows = [row(at=NOON), row(at=NOON + minute - timedelta(seconds=1)), row(at=NOON + minute)]
    loss = of(seen(labelled=rows), block=minute).loss
    assert [count for count, _ in loss.blocks.values()] == [2, 1]
    assert list(loss.blocks) == [str(int(at.timestamp())) for at in (NOON, NOON + minute)]


def test_the_objective_is_counted_in_blocks_where_it_is_judged() -> None:
    hour = timedelta(hours=1)
    both = seen(
        predictions=[predicted(["a"], at=NOON + 3 * hour)],
        labelled=[row(0.5, 0.8), row(0.8, 0.5, version=2, other_version=1, label=0.0)],
    )
    assert of(both).objective == PairedObjective()
    found = evidence(
        both,
        candidate=2,
        live=1,
        slow_micros=None,
        task="classification",
        block=hour,
        objective_block=hour,
    ).objective
    assert found.until == int((NOON + 3 * hour).timestamp())
    (counts,) = found.open.values()
    assert list(found.open) == [str(int(NOON.timestamp()))]
    assert counts.candidate_positive == counts.candidate_negative == {str(bin_of(0.8)): 1}
    assert counts.live_positive == counts.live_negative == {str(bin_of(0.5)): 1}


def test_rows_of_a_table_say_nothing_about_a_release() -> None:
    asked = predicted(["a", "b"], at=NOON)
    fields = {name: getattr(asked, name) for name in asked.__struct_fields__}
    batch = BatchRecord(**(fields | {"ids": ["c", "d"]}))
    unsampled = CountRecord(
        at_us=asked.at_us, model="m", version=2, role=ROLES.index(Role.BATCH), requests=1, rows=7
    )
    found = asked_for(seen(predictions=[batch, asked], counts=[unsampled], rows=11))
    assert found == seen(predictions=[asked], rows=2)
    assert of(found) == of(seen(predictions=[asked], rows=2))


def test_a_version_that_somebody_named_says_nothing_about_a_release() -> None:
    asked = predicted(["a", "b"], at=NOON)
    role = bytes((ROLES.index(Role.NAMED),))
    named = replace(predicted(["c", "d"], version=2, at=NOON), roles=role * 2)
    failed = replace(named, ids=["e"], roles=role, scores=b"", failed=2)
    found = asked_for(seen(predictions=[named, asked, failed], rows=4))
    assert found == seen(predictions=[asked], rows=2)
