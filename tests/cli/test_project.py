"""plan, apply and what one can ask of an applied project."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from setpoint.config import settings
from setpoint.db.local import open_local

Say = Callable[..., tuple[int, str, str]]
Ask = Callable[..., Any]


@pytest.fixture(autouse=True)
def inside(applied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(applied)
    monkeypatch.delenv("SETPOINT_HOME", raising=False)
    monkeypatch.setenv("SETPOINT_ACTOR", "ada")


def test_the_first_version_is_live_and_on_target(ask: Ask) -> None:
    (model,) = ask("status")["models"]
    assert (model["model"], model["state"], model["live"]) == ("churn", "on target", 1)
    assert model["objective"] == "roc_auc ≥ 0.7 better than the baseline"


def test_planning_and_applying_again_do_nothing(say: Say, ask: Ask) -> None:
    before = ask("events", "ls")["events"][0]["seq"]
    (planned,) = ask("plan")["models"]
    assert planned["kind"] == "unchanged"
    assert (planned["changes"], planned["actions"], planned["drift"]) == ([], [], [])
    code, out, err = say("apply")
    assert (code, err) == (0, "")
    assert out.startswith("nothing to do\n")
    assert ask("events", "ls")["events"][0]["seq"] == before


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("status",), "on target, version 1 live"),
        (("explain",), "alarm_budget"),
        (("explain", "churn", "--set"), "churned"),
        (("data", "ls"), "customers        1  3,000"),
        (("data", "show", "customers"), "days_since_login"),
        (("data", "validate", "customers"), "contract churn"),
        (("runs", "ls"), "finished"),
        (("models", "ls"), "churn"),
        (("models", "show", "churn"), "first version"),
        (("models", "show", "churn", "--number", "1"), "better than"),
        (("releases", "ls"), "promoted"),
        (("releases", "show", "churn"), "the first version"),
        (("alarms", "ls"), "no alarms"),
        (("events", "ls"), "spec.applied"),
        (("events", "verify"), "0 not sealed yet"),
        (("why", "churn/1"), "complete"),
    ],
)
def test_every_list_has_words_and_json(say: Say, words: tuple[str, ...], expected: str) -> None:
    code, out, _ = say(*words)
    assert code == 0
    assert expected in out
    code, out, _ = say(*words, "--json")
    assert code == 0
    json.loads(out)


def test_a_run_is_shown_and_compared_by_its_id(say: Say, ask: Ask) -> None:
    (run,) = ask("runs", "ls")["runs"]
    assert "snapshot" in say("runs", "show", run["id"])[1]
    assert "no difference" in say("runs", "compare", run["id"], run["id"])[1]


def test_the_schema_is_one_json_document(say: Say) -> None:
    code, out, _ = say("schema")
    assert code == 0
    assert json.loads(out)["title"] == "Setpoint file"


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (("stauts",), 2, "did you mean 'status'?"),
        (("models", "show", "chrn"), 3, "chrn"),
        (("data", "show", "nothing"), 3, "nothing"),
        (("runs", "show", "run_x"), 3, "run_x"),
        (("releases", "show", "rel_x"), 3, "rel_x"),
        (("alarms", "show", "alm_x"), 3, "alm_x"),
        (("why", "prd_x"), 3, "prd_x"),
        (("status", "chrn"), 3, "applied here: churn"),
        (("releases", "hold", "churn", "--reason", "x"), 4, "only a running release"),
        (("releases", "rollback", "churn", "--reason", "x"), 4, "none to go back to"),
        (("predict", "churn"), 2, "INPUT=VALUE"),
        (("predict", "churn", "a=1", "--url", "http://127.0.0.1:9"), 6, "setpoint up"),
        (("plan", "nowhere"), 3, "nowhere"),
        (("up", "--host", "0.0.0.0"), 5, "loopback"),  # noqa: S104 - refused, as it must be
        (("data", "show", "customers", "--number", "x"), 2, "not a valid integer"),
        (("init", "churn", "--folder", "."), 4, "already has"),
    ],
)
def test_a_mistake_is_one_clear_error_with_the_code_of_its_kind(
    say: Say, words: tuple[str, ...], code: int, expected: str
) -> None:
    got, out, err = say(*words)
    assert (got, out) == (code, "")
    assert expected in err
    assert "Traceback" not in err


def test_changed_keys_and_code_are_shown_one_by_one(say: Say, applied: Path) -> None:
    spec, code = applied / "churn.setpoint.yaml", applied / "churn.py"
    kept = spec.read_text(), code.read_text()
    try:
        spec.write_text(
            kept[0].replace("window: 1d", "window: 6h").replace("at_most: 0.10", "at_most: 0.09")
        )
        _, out, _ = say("plan")
        assert "~ watch.window: 1d → 6h" in out
        assert "~ guardrails.calibration_error.at_most: " in out
        assert "code of the project" not in out
        assert "then" not in out  # neither makes another version
        code.write_text(kept[1].replace("max_iter=1000", "max_iter=900"))
        _, out, _ = say("plan")
        assert "~ watch.window: 1d → 6h" in out
        assert "~ the code of the project changed" in out
        assert "then 1. train a version (the spec or its code changed)" in out
    finally:
        spec.write_text(kept[0])
        code.write_text(kept[1])
    assert "nothing to do" in say("plan")[1]


def test_what_was_changed_by_hand_is_shown_as_drift(say: Say, ask: Ask) -> None:
    def edit(statement: str) -> list[str]:
        backend = open_local(settings())
        with backend.engine.begin() as conn:
            conn.execute(text(statement))
        backend.engine.dispose()
        found: list[str] = ask("plan")["models"][0]["drift"]
        return found

    assert edit("UPDATE deployments SET weight = 0.5") == [
        "version 1 is deployed as live with 50% of the traffic; its release gave it 100%"
    ]
    assert edit("UPDATE deployments SET weight = 1.0, role = 'shadow'") == [
        "version 1 is deployed as shadow by no release",
        "version 1 is not deployed as live, as its release left it",
    ]
    assert edit("UPDATE deployments SET role = 'live'") == []
    (drift,) = edit("""UPDATE specs SET content = REPLACE(content, '"1d"', '"2d"')""")
    assert "edited in the database" in drift
    assert "by hand: the spec in force" in say("plan")[1]
    assert say("apply")[0] == 0  # puts the file's back
    assert ask("plan")["models"][0]["drift"] == []


def test_a_defect_is_one_line_and_a_file(
    say: Say, applied: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    store = applied / ".setpoint" / "setpoint.db"
    backend = open_local(settings(applied / ".setpoint"))
    with backend.engine.begin() as conn:
        conn.execute(text("UPDATE runs SET code = '7'"))
    backend.engine.dispose()
    assert store.exists()
    code, out, err = say("runs", "ls")
    assert (code, out) == (70, "")
    assert err.startswith("error: this is a defect of Setpoint: ")
    (details,) = tmp_path.glob("setpoint-defect-*.txt")
    assert str(details) in err
    assert "Traceback" in details.read_text()
    assert "Traceback" not in err


def test_a_damaged_database_is_one_clear_error(say: Say, tmp_path: Path) -> None:
    (tmp_path / "setpoint.db").write_bytes(b"not a database" * 1000)
    code, _, err = say("status", "--home", str(tmp_path))
    assert code == 6
    assert "the database failed: file is not a database" in err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_can_complete(shell: str, capfd: pytest.CaptureFixture[str]) -> None:
    from click.shell_completion import get_completion_class  # noqa: PLC0415

    from setpoint.cli.main import cli  # noqa: PLC0415

    found = get_completion_class(shell)
    assert found is not None
    complete = found(cli, {}, "setpoint", "_SETPOINT_COMPLETE")
    assert "_SETPOINT_COMPLETE" in complete.source_template % complete.source_vars()
    assert [item.value for item in complete.get_completions([], "rel")] == ["releases"]
    inner = [item.value for item in complete.get_completions(["releases"], "ro")]
    assert inner == ["rollback"]
