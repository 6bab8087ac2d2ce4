"""From a spec's words to the numbers that releases and monitors are judged by."""

from datetime import timedelta

import pytest
from tests.control.made import DOCUMENT, reference, spec

from setpoint.control.policies import release_policy, watching
from setpoint.monitor.evidence import threshold
from setpoint.releases.entities import Inconclusive, OnBreach


def test_a_release_is_judged_as_the_spec_says() -> None:
    found = release_policy(
        spec(
            guardrails={"latency_p99": {"at_most": "20ms"}},
            release={
                "shadow": {"for": "30 requests"},
                "canary": {
                    "steps": ["10%", "100%"],
                    "margin": "50%",
                    "loss_margin": "10%",
                    "block": "1h",
                    "inconclusive": "promote",
                    "false_rollback": "2%",
                },
                "on_breach": "hold",
            },
        ),
        None,
        changed=True,
    )
    assert (found.shadow, found.steps) == (30, (0.1, 1.0))
    assert found.guards == ("errors", "slow requests")
    assert found.tolerated_ratio == 1.5
    assert found.loss_margin == pytest.approx(0.1 * 0.5), "half a nat, while nothing is live"
    assert found.block == timedelta(hours=1)
    assert (found.objective, found.objective_margin) == ("roc_auc", 0.02)
    assert (found.objective_block, found.patience) == (timedelta(hours=1), timedelta(hours=1))
    assert (found.on_breach, found.inconclusive) == (OnBreach.HOLD, Inconclusive.PROMOTE)
    assert found.false_rollback == 0.02


def test_a_shadow_by_time_asks_for_rows_and_a_regression_for_squared_error() -> None:
    found = release_policy(
        spec(objective={"metric": "rmse", "at_least": None}, release={"shadow": {"for": "2d"}}),
        None,
        changed=True,
    )
    assert (found.shadow, found.guards, found.loss) == (500, ("errors",), "squared error")
    assert found.objective is None, "its loss is judged"


def test_labels_that_are_known_late_are_waited_for_in_few_open_blocks() -> None:
    late = spec(data=DOCUMENT["data"] | {"time": "at", "label": {"column": "y", "delay": "2d"}})
    found = release_policy(late, None, changed=True)
    assert (found.objective_block, found.patience) == (timedelta(hours=4), timedelta(hours=52))


def test_the_alarm_budget_is_shared_by_the_monitors_that_are_on() -> None:
    some = reference()
    all_on = watching(spec(), some)
    fewer = watching(spec(watch={"quality": {"estimate_meanwhile": False}}), some)
    assert all_on.drift is not None
    assert fewer.drift is not None
    assert all_on.quality is not None
    assert all_on.estimate is not None
    assert fewer.estimate is None
    month = timedelta(days=30).total_seconds()
    assert all_on.drift.threshold == threshold(every=month, window=3600, share=0.3)
    assert fewer.drift.threshold < all_on.drift.threshold, "a larger share alarms sooner"


def test_monitors_that_are_off_have_no_policy() -> None:
    off = spec(watch={"drift": {"features": [], "prediction": False}})
    assert watching(off, reference()).drift is None
    assert watching(spec(objective={"metric": "r2"}), reference()).quality is None


def test_features_that_are_not_watched_weigh_nothing() -> None:
    one = watching(spec(watch={"drift": {"features": ["a"], "prediction": False}}), reference())
    assert one.drift is not None
    assert one.drift.weights["b"] == 0.0
    assert "a" not in one.drift.weights
    assert sum(one.drift.weights.values()) == 0.0
    assert len(one.drift.weights) == 2, "b and the score"


def test_a_ceiling_of_errors_is_watched_with_a_part_of_the_budget_and_holds_in_releases() -> None:
    limited = spec(guardrails={"errors": {"at_most": "0.1%"}})
    found = watching(limited, reference())
    assert watching(spec(), reference()).errors is None
    assert found.errors is not None
    assert (found.errors.at_most, found.errors.seconds) == (0.001, 900)
    month = timedelta(days=30).total_seconds()
    assert found.errors.threshold == threshold(every=month, window=900, share=2 / 12)
    assert found.drift is not None
    assert found.drift.threshold == threshold(every=month, window=3600, share=3 / 12)
    assert release_policy(limited, None, changed=True).errors_at_most == 0.001
