"""From a prediction to its causes and from a row to its effects, and every broken edge."""

from collections.abc import Callable
from datetime import timedelta

import polars as pl
import pytest
from sqlalchemy import delete, update
from tests.releases.begun import begun

from setpoint.artifacts.store import open_store
from setpoint.control import store
from setpoint.control.entities import Job, JobState
from setpoint.control.tables import jobs
from setpoint.control.why import Trace, Why, trace
from setpoint.data import ingest
from setpoint.data.tables import dataset_versions, validations
from setpoint.db.local import LocalBackend
from setpoint.errors import Invalid, NotFound
from setpoint.events import store as events
from setpoint.events.tables import events as event_table
from setpoint.models import rowset
from setpoint.models import service as models
from setpoint.models.entities import Check, Gate, Input, ModelVersion, Signature
from setpoint.models.tables import model_aliases, model_versions
from setpoint.monitor.service import AcknowledgeAlarm, ack, open_alarm
from setpoint.monitor.tables import alarms
from setpoint.releases import service as releases
from setpoint.releases.tables import release_looks
from setpoint.releases.tables import releases as release_table
from setpoint.runs import code, environment
from setpoint.runs import service as runs
from setpoint.runs.tables import run_datasets
from setpoint.runs.tables import runs as run_table
from setpoint.serve import store as serving
from setpoint.serve.entities import Deployment, PredictionRow, Role
from setpoint.serve.tables import predictions

PASSED = Gate(checks=[Check(name="objective", passed=True)], passed=True)
FAILED = Gate(checks=[Check(name="objective", passed=False)], passed=False)


class Chain:
    """A first version that answers, an alarm on it, and the version that answered that."""

    def __init__(self, backend: LocalBackend) -> None:
        self.backend, self.objects = backend, open_store(backend.settings)
        self.project = backend.settings.home / "project"
        self.project.mkdir(parents=True)
        (self.project / "train.py").write_text("def train(): ...\n")
        rows = pl.DataFrame({"id": ["a", "b"], "x": [1.0, 2.0]})
        ingest.ingest(backend, "flights", rows, backend.clock.now())
        self.first = self.version(["a", "b"], PASSED, "first version")
        self.release = begun(backend, releases.Start(model="late", version=1))
        self.predict("p1", "p2", version=1)
        with backend.engine.begin() as conn:
            self.alarm = open_alarm(
                backend.context(conn),
                model="late",
                version=1,
                monitor="drift",
                text="the inputs moved",
                evidence={"log_e": 9.5, "kinds": [1]},
                attribution=[("distance", 0.7), ("wind", 0.3)],
            )
        self.second = self.version(["b", "c"], PASSED, "drift", cause=self.alarm.id)
        self.move = begun(backend, releases.Start(model="late", version=2))
        decide = releases.Decide(release=self.move.id, reason="holiday")
        self.move = backend.call(releases.promote, decide)

    def version(
        self, rows: list[str], gate: Gate, why: str, cause: str | None = None
    ) -> ModelVersion:
        b, put = self.backend, self.objects.put
        spec = put(b"spec")
        job = Job(
            id=f"job_{why}",
            model="late",
            why=why,
            cause=cause,
            training="t",
            spec=spec,
            state=JobState.REQUESTED,
            requested_at=b.clock.now(),
        )
        with b.engine.begin() as conn:
            assert store.request(conn, job)
            detail = {"job": job.id, "cause": cause}
            events.record(b.context(conn), "training.requested", "model:late", **detail)
        start = runs.Start(
            experiment="late",
            inputs={"flights": 1},
            code=code.capture(self.project, self.objects),
            environment=environment.capture(self.objects),
        )
        run = b.call(runs.start, start)
        b.call(runs.finish, runs.Finish(run=run.id))
        made = b.call(
            models.register,
            models.Register(
                model="late",
                run_id=run.id,
                why=why,
                flavor="lightgbm",
                artifact=put(f"model {why}".encode()),
                signature=Signature(inputs=[Input(name="x", datatype="FP64")]),
                gate=gate,
                rows=put(rowset.encode(rows)),
                spec=spec,
                datasets={"flights": 1},
            ),
        )
        done = {"state": JobState.REGISTERED, "version": made.number, "outcome": "passed"}
        with b.engine.begin() as conn:
            conn.execute(update(jobs).where(jobs.c.id == job.id).values(done))
        return made

    def predict(self, *ids: str, version: int) -> None:
        at = int(self.backend.clock.now().timestamp() * 1e6)
        rows = [PredictionRow("late", i, version, "live", at, 0.25) for i in ids]
        with self.backend.engine.begin() as conn:
            serving.insert_predictions(conn, rows)

    def why(self, name: str, model: str | None = None) -> Trace:
        return self.backend.call(trace, Why(id=name, model=model))

    def broken(self, name: str) -> list[str]:
        found = self.why(name)
        assert len(found.incomplete) == sum(not one.complete for one in found.links)
        return [one.kind for one in found.links if not one.complete]

    def drop(self, *statements: object) -> None:
        with self.backend.engine.begin() as conn:
            for statement in statements:
                conn.execute(statement)  # type: ignore[call-overload]


@pytest.fixture
def chain(backend: LocalBackend) -> Chain:
    return Chain(backend)


def test_a_prediction_leads_to_code_data_and_who_let_it_answer(chain: Chain) -> None:
    found = chain.why("p1")
    assert found.subject == "prediction:p1"
    assert not found.incomplete
    kinds = [one.kind for one in found.links]
    order = "prediction version run code dataset rows validation gate release decision"
    assert [kind for kind in kinds if kind in order.split()] == order.split()
    by_kind = {one.kind: one for one in found.links}
    assert by_kind["version"].id == "late/1"
    assert by_kind["run"].id == chain.first.run_id
    assert by_kind["rows"].id == chain.first.rows
    assert by_kind["rows"].says == "2 training rows, by id"
    assert by_kind["release"].id == chain.release.id
    assert by_kind["decision"].id == "ada"


def test_an_alarm_leads_to_its_evidence_and_to_the_version_that_answered_it(
    chain: Chain,
) -> None:
    chain.backend.call(ack, AcknowledgeAlarm(id=chain.alarm.id, reason="storm"))
    found = chain.why(chain.alarm.id)
    assert not found.incomplete
    said = [(one.kind, one.id) for one in found.links]
    assert said[:4] == [
        ("alarm", chain.alarm.id),
        ("evidence", "drift"),
        ("attribution", "drift"),
        ("decision", "ada"),
    ]
    assert ("training", "job_drift") in said
    assert ("version", "late/2") in said
    assert ("release", chain.move.id) in said
    assert found.links[-1].says == "decided in person: holiday"
    assert "distance 70%" in found.links[2].says


def test_a_version_trained_for_an_alarm_leads_back_to_it(chain: Chain) -> None:
    found = chain.why("version:late/2")
    assert ("alarm", chain.alarm.id) in [(one.kind, one.id) for one in found.links]
    assert found.links[-1].says == "none answered"


def test_a_row_leads_to_the_versions_trained_on_it_and_their_predictions(
    chain: Chain,
) -> None:
    def versions(row: str) -> list[str]:
        return [one.id for one in chain.why(f"row:{row}").links if one.kind == "version"]

    assert versions("a") == ["late/1"]
    assert versions("b") == ["late/2", "late/1"]
    assert versions("z") == []
    (counted,) = [one for one in chain.why("row:a").links if one.kind == "predictions"]
    assert counted.says == "2 answered, e.g. p1, p2"


def test_runs_releases_and_datasets_lead_on_too(chain: Chain) -> None:
    for name in (chain.first.run_id, chain.move.id, "dataset:flights/1", "late/1"):
        found = chain.why(name)
        assert not found.incomplete, name
        assert any(one.kind == "version" for one in found.links), name


def one_row(chain: Chain, what: str) -> list[object]:
    """Return the statements that break one edge of the chain of ``p1``."""
    run, first = chain.first.run_id, (model_versions.c.model == "late")
    statements: dict[str, list[object]] = {
        "run": [
            delete(run_datasets),
            delete(run_table).where(run_table.c.id == run),
        ],
        "code": [update(run_table).where(run_table.c.id == run).values(code=None)],
        "dataset": [delete(dataset_versions)],
        "validation": [delete(validations)],
        "training": [delete(jobs)],
        "rows": [update(model_versions).where(first).values(rows=None)],
        "gate": [update(model_versions).where(first).values(gate=None)],
        "release": [delete(release_looks), delete(release_table)],
        "decision": [delete(event_table).where(event_table.c.subject == chain.release.ref)],
        "version": [delete(model_aliases), delete(model_versions)],
    }
    return statements[what]


@pytest.mark.parametrize(
    "what",
    [
        "run",
        "code",
        "dataset",
        "validation",
        "training",
        "rows",
        "gate",
        "release",
        "decision",
        "version",
    ],
)
def test_a_record_that_is_gone_breaks_exactly_its_own_link(chain: Chain, what: str) -> None:
    chain.drop(*one_row(chain, what))
    assert chain.broken("p1") == [what]


@pytest.mark.parametrize(
    ("what", "address"),
    [
        ("artifact", lambda c, _: c.first.artifact),
        ("rows", lambda c, _: c.first.rows),
        ("spec", lambda c, _: c.first.spec),
        ("environment", lambda _, run: run.environment),
        ("code", lambda _, run: run.code.snapshot),
        ("code", lambda c, _: c.objects.put(b"def train(): ...\n")),
    ],
)
def test_an_artifact_that_is_gone_breaks_exactly_its_own_link(
    chain: Chain, what: str, address: Callable[..., str]
) -> None:
    run = chain.backend.call(runs.show, runs.ShowRun(run=chain.first.run_id))
    chain.objects.delete([address(chain, run)])
    assert chain.broken("p1") == [what]
    (said,) = chain.why("p1").incomplete
    assert "gone" in said or "missing" in said


def test_data_that_was_deleted_is_missed(chain: Chain) -> None:
    for file in (chain.backend.settings.tables / "flights" / "_delta_log").iterdir():
        file.unlink()
    assert chain.broken("p1") == ["dataset"]


def test_the_edges_of_an_alarm_break_alone_too(chain: Chain) -> None:
    chain.drop(delete(jobs).where(jobs.c.cause == chain.alarm.id))
    assert chain.broken(chain.alarm.id) == ["training"]
    chain.drop(update(alarms).values(attribution=[], evidence={}))
    assert chain.broken(chain.alarm.id) == ["evidence", "attribution", "training"]


def test_an_alarm_that_is_gone_is_missed_by_the_version_it_caused(chain: Chain) -> None:
    chain.drop(delete(alarms))
    assert chain.broken("late/2") == ["alarm"]


def test_a_version_whose_rows_are_gone_is_named_when_asking_for_a_row(
    chain: Chain,
) -> None:
    chain.objects.delete([chain.first.rows or ""])
    assert chain.broken("row:b") == ["rows"]


def test_who_overrode_a_gate_is_told(chain: Chain) -> None:
    chain.version(["a"], FAILED, "spec changed")
    override = models.OverrideGate(model="late", number=3, reason="known artefact")
    chain.backend.call(models.override, override)
    said = [one.says for one in chain.why("late/3").links]
    assert "overrode the gate: known artefact" in said
    assert "not released" in said


def test_a_prediction_made_before_any_release_of_its_version_is_not_explained(
    chain: Chain,
) -> None:
    earlier = chain.release.started_at + timedelta(hours=1)
    chain.drop(update(release_table).values(started_at=earlier))
    assert chain.broken("p1") == ["release"]


@pytest.mark.parametrize(
    "name", ["late/77", "rel_mine", "run_mine", "alm_mine", "row:7", "a/b/c 🛫\n%", "-1"]
)
def test_a_prediction_may_have_any_id(chain: Chain, name: str) -> None:
    chain.predict(name, version=1)
    assert chain.why(name).subject == f"prediction:{name}"


def test_a_prediction_with_the_name_of_a_version_can_be_asked_for(chain: Chain) -> None:
    chain.predict("late/1", version=1)
    assert chain.why("late/1").subject == "version:late/1"
    assert chain.why("prediction:late/1").subject == "prediction:late/1"


@pytest.mark.parametrize(
    "name", ["", "nothing", "late/9", "rel_no", "run_no", "alm_no", "dataset:no/1", "\0", "\ud800"]
)
def test_what_is_not_there_is_not_found(chain: Chain, name: str) -> None:
    with pytest.raises(NotFound):
        chain.why(name)


def test_an_id_of_two_models_asks_which(chain: Chain) -> None:
    chain.drop(
        predictions.insert().values(
            model="early", id="p1", version=1, role="live", at=chain.first.created_at, score=0
        )
    )
    with chain.backend.engine.begin() as conn:
        serving.deploy(
            conn,
            "early",
            [Deployment(model="early", version=1, role=Role.LIVE, weight=1)],
        )
    with pytest.raises(Invalid, match="2 models have a prediction"):
        chain.why("p1")
    assert chain.why("p1", "late").links[1].id == "late/1"
