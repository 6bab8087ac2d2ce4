"""What `setpoint why` and `setpoint alarms` print."""

import json
from pathlib import Path

import pytest
from tests.stores import Files

from setpoint.cli.main import run
from setpoint.cli.why import tree
from setpoint.config import settings
from setpoint.control.lineage import Link
from setpoint.control.why import Trace
from setpoint.db.local import open_local
from setpoint.monitor.service import open_alarm


@pytest.fixture
def alarm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file_stores: Files) -> str:
    monkeypatch.chdir(tmp_path)
    file_stores.empty(tmp_path / ".setpoint")
    backend = open_local(settings(tmp_path / ".setpoint"))
    with backend.engine.begin() as conn:
        made = open_alarm(
            backend.context(conn),
            model="late",
            version=1,
            monitor="drift",
            text="the inputs moved",
            evidence={"log_e": 9.5, "windows": [1, 2]},
            attribution=[("distance", 1.0)],
        )
    backend.engine.dispose()
    return made.id


def test_a_trace_is_a_line_a_link_and_marks_what_is_missing(
    alarm: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["why", alarm]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"alarm {alarm}")
    assert lines[0].endswith("drift, open: the inputs moved")
    assert lines[3].startswith("  version late/1")
    assert lines[3].endswith("incomplete: this version is not on record")
    assert lines[-1] == "1 link is incomplete"


def test_a_trace_for_programs_is_json(alarm: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["why", alarm, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["subject"] == f"alarm:{alarm}"
    assert found["links"][3]["complete"] is False


@pytest.mark.parametrize("name", ["-17", "--", "-x y", "ö/ü"])
def test_an_id_may_be_any_text(alarm: str, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["why", "--", name]) == 3
    assert "no prediction" in capsys.readouterr().err


def test_an_id_cannot_control_the_terminal() -> None:
    link = Link(kind="prediction", id="\x1b[2J\nx", says="a\tb")
    text = tree(Trace(subject="s", links=[link], incomplete=[]))
    assert text.splitlines()[0].split() == ["prediction", r"\x1b[2J\nx", r"a\tb"]


def test_the_help_has_an_example_of_everything(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["why", "--help"]) == 0
    shown = capsys.readouterr().out
    for example in ("alm_", "rel_", "run_", "dataset:", "row:", "flights-late/3"):
        assert example in shown


def test_alarms_are_listed_shown_and_acknowledged(
    alarm: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["alarms", "ls", "late", "--standing"]) == 0
    assert "the inputs moved" in capsys.readouterr().out
    assert run(["alarms", "ack", alarm, "--reason", "storm"]) == 0
    assert "acknowledged" in capsys.readouterr().out
    assert run(["alarms", "show", alarm]) == 0
    shown = capsys.readouterr().out
    for fact in ("storm", "distance 100%", "log_e", "[1,2]"):
        assert fact in shown
    assert run(["alarms", "show", "alm_no"]) == 3
