"""What people ask of the controller: where models stand, specs in force, trainings."""

from pathlib import Path

import pytest
from tests.control import made
from tests.control.made import MODEL, spec

from setpoint.control.controller import Controller
from setpoint.control.decide import Observed
from setpoint.control.entities import JobState, State
from setpoint.control.service import (
    ListJobs,
    ListStatus,
    ShowSpec,
    jobs,
    ls,
    objective_of,
    show_spec,
)
from setpoint.db.local import LocalBackend
from setpoint.errors import NotFound


def test_status_says_where_a_model_stands_and_why(backend: LocalBackend, tmp_path: Path) -> None:
    assert backend.call(ls, ListStatus()).models == []
    made.apply(backend, tmp_path, owner="ops", purpose="to see")
    (before,) = backend.call(ls, ListStatus()).models
    assert (before.state, before.why) == (State.SETTLING, "the first version is not live yet")
    Controller(backend).tick()
    (after,) = backend.call(ls, ListStatus(model=MODEL)).models
    assert (after.state, after.live) == (State.ON_TARGET, 1)
    assert (after.owner, after.purpose) == ("ops", "to see")
    assert after.objective == "roc_auc ≥ 0.6"
    assert after.release is None, "it is over"
    assert [deployed.version for deployed in after.deployments] == [1]
    assert after.job is not None
    assert after.job.state is JobState.REGISTERED


def test_the_spec_in_force_and_the_trainings_can_be_read(
    backend: LocalBackend, tmp_path: Path
) -> None:
    made.apply(backend, tmp_path)
    assert backend.call(show_spec, ShowSpec(model=MODEL)).file.endswith("m.setpoint.yaml")
    assert backend.call(jobs, ListJobs(model=MODEL)).jobs == []
    Controller(backend).tick()
    (job,) = backend.call(jobs, ListJobs(model=MODEL)).jobs
    assert (job.why, job.version) == ("first version", 1)


def test_a_model_without_a_spec_is_not_found(backend: LocalBackend) -> None:
    with pytest.raises(NotFound, match="no spec of model 'none'"):
        backend.call(ls, ListStatus(model="none"))
    with pytest.raises(NotFound, match="no spec of model 'none'"):
        backend.call(show_spec, ShowSpec(model="none"))


def test_objectives_are_said_in_words() -> None:
    both = spec(
        objective={"metric": "log_loss", "at_least": None, "at_most": 0.5},
        train={"baseline": "work:train"},
    )
    seen = Observed(spec=both, spec_address="", training="")
    assert objective_of(seen) == "log_loss ≤ 0.5"
    rival = spec(objective={"better_than": "baseline"}, train={"baseline": "work:train"})
    said = objective_of(Observed(spec=rival, spec_address="", training=""))
    assert said == "roc_auc ≥ 0.6 better than the baseline"
