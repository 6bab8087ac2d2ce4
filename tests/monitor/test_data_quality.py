from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from setpoint.monitor import data_quality
from setpoint.monitor.data_quality import DataQualityPolicy, DataQualityVerdict
from setpoint.profiles.profile import profile
from setpoint.profiles.reference import DAY, build_reference

START = datetime(2026, 1, 1, tzinfo=UTC)
RNG = np.random.default_rng(61)


def rows(n: int, rng: np.random.Generator, *, missing: float = 0.02) -> dict[str, Any]:
    temp = rng.normal(size=n)
    temp[rng.random(n) < missing] = np.nan
    return {"temp": temp, "carrier": rng.choice(["AA", "B6", "UA"], n).tolist()}


REFERENCE = build_reference(rows(20_000, RNG))
POLICY = DataQualityPolicy(threshold=30)


def judge(days: list[dict[str, Any]]) -> list[DataQualityVerdict]:
    state, verdicts = data_quality.begin(REFERENCE, since=START), []
    for at, batch in enumerate(days):
        end = START + timedelta(days=at + 1)
        part = profile(batch, REFERENCE)
        state, verdict = data_quality.update(state, REFERENCE, part, POLICY, end=end)
        verdicts.append(verdict)
    return verdicts


def test_rows_like_the_references_never_alarm() -> None:
    rng = np.random.default_rng(62)
    assert not any(v.alarm for v in judge([rows(500, rng) for _ in range(300)]))


def test_more_missing_values_than_ever_are_named() -> None:
    rng = np.random.default_rng(63)
    verdicts = judge([rows(500, rng, missing=0.1) for _ in range(3)])
    assert verdicts[0].alarm
    worst = verdicts[0].events[0]
    assert (worst.column, worst.event) == ("temp", "missing")
    assert worst.rate > worst.allowed
    assert verdicts[0].attribution[0][0] == "temp"


def test_a_new_category_and_a_wrong_type_are_named() -> None:
    rng = np.random.default_rng(64)
    batch = rows(500, rng)
    batch["carrier"] = ["XX"] * 40 + batch["carrier"][40:]
    batch["temp"] = ["warm"] * 60 + batch["temp"][60:].tolist()
    (verdict,) = judge([batch])
    assert {(e.column, e.event) for e in verdict.events} == {
        ("carrier", "unseen"),
        ("temp", "invalid"),
    }


def test_an_outage_of_a_day_that_the_reference_had_is_nothing_new() -> None:
    rng = np.random.default_rng(65)
    before = rows(20_000, rng, missing=0.0)
    times = np.arange(20_000) * 300  # 288 rows a day
    before["temp"][(times // DAY) == 20] = np.nan
    reference = build_reference(before, times=times)
    outage = profile(rows(288, rng, missing=0.9), reference)
    state = data_quality.begin(reference, since=START)
    end = START + timedelta(days=1)
    _, verdict = data_quality.update(state, reference, outage, POLICY, end=end)
    assert not verdict.alarm


def test_a_few_rows_wait() -> None:
    (verdict,) = judge([rows(20, RNG)])
    assert not verdict.judged
