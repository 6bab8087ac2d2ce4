"""When a curve deserves a word, and when it does not."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.sdk.watch import Alert, Seen, Watch, see, wait

SECOND = 1_000_000


def run(watch: Watch, values: list[float]) -> list[tuple[int, Alert]]:
    seen, alerts = Seen(at=0), []
    for step, value in enumerate(values):
        seen, alert = see(watch, seen, value, step, step * SECOND)
        if alert:
            alerts.append((step, alert))
    return alerts


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_a_number_is_told_once_until_it_recovers(value: float) -> None:
    found = run(Watch(metric="loss"), [1.0, value, value, 0.9, value])
    assert [(step, alert.kind) for step, alert in found] == [(1, "nan"), (4, "nan")]
    assert f"step {1}" in found[0][1].text
    assert not run(Watch(metric="loss", nan=False), [1.0, value])


def test_a_loss_that_blows_up_is_told_after_patience_and_once() -> None:
    falling = [1 / (i + 1) for i in range(50)]
    rising = [2.0**i for i in range(30)]
    ((step, alert),) = run(Watch(metric="loss", patience=10), falling + rising)
    assert alert.kind == "diverging"
    assert 59 <= step <= 62
    assert "it had come to 0.0" in alert.text


def test_an_accuracy_diverges_downwards() -> None:
    values = [0.9 + 0.01 * (i % 2) for i in range(50)] + [0.1] * 20
    watch = Watch(metric="accuracy", lower_is_better=False)
    assert [alert.kind for _, alert in run(watch, values)] == ["diverging"]
    assert not run(Watch(metric="accuracy"), values)


def test_noise_about_a_falling_loss_is_no_divergence() -> None:
    told = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        steps = np.arange(2_000)
        values = np.exp(-steps / 500) + 0.1 * rng.normal(size=2_000)
        told += bool(run(Watch(metric="loss"), values.tolist()))
    assert not told


def test_silence_is_told_once_and_again_after_a_value() -> None:
    watch, seen = Watch(metric="loss", stalled=60), Seen(at=0)
    seen, alert = wait(watch, seen, 59 * SECOND)
    assert alert is None
    seen, alert = wait(watch, seen, 60 * SECOND)
    assert alert is not None
    assert "60 seconds" in alert.text
    seen, alert = wait(watch, seen, 100 * SECOND)
    assert alert is None
    seen, _ = see(watch, seen, 1.0, 0, 101 * SECOND)
    seen, alert = wait(watch, seen, 170 * SECOND)
    assert alert is not None


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=200))
def test_any_curve_can_be_watched(values: list[float]) -> None:
    for watch in (Watch(metric="x"), Watch(metric="x", lower_is_better=False)):
        run(watch, values)
