"""A training is carried out once, whatever it is interrupted by."""

from pathlib import Path

import pytest
from tests.control import made
from tests.control.made import CODE, MODEL, spec

from setpoint.artifacts.store import open_store
from setpoint.control import store, training
from setpoint.control.contracts import contracts_of
from setpoint.control.controller import request_training
from setpoint.control.entities import Job, JobState
from setpoint.control.making import training_hash
from setpoint.control.observe import observe
from setpoint.control.training import train
from setpoint.db.local import LocalBackend
from setpoint.errors import Invalid, Unavailable
from setpoint.models import rowset
from setpoint.models import store as models
from setpoint.models.entities import ModelVersion
from setpoint.pipelines.local import StepRun
from setpoint.runs.entities import Status
from setpoint.runs.store import runs

STEPS = ["table", "fitted", "baseline", "scores", "made", "judged"]


def requested(home: LocalBackend, folder: Path, *, code: str = CODE, **changed: object) -> Job:
    made.apply(home, folder, code=code, **changed)
    with home.engine.begin() as conn:
        ctx = home.context(conn)
        job = request_training(ctx, observe(ctx, store.need(conn, MODEL)), why="to see")
    assert job is not None
    return job


def versions(home: LocalBackend) -> list[ModelVersion]:
    with home.engine.begin() as conn:
        return models.versions(conn, MODEL)


def candidate(home: LocalBackend) -> int | None:
    with home.engine.begin() as conn:
        return models.alias(conn, MODEL, "candidate")


def run_of(home: LocalBackend, job: Job) -> Status:
    with home.engine.begin() as conn:
        return runs.get(conn, job.id.replace("job_", "run_")).status


def test_a_training_ends_in_a_version_with_all_that_it_came_from(
    backend: LocalBackend, tmp_path: Path
) -> None:
    job = requested(backend, tmp_path)
    steps: list[StepRun] = []
    done = train(backend, job, steps.append)
    assert [step.step for step in steps] == STEPS
    assert (done.state, done.version) == (JobState.REGISTERED, 1)
    assert run_of(backend, job) is Status.FINISHED
    (version,) = versions(backend)
    assert version.datasets == {"rows": 1}
    assert version.spec == job.spec
    assert version.metrics["roc_auc"] > 0.6
    assert version.reference is not None
    assert version.rows is not None
    rows = open_store(backend.settings).get(version.rows)
    assert rowset.count(rows) == 407, "the rest was for the test"
    assert candidate(backend) == 1


def test_a_training_killed_between_steps_goes_on_after_the_last_one(
    backend: LocalBackend, tmp_path: Path
) -> None:
    job = requested(backend, tmp_path)

    def killed(step: StepRun) -> None:
        if step.step == "scores":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(backend, job, killed)
    assert versions(backend) == []
    assert made.jobs(backend)[0].state is JobState.REQUESTED
    steps: list[StepRun] = []
    done = train(backend, job, steps.append)
    assert {step.step: step.cached for step in steps} == {
        name: STEPS.index(name) <= STEPS.index("scores") for name in STEPS
    }
    assert done.state is JobState.REGISTERED
    assert made.jobs(backend)[0].attempts == 2
    assert len(versions(backend)) == 1


def test_a_training_finished_twice_registers_one_version_and_makes_no_new_candidate(
    backend: LocalBackend, tmp_path: Path
) -> None:
    job = requested(backend, tmp_path)
    done = train(backend, job)
    with backend.engine.begin() as conn:
        models.drop_alias(conn, MODEL, "candidate", number=1)  # it was released since
    assert train(backend, job).version == done.version == 1
    assert [version.number for version in versions(backend)] == [1]
    assert candidate(backend) is None


def test_a_version_that_the_gate_refuses_is_kept_and_is_no_candidate(
    backend: LocalBackend, tmp_path: Path
) -> None:
    done = train(backend, requested(backend, tmp_path, objective={"at_least": 0.99}))
    assert done.state is JobState.REFUSED
    assert done.outcome is not None
    assert done.outcome.startswith("the gate refused version 1: objective")
    (version,) = versions(backend)
    assert not version.may_serve
    assert candidate(backend) is None


def test_user_code_that_raises_fails_the_run_and_the_job(
    backend: LocalBackend, tmp_path: Path
) -> None:
    job = requested(backend, tmp_path, train={"code": "work:train_and_fail"})
    done = train(backend, job)
    assert done.state is JobState.FAILED
    assert "work:train_and_fail raised ZeroDivisionError: no luck today" in str(done.outcome)
    assert run_of(backend, job) is Status.FAILED
    assert versions(backend) == []


def test_what_may_pass_by_itself_leaves_the_training_open(
    backend: LocalBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = requested(backend, tmp_path)

    def full(*_: object) -> None:
        raise Unavailable("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(training, "ingest", full)
        with pytest.raises(Unavailable):
            train(backend, job)
    assert made.jobs(backend)[0].state is JobState.REQUESTED
    assert train(backend, job).state is JobState.REGISTERED


def test_a_spec_changed_meanwhile_does_not_change_what_was_requested(
    backend: LocalBackend, tmp_path: Path
) -> None:
    job = requested(backend, tmp_path)
    made.apply(backend, tmp_path, train={"seed": 9})
    train(backend, job)
    assert versions(backend)[0].spec == job.spec


def test_contracts_find_their_table_by_name_or_by_being_alone(tmp_path: Path) -> None:
    project = made.project(tmp_path)
    (spec,) = project.specs
    assert list(contracts_of(project, spec)) == ["rows"]
    other = made.CONTRACT.replace("- name: rows", "- name: another")
    (tmp_path / "rows.odcs.yaml").write_text(other)
    assert list(contracts_of(project, spec)) == ["rows"]
    (tmp_path / "rows.odcs.yaml").write_text("kind: [")
    with pytest.raises(Invalid, match="no YAML"):
        contracts_of(project, spec)


def test_only_what_training_reads_makes_another_version() -> None:
    same = training_hash(spec(), "code", "checks")
    assert training_hash(spec(owner="ops", watch={"window": "2h"}), "code", "checks") == same
    assert training_hash(spec(train={"seed": 2}), "code", "checks") != same
    assert training_hash(spec(), "other code", "checks") != same
    assert training_hash(spec(), "code", "other checks") != same
    assert training_hash(spec(), "code", "") != same


@pytest.mark.parametrize(("fallback", "kept"), [("baseline", True), ("nothing", False)])
def test_the_baseline_is_part_of_a_version_that_may_fall_back_to_it(
    backend: LocalBackend, tmp_path: Path, fallback: str, *, kept: bool
) -> None:
    group, serve = {"baseline": "work:train"}, {"fallback": fallback}
    train(backend, requested(backend, tmp_path, train=group, serve=serve))
    (version,) = versions(backend)
    assert (version.baseline is not None) == kept
    if version.baseline is not None:
        assert open_store(backend.settings).get(version.baseline.artifact)
