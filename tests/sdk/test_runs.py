"""`setpoint.run` as scripts and notebooks use it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import setpoint as sp
from setpoint.config import settings
from setpoint.db.local import LocalBackend, open_local
from setpoint.runs import service
from setpoint.runs.entities import Run


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalBackend]:
    project = tmp_path / "project"
    project.mkdir()
    (project / "train.py").write_text("pass\n")
    monkeypatch.chdir(project)
    backend = open_local(settings(tmp_path / "home"))
    yield backend
    backend.engine.dispose()


def only_run(backend: LocalBackend) -> Run:
    (found,) = backend.call(service.ls, service.ListRuns()).runs
    return found


def test_a_run_keeps_what_the_block_logged_and_what_it_ran(home: LocalBackend) -> None:
    folder = home.settings.home
    with sp.run("experiment", params={"leaves": 31}, tags={"by": "ada"}, home=folder) as run:
        for loss in (0.9, 0.5):
            run.log(loss=loss)
        run.log(auc=0.7, step=9)
    found = only_run(home)
    assert (found.experiment, found.status) == ("experiment", "finished")
    assert (found.params, found.tags) == ({"leaves": 31}, {"by": "ada"})
    assert found.metrics == {"auc": 0.7, "loss": 0.5}
    assert found.code is not None
    assert found.code.files == 1
    assert found.environment


def test_an_exception_fails_the_run_with_its_text_and_goes_on(home: LocalBackend) -> None:
    def experiment() -> None:
        with sp.run("experiment", home=home.settings.home) as run:
            run.log(loss=1.0)
            raise ZeroDivisionError("by zero")

    with pytest.raises(ZeroDivisionError):
        experiment()
    found = only_run(home)
    assert (found.status, found.error) == ("failed", "ZeroDivisionError: by zero")
    assert found.metrics == {"loss": 1.0}


def test_a_notebook_shows_a_run_and_escapes_what_it_holds(home: LocalBackend) -> None:
    with sp.run("<b>", params={"<i>": "<u>"}, home=home.settings.home) as run:
        shown = run._repr_html_()
    assert "&lt;b&gt;" in shown
    assert "<td>&lt;i&gt;</td><td>&lt;u&gt;</td>" in shown
