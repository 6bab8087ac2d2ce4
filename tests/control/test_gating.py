"""The gate is asked what the spec declares, about the rows that were set apart."""

from pathlib import Path

import pytest
from tests.control import made
from tests.control.made import CODE, MODEL

from setpoint.control.controller import Controller
from setpoint.control.entities import JobState
from setpoint.db.local import LocalBackend
from setpoint.models import store as models
from setpoint.models.entities import Check

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

COST = """

def cost(label, score):
    return (label - score).abs()


def cost_of_nothing(label):
    return [1.0]
"""


def checks(home: LocalBackend, folder: Path, **changed: object) -> dict[str, Check]:
    made.apply(home, folder, code=CODE + COST, **changed)
    Controller(home).tick()
    with home.engine.begin() as conn:
        newest = models.versions(conn, MODEL)[0]
    assert newest.gate is not None
    return {check.name: check for check in newest.gate.checks}


def test_every_declared_bound_is_asked_about(backend: LocalBackend, tmp_path: Path) -> None:
    found = checks(
        backend,
        tmp_path,
        data={"entity": "id"},
        train={"baseline": "work:train_on_noise"},
        objective={"better_than": "baseline"},
        guardrails={
            "slices": {"by": ["y"], "least_rows": 10, "accuracy": {"at_least": 0.1}},
            "calibration_error": {"at_most": 0.9},
            "latency_p99": {"at_most": "5s"},
        },
    )
    names = " ".join(found)
    for part in ("objective", "baseline", "slice", "calibration", "leak", "latency"):
        assert part in names, f"{part} in {names}"
    assert all(check.passed for check in found.values())


def test_a_later_version_is_compared_with_the_live_one_and_its_cost(
    backend: LocalBackend, tmp_path: Path
) -> None:
    business = {"metric": "cost", "code": "work:cost", "must_not_rise": "5%"}
    first = checks(backend, tmp_path, business=business)
    assert not any("version" in name or "cost" in name for name in first)
    second = checks(backend, tmp_path, business=business, train={"code": "work:train_on_noise"})
    assert any("cost" in name and not check.passed for name, check in second.items())


def test_a_measure_that_is_not_a_number_a_row_is_the_users_to_mend(
    backend: LocalBackend, tmp_path: Path
) -> None:
    business = {"metric": "cost", "code": "work:cost_of_nothing", "must_not_rise": "5%"}
    checks(backend, tmp_path, business=business)
    checks(backend, tmp_path, business=business, train={"seed": 2})
    job = made.jobs(backend)[0]
    assert job.state is JobState.FAILED
    assert "work:cost_of_nothing gave (1,) values for 193 rows" in str(job.outcome)


IN_DAYS = CODE.replace(
    """    a, b = rng.normal(size=(2, 600))
    y = rng.random(600) < 1 / (1 + np.exp(-2 * a + b))
    ids = [f"r{i}" for i in range(600)]
    return pl.DataFrame({"id": ids, "a": a, "b": b, "y": y.astype(float)})
""",
    """    from datetime import datetime, timedelta

    n = 3600  # each hour two or three, for 60 days; what helps on one misleads on the next
    a, b = rng.normal(size=(2, n))
    day = np.arange(n) // 60
    y = rng.random(n) < 1 / (1 + np.exp(-np.where(day % 2, 4.0, -1.0) * a))
    at = [datetime(2025, 1, 1) + i * timedelta(minutes=24) for i in range(n)]
    ids = [f"r{i}" for i in range(n)]
    return pl.DataFrame({"id": ids, "at": at, "a": a, "b": b, "y": y.astype(float)})
""",
)


def test_rows_that_fail_together_widen_the_interval_where_the_split_is_by_time(
    backend: LocalBackend, tmp_path: Path
) -> None:
    widths = {}
    for name, split in (("time", {"by": "time", "test": "20d"}), ("random", {"by": "random"})):
        home = tmp_path / name
        changed = {"data": {"time": "at"}, "train": {"split": split}}
        made.apply(backend, home, code=IN_DAYS, **changed)
        Controller(backend).tick()
        with backend.engine.begin() as conn:
            newest = models.versions(conn, MODEL)[0]
        assert newest.gate is not None
        (found,) = (check for check in newest.gate.checks if check.name == "objective")
        assert found.low is not None
        assert found.high is not None
        widths[name] = found.high - found.low
    assert widths["time"] > 2 * widths["random"]
