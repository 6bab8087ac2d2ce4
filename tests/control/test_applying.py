"""What applying would change is told key by key; applying twice changes nothing."""

from pathlib import Path

import pytest
from tests.control import made
from tests.control.made import CODE, CONTRACT, MODEL

from setpoint.artifacts.store import open_store
from setpoint.control import applying, store
from setpoint.control.controller import Controller
from setpoint.control.plan import ModelPlan
from setpoint.control.project import Project
from setpoint.data import store as datasets
from setpoint.db.local import LocalBackend
from setpoint.errors import Invalid, NotFound, UserCodeFailed
from setpoint.events import store as events
from setpoint.models import store as models
from setpoint.models.flavors import pickles
from setpoint.releases import service as releases
from setpoint.releases.service import Decide
from setpoint.serve import store as serving
from setpoint.serve.entities import Deployment, EndpointSettings, Process, Role


def planned(home: LocalBackend, project: Project) -> ModelPlan:
    (found,) = applying.plan(home, project).models
    return found


def head(home: LocalBackend) -> int:
    with home.engine.begin() as conn:
        return events.head(conn)


def test_planning_changes_nothing_and_says_what_follows(
    backend: LocalBackend, tmp_path: Path
) -> None:
    project = made.project(tmp_path)
    before = head(backend)
    found = planned(backend, project)
    assert (found.kind, found.changes, found.drift) == ("create", [], [])
    assert found.actions == [
        "train a version (first version) and check it at the gate",
        "bring it live",
    ]
    assert head(backend) == before
    with pytest.raises(NotFound), backend.engine.begin() as conn:
        store.need(conn, MODEL)


def test_applying_twice_changes_nothing(backend: LocalBackend, tmp_path: Path) -> None:
    project = made.apply(backend, tmp_path)
    before = head(backend)
    assert applying.apply(backend, project).models[0].kind == "unchanged"
    assert head(backend) == before
    Controller(backend).tick()
    assert applying.plan(backend, project).empty


def test_a_changed_spec_is_told_key_by_key_with_what_follows(
    backend: LocalBackend, tmp_path: Path
) -> None:
    made.apply(backend, tmp_path)
    Controller(backend).tick()
    found = planned(backend, made.project(tmp_path, train={"seed": 2}, owner="ops"))
    assert [(c.path, c.before, c.after) for c in found.changes] == [
        ("owner", "''", "ops"),
        ("train.seed", "1", "2"),
    ]
    assert found.actions[-1] == "release it in stages beside the live version"


def test_what_a_spec_says_of_its_endpoint_is_in_force_before_and_after_a_version_serves(
    backend: LocalBackend, tmp_path: Path
) -> None:
    limits = {"timeout": "250ms", "queue": 5, "body": "2MB"}
    made.apply(backend, tmp_path, serve={"limits": limits})
    with backend.reading() as conn:
        said = serving.settings_of(conn, MODEL)
    kept = EndpointSettings(timeout=0.25, queue=5, body=2_000_000, required=("a", "id"))
    assert said == kept
    Controller(backend).tick()
    with backend.reading() as conn:
        before = serving.generation(conn, MODEL)
    serve = {"process": "own", "batch": {"rows": 9, "wait": "5ms"}}
    planned = applying.apply(backend, made.project(tmp_path, serve=serve)).models[0]
    assert ("serve.limits.body", "2MB", "10MB") in [
        (change.path, change.before, change.after) for change in planned.changes
    ]
    assert planned.actions == []
    with backend.reading() as conn:
        assert serving.settings_of(conn, MODEL) == EndpointSettings(
            process=Process.OWN, batch_rows=9, batch_wait=0.005, required=("a", "id")
        )
        assert serving.generation(conn, MODEL) == before + 1


def test_what_training_does_not_read_makes_no_version(
    backend: LocalBackend, tmp_path: Path
) -> None:
    made.apply(backend, tmp_path)
    Controller(backend).tick()
    found = planned(backend, made.project(tmp_path, owner="ops", watch={"window": "2h"}))
    assert found.kind == "update"
    assert found.actions == []


def test_changed_code_is_a_change_and_comments_elsewhere_are_not(
    backend: LocalBackend, tmp_path: Path
) -> None:
    made.apply(backend, tmp_path)
    Controller(backend).tick()
    (tmp_path / "notes.py").write_text("# nobody imports this\n")
    assert planned(backend, made.project(tmp_path)).kind == "unchanged"
    found = planned(backend, made.project(tmp_path, code=CODE + "\n# better\n"))
    assert [change.path for change in found.changes] == ["code"]
    assert found.actions[0].startswith("train a version (the spec or its code changed)")


def test_an_edited_contract_is_a_change_that_makes_a_version_of_the_rows_that_hold_it(
    backend: LocalBackend, tmp_path: Path
) -> None:
    project = made.apply(backend, tmp_path)
    controller = Controller(backend)
    controller.tick()
    file = tmp_path / "rows.odcs.yaml"
    file.write_text(f"description: {{purpose: to check}}\n{CONTRACT}".replace("1.0.0", "1.0.1"))
    assert planned(backend, project).kind == "unchanged", "words check nothing"
    file.write_text(CONTRACT.replace("{name: b, ", "{name: b, logicalTypeOptions: {maximum: 2}, "))
    found = planned(backend, project)
    assert (found.kind, [change.path for change in found.changes]) == ("update", ["contract"])
    assert (
        found.actions[0]
        == "train a version (the spec or its code changed) and check it at the gate"
    )
    applying.apply(backend, project)
    assert planned(backend, project).changes == []
    controller.tick()
    with backend.engine.begin() as conn:
        first, second = (datasets.get(conn, "rows", number) for number in (1, 2))
        assert models.get(conn, MODEL, 2).datasets == {"rows": 2}
    assert (first.set_aside, second.rows) == (0, 600 - second.set_aside)
    assert second.set_aside > 0, "the rows there were are checked again"


def test_an_unreadable_contract_is_told_by_the_plan(backend: LocalBackend, tmp_path: Path) -> None:
    project = made.apply(backend, tmp_path)
    (tmp_path / "rows.odcs.yaml").write_text("kind: [")
    with pytest.raises(Invalid, match="no YAML"):
        applying.plan(backend, project)


def test_a_project_that_was_moved_is_found_where_it_is(
    backend: LocalBackend, tmp_path: Path
) -> None:
    made.apply(backend, tmp_path / "here")
    project = made.project(tmp_path / "there")
    assert [change.path for change in planned(backend, project).changes] == ["file"]
    applying.apply(backend, project)
    with backend.engine.begin() as conn:
        assert store.need(conn, MODEL).file == str(tmp_path / "there" / "m.setpoint.yaml")
    assert planned(backend, project).kind == "unchanged"


def test_what_was_done_by_hand_is_told(backend: LocalBackend, tmp_path: Path) -> None:
    project = made.apply(backend, tmp_path)
    controller = Controller(backend)
    controller.tick()
    made.apply(backend, tmp_path, train={"seed": 2})
    controller.tick()
    project = made.project(tmp_path, train={"seed": 2})
    assert planned(backend, project).drift == []
    backend.call(releases.hold, Decide(release=MODEL, reason="lunch"))
    said = " ".join(planned(backend, project).drift)
    assert "was held by ada: lunch" in said
    with backend.engine.begin() as conn:
        stray = [
            Deployment(model=MODEL, version=1, role=Role.LIVE, weight=0.5),
            Deployment(model=MODEL, version=7, role=Role.CANARY, weight=0.5),
        ]
        serving.deploy(conn, MODEL, stray)
    said = " ".join(planned(backend, project).drift)
    assert "version 7 is deployed as canary by no release" in said
    assert "version 2 is not deployed as shadow" in said
    assert "version 1 is deployed as live with 50% of the traffic" in said


def test_a_spec_edited_in_the_database_is_told_and_restored(
    backend: LocalBackend, tmp_path: Path
) -> None:
    project = made.apply(backend, tmp_path)
    with backend.engine.begin() as conn:
        spec = store.need(conn, MODEL)
        conn.exec_driver_sql(
            "UPDATE specs SET content = REPLACE(content, '\"roc_auc\"', '\"log_loss\"')"
        )
        assert store.need(conn, MODEL).content != spec.content
    found = planned(backend, project)
    assert found.kind == "update"
    assert any("edited in the database" in text for text in found.drift)
    applying.apply(backend, project)
    with backend.engine.begin() as conn:
        assert store.need(conn, MODEL).content == spec.content


def test_what_a_spec_names_is_imported_before_it_is_in_force(tmp_path: Path) -> None:
    applying.check(made.project(tmp_path))
    with pytest.raises(NotFound, match="no “tarin”"):
        applying.check(made.project(tmp_path, train={"code": "work:tarin"}))
    with pytest.raises(UserCodeFailed, match="cannot be read"):
        applying.check(made.project(tmp_path, code="def rows(:\n"))


def test_nothing_is_left_to_do_once_the_first_version_is_live(
    backend: LocalBackend, tmp_path: Path
) -> None:
    made.apply(backend, tmp_path)
    assert applying.unsettled(backend, {MODEL}).startswith("m: train a version")
    assert applying.unsettled(backend, {"another"}) == ""
    Controller(backend).tick()
    assert applying.unsettled(backend, {MODEL}) == ""


FALLBACK = """

def usual(columns):
    return FACTOR * columns["a"]


FACTOR = 2.0
"""


def test_a_function_that_answers_for_a_version_is_kept_as_it_is_when_it_is_applied(
    backend: LocalBackend, tmp_path: Path
) -> None:
    serve = {"fallback": {"code": "work:usual"}}

    def kept() -> EndpointSettings:
        with backend.reading() as conn:
            return serving.settings_of(conn, MODEL)

    made.apply(backend, tmp_path, code=CODE + FALLBACK, serve=serve)
    first = kept()
    found = pickles.load(open_store(backend.settings).get(first.fallback_code))
    assert found({"a": 21.0}) == 42.0
    project = made.project(tmp_path, code=CODE + FALLBACK, serve=serve)
    assert planned(backend, project).kind == "unchanged"
    changed = made.project(tmp_path, code=CODE + FALLBACK.replace("2.0", "3.0"), serve=serve)
    assert "code of the fallback" in [c.path for c in planned(backend, changed).changes]
    applying.apply(backend, changed)
    found = pickles.load(open_store(backend.settings).get(kept().fallback_code))
    assert found({"a": 2.0}) == 6.0
    made.apply(backend, tmp_path, code=CODE + FALLBACK, serve={"fallback": {"value": 0.3}})
    assert (kept().fallback_value, kept().fallback_code) == (0.3, "")


def test_a_fallback_that_is_not_there_is_refused_before_it_is_applied(
    backend: LocalBackend, tmp_path: Path
) -> None:
    project = made.project(tmp_path, serve={"fallback": {"code": "work:usal"}})
    with pytest.raises(NotFound, match="usal"):
        applying.check(project)
    with pytest.raises(NotFound, match="usal"):
        applying.apply(backend, project)


def test_a_fallback_of_code_makes_no_other_versions(backend: LocalBackend, tmp_path: Path) -> None:
    made.apply(backend, tmp_path)
    Controller(backend).tick()
    serve = {"fallback": {"value": 0.3}, "key": {"header": "X-User"}}
    found = planned(backend, made.apply(backend, tmp_path, serve=serve))
    assert (found.kind, found.actions) == ("unchanged", [])
    with backend.reading() as conn:
        assert serving.settings_of(conn, MODEL).key_header == "x-user"
